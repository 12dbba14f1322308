// Who is at the other end of a connection of this machine: a pod must not act through the dashboard, which has more
// rights than a pod's own account. Pods share the machine's network, so an address tells nothing; the kernel's table of
// sockets and the processes that hold them do. Thread safe; reads /proc, so it belongs on a pool.
#pragma once
#include <cstdint>
#include <map>
#include <mutex>
#include <string>

namespace mr::dashboard {

class Callers {
 public:
  // Whether the client's end of a loopback connection, `ip` and `port`, belongs to a process of a pod or container.
  // True too when nobody on this machine holds it: then nobody waits for the answer.
  bool is_pod(const std::string& ip, std::uint16_t port);

 private:
  std::mutex mutex_;
  std::map<std::uint64_t, bool> known_;  // by the socket's inode; numbers of sockets that are gone come back late
};

// The inode of the socket whose own address is `ip`:`port` in the text of /proc/net/tcp or tcp6; 0: none.
std::uint64_t socket_inode(const std::string& table, const std::string& ip, std::uint16_t port);
// Whether the text of /proc/PID/cgroup names a container of an engine.
bool in_container(const std::string& cgroup);

}  // namespace mr::dashboard
