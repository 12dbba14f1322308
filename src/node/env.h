// What a container is told: its environment, its command line, and the values of the downward API.
// Everything here only reads; used on the node's loop.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kube/client.h"

namespace mr::node {

// An object of the API, or null when there is none.
using Find = std::function<task::Task<kube::ObjectPtr>(kube::Gvr, kube::Key)>;

struct PodFacts {
  kube::ObjectPtr pod;
  std::string pod_ip, host_ip, node_name;
  double node_cpus = 1;
  std::int64_t node_memory = 0;
};

using Env = std::vector<std::pair<std::string, std::string>>;

// "500m" -> 0.5, "1Gi" -> 1073741824, "2e3" -> 2000; -1 when it is none.
double parse_quantity(std::string_view text);

// The value at a fieldRef ("metadata.labels['a']", "status.podIP", ...). Errors: invalid_argument.
Result<std::string> field_value(const PodFacts& facts, std::string_view path);
// The value of a resourceFieldRef for `container`; what has no limit has the node's.
Result<std::string> resource_value(const PodFacts& facts, const kube::Object& container, const kube::Object& ref);
// "a=\"1\"\nb=\"2\"": labels and annotations as downward API files hold them.
std::string format_map(const kube::Object& map);

// $(NAME) replaced where `env` has NAME, $$ by $; what is unknown stays.
std::string expand(std::string_view text, const std::map<std::string, std::string>& env);

// The container's variables in order: `base` (service links) first, then envFrom, then env. A ConfigMap, Secret or key
// that is missing is an error with reason CreateContainerConfigError and the kubelet's words.
task::Task<Result<Env>> resolve_env(const PodFacts& facts, kube::Object container, Env base, Find find);

// The variables of the namespace's Services as they were at the pod's start.
Env service_links(const std::vector<kube::ObjectPtr>& services);

}  // namespace mr::node
