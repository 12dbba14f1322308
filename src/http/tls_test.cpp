// The listener under TLS, against OpenSSL's own client.
#include "http/tls.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include "crypto/pki.h"
#include "http/server.h"
#include "temp_dir.h"

namespace mr::http {
namespace {

using namespace std::chrono_literals;

int dial(std::uint16_t port) {
  int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  timeval patience{10, 0};
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(port);
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&a), sizeof a), 0);
  return fd;
}

class Client {
 public:
  Client(std::uint16_t port, const std::string& ca, const crypto::KeyPair* own = nullptr,
         const char* host = "localhost")
      : ctx_(SSL_CTX_new(TLS_client_method())), fd_(dial(port)) {
    BIO* b = BIO_new_mem_buf(ca.data(), static_cast<int>(ca.size()));
    X509* c = PEM_read_bio_X509(b, nullptr, nullptr, nullptr);
    X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx_), c);
    X509_free(c);
    BIO_free(b);
    SSL_CTX_set_verify(ctx_, SSL_VERIFY_PEER, nullptr);
    if (own != nullptr) {
      b = BIO_new_mem_buf(own->certificate_pem.data(), static_cast<int>(own->certificate_pem.size()));
      c = PEM_read_bio_X509(b, nullptr, nullptr, nullptr);
      SSL_CTX_use_certificate(ctx_, c);
      X509_free(c);
      BIO_free(b);
      b = BIO_new_mem_buf(own->key_pem.data(), static_cast<int>(own->key_pem.size()));
      EVP_PKEY* k = PEM_read_bio_PrivateKey(b, nullptr, nullptr, nullptr);
      SSL_CTX_use_PrivateKey(ctx_, k);
      EVP_PKEY_free(k);
      BIO_free(b);
    }
    ssl_ = SSL_new(ctx_);
    SSL_set1_host(ssl_, host);
    SSL_set_alpn_protos(ssl_, reinterpret_cast<const unsigned char*>("\x02h2\x08http/1.1"), 12);
    SSL_set_fd(ssl_, fd_);
    connected = SSL_connect(ssl_) == 1;
  }
  ~Client() {
    SSL_free(ssl_);
    SSL_CTX_free(ctx_);
    ::close(fd_);
  }
  void write(std::string_view s) { ASSERT_EQ(SSL_write(ssl_, s.data(), static_cast<int>(s.size())), int(s.size())); }
  void end() { SSL_shutdown(ssl_); }
  std::string read_to_end() {
    std::string out;
    char buf[65536];
    for (int n = 0; (n = SSL_read(ssl_, buf, sizeof buf)) > 0;) out.append(buf, static_cast<std::size_t>(n));
    clean_end = SSL_get_error(ssl_, 0) == SSL_ERROR_ZERO_RETURN;
    return out;
  }
  std::string get(const std::string& path) {
    write("GET " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    return read_to_end();
  }
  std::string alpn() {
    const unsigned char* p = nullptr;
    unsigned n = 0;
    SSL_get0_alpn_selected(ssl_, &p, &n);
    return {reinterpret_cast<const char*>(p), n};
  }
  bool connected = false;
  bool clean_end = false;

 private:
  SSL_CTX* ctx_;
  int fd_;
  SSL* ssl_ = nullptr;
};

class Tls : public ::testing::Test {
 protected:
  void SetUp() override {
    ca = *crypto::make_authority("ca");
    auto own = *crypto::issue_certificate(ca, {.common_name = "s", .dns_names = {"localhost"}});
    auto made = TlsContext::make({own.certificate_pem, own.key_pem, ca.certificate_pem});
    ASSERT_TRUE(made) << made.error().message << made.error().detail;
    tls = *made;
  }
  void start(ServerOptions o = {}) {
    o.name = "tls";
    o.tls = tls;
    server.emplace(loops, std::move(o), [this](Request& rq) -> task::Task<Response> {
      if (rq.path == "/who") {
        auto who = rq.peer != nullptr
                       ? fmt::format("{} in {}", rq.peer->common_name, fmt::join(rq.peer->organizations, "+"))
                   : rq.peer_refused ? std::string("refused")
                                     : std::string("nobody");
        co_return Response::text(200, rq.secure ? who : "plain?");
      }
      if (rq.path == "/file") {
        auto path = dir.file("f");
        Response r;
        int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
        r.body = FileBody{Fd(fd), 1, 3'000'000 - 1};
        co_return r;
      }
      if (rq.path == "/up") {
        Response r;
        r.status = 101;
        r.upgrade = [](ByteStream& io) -> task::Task<void> {
          for (;;) {
            auto piece = co_await io.read();
            if (!piece || piece->empty()) break;
            if (!co_await io.write(*piece)) co_return;
          }
          (void)co_await io.write("bye");
        };
        co_return r;
      }
      auto body = co_await read_all(rq, 16 << 20);
      co_return Response::text(200, body ? *body : "broken", "application/octet-stream");
    });
    auto r = server->start();
    ASSERT_TRUE(r) << r.error().message;
  }
  testing::TempDir dir;
  crypto::KeyPair ca;
  std::shared_ptr<TlsContext> tls;
  task::Loops loops{1};
  std::optional<Server> server;
};

