#include "dashboard/caller.h"

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <charconv>
#include <filesystem>

#include "core/fd.h"
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

// The inode of the socket bound to `ip`:`port`, asked of the kernel for that port alone: the answer is one message,
// made in one pass, which the tables of /proc are not. 0: no such socket; nullopt: the kernel does not tell.
std::optional<std::uint64_t> ask_kernel(int family, const std::string& ip, std::uint16_t port) {
  unsigned char want[16] = {};
  const std::size_t length = family == AF_INET ? 4 : 16;
  // A client of IPv6 may speak IPv4: its address is then a mapped one.
  const auto text = family == AF_INET6 && !ip.contains(':') ? "::ffff:" + ip : ip;
  if (::inet_pton(family, text.c_str(), want) != 1) return 0;
  Fd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  if (!fd) return std::nullopt;
  timeval patience{.tv_sec = 1, .tv_usec = 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  struct {
    nlmsghdr head{};
    inet_diag_req_v2 body{};
  } ask;
  ask.head.nlmsg_len = sizeof ask;
  ask.head.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  ask.head.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  ask.body.sdiag_family = static_cast<unsigned char>(family);
  ask.body.sdiag_protocol = IPPROTO_TCP;
  ask.body.idiag_states = ~((1U << TCP_LISTEN) | (1U << TCP_TIME_WAIT));
  ask.body.id.idiag_sport = htons(port);
  if (::send(fd.get(), &ask, sizeof ask, 0) != static_cast<ssize_t>(sizeof ask)) return std::nullopt;
  std::uint64_t found = 0;
  alignas(nlmsghdr) char buffer[32 * 1024];
  for (;;) {
    auto n = ::recv(fd.get(), buffer, sizeof buffer, 0);
    if (n <= 0) return std::nullopt;
    auto left = static_cast<unsigned>(n);
    for (auto* m = reinterpret_cast<nlmsghdr*>(buffer); NLMSG_OK(m, left); m = NLMSG_NEXT(m, left)) {
      if (m->nlmsg_type == NLMSG_DONE) return found;
      if (m->nlmsg_type == NLMSG_ERROR) return std::nullopt;
      if (m->nlmsg_len < NLMSG_LENGTH(sizeof(inet_diag_msg))) continue;
      const auto* one = static_cast<const inet_diag_msg*>(NLMSG_DATA(m));
      if (one->id.idiag_sport == htons(port) && std::memcmp(one->id.idiag_src, want, length) == 0 &&
          one->idiag_inode != 0)
        found = one->idiag_inode;
    }
  }
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
  std::uint64_t inode = 0;
  bool told = false;
  for (int family : {AF_INET, AF_INET6})
    if (inode == 0)
      if (auto answer = ask_kernel(family, ip, port)) {
        told = told || family == AF_INET;
        inode = *answer;
      }
  // The tables of /proc come page by page, and one read while sockets come and go may lack one that was there.
  for (int attempt = 0; !told && inode == 0 && attempt < kAttempts; ++attempt) {
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
