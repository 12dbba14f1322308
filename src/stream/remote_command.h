// The server end of Kubernetes' exec and attach: channels of a WebSocket (v5 and v4, plain and base64) or streams of
// SPDY/3.1 (v4). Knows nothing of containers: an ExecSession is the process behind it.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "http/message.h"

namespace mr::stream {

struct ExecOptions {
  bool in = false;
  bool out = false;
  bool err = false;
  bool tty = false;  // the process has a terminal: no separate stderr
  std::vector<std::string> command;
  std::string container;
};
// As the query names them: stdin, stdout, stderr, tty, command (repeated), container.
ExecOptions exec_options(const http::Request& request);

// One process and its three ends. All calls come from the connection's loop: one writer of stdin and one reader of
// output at a time. Destroyed when neither is under way.
class ExecSession {
 public:
  virtual ~ExecSession() = default;
  // Returns when the process (or its pipe) took all. An error means that it reads no more: what follows is dropped.
  virtual task::Task<Result<void>> write_stdin(std::string_view bytes) = 0;
  virtual void close_stdin() = 0;
  virtual void resize(std::uint16_t width, std::uint16_t height) = 0;
  struct Output {
    int channel = 1;          // 1 stdout, 2 stderr
    std::string_view bytes;   // valid until the next call
    std::optional<int> exit;  // set: the process is over and this is the last answer; attach gives 0
  };
  // An error ends the session; its message is shown to the user.
  virtual task::Task<Result<Output>> read_output() = 0;
  // The client is gone: calls under way must return soon. Called at most once, and not after the last output.
  virtual void cancel() = 0;
};

// Chooses the protocol from the request's headers; 400 or 403 with a Status when none fits.
http::Response serve_exec(http::Request& request, ExecOptions options, std::unique_ptr<ExecSession> session);

}  // namespace mr::stream
