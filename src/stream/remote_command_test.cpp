#include "stream/remote_command.h"

#include "await.h"
#include "json/parse.h"
#include "stream/spdy.h"
#include "stream/websocket.h"
#include "stream_pair.h"

namespace mr::stream {
namespace {

using testing::await_on;
using testing::read_to_end;

// Says stdin back on stdout and a word on stderr; exits with 3 when stdin ends. Keeps a diary.
class Parrot final : public ExecSession {
 public:
  explicit Parrot(std::string& diary) : diary_(diary) {}
  ~Parrot() override { diary_ += " gone"; }
  task::Task<Result<void>> write_stdin(std::string_view bytes) override {
    out_ += bytes;
    wake_.set();
    co_return Result<void>{};
  }
  void close_stdin() override {
    diary_ += "eof";
    ended_ = true;
    wake_.set();
  }
  void resize(std::uint16_t w, std::uint16_t h) override { diary_ += fmt::format("{}x{} ", w, h); }
  void cancel() override {
    diary_ += "cancelled";
    cancelled_ = true;
    wake_.set();
  }
  task::Task<Result<Output>> read_output() override {
    if (!std::exchange(warned_, true)) co_return Output{.channel = 2, .bytes = "warning"};
    for (;;) {
      if (cancelled_) co_return fail(Code::cancelled, "cancelled");
      if (!out_.empty()) {
        given_ = std::exchange(out_, {});
        co_return Output{.channel = 1, .bytes = given_};
      }
      if (ended_) co_return Output{.exit = 3};
      co_await wake_.wait();
    }
  }

 private:
  std::string& diary_;
  std::string out_, given_;
  task::Event wake_;
  bool warned_ = false, ended_ = false, cancelled_ = false;
};

class Broken final : public ExecSession {
 public:
  task::Task<Result<void>> write_stdin(std::string_view) override { co_return fail(Code::unavailable, "no"); }
  void close_stdin() override {}
  void resize(std::uint16_t, std::uint16_t) override {}
  void cancel() override {}
  task::Task<Result<Output>> read_output() override { co_return fail(Code::not_found, "no such program"); }
};

using Headers = std::vector<std::pair<std::string, std::string>>;
Headers web_socket(std::string protocol) {
  return {{"Connection", "Upgrade"},
          {"Upgrade", "websocket"},
          {"Sec-WebSocket-Version", "13"},
          {"Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="},
          {"Sec-WebSocket-Protocol", std::move(protocol)}};
}
Headers spdy(std::string version) {
  return {{"Connection", "Upgrade"}, {"Upgrade", "SPDY/3.1"}, {"X-Stream-Protocol-Version", std::move(version)}};
}
constexpr std::string_view kAll = "stdin=true&stdout=true&stderr=true&command=say&command=it%20all";

// Runs the server's end against `play`; gives what it said and what was chosen.
using Play = std::function<task::Task<std::string>(http::ByteStream&)>;
task::Task<std::string> exec(Headers headers, std::string query, std::unique_ptr<ExecSession> session, Play play) {
  http::Request rq;
  for (const auto& [n, v] : headers) rq.headers.add(n, v);
  rq.query = query;
  auto options = exec_options(rq);
  auto r = serve_exec(rq, options, std::move(session));
  if (!r.upgrade) co_return fmt::format("{} {}", r.status, std::get<std::string>(r.body));
  auto [a, b] = testing::stream_pair();
  task::Group g;
  g.spawn([](http::UpgradeHandler h, std::unique_ptr<http::ByteStream> io) -> task::Task<void> { co_await h(*io); }(
                                                                               std::move(r.upgrade), std::move(a)));
  auto said = co_await play(*b);
  b->close();
  co_await g.join();
  co_return said;
}
std::string run(Headers headers, std::string_view query, std::unique_ptr<ExecSession> session, Play play) {
  task::Loops loops(1);
  return await_on(loops, exec(std::move(headers), std::string(query), std::move(session), std::move(play)));
}

// Plays frames and gathers what each channel said until the server closes.
Play channels(std::vector<std::string> frames, bool text = false) {
  return [frames, text](http::ByteStream& io) -> task::Task<std::string> {
    WebSocket ws(io, WebSocket::Role::client);
    for (const auto& f : frames) (void)co_await ws.write(f, {}, text);
    std::map<char, std::string> said;
    for (;;) {
      auto m = co_await ws.read_message(1 << 20);
      if (!m) co_return "lost";
      if (!*m) break;
      if (!(**m).empty()) said[(**m)[0]] += (**m).substr(1);
    }
    std::string out;
    for (const auto& [n, s] : said) out += fmt::format("{}:{}\n", text ? n - '0' : n, s);
    co_return out;
  };
}

constexpr std::string_view kExit3 =
    R"({"metadata":{},"status":"Failure","message":"command terminated with non-zero exit code: error executing command [say it all], exit code 3","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"3"}]}})";

