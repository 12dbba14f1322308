#include "services/relay.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "core/fd.h"

namespace mr::services {
namespace {

sockaddr_in loopback(const char* ip, std::uint16_t port) {
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(port);
  ::inet_pton(AF_INET, ip, &a.sin_addr);
  return a;
}
Fd dial(const char* ip, std::uint16_t port) {
  Fd fd(::socket(AF_INET, SOCK_STREAM, 0));
  auto a = loopback(ip, port);
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&a), sizeof a) != 0) return {};
  return fd;
}
// Answers every connection with its name once the client has finished, then with what the client sent.
struct Echo {
  explicit Echo(std::string name) : listening(::socket(AF_INET, SOCK_STREAM, 0)) {
    auto a = loopback("127.0.0.1", 0);
    ::bind(listening.get(), reinterpret_cast<sockaddr*>(&a), sizeof a);
    ::listen(listening.get(), 64);
    socklen_t n = sizeof a;
    ::getsockname(listening.get(), reinterpret_cast<sockaddr*>(&a), &n);
    port = ntohs(a.sin_port);
    thread = std::thread([this, name] {
      for (;;) {
        Fd c(::accept(listening.get(), nullptr, nullptr));
        if (!c) return;
        std::string got;
        char buffer[65536];
        for (ssize_t r; (r = ::read(c.get(), buffer, sizeof buffer)) > 0;)
          got.append(buffer, static_cast<std::size_t>(r));
        got = name + ":" + got;
        for (std::string_view rest = got; !rest.empty();) {
          ssize_t w = ::send(c.get(), rest.data(), rest.size(), MSG_NOSIGNAL);
          if (w <= 0) break;
          rest.remove_prefix(static_cast<std::size_t>(w));
        }
      }
    });
  }
  ~Echo() {
    ::shutdown(listening.get(), SHUT_RDWR);
    thread.join();
  }
  Fd listening;
  std::uint16_t port = 0;
  std::thread thread;
};
EndpointPtr endpoint(std::uint16_t port) {
  auto e = std::make_shared<Endpoint>();
  e->ip = "127.0.0.1";
  e->port = port;
  return e;
}
std::string ask(std::uint16_t port, std::string_view text) {
  auto fd = dial("127.0.0.1", port);
  if (!fd) return "refused";
  std::thread sender([&] {
    for (auto rest = text; !rest.empty();) {
      ssize_t w = ::send(fd.get(), rest.data(), rest.size(), MSG_NOSIGNAL);
      if (w <= 0) break;
      rest.remove_prefix(static_cast<std::size_t>(w));
    }
    ::shutdown(fd.get(), SHUT_WR);
  });
  std::string got;
  char buffer[65536];
  for (ssize_t r; (r = ::read(fd.get(), buffer, sizeof buffer)) > 0;) got.append(buffer, static_cast<std::size_t>(r));
  sender.join();
  return got;
}

TEST(Relay, CarriesBothWaysWithHalfClose) {
  Echo a("a");
  task::Loops loops(2);
  Relays relays(loops);
  auto e = endpoint(a.port);
  auto listener = relays.listen("127.0.0.1", 0, [e](std::string_view client, const auto& tried) {
    EXPECT_EQ(client, "127.0.0.1");
    return tried.empty() ? e : nullptr;
  });
  ASSERT_TRUE(listener.has_value()) << listener.error().message;
  EXPECT_EQ(ask((*listener)->port(), "hello"), "a:hello");
  std::string big(3 << 20, 'x');
  EXPECT_EQ(ask((*listener)->port(), big), "a:" + big);
  listener->reset();
  relays.stop();
  EXPECT_EQ(relays.connections(), 0U);
  EXPECT_EQ(e->active, 0U);
  loops.stop();
}

TEST(Relay, GoesOnToTheNextEndpointWhenOneIsGone) {
  Echo b("b");
  std::uint16_t dead = 0;
  {
    dead = Echo("gone").port;
  }
  task::Loops loops(1);
  Relays relays(loops);
  auto first = endpoint(dead), second = endpoint(b.port);
  auto listener = relays.listen("127.0.0.1", 0,
                                [=](std::string_view, const auto& tried) { return tried.empty() ? first : second; });
  EXPECT_EQ(ask((*listener)->port(), "x"), "b:x");
  listener->reset();
  relays.stop();
  loops.stop();
}

TEST(Relay, NobodyThereIsAReset) {
  task::Loops loops(1);
  Relays relays(loops);
  auto listener = relays.listen("127.0.0.1", 0, [](std::string_view, const auto&) { return EndpointPtr(); });
  EXPECT_EQ(ask((*listener)->port(), "x"), "");
  listener->reset();
  relays.stop();
  loops.stop();
}

TEST(Relay, AnAddressInUseIsNamedAndFreeAfterwards) {
  task::Loops loops(1);
  Relays relays(loops);
  auto none = [](std::string_view, const auto&) { return EndpointPtr(); };
  auto listener = relays.listen("127.0.0.1", 0, none);
  auto port = (*listener)->port();
  auto second = relays.listen("127.0.0.1", port, none);
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().code, Code::already_exists);
  EXPECT_TRUE(relays.listen("127.64.9.9", port, none).has_value());
  listener->reset();
  relays.stop();
  loops.stop();
}

TEST(Relay, StopEndsConnectionsThatAreOpen) {
  Echo a("a");
  task::Loops loops(2);
  Relays relays(loops);
  auto listener = relays.listen("127.0.0.1", 0, [e = endpoint(a.port)](std::string_view, const auto&) { return e; });
  auto fd = dial("127.0.0.1", (*listener)->port());
  ASSERT_EQ(::send(fd.get(), "x", 1, 0), 1);
  while (relays.connections() == 0) std::this_thread::yield();
  listener->reset();
  relays.stop();
  EXPECT_EQ(relays.connections(), 0U);
  char c = 0;
  EXPECT_LE(::read(fd.get(), &c, 1), 0);
  loops.stop();
}

}  // namespace
}  // namespace mr::services
