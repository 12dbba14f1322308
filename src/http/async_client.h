// An HTTP/1.1 client for loops: asks a server by its address, streams bodies both ways, keeps connections for reuse.
// Thread safe: each loop has its own connections. Destroy it after the loops have stopped and before they go.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <variant>

#include "http/byte_stream.h"
#include "http/client_tls.h"
#include "http/message.h"

namespace mr::http {

struct Endpoint {
  std::string ip;  // a literal address
  std::uint16_t port = 0;
};

// Ends a request, or the reading of its answer, from outside: what is under way says cancelled. For the request's loop
// only. A connection that is only being opened is given up as soon as that has come to something.
struct Abort {
  bool aborted = false;
  std::function<void()> close = {};  // the client's
  void now() {
    aborted = true;
    if (close) close();
  }
};

struct AsyncRequest {
  std::string method = "GET";
  std::string target = "/";  // path and query, as sent
  Headers headers;           // Host is the endpoint's unless it is among them; framing headers are ours
  // The whole body, or where to pull it from; a reader is sent with its length() if `sized`, else chunked.
  std::variant<std::string, BodyReader*> body;
  bool sized = false;
  bool fresh = false;  // on a connection of its own, which is not kept
  int connect_timeout_ms = 10'000;
  int timeout_ms = 0;  // from the end of the request to the end of the answer; 0: none
  std::shared_ptr<Abort> abort = {};
};

struct AsyncAnswer {
  int status = 0;
  Headers headers;
  // Pulled piece by piece; gives the connection back at its end, closes it when destroyed before. Never null.
  std::unique_ptr<BodyReader> body;
  // Status 101: the connection itself, and nothing in `body`.
  std::unique_ptr<ByteStream> upgraded;
};

class AsyncClient {
 public:
  struct Limits {
    std::size_t idle_per_endpoint = 32;  // a loop
    std::size_t idle_in_all = 256;       // a loop
    int idle_s = 30;
    std::size_t head = 64 * 1024;  // of an answer
  };
  AsyncClient();
  explicit AsyncClient(Limits limits);
  // Under TLS; `host` is whom the certificates of its endpoints have to name.
  AsyncClient(Limits limits, ClientContext context, std::string host);
  ~AsyncClient();
  // Errors: unavailable (reason "connection failure"), deadline_exceeded (reason "connection timeout" or "timeout"),
  // data_loss (reason "connection termination" or "protocol error"), cancelled (the request's body broke off, or it was
  // aborted).
  task::Task<Result<AsyncAnswer>> send(Endpoint endpoint, AsyncRequest request);

  struct Impl;

 private:
  std::shared_ptr<Impl> impl_;
};

}  // namespace mr::http