TEST_F(Tls, AnswersUnderItsCertificate) {
  start();
  Client c(server->port(), ca.certificate_pem);
  ASSERT_TRUE(c.connected);
  EXPECT_EQ(c.alpn(), "http/1.1");
  EXPECT_TRUE(c.get("/who").ends_with("\r\n\r\nnobody"));
  EXPECT_TRUE(c.clean_end);
  Client elsewhere(server->port(), ca.certificate_pem, nullptr, "elsewhere");
  EXPECT_FALSE(elsewhere.connected);
  auto stranger = *crypto::make_authority("other");
  EXPECT_FALSE(Client(server->port(), stranger.certificate_pem).connected);
}

TEST_F(Tls, KnowsAClientByItsCertificate) {
  start();
  auto own = *crypto::issue_certificate(ca, {.common_name = "jane", .organizations = {"system:masters", "dev"}});
  Client jane(server->port(), ca.certificate_pem, &own);
  ASSERT_TRUE(jane.connected);
  EXPECT_TRUE(jane.get("/who").ends_with("\r\n\r\njane in system:masters+dev"));
}

TEST_F(Tls, BelievesNoForeignOldOrMisusedCertificate) {
  start();
  auto other = *crypto::make_authority("ca");  // the same name, another key
  auto foreign = *crypto::issue_certificate(other, {.common_name = "admin", .organizations = {"system:masters"}});
  auto expired = *crypto::issue_certificate(ca, {.common_name = "admin", .days = -1});
  auto server_only = *crypto::issue_certificate(ca, {.common_name = "admin", .dns_names = {"x"}});
  for (auto* pair : {&foreign, &expired, &server_only}) {
    Client c(server->port(), ca.certificate_pem, pair);
    ASSERT_TRUE(c.connected);
    EXPECT_TRUE(c.get("/who").ends_with("\r\n\r\nrefused"));
  }
}

TEST_F(Tls, CarriesLargeBodiesBothWays) {
  start();
  std::string big(3'000'000, 0);
  for (std::size_t i = 0; i < big.size(); ++i) big[i] = static_cast<char>('a' + i * i % 23);
  Client c(server->port(), ca.certificate_pem);
  c.write(fmt::format("POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", big.size()));
  c.write(big);
  auto answer = c.read_to_end();
  ASSERT_TRUE(answer.ends_with(big)) << answer.substr(0, 200);
  EXPECT_TRUE(crypto::write_private_file(dir.file("f"), big));
  Client f(server->port(), ca.certificate_pem);
  EXPECT_TRUE(f.get("/file").ends_with("\r\n\r\n" + big.substr(1)));
}

TEST_F(Tls, UpgradesAndHalfCloses) {
  start();
  Client c(server->port(), ca.certificate_pem);
  c.write("GET /up HTTP/1.1\r\nHost: x\r\n\r\nearly");
  c.write(" late");
  c.end();
  auto answer = c.read_to_end();
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 101 ")) << answer;
  EXPECT_TRUE(answer.ends_with("\r\n\r\nearly latebye")) << answer;
}

TEST_F(Tls, AHandshakeThatDoesNotComeIsClosed) {
  start({.header_timeout_s = 1});
  for (std::string_view what : {std::string_view(""), std::string_view("\x16\x03\x01\x02\x00\x01", 6)}) {
    Fd fd(dial(server->port()));
    ASSERT_EQ(::send(fd.get(), what.data(), what.size(), MSG_NOSIGNAL), static_cast<ssize_t>(what.size()));
    char buf[64];
    EXPECT_EQ(::recv(fd.get(), buf, sizeof buf, 0), 0);
  }
}

TEST_F(Tls, PlainTextIsNotTakenForTls) {
  start();
  Fd fd(dial(server->port()));
  std::string_view ask = "GET /who HTTP/1.1\r\nHost: x\r\n\r\n";
  ASSERT_GT(::send(fd.get(), ask.data(), ask.size(), MSG_NOSIGNAL), 0);
  std::string got;
  char buf[4096];
  for (ssize_t n = 0; (n = ::recv(fd.get(), buf, sizeof buf, 0)) > 0;) got.append(buf, static_cast<std::size_t>(n));
  EXPECT_EQ(got.find("nobody"), std::string::npos);
}

TEST(TlsContext, SaysWhatIsWrongWithItsFiles) {
  auto ca = *crypto::make_authority("ca");
  auto other = *crypto::make_authority("other");
  EXPECT_NE(TlsContext::make({"", ca.key_pem, ""}).error().message.find("certificate"), std::string::npos);
  EXPECT_NE(TlsContext::make({ca.certificate_pem, "", ""}).error().message.find("key"), std::string::npos);
  EXPECT_NE(TlsContext::make({ca.certificate_pem, other.key_pem, ""}).error().message.find("belong"),
            std::string::npos);
  EXPECT_NE(TlsContext::make({ca.certificate_pem, ca.key_pem, "x"}).error().message.find("client"), std::string::npos);
}

}  // namespace
}  // namespace mr::http
