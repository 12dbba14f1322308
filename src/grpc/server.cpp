#include "grpc/server.h"

#include "grpc/connection.h"
#include "grpc/wire.h"
#include "http/listeners.h"
#include "time/clock.h"

namespace mr::grpc {

using tcp = boost::asio::ip::tcp;

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
  Shared shared;
  http::Listeners listeners;
  bool started = false;
  std::vector<std::unique_ptr<Shard>> shards;  // one a loop

  Impl(task::Loops& l, ServerOptions o, const std::vector<std::string>& methods, Handler h) : listeners(l) {
    for (std::size_t i = 0; i < l.size(); ++i) shards.push_back(std::make_unique<Shard>(Shard{&l.at(i), &shared, {}}));
    shared.options = std::move(o);
    shared.methods.insert(methods.begin(), methods.end());
    shared.methods.emplace(kHealth);
    shared.handler = [this, inner = std::move(h)](Call call) -> task::Task<Reply> {
      if (call.method == kHealth) return checked(shared, std::move(call));
      return inner(std::move(call));
    };
  }
  static task::Task<Reply> checked(const Shared& s, Call call) { co_return health(s, call.message); }
  // They leave the set when they close: a copy is gone through.
  template <class F>
  void each_connection(std::size_t loop, F fn) {
    auto all = shards[loop]->connections;
    for (const auto& c : all) fn(*c);
  }
};

Server::Server(task::Loops& loops, ServerOptions options, std::vector<std::string> methods, Handler handler)
    : impl_(std::make_shared<Impl>(loops, std::move(options), methods, std::move(handler))) {}
Server::~Server() { stop(0); }

std::uint16_t Server::port() const { return impl_->listeners.port(); }

Result<void> Server::start() {
  auto* impl = impl_.get();
  const auto& o = impl->shared.options;
  MR_CHECK(impl->listeners.open(o.address, o.port, "--grpc-port, --port-offset"));
  impl->listeners.run(
      [impl](std::size_t i, tcp::socket socket) {
        auto& shard = *impl->shards[i];
        if (shard.connections.size() < impl->shared.options.max_connections)
          std::make_shared<Connection>(shard, impl->shared_from_this(), std::move(socket))->start();
      },
      [impl](std::size_t i) { impl->each_connection(i, [now = time::mono_ns()](Connection& c) { c.tick(now); }); },
      100);
  impl->started = true;
  return {};
}

void Server::stop(int grace_s) {
  if (!impl_ || !impl_->started) return;
  auto& impl = *impl_;
  impl.started = false;
  impl.listeners.stop_accepting();
  impl.listeners.each([&](std::size_t i) { impl.each_connection(i, [](Connection& c) { c.drain(); }); });
  impl.listeners.wait_for_none([&](std::size_t i) { return impl.shards[i]->connections.size(); }, 1000L * grace_s);
  impl.listeners.each([&](std::size_t i) { impl.each_connection(i, [](Connection& c) { c.close(); }); });
  impl.listeners.stop_ticking();
}

}  // namespace mr::grpc
