// Containers of an engine on this machine (podman, or docker), driven through its command line: argument lists, never a
// shell. The engine's client runs as a pod's process and brings the container's output; everything else (create, kill,
// exec, inspect, remove) is a short command of its own.
// find_engine() and clear_containers() block and may be called from any thread; Containers lives on the node's loop.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "node/cgroup.h"
#include "node/env.h"
#include "node/process.h"
#include "node/volumes.h"
#include "task/event.h"

namespace mr::node {

struct Engine {
  std::string program;  // its full path
  bool podman = true;   // else docker
  std::string version;
  std::vector<std::string> before;    // arguments that stand before each command
  bool memory = false, cpus = false;  // limits that it can set
  // Control groups of version 1: the container is put into a group of ours, which counts what the engine does not tell.
  bool own_groups = false;
  bool rootless = false;  // users of its containers are ones that this program is not
  [[nodiscard]] std::string_view name() const { return podman ? "podman" : "docker"; }
};

// `choice`: "auto" (podman before docker), "podman", "docker", "none". Errors: reason ErrImagePull, with what to
// install.
Result<Engine> find_engine(const std::string& choice);

struct EngineImage {
  std::string id;           // what create is told
  std::string digest;       // imageID of a container's status
  std::string user;         // USER of the image
  std::string stop_signal;  // "SIGTERM" when it names none
};

// One container as the engine is to make it.
struct ContainerSpec {
  std::string name, image;
  std::vector<std::pair<std::string, std::string>> labels;
  std::string host_name, hosts_file;
  Env env;
  std::vector<Mount> mounts;
  std::vector<std::string> command, args;
  std::string working_dir;
  std::optional<long> uid, gid;
  std::vector<long> groups;
  std::vector<std::string> add_capabilities, drop_capabilities;
  bool terminal = false, in = false;
  bool read_only_root = false, privileged = false, no_new_privileges = false;
  bool host_pid = false, host_ipc = false;
  Limits limits;
  std::string group;  // the control group that it is put below, or empty
};

struct EngineCommand {
  std::vector<std::string> argv, env;
  std::string folder = {};  // where it runs; empty: where this program does
};

// The variables of this program's environment that an engine's client needs.
std::vector<std::string> engine_environment();
EngineCommand engine_command(const Engine& engine, std::vector<std::string> arguments);
// Values of variables are handed over in the client's environment where they may be: command lines can be read by all.
EngineCommand create_command(const Engine& engine, const ContainerSpec& spec);
EngineCommand start_command(const Engine& engine, const std::string& name, bool in);
// `mark`: what end_marked() knows the command by, or empty.
EngineCommand exec_command(const Engine& engine, const std::string& name, const std::vector<std::string>& command,
                           bool in, bool terminal, const std::string& mark = {});
// Kills what was started inside a container with this mark: a command there does not end with its client. Reads all of
// /proc: not for a loop.
void end_marked(const std::string& mark);
// "nginx:1" -> "docker.io/library/nginx:1": the name that a cluster would pull.
std::string full_image_name(std::string_view image);
// What a failed command said: its last line that is no warning, without "Error: ".
std::string engine_words(std::string_view err);

// Removes all containers that have this label, and what is left of those whose names begin with `prefix` and that were
// never finished: a store of files that the engine lists apart, a monitor that nobody knows. Blocks.
void clear_containers(const Engine& engine, const std::string& label, const std::string& prefix);
// Removes a folder in which containers may have made files as other users. Blocks.
void remove_folder(const std::optional<Engine>& engine, const std::string& folder);
// Waits until `fd` reaches its end (the program that holds the other side is gone), then removes what it left.
// The body of the process that Containers starts beside itself. Blocks.
void guard_containers(const std::string& choice, const std::string& label, const std::string& prefix, int fd);

class Containers : public std::enable_shared_from_this<Containers> {
 public:
  // `guard`: this program's own path, which understands `containers-guard`; empty: nobody cleans up after a kill.
  Containers(std::string choice, std::string data_folder, std::string guard);
  // Removes what an earlier program of this data folder left behind.
  task::Task<void> begin();
  // Removes what this program has left, all at once; blocks. Once nothing is started any more.
  void clear();
  // The engine, looked for until one is found. Containers of earlier programs are gone when it answers.
  task::Task<Result<Engine>> engine();

  // A command that is under way; cancel() ends it, whoever waits for it gets an error.
  struct Call {
    Process* process = nullptr;
    bool cancelled = false;
    void cancel();
  };
  struct Said {
    int code = 0;
    std::string out, err;
  };
  // `timeout_ms` 0: as long as it takes.
  static task::Task<Result<Said>> run(EngineCommand command, long timeout_ms, std::shared_ptr<Call> call = nullptr);
  // Errors: not_found when the image is not on this machine.
  static task::Task<Result<EngineImage>> image(Engine engine, std::string name);
  // `auth_file`: credentials of the pod's imagePullSecrets, or empty. Errors: reason ErrImagePull.
  static task::Task<Result<void>> pull(Engine engine, std::string name, std::string auth_file,
                                       std::shared_ptr<Call> call);

  struct State {
    bool ran = false, running = false, oom = false;
    int exit_code = 0, pid = 0;
    std::string error;
  };
  static task::Task<Result<State>> state(Engine engine, std::string name);
  static task::Task<void> remove(Engine engine, std::string name);

  // The labels that every container of this program bears.
  [[nodiscard]] std::vector<std::pair<std::string, std::string>> labels() const;
  // What the names of its containers begin with.
  [[nodiscard]] std::string prefix() const { return fmt::format("{}{}-", data_prefix_, run_); }

 private:
  void start_guard();
  std::string choice_, data_folder_, guard_program_;
  std::string data_prefix_;  // of the names of all lives of this data folder
  std::string run_;          // of this life of the program
  std::optional<Engine> engine_;
  task::Mutex looking_;
  Fd guard_;  // its end tells the guard that this program is gone
};

}  // namespace mr::node
