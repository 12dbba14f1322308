#include "serving/router.h"

#include "crypto/random.h"
#include "http/client.h"
#include "http/server.h"
#include "json/parse.h"
#include "serving/controller/graph.h"
#include "serving/predictor.h"
#include "serving/v2.h"
#include "task/event.h"
#include "task/pool.h"
#include "text/text.h"
#include "text/uri.h"

namespace mr::serving {

namespace {

using node::BuiltinContainer;
using node::BuiltinStart;
using Reply = task::Task<http::Response>;

constexpr std::size_t kBodyLimit = 64U << 20;

// Calls block their thread; a request waits for its steps without one.
task::Pool& call_pool() {
  static task::Pool pool("mr-graph", 16, 1024);
  return pool;
}

struct Config {
  Graph graph;
  std::vector<std::string> propagate;
  int timeout_s = 60;
  RouterOptions options;
};

bool propagated(const Config& c, std::string_view header) {
  for (const auto& p : c.propagate) {
    if (p.ends_with(".*") ? text::lower(header).starts_with(text::lower(std::string_view(p).substr(0, p.size() - 2)))
                          : text::iequals(p, header))
      return true;
  }
  return false;
}

// A Service's name in the URL becomes its address; the Host stays what it was.
void address(const Config& c, http::ClientRequest& rq) {
  if (!c.options.resolve) return;
  auto u = text::parse_uri(rq.url);
  auto colon = u.authority.rfind(':');
  int port = colon == std::string::npos
                 ? (u.scheme == "https" ? 443 : 80)
                 : static_cast<int>(text::to_i64(std::string_view(u.authority).substr(colon + 1)).value_or(0));
  auto to = c.options.resolve(u.authority.substr(0, colon), port);
  if (to.empty()) return;
  rq.headers.set("Host", u.authority);
  rq.url = u.scheme + "://" + to + u.path + (u.query.empty() ? "" : "?" + u.query);
}

Reply route(std::shared_ptr<const Config> config, http::Request& rq) {
  if (rq.path == "/readyz" || rq.path == "/healthz") co_return http::Response::text(200, "ready");
  if (rq.method != http::Method::post)
    co_return http::Response::json(405, R"({"error":"the graph is called with POST"})");
  http::Headers headers;
  headers.add("Content-Type", std::string(rq.headers.has("Content-Type") ? rq.headers.get("Content-Type")
                                                                         : std::string_view("application/json")));
  for (const auto& [n, v] : rq.headers.items())
    if (propagated(*config, n) && !text::iequals(n, "Content-Type")) headers.add(std::string(n), std::string(v));
  auto body = co_await http::read_all(rq, kBodyLimit);
  if (!body) {
    auto r = refusal(body.error().code == Code::too_large ? 413 : 400, body.error().message);
    co_return http::Response::json(r.status, r.body);
  }
  GraphCall call = [config, headers](std::string url, std::string input) -> task::Task<Result<GraphAnswer>> {
    auto done = co_await task::run_on(call_pool(), [&]() -> Result<GraphAnswer> {
      thread_local http::Client client;
      http::ClientRequest out;
      out.method = http::Method::post;
      out.url = url;
      out.headers = headers;
      out.body = input;
      out.max_body = kBodyLimit;
      out.timeout_s = config->timeout_s;
      address(*config, out);
      MR_TRY(auto res, client.send(out));
      return GraphAnswer{res.status, std::move(res.body)};
    });
    if (!done) co_return fail(Code::resource_exhausted, "too many calls of services are waiting");
    co_return std::move(*done);
  };
  auto answer =
      co_await config->graph.run(std::move(*body), call, [] { return static_cast<int>(crypto::random_u64() % 100); });
  co_return http::Response::json(answer.status, std::move(answer.body));
}

class Router final : public BuiltinContainer {
 public:
  struct State {
    std::unique_ptr<http::Server> server;
    bool stopping = false;
    long grace_ms = 0;
    task::Event changed;
  };
  explicit Router(std::shared_ptr<State> s) : s_(std::move(s)) {}
  void stop(long grace_ms) override {
    s_->stopping = true;
    s_->grace_ms = grace_ms;
    s_->changed.set();
  }
  task::Task<int> wait() override {
    auto s = s_;
    while (!s->stopping) co_await s->changed.wait();
    co_await task::run_on(task::disk_pool(), [&] {
      s->server->stop(static_cast<int>(s->grace_ms / 1000));
      s->server.reset();
      return 0;
    });
    co_return 0;
  }
  [[nodiscard]] bool ready() const override { return !s_->stopping; }

 private:
  std::shared_ptr<State> s_;
};

class RouterRuntime final : public node::BuiltinRuntime {
 public:
  RouterRuntime(task::Loops& loops, RouterOptions options) : loops_(loops), options_(std::move(options)) {}
  task::Task<Result<std::unique_ptr<BuiltinContainer>>> start(BuiltinStart start) override {
    auto config = std::make_shared<Config>();
    auto doc = json::parse(argument(start.container, "graph-json"));
    if (!doc || !doc->is_object()) co_return fail(Code::invalid_argument, "--graph-json is no JSON object");
    MR_CO_TRY(config->graph, Graph::parse(doc->get_object()));
    config->options = options_;
    if (auto s = kube::int_at(doc->get_object(), "routerTimeouts.serviceClient"); s > 0 && s < 86'400)
      config->timeout_s = static_cast<int>(s);
    for (const auto& [k, v] : start.env)
      if (k == "PROPAGATE_HEADERS")
        for (auto part : text::split(v, ','))
          if (auto name = text::trim(part); !name.empty()) config->propagate.emplace_back(name);
    auto state = std::make_shared<Router::State>();
    http::ServerOptions o;
    o.name = "router";
    o.address = start.pod_ip;
    o.port = 8080;
    auto handler = with_access_lines(
        [config = std::shared_ptr<const Config>(config)](http::Request& rq) -> Reply { return route(config, rq); },
        start.log);
    state->server = std::make_unique<http::Server>(loops_, o, std::move(handler));
    auto bound = co_await task::run_on(task::disk_pool(), [&] { return state->server->start(); });
    if (!bound) co_return fail(Code::resource_exhausted, "too many containers are starting");
    if (!*bound) co_return std::unexpected(bound->error());
    if (start.log) start.log(fmt::format("router is listening on {}:8080\n", start.pod_ip));
    co_return std::make_unique<Router>(state);
  }

 private:
  task::Loops& loops_;
  RouterOptions options_;
};

}  // namespace

std::shared_ptr<node::BuiltinRuntime> make_router_runtime(task::Loops& loops, RouterOptions options) {
  return std::make_shared<RouterRuntime>(loops, std::move(options));
}

}  // namespace mr::serving
