// TLS for clients on loops, against the listener's.
#include "http/client_tls.h"

#include "await.h"
#include "crypto/pki.h"
#include "http/server.h"
#include "http/tcp_stream.h"
#include "task/event.h"

namespace mr::http {
namespace {

using testing::await_on;

class ClientTlsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ca_ = *crypto::make_authority("ca");
    auto own = *crypto::issue_certificate(ca_, {.common_name = "s", .dns_names = {"localhost"}});
    auto tls = TlsContext::make({own.certificate_pem, own.key_pem, ca_.certificate_pem});
    ASSERT_TRUE(tls);
    // Says who came, then echoes until the client ends, then says bye.
    server_.emplace(loops_, ServerOptions{.name = "t", .tls = *tls}, [](Request& rq) -> task::Task<Response> {
      Response r;
      r.status = 101;
      r.upgrade = [who = rq.peer != nullptr ? rq.peer->common_name : "nobody"](ByteStream& io) -> task::Task<void> {
        (void)co_await io.write("I see " + who + ". ");
        for (;;) {
          auto piece = co_await io.read();
          if (!piece || piece->empty()) break;
          if (!co_await io.write(*piece)) co_return;
        }
        (void)co_await io.write(" bye");
      };
      co_return r;
    });
    ASSERT_TRUE(server_->start());
  }

  task::Task<std::string> talk(ClientTls tls, std::string host, std::string say) {
    auto context = make_client_context(tls);
    if (!context) co_return context.error().message;
    auto tcp = co_await connect_tcp("127.0.0.1", server_->port());
    if (!tcp) co_return tcp.error().message;
    auto io = co_await start_tls(std::move(*tcp), *context, std::move(host));
    if (!io) co_return io.error().message;
    (void)co_await (*io)->write("GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n");
    std::string out;
    // Both directions at once: the echo must not wait for all of it to be sent.
    task::Group sending;
    sending.spawn([](ByteStream& s, const std::string& text) -> task::Task<void> {
      (void)co_await s.write(text);
      (void)co_await s.shutdown_write();
    }(**io, say));
    for (;;) {
      auto piece = co_await (*io)->read();
      if (!piece) out += "[" + piece.error().message + "]";
      if (!piece || piece->empty()) break;
      out += *piece;
    }
    co_await sending.join();
    auto head = out.find("\r\n\r\n");
    co_return head == std::string::npos ? out : out.substr(head + 4);
  }

  crypto::KeyPair ca_;
  task::Loops loops_{1};
  std::optional<Server> server_;
};

TEST_F(ClientTlsTest, CarriesBytesBothWaysAndEndsEachWayOnItsOwn) {
  EXPECT_EQ(await_on(loops_, talk({.ca_pem = ca_.certificate_pem}, "localhost", "hello")), "I see nobody. hello bye");
  std::string big(5'000'000, 'x');
  EXPECT_EQ(await_on(loops_, talk({.ca_pem = ca_.certificate_pem}, "localhost", big)).size(), big.size() + 18);
}

TEST_F(ClientTlsTest, IsWhomItsCertificateNames) {
  auto me = *crypto::issue_certificate(ca_, {.common_name = "admin"});
  ClientTls tls{.ca_pem = ca_.certificate_pem, .certificate_pem = me.certificate_pem, .key_pem = me.key_pem};
  EXPECT_EQ(await_on(loops_, talk(tls, "localhost", "")), "I see admin.  bye");
}

TEST_F(ClientTlsTest, BelievesOnlyWhomItIsToldTo) {
  auto other = *crypto::make_authority("other");
  auto refused = [&](ClientTls tls, std::string host) {
    return await_on(loops_, talk(std::move(tls), std::move(host), "")).find("TLS handshake") == 0;
  };
  EXPECT_TRUE(refused({.ca_pem = other.certificate_pem}, "localhost"));
  EXPECT_TRUE(refused({}, "localhost"));
  EXPECT_TRUE(refused({.ca_pem = ca_.certificate_pem}, "example.com"));
  EXPECT_TRUE(refused({.ca_pem = ca_.certificate_pem}, "127.0.0.1"));
  EXPECT_FALSE(refused({.insecure = true}, "127.0.0.1"));
}

TEST_F(ClientTlsTest, UnreadableSettingsAreErrors) {
  EXPECT_FALSE(make_client_context({.ca_pem = "no certificate"}));
  EXPECT_FALSE(make_client_context({.ca_pem = ca_.certificate_pem, .certificate_pem = "x", .key_pem = "y"}));
}

}  // namespace
}  // namespace mr::http
