// What pods ask of the node, and how much of it is given away: the scheduler's book.
// A Ledger is used on the Manager's loop; the rest are pure functions.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "kube/object.h"

namespace mr::kube {

// By name ("cpu", "memory", "nvidia.com/gpu"), in thousandths.
using Amounts = std::map<std::string, std::int64_t, std::less<>>;

// What the pod needs at its most: its containers and sidecars together, or an init container with the sidecars before
// it. Containers that are parts of this program (`millrace/...`) need nothing: they run in it.
Amounts pod_requests(const Object& pod);

class Ledger {
 public:
  // The pod is on the node, or about to be. Again for the same uid: replaced.
  void take(const std::string& uid, Amounts amounts);
  // True when it was there.
  bool release(const std::string& uid);
  // "Insufficient cpu", in order of names: what `asked` is more of than the node (its status.allocatable) has left.
  [[nodiscard]] std::vector<std::string> lacking(const Amounts& asked, const Object& node) const;

 private:
  std::map<std::string, Amounts, std::less<>> pods_;
  Amounts taken_;
};

}  // namespace mr::kube
