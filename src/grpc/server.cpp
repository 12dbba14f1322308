#include "grpc/server.h"

#include <boost/asio/ip/address.hpp>
#include <boost/asio/steady_timer.hpp>
#include <future>

#include "grpc/connection.h"
#include "grpc/wire.h"
#include "time/clock.h"

namespace mr::grpc {

namespace asio = boost::asio;
using tcp = asio::ip::tcp;

std::string_view status_name(Status s) {
  static constexpr std::string_view names[] = {
      "OK",        "CANCELLED",      "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
      "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
      "ABORTED",   "OUT_OF_RANGE",   "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
      "DATA_LOSS", "UNAUTHENTICATED"};
  return names[static_cast<std::size_t>(s)];
}

Status status_of(Code code) {
  switch (code) {
    case Code::invalid_argument:
    case Code::unsupported:
      return Status::invalid_argument;
    case Code::not_found:
      return Status::not_found;
    case Code::already_exists:
      return Status::already_exists;
    case Code::failed_precondition:
      return Status::failed_precondition;
    case Code::conflict:
      return Status::aborted;
    case Code::permission_denied:
      return Status::permission_denied;
    case Code::unauthenticated:
      return Status::unauthenticated;
    case Code::resource_exhausted:
    case Code::too_large:
      return Status::resource_exhausted;
    case Code::unimplemented:
      return Status::unimplemented;
    case Code::unavailable:
      return Status::unavailable;
    case Code::deadline_exceeded:
      return Status::deadline_exceeded;
    case Code::cancelled:
      return Status::cancelled;
    case Code::data_loss:
      return Status::data_loss;
    case Code::internal:
      break;
  }
  return Status::internal;
}

namespace {

using PortReuse = asio::detail::socket_option::boolean<SOL_SOCKET, SO_REUSEPORT>;
constexpr std::string_view kHealth = "/grpc.health.v1.Health/Check";

// HealthCheckRequest: service=1. HealthCheckResponse: status=1, SERVING 1, NOT_SERVING 2. The whole server is the empty
// name; a service's name without its methods is known too.
Reply health(const Shared& shared, std::string_view message) {
  std::string service;
  Reader r(message);
  while (r.next())
    if (r.field() == 1) service = r.bytes();
  if (!r.ok()) return Reply::error(Status::invalid_argument, "the message is no HealthCheckRequest");
  bool known = service.empty();
  for (const auto& m : shared.methods) known = known || m.starts_with("/" + service + "/");
  if (!known) return Reply::error(Status::not_found, "unknown service");
  Reply reply;
  Writer(reply.message).varint(1, !shared.options.healthy || shared.options.healthy() ? 1 : 2);
  return reply;
}

}  // namespace

struct Server::Impl : std::enable_shared_from_this<Server::Impl> {
  task::Loops& loops;
  Shared shared;
  std::uint16_t port = 0;
  bool started = false;
  struct Part {
    Shard shard;
    std::unique_ptr<tcp::acceptor> acceptor;
    std::unique_ptr<asio::steady_timer> tick;
  };
  std::vector<std::unique_ptr<Part>> parts;

  Impl(task::Loops& l, ServerOptions o, const std::vector<std::string>& methods, Handler h) : loops(l) {
    shared.options = std::move(o);
    shared.methods.insert(methods.begin(), methods.end());
    shared.methods.emplace(kHealth);
    shared.handler = [this, inner = std::move(h)](Call call) -> task::Task<Reply> {
      if (call.method == kHealth) return checked(shared, std::move(call));
      return inner(std::move(call));
    };
  }
  static task::Task<Reply> checked(const Shared& s, Call call) { co_return health(s, call.message); }

