// HTTP/1.1 server: one acceptor a loop on the same port, one coroutine a connection. Beast's parser reads the grammar.
// Ownership: the Server must outlive its loops' work (stop() first). Thread safety: start and stop from the owner's
// thread.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "http/message.h"
#include "http/tls.h"
#include "task/loop.h"

namespace mr::http {

// A connection that another protocol has, from its first byte on. `stream` is gone when the task ends.
struct TakenOver {
  ByteStream& stream;
  std::string_view remote;
  bool secure = false;
  std::function<void()> drain = {};  // set by who has it; called when no new work is to begin
};
using TakeOver = std::function<task::Task<void>(TakenOver&)>;

struct ServerOptions {
  std::string name;  // label of its metrics and log records, e.g. "tracking"
  std::string address = "127.0.0.1";
  std::uint16_t port = 0;
  std::uint32_t header_limit = 64 * 1024;  // 431 above
  std::uint32_t target_limit = 16 * 1024;  // 414 above
  int header_timeout_s =
      20;                   // from the first byte of a request to the end of its head: 408; for a TLS handshake: closed
  int idle_timeout_s = 75;  // between requests: closed
  int body_stall_timeout_s = 60;   // no body byte for so long: 408
  int write_stall_timeout_s = 60;  // the client takes no byte for so long: closed
  std::size_t max_connections = 20000;
  bool access_log = false;                // one info record a request (debug level otherwise)
  std::shared_ptr<const TlsContext> tls;  // null: plain
  TakeOver http2;  // has connections that begin with the preface of HTTP/2; empty: they are refused
};

class Server {
 public:
  Server(task::Loops& loops, ServerOptions options, Handler handler);
  ~Server();
  // Binds and listens. Errors: the address is in use or not allowed, with what to do.
  Result<void> start();
  // Stops accepting, lets requests under way finish for at most `grace_s`, closes the rest.
  void stop(int grace_s);
  [[nodiscard]] std::uint16_t port() const;

  struct Impl;

 private:
  std::shared_ptr<Impl> impl_;  // shared with the connections: one that ends late must still find its listener
};

}  // namespace mr::http
