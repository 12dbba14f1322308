// Carries the calls of HTTP/2 connections to other HTTP/2 servers in cleartext: streams of any kind, both ways, with
// flow control from end to end, trailers, resets. Where a call goes is the router's to say.
// Ownership: everything lives in the task. One loop.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "grpc/server.h"
#include "http/server.h"

namespace mr::grpc {

using HeaderList = std::vector<std::pair<std::string, std::string>>;  // names in lower case

struct CallHead {
  std::string method, scheme, authority, path;
  HeaderList headers;
  [[nodiscard]] std::string_view get(std::string_view name) const;
  [[nodiscard]] bool is_grpc() const;
};

struct Route {
  // Why the call goes nowhere; ok: it goes to `ip` and `port`.
  Status refused = Status::ok;
  std::string why;
  int http_status = 503;  // the same for what is no gRPC
  std::string ip;
  std::uint16_t port = 0;
  long timeout_ms = 0;         // of the whole call; 0: none
  int attempts = 0;            // to connect, where more than ProxyLimits has are of use
  std::shared_ptr<void> keep;  // lives as long as the call
};
// May change the head, which is sent on. `attempt` counts from 0: the way it chose before did not connect. Awaited on
// the connection's loop; views of nothing but its arguments.
using CallRouter = std::function<task::Task<Route>(CallHead& head, int attempt)>;

struct ProxyLimits {
  std::uint32_t streams = 256;               // at once, of one connection
  std::size_t header_bytes = 64 * 1024;      // of one call
  std::uint32_t stream_window = 256 * 1024;  // bytes held for one call, each way
  int attempts = 3;
  int connect_timeout_ms = 5000;
  int stall_timeout_s = 60;   // a side takes no byte for so long: closed
  int idle_timeout_s = 3600;  // no call and no byte for so long: closed
};

// Serves one connection until it ends.
task::Task<void> proxy_calls(http::TakenOver& near, CallRouter router, ProxyLimits limits = {});

}  // namespace mr::grpc
