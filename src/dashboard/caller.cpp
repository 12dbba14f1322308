#include "dashboard/caller.h"

#include <arpa/inet.h>
#include <unistd.h>

#include <charconv>
#include <filesystem>

#include "core/read_file.h"
#include "text/text.h"

namespace mr::dashboard {

namespace {

namespace fs = std::filesystem;
constexpr std::size_t kKnown = 4096;
constexpr int kAttempts = 8;
constexpr std::size_t kTable = std::size_t{64} << 20;

std::string link(const std::string& path) {
  char target[256];
  auto n = ::readlink(path.c_str(), target, sizeof target);
  return n > 0 ? std::string(target, static_cast<std::size_t>(n)) : std::string();
}

int parent_of(int pid) {
  const auto stat = read_or_empty(fmt::format("/proc/{}/stat", pid));
  auto name_end = stat.rfind(')');
  if (name_end == std::string::npos || name_end + 4 >= stat.size()) return 0;
  int parent = 0;
  auto* from = stat.data() + name_end + 4;
  std::from_chars(from, stat.data() + stat.size(), parent);
  return parent;
}

bool below_us(int pid) {
  for (int i = 0; i < 256 && pid > 1; ++i) {
    pid = parent_of(pid);
    if (pid == ::getpid()) return true;
  }
  return false;
}

bool holds(int pid, const std::string& socket) {
  std::error_code ec;
  for (fs::directory_iterator it(fmt::format("/proc/{}/fd", pid), ec), end; !ec && it != end; it.increment(ec))
    if (link(it->path().string()) == socket) return true;
  return false;
}

}  // namespace

std::uint64_t socket_inode(const std::string& table, const std::string& ip, std::uint16_t port) {
  // Addresses stand there as the words of the machine, in hexadecimal.
  std::string want;
  in_addr four{};
  in6_addr six{};
  auto add = [&](const void* address, std::size_t words) {
    for (std::size_t i = 0; i < words; ++i) {
      std::uint32_t word = 0;
      std::memcpy(&word, static_cast<const char*>(address) + 4 * i, 4);
      want += fmt::format("{:08X}", word);
    }
  };
  if (::inet_pton(AF_INET, ip.c_str(), &four) == 1)
    add(&four, 1);
  else if (::inet_pton(AF_INET6, ip.c_str(), &six) == 1)
    add(&six, 4);
  else
    return 0;
  want += fmt::format(":{:04X}", port);
  for (auto line : text::split(table, '\n')) {
    // sl local rem state tx:rx timer:when retrans uid timeout inode
    std::vector<std::string_view> words;
    for (auto w : text::split(line, ' '))
      if (!w.empty()) words.push_back(w);
    if (words.size() < 10) continue;
    auto local = words[1];
    // A client of IPv6 may speak IPv4: its address is then a mapped one.
    if (local == want || (want.size() == 13 && local.size() == 37 && local.ends_with(want) &&
                          local.starts_with("0000000000000000FFFF0000")))
      return text::to_u64(words[9]).value_or(0);
  }
  return 0;
}

bool in_container(const std::string& cgroup) {
  for (std::string_view mark : {"libpod", "docker", "containerd", "crio", "kubepods", "buildah", "/machine.slice"})
    if (cgroup.contains(mark)) return true;
  return false;
}

bool Callers::is_pod(const std::string& ip, std::uint16_t port) {
  // The tables come page by page, and one read while sockets come and go may lack one that was there all the time.
  std::uint64_t inode = 0;
  for (int attempt = 0; inode == 0 && attempt < kAttempts; ++attempt) {
    if (attempt > 0) ::usleep(500U << std::min(attempt, 5));
    for (auto table : {"/proc/net/tcp", "/proc/net/tcp6"})
      if (inode == 0) inode = socket_inode(read_or_empty(table, kTable), ip, port);
  }
  if (inode == 0) return true;
  {
    std::lock_guard lock(mutex_);
    if (auto it = known_.find(inode); it != known_.end()) return it->second;
  }
  // Only processes of other process namespaces can be a pod's. One such may be a browser in a sandbox of its own: what
  // this program started, and what runs in a container, is meant.
  const auto socket = fmt::format("socket:[{}]", inode);
  const auto ours = link("/proc/self/ns/pid");
  bool pod = false;
  std::error_code ec;
  for (fs::directory_iterator it("/proc", ec), end; !ec && !pod && it != end; it.increment(ec)) {
    auto pid = text::to_i64(it->path().filename().string());
    if (!pid) continue;
    const int one = static_cast<int>(*pid);
    const auto space = link(fmt::format("/proc/{}/ns/pid", one));
    if (space.empty() || space == ours || !holds(one, socket)) continue;
    pod = below_us(one) || in_container(read_or_empty(fmt::format("/proc/{}/cgroup", one)));
  }
  std::lock_guard lock(mutex_);
  if (known_.size() >= kKnown) known_.clear();
  known_[inode] = pod;
  return pod;
}

}  // namespace mr::dashboard
