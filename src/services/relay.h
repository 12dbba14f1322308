// TCP listeners whose connections are carried, byte for byte, to an endpoint chosen for each.
// Ownership: Relays owns its listeners and the connections through them. Thread safety: all calls on any thread;
// connections run spread over the loops.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "services/directory.h"
#include "task/loop.h"

namespace mr::services {

// Where a connection of `client` goes, other than those tried already; null: nowhere. Called on any loop.
using PickFn = std::function<EndpointPtr(std::string_view client, const std::vector<EndpointPtr>& tried)>;

struct RelayLimits {
  std::size_t connections = 8192;  // of all listeners together; more are closed at once
  int attempts = 3;                // endpoints tried for a connection
  int connect_timeout_ms = 5000;
};

class Relays {
 public:
  Relays(task::Loops& loops, RelayLimits limits = {});
  ~Relays();
  // Listens until the returned handle is gone; connections made through it go on. Errors: permission_denied (a port
  // below 1024), already_exists (the address is in use), unavailable.
  class Listener {
   public:
    virtual ~Listener() = default;
    [[nodiscard]] virtual std::uint16_t port() const = 0;
  };
  Result<std::unique_ptr<Listener>> listen(const std::string& ip, std::uint16_t port, PickFn pick);
  [[nodiscard]] std::size_t connections() const;
  // Closes every connection and returns when none is left. Call from outside the loops, while they run.
  void stop();

  struct Impl;

 private:
  std::shared_ptr<Impl> impl_;
};

}  // namespace mr::services
