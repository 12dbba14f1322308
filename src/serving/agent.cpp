#include "serving/agent.h"

#include "http/async_client.h"
#include "http/server.h"
#include "serving/exchange.h"
#include "serving/predictor.h"
#include "task/event.h"
#include "text/text.h"

namespace mr::serving {

namespace {

using node::BuiltinContainer;
using node::BuiltinStart;

constexpr int kComponentConnectMs = 10'000;

// Of one connection, not of the message; and what would hide the answer from the log.
bool stays_here(std::string_view header) {
  for (std::string_view h : {"Connection", "Keep-Alive", "Proxy-Connection", "TE", "Trailer", "Transfer-Encoding",
                             "Upgrade", "Content-Length", "Expect", "Accept-Encoding"})
    if (text::iequals(header, h)) return true;
  return false;
}

task::Task<http::Response> pass_on(http::AsyncClient& client, http::Endpoint to, http::Request& rq) {
  http::AsyncRequest out;
  out.method = std::string(rq.method_text);
  out.target = std::string(rq.target);
  out.connect_timeout_ms = kComponentConnectMs;
  for (const auto& [n, v] : rq.headers.items())
    if (!stays_here(n)) out.headers.add(std::string(n), std::string(v));
  if (auto upgrade = rq.headers.get("Upgrade"); !upgrade.empty()) {
    out.headers.add("Connection", "Upgrade");
    out.headers.add("Upgrade", std::string(upgrade));
  }
  const auto length = rq.body != nullptr ? rq.body->length() : std::optional<std::uint64_t>(0);
  if (!length || *length > 0) {
    out.body = rq.body;
    out.sized = length.has_value();
  }
  // A kept connection may be closing: what may not be sent twice gets one of its own.
  out.fresh = rq.method != http::Method::get && rq.method != http::Method::head;
  auto answer = co_await client.send(std::move(to), std::move(out));
  if (!answer) co_return refused(refusal(502, "the component gives no answer"));
  http::Response res;
  res.status = answer->status;
  for (const auto& [n, v] : answer->headers.items())
    if (!stays_here(n) || (answer->upgraded && (text::iequals(n, "Connection") || text::iequals(n, "Upgrade"))))
      res.headers.add(n, v);
  if (answer->upgraded) {
    res.upgrade = [far = std::move(answer->upgraded)](http::ByteStream& near) -> task::Task<void> {
      co_await http::pump(near, *far);
    };
    co_return res;
  }
  // What comes as it is made is handed on as it comes.
  if (answer->headers.get("Content-Type").starts_with("text/event-stream")) {
    res.body = http::StreamBody([body = std::move(answer->body)]() -> task::Task<Result<std::string>> {
      auto piece = co_await body->read();
      if (!piece) co_return std::unexpected(std::move(piece).error());
      co_return std::string(*piece);
    });
    co_return res;
  }
  std::string all;
  for (;;) {
    auto piece = co_await answer->body->read();
    if (!piece || all.size() + piece->size() > kBodyLimit)
      co_return refused(refusal(502, "the component's answer broke off, or is too large"));
    if (piece->empty()) break;
    all += *piece;
  }
  res.body = std::move(all);
  co_return res;
}

class Agent final : public BuiltinContainer {
 public:
  struct State {
    std::shared_ptr<RequestLog> log;
    std::unique_ptr<http::Server> server;
    bool stopping = false;
    long grace_ms = 0;
    task::Event changed;
  };
  explicit Agent(std::shared_ptr<State> s) : s_(std::move(s)) {}
  void stop(long grace_ms) override {
    s_->stopping = true;
    s_->grace_ms = grace_ms;
    s_->changed.set();
  }
  task::Task<int> wait() override {
    auto s = s_;
    while (!s->stopping) co_await s->changed.wait();
    co_await task::run_on(task::disk_pool(), [&] {
      const auto grace = static_cast<int>(s->grace_ms / 1000);
      s->server->stop(grace);
      if (s->log) s->log->stop(std::min(grace, 5));
      s->server.reset();
      return 0;
    });
    co_return 0;
  }
  [[nodiscard]] bool ready() const override { return !s_->stopping; }

