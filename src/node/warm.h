// Interpreters that wait. One stands by for each environment of packages and namespace: a process in a sandbox of its
// own that has imported what the namespace's steps begin with, and forks for each of them. The copy enters the sandbox
// that bubblewrap has made for the pod (its mounts, processes, names and control groups), gives up what that sandbox
// does not grant, and runs the pod's program there; so a step starts without starting an interpreter and sees what it
// would see anyway. Namespaces never share an interpreter: what a package does when it is imported stays with those who
// asked for the package.
// Used on the node's loop; owned by the node's Context. When the object goes, the processes go.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "node/process.h"
#include "node/sandbox.h"

namespace mr::node {

// What a copy of a waiting interpreter becomes.
struct WarmStep {
  std::vector<std::string> argv;  // a program of Python and its arguments
  Env env;
  std::string working_dir;
  int out = -1, err = -1;            // its output; ours, the copy has its own
  int code = -1;                     // where its exit code is written, as a line
  int init_pid = -1;                 // the first process of the sandbox it enters
  std::vector<std::string> cgroups;  // cgroup.procs files
  bool keeps_capabilities = false;   // those of a plain image; else none
};

class WarmInterpreter {
 public:
  // Forks a copy for `step`. Errors: the interpreter is gone or busy; the caller starts one of its own.
  Result<void> run(const WarmStep& step);
  [[nodiscard]] int pid() const { return pid_; }  // the interpreter, as this machine numbers it
  // Puts a command into the interpreter's process and user namespaces: a sandbox made there can be entered by its
  // copies.
  [[nodiscard]] std::vector<std::string> beside(std::vector<std::string> command) const;
  [[nodiscard]] bool alive() const { return process_ && process_->running(); }
  // The process of the copy that runs in the sandbox of `init_pid`; -1: none, or no more.
  [[nodiscard]] int process_in(int init_pid) const;
  ~WarmInterpreter();

 private:
  friend class WarmInterpreters;
  WarmInterpreter() = default;
  std::unique_ptr<Process> process_;
  Fd control_;
  std::string folder_;
  int pid_ = -1;
  std::int64_t used_ms_ = 0;
};

class WarmInterpreters {
 public:
  // `folder`: where their sandboxes' files lie. `limit`: how many stand by at once; 0 switches them off.
  WarmInterpreters(std::string folder, int limit) : folder_(std::move(folder)), limit_(limit) {}
  ~WarmInterpreters();
  // The interpreter for steps like this, or null: then one is started beside, for the next. `imports`: names of
  // modules, and NAME=value for the environment they are imported in, separated by spaces.
  std::shared_ptr<WarmInterpreter> get(const SandboxSpec& step, const std::string& namespace_name,
                                       const std::string& imports);
  void stop();

 private:
  struct State;
  struct Entry;
  static task::Task<void> start(std::shared_ptr<State> state, std::string key, SandboxSpec spec, std::string imports);
  static task::Task<Result<std::shared_ptr<WarmInterpreter>>> launch(SandboxSpec spec, std::string imports);
  std::string folder_;
  int limit_;
  std::shared_ptr<State> state_;
};

// Whether a step's command and environment are such that a waiting interpreter does the same as a new one: a program of
// Python in a file, and no setting that an interpreter reads when it starts.
bool can_be_warm(const SandboxSpec& step);

}  // namespace mr::node
