// The view of the machine that a process container gets, and the bubblewrap command line that makes it: the system's
// programs read-only, its own /usr/local, home, /tmp and /etc, its mounts, no capabilities beyond those a plain image
// has, no new privileges, and an end with this program however it ends.
// Used on the node's loop.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "node/env.h"
#include "node/images.h"
#include "node/volumes.h"

namespace mr::node {

// Where a pod sees the caches of pip and uv, whatever its HOME is.
inline constexpr std::string_view kCacheInside = "/var/cache/millrace";

struct SandboxSpec {
  Image image;
  std::string folder;        // pods/UID/containers/NAME: what of the container's own view lies on disk
  std::string etc_folder;    // pods/UID/etc
  std::string cache_folder;  // packages that pip and uv have fetched, shared by all pods
  std::string env_folder;    // a made environment of packages (envs/KEY), or empty
  std::string bind_shim;     // the library that gives each pod its own ports, or empty
  std::string host_name;
  std::vector<Mount> mounts;
  Env env;
  std::vector<std::string> command;  // resolved command and args
  std::string working_dir;
  long uid = 0, gid = 0;
  bool read_only_root = false;
  bool no_network = false;  // only a loopback of its own
  int status_fd = -1;       // where bubblewrap writes what became of the command, as JSON lines
};

struct SandboxCommand {
  std::vector<std::string> argv, env;
};

// Where bubblewrap is, or an error (reason ErrImagePull) that says what to install. Found once it works; looked for
// again as long as it does not. Takes some milliseconds the first time.
Result<std::string> find_bubblewrap();

// Makes the container's folder anew (a restarted container begins with an empty view of its own).
Result<void> make_container_folder(const SandboxSpec& spec);
Result<SandboxCommand> sandbox_command(const SandboxSpec& spec, const std::string& bubblewrap);
// The pod's passwd, group, hostname; hosts is written by write_hosts.
Result<void> make_etc(const std::string& etc_folder, const std::string& host_name, long uid, long gid);
void write_hosts(const std::string& etc_folder, const std::string& pod_ip, const std::string& host_name,
                 const std::vector<std::pair<std::string, std::string>>& lines, const kube::Array& aliases);
// A command that joins the sandbox whose first process is `pid` (as this machine numbers it).
SandboxCommand join_command(int pid, const SandboxSpec& spec, const std::vector<std::string>& command);
// The process of the sandbox that signals are for: what bubblewrap's own first process (`init_pid`) started. -1: gone.
int main_process(int init_pid);
// Returns once the sandbox is complete, so that it may be joined. False: it is not going to be.
task::Task<bool> sandbox_is_up(int init_pid);

}  // namespace mr::node
