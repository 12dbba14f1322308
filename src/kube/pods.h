// What the API server asks of the node that runs a pod: its logs, a command inside it, its ports. The node implements
// it. Thread safe: called on any loop's thread.
#pragma once
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "http/message.h"
#include "kube/object.h"
#include "task/task.h"

namespace mr::stream {
class ExecSession;
class Dialer;
}  // namespace mr::stream

namespace mr::kube {

struct LogOptions {
  std::string container;
  bool follow = false, previous = false, timestamps = false;
  std::optional<std::int64_t> tail_lines, limit_bytes, since_seconds;
  std::string since_time;                   // RFC 3339
  std::shared_ptr<std::atomic<bool>> gone;  // the client went away: a followed log ends. May be null
};
struct ExecOptions {
  std::string container;
  std::vector<std::string> command;
  bool in = false, out = false, err = false, tty = false;
};

// What a running container has used since it began.
struct Usage {
  std::string container;
  std::int64_t cpu_ns = 0, memory_bytes = 0, age_ns = 0;
};

class Pods {
 public:
  virtual ~Pods() = default;
  // The body of the answer to GET …/log: a stream that ends with the container, or is cut at once without `follow`.
  // Errors: 400 for a container that has not started or does not exist, in the kubelet's words.
  virtual task::Task<Result<http::Response>> logs(ObjectPtr pod, LogOptions options) = 0;
  // A process inside the container (`exec`), or the container's own standard streams (`attach`).
  virtual task::Task<Result<std::unique_ptr<stream::ExecSession>>> exec(ObjectPtr pod, ExecOptions options) = 0;
  virtual task::Task<Result<std::unique_ptr<stream::ExecSession>>> attach(ObjectPtr pod, ExecOptions options) = 0;
  // Connections to the pod's ports.
  virtual task::Task<Result<std::shared_ptr<stream::Dialer>>> port_forward(ObjectPtr pod) = 0;
  [[nodiscard]] virtual const std::string& node_name() const = 0;
  // Of the containers that run as processes, by the uid of their pod.
  virtual task::Task<std::map<std::string, std::vector<Usage>>> usage() = 0;
};

}  // namespace mr::kube
