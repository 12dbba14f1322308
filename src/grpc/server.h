// A gRPC server: unary calls over HTTP/2 (libnghttp2), in cleartext or under TLS, one acceptor a loop on the same port.
// It knows methods by name and messages as bytes; the health service (grpc.health.v1) is its own.
// Ownership: the Server must outlive its loops' work (stop() first). Thread safety: start and stop from the owner's
// thread; the handler is called on the loop of its connection.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/error.h"
#include "http/tls.h"
#include "task/loop.h"
#include "task/task.h"

namespace mr::grpc {

enum class Status : std::uint8_t {
  ok,
  cancelled,
  unknown,
  invalid_argument,
  deadline_exceeded,
  not_found,
  already_exists,
  permission_denied,
  resource_exhausted,
  failed_precondition,
  aborted,
  out_of_range,
  unimplemented,
  internal,
  unavailable,
  data_loss,
  unauthenticated
};
std::string_view status_name(Status s);  // "InvalidArgument", as py-grpc-prometheus labels it
Status status_of(Code code);

// One call; it belongs to the handler.
struct Call {
  std::string method;   // "/inference.GRPCInferenceService/ModelInfer"
  std::string message;  // unpacked
  long timeout_ms = 0;  // what is left of the client's deadline; 0: none
};
struct Reply {
  Status status = Status::ok;
  std::string message;  // the answer; of an error its text
  static Reply error(Status s, std::string text) { return {s, std::move(text)}; }
};
using Handler = std::function<task::Task<Reply>(Call)>;

struct ServerOptions {
  std::string name = "grpc";  // in log records
  std::string address = "127.0.0.1";
  std::uint16_t port = 0;
  std::size_t max_message = 256U << 20;         // of a request, packed and unpacked: RESOURCE_EXHAUSTED beyond
  std::size_t max_waiting = 1024U << 20;        // bytes of requests that all connections together hold
  std::uint32_t max_streams = 256;              // at once on one connection
  std::size_t max_connections = 5000;           // on one loop
  int stall_timeout_s = 60;                     // no byte of a request, or of an answer taken, for so long: ended
  int idle_timeout_s = 3600;                    // a connection without calls and without a ping is closed
  std::function<bool()> healthy;                // what the health service says; empty: always
  std::shared_ptr<const http::TlsContext> tls;  // for protocol "h2"; null: cleartext
};

class Server {
 public:
  // Calls of methods that are not in `methods` are answered with UNIMPLEMENTED.
  Server(task::Loops& loops, ServerOptions options, std::vector<std::string> methods, Handler handler);
  ~Server();
  // Binds and listens. Errors: the address is in use or not allowed.
  Result<void> start();
  // Stops accepting, lets calls under way finish for at most `grace_s`, closes the rest.
  void stop(int grace_s);
  [[nodiscard]] std::uint16_t port() const;

  struct Impl;

 private:
  std::shared_ptr<Impl> impl_;
};

}  // namespace mr::grpc
