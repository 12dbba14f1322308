// A connection that a handler takes over, and the streams to other servers that it is joined with.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include "await.h"
#include "http/server.h"
#include "http/tcp_stream.h"
#include "task/event.h"

namespace mr::http {
namespace {

using testing::await_on;

// Echoes in upper case until the client ends, then says so.
task::Task<void> shout(ByteStream& io) {
  for (;;) {
    auto piece = co_await io.read();
    if (!piece || piece->empty()) break;
    std::string upper(*piece);
    for (char& c : upper) c = static_cast<char>(std::toupper(c));
    if (!co_await io.write(upper)) co_return;
  }
  (void)co_await io.write("bye");
}

Response upgrade_to(UpgradeHandler h) {
  Response r;
  r.status = 101;
  r.headers.add("Connection", "Upgrade");
  r.headers.add("Upgrade", "shout");
  r.upgrade = std::move(h);
  return r;
}

task::Task<std::string> read_to_end(ByteStream& io) {
  std::string out;
  for (;;) {
    auto piece = co_await io.read();
    if (!piece || piece->empty()) co_return out;
    out += *piece;
  }
}

task::Task<std::string> talk(std::uint16_t port, std::string first, std::string then) {
  auto s = co_await connect_tcp("127.0.0.1", port);
  if (!s) co_return s.error().message;
  (void)co_await (*s)->write(first);
  (void)co_await (*s)->write(then);
  (void)co_await (*s)->shutdown_write();
  co_return co_await read_to_end(**s);
}

constexpr std::string_view kAsk = "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\n";

TEST(Upgrade, GivesTheConnectionToItsHandler) {
  task::Loops loops(1);
  Server server(loops, {.name = "t"}, [](Request&) -> task::Task<Response> { co_return upgrade_to(shout); });
  ASSERT_TRUE(server.start());
  // Bytes behind the head belong to the handler.
  auto answer = await_on(loops, talk(server.port(), std::string(kAsk) + "early ", "late"));
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 101 Switching Protocols\r\n")) << answer;
  EXPECT_TRUE(answer.ends_with("\r\n\r\nEARLY LATEbye")) << answer;
  EXPECT_EQ(answer.find("Content-Length"), std::string::npos);
  EXPECT_EQ(answer.find("close"), std::string::npos);
}

TEST(Upgrade, OutlivesTimeoutsAndIsClosedAtTheEndOfTheGrace) {
  task::Loops loops(1);
  std::atomic<bool> ended = false;
  Server server(loops, {.name = "t", .header_timeout_s = 1, .idle_timeout_s = 1, .body_stall_timeout_s = 1},
                [&](Request&) -> task::Task<Response> {
                  co_return upgrade_to([&](ByteStream& io) -> task::Task<void> {
                    co_await shout(io);
                    ended = true;
                  });
                });
  ASSERT_TRUE(server.start());
  std::atomic<bool> stopped = false;
  auto slow = [](std::uint16_t port, std::atomic<bool>& s) -> task::Task<std::string> {
    auto c = co_await connect_tcp("127.0.0.1", port);
    (void)co_await (*c)->write(kAsk);
    co_await task::sleep_ms(2500);  // past every clock of the listener
    (void)co_await (*c)->write("still there");
    std::string got;
    while (got.find("STILL THERE") == std::string::npos) {
      auto p = co_await (*c)->read();
      if (!p || p->empty()) co_return "closed too early";
      got += *p;
    }
    s = true;
    co_return co_await read_to_end(**c);  // until the server goes
  };
  std::jthread stopper([&] {
    while (!stopped) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    server.stop(0);
  });
  EXPECT_EQ(await_on(loops, slow(server.port(), stopped)), "");
  stopper.join();
  EXPECT_TRUE(ended);
}

TEST(TcpStream, PumpPassesHalfClosesOn) {
  task::Loops loops(1);
  Server echo(loops, {.name = "echo"}, [](Request&) -> task::Task<Response> { co_return upgrade_to(shout); });
  ASSERT_TRUE(echo.start());
  auto port = echo.port();
  Server proxy(loops, {.name = "proxy"}, [port](Request&) -> task::Task<Response> {
    co_return upgrade_to([port](ByteStream& io) -> task::Task<void> {
      auto target = co_await connect_tcp("127.0.0.1", port);
      if (target) co_await pump(io, **target);
    });
  });
  ASSERT_TRUE(proxy.start());
  std::string big(3 << 20, 'q');
  auto answer = await_on(loops, talk(proxy.port(), std::string(kAsk) + std::string(kAsk), big));
  EXPECT_TRUE(answer.ends_with("bye"));  // sent by the far end after it saw our half-close
  EXPECT_EQ(std::ranges::count(answer, 'Q'), 3 << 20);
}

TEST(TcpStream, SaysWhyThereIsNoConnection) {
  task::Loops loops(1);
  std::uint16_t closed = 0;
  {
    Server s(loops, {.name = "gone"}, [](Request&) -> task::Task<Response> { co_return Response{}; });
    ASSERT_TRUE(s.start());
    closed = s.port();
  }
  auto refused = await_on(loops, connect_tcp("127.0.0.1", closed));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::unavailable);
  EXPECT_EQ(refused.error().message, fmt::format("dial tcp4 127.0.0.1:{}: connect: connection refused", closed));
  EXPECT_EQ(await_on(loops, connect_tcp("localhost", 1)).error().code, Code::invalid_argument);
  // A listener whose queue is full takes nobody: the clock ends the attempt.
  Fd full(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(::bind(full.get(), reinterpret_cast<sockaddr*>(&a), sizeof a), 0);
  ASSERT_EQ(::listen(full.get(), 0), 0);
  socklen_t size = sizeof a;
  ::getsockname(full.get(), reinterpret_cast<sockaddr*>(&a), &size);
  std::vector<std::unique_ptr<ByteStream>> taken;
  Result<std::unique_ptr<ByteStream>> last = std::unique_ptr<ByteStream>();
  for (int i = 0; i < 8 && last; ++i) {
    last = await_on(loops, connect_tcp("127.0.0.1", ntohs(a.sin_port), 200));
    if (last) taken.push_back(std::move(*last));
  }
  ASSERT_FALSE(last);
  EXPECT_EQ(last.error().code, Code::deadline_exceeded);
  // Streams end on the loop they live on.
  await_on(loops, [](auto held) -> task::Task<bool> {
    held.clear();
    co_return true;
  }(std::move(taken)));
}

TEST(TcpStream, CloseWakesAReader) {
  task::Loops loops(1);
  int pair[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
  auto t = [](int a, int b) -> task::Task<bool> {
    auto one = socket_stream(a);
    auto other = socket_stream(b);
    task::Timer timer;
    timer.start(50, [&] { one->close(); });
    auto r = co_await one->read();
    auto end = co_await other->read();
    co_return !r && end && end->empty() && !co_await one->write("x");
  };
  EXPECT_TRUE(await_on(loops, t(pair[0], pair[1])));
}

}  // namespace
}  // namespace mr::http
