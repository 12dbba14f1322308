// The front door's routes that other rooms publish without a VirtualService: hosts and paths of InferenceServices.
// Thread safe: put and remove from any thread; requests read an immutable snapshot.
#pragma once
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "http/message.h"

namespace mr::gateway {

struct Backend {
  std::string name;  // of a revision, for logs
  std::uint32_t weight = 100;
  std::string ns, service;  // a Service and its port (0: its only one) ...
  std::uint16_t port = 0;
  http::Handler handler;  // ... or a part of this program, called without a connection
};
struct Route {
  std::string host;         // in lower case; empty: any
  std::string path_prefix;  // "/serving/ns/name/": whole path segments; empty: every path
  bool strip_prefix = false;
  std::vector<std::pair<std::string, std::string>> set_headers;  // on the request
  long timeout_ms = 0;                                           // 0: none
  std::vector<Backend> backends;                                 // chosen by weight
};

class Routes {
 public:
  // Replaces what `owner` ("InferenceService/ns/name") has published.
  void put(const std::string& owner, std::vector<Route> routes);
  void remove(const std::string& owner);

  struct Found {
    std::shared_ptr<const Route> route;
    bool host_known = false;
  };
  // By exact host. A host that is known and has no route for the path is nobody else's.
  [[nodiscard]] Found by_host(std::string_view host, std::string_view path) const;
  // By path, for any host: the longest prefix.
  [[nodiscard]] Found by_path(std::string_view path) const;

 private:
  using RoutePtr = std::shared_ptr<const Route>;
  struct Snapshot {
    std::unordered_map<std::string, std::vector<RoutePtr>> hosts;  // longest prefix first
    std::vector<RoutePtr> paths;                                   // longest prefix first
  };
  void publish();
  std::mutex mutex_;
  std::map<std::string, std::vector<RoutePtr>> by_owner_;
  std::atomic<std::shared_ptr<const Snapshot>> snapshot_{std::make_shared<const Snapshot>()};
};

}  // namespace mr::gateway
