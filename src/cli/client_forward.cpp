// `millrace port-forward`: each connection to a local port gets a SPDY connection of its own through the API to the
// pod, so that a slow one holds no other up, and half-closed ones stay so.
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>

#include <csignal>

#include "cli/client_commands.h"
#include "cli/client_forward.h"
#include "core/fd.h"
#include "http/tcp_stream.h"
#include "json/parse.h"
#include "stream/spdy.h"
#include "task/loop.h"
#include "text/text.h"
#include "text/uri.h"

namespace mr::cli {

namespace {

constexpr int kMostConnections = 512;

// What all connections share; outlives them.
struct Way {
  std::string ip;  // of the API server
  std::uint16_t port = 443;
  std::string host;         // as its certificate names it
  http::ClientContext tls;  // null: plain
  std::string head;         // of the upgrade request
  Fd lost;                  // an eventfd: set when the pod cannot be reached any more
  std::atomic<int> open = 0;
};

// A stream whose first bytes were read before.
class Prefixed final : public http::ByteStream {
 public:
  Prefixed(std::string first, std::unique_ptr<http::ByteStream> rest)
      : first_(std::move(first)), rest_(std::move(rest)) {}
  task::Task<Result<std::string_view>> read() override {
    if (!given_ && !first_.empty()) {
      given_ = true;
      co_return std::string_view(first_);
    }
    co_return co_await rest_->read();
  }
  task::Task<Result<void>> write(std::string_view bytes) override { return rest_->write(bytes); }
  task::Task<Result<void>> shutdown_write() override { return rest_->shutdown_write(); }
  void close() override { rest_->close(); }

