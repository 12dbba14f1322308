// Which Services there are and where their ready endpoints listen: what a balancer, a router and a hosts file need.
// Thread safety: a Directory may be read on any thread; it is written from one at a time. What it gives out is
// immutable, but for counters that are atomic.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kube/object.h"

namespace mr::services {

struct Endpoint {
  std::string ip;
  std::uint16_t port = 0;
  std::string pod;                                          // name in the Service's namespace; may be empty
  std::vector<std::pair<std::string, std::string>> labels;  // the pod's
  mutable std::atomic<std::uint32_t> active{0};             // connections and requests under way
};
using EndpointPtr = std::shared_ptr<const Endpoint>;

struct Port {
  std::string name;
  std::uint16_t port = 0, node_port = 0;
  std::vector<EndpointPtr> ready;
  mutable std::atomic<std::uint32_t> turn{0};
};
struct Address {  // of a headless Service's pod
  std::string ip, hostname;
};
struct Service {
  std::string ns, name;
  std::string cluster_ip;  // empty: headless, or an ExternalName
  std::string external_name;
  bool client_affinity = false;
  std::vector<std::unique_ptr<const Port>> ports;  // TCP ones
  std::vector<Address> addresses;
  // The port of this number; 0: the only one. nullptr: none.
  [[nodiscard]] const Port* find(std::uint16_t number) const;
};
using ServicePtr = std::shared_ptr<const Service>;

// From a Service, its Endpoints (may be null) and EndpointSlices. `pod_labels` may be empty. Counters of endpoints that
// stay are taken over from `before`.
using PodLabels = std::function<const kube::Object*(const std::string& ns, const std::string& pod)>;
ServicePtr make_service(const kube::ObjectPtr& service, const kube::Object* endpoints,
                        const std::vector<kube::ObjectPtr>& slices, const PodLabels& pod_labels, const Service* before);

enum class Policy : std::uint8_t { least_busy, round_robin, random };
struct Choice {
  Policy policy = Policy::least_busy;
  std::string_view client;                                                   // stays with one endpoint when set
  const std::vector<std::pair<std::string, std::string>>* subset = nullptr;  // labels that its pod must have
  const std::vector<EndpointPtr>* tried = nullptr;                           // not again
};
// One of the ready endpoints; null when none fits.
EndpointPtr pick(const Port& port, const Choice& choice = {});

// Counts a use of an endpoint while it lives.
class Use {
 public:
  explicit Use(EndpointPtr e) : endpoint_(std::move(e)) {
    if (endpoint_) endpoint_->active.fetch_add(1, std::memory_order_relaxed);
  }
  ~Use() {
    if (endpoint_) endpoint_->active.fetch_sub(1, std::memory_order_relaxed);
  }
  // One more, unless `limit` uses are under way.
  static std::optional<Use> take(EndpointPtr e, std::uint32_t limit) {
    auto n = e->active.load(std::memory_order_relaxed);
    while (n < limit)
      if (e->active.compare_exchange_weak(n, n + 1, std::memory_order_relaxed)) return Use(std::move(e), Counted{});
    return std::nullopt;
  }
  Use(Use&& o) noexcept : endpoint_(std::move(o.endpoint_)) { o.endpoint_.reset(); }
  Use& operator=(Use&&) = delete;

 private:
  struct Counted {};
  Use(EndpointPtr e, Counted) : endpoint_(std::move(e)) {}
  EndpointPtr endpoint_;
};

class Directory {
 public:
  using Map = std::map<kube::Key, ServicePtr>;
  [[nodiscard]] std::shared_ptr<const Map> all() const { return map_.load(); }
  [[nodiscard]] ServicePtr find(std::string_view ns, std::string_view name) const;
  void replace(std::shared_ptr<const Map> map) { map_.store(std::move(map)); }

 private:
  std::atomic<std::shared_ptr<const Map>> map_{std::make_shared<const Map>()};
};

// Lines of a hosts file: address, names. `own_ns`: its Services by their short names too. `resolved`: the addresses of
// other hosts that ExternalName Services stand for.
using Lines = std::vector<std::pair<std::string, std::string>>;
Lines hosts_lines(const Directory::Map& map, std::string_view own_ns,
                  const std::function<std::vector<std::string>(const std::string& host)>& resolved);

}  // namespace mr::services
