#include "stream/port_forward.h"

#include "await.h"
#include "stream/spdy.h"
#include "stream/websocket.h"
#include "stream_pair.h"

namespace mr::stream {
namespace {

using testing::await_on;
using testing::read_to_end;

// Port 80 echoes until the client ends; port 81 says one word and ends; the rest refuse.
class Ports final : public Dialer {
 public:
  task::Task<Result<std::unique_ptr<http::ByteStream>>> dial(std::uint16_t port) override {
    if (port != 80 && port != 81)
      co_return fail(Code::unavailable, "dial tcp4 127.0.0.1:9: connect: connection refused");
    auto [near, far] = testing::stream_pair();
    served.spawn([](std::unique_ptr<http::ByteStream> io, bool echo) -> task::Task<void> {
      if (!echo) (void)co_await io->write("word");
      while (echo) {
        auto piece = co_await io->read();
        if (!piece || piece->empty() || !co_await io->write(*piece)) break;
      }
    }(std::move(far), port == 80));
    co_return std::move(near);
  }
  task::Group served;
};

struct Asked {
  http::Request request;
  explicit Asked(std::initializer_list<std::pair<std::string_view, std::string_view>> headers,
                 std::string_view query = {}, http::Method method = http::Method::get) {
    for (auto [n, v] : headers) request.headers.add(n, v);
    request.headers.add("Connection", "Upgrade");
    request.query = query;
    request.method = method;
  }
};
Asked web_socket(std::string_view protocols, std::string_view query = {}) {
  return Asked({{"Upgrade", "websocket"},
                {"Sec-WebSocket-Version", "13"},
                {"Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="},
                {"Sec-WebSocket-Protocol", protocols}},
               query);
}

// Runs the server's end of an accepted answer against `play`, the client's.
task::Task<std::string> play_on(Asked asked, std::function<task::Task<std::string>(http::ByteStream&)> play) {
  auto ports = std::make_shared<Ports>();
  auto r = serve_port_forward(asked.request, ports, {"pod_ns", "uid-1"});
  if (!r.upgrade) co_return fmt::format("{} {}", r.status, std::get<std::string>(r.body));
  auto [a, b] = testing::stream_pair();
  task::Group g;
  g.spawn([](http::UpgradeHandler h, std::unique_ptr<http::ByteStream> io) -> task::Task<void> { co_await h(*io); }(
                                                                               std::move(r.upgrade), std::move(a)));
  auto said = co_await play(*b);
  b->close();
  co_await g.join();
  co_await ports->served.join();
  co_return fmt::format("{} {}: {}", r.status, r.headers.get("X-Stream-Protocol-Version"), said);
}

task::Task<std::string> forward(SpdySession& c, std::string port, std::string text, std::string id, bool data_first) {
  SpdyStreamPtr streams[2];
  for (int i = 0; i < 2; ++i) {
    bool data = (i == 0) == data_first;
    streams[data ? 0 : 1] =
        *co_await c.open({{"streamtype", data ? "data" : "error"}, {"port", port}, {"requestid", id}}, !data);
  }
  task::Group writing;  // beside reading: an echo of much would wait for itself
  writing.spawn([](SpdyStreamPtr to, std::string_view all) -> task::Task<void> {
    (void)co_await to->write(all);
    (void)co_await to->shutdown_write();
  }(streams[0], text));
  auto got = co_await read_to_end(*streams[0]);
  co_await writing.join();
  co_return got + "|" + co_await read_to_end(*streams[1]);
}
task::Task<std::string> forwards(http::ByteStream& io) {
  SpdySession client(io, {.flow_control = false, .client = true}, nullptr);
  task::Group g;
  g.spawn(client.run());
  std::string out = co_await forward(client, "80", "hello", "0", false);
  out += " " + co_await forward(client, "81", "", "1", true);
  out += " " + co_await forward(client, "9", "x", "2", false);
  auto big = co_await forward(client, "80", std::string(2'000'000, 'b'), "3", false);
  out += big == std::string(2'000'000, 'b') + "|" ? " big" : " cut";
  // Streams that make no sense are reset, the rest goes on.
  for (const SpdyHeaders& bad :
       {SpdyHeaders{}, SpdyHeaders{{"streamtype", "data"}, {"port", "0"}},
        SpdyHeaders{{"streamtype", "data"}, {"port", "70000"}}, SpdyHeaders{{"streamtype", "other"}, {"port", "80"}}}) {
    auto s = co_await client.open(bad);
    out += co_await (*s)->read() ? " taken" : " reset";
  }
  co_await client.goaway();
  co_await g.join();
  co_return out;
}
constexpr std::string_view kForwards =
    "hello| word| |error forwarding port 9 to pod pod_ns, uid uid-1: dial tcp4 127.0.0.1:9: connect: connection "
    "refused "
    "big reset reset reset reset";

TEST(PortForward, OverBareSpdy) {
  task::Loops loops(1);
  Asked asked({{"Upgrade", "SPDY/3.1"}, {"X-Stream-Protocol-Version", "portforward.k8s.io"}}, {}, http::Method::post);
  EXPECT_EQ(await_on(loops, play_on(asked, forwards)), fmt::format("101 portforward.k8s.io: {}", kForwards));
}

TEST(PortForward, OverSpdyInsideWebSocket) {
  task::Loops loops(1);
  auto said = await_on(
      loops, play_on(web_socket("SPDY/3.1+portforward.k8s.io"), [](http::ByteStream& io) -> task::Task<std::string> {
        WebSocket ws(io, WebSocket::Role::client);
        WebSocketStream tunnel(ws, io);
        co_return co_await forwards(tunnel);
      }));
  EXPECT_EQ(said, fmt::format("101 : {}", kForwards));
}

TEST(PortForward, OverChannels) {
  task::Loops loops(1);
  auto said = await_on(
      loops, play_on(web_socket("v5.channel.k8s.io,v4.channel.k8s.io", "ports=81&ports=80%2C9"),
                     [](http::ByteStream& io) -> task::Task<std::string> {
                       WebSocket ws(io, WebSocket::Role::client);
                       std::map<int, std::string> channels;
                       (void)co_await ws.write(std::string_view("\x02", 1), "ping");
                       (void)co_await ws.write(std::string_view("\x09", 1), "no such channel");
                       for (;;) {
                         auto m = co_await ws.read_message(1 << 20);
                         if (!m || !*m) break;
                         channels[static_cast<unsigned char>((**m)[0])] += (**m).substr(1);
                         if (channels.size() == 6 && channels[2].ends_with("ping") && channels[5].size() > 2)
                           co_await ws.close();
                       }
                       std::string out;
                       for (const auto& [n, text] : channels) {
                         auto port = static_cast<unsigned char>(text[0]) + 256 * static_cast<unsigned char>(text[1]);
                         out += fmt::format("{}:{}:{} ", n, port, text.substr(2));
                       }
                       co_return out;
                     }));
  EXPECT_EQ(
      said,
      "101 : 0:81:word 1:81: 2:80:ping 3:80: 4:9: 5:9:error forwarding port 9 to pod pod_ns, uid uid-1: dial tcp4 "
      "127.0.0.1:9: connect: connection refused ");
}

TEST(PortForward, ChannelsEndWhenAllPortsHave) {
  task::Loops loops(1);
  auto said = await_on(loops, play_on(web_socket("v4.channel.k8s.io", "ports=81&ports=9"),
                                      [](http::ByteStream& io) -> task::Task<std::string> {
                                        WebSocket ws(io, WebSocket::Role::client);
                                        int n = 0;
                                        for (;;) {
                                          auto m = co_await ws.read_message(1 << 20);
                                          if (!m) co_return "lost";
                                          if (!*m) co_return std::to_string(n);
                                          ++n;
                                        }
                                      }));
  EXPECT_EQ(said, "101 : 6");
}

TEST(PortForward, RefusesWhatItCannotSpeak) {
  task::Loops loops(1);
  auto refused = [&](Asked a) { return await_on(loops, play_on(std::move(a), nullptr)); };
  EXPECT_TRUE(refused(web_socket("v4.channel.k8s.io")).starts_with("400 ")) << "no port";
  EXPECT_TRUE(refused(web_socket("v4.channel.k8s.io", "ports=0")).starts_with("400 "));
  EXPECT_TRUE(refused(web_socket("v4.channel.k8s.io", "ports=http")).starts_with("400 "));
  EXPECT_TRUE(refused(web_socket("v9.channel.k8s.io", "ports=80")).starts_with("400 "));
  EXPECT_TRUE(refused(Asked({{"Upgrade", "h2c"}})).starts_with("400 "));
  auto version = refused(Asked({{"Upgrade", "SPDY/3.1"}, {"X-Stream-Protocol-Version", "v9"}}));
  EXPECT_TRUE(version.starts_with("403 ")) << version;
  EXPECT_NE(version.find("client supports [v9], server accepts [portforward.k8s.io]"), std::string::npos) << version;
}

}  // namespace
}  // namespace mr::stream
