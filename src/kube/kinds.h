// The kinds the API serves: the built-in ones (from kube/kinds/*.kinds) and those of CustomResourceDefinitions.
// A Kind is data; what acts on it is a controller. Ownership: KindPtr is shared, so that a request keeps the kind that
// it began with. Thread safety: Kinds is thread safe (an immutable snapshot behind a mutex); a Kind is immutable.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kube/object.h"
#include "kube/schema.h"

namespace mr::kube {

// A column of `kubectl get`. Either a path into the object (JSONPath of CRDs: .status.url, [?(@.type=="Ready")].status)
// or a native cell function named in table.cpp ("pod.ready").
struct Column {
  std::string name, type, format, description, path, cell;
  int priority = 0;
};

struct KindVersion {
  std::string name;
  bool served = true, storage = false;
  const Type* schema = nullptr;  // nullptr: anything goes (a CRD that preserves unknown fields at its root)
  bool status = false;           // has the status subresource
  bool scale = false;            // has the scale subresource
  std::string scale_spec, scale_status, scale_selector;  // JSON paths of the scale subresource (".spec.replicas")
  std::vector<Column> columns;
  std::string deprecation;  // a Warning of this text goes with each answer
};

struct Kind {
  std::string group, kind, plural, singular, list_kind;
  std::vector<std::string> short_names, categories;
  bool namespaced = true;
  bool crd = false;
  // Kinds that are asked but not kept (TokenReview, SubjectAccessReview): create only.
  bool virtual_kind = false;
  std::vector<std::string> verbs;         // create delete deletecollection get list patch update watch
  std::vector<std::string> subresources;  // besides status and scale: "log", "exec", "token", "binding", "eviction"...
  std::vector<std::string> selectable;    // field selectors besides metadata.name and metadata.namespace
  std::vector<KindVersion> versions;      // most preferred first
  bool generation = false;                // metadata.generation counts changes of spec
  std::shared_ptr<const void> keep;       // what the schemas of a CRD live in
  Value crd_schemas;                      // of a CRD: {version: openAPIV3Schema}
  [[nodiscard]] const KindVersion* version(std::string_view v) const;
  [[nodiscard]] const KindVersion& storage() const;
  // "deployments.apps", "pods": how errors name the resource.
  [[nodiscard]] std::string qualified() const { return group.empty() ? plural : plural + "." + group; }
  [[nodiscard]] std::string api_version(std::string_view v) const {
    return group.empty() ? std::string(v) : group + "/" + std::string(v);
  }
};
using KindPtr = std::shared_ptr<const Kind>;

class Kinds {
 public:
  // With all built-in kinds. A fault in the descriptions ends the process with its line: it is a bug of the build.
  Kinds();
  ~Kinds();
  // By collection, or nullptr. `version` must be served.
  [[nodiscard]] KindPtr find(std::string_view group, std::string_view version, std::string_view plural) const;
  [[nodiscard]] KindPtr by_kind(std::string_view group, std::string_view kind) const;
  // Every kind, ordered by group as discovery lists them.
  [[nodiscard]] std::vector<KindPtr> all() const;
  // Adds or replaces a CRD's kind; takes it out.
  void put(KindPtr kind);
  void remove(std::string_view group, std::string_view plural);
  // Grows with every put and remove: for the hash of discovery and OpenAPI documents.
  [[nodiscard]] std::uint64_t generation() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// A type by its OpenAPI name among the built-in descriptions, or nullptr.
const Type* builtin_type(std::string_view name);

}  // namespace mr::kube
