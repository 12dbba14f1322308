// The client for loops and the proxy on top of it, against our own server and against one that misbehaves as told.
#include "http/proxy.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include "await.h"
#include "http/server.h"
#include "http/tcp_stream.h"
#include "text/text.h"

namespace mr::http {
namespace {

using testing::await_on;

// Answers the n-th request that arrives on any connection with the n-th script, then closes if the script says so.
class Scripted {
 public:
  struct Script {
    std::string answer;
    bool close = false;
  };
  explicit Scripted(std::vector<Script> scripts) : scripts_(std::move(scripts)) {
    listener_ = Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&a), sizeof a), 0);
    EXPECT_EQ(::listen(listener_.get(), 16), 0);
    socklen_t size = sizeof a;
    ::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&a), &size);
    port = ntohs(a.sin_port);
    thread_ = std::jthread([this](const std::stop_token& stop) { serve(stop); });
  }
  std::uint16_t port = 0;
  std::atomic<int> connections = 0;
  std::atomic<int> requests = 0;

 private:
  void serve(const std::stop_token& stop) {
    std::vector<std::pair<Fd, std::string>> open;
    std::size_t next = 0;
    while (!stop.stop_requested()) {
      std::vector<pollfd> polled{{listener_.get(), POLLIN, 0}};
      for (auto& [fd, text] : open) polled.push_back({fd.get(), POLLIN, 0});
      if (::poll(polled.data(), polled.size(), 20) <= 0) continue;
      for (std::size_t i = open.size(); i-- > 0;) {
        if (polled[i + 1].revents == 0) continue;
        char buf[65536];
        auto n = ::recv(open[i].first.get(), buf, sizeof buf, 0);
        if (n <= 0) {
          open.erase(open.begin() + static_cast<std::ptrdiff_t>(i));
          continue;
        }
        auto& text = open[i].second;
        text.append(buf, static_cast<std::size_t>(n));
        if (text.find("\r\n\r\n") == std::string::npos) continue;
        text.clear();
        ++requests;
        if (next >= scripts_.size()) continue;
        const auto& s = scripts_[next++];
        (void)::send(open[i].first.get(), s.answer.data(), s.answer.size(), MSG_NOSIGNAL);
        if (s.close) open.erase(open.begin() + static_cast<std::ptrdiff_t>(i));
      }
      if (polled[0].revents != 0) {
        open.emplace_back(Fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC)), "");
        ++connections;
      }
    }
  }
  std::vector<Script> scripts_;
  Fd listener_;
  std::jthread thread_;
};

std::string ok(std::string_view body) {
  return fmt::format("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}", body.size(), body);
}

// One request; the answer as "STATUS BODY", or the error's reason.
task::Task<std::string> ask(AsyncClient& c, std::uint16_t port, AsyncRequest rq = {}) {
  auto a = co_await c.send({"127.0.0.1", port}, std::move(rq));
  if (!a) co_return a.error().reason;
  std::string out = std::to_string(a->status);
  for (;;) {
    auto piece = co_await a->body->read();
    if (!piece) co_return out + " !" + piece.error().reason;
    if (piece->empty()) co_return out;
    out += (out.size() == 3 ? " " : "") + std::string(*piece);
  }
}

class Asking : public ::testing::Test {
 protected:
  std::string ask_now(std::uint16_t port, AsyncRequest rq = {}) {
    return await_on(loops, ask(*client, port, std::move(rq)));
  }
  ~Asking() override {
    loops.stop();
    client.reset();
  }
  task::Loops loops{1};
  std::optional<AsyncClient> client{std::in_place};
};

