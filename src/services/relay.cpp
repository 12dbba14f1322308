#include "services/relay.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <future>

#include "core/fd.h"
#include "http/tcp_stream.h"
#include "log/log.h"
#include "metrics/metrics.h"
#include "task/event.h"

namespace mr::services {

namespace asio = boost::asio;

struct Relays::Impl {
  // What runs on one loop; touched only there.
  struct Shard {
    task::Loop* loop = nullptr;
    std::set<http::ByteStream*> open;
    int running = 0;
    bool closing = false;
    std::function<void()> when_idle;
  };
  Impl(task::Loops& l, RelayLimits lim) : loops(l), limits(lim), shards(l.size()) {
    for (std::size_t i = 0; i < shards.size(); ++i) {
      shards[i] = std::make_unique<Shard>();
      shards[i]->loop = &loops.at(i);
    }
  }
  task::Loops& loops;
  RelayLimits limits;
  std::vector<std::unique_ptr<Shard>> shards;
  std::atomic<std::size_t> count{0};
  std::atomic<std::size_t> next{0};
  metrics::Counter refused = metrics::counter("millrace_service_connections_refused_total",
                                              "Connections to Services that no endpoint took or a limit turned away");
  metrics::Counter carried =
      metrics::counter("millrace_service_connections_total", "Connections carried to endpoints of Services");
};

namespace {

using Impl = Relays::Impl;

// Closes with a reset: the client sees at once that nobody is there.
void reset(int fd) {
  linger l{1, 0};
  ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof l);
  ::close(fd);
}

task::Task<void> carry(std::shared_ptr<Impl> impl, Impl::Shard& shard, int fd, std::string client,
                       std::shared_ptr<PickFn> pick) {
  std::vector<EndpointPtr> tried;
  std::unique_ptr<http::ByteStream> far;
  EndpointPtr chosen;
  while (!shard.closing && static_cast<int>(tried.size()) < impl->limits.attempts) {
    chosen = (*pick)(client, tried);
    if (!chosen) break;
    auto made = co_await http::connect_tcp(chosen->ip, chosen->port, impl->limits.connect_timeout_ms);
    if (made) {
      far = std::move(*made);
      break;
    }
    log::debug("an endpoint does not answer",
               {{"endpoint", chosen->ip}, {"port", chosen->port}, {"reason", made.error().message}});
    tried.push_back(std::move(chosen));
  }
  if (!far || shard.closing) {
    reset(fd);
    impl->refused.add();
  } else {
    impl->carried.add();
    Use use(chosen);
    auto near = http::socket_stream(fd);
    shard.open.insert(near.get());
    shard.open.insert(far.get());
    co_await http::pump(*near, *far);
    shard.open.erase(near.get());
    shard.open.erase(far.get());
  }
  impl->count.fetch_sub(1);
  if (--shard.running == 0 && shard.when_idle) std::exchange(shard.when_idle, nullptr)();
}

struct Accepting : std::enable_shared_from_this<Accepting> {
  Accepting(std::shared_ptr<Impl> i, task::Loop& l, Fd fd, PickFn p)
      : impl(std::move(i)),
        loop(l),
        descriptor(l.context(), fd.release()),
        pick(std::make_shared<PickFn>(std::move(p))) {}
  std::shared_ptr<Impl> impl;
  task::Loop& loop;
  asio::posix::stream_descriptor descriptor;
  std::shared_ptr<PickFn> pick;
  bool closed = false;

