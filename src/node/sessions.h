// The processes and streams behind `kubectl exec` and `kubectl attach`. Made and used on the loop of the connection.
#pragma once
#include <memory>

#include "node/worker.h"
#include "stream/remote_command.h"

namespace mr::node {

// Resumes the coroutine on `to`.
struct Hop {
  task::Loop& to;
  bool await_ready() const { return task::Loop::current() == &to; }
  void await_suspend(std::coroutine_handle<> h) const {
    to.post([h] { h.resume(); });
  }
  void await_resume() const {}
};

Result<std::unique_ptr<stream::ExecSession>> start_exec(int init_pid, const SandboxSpec& sandbox,
                                                        const kube::ExecOptions& options);

struct Attachment {
  std::shared_ptr<Output::Reader> reader;
  std::shared_ptr<http::ByteStream> in;  // belongs to `loop`; null: the container has no standard input
  Fd terminal;
  bool close_in = false;  // stdinOnce: the container's input ends with the session's
  task::Loop* loop = nullptr;
};
std::unique_ptr<stream::ExecSession> attach_session(Attachment a);

}  // namespace mr::node
