// The node: runs the pods that are bound to it, on this machine, and answers for their logs, commands and ports.
// An image names a runtime: a part of this program (BuiltinRuntime), a process under bubblewrap, or a container of an
// engine that is installed here.
// Ownership: the Node owns its pods' processes; none outlives it. Thread safety: made, started and stopped from outside
// the Manager's loop, on which everything else happens; the calls of kube::Pods may come from any loop.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kube/kit.h"
#include "kube/pods.h"
#include "task/task.h"

namespace mr::node {

struct TokenRequest {
  std::string ns, service_account, audience;  // audience empty: the API server's own
  long expiry_s = 3600;
  std::string pod_name, pod_uid;
};

struct NodeOptions {
  std::string name = "millrace";
  std::string data_folder;                         // envs/, logs/, node/, pods/, volumes/ beneath
  std::string api_url = "https://127.0.0.1:6443";  // what pods are told of the API server
  std::string ca_pem;                              // and how they verify it
  // Further image names: "registry/team/trainer:7" -> "python:3.11", "host" for this machine's own programs, or
  // "container" for the image itself in a container.
  std::map<std::string, std::string> images;
  int warm_interpreters = 4;              // how many stand by at once for steps of pipelines; 0: none
  std::string container_engine = "auto";  // or podman, docker, none
  // Pods are evicted while less than this is free on the data folder's disk, the one that takes most first; 0: never.
  std::int64_t min_free_disk = std::int64_t{512} << 20;
  // This program's own path: started as `PROGRAM containers-guard ENGINE LABEL PREFIX` it ends containers when this
  // process is killed. Empty: they stay until the next start.
  std::string program;
  std::function<Result<std::string>(const TokenRequest&)> issue_token;
  // Lines of the /etc/hosts of pods in namespace `ns` besides a pod's own: address, names.
  std::function<std::vector<std::pair<std::string, std::string>>(std::string_view ns)> hosts;
};

// Where a builtin container's output goes; any thread.
using LogSink = std::function<void(std::string_view text)>;

// A container that is a part of this program. Used on the node's loop.
class BuiltinContainer {
 public:
  virtual ~BuiltinContainer() = default;
  // Asks it to end, at the latest after `grace_ms`.
  virtual void stop(long grace_ms) = 0;
  // Its exit code; awaited once, and it must come after stop().
  virtual task::Task<int> wait() = 0;
  [[nodiscard]] virtual bool ready() const = 0;
};

struct BuiltinStart {
  kube::ObjectPtr pod;
  kube::Object container;
  std::vector<std::pair<std::string, std::string>> env;
  std::map<std::string, std::string> mounts;  // mountPath -> folder or file on this machine
  std::string pod_ip;
  LogSink log;
};

class BuiltinRuntime {
 public:
  virtual ~BuiltinRuntime() = default;
  virtual task::Task<Result<std::unique_ptr<BuiltinContainer>>> start(BuiltinStart start) = 0;
};

class Node final : public kube::Pods {
 public:
  Node(task::Loop& loop, kube::Manager& manager, NodeOptions options);
  ~Node() override;
  // Images whose name begins with `image_prefix` ("millrace/predictor") run in `runtime`. Before start().
  void add_runtime(std::string image_prefix, std::shared_ptr<BuiltinRuntime> runtime);
  // Before the Manager's start(): asks it for informers.
  void start();
  // Ends every container (TERM, then KILL) and returns when none runs. The pods' objects stay as they are: the next
  // start() finds them and does what their restart policy says. Call before the Manager's stop().
  void stop();

  task::Task<Result<http::Response>> logs(kube::ObjectPtr pod, kube::LogOptions options) override;
  task::Task<Result<std::unique_ptr<stream::ExecSession>>> exec(kube::ObjectPtr pod,
                                                                kube::ExecOptions options) override;
  task::Task<Result<std::unique_ptr<stream::ExecSession>>> attach(kube::ObjectPtr pod,
                                                                  kube::ExecOptions options) override;
  task::Task<Result<std::shared_ptr<stream::Dialer>>> port_forward(kube::ObjectPtr pod) override;
  [[nodiscard]] const std::string& node_name() const override;
  task::Task<std::map<std::string, std::vector<kube::Usage>>> usage() override;

  struct Impl;

 private:
  std::shared_ptr<Impl> impl_;
};

}  // namespace mr::node