  void wait() {
    descriptor.async_wait(asio::posix::stream_descriptor::wait_read,
                          [self = shared_from_this()](const boost::system::error_code& ec) {
                            if (ec || self->closed) return;
                            self->accept_all();
                          });
  }
  void accept_all() {
    for (int i = 0; i < 64; ++i) {
      sockaddr_in from{};
      socklen_t size = sizeof from;
      int fd = ::accept4(descriptor.native_handle(), reinterpret_cast<sockaddr*>(&from), &size,
                         SOCK_CLOEXEC | SOCK_NONBLOCK);
      if (fd < 0) {
        if (errno == EINTR || errno == ECONNABORTED) continue;
        if (errno == EMFILE || errno == ENFILE) return pause();
        break;
      }
      if (impl->count.fetch_add(1) >= impl->limits.connections) {
        impl->count.fetch_sub(1);
        impl->refused.add();
        reset(fd);
        continue;
      }
      int one = 1;
      ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
      ::setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
      char text[INET_ADDRSTRLEN] = {};
      ::inet_ntop(AF_INET, &from.sin_addr, text, sizeof text);
      auto& shard = *impl->shards[impl->next.fetch_add(1) % impl->shards.size()];
      shard.loop->post([keep = impl, &shard, fd, client = std::string(text), p = pick] {
        ++shard.running;
        task::detach(carry(keep, shard, fd, client, p));
      });
    }
    wait();
  }
  // Out of descriptors: the waiting connection stays in the backlog until some are free again.
  void pause() {
    task::detach([](std::shared_ptr<Accepting> self) -> task::Task<void> {
      co_await task::sleep_ms(100);
      if (!self->closed) self->wait();
    }(shared_from_this()));
  }
};

class ListenerImpl final : public Relays::Listener {
 public:
  ListenerImpl(std::shared_ptr<Accepting> a, std::uint16_t port) : accepting_(std::move(a)), port_(port) {}
  ~ListenerImpl() override {
    // The port is free as soon as this returns; the descriptor itself goes on its loop.
    ::shutdown(accepting_->descriptor.native_handle(), SHUT_RDWR);
    auto& loop = accepting_->loop;
    loop.post([a = std::move(accepting_)] {
      a->closed = true;
      boost::system::error_code ec;
      a->descriptor.close(ec);
    });
  }
  std::uint16_t port() const override { return port_; }

 private:
  std::shared_ptr<Accepting> accepting_;
  std::uint16_t port_;
};

}  // namespace

Relays::Relays(task::Loops& loops, RelayLimits limits) : impl_(std::make_shared<Impl>(loops, limits)) {}
Relays::~Relays() = default;

Result<std::unique_ptr<Relays::Listener>> Relays::listen(const std::string& ip, std::uint16_t port, PickFn pick) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  if (::inet_pton(AF_INET, ip.c_str(), &address.sin_addr) != 1)
    return fail(Code::invalid_argument, fmt::format("\"{}\" is no IPv4 address", ip));
  Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fail_errno("cannot make a socket", errno);
  int one = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 || ::listen(fd.get(), 1024) != 0) {
    int err = errno;
    auto what = fmt::format("cannot listen on {}:{}", ip, port);
    if (err == EACCES)
      return fail(Code::permission_denied,
                  fmt::format("{}: ports below 1024 are not open to this user; allow them with "
                              "`sysctl -w net.ipv4.ip_unprivileged_port_start=80`, or reach it by port-forward",
                              what));
    if (err == EADDRINUSE)
      return fail(Code::already_exists, fmt::format("{}: the address is in use by another program", what));
    return fail(Code::unavailable, fmt::format("{}: {}", what, std::strerror(err)));
  }
  socklen_t size = sizeof address;
  ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size);
  auto& loop = impl_->loops.at(impl_->next.fetch_add(1) % impl_->loops.size());
  auto accepting = std::make_shared<Accepting>(impl_, loop, std::move(fd), std::move(pick));
  loop.post([accepting] { accepting->wait(); });
  return std::make_unique<ListenerImpl>(std::move(accepting), ntohs(address.sin_port));
}

std::size_t Relays::connections() const { return impl_->count.load(); }

void Relays::stop() {
  for (auto& shard : impl_->shards) {
    std::promise<void> idle;
    auto done = idle.get_future();
    shard->loop->post([&s = *shard, &idle] {
      s.closing = true;
      for (auto* stream : s.open) stream->close();
      if (s.running == 0)
        idle.set_value();
      else
        s.when_idle = [&idle] { idle.set_value(); };
    });
    done.wait();
  }
}

}  // namespace mr::services
