// Limits of one container by control groups, version 2 or 1, where this process may make them.
// Made and dropped on the node's loop.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/fd.h"

namespace mr::node {

struct Limits {
  double cpus = 0;          // 0: none
  std::int64_t memory = 0;  // bytes; 0: none
};

class Cgroup {
 public:
  // Null when this host does not let us make one, or nothing is limited. `above`: a container engine makes a group of
  // its own below this one (version 1 only), in every controller.
  static std::unique_ptr<Cgroup> make(const std::string& id, const Limits& limits, bool above = false);
  // Kills what is still inside, then removes the group.
  ~Cgroup();
  Cgroup(const Cgroup&) = delete;
  Cgroup& operator=(const Cgroup&) = delete;
  // The files that a process writes itself into.
  [[nodiscard]] const std::vector<std::string>& procs() const { return procs_; }
  [[nodiscard]] bool limits_memory() const { return !memory_.empty(); }
  [[nodiscard]] const std::string& name() const { return name_; }
  // Whether the kernel has ended something in it for want of memory.
  [[nodiscard]] bool oom_killed() const;

 private:
  Cgroup() = default;
  std::vector<std::string> folders_, procs_;
  std::string name_;
  std::string memory_;  // the folder whose events count
  Fd events_;           // of version 1, which counts only what is in the group itself: told of what happens below it
  bool v2_ = false, above_ = false;
};

// What process `pid` and all below it use: resident memory, and processor time since they began.
struct Used {
  std::int64_t resident_bytes = 0, cpu_ns = 0;
};
Used used_by(int pid);
// Resident bytes of process `pid` and all below it; for hosts without groups.
std::int64_t resident_bytes(int pid);

}  // namespace mr::node
