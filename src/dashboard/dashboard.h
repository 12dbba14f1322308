// The dashboard: the web pages that are embedded in this program, and the small read API below /dashboard/api/v1/ that
// joins the other rooms for them. It asks those rooms through the handlers of their public APIs, never their databases.
// Ownership: the handlers in DashboardDeps must outlive the Dashboard's last request. Thread safe.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "http/message.h"
#include "task/loop.h"

namespace mr::dashboard {

struct DashboardDeps {
  http::Handler kube;       // the Kubernetes API; users are told apart by Request::peer
  http::Handler tracking;   // MLflow's REST API
  http::Handler pipelines;  // /apis/v2beta1/...
  http::Handler objects;    // S3
  // Path and query under which the S3 handler takes one request; `query` holds decoded pairs, `host` is the Host
  // header.
  std::function<std::string(std::string_view method, const std::string& host, const std::string& bucket,
                            const std::string& key, std::vector<std::pair<std::string, std::string>> query)>
      sign;
  // When a recurring run makes its next runs, or, without an id, when a cron text would: milliseconds since 1970.
  std::function<Result<std::vector<std::int64_t>>(const std::string& id, const std::string& cron, std::size_t most)>
      next_runs;
  std::vector<std::string> allowed_hosts;  // beside this machine's names and addresses
  bool local = true;                       // false: other machines reach the front door, and get no data here
  // Whether the client at an address of this machine is a pod; empty: found out by the kernel's tables (caller.h).
  std::function<bool(const std::string& ip, std::uint16_t port)> is_pod;
  std::string version;
  std::vector<std::pair<std::string, std::string>> addresses;  // what the pages show: "tracking" -> URL
};

class Dashboard {
 public:
  explicit Dashboard(DashboardDeps deps);
  ~Dashboard();
  // Answers /, the pages' addresses and /dashboard/...; everything else goes to `fallback`.
  [[nodiscard]] http::Handler at_front_door(http::Handler fallback) const;
  // Counts what changes through `inner`, so that open pages hear of it.
  [[nodiscard]] http::Handler observed(http::Handler inner) const;
  // Publishes the role that the pages act in, where there is none yet. `loop` outlives stop().
  void start(task::Loop& loop);
  // Ends the streams of events, which would hold the shutdown up.
  void stop();

  struct Impl;

 private:
  std::shared_ptr<Impl> impl_;
};

}  // namespace mr::dashboard
