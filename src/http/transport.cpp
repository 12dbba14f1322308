#include "http/transport.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>

namespace mr::http {

namespace {

// OpenSSL's own socket BIO writes without MSG_NOSIGNAL, and keeps a descriptor number that may have been closed.
int bio_write(BIO* b, const char* from, std::size_t size, std::size_t* done) {
  auto& socket = *static_cast<Transport::Socket*>(BIO_get_data(b));
  BIO_clear_retry_flags(b);
  ssize_t n = 0;
  do n = ::send(socket.native_handle(), from, size, MSG_NOSIGNAL);
  while (n < 0 && errno == EINTR);
  if (n >= 0) {
    *done = static_cast<std::size_t>(n);
    return 1;
  }
  if (errno == EAGAIN) BIO_set_retry_write(b);
  return 0;
}
int bio_read(BIO* b, char* to, std::size_t size, std::size_t* done) {
  auto& socket = *static_cast<Transport::Socket*>(BIO_get_data(b));
  BIO_clear_retry_flags(b);
  ssize_t n = 0;
  do n = ::recv(socket.native_handle(), to, size, 0);
  while (n < 0 && errno == EINTR);
  if (n > 0) {
    *done = static_cast<std::size_t>(n);
    return 1;
  }
  if (n < 0 && errno == EAGAIN) BIO_set_retry_read(b);
  if (n == 0) BIO_set_flags(b, BIO_FLAGS_IN_EOF);
  return 0;
}
long bio_ctrl(BIO* b, int command, long, void*) {
  if (command == BIO_CTRL_FLUSH) return 1;
  if (command == BIO_CTRL_EOF) return BIO_test_flags(b, BIO_FLAGS_IN_EOF) != 0 ? 1 : 0;
  return 0;
}
const BIO_METHOD* bio_method() {
  static const BIO_METHOD* method = [] {
    BIO_METHOD* m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "mr socket");
    BIO_meth_set_write_ex(m, bio_write);
    BIO_meth_set_read_ex(m, bio_read);
    BIO_meth_set_ctrl(m, bio_ctrl);
    return m;
  }();
  return method;
}

std::string openssl_text() {
  char text[256];
  auto e = ERR_get_error();
  if (e == 0) return "unknown";
  ERR_error_string_n(e, text, sizeof text);
  ERR_clear_error();
  return text;
}

using BioPtr = std::unique_ptr<BIO, decltype(&BIO_free)>;
using X509Ptr = std::unique_ptr<X509, decltype(&X509_free)>;
BioPtr reader(const std::string& pem) { return {BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), &BIO_free}; }

// `wanted`: the protocol that the listener speaks.
int choose_protocol(SSL*, const unsigned char** out, unsigned char* out_size, const unsigned char* in, unsigned in_size,
                    void* wanted) {
  for (unsigned at = 0; at < in_size && at + 1 + in[at] <= in_size; at += 1U + in[at]) {
    if (std::string_view(reinterpret_cast<const char*>(in + at + 1), in[at]) !=
        *static_cast<const std::string*>(wanted))
      continue;
    *out = in + at + 1;
    *out_size = in[at];
    return SSL_TLSEXT_ERR_OK;
  }
  return SSL_TLSEXT_ERR_NOACK;
}

// A certificate that does not verify makes its bearer unauthenticated; it does not end the connection, since a token
// may come with it. The verdict is kept by OpenSSL and read after the handshake.
int accept_all(int, X509_STORE_CTX*) { return 1; }

}  // namespace

struct TlsContext::Impl {
  SSL_CTX* ctx = SSL_CTX_new(TLS_server_method());
  bool asks = false;
  std::string protocol;
  ~Impl() { SSL_CTX_free(ctx); }
};

TlsContext::TlsContext(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TlsContext::~TlsContext() = default;

Result<std::shared_ptr<TlsContext>> TlsContext::make(const TlsOptions& o) {
  auto impl = std::make_unique<Impl>();
  SSL_CTX* ctx = impl->ctx;
  auto bad = [](std::string what) { return fail(Code::invalid_argument, std::move(what), {}, openssl_text()); };
  SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
  SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET | SSL_OP_IGNORE_UNEXPECTED_EOF);
  // No resumption: a client's certificate is looked at in each connection.
  SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(ctx, 0);
  impl->protocol = o.protocol;
  SSL_CTX_set_alpn_select_cb(ctx, choose_protocol, &impl->protocol);

  auto certs = reader(o.certificate_pem);
  X509Ptr leaf(PEM_read_bio_X509(certs.get(), nullptr, nullptr, nullptr), &X509_free);
  if (!leaf || SSL_CTX_use_certificate(ctx, leaf.get()) != 1) return bad("the server's certificate is not PEM");
  while (X509* more = PEM_read_bio_X509(certs.get(), nullptr, nullptr, nullptr))
    if (SSL_CTX_add0_chain_cert(ctx, more) != 1) {
      X509_free(more);
      return bad("the server's certificate chain cannot be used");
    }
  ERR_clear_error();
  auto key_bio = reader(o.key_pem);
  std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(
      PEM_read_bio_PrivateKey(key_bio.get(), nullptr, nullptr, nullptr), &EVP_PKEY_free);
  if (!key) return bad("the server's key is not PEM");
  if (SSL_CTX_use_PrivateKey(ctx, key.get()) != 1 || SSL_CTX_check_private_key(ctx) != 1)
    return bad("the server's key does not belong to its certificate");

  if (!o.client_ca_pem.empty()) {
    auto ca = reader(o.client_ca_pem);
    int n = 0;
    for (;; ++n) {
      X509Ptr c(PEM_read_bio_X509(ca.get(), nullptr, nullptr, nullptr), &X509_free);
      if (!c) break;
      X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), c.get());
      SSL_CTX_add_client_CA(ctx, c.get());
    }
    ERR_clear_error();
    if (n == 0) return bad("the client authority's certificate is not PEM");
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, accept_all);
    impl->asks = true;
  }
  return std::shared_ptr<TlsContext>(new TlsContext(std::move(impl)));
}

