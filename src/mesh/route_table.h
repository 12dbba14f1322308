// The routes of the front door, compiled from VirtualService, DestinationRule and Gateway objects.
// Ownership: a RouteTable is immutable and shared; a change of any object compiles a new one that replaces it whole.
// Thread safety: match() and the others may be called from any thread.
#pragma once
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "kube/object.h"
#include "mesh/types.h"

namespace mr::mesh {

enum class Balance : std::uint8_t { least_request, round_robin, random };

// What a DestinationRule says about a Service, or about one subset of it.
struct TrafficPolicy {
  Balance balance = Balance::least_request;
  long connect_timeout_ms = 10'000;
  std::uint32_t max_connections = 0;  // 0: not limited
};
struct Subset {
  Pairs labels;
  TrafficPolicy policy;
};
struct DestinationPolicy {
  TrafficPolicy policy;
  std::map<std::string, Subset, std::less<>> subsets;
};

struct Match {
  const HttpRoute* route = nullptr;  // null: none
  const Condition* by = nullptr;     // the condition met; null: the route has none
  bool host_known = false;           // a rule names this host other than by "*": no other table may answer for it
};

class RouteTable {
 public:
  [[nodiscard]] Match match(const RequestView& rq) const;
  // The policy for a Service's host; nullptr when no rule speaks of it.
  [[nodiscard]] const DestinationPolicy* policy(std::string_view ns, std::string_view service) const;
  [[nodiscard]] std::size_t size() const { return rules_.size(); }

  // Compiler's part.
  struct Rule {  // one VirtualService
    std::vector<HttpRoute> routes;
  };
  struct Domain {  // rules of one host, oldest first
    std::vector<std::size_t> rules;
  };
  std::vector<Rule> rules_;
  std::unordered_map<std::string, Domain> exact_;
  std::map<std::string, Domain, std::less<>> suffix_;  // ".x" of "*.x"
  Domain all_;
  std::map<std::string, DestinationPolicy, std::less<>> policies_;  // "NS/SERVICE"
};

// A rule that could not be used as written, or not wholly.
struct Notice {
  std::string kind, ns, name;
  bool fatal = true;    // the object is left out; else it works but for what the text says
  std::string message;  // `spec.http[0].match[1].uri: …`
};
struct Inputs {
  std::vector<kube::ObjectPtr> virtual_services, destination_rules, gateways;
};
struct Compiled {
  std::shared_ptr<const RouteTable> table;
  std::vector<Notice> notices;
};
// Never fails: what is wrong is left out and named.
Compiled compile(const Inputs& inputs);

// The path that goes upstream: the matched part replaced as the rule says.
std::string rewritten_path(const HttpRoute& route, const Condition* by, std::string_view path);
// The address a redirect sends to.
std::string redirect_location(const Redirect& r, const Condition* by, const RequestView& rq);
// The destination for a draw in [0, total weight); nullptr when the route has none.
const Weighted* choose(const HttpRoute& route, std::uint64_t draw);
// Dot segments resolved, backslashes and encoded dots read as what they are, so that no rule is passed by an alias of
// a path. nullopt: it climbs above the root.
std::optional<std::string> normal_path(std::string_view path);

}  // namespace mr::mesh
