#include "http/server.h"

#include "http/connection.h"
#include "http/listeners.h"

namespace mr::http {

using tcp = boost::asio::ip::tcp;

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

struct Server::Impl : std::enable_shared_from_this<Server::Impl> {
  ServerOptions options;
  Handler handler;
  ServerMetrics metrics;
  Listeners listeners;
  bool started = false;
  std::vector<std::unique_ptr<Shard>> shards;  // one a loop

  Impl(task::Loops& l, ServerOptions o, Handler h)
      : options(std::move(o)), handler(std::move(h)), metrics(options.name), listeners(l) {
    for (std::size_t i = 0; i < l.size(); ++i)
      shards.push_back(std::make_unique<Shard>(Shard{&l.at(i), &options, &handler, &metrics, {}, false}));
  }
  static task::Task<void> serve(std::shared_ptr<Impl> self, Shard& shard, tcp::socket socket) {
    co_await serve_connection(shard, std::move(socket));
  }
  std::size_t wait_for_connections(long ms) {
    return listeners.wait_for_none([this](std::size_t i) { return shards[i]->connections.size(); }, ms);
  }
};

Server::Server(task::Loops& loops, ServerOptions options, Handler handler)
    : impl_(std::make_shared<Impl>(loops, std::move(options), std::move(handler))) {}
Server::~Server() { stop(0); }

std::uint16_t Server::port() const { return impl_->listeners.port(); }

Result<void> Server::start() {
  auto* impl = impl_.get();
  const auto& o = impl->options;
  MR_CHECK(impl->listeners.open(o.address, o.port, "--port, --port-offset"));
  impl->listeners.run(
      [impl](std::size_t i, tcp::socket socket) {
        auto& shard = *impl->shards[i];
        if (shard.connections.size() < impl->options.max_connections)
          task::detach(Impl::serve(impl->shared_from_this(), shard, std::move(socket)));
      },
      [impl](std::size_t i) { expire_connections(*impl->shards[i]); }, 500);
  impl->started = true;
  return {};
}

void Server::stop(int grace_s) {
  if (!impl_ || !impl_->started) return;
  auto& impl = *impl_;
  impl.started = false;
  impl.listeners.stop_accepting();
  impl.listeners.each([&](std::size_t i) { drain_connections(*impl.shards[i]); });
  impl.wait_for_connections(1000L * grace_s);
  impl.listeners.each([&](std::size_t i) { abort_connections(*impl.shards[i]); });
  impl.listeners.stop_ticking();
  impl.wait_for_connections(1000);
}

}  // namespace mr::http
