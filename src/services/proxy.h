// Services on loopback: watches Services and their endpoints, listens on each cluster IP, and carries connections to
// ready endpoints.
// Ownership: uses the Loops and the Manager, which must outlive it. Thread safety: made and started before the Manager
// starts (it asks for informers), stopped from outside the loops after the Manager has stopped; directory() and hosts()
// from any thread.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "kube/kit.h"
#include "services/demand.h"
#include "services/directory.h"
#include "services/relay.h"
#include "task/loop.h"

namespace mr::services {

class ServiceProxy {
 public:
  ServiceProxy(task::Loops& loops, kube::Manager& manager);
  ~ServiceProxy();
  void start();
  void stop();
  // The Services as they are now; lives as long as this.
  [[nodiscard]] const Directory& directory() const;
  // Lines for /etc/hosts; with a namespace, its Services by their short names too.
  [[nodiscard]] Lines hosts(std::string_view own_ns = {}) const;
  // The Services whose pods depend on demand; who waits for one of them is woken when their endpoints change.
  [[nodiscard]] Demand& demand() const;
  // The relays, for listeners that stand for parts of this program.
  [[nodiscard]] Relays& relays() const;

  struct Impl;

 private:
  std::shared_ptr<Impl> impl_;
};

}  // namespace mr::services
