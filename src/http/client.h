// A small blocking HTTP/1.1 client over plain TCP or TLS, for worker threads and the command line (never on a loop).
// One object, one thread; connections are kept alive per host.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "http/client_tls.h"
#include "http/message.h"

namespace mr::http {

struct ClientResponse {
  int status = 0;
  Headers headers;
  std::string body;
};

struct ClientRequest {
  Method method = Method::get;
  std::string url;  // http://host[:port]/path?query or https://…
  Headers headers;  // a Host here goes before the URL's
  std::string_view body;
  std::size_t max_body = 256U << 20;
  int timeout_s = 60;  // for each read or write of a connection that this request opens; 0: none
  // Set: asked before a connection to each address of the host, as a number; false: not to that one.
  std::function<bool(const std::string& ip)> allow;
  // Set: called with each piece of a 2xx answer's body instead of gathering it; false ends the transfer.
  std::function<bool(std::string_view)> sink;
};

class Client {
 public:
  Client();
  // Errors of the texts show with the first request: invalid_argument.
  explicit Client(ClientTls tls);
  ~Client();
  // Errors: permission_denied (`allow` refused every address), unavailable (cannot connect), deadline_exceeded,
  // invalid_argument (bad URL), data_loss (cut short).
  Result<ClientResponse> send(const ClientRequest& request);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace mr::http