Transport::Transport(Socket socket, const TlsContext* tls) : socket_(std::move(socket)) {
  if (tls == nullptr) return;
  ssl_ = SSL_new(tls->impl().ctx);
  BIO* bio = BIO_new(bio_method());
  BIO_set_data(bio, &socket_);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_, bio, bio);
  SSL_set_accept_state(ssl_);
}
Transport::~Transport() {
  if (ssl_ != nullptr) SSL_free(ssl_);
}

Io Transport::verdict(int returned) {
  int e = SSL_get_error(ssl_, returned);
  ERR_clear_error();
  switch (e) {
    case SSL_ERROR_NONE:
      return Io::done;
    case SSL_ERROR_WANT_READ:
      return Io::wait_read;
    case SSL_ERROR_WANT_WRITE:
      return Io::wait_write;
    case SSL_ERROR_ZERO_RETURN:
      return Io::end;
    default:
      return Io::error;
  }
}

Io Transport::handshake() {
  ERR_clear_error();
  int r = SSL_accept(ssl_);
  if (r != 1) return verdict(r);
  read_peer();
  return Io::done;
}

void Transport::read_peer() {
  X509Ptr cert(SSL_get1_peer_certificate(ssl_), &X509_free);
  if (!cert) return;
  if (SSL_get_verify_result(ssl_) != X509_V_OK) {
    peer_refused_ = true;
    return;
  }
  PeerCertificate p;
  auto* name = X509_get_subject_name(cert.get());
  for (int i = 0; i < X509_NAME_entry_count(name); ++i) {
    auto* entry = X509_NAME_get_entry(name, i);
    int kind = OBJ_obj2nid(X509_NAME_ENTRY_get_object(entry));
    if (kind != NID_commonName && kind != NID_organizationName) continue;
    unsigned char* text = nullptr;
    int n = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(entry));
    if (n < 0) continue;
    std::string value(reinterpret_cast<char*>(text), static_cast<std::size_t>(n));
    OPENSSL_free(text);
    if (kind == NID_commonName)
      p.common_name = std::move(value);
    else
      p.organizations.push_back(std::move(value));
  }
  peer_ = std::move(p);
}

Io Transport::recv(char* to, std::size_t size, std::size_t& got) {
  if (ssl_ != nullptr) {
    ERR_clear_error();
    int r = SSL_read_ex(ssl_, to, size, &got);
    return r == 1 ? Io::done : verdict(r);
  }
  for (;;) {
    ssize_t n = ::recv(socket_.native_handle(), to, size, 0);
    if (n > 0) {
      got = static_cast<std::size_t>(n);
      return Io::done;
    }
    if (n == 0) return Io::end;
    if (errno == EINTR) continue;
    return errno == EAGAIN ? Io::wait_read : Io::error;
  }
}

Io Transport::send(const char* from, std::size_t size, std::size_t& taken) {
  if (ssl_ != nullptr) {
    ERR_clear_error();
    int r = SSL_write_ex(ssl_, from, size, &taken);
    return r == 1 ? Io::done : verdict(r);
  }
  for (;;) {
    ssize_t n = ::send(socket_.native_handle(), from, size, MSG_NOSIGNAL);
    if (n > 0) {
      taken = static_cast<std::size_t>(n);
      return Io::done;
    }
    if (n < 0 && errno == EINTR) continue;
    return errno == EAGAIN ? Io::wait_write : Io::error;
  }
}

bool Transport::pending() const { return ssl_ != nullptr && SSL_pending(ssl_) > 0; }

void Transport::shutdown_send() {
  if (ssl_ != nullptr && SSL_is_init_finished(ssl_) == 1) {
    SSL_shutdown(ssl_);
    ERR_clear_error();
  }
  boost::system::error_code ec;
  socket_.shutdown(Socket::shutdown_send, ec);
}

void Transport::close() {
  boost::system::error_code ec;
  socket_.close(ec);
}

}  // namespace mr::http