TEST_F(Asking, ReadsEveryKindOfAnswer) {
  Scripted s({{ok("plain")},
              {"HTTP/1.1 100 Continue\r\n\r\n" + ok("after 100")},
              {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n"},
              {"HTTP/1.1 204 No Content\r\n\r\n"},
              {"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"},
              {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"},  // to HEAD
              {"HTTP/1.0 200 OK\r\n\r\nuntil the end", true}});
  EXPECT_EQ(ask_now(s.port), "200 plain");
  EXPECT_EQ(ask_now(s.port), "200 after 100");
  EXPECT_EQ(ask_now(s.port), "200 abcde");
  EXPECT_EQ(ask_now(s.port), "204");
  EXPECT_EQ(ask_now(s.port), "304");
  EXPECT_EQ(ask_now(s.port, {.method = "HEAD"}), "200");
  EXPECT_EQ(s.connections, 1);  // all on one
  EXPECT_EQ(ask_now(s.port), "200 until the end");
}

TEST_F(Asking, AClosedConnectionIsNotUsedAgain) {
  Scripted s({{ok("one"), true}, {ok("two")}, {"", true}, {ok("four")}, {"", true}});
  EXPECT_EQ(ask_now(s.port), "200 one");
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(ask_now(s.port), "200 two");
  EXPECT_EQ(ask_now(s.port), "200 four");  // a kept one that ended without a byte: once more on another
  EXPECT_EQ(ask_now(s.port, {.method = "POST"}), "connection termination");  // but nothing is done twice
  EXPECT_EQ(s.requests, 5);
}

TEST_F(Asking, SaysHowAServerFailed) {
  Scripted s({{"", true},
              {"not HTTP at all\r\n\r\n"},
              {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", true},
              {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"},
              {"HTTP/1.1 200 OK\r\nX: " + std::string(200'000, 'x') + "\r\n\r\n", true}});
  EXPECT_EQ(ask_now(s.port), "connection termination");
  EXPECT_EQ(ask_now(s.port), "protocol error");
  EXPECT_EQ(ask_now(s.port), "200 half !connection termination");
  EXPECT_EQ(ask_now(s.port), "200 !protocol error");
  EXPECT_EQ(ask_now(s.port), "protocol error");
  EXPECT_EQ(ask_now(s.port, {.timeout_ms = 50}), "timeout");  // no script left: silence
  EXPECT_EQ(ask_now(1), "connection failure");
}

// A front server that proxies all to `upstream`.
class Proxying : public Asking {
 protected:
  void start(Handler upstream, ProxyOptions o = {}) {
    up.emplace(loops, ServerOptions{.name = "up"}, std::move(upstream));
    ASSERT_TRUE(up->start());
    start_front(up->port(), std::move(o));
  }
  void start_front(std::uint16_t port, ProxyOptions o = {}) {
    front.emplace(loops, ServerOptions{.name = "front"}, [this, port, o](Request& rq) -> task::Task<Response> {
      co_return co_await proxy(*client, rq, {"127.0.0.1", port}, o);
    });
    ASSERT_TRUE(front->start());
  }
  // Raw bytes to the front; all that comes back until it closes.
  std::string raw(std::string bytes, bool half_close = true) {
    auto t = [](std::uint16_t port, std::string in, bool end) -> task::Task<std::string> {
      auto s = co_await connect_tcp("127.0.0.1", port);
      if (!s) co_return s.error().message;
      (void)co_await (*s)->write(in);
      if (end) (void)co_await (*s)->shutdown_write();
      std::string out;
      for (;;) {
        auto piece = co_await (*s)->read();
        if (!piece || piece->empty()) co_return out;
        out += *piece;
      }
    };
    return await_on(loops, t(front->port(), std::move(bytes), half_close));
  }
  ~Proxying() override {
    if (front) front->stop(0);
    if (up) up->stop(0);
  }
  std::optional<Server> up, front;
};

task::Task<Response> describe(Request& rq) {
  auto body = co_await read_all(rq, 16 << 20);
  std::string out = fmt::format("{} {}\n", rq.method_text, rq.target);
  for (const auto& [n, v] : rq.headers.items())
    if (!text::iequals(n, "X-Request-Id")) out += fmt::format("{}: {}\n", n, v);
  auto r = Response::text(200, out + (body ? *body : "broken"), "application/x-test");
  r.headers.add("Keep-Alive", "timeout=5");
  r.headers.add("X-Own", "yes");
  co_return r;
}

TEST_F(Proxying, PassesOnWhatIsNotAboutTheConnection) {
  start(describe, {.target = "/new?x=1", .host = "inner.example", .removed = {"Cookie"}});
  auto said =
      raw("POST /old HTTP/1.1\r\nHost: outer\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nTE: trailers\r\nCookie: c\r\n"
          "X-Forwarded-For: 10.0.0.1\r\nx-forwarded-proto: https\r\nAccept: a\r\nContent-Length: 4\r\n\r\nbody");
  auto body = said.substr(said.find("\r\n\r\n") + 4);
  EXPECT_EQ(body,
            "POST /new?x=1\nAccept: a\nHost: inner.example\nX-Forwarded-For: 10.0.0.1, 127.0.0.1\n"
            "X-Forwarded-Proto: http\nX-Forwarded-Host: outer\nContent-Length: 4\nbody");
  EXPECT_NE(said.find("X-Own: yes"), std::string::npos);
  EXPECT_EQ(said.find("Keep-Alive"), std::string::npos);
  EXPECT_EQ(said.find("X-Request-Id"), said.rfind("X-Request-Id"));
}

TEST_F(Proxying, StreamsLargeBodiesBothWays) {
  start(describe);
  std::string big(5'000'000, 'b');
  for (bool chunked : {false, true}) {
    auto framing = chunked ? std::string("Transfer-Encoding: chunked") : fmt::format("Content-Length: {}", big.size());
    auto body = chunked ? fmt::format("{:x}\r\n{}\r\n0\r\n\r\n", big.size(), big) : big;
    auto said = raw(fmt::format("POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{}\r\n\r\n{}", framing, body));
    EXPECT_TRUE(said.starts_with("HTTP/1.1 200 ")) << said.substr(0, 300);
    EXPECT_TRUE(said.ends_with(big)) << said.size();
  }
}

TEST_F(Proxying, KeepsWhatHasNoBodyWithoutOne) {
  start([](Request& rq) -> task::Task<Response> {
    Response r = Response::text(rq.path == "/none" ? 204 : rq.path == "/same" ? 304 : 200, "12345");
    co_return r;
  });
  auto one = [&](std::string_view line) {
    return raw(fmt::format("{} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", line));
  };
  EXPECT_TRUE(one("GET /").ends_with("\r\n\r\n12345"));
  auto head = one("HEAD /");
  EXPECT_TRUE(head.ends_with("\r\n\r\n")) << head;
  EXPECT_NE(head.find("Content-Length: 5"), std::string::npos) << head;
  EXPECT_TRUE(one("GET /none").starts_with("HTTP/1.1 204"));
  EXPECT_TRUE(one("GET /same").ends_with("\r\n\r\n"));
}

TEST_F(Proxying, JoinsUpgradedConnections) {
  start([](Request& rq) -> task::Task<Response> {
    Response r;
    r.status = 101;
    r.headers.add("Connection", "Upgrade");
    r.headers.add("Upgrade", std::string(rq.headers.get("Upgrade")));
    r.upgrade = [](ByteStream& io) -> task::Task<void> {
      (void)co_await io.write("first ");
      for (;;) {
        auto piece = co_await io.read();
        if (!piece || piece->empty()) break;
        if (!co_await io.write(*piece)) co_return;
      }
      (void)co_await io.write(" bye");
    };
    co_return r;
  });
  auto said = raw("GET /ws HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\nhello");
  EXPECT_TRUE(said.starts_with("HTTP/1.1 101 ")) << said;
  EXPECT_NE(said.find("Upgrade: websocket\r\n"), std::string::npos) << said;
  EXPECT_TRUE(said.ends_with("\r\n\r\nfirst hello bye")) << said;
}

TEST_F(Proxying, FailsAsEnvoySays) {
  constexpr std::string_view get = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
  Scripted s({{"", true}, {"rubbish\r\n\r\n", true}, {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", true}});
  start_front(s.port, {.timeout_ms = 100});
  auto gone = raw(std::string(get));
  EXPECT_TRUE(gone.starts_with("HTTP/1.1 503 ")) << gone;
  EXPECT_TRUE(gone.ends_with(
      "upstream connect error or disconnect/reset before headers. reset reason: connection termination"));
  EXPECT_TRUE(raw(std::string(get)).starts_with("HTTP/1.1 502 "));
  EXPECT_TRUE(raw(std::string(get)).ends_with("\r\n\r\nhalf"));  // and the connection, short of its length, is closed
  auto late = raw(std::string(get));
  EXPECT_TRUE(late.starts_with("HTTP/1.1 504 ")) << late;
  EXPECT_TRUE(late.ends_with("\r\n\r\nupstream request timeout"));
  front->stop(0);
  start_front(1);
  auto refused = raw(std::string(get));
  EXPECT_TRUE(refused.starts_with("HTTP/1.1 503 ")) << refused;
  EXPECT_TRUE(
      refused.ends_with("upstream connect error or disconnect/reset before headers. reset reason: connection failure"));
  auto none = no_upstream();
  EXPECT_EQ(none.status, 503);
  EXPECT_EQ(std::get<std::string>(none.body), "no healthy upstream");
}

}  // namespace
}  // namespace mr::http
