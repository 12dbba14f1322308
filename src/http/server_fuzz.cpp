// A real server gets each input as the bytes of one connection. It must answer or close, never hang, and every answer
// must start as one.
#include "http/server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include "http/files.h"
#include "http/router.h"
#include "log/log.h"

namespace {

using namespace mr;

struct Running {
  task::Loops loops{1};
  http::Router router;
  std::optional<http::Server> server;
  std::string file;

  Running() {
    log::configure({.level = log::Level::off});
    auto echo = [](http::Request& rq) -> task::Task<http::Response> {
      auto body = co_await http::read_all(rq, 1 << 20);
      auto r = body ? http::Response::text(200, *body) : http::Response::text(400, body.error().message);
      for (const auto& [n, v] : rq.headers.items()) r.headers.add("X-Seen", std::string(n) + "=" + std::string(v));
      for (const auto& p : rq.params) r.headers.add("X-Param", p);
      co_return r;
    };
    auto stream = [](http::Request&) -> task::Task<http::Response> {
      http::Response r;
      r.body = http::StreamBody([n = 0]() mutable -> task::Task<Result<std::string>> {
        co_return ++n > 3 ? std::string() : std::string("piece");
      });
      co_return r;
    };
    // Answers without reading what was sent.
    auto deaf = [](http::Request& rq) -> task::Task<http::Response> {
      http::ByteRange range;
      auto kind = http::parse_range(rq.headers.get("Range"), 100, range);
      if (kind == http::RangeKind::part && (range.length == 0 || range.offset + range.length > 100)) std::abort();
      co_return http::Response::text(200, "deaf");
    };
    router.add(http::Method::get, "/a/{id}/x", echo);
    router.add(http::Method::post, "/a/{id}:go", echo);
    router.add(http::Method::put, "/f/{rest...}", echo);
    router.add(http::Method::get, "/stream", stream);
    router.add(http::Method::post, "/deaf", deaf);
    server.emplace(loops, http::ServerOptions{.name = "fuzz"}, [this](http::Request& rq) -> task::Task<http::Response> {
      auto m = router.find(rq.method, rq.path);
      if (m.handler == nullptr) co_return http::Response::text(m.other_method ? 405 : 404, m.allow);
      rq.params = std::move(m.params);
      co_return co_await (*m.handler)(rq);
    });
    if (!server->start()) std::abort();
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Running running;
  Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(running.server->port());
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&a), sizeof a) != 0) return 0;
  (void)::send(fd.get(), data, size, MSG_NOSIGNAL);
  ::shutdown(fd.get(), SHUT_WR);
  std::string answer;
  for (;;) {
    pollfd p{fd.get(), POLLIN, 0};
    if (::poll(&p, 1, 5000) == 0) std::abort();  // all input is there and nothing more can come: it must have closed
    char buf[65536];
    auto n = ::recv(fd.get(), buf, sizeof buf, 0);
    if (n <= 0) break;
    answer.append(buf, static_cast<std::size_t>(n));
  }
  if (!answer.empty() && !answer.starts_with("HTTP/1.1 ")) std::abort();
  return 0;
}
