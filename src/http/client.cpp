#include "http/client.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>

#include "text/text.h"
#include "text/uri.h"

namespace mr::http {

namespace beast = boost::beast;

namespace {

struct Transport {
  Fd fd;
  SSL* ssl = nullptr;
  Transport() = default;
  Transport(Transport&& o) noexcept : fd(std::move(o.fd)), ssl(std::exchange(o.ssl, nullptr)) {}
  Transport& operator=(Transport&& o) noexcept {
    if (ssl != nullptr) SSL_free(ssl);
    fd = std::move(o.fd);
    ssl = std::exchange(o.ssl, nullptr);
    return *this;
  }
  ~Transport() {
    if (ssl != nullptr) SSL_free(ssl);
  }
  ssize_t read(char* p, std::size_t n) const {
    return ssl != nullptr ? SSL_read(ssl, p, static_cast<int>(n)) : ::recv(fd.get(), p, n, 0);
  }
  bool write(std::string_view s) const {
    while (!s.empty()) {
      ssize_t n = ssl != nullptr ? SSL_write(ssl, s.data(), static_cast<int>(std::min<std::size_t>(s.size(), 1 << 20)))
                                 : ::send(fd.get(), s.data(), s.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      s.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
  }
};

SSL_CTX* tls_context() {
  static SSL_CTX* ctx = [] {
    SSL_CTX* c = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_default_verify_paths(c);
    SSL_CTX_set_verify(c, SSL_VERIFY_PEER, nullptr);
    return c;
  }();
  return ctx;
}

Result<Transport> connect(const std::string& host, const std::string& port, bool tls, SSL_CTX* own,
                          const std::string& server_name, const ClientRequest& rq) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  if (int r = getaddrinfo(host.c_str(), port.c_str(), &hints, &list); r != 0)
    return fail(Code::unavailable, fmt::format("cannot resolve host '{}': {}", host, gai_strerror(r)));
  Transport t;
  int err = 0;
  std::string refused;
  for (auto* a = list; a != nullptr; a = a->ai_next) {
    if (rq.allow) {
      char ip[NI_MAXHOST] = "";
      if (getnameinfo(a->ai_addr, a->ai_addrlen, ip, sizeof ip, nullptr, 0, NI_NUMERICHOST) != 0 || !rq.allow(ip)) {
        refused = ip;
        continue;
      }
    }
    Fd fd(::socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol));
    timeval tv{rq.timeout_s, 0};
    setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv);
    int one = 1;
    setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (::connect(fd.get(), a->ai_addr, a->ai_addrlen) == 0) {
      t.fd = std::move(fd);
      break;
    }
    err = errno;
  }
  freeaddrinfo(list);
  if (!t.fd && err == 0 && !refused.empty())
    return fail(Code::permission_denied, fmt::format("{} leads to {}, where this server does not go", host, refused));
  if (!t.fd) return fail(Code::unavailable, fmt::format("cannot connect to {}:{}: {}", host, port, std::strerror(err)));
  if (tls) {
    t.ssl = SSL_new(own != nullptr ? own : tls_context());
    expect_host(t.ssl, server_name.empty() ? host : server_name);
    SSL_set_fd(t.ssl, t.fd.get());
    if (SSL_connect(t.ssl) != 1)
      return fail(Code::unavailable,
                  fmt::format("TLS handshake with {}:{} failed (is its certificate trusted here?)", host, port));
  }
  return t;
}

}  // namespace

struct Client::Impl {
  std::string key;
  Transport transport;
  std::optional<ClientTls> tls;
  ClientContext context;
};

Client::Client() : impl_(std::make_unique<Impl>()) {}
Client::Client(ClientTls tls) : impl_(std::make_unique<Impl>()) { impl_->tls = std::move(tls); }
Client::~Client() = default;