  void accept(Part& part) {
    part.acceptor->async_accept([this, &part](const boost::system::error_code& ec, tcp::socket socket) {
      if (ec == asio::error::operation_aborted || !part.acceptor->is_open()) return;
      if (ec) {  // out of descriptors: a pause lets some close
        auto timer = std::make_shared<asio::steady_timer>(part.shard.loop->context(), std::chrono::milliseconds(50));
        timer->async_wait([this, &part, timer](const boost::system::error_code&) { accept(part); });
        return;
      }
      if (part.shard.connections.size() < shared.options.max_connections)
        std::make_shared<Connection>(part.shard, shared_from_this(), std::move(socket))->start();
      accept(part);
    });
  }
  void tick(Part& part) {
    part.tick->expires_after(std::chrono::milliseconds(100));
    part.tick->async_wait([this, &part](const boost::system::error_code& ec) {
      if (ec) return;
      auto now = time::mono_ns();
      auto all = part.shard.connections;  // they leave the set when they close
      for (const auto& c : all) c->tick(now);
      tick(part);
    });
  }
  // Runs fn for each part on its own loop and waits.
  template <class F>
  void each(F fn) {
    std::vector<std::future<void>> done;
    for (auto& p : parts) {
      auto promise = std::make_shared<std::promise<void>>();
      done.push_back(promise->get_future());
      p->shard.loop->post([part = p.get(), promise, fn] {
        fn(*part);
        promise->set_value();
      });
    }
    for (auto& d : done) d.wait();
  }
};

Server::Server(task::Loops& loops, ServerOptions options, std::vector<std::string> methods, Handler handler)
    : impl_(std::make_shared<Impl>(loops, std::move(options), methods, std::move(handler))) {}
Server::~Server() { stop(0); }

std::uint16_t Server::port() const { return impl_->port; }

Result<void> Server::start() {
  auto& o = impl_->shared.options;
  boost::system::error_code ec;
  auto address = asio::ip::make_address(o.address == "localhost" ? "127.0.0.1" : o.address, ec);
  if (ec) return fail(Code::invalid_argument, fmt::format("'{}' is not an IP address to listen on", o.address));
  auto refused = [&](const boost::system::error_code& e) {
    return fail(Code::failed_precondition,
                e == asio::error::address_in_use
                    ? fmt::format("port {} on {} is in use by another program; stop it, or choose other ports "
                                  "(--grpc-port, --port-offset)",
                                  o.port, o.address)
                    : fmt::format("cannot listen on {}:{}: {}", o.address, o.port, e.message()));
  };
  {  // SO_REUSEPORT would let a second program share the port in silence: ask once without it.
    asio::io_context probe_io;
    tcp::acceptor probe(probe_io);
    tcp::endpoint ep(address, o.port);
    probe.open(ep.protocol(), ec);
    if (!ec) probe.set_option(tcp::acceptor::reuse_address(true), ec);
    if (!ec) probe.bind(ep, ec);
    if (ec) return refused(ec);
  }
  for (std::size_t i = 0; i < impl_->loops.size(); ++i) {
    auto part = std::make_unique<Impl::Part>();
    part->shard.loop = &impl_->loops.at(i);
    part->shard.shared = &impl_->shared;
    part->acceptor = std::make_unique<tcp::acceptor>(part->shard.loop->context());
    part->tick = std::make_unique<asio::steady_timer>(part->shard.loop->context());
    tcp::endpoint ep(address, i == 0 ? o.port : impl_->port);
    part->acceptor->open(ep.protocol(), ec);
    if (!ec) part->acceptor->set_option(tcp::acceptor::reuse_address(true), ec);
    if (!ec) part->acceptor->set_option(PortReuse(true), ec);
    if (!ec) part->acceptor->bind(ep, ec);
    if (!ec) part->acceptor->listen(4096, ec);
    if (ec) return refused(ec);
    impl_->port = part->acceptor->local_endpoint().port();
    impl_->parts.push_back(std::move(part));
  }
  impl_->each([impl = impl_.get()](Impl::Part& p) {
    impl->accept(p);
    impl->tick(p);
  });
  impl_->started = true;
  return {};
}

void Server::stop(int grace_s) {
  if (!impl_ || !impl_->started) return;
  impl_->started = false;
  impl_->each([](Impl::Part& p) {
    boost::system::error_code ec;
    p.acceptor->close(ec);
    auto all = p.shard.connections;
    for (const auto& c : all) c->drain();
  });
  auto open = [&] {
    std::atomic<std::size_t> n = 0;
    impl_->each([&n](Impl::Part& p) { n += p.shard.connections.size(); });
    return n.load();
  };
  auto until = std::chrono::steady_clock::now() + std::chrono::seconds(grace_s);
  while (open() > 0 && std::chrono::steady_clock::now() < until)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  impl_->each([](Impl::Part& p) {
    auto all = p.shard.connections;
    for (const auto& c : all) c->close();
    p.tick->cancel();
  });
}

}  // namespace mr::grpc