TEST(RemoteCommand, ChannelsOfV5EndStdinAlone) {
  std::string diary;
  auto said = run(web_socket("v5.channel.k8s.io,v4.channel.k8s.io"), kAll, std::make_unique<Parrot>(diary),
                  channels({std::string("\0hello ", 7), std::string("\0world", 6), std::string("\xFF\0", 2),
                            std::string("\0late", 5)}));
  EXPECT_EQ(said, fmt::format("1:hello world\n2:warning\n3:{}\n", kExit3));
  EXPECT_EQ(diary, "eof gone");
}

TEST(RemoteCommand, ChannelsOfV4KnowNoEndOfStdin) {
  std::string diary;
  auto said = run(web_socket("v4.channel.k8s.io"), kAll, std::make_unique<Parrot>(diary),
                  [](http::ByteStream& io) -> task::Task<std::string> {
                    WebSocket ws(io, WebSocket::Role::client);
                    (void)co_await ws.write(std::string("\xFF\0", 2));  // an unknown channel here
                    (void)co_await ws.write(std::string("\0x", 2));
                    std::string out;
                    while (out.find('x') == std::string::npos) {
                      auto m = co_await ws.read_message(1 << 20);
                      if (!m || !*m) co_return "ended";
                      out += **m;
                    }
                    co_return "said";
                  });
  EXPECT_EQ(said, "said");
  EXPECT_EQ(diary, "cancelled gone");  // the client left
}

TEST(RemoteCommand, Base64Channels) {
  std::string diary;
  task::Loops loops(1);
  auto said = run(web_socket("v4.base64.channel.k8s.io"), kAll, std::make_unique<Parrot>(diary),
                  [](http::ByteStream& io) -> task::Task<std::string> {
                    WebSocket ws(io, WebSocket::Role::client);
                    (void)co_await ws.write("0aGVsbG8=", {}, true);
                    (void)co_await ws.write("0not base64", {}, true);
                    std::string out;
                    while (!out.ends_with("1aGVsbG8=;")) {
                      auto m = co_await ws.read_message(1 << 20);
                      if (!m || !*m) co_return "ended";
                      out += **m + ";";
                    }
                    co_return out;
                  });
  EXPECT_EQ(said, "1;2d2FybmluZw==;1aGVsbG8=;");
}

TEST(RemoteCommand, TerminalSizesMayBeCutAnywhere) {
  std::string diary;
  auto said = run(web_socket("v5.channel.k8s.io"), "stdin=1&stdout=1&tty=1&command=sh", std::make_unique<Parrot>(diary),
                  channels({"\x04{\"Width\":80,\"Height\":24}\n{\"Wid", "\x04th\":100,\"Height\":50}",
                            "\x04{\"Width\":-1}", "\x04nonsense}", "\x04" + std::string(5000, '{'), "\x04}",
                            "\x04{\"Width\":1,\"Height\":2}", std::string("\xFF\0", 2)}));
  EXPECT_TRUE(said.starts_with("1:\n3:{")) << said;  // stderr was not asked for
  EXPECT_EQ(diary, "80x24 100x50 1x2 eof gone");
}

TEST(RemoteCommand, AFailureIsAStatusToo) {
  auto said = run(web_socket("v5.channel.k8s.io"), "stdout=true&command=x", std::make_unique<Broken>(), channels({}));
  ASSERT_TRUE(said.starts_with("1:\n3:")) << said;
  auto v = json::parse(std::string_view(said).substr(5));
  ASSERT_TRUE(v) << said;
  EXPECT_EQ(json::string_or_empty(*v, "reason"), "InternalError");
  EXPECT_EQ(json::string_or_empty(*v, "message"), "Internal error occurred: no such program");
}

