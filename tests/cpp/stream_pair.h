// Two byte streams joined to each other, for tests of what speaks over one. Made and used on a loop.
#pragma once
#include <sys/socket.h>

#include <cstdlib>
#include <memory>
#include <utility>

#include "http/tcp_stream.h"

namespace mr::testing {

inline std::pair<std::unique_ptr<http::ByteStream>, std::unique_ptr<http::ByteStream>> stream_pair() {
  int fds[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) std::abort();
  return {http::socket_stream(fds[0]), http::socket_stream(fds[1])};
}

// Everything up to the end.
inline task::Task<std::string> read_to_end(http::ByteStream& io) {
  std::string out;
  for (;;) {
    auto piece = co_await io.read();
    if (!piece || piece->empty()) co_return out;
    out += *piece;
  }
}

}  // namespace mr::testing
