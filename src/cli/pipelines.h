// The pipelines room put together: its store, its runner over this program's Kubernetes API and object store, its
// schedules, its API. Owned by the command's function; opened before the listeners start, stopped before the platform.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "http/message.h"
#include "kube/client.h"
#include "kube/pods.h"
#include "objects/store.h"
#include "task/loop.h"

namespace mr::cli {

// Whether pipelines may be fetched by URL from where not everybody gets to.
enum class PrivateUrls : std::uint8_t {
  no,
  of_this_machine,  // loopback and private networks: who asks is on this machine already
  yes,              // link-local addresses too
};

struct PipelinesOptions {
  std::string data;               // the data folder
  std::string cron_zone = "UTC";  // of recurring runs' cron texts
  bool cache = true;
  int cache_days = 0;                     // 0: of any age
  std::vector<std::string> cache_ignore;  // names of inputs whose values do not matter to it
  std::int64_t cache_entries = 100'000;
  long start_limit_s = 600;  // that a step waits for a volume that is not there; 0: for ever
  std::size_t max_pods = 16;
  std::string step_disk;  // a quantity; empty: a step may take what there is
  PrivateUrls private_urls = PrivateUrls::no;
  std::string tracking_address = "127.0.0.1";
  std::uint16_t tracking_port = 5000;
};

class Pipelines {
 public:
  // `client`, `pods` and `objects` must outlive it.
  static Result<std::unique_ptr<Pipelines>> open(kube::Client& client, kube::Pods& pods, objects::Store& objects,
                                                 PipelinesOptions options);
  ~Pipelines();
  // The API: /apis/… .
  [[nodiscard]] http::Handler handler() const;
  // What of the front door is the API's (/apis/v…, the same below /pipeline/); the rest goes to `fallback`.
  [[nodiscard]] http::Handler at_front_door(http::Handler fallback) const;
  // When a recurring run makes its next runs, or, without an id, when a cron text would: milliseconds since 1970.
  [[nodiscard]] Result<std::vector<std::int64_t>> next_runs(const std::string& id, const std::string& cron,
                                                            std::size_t most) const;
  // Takes up unfinished runs and starts the schedules. `loop` outlives stop().
  void start(task::Loop& loop);
  void stop();

 private:
  struct Impl;
  explicit Pipelines(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace mr::cli
