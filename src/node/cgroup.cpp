#include "node/cgroup.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <sstream>

#include "core/read_file.h"
#include "task/pool.h"

namespace mr::node {

namespace {

constexpr std::string_view kRoot = "/sys/fs/cgroup";

bool put(const std::string& file, const std::string& value) {
  int fd = ::open(file.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  auto n = ::write(fd, value.data(), value.size());
  ::close(fd);
  return n == static_cast<ssize_t>(value.size());
}

std::string get(const std::string& file) { return read_or_empty(file); }

// Our own group under version 2 ("0::/user.slice/…"), where children may be made if it was delegated to us.
std::string own_v2() {
  std::istringstream lines(get("/proc/self/cgroup"));
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with("0::")) return line.substr(3);
  return {};
}

}  // namespace

std::unique_ptr<Cgroup> Cgroup::make(const std::string& id, const Limits& l, bool above) {
  if (l.cpus <= 0 && l.memory <= 0) return nullptr;
  std::unique_ptr<Cgroup> g(new Cgroup);
  const auto name = g->name_ = "millrace-" + id;
  g->above_ = above;
  auto quota = static_cast<std::int64_t>(l.cpus * 100'000);
  if (::access(fmt::format("{}/cgroup.controllers", kRoot).c_str(), F_OK) == 0) {
    auto own = own_v2();
    auto parent = fmt::format("{}{}", kRoot, own == "/" ? "" : own);
    put(parent + "/cgroup.subtree_control", "+memory +cpu");
    auto folder = parent + "/" + name;
    if (::mkdir(folder.c_str(), 0755) != 0 && errno != EEXIST) return nullptr;
    g->v2_ = true;
    g->folders_.push_back(folder);
    g->procs_.push_back(folder + "/cgroup.procs");
    if (l.memory > 0 && put(folder + "/memory.max", std::to_string(l.memory))) {
      g->memory_ = folder;
      put(folder + "/memory.swap.max", "0");
    }
    if (l.cpus > 0) put(folder + "/cpu.max", fmt::format("{} 100000", std::max<std::int64_t>(quota, 1000)));
    return g;
  }
  auto under = [&](std::string_view controller) -> std::string {
    auto folder = fmt::format("{}/{}/{}", kRoot, controller, name);
    if (::mkdir(folder.c_str(), 0755) != 0 && errno != EEXIST) return {};
    g->folders_.push_back(folder);
    g->procs_.push_back(folder + "/cgroup.procs");
    return folder;
  };
  if (l.memory > 0)
    if (auto folder = under("memory"); !folder.empty()) {
      put(folder + "/memory.swappiness", "0");
      if (put(folder + "/memory.limit_in_bytes", std::to_string(l.memory))) g->memory_ = folder;
      if (above && !g->memory_.empty()) {
        Fd events(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
        Fd control(::open((folder + "/memory.oom_control").c_str(), O_RDONLY | O_CLOEXEC));
        if (events && control &&
            put(folder + "/cgroup.event_control", fmt::format("{} {}", events.get(), control.get())))
          g->events_ = std::move(events);
      }
    }
  if (l.cpus > 0)
    if (auto folder = under("cpu"); !folder.empty()) {
      put(folder + "/cpu.cfs_period_us", "100000");
      put(folder + "/cpu.cfs_quota_us", std::to_string(std::max<std::int64_t>(quota, 1000)));
    }
  if (g->folders_.empty()) return nullptr;
  return g;
}

bool Cgroup::oom_killed() const {
  if (memory_.empty()) return false;
  if (std::uint64_t count = 0; events_ && ::read(events_.get(), &count, sizeof count) == sizeof count && count > 0)
    return true;
  std::istringstream in(get(memory_ + (v2_ ? "/memory.events" : "/memory.oom_control")));
  std::string key;
  for (long value = 0; in >> key >> value;)
    if (key == "oom_kill") return value > 0;
  return false;
}

namespace {

// False: something is inside still.
bool drop(const std::string& folder) {
  if (::rmdir(folder.c_str()) == 0 || errno != EBUSY) return true;
  std::istringstream pids(get(folder + "/cgroup.procs"));
  for (int pid = 0; pids >> pid;) ::kill(pid, SIGKILL);
  return false;
}

}  // namespace

Cgroup::~Cgroup() {
  if (above_) {
    std::error_code ec;
    for (const auto& controller : std::filesystem::directory_iterator(kRoot, ec)) {
      auto folder = (controller.path() / name_).string();
      if (::access(folder.c_str(), F_OK) == 0 && std::ranges::find(folders_, folder) == folders_.end())
        folders_.push_back(std::move(folder));
    }
  }
  for (const auto& folder : folders_) {
    if (drop(folder)) continue;
    // What was killed with the sandbox takes a moment to be gone.
    (void)task::disk_pool().submit([folder] {
      for (int i = 0; i < 50 && !drop(folder); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    });
  }
}

namespace {

// The process and all below it, bounded.
std::vector<int> family(int pid) {
  std::vector<int> all{pid};
  for (std::size_t i = 0; i < all.size() && i < 4096; ++i) {
    std::istringstream children(get(fmt::format("/proc/{0}/task/{0}/children", all[i])));
    for (int child = 0; children >> child;) all.push_back(child);
  }
  return all;
}

std::int64_t resident(int pid) {
  std::istringstream statm(get(fmt::format("/proc/{}/statm", pid)));
  std::int64_t size = 0, pages = 0;
  return statm >> size >> pages ? pages * ::sysconf(_SC_PAGESIZE) : 0;
}

// Ticks of the process and of those of its children that it has waited for.
std::int64_t ticks(int pid) {
  const auto stat = get(fmt::format("/proc/{}/stat", pid));
  const auto name_end = stat.rfind(')');  // the name may hold anything
  if (name_end == std::string::npos) return 0;
  std::istringstream fields(stat.substr(name_end + 1));
  std::string skipped;
  for (int i = 3; i < 14; ++i) fields >> skipped;
  std::int64_t total = 0, n = 0;
  for (int i = 14; i < 18 && fields >> n; ++i) total += n;
  return total;
}

}  // namespace

Used used_by(int pid) {
  Used u;
  const auto tick = 1'000'000'000 / ::sysconf(_SC_CLK_TCK);
  for (int one : family(pid)) {
    u.resident_bytes += resident(one);
    u.cpu_ns += ticks(one) * tick;
  }
  return u;
}

std::int64_t resident_bytes(int pid) {
  std::int64_t total = 0;
  for (int one : family(pid)) total += resident(one);
  return total;
}

}  // namespace mr::node
