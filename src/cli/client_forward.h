// What port-forward's arguments come to: one pod, and its ports. Asks the API; plain values.
#pragma once
#include <string>
#include <vector>

#include "cli/client_api.h"

namespace mr::cli {

struct PortPair {
  std::uint16_t local = 0;  // 0: any free one
  std::uint16_t remote = 0;
};

struct ForwardPlan {
  std::string path;  // the pod's portforward
  std::vector<PortPair> ports;
};

// `args`: POD or KIND/NAME, then [LOCAL:]REMOTE. A Service's ports become those of its pod. Errors: not_found,
// failed_precondition (no pod runs), invalid_argument.
Result<ForwardPlan> plan_forward(Api& api, const std::vector<std::string>& args);
// One "[LOCAL:]REMOTE" for a pod, and for a Service before it when `service` is not null.
Result<PortPair> port_pair(std::string_view text, const kube::Object& pod, const kube::Object* service);

}  // namespace mr::cli
