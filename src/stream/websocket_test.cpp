#include "stream/websocket.h"

#include "await.h"
#include "stream_pair.h"

namespace mr::stream {
namespace {

using testing::await_on;
using testing::stream_pair;

http::Request handshake(std::initializer_list<std::pair<std::string_view, std::string_view>> headers) {
  http::Request rq;
  for (auto [n, v] : headers) rq.headers.add(n, v);
  return rq;
}
constexpr std::string_view kKnown[] = {"v5.channel.k8s.io", "v4.channel.k8s.io"};
WebSocketHandler nothing() {
  return [](WebSocket&, http::ByteStream&, std::string_view) -> task::Task<void> { co_return; };
}

TEST(WebSocketHandshake, AnswersAsTheRfcExample) {
  auto rq = handshake({{"Connection", "keep-alive, Upgrade"},
                       {"Upgrade", "websocket"},
                       {"Sec-WebSocket-Version", "13"},
                       {"Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="},
                       {"Sec-WebSocket-Protocol", "other, v4.channel.k8s.io"},
                       {"Sec-WebSocket-Protocol", "v5.channel.k8s.io"}});
  ASSERT_TRUE(wants_websocket(rq));
  auto r = accept_websocket(rq, kKnown, false, nothing());
  ASSERT_TRUE(r) << r.error().message;
  EXPECT_EQ(r->status, 101);
  EXPECT_EQ(r->headers.get("Sec-WebSocket-Accept"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
  EXPECT_EQ(r->headers.get("Sec-WebSocket-Protocol"), "v4.channel.k8s.io");  // the client's order counts
}

TEST(WebSocketHandshake, RefusesWhatItCannotSpeak) {
  auto refused = [](std::string_view version, std::string_view key, std::string_view protocol, bool optional = false) {
    auto rq = handshake({{"Sec-WebSocket-Version", version}, {"Sec-WebSocket-Key", key}});
    if (!protocol.empty()) rq.headers.add("Sec-WebSocket-Protocol", protocol);
    return !accept_websocket(rq, kKnown, optional, nothing());
  };
  constexpr std::string_view key = "dGhlIHNhbXBsZSBub25jZQ==";
  EXPECT_FALSE(refused("13", key, "v5.channel.k8s.io"));
  EXPECT_TRUE(refused("8", key, "v5.channel.k8s.io"));
  EXPECT_TRUE(refused("13", "c2hvcnQ=", "v5.channel.k8s.io"));
  EXPECT_TRUE(refused("13", "", "v5.channel.k8s.io"));
  EXPECT_TRUE(refused("13", key, "v9"));
  EXPECT_TRUE(refused("13", key, "v9", true));
  EXPECT_TRUE(refused("13", key, ""));
  EXPECT_FALSE(refused("13", key, "", true));
  auto post = handshake({{"Sec-WebSocket-Version", "13"}, {"Sec-WebSocket-Key", key}});
  post.method = http::Method::post;
  EXPECT_FALSE(accept_websocket(post, kKnown, true, nothing()));
  EXPECT_FALSE(wants_websocket(handshake({{"Upgrade", "websocket"}})));
}

TEST(WebSocket, CarriesMessagesOfEverySizeBothWays) {
  task::Loops loops(1);
  auto t = []() -> task::Task<std::string> {
    auto [a, b] = stream_pair();
    WebSocket server(*a);
    WebSocket client(*b, WebSocket::Role::client);
    for (std::size_t size : {0UL, 1UL, 125UL, 126UL, 65535UL, 65536UL, 300000UL}) {
      std::string text(size, 'm');
      for (auto [from, to] : {std::pair(&server, &client), std::pair(&client, &server)}) {
        task::Group g;
        g.spawn(
            [](WebSocket& w, std::string_view s) -> task::Task<void> { (void)co_await w.write("h", s); }(*from, text));
        auto got = co_await to->read_message(1 << 20);
        co_await g.join();
        if (!got || !*got || **got != "h" + text) co_return fmt::format("size {}", size);
      }
    }
    co_await client.close(1000, "done");
    auto end = co_await server.read();
    auto back = co_await client.read();
    if (!end || *end || !back || *back) co_return "no close";
    co_return (co_await server.write("late")) ? "written after the close" : "";
  };
  EXPECT_EQ(await_on(loops, t()), "");
}

// What the server answers to raw bytes of a client; the payload of its close frame as a number.
struct Answer {
  std::string messages;
  int close = 0;
  std::string raw;
};
Answer ask(std::string bytes, std::size_t limit = 1 << 16) {
  task::Loops loops(1);
  auto t = [](std::string in, std::size_t most) -> task::Task<Answer> {
    auto [a, b] = stream_pair();
    (void)co_await b->write(in);
    (void)co_await b->shutdown_write();
    Answer out;
    {
      WebSocket ws(*a);
      for (;;) {
        auto m = co_await ws.read_message(most);
        if (!m || !*m) break;
        out.messages += "[" + **m + "]";
      }
    }
    (void)co_await a->shutdown_write();
    out.raw = co_await testing::read_to_end(*b);
    if (auto at = out.raw.find('\x88'); at != std::string::npos && out.raw.size() >= at + 4)
      out.close = static_cast<unsigned char>(out.raw[at + 2]) << 8 | static_cast<unsigned char>(out.raw[at + 3]);
    co_return out;
  };
  return await_on(loops, t(std::move(bytes), limit));
}
// A masked frame with an all-zero mask.
std::string frame(int first, std::string_view payload) {
  std::string out(1, static_cast<char>(first));
  out += static_cast<char>(0x80 | payload.size());
  out.append(4, '\0');
  out += payload;
  return out;
}

TEST(WebSocket, JoinsFragmentsAndAnswersPingsBetweenThem) {
  auto a = ask(frame(0x02, "one ") + frame(0x89, "ping") + frame(0x00, "") + frame(0x80, "two") + frame(0x81, "text") +
               frame(0x8A, "unasked pong") + frame(0x88, std::string("\x03\xE8", 2)));
  EXPECT_EQ(a.messages, "[one two][text]");
  EXPECT_TRUE(a.raw.starts_with("\x8A\x04ping")) << a.raw;
  EXPECT_EQ(a.close, 1000);
}

TEST(WebSocket, UnmasksWithTheMaskOfEachFrame) {
  // The example of RFC 6455, section 5.7.
  EXPECT_EQ(ask(std::string("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", 11)).messages, "[Hello]");
}

TEST(WebSocket, TellsThePeerWhatItBroke) {
  EXPECT_EQ(ask(std::string("\x81\x05Hello", 7)).close, 1002);             // not masked
  EXPECT_EQ(ask(frame(0x80, "x")).close, 1002);                            // continues nothing
  EXPECT_EQ(ask(frame(0x02, "x") + frame(0x82, "y")).close, 1002);         // a new message inside another
  EXPECT_EQ(ask(frame(0xC2, "x")).close, 1002);                            // reserved bit
  EXPECT_EQ(ask(frame(0x83, "x")).close, 1002);                            // reserved opcode
  EXPECT_EQ(ask(frame(0x09, "x")).close, 1002);                            // a control frame in parts
  EXPECT_EQ(ask(frame(0x88, "x")).close, 1002);                            // half a close code
  EXPECT_EQ(ask(std::string("\x89\xFE\x00\x7E\0\0\0\0", 8)).close, 1002);  // a control frame that is too long
  EXPECT_EQ(ask(std::string("\x82\xFF\xFF\0\0\0\0\0\0\0\0\0\0\0", 14)).close, 1002);
  EXPECT_EQ(ask(frame(0x02, std::string(100, 'x')) + frame(0x80, std::string(100, 'x')), 150).close, 1009);
  // A lost connection is not a close.
  EXPECT_EQ(ask(frame(0x82, "x").substr(0, 6)).close, 0);
}

TEST(WebSocketStream, IsOneStreamOfBytes) {
  task::Loops loops(1);
  auto t = []() -> task::Task<std::string> {
    auto [a, b] = stream_pair();
    WebSocket server(*a);
    WebSocket client(*b, WebSocket::Role::client);
    WebSocketStream tunnel(server, *a);
    (void)co_await client.write("ab");
    (void)co_await client.write("");
    (void)co_await client.write("cd");
    co_await client.close();
    co_return co_await testing::read_to_end(tunnel);
  };
  EXPECT_EQ(await_on(loops, t()), "abcd");
}

}  // namespace
}  // namespace mr::stream
