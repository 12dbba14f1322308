// Host names of rules: patterns, and which Service a name stands for. Pure functions.
#pragma once
#include <optional>
#include <string>
#include <string_view>

namespace mr::mesh {

inline constexpr std::string_view kClusterDomain = "cluster.local";

struct ServiceHost {
  std::string ns, name;
  bool operator==(const ServiceHost&) const = default;
};
// NAME (in `own_ns`), NAME.NS, NAME.NS.svc and NAME.NS.svc.cluster.local name a Service; anything else none.
std::optional<ServiceHost> service_of_host(std::string_view host, std::string_view own_ns);
// A short name completed to NAME.own_ns.svc.cluster.local; others as they are, in lower case.
std::string full_host(std::string_view host, std::string_view own_ns);
// Without a port, in lower case, without a final dot; "[::1]:80" gives "::1".
std::string host_of_authority(std::string_view authority);
// "*", "*.x", "a.b".
bool host_covers(std::string_view pattern, std::string_view host);
// A host as a rule may name it: "*", or "*." before DNS labels, or DNS labels.
bool valid_host_pattern(std::string_view host);

}  // namespace mr::mesh
