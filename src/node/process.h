// Child processes and the pipes to them, watched by their loop (pidfd, readiness; nothing is polled).
// A Process belongs to one loop; when its object goes, what still runs is killed and reaped.
#pragma once
#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/fd.h"
#include "http/byte_stream.h"

namespace mr::node {

struct SpawnOptions {
  std::vector<std::string> argv;         // argv[0]: the program's full path
  std::vector<std::string> env;          // "NAME=value"
  int in = -1, out = -1, err = -1;       // -1: /dev/null
  std::vector<std::pair<int, int>> fds;  // further ones: ours -> theirs; theirs from 3 on
  std::vector<std::string> cgroups;      // cgroup.procs files that the child enters before it runs
  bool terminal = false;                 // a session of its own with `in` as its controlling terminal
  bool outlives = false;                 // it does not end with this program
  std::string folder;                    // where it runs; empty: where this program does
};

class Process {
 public:
  // `on_exit` is called on the loop with the wait status, once, unless the object goes before.
  static Result<std::unique_ptr<Process>> start(const SpawnOptions& options,
                                                std::move_only_function<void(int)> on_exit);
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  [[nodiscard]] pid_t pid() const;
  [[nodiscard]] bool running() const;
  void kill(int signal);

 private:
  struct Impl;
  explicit Process(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<Impl> impl_;
};

// Ends sandboxes of this data folder that an earlier program left behind: one that was killed while it set a sandbox up
// leaves the half of it that waits for the other. Call before the first start.
void end_strays(const std::string& data_folder);

// 0…255 as a shell and the kubelet say it: 128 + signal for one that a signal ended.
int exit_code(int wait_status);

struct Pipe {
  Fd read, write;
};
Result<Pipe> make_pipe();  // both ends close on exec, the one that stays here is made non-blocking by stream_of
struct Terminal {
  Fd master, slave;
};
Result<Terminal> make_terminal(int columns, int rows);

// A pipe end, terminal or socket as a stream. shutdown_write() of a pipe closes it.
// An end of a terminal whose other side is gone reads as the end.
std::unique_ptr<http::ByteStream> stream_of(Fd fd);

}  // namespace mr::node
