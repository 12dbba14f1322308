#include "http/server.h"

#include <boost/asio/ip/address.hpp>
#include <boost/asio/steady_timer.hpp>
#include <future>

#include "http/connection.h"
#include "log/log.h"

namespace mr::http {

namespace asio = boost::asio;
using tcp = asio::ip::tcp;

ServerMetrics::ServerMetrics(const std::string& l)
    : by_class{metrics::counter("millrace_http_requests_total", "Requests answered.",
                                {{"listener", l}, {"class", "other"}}),
               metrics::counter("millrace_http_requests_total", "Requests answered.",
                                {{"listener", l}, {"class", "1xx"}}),
               metrics::counter("millrace_http_requests_total", "Requests answered.",
                                {{"listener", l}, {"class", "2xx"}}),
               metrics::counter("millrace_http_requests_total", "Requests answered.",
                                {{"listener", l}, {"class", "3xx"}}),
               metrics::counter("millrace_http_requests_total", "Requests answered.",
                                {{"listener", l}, {"class", "4xx"}}),
               metrics::counter("millrace_http_requests_total", "Requests answered.",
                                {{"listener", l}, {"class", "5xx"}})},
      seconds(metrics::duration_histogram("millrace_http_request_seconds", "Time from a request's head to its answer.",
                                          {{"listener", l}})),
      connections(metrics::gauge("millrace_http_connections", "Open connections.", {{"listener", l}})) {}

namespace {
using ReusePort = asio::detail::socket_option::boolean<SOL_SOCKET, SO_REUSEPORT>;
}

struct Server::Impl : std::enable_shared_from_this<Server::Impl> {
  task::Loops& loops;
  ServerOptions options;
  Handler handler;
  ServerMetrics metrics;
  std::uint16_t port = 0;
  bool started = false;
  struct Part {
    Shard shard;
    std::unique_ptr<tcp::acceptor> acceptor;
    std::unique_ptr<asio::steady_timer> tick;
  };
  std::vector<std::unique_ptr<Part>> parts;

  Impl(task::Loops& l, ServerOptions o, Handler h)
      : loops(l), options(std::move(o)), handler(std::move(h)), metrics(options.name) {}

  static task::Task<void> serve(std::shared_ptr<Impl> self, Shard& shard, tcp::socket socket) {
    co_await serve_connection(shard, std::move(socket));
  }
  void accept(Part& part) {
    part.acceptor->async_accept([this, &part](const boost::system::error_code& ec, tcp::socket socket) {
      if (ec == asio::error::operation_aborted || !part.acceptor->is_open()) return;
      if (ec) {
        // Out of descriptors: a pause lets some close, instead of spinning.
        auto timer = std::make_shared<asio::steady_timer>(part.shard.loop->context(), std::chrono::milliseconds(50));
        timer->async_wait([this, &part, timer](const boost::system::error_code&) { accept(part); });
        return;
      }
      if (part.shard.connections.size() < options.max_connections)
        task::detach(serve(shared_from_this(), part.shard, std::move(socket)));
      accept(part);
    });
  }
  void tick(Part& part) {
    part.tick->expires_after(std::chrono::milliseconds(500));
    part.tick->async_wait([this, &part](const boost::system::error_code& ec) {
      if (ec) return;
      expire_connections(part.shard);
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

Server::Server(task::Loops& loops, ServerOptions options, Handler handler)
    : impl_(std::make_shared<Impl>(loops, std::move(options), std::move(handler))) {}
Server::~Server() { stop(0); }

std::uint16_t Server::port() const { return impl_->port; }

Result<void> Server::start() {
  auto& o = impl_->options;
  boost::system::error_code ec;
  auto address = asio::ip::make_address(o.address == "localhost" ? "127.0.0.1" : o.address, ec);
  if (ec) return fail(Code::invalid_argument, fmt::format("'{}' is not an IP address to listen on", o.address));
  auto refused = [&](const boost::system::error_code& e) {
    if (e == asio::error::address_in_use)
      return fail(
          Code::failed_precondition,
          fmt::format(
              "port {} on {} is in use by another program; stop it, or choose other ports (--port, --port-offset)",
              o.port, o.address));
    return fail(Code::failed_precondition, fmt::format("cannot listen on {}:{}: {}", o.address, o.port, e.message()));
  };
  {  // SO_REUSEPORT would let a second Millrace share the port in silence: ask once without it.
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
    part->shard.options = &o;
    part->shard.handler = &impl_->handler;
    part->shard.metrics = &impl_->metrics;
    part->acceptor = std::make_unique<tcp::acceptor>(part->shard.loop->context());
    part->tick = std::make_unique<asio::steady_timer>(part->shard.loop->context());
    tcp::endpoint ep(address, i == 0 ? o.port : impl_->port);
    part->acceptor->open(ep.protocol(), ec);
    if (!ec) part->acceptor->set_option(tcp::acceptor::reuse_address(true), ec);
    if (!ec) part->acceptor->set_option(ReusePort(true), ec);
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
    drain_connections(p.shard);
  });
  auto until = std::chrono::steady_clock::now() + std::chrono::seconds(grace_s);
  auto open = [&] {
    std::atomic<std::size_t> n = 0;
    impl_->each([&n](Impl::Part& p) { n += p.shard.connections.size(); });
    return n.load();
  };
  while (open() > 0 && std::chrono::steady_clock::now() < until)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  impl_->each([](Impl::Part& p) {
    abort_connections(p.shard);
    p.tick->cancel();
  });
  auto hard = std::chrono::steady_clock::now() + std::chrono::seconds(1);
  while (open() > 0 && std::chrono::steady_clock::now() < hard)
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
}

}  // namespace mr::http
