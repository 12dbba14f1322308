// The client for loops, against a server that misbehaves as told.
#include "http/async_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include "await.h"

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

TEST_F(Asking, AFreshRequestHasItsOwnConnection) {
  Scripted s({{ok("one")}, {ok("two")}, {ok("three")}});
  EXPECT_EQ(ask_now(s.port), "200 one");
  EXPECT_EQ(ask_now(s.port, {.method = "POST", .fresh = true}), "200 two");
  EXPECT_EQ(ask_now(s.port), "200 three");
  EXPECT_EQ(s.connections, 2);
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

}  // namespace
}  // namespace mr::http
