// Passes one request on to another server and its answer back: bodies stream both ways, upgrades (WebSocket, SPDY) are
// joined. Failures are answered as Envoy words them. Thread safe as AsyncClient is.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "http/async_client.h"

namespace mr::http {

struct ProxyOptions {
  std::string target;                // path and query to ask for; empty: as they came
  std::string host;                  // Host to ask with; empty: as it came
  Headers set_headers;               // of the request, after removal
  std::vector<std::string> removed;  // headers of the request
  int timeout_ms = 0;                // for the whole answer: 504
  int connect_timeout_ms = 10'000;
};

task::Task<Response> proxy(AsyncClient& client, Request& request, Endpoint endpoint, ProxyOptions options);

// The answer when there is nobody to pass a request to: 503, "no healthy upstream".
Response no_upstream();

}  // namespace mr::http
