// The client's side of TLS: the settings that a connection is made with, and TLS over any byte stream for loops.
// ClientTls is a plain value; a context is immutable once made and may be shared; a stream belongs to one loop.
#pragma once
#include <memory>
#include <string>

#include "http/byte_stream.h"

struct ssl_ctx_st;
struct ssl_st;

namespace mr::http {

// Who to believe and who to be under TLS.
struct ClientTls {
  std::string ca_pem;                    // empty: the system's authorities
  std::string certificate_pem, key_pem;  // both or none
  std::string server_name = {};          // whom the certificate has to name; empty: the host of the URL
  bool insecure = false;                 // believe any certificate
};

using ClientContext = std::shared_ptr<ssl_ctx_st>;
// Errors: invalid_argument, when a text is not readable.
Result<ClientContext> make_client_context(const ClientTls& tls);
// What `ssl` asks of the server's certificate: that it names `host`, a name or an address.
void expect_host(ssl_st* ssl, const std::string& host);

// Does the handshake over `under`. Errors: unavailable (also when the certificate is not believed).
task::Task<Result<std::unique_ptr<ByteStream>>> start_tls(std::unique_ptr<ByteStream> under, ClientContext context,
                                                          std::string host);
// quiet() of tcp_stream.h for a stream of start_tls() over such a one.
bool quiet_tls(ByteStream& stream);

}  // namespace mr::http
