// The processes and streams behind `kubectl exec` and `kubectl attach`. Made and used on the loop of the connection.
#pragma once
#include <memory>

#include "node/worker.h"
#include "stream/remote_command.h"

namespace mr::node {

using task::Hop;

// `join`: the command that enters the container and runs there what `options` ask for.
Result<std::unique_ptr<stream::ExecSession>> start_exec(SandboxCommand join, const kube::ExecOptions& options);

struct Attachment {
  std::shared_ptr<Output::Reader> reader;
  std::shared_ptr<http::ByteStream> in;  // belongs to `loop`; null: the container has no standard input
  Fd terminal;
  bool close_in = false;  // stdinOnce: the container's input ends with the session's
  task::Loop* loop = nullptr;
};
std::unique_ptr<stream::ExecSession> attach_session(Attachment a);

}  // namespace mr::node