Result<ClientResponse> Client::send(const ClientRequest& rq) {
  auto uri = text::parse_uri(rq.url);
  bool tls = uri.scheme == "https";
  if ((!tls && uri.scheme != "http") || uri.authority.empty())
    return fail(Code::invalid_argument, fmt::format("'{}' is not an http or https URL", rq.url));
  std::string host = uri.authority;
  std::string port = tls ? "443" : "80";
  if (auto at = host.rfind(':'); at != std::string::npos && host.find(']', at) == std::string::npos) {
    port = host.substr(at + 1);
    host.resize(at);
  }
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  std::string head = fmt::format("{} {}{}{} HTTP/1.1\r\nHost: {}\r\n", method_name(rq.method),
                                 uri.path.empty() ? "/" : uri.path, uri.query.empty() ? "" : "?", uri.query,
                                 rq.headers.has("Host") ? rq.headers.get("Host") : std::string_view(uri.authority));
  for (const auto& [n, v] : rq.headers.items())
    if (!text::iequals(n, "Host")) head += fmt::format("{}: {}\r\n", n, v);
  if (!rq.body.empty() || rq.method == Method::post || rq.method == Method::put)
    head += fmt::format("Content-Length: {}\r\n", rq.body.size());
  head += "\r\n";

  std::string key = fmt::format("{}|{}|{}", uri.scheme, host, port);
  for (int attempt = 0; attempt < 2; ++attempt) {
    bool reused = impl_->transport.fd && impl_->key == key;
    if (!reused) {
      if (tls && impl_->tls && !impl_->context) {
        MR_TRY(impl_->context, make_client_context(*impl_->tls));
      }
      MR_TRY(impl_->transport,
             connect(host, port, tls, impl_->context.get(), impl_->tls ? impl_->tls->server_name : std::string(), rq));
      impl_->key = key;
    }
    auto& t = impl_->transport;
    auto drop = [&] { t = Transport{}; };
    if (!t.write(head) || !t.write(rq.body)) {
      drop();
      if (reused) continue;  // the server closed a kept connection: once more on a new one
      return fail(Code::unavailable, fmt::format("the connection to {} broke while sending", uri.authority));
    }
    beast::http::response_parser<beast::http::string_body> parser;
    parser.body_limit(boost::none);
    parser.header_limit(1 << 20);
    if (rq.method == Method::head) parser.skip(true);
    std::vector<char> buf(64 * 1024);
    std::size_t have = 0;
    bool any = false;
    bool cut = false;
    for (;;) {
      beast::error_code ec;
      if (have > 0) {
        auto used = parser.put(boost::asio::buffer(buf.data(), have), ec);
        std::memmove(buf.data(), buf.data() + used, have - used);
        have -= used;
        if (ec && ec != beast::http::error::need_more) {
          drop();
          return fail(Code::data_loss, fmt::format("malformed answer from {}: {}", uri.authority, ec.message()));
        }
        auto& body = parser.get().body();
        if (parser.is_header_done() && rq.sink && parser.get().result_int() / 100 == 2 && !body.empty()) {
          if (!rq.sink(body)) {
            drop();
            return fail(Code::cancelled, "the transfer was ended");
          }
          body.clear();
        }
        if (body.size() > rq.max_body) {
          drop();
          return fail(Code::too_large,
                      fmt::format("the answer of {} is larger than {} bytes", uri.authority, rq.max_body));
        }
        if (parser.is_done()) break;
        if (used > 0 && have > 0) continue;
      }
      ssize_t n = t.read(buf.data() + have, buf.size() - have);
      if (n <= 0) {
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) && !tls) {
          drop();
          return fail(Code::deadline_exceeded,
                      fmt::format("{} did not answer within {} s", uri.authority, rq.timeout_s));
        }
        if (any) parser.put_eof(ec);
        cut = !any || !parser.is_done();  // an untouched parser counts as done
        break;
      }
      any = true;
      have += static_cast<std::size_t>(n);
    }
    if (cut) {
      drop();
      if (reused && !any) continue;
      return fail(Code::data_loss, fmt::format("the answer of {} was cut short", uri.authority));
    }
    ClientResponse out;
    auto& msg = parser.get();
    out.status = static_cast<int>(msg.result_int());
    for (const auto& f : msg) out.headers.add(std::string(f.name_string()), std::string(f.value()));
    if (!rq.sink || out.status / 100 != 2) out.body = std::move(msg.body());
    if (!parser.keep_alive()) drop();
    return out;
  }
  return fail(Code::unavailable, fmt::format("the connection to {} broke", uri.authority));
}

}  // namespace mr::http
