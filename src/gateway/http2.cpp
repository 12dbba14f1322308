// HTTP/2 at the front door: calls of gRPC, routed by the same tables as requests.
#include <optional>

#include "gateway/gateway.h"
#include "gateway/hold.h"
#include "grpc/proxy.h"
#include "metrics/metrics.h"
#include "text/text.h"
#include "time/clock.h"

namespace mr::gateway {

namespace {

using grpc::CallHead;
using grpc::Route;
using grpc::Status;

std::uint64_t lot() {
  thread_local std::uint64_t state = reinterpret_cast<std::uintptr_t>(&state) ^ 0x2545f4914f6cdd1dULL;
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}

Route nowhere(Status status, std::string why, int http_status) {
  Route r;
  r.refused = status;
  r.why = std::move(why);
  r.http_status = http_status;
  return r;
}

void change(const mesh::HeaderOps& ops, grpc::HeaderList& headers) {
  auto is = [](std::string_view name) { return [name](const auto& h) { return text::iequals(h.first, name); }; };
  for (const auto& n : ops.remove) std::erase_if(headers, is(n));
  for (const auto& [n, v] : ops.set) {
    std::erase_if(headers, is(n));
    headers.emplace_back(text::lower(n), v);
  }
  for (const auto& [n, v] : ops.add) headers.emplace_back(text::lower(n), v);
}

bool speaks_grpc(const services::Port& p) {
  return p.name.starts_with("grpc") || p.name.starts_with("h2c") || p.name.starts_with("http2");
}
// A Service's port for calls of gRPC: the one that the rule names, unless another one says that they are its own.
const services::Port* port_for_calls(const services::Service& s, std::uint16_t named) {
  const auto* p = s.find(named);
  if (p != nullptr && speaks_grpc(*p)) return p;
  for (const auto& other : s.ports)
    if (speaks_grpc(*other)) return other.get();
  return p;
}

struct Front {
  GatewayDeps deps;
  metrics::Counter routed =
      metrics::counter("millrace_gateway_grpc_routed_total", "Calls of gRPC that a route of the front door took");

  services::EndpointPtr endpoint(const mesh::RouteTable& table, const mesh::Destination& to, int attempt) const {
    auto service = deps.directory != nullptr ? deps.directory->find(to.ns, to.service) : nullptr;
    const auto* port = service ? port_for_calls(*service, to.port) : nullptr;
    if (port == nullptr) return nullptr;
    services::Choice choice;
    // What did not connect just now should not be asked again at once.
    if (attempt > 0) choice.policy = services::Policy::round_robin;
    if (to.subset.empty()) return services::pick(*port, choice);
    const auto* policy = table.policy(to.ns, to.service);
    if (policy == nullptr) return nullptr;
    auto it = policy->subsets.find(to.subset);
    if (it == policy->subsets.end()) return nullptr;
    choice.subset = &it->second.labels;
    return services::pick(*port, choice);
  }

  task::Task<Route> route(CallHead& head, int attempt, std::string remote, bool secure) const {
    auto mark = head.path.find('?');
    auto query = mark == std::string::npos ? std::string() : head.path.substr(mark + 1);
    auto path = mesh::normal_path(std::string_view(head.path).substr(0, mark));
    if (!path) co_return nowhere(Status::invalid_argument, "The path leads above the root", 400);
    auto table = deps.table ? deps.table() : nullptr;
    mesh::Match m;
    std::vector<std::pair<std::string_view, std::string_view>> headers(head.headers.begin(), head.headers.end());
    mesh::RequestView view{head.method, secure ? "https" : "http", head.authority, *path, query, headers};
    if (table) m = table->match(view);
    if (m.route == nullptr) {
      if (m.host_known || deps.grpc_port == 0 || !head.is_grpc())
        co_return nowhere(Status::unimplemented, "no route of the gateway takes this call", 404);
      Route own;
      own.ip = deps.grpc_address;
      own.port = deps.grpc_port;
      co_return own;
    }
    if (!head.is_grpc())
      co_return nowhere(Status::unimplemented, "over HTTP/2 this gateway takes gRPC; ask with HTTP/1.1", 505);
    routed.add();
    const auto& r = *m.route;
    if (r.direct || r.redirect) co_return nowhere(Status::unimplemented, "this route takes no calls of gRPC", 404);
    const auto* w = mesh::choose(r, lot());
    if (w == nullptr) co_return nowhere(Status::unavailable, "no healthy upstream", 503);
    head.path = mesh::rewritten_path(r, m.by, view.path);
    if (!query.empty()) head.path.append("?").append(query);
    std::erase_if(head.headers, [](const auto& h) {
      return h.first == "x-forwarded-for" || h.first == "x-forwarded-proto" || h.first == "x-forwarded-host";
    });
    head.headers.emplace_back("x-forwarded-for", std::move(remote));
    head.headers.emplace_back("x-forwarded-proto", secure ? "https" : "http");
    change(r.request, head.headers);
    change(w->request, head.headers);
    if (r.rewrite && !r.rewrite->authority.empty()) head.authority = r.rewrite->authority;
    auto way =
        std::make_shared<UnderWay>(deps.demand != nullptr ? deps.demand->find(w->to.ns, w->to.service) : nullptr);
    const auto until = hold_until(r.timeout_ms);
    auto place = co_await find_place(*way, [&] { return endpoint(*table, w->to, attempt); }, until);
    if (!place.endpoint)
      co_return nowhere(place.status == 504 ? Status::deadline_exceeded
                        : place.later       ? Status::resource_exhausted
                                            : Status::unavailable,
                        place.why, place.status);
    Route out;
    out.ip = place.endpoint->ip;
    out.port = place.endpoint->port;
    // What was waited for a pod is part of the time.
    if (r.timeout_ms > 0) out.timeout_ms = std::max(1L, static_cast<long>((until - time::mono_ns()) / 1'000'000));
    // Pods that go with demand may have gone just now: another one comes.
    if (way->meter) out.attempts = 100;
    out.keep = std::move(way);
    co_return out;
  }
};

}  // namespace

http::TakeOver make_http2(GatewayDeps deps) {
  auto front = std::make_shared<Front>(Front{std::move(deps)});
  return [front](http::TakenOver& near) -> task::Task<void> {
    co_await grpc::proxy_calls(
        near, [front, remote = std::string(near.remote), secure = near.secure](CallHead& head, int attempt) {
          return front->route(head, attempt, remote, secure);
        });
  };
}

}  // namespace mr::gateway
