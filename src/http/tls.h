// The server side of TLS for a listener: a certificate, and the authority whose client certificates are believed.
// Immutable once made; shared between loops.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "core/error.h"

namespace mr::http {

// Who a verified client certificate names.
struct PeerCertificate {
  std::string common_name;
  std::vector<std::string> organizations;
};

struct TlsOptions {
  std::string certificate_pem;  // the server's, then intermediate ones
  std::string key_pem;
  std::string client_ca_pem = {};     // empty: clients are not asked for certificates
  std::string protocol = "http/1.1";  // what is chosen when the client offers it (ALPN)
};

class TlsContext {
 public:
  // Errors: invalid_argument, when a PEM text is malformed or the key is not the certificate's.
  static Result<std::shared_ptr<TlsContext>> make(const TlsOptions& options);
  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

  struct Impl;
  [[nodiscard]] const Impl& impl() const { return *impl_; }

 private:
  explicit TlsContext(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace mr::http