// Opens the streams of `types`, sends `in` on stdin and tells what came on each.
Play streams(std::vector<std::string> types, std::string in, std::string size = {}) {
  return [=](http::ByteStream& io) -> task::Task<std::string> {
    SpdySession client(io, {.flow_control = false, .client = true}, nullptr);
    task::Group g;
    g.spawn(client.run());
    std::map<std::string, SpdyStreamPtr> open;
    for (const auto& t : types) open[t] = *co_await client.open({{"streamtype", t}});
    if (open.contains("resize")) (void)co_await open["resize"]->write(size);
    task::Group writing;
    if (open.contains("stdin"))
      writing.spawn([](SpdyStreamPtr to, std::string_view all) -> task::Task<void> {
        (void)co_await to->write(all);
        (void)co_await to->shutdown_write();
      }(open["stdin"], in));
    std::string out;
    for (const char* t : {"stdout", "stderr", "error"})
      if (open.contains(t)) out += fmt::format("{}:{}\n", t, co_await read_to_end(*open[t]));
    co_await writing.join();
    co_await client.goaway();
    co_await g.join();
    co_return out;
  };
}

TEST(RemoteCommand, StreamsOfSpdy) {
  std::string diary;
  std::string much(1'000'000, 'y');
  auto said = run(spdy("v4.channel.k8s.io"), kAll, std::make_unique<Parrot>(diary),
                  streams({"error", "stdin", "stdout", "stderr"}, much));
  EXPECT_EQ(said, fmt::format("stdout:{}\nstderr:warning\nerror:{}\n", much, kExit3));
  EXPECT_EQ(diary, "eof gone");
}

TEST(RemoteCommand, StreamsOfSpdyWithATerminal) {
  std::string diary;
  auto said = run(spdy("v5.channel.k8s.io, v4.channel.k8s.io"),
                  "stdin=true&stdout=true&stderr=true&tty=true&command=sh", std::make_unique<Parrot>(diary),
                  streams({"error", "stdin", "stdout", "resize"}, "ls", R"({"Width":80,"Height":24})"));
  EXPECT_TRUE(said.starts_with("stdout:ls\nerror:{")) << said;
  EXPECT_NE(diary.find("80x24"), std::string::npos) << diary;
}

TEST(RemoteCommand, AClientThatGoesEndsTheProcess) {
  std::string diary;
  auto said = run(spdy("v4.channel.k8s.io"), kAll, std::make_unique<Parrot>(diary),
                  [](http::ByteStream& io) -> task::Task<std::string> {
                    SpdySession client(io, {.flow_control = false, .client = true}, nullptr);
                    task::Group g;
                    g.spawn(client.run());
                    std::vector<SpdyStreamPtr> open;
                    for (const char* t : {"error", "stdin", "stdout", "stderr"})
                      open.push_back(*co_await client.open({{"streamtype", t}}));
                    (void)co_await open[0]->shutdown_write();  // as clients do at once: no sign of the end
                    auto first = co_await open[3]->read();
                    client.close();
                    co_await g.join();
                    co_return first ? std::string(*first) : "?";
                  });
  EXPECT_EQ(said, "warning");
  EXPECT_EQ(diary, "cancelled gone");
}

TEST(RemoteCommand, RefusesWhatItCannotSpeak) {
  std::string diary;
  auto refused = [&](Headers h, std::string_view query) {
    return run(std::move(h), query, std::make_unique<Parrot>(diary), nullptr);
  };
  EXPECT_TRUE(refused(web_socket("v5.channel.k8s.io"), "command=x").starts_with("400 "));
  EXPECT_TRUE(refused(web_socket("v1.other"), kAll).starts_with("400 "));
  EXPECT_TRUE(refused({}, kAll).starts_with("400 "));
  EXPECT_TRUE(refused(spdy("v3.channel.k8s.io"), kAll).starts_with("403 "));
  EXPECT_EQ(diary, " gone gone gone gone");
}

}  // namespace
}  // namespace mr::stream
