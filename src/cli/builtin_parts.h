// Pods that stand for parts of this program: `kubectl get pods -n kubeflow` shows them, their logs are the part's
// requests, their ports lead to the part's own listener. A part lives as long as the program, whatever its pod does.
// Thread safe.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "http/message.h"
#include "kube/object.h"
#include "node/node.h"
#include "services/relay.h"

namespace mr::cli {

// Lines of a part for the logs of its pods. A flood is cut: beyond some hundred lines between two deliveries only their
// number is kept, so that logging costs a busy part next to nothing.
class PartLog {
 public:
  PartLog();
  // Whether a line would be kept now; when not, it counts as left out, and need not be made.
  [[nodiscard]] bool has_room();
  void line(std::string text);         // without its end of line
  void bytes(std::string_view lines);  // whole or broken lines
  // Until the handle goes: what was said lately, then what comes.
  [[nodiscard]] std::shared_ptr<void> attach(node::LogSink sink);

  struct Impl;

 private:
  std::shared_ptr<Impl> impl_;
};

// A handler whose answers are lines of `log`, in the form of an access log.
http::Handler with_part_log(http::Handler inner, std::shared_ptr<PartLog> log);

struct Part {
  std::map<std::uint16_t, std::uint16_t> ports;  // of the container -> of the part's listener on 127.0.0.1
  std::string address = "127.0.0.1";
  std::function<bool()> ready;
  std::shared_ptr<PartLog> log;
};
// For node::Node::add_runtime: a container listens on its pod's address and carries connections to the part.
std::shared_ptr<node::BuiltinRuntime> make_part_runtime(services::Relays& relays, Part part);

// The objects that publish the parts in namespace kubeflow: Deployments, Services, the front door's Gateway. To be
// created where they do not exist yet.
std::vector<kube::Object> builtin_objects(bool with_mysql);

}  // namespace mr::cli
