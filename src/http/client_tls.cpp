#include "http/client_tls.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "http/tcp_stream.h"
#include "task/event.h"

namespace mr::http {

Result<ClientContext> make_client_context(const ClientTls& tls) {
  ClientContext c(SSL_CTX_new(TLS_client_method()), SSL_CTX_free);
  SSL_CTX_set_verify(c.get(), tls.insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, nullptr);
  using Bio = std::unique_ptr<BIO, decltype(&BIO_free)>;
  auto bio = [](const std::string& s) { return Bio(BIO_new_mem_buf(s.data(), static_cast<int>(s.size())), BIO_free); };
  using Cert = std::unique_ptr<X509, decltype(&X509_free)>;
  if (tls.ca_pem.empty()) {
    SSL_CTX_set_default_verify_paths(c.get());
  } else {
    auto text = bio(tls.ca_pem);
    int authorities = 0;
    for (;; ++authorities) {
      Cert ca(PEM_read_bio_X509(text.get(), nullptr, nullptr, nullptr), X509_free);
      if (!ca) break;
      X509_STORE_add_cert(SSL_CTX_get_cert_store(c.get()), ca.get());
    }
    ERR_clear_error();
    if (authorities == 0) return fail(Code::invalid_argument, "the authority's certificate is not readable");
  }
  if (tls.certificate_pem.empty()) return c;
  auto cert_text = bio(tls.certificate_pem), key_text = bio(tls.key_pem);
  Cert cert(PEM_read_bio_X509(cert_text.get(), nullptr, nullptr, nullptr), X509_free);
  std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(
      PEM_read_bio_PrivateKey(key_text.get(), nullptr, nullptr, nullptr), EVP_PKEY_free);
  if (!cert || !key || SSL_CTX_use_certificate(c.get(), cert.get()) != 1 ||
      SSL_CTX_use_PrivateKey(c.get(), key.get()) != 1) {
    ERR_clear_error();
    return fail(Code::invalid_argument, "the client's certificate or its key is not readable");
  }
  return c;
}

void expect_host(SSL* ssl, const std::string& host) {
  // An address stands in certificates as an address, and is no server name.
  if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host.c_str()) == 1) return;
  SSL_set_tlsext_host_name(ssl, host.c_str());
  SSL_set1_host(ssl, host.c_str());
}

namespace {

class TlsStream final : public ByteStream {
 public:
  TlsStream(std::unique_ptr<ByteStream> under, ClientContext context)
      : under_(std::move(under)), context_(std::move(context)), ssl_(SSL_new(context_.get()), SSL_free) {
    // The engine reads and writes memory; what comes and goes on the wire is carried by `under_`.
    in_ = BIO_new(BIO_s_mem());
    out_ = BIO_new(BIO_s_mem());
    SSL_set_bio(ssl_.get(), in_, out_);
  }

  task::Task<Result<void>> handshake(std::string host) {
    expect_host(ssl_.get(), host);
    for (;;) {
      int done = SSL_connect(ssl_.get());
      int why = SSL_get_error(ssl_.get(), done);
      MR_CO_CHECK(co_await flush());
      if (done == 1) co_return Result<void>{};
      if (why != SSL_ERROR_WANT_READ) {
        ERR_clear_error();
        co_return fail(Code::unavailable,
                       fmt::format("TLS handshake with {} failed (is its certificate trusted here?)", host));
      }
      MR_CO_TRY(bool more, co_await fill());
      if (!more) co_return fail(Code::unavailable, fmt::format("{} ended the TLS handshake", host));
    }
  }

  task::Task<Result<std::string_view>> read() override {
    if (!buffer_) buffer_ = std::make_unique_for_overwrite<char[]>(kBuffer);
    for (;;) {
      int n = SSL_read(ssl_.get(), buffer_.get(), static_cast<int>(kBuffer));
      int why = SSL_get_error(ssl_.get(), n);
      // Reading may make the engine answer the peer, after a change of keys for instance.
      MR_CO_CHECK(co_await flush());
      if (n > 0) co_return std::string_view(buffer_.get(), static_cast<std::size_t>(n));
      if (why == SSL_ERROR_ZERO_RETURN) co_return std::string_view{};
      if (why != SSL_ERROR_WANT_READ) co_return lost();
      MR_CO_TRY(bool more, co_await fill());
      if (!more) co_return lost();  // an end without its notice may be somebody else's doing
    }
  }
  task::Task<Result<void>> write(std::string_view bytes) override {
    while (!bytes.empty()) {
      int n = SSL_write(ssl_.get(), bytes.data(), static_cast<int>(std::min<std::size_t>(bytes.size(), kBuffer)));
      if (n <= 0) co_return lost();
      bytes.remove_prefix(static_cast<std::size_t>(n));
      MR_CO_CHECK(co_await flush());
    }
    co_return Result<void>{};
  }
  task::Task<Result<void>> shutdown_write() override {
    SSL_shutdown(ssl_.get());
    MR_CO_CHECK(co_await flush());
    co_return co_await under_->shutdown_write();
  }
  void close() override { under_->close(); }
  [[nodiscard]] bool quiet() {
    return SSL_pending(ssl_.get()) == 0 && BIO_ctrl_pending(in_) == 0 && http::quiet(*under_);
  }

 private:
  static constexpr std::size_t kBuffer = 64 * 1024;
  static std::unexpected<Error> lost() {
    ERR_clear_error();
    return fail(Code::unavailable, "the TLS connection was lost");
  }
  // Sends what the engine has made; in its order, whoever asks.
  task::Task<Result<void>> flush() {
    auto guard = co_await writing_.lock();
    while (std::size_t n = BIO_ctrl_pending(out_)) {
      wire_.resize(n);
      BIO_read(out_, wire_.data(), static_cast<int>(n));
      MR_CO_CHECK(co_await under_->write(wire_));
    }
    co_return Result<void>{};
  }
  // Gives the engine what has come; false at the end.
  task::Task<Result<bool>> fill() {
    MR_CO_TRY(auto piece, co_await under_->read());
    if (piece.empty()) co_return false;
    BIO_write(in_, piece.data(), static_cast<int>(piece.size()));
    co_return true;
  }

  std::unique_ptr<ByteStream> under_;
  ClientContext context_;
  std::unique_ptr<SSL, decltype(&SSL_free)> ssl_;
  BIO* in_;  // both belong to ssl_
  BIO* out_;
  task::Mutex writing_;
  std::string wire_;
  std::unique_ptr<char[]> buffer_;
};

}  // namespace

task::Task<Result<std::unique_ptr<ByteStream>>> start_tls(std::unique_ptr<ByteStream> under, ClientContext context,
                                                          std::string host) {
  auto stream = std::make_unique<TlsStream>(std::move(under), std::move(context));
  MR_CO_CHECK(co_await stream->handshake(std::move(host)));
  co_return std::unique_ptr<ByteStream>(std::move(stream));
}

bool quiet_tls(ByteStream& stream) {
  auto* s = dynamic_cast<TlsStream*>(&stream);
  return s != nullptr && s->quiet();
}

}  // namespace mr::http
