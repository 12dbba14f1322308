/* Preloaded into the processes of a pod, which share the machine's network: what listens on all addresses or on
 * localhost listens on the pod's own address instead, so that two pods may use the same port and each is reached at its
 * address. localhost leads to the pod's own listener where it has one. Without MILLRACE_POD_IP nothing changes.
 * Programs without a dynamic loader are not touched.
 * It asks for no library of its own and for no version of a symbol, since containers bring other C libraries than this
 * machine's (older ones, musl): what it calls is in all of them, and bind and connect are the kernel's. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static int real_bind(int fd, const struct sockaddr* address, socklen_t size) {
  return (int)syscall(SYS_bind, fd, address, size);
}

static int real_connect(int fd, const struct sockaddr* address, socklen_t size) {
  return (int)syscall(SYS_connect, fd, address, size);
}

static in_addr_t pod_address(void) {
  static in_addr_t address;
  if (address == 0) {
    const char* text = getenv("MILLRACE_POD_IP");
    struct in_addr a;
    address = text != NULL && inet_pton(AF_INET, text, &a) == 1 ? a.s_addr : INADDR_NONE;
  }
  return address;
}

static int is_stream(int fd) {
  int type = 0;
  socklen_t size = sizeof type;
  return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM;
}

static int ours(in_addr_t a) { return a == htonl(INADDR_ANY) || a == htonl(INADDR_LOOPBACK); }

static void map_into(struct sockaddr_in6* to, in_addr_t a) {
  memset(&to->sin6_addr, 0, sizeof to->sin6_addr);
  to->sin6_addr.s6_addr[10] = to->sin6_addr.s6_addr[11] = 0xff;
  memcpy(&to->sin6_addr.s6_addr[12], &a, 4);
}

int bind(int fd, const struct sockaddr* address, socklen_t size) {
  in_addr_t pod = pod_address();
  if (pod == INADDR_NONE || address == NULL || !is_stream(fd)) return real_bind(fd, address, size);
  if (address->sa_family == AF_INET && size >= sizeof(struct sockaddr_in)) {
    struct sockaddr_in copy;
    memcpy(&copy, address, sizeof copy);
    /* Port 0 is how clients choose where they speak from. */
    if (copy.sin_port != 0 && ours(copy.sin_addr.s_addr)) {
      copy.sin_addr.s_addr = pod;
      return real_bind(fd, (const struct sockaddr*)&copy, sizeof copy);
    }
  }
  if (address->sa_family == AF_INET6 && size >= sizeof(struct sockaddr_in6)) {
    struct sockaddr_in6 copy;
    memcpy(&copy, address, sizeof copy);
    if (copy.sin6_port != 0 && (IN6_IS_ADDR_UNSPECIFIED(&copy.sin6_addr) || IN6_IS_ADDR_LOOPBACK(&copy.sin6_addr))) {
      int only = 0;
      socklen_t length = sizeof only;
      getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, &length);
      if (only) {
        /* The pod has no IPv6 address: a port of its own that nobody asks for. */
        copy.sin6_addr = in6addr_loopback;
        copy.sin6_port = 0;
      } else {
        map_into(&copy, pod);
      }
      return real_bind(fd, (const struct sockaddr*)&copy, sizeof copy);
    }
  }
  return real_bind(fd, address, size);
}

/* Whether somebody in the pod listens on `port`: then no other socket can be bound there. */
static int pod_listens(in_addr_t pod, in_port_t port) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return 0;
  int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  struct sockaddr_in at;
  memset(&at, 0, sizeof at);
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = pod;
  at.sin_port = port;
  int taken = real_bind(fd, (const struct sockaddr*)&at, sizeof at) != 0 && errno == EADDRINUSE;
  close(fd);
  return taken;
}

int connect(int fd, const struct sockaddr* address, socklen_t size) {
  in_addr_t pod = pod_address();
  if (pod == INADDR_NONE || address == NULL || address->sa_family != AF_INET || size < sizeof(struct sockaddr_in))
    return real_connect(fd, address, size);
  struct sockaddr_in copy;
  memcpy(&copy, address, sizeof copy);
  int before = errno;
  if (ours(copy.sin_addr.s_addr) && copy.sin_port != 0 && is_stream(fd) && pod_listens(pod, copy.sin_port)) {
    copy.sin_addr.s_addr = pod;
    errno = before;
    return real_connect(fd, (const struct sockaddr*)&copy, sizeof copy);
  }
  errno = before;
  return real_connect(fd, address, size);
}
