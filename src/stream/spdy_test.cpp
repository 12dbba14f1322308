#include "stream/spdy.h"

#include "await.h"
#include "stream_pair.h"

namespace mr::stream {
namespace {

using testing::await_on;
using testing::read_to_end;

// A server's session that serves each stream with `serve`, and a client's; `play` is the client's part.
using Serve = std::function<task::Task<void>(SpdyStreamPtr)>;
using Play = std::function<task::Task<std::string>(SpdySession&)>;
task::Task<std::string> together(SpdyOptions options, Serve serve, Play play) {
  auto [a, b] = testing::stream_pair();
  SpdySession* at = nullptr;
  SpdySession server(*a, options, [&](SpdyStreamPtr s) { at->tasks().spawn(serve(std::move(s))); });
  at = &server;
  options.client = true;
  options.max_streams = 1000;
  SpdySession client(*b, options, nullptr);
  task::Group g;
  auto run = [](SpdySession& s, http::ByteStream& io) -> task::Task<void> {
    co_await s.run();
    (void)co_await io.shutdown_write();
  };
  g.spawn(run(server, *a));
  g.spawn(run(client, *b));
  auto said = co_await play(client);
  co_await client.goaway();
  co_await g.join();
  co_return said;
}
std::string on_loop(SpdyOptions o, Serve serve, Play play) {
  task::Loops loops(1);
  return await_on(loops, together(o, std::move(serve), std::move(play)));
}

task::Task<void> echo(SpdyStreamPtr s) {
  (void)co_await s->reply({{"hello", std::string(s->header("name"))}});
  for (;;) {
    auto piece = co_await s->read();
    if (!piece) co_return;
    if (piece->empty()) break;
    if (!co_await s->write(*piece)) co_return;
  }
  (void)co_await s->shutdown_write();
}

class Windows : public ::testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(FlowControl, Windows, ::testing::Bool());

TEST_P(Windows, ManyStreamsEchoMoreThanAWindowEach) {
  auto said = on_loop({.flow_control = GetParam()}, echo, [](SpdySession& c) -> task::Task<std::string> {
    task::Group g;
    int good = 0;
    for (int i = 0; i < 20; ++i)
      g.spawn([](SpdySession& session, int n, int& ok) -> task::Task<void> {
        auto s = co_await session.open({{"name", std::to_string(n)}});
        if (!s) co_return;
        std::string text(500'000 + static_cast<std::size_t>(n), static_cast<char>('a' + n));
        task::Group writing;
        writing.spawn([](SpdyStreamPtr to, const std::string& all) -> task::Task<void> {
          (void)co_await to->write(all);
          (void)co_await to->shutdown_write();
        }(*s, text));
        if (co_await read_to_end(**s) == text) ++ok;
        co_await writing.join();
      }(c, i, good));
    co_await g.join();
    co_return std::to_string(good);
  });
  EXPECT_EQ(said, "20");
}

TEST(Spdy, AResetReachesTheOtherSide) {
  std::string told;
  auto said = on_loop(
      {},
      [&](SpdyStreamPtr s) -> task::Task<void> {
        s->on_reset([&] { told += "reset "; });
        (void)co_await s->reply();
        auto r = co_await s->read();
        told += r ? "read" : r.error().message;
        told += co_await s->write("x") ? " written" : " not written";
      },
      [](SpdySession& c) -> task::Task<std::string> {
        auto s = co_await c.open({});
        (*s)->close();
        (*s)->close();
        auto r = co_await (*s)->read();
        co_return r ? "?" : r.error().message;
      });
  EXPECT_EQ(said, "The stream was reset or its connection lost");
  EXPECT_EQ(told, "reset The stream was reset or its connection lost not written");
}

TEST(Spdy, StreamsBeyondTheLimitAreRefused) {
  auto said = on_loop({.max_streams = 2}, echo, [](SpdySession& c) -> task::Task<std::string> {
    std::string out;
    std::vector<SpdyStreamPtr> open;
    for (int i = 0; i < 3; ++i) {
      open.push_back(*co_await c.open({}));
      (void)co_await open.back()->write("x");
      auto r = co_await open.back()->read();
      out += r ? "open " : "refused ";
    }
    // One that ends makes room.
    (void)co_await open[0]->shutdown_write();
    (void)co_await read_to_end(*open[0]);
    auto s = co_await c.open({});
    (void)co_await (*s)->write("x");
    out += co_await (*s)->read() ? "open" : "refused";
    co_return out;
  });
  EXPECT_EQ(said, "open open refused open");
}

TEST(Spdy, ALostConnectionEndsItsStreams) {
  task::Loops loops(1);
  auto t = []() -> task::Task<std::string> {
    auto [a, b] = testing::stream_pair();
    std::string out;
    SpdySession* at = nullptr;
    SpdySession server(*a, {}, [&](SpdyStreamPtr s) {
      at->tasks().spawn([](SpdyStreamPtr stream, std::string& said) -> task::Task<void> {
        auto first = co_await stream->read();
        auto r = co_await stream->read();
        said += r ? "?" : "lost";
      }(std::move(s), out));
    });
    at = &server;
    SpdyEncoder e;
    (void)co_await b->write(e.syn_stream(1, {}, false));
    std::string data;
    SpdyEncoder::data(data, 1, "x", false);
    (void)co_await b->write(data);
    (void)co_await b->shutdown_write();
    co_await server.run();
    co_return out;
  };
  EXPECT_EQ(await_on(loops, t()), "lost");
}

// What the server writes to raw frames: type and value of each.
std::string answers(std::string wire, SpdyOptions options = {}) {
  task::Loops loops(1);
  auto t = [](std::string in, SpdyOptions o) -> task::Task<std::string> {
    auto [a, b] = testing::stream_pair();
    (void)co_await b->write(in);
    (void)co_await b->shutdown_write();
    {
      SpdySession server(*a, o, [](SpdyStreamPtr) {});
      co_await server.run();
    }
    a->close();
    auto got = co_await read_to_end(*b);
    SpdyDecoder d;
    std::string out;
    for (std::string_view rest = got;;) {
      auto f = d.next(rest);
      if (!f || !*f) break;
      out += fmt::format("{}/{}/{} ", static_cast<int>((*f)->type), (*f)->stream, (*f)->value);
    }
    co_return out;
  };
  return await_on(loops, t(std::move(wire), options));
}

TEST(Spdy, AnswersPingsAndFaults) {
  EXPECT_EQ(answers(SpdyEncoder::ping(1) + SpdyEncoder::ping(2)), "6/0/1 ");  // an even one answers ours: none was sent
  std::string data;
  SpdyEncoder::data(data, 7, "x", false);
  EXPECT_EQ(answers(data), "7/0/0 ");  // no such stream: the connection ends
  SpdyEncoder e;
  EXPECT_EQ(answers(e.syn_stream(2, {}, false)), "7/0/0 ");  // an id of ours
  SpdyEncoder f;
  auto twice = f.syn_stream(3, {}, false) + f.syn_stream(1, {}, false);
  EXPECT_EQ(answers(twice), "7/3/0 ");
  SpdyEncoder g;
  auto flood = g.syn_stream(1, {}, false);
  SpdyEncoder::data(flood, 1, std::string(65537, 'x'), false);
  EXPECT_EQ(answers(flood), "3/1/7 ");  // beyond the window
  SpdyEncoder h;
  EXPECT_EQ(answers(h.syn_stream(1, {}, false) + SpdyEncoder::window_update(1, 0x7FFFFFFF)), "3/1/7 ");
  EXPECT_EQ(answers("GET / HTTP/1.1\r\n\r\n"), "7/0/0 ");  // another protocol
}

}  // namespace
}  // namespace mr::stream
