// The server's clocks and limits, in process, so that they can be set to a second. What needs no clock is tested on the
// running program (tests/base).
#include "http/server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include "http/client.h"
#include "time/clock.h"

namespace mr::http {
namespace {

using namespace std::chrono_literals;

// A blocking loopback connection.
class Wire {
 public:
  explicit Wire(std::uint16_t port, int receive_buffer = 0) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    if (receive_buffer > 0) ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_port = htons(port);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(fd_.get(), reinterpret_cast<sockaddr*>(&a), sizeof a), 0);
  }
  void send(std::string_view s) { (void)::send(fd_.get(), s.data(), s.size(), MSG_NOSIGNAL); }
  // All that comes until the server closes, or until `wait` passes without a byte.
  std::string read(std::chrono::milliseconds wait = 5s) {
    std::string out;
    char buf[65536];
    for (;;) {
      pollfd p{fd_.get(), POLLIN, 0};
      if (::poll(&p, 1, static_cast<int>(wait.count())) <= 0) break;
      auto n = ::recv(fd_.get(), buf, sizeof buf, 0);
      if (n <= 0) {
        closed_ = true;
        break;
      }
      out.append(buf, static_cast<std::size_t>(n));
    }
    return out;
  }
  [[nodiscard]] bool closed() const { return closed_; }

 private:
  Fd fd_;
  bool closed_ = false;
};

class Clocks : public ::testing::Test {
 protected:
  void start(ServerOptions o, Handler h = {}) {
    o.name = "test";
    if (!h) {
      h = [](Request& rq) -> task::Task<Response> {
        auto body = co_await read_all(rq, 1 << 20);
        if (!body) co_return Response::text(body.error().code == Code::deadline_exceeded ? 408 : 400, "late\n");
        co_return Response::text(200, *body);
      };
    }
    server.emplace(loops, std::move(o), std::move(h));
    auto r = server->start();
    ASSERT_TRUE(r) << r.error().message;
  }
  task::Loops loops{1};
  std::optional<Server> server;
};

double seconds_since(std::int64_t start) { return static_cast<double>(time::mono_ns() - start) / 1e9; }

TEST_F(Clocks, AHeadThatDripsIsRefused) {
  start({.header_timeout_s = 1});
  Wire w(server->port());
  auto begin = time::mono_ns();
  w.send("GET / HTTP/1.1\r\nHost: x\r\n");
  std::jthread drip([&w](const std::stop_token& stop) {
    for (int i = 0; i < 40 && !stop.stop_requested(); ++i) {
      std::this_thread::sleep_for(100ms);
      w.send("X: y\r\n");  // a byte now and then must not buy time
    }
  });
  auto answer = w.read();
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 408 ")) << answer;
  EXPECT_TRUE(w.closed());
  EXPECT_GE(seconds_since(begin), 0.9);
  EXPECT_LE(seconds_since(begin), 4.0);
}

TEST_F(Clocks, ABodyThatStallsIsRefused) {
  start({.body_stall_timeout_s = 1});
  Wire w(server->port());
  w.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nsome");
  auto answer = w.read();
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 408 ")) << answer;
  EXPECT_TRUE(w.closed());
}

TEST_F(Clocks, AnIdleConnectionIsClosedWithoutAWord) {
  start({.idle_timeout_s = 1});
  Wire w(server->port());
  w.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  auto answer = w.read();
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 ")) << answer;
  EXPECT_EQ(answer.find("HTTP/1.1 408"), std::string::npos) << answer;
  EXPECT_TRUE(w.closed());
}

TEST_F(Clocks, AClientThatNeverReadsIsDropped) {
  start({.write_stall_timeout_s = 1}, [](Request&) -> task::Task<Response> {
    co_return Response::text(200, std::string(64 << 20, 'x'), "application/octet-stream");
  });
  Wire w(server->port(), 4096);
  w.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  std::this_thread::sleep_for(3s);
  auto got = w.read(2s);
  EXPECT_TRUE(w.closed());
  EXPECT_LT(got.size(), 64U << 20);  // cut, not delivered late
}

TEST_F(Clocks, ASlowBodyThatMovesIsTaken) {
  start({.header_timeout_s = 1, .body_stall_timeout_s = 1});
  Wire w(server->port());
  w.send("POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 8\r\n\r\n");
  for (int i = 0; i < 8; ++i) {
    std::this_thread::sleep_for(300ms);
    w.send("b");
  }
  EXPECT_TRUE(w.read().ends_with("\r\n\r\nbbbbbbbb"));
}