 private:
  std::string first_;
  bool given_ = false;
  std::unique_ptr<http::ByteStream> rest_;
};

// The connection after the server has agreed to speak SPDY on it. Errors: not_found (the pod is gone), unavailable.
task::Task<Result<std::unique_ptr<http::ByteStream>>> open_way(Way& way) {
  MR_CO_TRY(auto io, co_await http::connect_tcp(way.ip, way.port));
  if (way.tls) {
    MR_CO_TRY(io, co_await http::start_tls(std::move(io), way.tls, way.host));
  }
  MR_CO_CHECK(co_await io->write(way.head));
  std::string in;
  std::size_t end = 0;
  while ((end = in.find("\r\n\r\n")) == std::string::npos) {
    if (in.size() > 64 * 1024) co_return fail(Code::unavailable, "the API's answer is malformed");
    MR_CO_TRY(auto piece, co_await io->read());
    if (piece.empty()) co_return fail(Code::unavailable, "the API closed the connection");
    in += piece;
  }
  auto status = text::to_u64(std::string_view(in).substr(std::min<std::size_t>(9, in.size()), 3)).value_or(0);
  std::string rest = in.substr(end + 4);
  if (status == 101)
    co_return std::unique_ptr<http::ByteStream>(std::make_unique<Prefixed>(std::move(rest), std::move(io)));
  // A Status says why; it follows soon, if not yet here.
  auto doc = json::parse(rest);
  if (!doc)
    if (auto more = co_await io->read(); more && !more->empty()) doc = json::parse(rest + std::string(*more));
  std::string why = doc ? std::string(json::string_or_empty(*doc, "message")) : std::string();
  co_return fail(status == 404 ? Code::not_found : Code::unavailable,
                 why.empty() ? fmt::format("the API answered {}", status) : why);
}

task::Task<void> tell_error(stream::SpdyStreamPtr error, std::uint16_t local, std::uint16_t remote) {
  std::string text;
  for (;;) {
    auto piece = co_await error->read();
    if (!piece || piece->empty() || text.size() > 4096) break;
    text += *piece;
  }
  if (!text.empty())
    fmt::print(stderr, "error: a connection to port {} could not be forwarded to {}: {}\n", local, remote, text);
}

task::Task<void> forward(Way& way, int fd, std::uint16_t local_port, std::uint16_t remote_port) {
  auto local = http::socket_stream(fd);
  auto io = co_await open_way(way);
  if (!io) {
    fmt::print(stderr, "error: the pod cannot be reached: {}\n", io.error().message);
    local->close();
    std::uint64_t one = 1;
    (void)!::write(way.lost.get(), &one, sizeof one);
  } else {
    stream::SpdySession session(**io, {.flow_control = false, .client = true},
                                [](const stream::SpdyStreamPtr& s) { s->close(); });
    task::Group group;
    group.spawn(session.run());
    stream::SpdyHeaders headers{{"streamtype", "error"}, {"port", std::to_string(remote_port)}, {"requestid", "0"}};
    auto error = co_await session.open(headers, true);
    headers[0].second = "data";
    auto data = co_await session.open(headers);
    if (error && data) {
      group.spawn(tell_error(*error, local_port, remote_port));
      co_await http::pump(*local, **data);
    }
    local->close();
    (void)co_await session.goaway();
    session.close();
    co_await group.join();
  }
  --way.open;
}

struct Listener {
  Fd fd;
  std::uint16_t local = 0, remote = 0;
};

Result<Listener> listen_on(const std::string& ip, std::uint16_t port, std::uint16_t remote) {
  sockaddr_storage address{};
  auto* v4 = reinterpret_cast<sockaddr_in*>(&address);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&address);
  socklen_t size = sizeof *v4;
  if (::inet_pton(AF_INET, ip.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
  } else if (::inet_pton(AF_INET6, ip.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    size = sizeof *v6;
  } else {
    return fail(Code::invalid_argument, fmt::format("--address {}: give IP addresses, or localhost", ip));
  }
  Listener l{Fd(::socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)), port, remote};
  int one = 1;
  ::setsockopt(l.fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (address.ss_family == AF_INET6) ::setsockopt(l.fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
  auto* plain = reinterpret_cast<sockaddr*>(&address);
  if (!l.fd || ::bind(l.fd.get(), plain, size) != 0 || ::listen(l.fd.get(), 128) != 0 ||
      ::getsockname(l.fd.get(), plain, &size) != 0)
    return fail(Code::unavailable,
                fmt::format("cannot listen on port {} of {}: {}{}", port, ip, std::strerror(errno),
                            errno == EADDRINUSE ? fmt::format("; choose another local port, like :{}", remote) : ""));
  l.local = ntohs(address.ss_family == AF_INET ? v4->sin_port : v6->sin6_port);
  return l;
}

Result<std::vector<Listener>> listen_all(const std::string& addresses, const std::vector<PortPair>& ports) {
  std::vector<Listener> out;
  for (auto p : ports) {
    for (auto name : text::split(addresses, ',')) {
      auto one = listen_on(name == "localhost" ? "127.0.0.1" : std::string(name), p.local, p.remote);
      if (!one) return std::unexpected(one.error());
      auto bound = one->local;
      auto line = [&](std::string_view ip) {
        return fmt::format("Forwarding from {}:{} -> {}\n", ip, bound, p.remote);
      };
      put(line(name == "localhost" ? "127.0.0.1" : name));
      out.push_back(std::move(*one));
      if (name != "localhost") continue;
      // Programs may try ::1 first for the name; where there is none, they do not.
      if (auto six = listen_on("::1", bound, p.remote)) {
        put(line("[::1]"));
        out.push_back(std::move(*six));
      }
    }
  }
  return out;
}

Result<std::unique_ptr<Way>> make_way(const Api& api, const std::string& path) {
  auto way = std::make_unique<Way>();
  const auto& a = api.access();
  auto uri = text::parse_uri(a.server);
  way->host = uri.authority;
  std::string port = uri.scheme == "https" ? "443" : "80";
  if (auto at = way->host.rfind(':'); at != std::string::npos && way->host.find(']', at) == std::string::npos) {
    port = way->host.substr(at + 1);
    way->host.resize(at);
  }
  if (way->host.starts_with('[') && way->host.ends_with(']')) way->host = way->host.substr(1, way->host.size() - 2);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  if (int r = ::getaddrinfo(way->host.c_str(), port.c_str(), &hints, &list); r != 0)
    return fail(Code::unavailable, fmt::format("cannot resolve host '{}': {}", way->host, ::gai_strerror(r)));
  char ip[INET6_ADDRSTRLEN] = {};
  if (list->ai_family == AF_INET)
    ::inet_ntop(AF_INET, &reinterpret_cast<sockaddr_in*>(list->ai_addr)->sin_addr, ip, sizeof ip);
  else
    ::inet_ntop(AF_INET6, &reinterpret_cast<sockaddr_in6*>(list->ai_addr)->sin6_addr, ip, sizeof ip);
  ::freeaddrinfo(list);
  way->ip = ip;
  way->port = static_cast<std::uint16_t>(text::to_u64(port).value_or(443));
  if (uri.scheme == "https") {
    MR_TRY(way->tls, http::make_client_context(a.tls));
    if (!a.tls.server_name.empty()) way->host = a.tls.server_name;
  }
  way->head = fmt::format(
      "POST {}{} HTTP/1.1\r\nHost: {}\r\nUser-Agent: millrace\r\n{}Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
      "X-Stream-Protocol-Version: portforward.k8s.io\r\nContent-Length: 0\r\n\r\n",
      uri.path, path, uri.authority, a.token.empty() ? "" : fmt::format("Authorization: Bearer {}\r\n", a.token));
  way->lost = Fd(::eventfd(0, EFD_CLOEXEC));
  return way;
}

}  // namespace

int client_forward(Api& api, const ClientSettings& k) {
  if (k.args.size() < 2)
    return complain({Code::invalid_argument,
                     "say where to and which ports: `millrace port-forward svc/NAME 8080:80` (millrace port-forward "
                     "--help)",
                     {},
                     {}});
  auto plan = plan_forward(api, k.args);
  if (!plan) return complain(plan.error());
  auto way = make_way(api, plan->path);
  if (!way) return complain(way.error());
  auto listeners = listen_all(k.address, plan->ports);
  if (!listeners) return complain(listeners.error());

  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGINT);
  sigaddset(&ends, SIGTERM);
  ::sigprocmask(SIG_BLOCK, &ends, nullptr);
  Fd signals(::signalfd(-1, &ends, SFD_CLOEXEC));
  task::Loops loops(1);
  std::vector<pollfd> watched{{signals.get(), POLLIN, 0}, {(*way)->lost.get(), POLLIN, 0}};
  for (const auto& l : *listeners) watched.push_back({l.fd.get(), POLLIN, 0});
  for (;;) {
    if (::poll(watched.data(), watched.size(), -1) < 0 && errno != EINTR) break;
    // Connections under way end with the process.
    if (watched[0].revents != 0) std::_Exit(0);
    if (watched[1].revents != 0) std::_Exit(1);
    for (std::size_t i = 2; i < watched.size(); ++i) {
      if (watched[i].revents == 0) continue;
      const auto& l = (*listeners)[i - 2];
      int fd = ::accept4(l.fd.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
      if (fd < 0) continue;
      if (++(*way)->open > kMostConnections) {
        --(*way)->open;
        ::close(fd);
        fmt::print(stderr, "error: {} connections are open already; one was turned away\n", kMostConnections);
        continue;
      }
      put(fmt::format("Handling connection for {}\n", l.local));
      loops.at(0).post(
          [w = way->get(), fd, local = l.local, remote = l.remote] { task::detach(forward(*w, fd, local, remote)); });
    }
  }
  std::_Exit(1);
}

}  // namespace mr::cli
