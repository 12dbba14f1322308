// The server end of Kubernetes' port-forward: SPDY/3.1 inside a WebSocket or on the bare connection (kubectl), or
// v4.channel.k8s.io channels (the Python client). Knows nothing of pods: a Dialer opens the way to a port.
#pragma once
#include <memory>
#include <string>

#include "http/message.h"

namespace mr::stream {

// Opens connections to the ports of one target. Called on the connection's loop, from several tasks.
class Dialer {
 public:
  virtual ~Dialer() = default;
  // The error's message is shown to the user.
  virtual task::Task<Result<std::unique_ptr<http::ByteStream>>> dial(std::uint16_t port) = 0;
};

struct PortForwardTarget {
  std::string pod;  // "name_namespace", as error texts name it
  std::string uid;
};

// Chooses the protocol from the request's headers; 400 or 403 with a Status when none fits.
http::Response serve_port_forward(http::Request& request, std::shared_ptr<Dialer> dialer, PortForwardTarget target);

}  // namespace mr::stream