TEST_F(Clocks, ConnectionsBeyondTheLimitAreClosed) {
  start({.max_connections = 2});
  Wire a(server->port());
  Wire b(server->port());
  for (auto* w : {&a, &b}) {
    w->send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_TRUE(w->read(300ms).starts_with("HTTP/1.1 200 "));
  }
  Wire c(server->port());
  c.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(c.read(2s), "");
  EXPECT_TRUE(c.closed());
}

TEST_F(Clocks, StopLetsARequestFinish) {
  start({}, [](Request&) -> task::Task<Response> {
    co_await task::sleep_ms(500);
    co_return Response::text(200, "finished");
  });
  Wire w(server->port());
  w.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  std::this_thread::sleep_for(100ms);
  auto begin = time::mono_ns();
  server->stop(10);
  EXPECT_GE(seconds_since(begin), 0.2);
  EXPECT_LE(seconds_since(begin), 4.0);
  auto answer = w.read();
  EXPECT_TRUE(answer.ends_with("finished")) << answer;
  EXPECT_NE(answer.find("Connection: close"), std::string::npos);
}

TEST_F(Clocks, StopDoesNotWaitForIdleConnectionsOrBeyondItsGrace) {
  start({}, [](Request& rq) -> task::Task<Response> {
    if (rq.path == "/slow") co_await task::sleep_ms(3000);
    co_return Response::text(200, "x");
  });
  Wire idle(server->port());
  idle.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  (void)idle.read(200ms);
  auto begin = time::mono_ns();
  server->stop(5);
  EXPECT_LE(seconds_since(begin), 2.0);
  EXPECT_EQ(idle.read(), "");
  EXPECT_TRUE(idle.closed());
}

TEST(Listen, SaysWhatIsInTheWay) {
  task::Loops loops(1);
  auto handler = [](Request&) -> task::Task<Response> { co_return Response::text(200, ""); };
  Server first(loops, {.name = "a"}, handler);
  ASSERT_TRUE(first.start());
  Server second(loops, {.name = "b", .port = first.port()}, handler);
  auto r = second.start();
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code, Code::failed_precondition);
  EXPECT_NE(r.error().message.find(fmt::format("port {} on 127.0.0.1 is in use", first.port())), std::string::npos)
      << r.error().message;
  Server bad(loops, {.name = "c", .address = "no address"}, handler);
  EXPECT_EQ(bad.start().error().code, Code::invalid_argument);
}

TEST_F(Clocks, TheClientAgreesWithTheServer) {
  start({}, [](Request& rq) -> task::Task<Response> {
    if (rq.path == "/stream") {
      Response r;
      r.body = StreamBody([n = 0]() mutable -> task::Task<Result<std::string>> {
        co_return ++n > 3 ? std::string() : std::string(50000, static_cast<char>('0' + n));
      });
      co_return r;
    }
    auto body = co_await read_all(rq, 1 << 20);
    auto r = Response::text(body ? 200 : 413, body ? *body : "no");
    r.headers.add("X-Path", std::string(rq.path) + "?" + std::string(rq.query));
    co_return r;
  });
  Client c;
  auto base = fmt::format("http://127.0.0.1:{}", server->port());
  for (int i = 0; i < 3; ++i) {  // the second and third on the kept connection
    auto r = c.send({.method = Method::post, .url = base + "/echo?x=1", .body = "hello"});
    ASSERT_TRUE(r) << r.error().message;
    EXPECT_EQ(r->status, 200);
    EXPECT_EQ(r->body, "hello");
    EXPECT_EQ(r->headers.get("x-path"), "/echo?x=1");
  }
  auto s = c.send({.url = base + "/stream"});
  ASSERT_TRUE(s);
  EXPECT_EQ(s->body, std::string(50000, '1') + std::string(50000, '2') + std::string(50000, '3'));
  EXPECT_FALSE(c.send({.url = base + "/stream", .max_body = 1000}));
  std::size_t seen = 0;
  ASSERT_TRUE(c.send({.url = base + "/stream", .sink = [&](std::string_view p) {
                        seen += p.size();
                        return true;
                      }}));
  EXPECT_EQ(seen, 150000U);
  auto h = c.send({.method = Method::head, .url = base + "/echo"});
  ASSERT_TRUE(h);
  EXPECT_EQ(h->body, "");
  for (const char* bad : {"", "127.0.0.1", "ftp://127.0.0.1/", "http://", "http://127.0.0.1:notaport/"})
    EXPECT_FALSE(c.send({.url = bad})) << bad;
  server->stop(0);
  auto gone = c.send({.url = base + "/echo", .timeout_s = 2});
  ASSERT_FALSE(gone) << gone->status << gone->body;
  EXPECT_EQ(gone.error().code, Code::unavailable);
}

}  // namespace
}  // namespace mr::http
