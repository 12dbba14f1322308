#include "gateway/gateway.h"

#include <atomic>
#include <limits>

#include "gateway/hold.h"
#include "http/async_client.h"
#include "log/log.h"
#include "mesh/host.h"
#include "metrics/metrics.h"
#include "task/loop.h"
#include "text/text.h"
#include "time/clock.h"

namespace mr::gateway {

namespace {

constexpr std::size_t kRepeatable = 64 * 1024;   // bodies up to it are kept, so that a request can be sent again
constexpr std::size_t kMirrored = 1U << 20;      // bodies up to it are copied to mirrors
constexpr std::size_t kCopies = 256;             // under way at once, and
constexpr std::size_t kCopiedBytes = 64U << 20;  // the bytes of their bodies; further copies are not made
constexpr int kConnectAttempts = 3;              // endpoints tried when nothing was sent yet
constexpr int kComingAttempts = 100;             // where pods come and go with demand
constexpr long kComingMs = 20;

std::uint64_t draw() {
  thread_local std::uint64_t state = reinterpret_cast<std::uintptr_t>(&state) ^ 0x9e3779b97f4a7c15ULL;
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}
bool happens(double percent) { return percent > 0 && static_cast<double>(draw() % 1'000'000) < percent * 10'000; }

http::Response plain(int status, std::string_view text) {
  return http::Response::text(status, std::string(text), "text/plain");
}
http::Response nobody() { return plain(503, "no healthy upstream"); }

// Headers that belong to one connection, not to the message: never passed on.
bool is_connection_header(std::string_view name) {
  for (std::string_view h : {"Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate",
                             "Proxy-Authorization", "TE", "Trailer", "Transfer-Encoding", "Upgrade"})
    if (text::iequals(name, h)) return true;
  return false;
}

// Why there is no answer; client: the request's body did not come.
enum class Trouble : std::uint8_t { connect, reset, timeout, client };
Trouble trouble_of(const Error& e) {
  if (e.reason == "connection failure" || e.reason == "connection timeout") return Trouble::connect;
  if (e.reason == "timeout") return Trouble::timeout;
  return e.reason.empty() || e.code == Code::cancelled ? Trouble::client : Trouble::reset;
}

// As Envoy names the host of a copy: "x.example-shadow:8080".
std::string shadow_host(std::string_view host) {
  auto colon = host.rfind(':');
  if (colon == std::string_view::npos || host.find(']', colon) != std::string_view::npos) colon = host.size();
  return fmt::format("{}-shadow{}", host.substr(0, colon), host.substr(colon));
}

// The copies that are under way. Thread safe.
struct Copies {
  std::atomic<std::size_t> running = 0, bytes = 0;
  metrics::Counter sent = metrics::counter("millrace_gateway_mirrored_total", "Copies of requests sent to mirrors");
  metrics::Counter dropped =
      metrics::counter("millrace_gateway_mirror_dropped_total", "Copies of requests that were not sent to a mirror");
  bool begin(std::size_t size) {
    const bool few = running.fetch_add(1) < kCopies;
    const bool small = bytes.fetch_add(size) + size <= kCopiedBytes;
    if (few && small) return true;
    end(size);
    return false;
  }
  void end(std::size_t size) {
    running.fetch_sub(1);
    bytes.fetch_sub(size);
  }
};

// An upstream's answer as ours, handed on as it comes. `use` lives until its last byte.
http::Response answer_of(http::AsyncAnswer a, bool head_only, std::shared_ptr<UnderWay> use) {
  http::Response res;
  res.status = a.status;
  for (const auto& [n, v] : a.headers.items()) {
    bool of_upgrade = a.upgraded && (text::iequals(n, "Connection") || text::iequals(n, "Upgrade"));
    if ((!is_connection_header(n) || of_upgrade) && !text::iequals(n, "X-Request-Id") &&
        !(a.upgraded && text::iequals(n, "Content-Length")))
      res.headers.add(n, v);
  }
  if (a.upgraded) {
    res.upgrade = [far = std::move(a.upgraded), use = std::move(use)](http::ByteStream& near) -> task::Task<void> {
      co_await http::pump(near, *far);
    };
    return res;
  }
  if (head_only || res.status == 204 || res.status == 304 || a.body->length() == 0) return res;
  // A whole body is handed on as one piece all the same: a text would be compressed, which is the upstream's choice.
  res.body = http::StreamBody([body = std::move(a.body), use = std::move(use)]() -> task::Task<Result<std::string>> {
    auto piece = co_await body->read();
    if (!piece) co_return std::unexpected(std::move(piece).error());
    co_return std::string(*piece);
  });
  return res;
}

struct Gateway {
  explicit Gateway(GatewayDeps d) : deps(std::move(d)) {}
  GatewayDeps deps;
  // Shared with the copies to mirrors, which may outlive this.
  std::shared_ptr<http::AsyncClient> client =
      std::make_shared<http::AsyncClient>(http::AsyncClient::Limits{.idle_per_endpoint = 64});
  std::shared_ptr<Copies> copies = std::make_shared<Copies>();
  metrics::Counter routed =
      metrics::counter("millrace_gateway_routed_total", "Requests that a route of the front door took");
  metrics::Counter troubled =
      metrics::counter("millrace_gateway_upstream_errors_total", "Requests whose upstream gave no answer");

  // A request as it goes upstream, but for the address.
  struct Call {
    http::Request& rq;
    std::string target;  // path and query
    http::Headers headers;
    std::optional<std::string> whole;  // its body, once read
    long timeout_ms = 0;
    int attempts = 0;  // further ones
    long per_try_ms = 0;
    const std::vector<std::string>* retry_on = nullptr;
  };

  task::Task<http::Response> handle(http::Request& rq) {
    auto path = mesh::normal_path(rq.path);
    if (!path) co_return plain(400, "The path leads above the root");
    auto authority = rq.headers.get("Host");
    if (deps.table) {
      auto table = deps.table();
      mesh::RequestView view{rq.method_text,    rq.secure ? "https" : "http", authority, *path, rq.query,
                             rq.headers.items()};
      auto m = table->match(view);
      if (m.route != nullptr) co_return co_await by_rule(rq, *table, m, view);
      if (auto moved = folder_of(*table, view)) co_return std::move(*moved);
      if (m.host_known) co_return http::Response::text(404, "");
    }
    if (deps.fallback) co_return co_await deps.fallback(rq);
    co_return http::Response::text(404, "");
  }

  // `/x` where a rule has the prefix `/x/`: what people type, and what would be a 404 otherwise.
  static std::optional<http::Response> folder_of(const mesh::RouteTable& table, mesh::RequestView view) {
    if ((view.method != "GET" && view.method != "HEAD") || view.path.ends_with('/')) return std::nullopt;
    auto folder = std::string(view.path) + "/";
    view.path = folder;
    auto m = table.match(view);
    if (m.by == nullptr || !m.by->uri || m.by->uri->kind != mesh::TextMatch::Kind::prefix || m.by->uri->text != folder)
      return std::nullopt;
    auto res = http::Response::text(301, "");
    // Two slashes in front would name another host.
    auto where = folder.starts_with("//") ? "/" : folder;
    res.headers.add("Location", view.query.empty() ? where : fmt::format("{}?{}", where, view.query));
    return res;
  }

  static std::string with_query(std::string path, std::string_view query) {
    if (!query.empty()) path.append("?").append(query);
    return path;
  }

  // The client's headers without those of its connection, and what a proxy says about where they came from.
  static http::Headers forwarded(const http::Request& rq) {
    http::Headers h;
    std::string via;
    auto named = rq.headers.get("Connection");  // what it lists is the connection's as well
    for (const auto& [n, v] : rq.headers.items()) {
      if (text::iequals(n, "X-Forwarded-For")) {
        via = via.empty() ? std::string(v) : fmt::format("{},{}", via, v);
        continue;
      }
      if (is_connection_header(n) || text::iequals(n, "Content-Length") || text::iequals(n, "Expect") ||
          text::iequals(n, "X-Request-Id") || text::iequals(n, "X-Forwarded-Proto") ||
          text::iequals(n, "X-Forwarded-Host"))
        continue;
      if (!named.empty() && !text::iequals(n, "Host") && text::icontains_token(named, n)) continue;
      h.add(std::string(n), std::string(v));
    }
    via = via.empty() ? std::string(rq.remote) : fmt::format("{},{}", via, rq.remote);
    h.add("X-Forwarded-For", std::move(via));
    h.add("X-Forwarded-Proto", rq.secure ? "https" : "http");
    h.add("X-Forwarded-Host", std::string(rq.headers.get("Host")));
    h.add("X-Request-Id", rq.id);
    if (!h.has("Host")) h.add("Host", "localhost");
    return h;
  }
  static std::string filled(std::string_view value, const http::Request& rq) {
    // The few variables that are in use; others stay as they are.
    std::string s(value);
    for (auto [name, with] :
         {std::pair<std::string_view, std::string_view>{"%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", rq.remote},
          {"%PROTOCOL%", "HTTP/1.1"}}) {
      for (auto at = s.find(name); at != std::string::npos; at = s.find(name, at + with.size()))
        s.replace(at, name.size(), with);
    }
    return s;
  }
  static void apply(const mesh::HeaderOps& ops, http::Headers& h, const http::Request& rq) {
    if (ops.empty()) return;
    if (!ops.remove.empty()) {
      http::Headers kept;
      for (const auto& [n, v] : h.items())
        if (std::ranges::none_of(ops.remove, [&](const auto& r) { return text::iequals(r, n); })) kept.add(n, v);
      h = std::move(kept);
    }
    for (const auto& [n, v] : ops.set) h.set(n, filled(v, rq));
    for (const auto& [n, v] : ops.add) h.add(n, filled(v, rq));
  }

  // A request without a body has a reader too.
  static bool has_body(const http::Request& rq) {
    return rq.body != nullptr && (rq.headers.has("Transfer-Encoding") || rq.body->length().value_or(0) > 0);
  }
  // Reads a small body whole, so that the request can be sent more than once. False: it did not come.
  static task::Task<Result<>> gather(Call& c, std::size_t most = kRepeatable) {
    if (c.whole || !has_body(c.rq)) co_return Result<>{};
    auto n = c.rq.body->length();
    if (!n || *n > most) co_return Result<>{};
    std::string all;
    all.reserve(*n);
    for (;;) {
      auto piece = co_await c.rq.body->read();
      if (!piece) co_return std::unexpected(std::move(piece).error());
      if (piece->empty()) break;
      all += *piece;
    }
    c.whole = std::move(all);
    co_return Result<>{};
  }

  services::EndpointPtr endpoint(const mesh::RouteTable& table, const mesh::Destination& to,
                                 const std::vector<services::EndpointPtr>& tried, const http::Request& rq,
                                 long& connect_ms) const {
    if (deps.directory == nullptr || to.service.empty()) return nullptr;
    auto service = deps.directory->find(to.ns, to.service);
    const auto* port = service ? service->find(to.port) : nullptr;
    if (port == nullptr) return nullptr;
    services::Choice choice;
    choice.tried = &tried;
    if (service->client_affinity) choice.client = rq.remote;
    const auto* policy = table.policy(to.ns, to.service);
    const mesh::TrafficPolicy* traffic = policy != nullptr ? &policy->policy : nullptr;
    if (!to.subset.empty()) {
      if (policy == nullptr) return nullptr;
      auto it = policy->subsets.find(to.subset);
      if (it == policy->subsets.end()) return nullptr;
      choice.subset = &it->second.labels;
      traffic = &it->second.policy;
    }
    if (traffic != nullptr) {
      choice.policy = traffic->balance == mesh::Balance::round_robin ? services::Policy::round_robin
                      : traffic->balance == mesh::Balance::random    ? services::Policy::random
                                                                     : services::Policy::least_busy;
      connect_ms = traffic->connect_timeout_ms;
    }
    auto e = services::pick(*port, choice);
    // Every one was tried: an attempt more may go to one of them again.
    if (!e && !tried.empty()) {
      choice.tried = nullptr;
      e = services::pick(*port, choice);
    }
    if (e && traffic != nullptr && traffic->max_connections > 0 &&
        e->active.load(std::memory_order_relaxed) >= traffic->max_connections)
      return nullptr;
    return e;
  }

  static bool retried_on(const std::vector<std::string>* on, std::string_view what) {
    return on != nullptr && std::ranges::find(*on, what) != on->end();
  }
  static bool retry_status(const std::vector<std::string>* on, int status) {
    if (on == nullptr) return false;
    if (retried_on(on, "5xx") && status >= 500) return true;
    if (retried_on(on, "gateway-error") && status >= 502 && status <= 504) return true;
    if (retried_on(on, "retriable-4xx") && status == 409) return true;
    return retried_on(on, std::to_string(status));
  }

  // To one of a Service's endpoints; further ones when that is allowed and of use.
  task::Task<http::Response> send(Call& c, const mesh::RouteTable& table, const mesh::Destination& to) {
    auto upgrade = c.rq.headers.get("Upgrade");
    if (!upgrade.empty() && !text::icontains_token(c.rq.headers.get("Connection"), "upgrade")) upgrade = {};
    if (c.retry_on != nullptr && upgrade.empty())
      if (auto r = co_await gather(c); !r) co_return plain(408, "The request's body did not come");
    const bool repeatable = c.whole || !has_body(c.rq);
    const long limit =
        c.per_try_ms > 0 && (c.timeout_ms == 0 || c.per_try_ms < c.timeout_ms) ? c.per_try_ms : c.timeout_ms;
    std::vector<services::EndpointPtr> tried;
    int retries = c.attempts;
    Error last;
    Trouble trouble = Trouble::connect;
    auto way = std::make_shared<UnderWay>(deps.demand != nullptr ? deps.demand->find(to.ns, to.service) : nullptr);
    const auto hold = hold_until(c.timeout_ms);
    for (int connects = 0;;) {
      long connect_ms = 10'000;
      Place place;
      if (way->meter)
        place = co_await find_place(*way, [&] { return endpoint(table, to, tried, c.rq, connect_ms); }, hold);
      else
        place.endpoint = endpoint(table, to, tried, c.rq, connect_ms);
      auto& e = place.endpoint;
      if (!e) {
        troubled.add();
        auto res = plain(place.status, place.why);
        if (place.later) res.headers.add("Retry-After", "1");
        co_return res;
      }
      if (!way->use) way->use.emplace(e);
      auto out = outgoing(c, connect_ms, limit);
      if (!upgrade.empty()) {
        out.headers.add("Connection", "Upgrade");
        out.headers.add("Upgrade", std::string(upgrade));
      }
      if (!repeatable) {
        out.body = c.rq.body;
        out.sized = c.rq.body->length().has_value();
      }
      // What may not be sent twice must not meet a kept connection that its server is closing.
      out.fresh = !repeatable || !upgrade.empty() || out.method == "POST" || out.method == "PATCH";
      auto answer = co_await client->send({e->ip, e->port}, std::move(out));
      if (answer && answer->upgraded && upgrade.empty())
        answer = fail(Code::data_loss, "the upstream changed the protocol unasked", "protocol error");
      if (answer) {
        if (!answer->upgraded && retries > 0 && repeatable && retry_status(c.retry_on, answer->status)) {
          --retries;
          tried.push_back(std::move(e));
          way->use.reset();
          continue;
        }
        co_return answer_of(std::move(*answer), c.rq.method == http::Method::head, std::move(way));
      }
      last = std::move(answer).error();
      trouble = trouble_of(last);
      // The time for the whole answer was over before there was a connection.
      if (last.reason == "connection timeout" && limit > 0 && limit < connect_ms) trouble = Trouble::timeout;
      tried.push_back(std::move(e));
      way->use.reset();
      if (trouble == Trouble::client) co_return plain(408, "The request's body did not come");
      // Nothing was sent: another endpoint may have it, whatever the rule says.
      if (trouble == Trouble::connect && ++connects < kConnectAttempts) continue;
      // Pods that go with demand may have gone just now: another one comes.
      if (trouble == Trouble::connect && way->meter && connects < kComingAttempts && time::mono_ns() < hold) {
        tried.clear();
        co_await task::sleep_ms(kComingMs);
        continue;
      }
      if (trouble == Trouble::reset && retries > 0 && repeatable &&
          (retried_on(c.retry_on, "reset") || retried_on(c.retry_on, "5xx"))) {
        --retries;
        continue;
      }
      if (trouble == Trouble::timeout && retries > 0 && repeatable && c.per_try_ms > 0) {
        --retries;
        continue;
      }
      break;
    }
    troubled.add();
    log::debug("an upstream gave no answer", {{"service", to.service},
                                              {"namespace", to.ns},
                                              {"reason", last.reason},
                                              {"detail", last.detail},
                                              {"request_id", c.rq.id}});
    if (trouble == Trouble::timeout) co_return plain(504, "upstream request timeout");
    co_return plain(
        503, fmt::format("upstream connect error or disconnect/reset before headers. reset reason: {}", last.reason));
  }

  // A request with what is in memory of its body.
  static http::AsyncRequest outgoing(const Call& c, long connect_ms, long limit_ms) {
    http::AsyncRequest out;
    out.method = c.rq.method_text;
    out.target = c.target;
    out.headers = c.headers;
    out.body = c.whole.value_or("");
    out.connect_timeout_ms = milliseconds(limit_ms > 0 ? std::min(connect_ms, limit_ms) : connect_ms);
    out.timeout_ms = milliseconds(limit_ms);
    return out;
  }
  // Rules may name times that are longer than an int has room for.
  static int milliseconds(long ms) {
    return static_cast<int>(std::min(ms, static_cast<long>(std::numeric_limits<int>::max())));
  }

  task::Task<http::Response> by_rule(http::Request& rq, const mesh::RouteTable& table, mesh::Match m,
                                     const mesh::RequestView& view) {
    routed.add();
    const auto& r = *m.route;
    const auto origin = rq.headers.get("Origin");
    bool origin_ok = r.cors && !origin.empty() &&
                     std::ranges::any_of(r.cors->origins, [&](const auto& o) { return o.matches(origin); });
    if (origin_ok && rq.method == http::Method::options && rq.headers.has("Access-Control-Request-Method")) {
      auto res = http::Response::text(200, "");
      add_cors(res, *r.cors, origin, true);
      co_return res;
    }
    if (r.fault) {
      if (happens(r.fault->delay_percent)) co_await task::sleep_ms(r.fault->delay_ms);
      if (happens(r.fault->abort_percent)) co_return plain(r.fault->abort_status, "fault filter abort");
    }
    http::Response res;
    if (r.redirect) {
      res = http::Response::text(r.redirect->code, "");
      res.headers.add("Location", mesh::redirect_location(*r.redirect, m.by, view));
    } else if (r.direct) {
      res = plain(r.direct->status, r.direct->body);
    } else {
      const auto* w = mesh::choose(r, draw());
      if (w == nullptr) co_return nobody();
      Call c{rq, with_query(mesh::rewritten_path(r, m.by, view.path), view.query), forwarded(rq), {}, r.timeout_ms};
      apply(r.request, c.headers, rq);
      apply(w->request, c.headers, rq);
      if (r.rewrite && !r.rewrite->authority.empty()) c.headers.set("Host", r.rewrite->authority);
      if (r.retries) {
        c.attempts = r.retries->attempts;
        c.per_try_ms = r.retries->per_try_ms;
        c.retry_on = &r.retries->on;
      }
      if (!r.mirrors.empty()) co_await mirror(c, table, r);
      res = co_await send(c, table, w->to);
      if (res.status != 101) apply(w->response, res.headers, rq);
    }
    if (res.status != 101) apply(r.response, res.headers, rq);
    if (origin_ok) add_cors(res, *r.cors, origin, false);
    co_return res;
  }

  static void add_cors(http::Response& res, const mesh::Cors& cors, std::string_view origin, bool preflight) {
    res.headers.set("Access-Control-Allow-Origin", std::string(origin));
    if (cors.credentials) res.headers.set("Access-Control-Allow-Credentials", *cors.credentials ? "true" : "false");
    if (!cors.expose.empty() && !preflight) res.headers.set("Access-Control-Expose-Headers", cors.expose);
    if (!preflight) return;
    if (!cors.methods.empty()) res.headers.set("Access-Control-Allow-Methods", cors.methods);
    if (!cors.headers.empty()) res.headers.set("Access-Control-Allow-Headers", cors.headers);
    if (!cors.max_age_s.empty()) res.headers.set("Access-Control-Max-Age", cors.max_age_s);
  }

  // Copies go out beside the request; nobody waits for their answers. A body too large to keep is not copied, and where
  // too many copies are under way no more are made.
  task::Task<void> mirror(Call& c, const mesh::RouteTable& table, const mesh::HttpRoute& r) {
    if (std::ranges::none_of(r.mirrors, [](const auto& m) { return m.percent > 0; })) co_return;
    if (auto got = co_await gather(c, kMirrored); !got) co_return;
    const bool whole = c.whole || !has_body(c.rq);
    const auto size = c.whole ? c.whole->size() : 0;
    for (const auto& to : r.mirrors) {
      if (!happens(to.percent)) continue;
      long connect_ms = 10'000;
      auto meter = deps.demand != nullptr ? deps.demand->find(to.to.ns, to.to.service) : nullptr;
      auto e = whole ? endpoint(table, to.to, {}, c.rq, connect_ms) : nullptr;
      const bool sent = e != nullptr && copies->begin(size);
      if (!sent) copies->dropped.add();
      // A copy is not held until pods come, but it is reason enough for them to.
      if (e == nullptr && meter && copies->begin(0)) task::detach(call_for_pods(copies, std::move(meter)));
      if (!sent) continue;
      auto out = outgoing(c, connect_ms, 15'000);
      out.headers.set("Host", shadow_host(c.headers.get("Host")));
      task::detach(copy(client, copies, std::move(meter), std::move(e), std::move(out), size));
    }
  }
  static task::Task<void> call_for_pods(std::shared_ptr<Copies> copies, std::shared_ptr<services::Meter> meter) {
    services::Meter::Ticket ticket(meter);
    (void)co_await meter->wait(meter->turn(), 15'000, false);
    copies->end(0);
  }
  static task::Task<void> copy(std::shared_ptr<http::AsyncClient> client, std::shared_ptr<Copies> copies,
                               std::shared_ptr<services::Meter> meter, services::EndpointPtr e, http::AsyncRequest rq,
                               std::size_t size) {
    services::Use use(e);
    services::Meter::Ticket ticket(std::move(meter));
    copies->sent.add();
    if (auto answer = co_await client->send({e->ip, e->port}, std::move(rq)); answer && !answer->upgraded)
      for (;;) {
        auto piece = co_await answer->body->read();
        if (!piece || piece->empty()) break;
      }
    copies->end(size);
  }
};

}  // namespace

http::Handler make_gateway(GatewayDeps deps) {
  auto g = std::make_shared<Gateway>(std::move(deps));
  return [g](http::Request& rq) { return g->handle(rq); };
}

}  // namespace mr::gateway