 private:
  std::shared_ptr<State> s_;
};

class AgentRuntime final : public node::BuiltinRuntime {
 public:
  AgentRuntime(task::Loops& loops, AgentOptions options) : loops_(loops), options_(std::move(options)) {}

  task::Task<Result<std::unique_ptr<BuiltinContainer>>> start(BuiltinStart start) override {
    std::uint64_t port = 9081, component = 8080;
    for (auto [name, number] : {std::pair{"port", &port}, std::pair{"component-port", &component}})
      if (auto text = argument(start.container, name); !text.empty()) {
        auto n = text::to_u64(text);
        if (!n || *n == 0 || *n > 65535)
          co_return fail(Code::invalid_argument, fmt::format("--{}={} is not a port", name, printable(text)));
        *number = *n;
      }
    MR_CO_TRY(auto asked, log_options(start, options_));
    auto state = std::make_shared<Agent::State>();
    http::Handler handler = [client = client_,
                             to = http::Endpoint{start.pod_ip, static_cast<std::uint16_t>(component)}](
                                http::Request& rq) { return pass_on(*client, to, rq); };
    if (asked) {
      MR_CO_TRY(state->log, RequestLog::make(std::move(*asked)));
      handler = with_request_log(std::move(handler), state->log);
    }
    http::ServerOptions o;
    o.name = "agent";
    o.address = start.pod_ip;
    o.port = static_cast<std::uint16_t>(port);
    state->server = std::make_unique<http::Server>(loops_, o, std::move(handler));
    auto bound = co_await task::run_on(task::disk_pool(), [&] { return state->server->start(); });
    if (!bound) co_return fail(Code::resource_exhausted, "too many containers are starting");
    if (!*bound) co_return std::unexpected(bound->error());
    if (start.log) start.log(fmt::format("agent is listening on {}:{} for port {}\n", start.pod_ip, port, component));
    co_return std::make_unique<Agent>(state);
  }

 private:
  task::Loops& loops_;
  AgentOptions options_;
  std::shared_ptr<http::AsyncClient> client_ = std::make_shared<http::AsyncClient>();  // of all agents
};

}  // namespace

std::shared_ptr<node::BuiltinRuntime> make_agent_runtime(task::Loops& loops, AgentOptions options) {
  return std::make_shared<AgentRuntime>(loops, std::move(options));
}

Result<std::optional<RequestLogOptions>> log_options(const BuiltinStart& start, const AgentOptions& options) {
  const auto& c = start.container;
  RequestLogOptions o;
  o.url = argument(c, "log-url");
  if (o.url.empty()) return std::nullopt;
  MR_TRY(o.mode, parse_log_mode(argument(c, "log-mode")));
  o.source = argument(c, "source-uri");
  if (o.source.empty() && start.pod) o.source = kube::name_of(*start.pod);
  o.service = argument(c, "inference-service");
  o.ns = argument(c, "namespace");
  if (o.ns.empty() && start.pod) o.ns = kube::namespace_of(*start.pod);
  o.component = argument(c, "component");
  o.endpoint = argument(c, "endpoint");
  o.metadata_headers = parse_names(argument(c, "metadata-headers"));
  std::string pairs;
  for (const auto& one : parse_names(argument(c, "metadata-annotations")))
    if (one.contains('='))
      pairs += (pairs.empty() ? "" : ",") + one;
    else if (auto value = start.pod ? kube::annotation(*start.pod, one) : std::string_view(); !value.empty())
      o.annotations.emplace_back(one, value);
  MR_TRY(auto given, parse_annotations(pairs));
  o.annotations.insert(o.annotations.end(), given.begin(), given.end());
  o.resolve = options.resolve;
  o.say = [log = start.log](std::string_view text) {
    if (log) log(fmt::format("{} WARNING - {}\n", kube::now_text(), text));
  };
  return o;
}

}  // namespace mr::serving
