// What the writers of discovery and OpenAPI documents share: the subresources that a kind's description names, and a
// cache of rendered documents. Thread safe.
#pragma once
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "kube/kinds.h"

namespace mr::kube::wire {

struct Subresource {
  std::string name;                  // "log"
  std::string group, version, kind;  // of what is sent and answered
  std::vector<std::string> verbs;
};
// Status and scale included; ordered by name.
std::vector<Subresource> subresources(const Kind& kind, const KindVersion& version);

struct GroupVersion {
  std::string group, version;
  std::vector<KindPtr> kinds;  // ordered by plural
  [[nodiscard]] std::string api_version() const { return group.empty() ? version : group + "/" + version; }
  [[nodiscard]] std::string path() const { return (group.empty() ? "api/" : "apis/") + api_version(); }
};
// All that are served: groups in the order of Kinds::all(), a group's versions most preferred first.
std::vector<GroupVersion> group_versions(const Kinds& kinds);

// `make()`, or what it gave before for the same `key` and generation of kinds. Bounded: old generations are dropped.
std::string cached(const Kinds& kinds, std::string_view key, const std::function<std::string()>& make);

}  // namespace mr::kube::wire
