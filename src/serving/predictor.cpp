#include "serving/predictor.h"

#include <filesystem>

#include "core/durable_file.h"
#include "http/server.h"
#include "node/env.h"
#include "serving/agent.h"
#include "serving/api.h"
#include "serving/batcher.h"
#include "serving/controller/runtimes.h"
#include "serving/grpc_service.h"
#include "serving/request_log.h"
#include "serving/revision_metrics.h"
#include "task/event.h"
#include "task/pool.h"
#include "text/text.h"
#include "time/clock.h"

namespace mr::serving {

namespace fs = std::filesystem;

namespace {

using node::BuiltinContainer;
using node::BuiltinStart;

// How long a start waits for its model before it shows as running and not ready.
constexpr long kFastLoadMs = 1500;

// Loads wait for the network, and for answers of this very program: never on the pool that makes those answers.
task::Pool& load_pool() {
  static task::Pool pool("mr-load", 16, 4096);
  return pool;
}

std::string stamp() {
  auto t = kube::micro_now_text();  // 2026-01-01T00:00:00.000000Z
  return t.size() > 23 ? t.substr(0, 10) + " " + t.substr(11, 8) + "," + t.substr(20, 3) : t;
}

void say(const node::LogSink& log, std::string_view level, std::string_view text) {
  if (log) log(fmt::format("{} [millrace.predictor] {} - {}\n", stamp(), level, text));
}

Environment environment(const BuiltinStart& start) { return {start.env.begin(), start.env.end()}; }

// A path inside the container as the place on this machine where it lies, by the longest mount.
std::string on_this_machine(const BuiltinStart& start, const std::string& path) {
  std::string best, place;
  for (const auto& [mount, host] : start.mounts) {
    auto m = mount;
    while (m.size() > 1 && m.ends_with('/')) m.pop_back();
    if ((path == m || path.starts_with(m + "/")) && m.size() >= best.size()) {
      best = m;
      place = host + path.substr(m.size());
    }
  }
  return best.empty() ? path : place;
}

// Everything of one predictor that worker threads and requests share.
struct Served {
  Served(LoadOptions options, Limits limits) : repository(std::move(options), {.limits = limits}) {}
  std::shared_ptr<CachedModel> files;  // until nobody reads them
  Repository repository;
  std::shared_ptr<RequestLog> log;  // null: none is asked for
  std::unique_ptr<http::Server> http, queue;
  std::unique_ptr<grpc::Server> grpc;
};

struct Plan {
  std::string name, uri, dir, address;
  std::uint16_t port = 8080, queue_port = 8012, grpc_port = 8081;
  Environment env;
  bool v1 = true;
  LoadOptions load;
  Limits limits;
  std::optional<RequestLogOptions> request_log;
  std::optional<BatcherOptions> batcher;
  kube::ObjectPtr pod;  // may be null
};

// What a model's own code is told: the container's variables, but for those that open stores.
bool for_model(std::string_view name) {
  for (std::string_view other : {"AWS_", "S3_", "STORAGE_", "MLFLOW_", "GOOGLE_", "AZURE_", "KUBERNETES_"})
    if (name.starts_with(other)) return false;
  return !name.contains("_SERVICE_") && !name.contains("_PORT_");
}

// The engine that a container asks for: --engine, else MILLRACE_ENGINE, else what the program was told.
Result<LoadOptions> load_options(const LoadOptions& all, const BuiltinStart& start) {
  auto out = all;
  auto engine = argument(start.container, "engine");
  for (const auto& [name, value] : start.env) {
    if (name == "MILLRACE_ENGINE" && engine.empty()) engine = value;
    if (for_model(name)) out.env.emplace_back(name, value);
  }
  if (engine == "native")
    out.engine = EngineChoice::native;
  else if (engine == "python")
    out.engine = EngineChoice::python;
  else if (engine == "auto")
    out.engine = EngineChoice::automatic;
  else if (!engine.empty())
    return fail(Code::invalid_argument,
                fmt::format("--engine={} is none of auto, native and python", printable(engine)));
  auto memory = node::parse_quantity(kube::text_at(start.container, "resources.limits.memory"));
  if (memory > 0 && memory < 1e15) out.memory = static_cast<std::int64_t>(memory);
  if (start.pod) {
    out.labels = {{"namespace", std::string(kube::namespace_of(*start.pod))}};
    if (auto revision = kube::label(*start.pod, "serving.knative.dev/revision"); !revision.empty())
      out.labels.emplace_back("revision", revision);
  }
  out.log = [log = start.log](std::string_view line) {
    if (log) log(std::string(line) + "\n");
  };
  return out;
}

Result<std::shared_ptr<CachedModel>> from_cache(const PredictorOptions& options, const std::string& uri,
                                                const Environment& env, const std::atomic<bool>& stop) {
  return options.cache->get(
      {.state = [&] { return storage_state(options.storage, uri, env); },
       .fetch = [&](const std::string& folder) { return fetch_storage(options.storage, uri, env, folder, stop); }},
      stop);
}

Result<std::optional<BatcherOptions>> batcher_options(const kube::Object& container) {
  if (argument(container, "enable-batcher") != "true") return std::nullopt;
  std::size_t size = 32, latency_ms = 5000, timeout_s = 60;
  for (auto [name, number] : {std::pair{"max-batchsize", &size}, std::pair{"max-latency", &latency_ms},
                              std::pair{"batch-timeout", &timeout_s}})
    if (auto text = argument(container, name); !text.empty()) {
      auto n = text::to_u64(text);
      if (!n || *n == 0 || *n > 3'600'000)
        return fail(Code::invalid_argument, fmt::format("--{}={} is no number of use", name, printable(text)));
      *number = *n;
    }
  return BatcherOptions{.max_batch = size,
                        .max_latency_ms = static_cast<long>(latency_ms),
                        .timeout_ms = static_cast<long>(timeout_s) * 1000};
}

// Fetches, reads, binds. On the disk pool.
Result<std::shared_ptr<Served>> load(task::Loops& loops, const PredictorOptions& options, const Plan& plan,
                                     const node::LogSink& log, const std::atomic<bool>& stop) {
  auto began = time::mono_ns();
  auto served = std::make_shared<Served>(plan.load, plan.limits);
  auto path = plan.dir;
  if (!plan.uri.empty()) {
    say(log, "INFO", fmt::format("Copying contents of {}", plan.uri));
    MR_TRY(served->files, from_cache(options, plan.uri, plan.env, stop));
    path = served->files->path();
  }
  auto fetched = time::mono_ns();
  if (auto added = served->repository.add({plan.name, "", path}); !added) {
    // The message is for people who know the container's view.
    auto e = added.error();
    if (!plan.uri.starts_with('/') && !plan.uri.starts_with("file:"))
      for (auto at = e.message.find(path); at != std::string::npos; at = e.message.find(path, at + 11))
        e.message.replace(at, path.size(), "/mnt/models");
    return std::unexpected(std::move(e));
  }
  auto loaded = time::mono_ns();
  say(log, "INFO",
      fmt::format("Loaded model '{}' successfully: fetched in {:.1f} ms, read in {:.1f} ms.", plan.name,
                  static_cast<double>(fetched - began) / 1e6, static_cast<double>(loaded - fetched) / 1e6));
  http::Router routes;
  add_server_routes(routes, served->repository);
  auto handler = make_handler(std::move(routes));
  if (plan.batcher) handler = with_batcher(std::move(handler), served->repository, *plan.batcher);
  if (plan.request_log) {
    MR_TRY(served->log, RequestLog::make(*plan.request_log));
    handler = with_request_log(std::move(handler), served->log);
  }
  if (plan.pod) handler = with_revision_metrics(std::move(handler), *plan.pod);
  if (options.access_log) handler = with_access_lines(std::move(handler), log);
  http::ServerOptions o;
  o.name = "predictor";
  o.address = plan.address;
  o.port = plan.port;
  served->http = std::make_unique<http::Server>(loops, o, handler);
  MR_CHECK(served->http->start());
  if (plan.queue_port != 0 && plan.queue_port != plan.port) {
    o.port = plan.queue_port;
    served->queue = std::make_unique<http::Server>(loops, o, handler);
    MR_CHECK(served->queue->start());
  }
  if (plan.grpc_port != 0) {
    served->grpc = make_grpc_server(loops, served->repository, plan.address, plan.grpc_port);
    MR_CHECK(served->grpc->start());
    say(log, "INFO", fmt::format("gRPC server running on http://{}:{}", plan.address, plan.grpc_port));
  }
  say(log, "INFO", fmt::format("HTTP server running on http://{}:{}", plan.address, plan.port));
  return served;
}

// Lets the node write what was logged before it hears of the end.
struct Hop {
  [[nodiscard]] bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> h) const { task::resume_later(h); }
  void await_resume() const noexcept {}
};

class Predictor final : public BuiltinContainer {
 public:
  struct State {
    std::shared_ptr<Served> served;
    bool loading = true;
    std::atomic<bool> stopping = false;  // read by the thread that loads
    long grace_ms = 0;
    int code = 0;
    task::Event changed, loaded;
  };
  explicit Predictor(std::shared_ptr<State> s) : s_(std::move(s)) {}
  void stop(long grace_ms) override {
    s_->stopping = true;
    s_->grace_ms = grace_ms;
    s_->changed.set();
  }
  task::Task<int> wait() override {
    auto s = s_;
    while (s->loading || (s->served && !s->stopping)) co_await s->changed.wait();
    if (s->served) {
      // Requests under way may finish; the ports are closed before the container counts as ended.
      auto served = std::exchange(s->served, nullptr);
      auto grace = static_cast<int>(std::max(0L, s->grace_ms / 1000));
      co_await task::run_on(task::disk_pool(), [&] {
        for (auto* server : {served->http.get(), served->queue.get()})
          if (server != nullptr) server->stop(grace);
        if (served->grpc) served->grpc->stop(grace);
        if (served->log) served->log->stop(std::min(grace, 5));
        served.reset();
        return 0;
      });
    }
    co_await Hop{};
    co_return s->code;
  }
  [[nodiscard]] bool ready() const override { return s_->served != nullptr && !s_->stopping; }

 private:
  std::shared_ptr<State> s_;
};

class PredictorRuntime final : public node::BuiltinRuntime {
 public:
  PredictorRuntime(task::Loops& loops, PredictorOptions options) : loops_(loops), options_(std::move(options)) {}

  task::Task<Result<std::unique_ptr<BuiltinContainer>>> start(BuiltinStart start) override {
    Plan plan;
    plan.name = argument(start.container, "model_name");
    plan.uri = argument(start.container, "storage_uri");
    plan.dir = on_this_machine(start, argument(start.container, "model_dir"));
    plan.address = start.pod_ip;
    plan.pod = start.pod;
    plan.env = environment(start);
    if (auto e = plan.env.find("PREDICT_PROBA"); e != plan.env.end() && text::iequals(e->second, "true"))
      say(start.log, "WARNING", "PREDICT_PROBA is not supported: the model answers with what its predict gives");
    for (auto [name, port] : {std::pair{"http_port", &plan.port}, std::pair{"queue_port", &plan.queue_port},
                              std::pair{"grpc_port", &plan.grpc_port}})
      if (auto text = argument(start.container, name); !text.empty()) {
        auto n = text::to_u64(text);
        if (!n || *n > 65535)
          co_return fail(Code::invalid_argument, fmt::format("--{}={} is not a port", name, printable(text)));
        *port = static_cast<std::uint16_t>(*n);
      }
    auto engine = load_options(options_.load, start);
    if (!engine) co_return std::unexpected(engine.error());
    plan.load = std::move(*engine);
    MR_CO_TRY(plan.request_log, log_options(start, {options_.storage.resolve}));
    MR_CO_TRY(plan.batcher, batcher_options(start.container));
    std::size_t timeout_s = 0;
    for (auto [name, number] : {std::pair{"max_concurrency", &plan.limits.concurrency},
                                std::pair{"max_queue", &plan.limits.queue}, std::pair{"request_timeout", &timeout_s}})
      if (auto text = argument(start.container, name); !text.empty()) {
        auto n = text::to_u64(text);
        if (!n || *n > 1'000'000)
          co_return fail(Code::invalid_argument, fmt::format("--{}={} is no number of use", name, printable(text)));
        *number = *n;
      }
    if (timeout_s != 0) plan.limits.timeout_ms = static_cast<long>(timeout_s) * 1000;
    if (plan.name.empty() || (plan.uri.empty() && plan.dir.empty()))
      co_return fail(Code::invalid_argument, "the predictor needs --model_name, and --storage_uri or --model_dir");
    auto state = std::make_shared<Predictor::State>();
    task::detach(bring_up(state, std::move(plan), start.log));
    // A model that is here in a moment shows as ready with the container's first status.
    if (state->loading) {
      task::Timer limit;
      limit.start(kFastLoadMs, [state] { state->loaded.set(); });
      co_await state->loaded.wait();
    }
    co_return std::make_unique<Predictor>(state);
  }

 private:
  task::Task<void> bring_up(std::shared_ptr<Predictor::State> state, Plan plan, node::LogSink log) {
    auto done = co_await task::run_on(load_pool(), [&] { return load(loops_, options_, plan, log, state->stopping); });
    if (!done) {
      say(log, "ERROR", "too many loads are waiting on this machine");
      state->code = 1;
    } else if (!*done) {
      // The last line becomes the container's termination message.
      if (log) log(done->error().message + "\n");
      state->code = 1;
    } else {
      state->served = std::move(**done);
    }
    state->loading = false;
    state->loaded.set();
    state->changed.set();
  }

  task::Loops& loops_;
  PredictorOptions options_;
};

// A container that has done its work, or not, by the time it exists.
class Ended final : public BuiltinContainer {
 public:
  explicit Ended(int code) : code_(code) {}
  void stop(long) override {}
  task::Task<int> wait() override {
    co_await Hop{};
    co_return code_;
  }
  [[nodiscard]] bool ready() const override { return false; }

 private:
  int code_;
};

class InitializerRuntime final : public node::BuiltinRuntime {
 public:
  explicit InitializerRuntime(PredictorOptions options) : options_(std::move(options)) {}

  task::Task<Result<std::unique_ptr<BuiltinContainer>>> start(BuiltinStart start) override {
    std::vector<std::string> args;
    for (const auto& a : kube::array_at(start.container, "args"))
      if (a.is_string()) args.emplace_back(a.get_string());
    auto done = co_await task::run_on(load_pool(), [&] { return copy_all(start, args); });
    Result<void> result = done ? *done : fail(Code::resource_exhausted, "too many loads are waiting on this machine");
    if (!result && start.log) start.log(result.error().message + "\n");
    co_return std::make_unique<Ended>(result ? 0 : 1);
  }

 private:
  Result<void> copy_all(const BuiltinStart& start, const std::vector<std::string>& args) {
    if (args.empty() || args.size() % 2 != 0)
      return fail(Code::invalid_argument, "the storage initializer takes pairs of a source URI and a target folder");
    static const std::atomic<bool> never = false;
    for (std::size_t i = 0; i < args.size(); i += 2) {
      auto target = on_this_machine(start, args[i + 1]);
      say(start.log, "INFO", fmt::format("Initializing, args: src_uri [{}] dest_path[ [{}]", args[i], args[i + 1]));
      MR_TRY(auto model, from_cache(options_, args[i], environment(start), never));
      const auto& at = model->path();
      std::error_code ec;
      fs::create_directories(target, ec);
      if (fs::is_directory(at, ec))
        fs::copy(at, target, fs::copy_options::recursive | fs::copy_options::overwrite_existing, ec);
      else
        fs::copy_file(at, fs::path(target) / fs::path(at).filename(), fs::copy_options::overwrite_existing, ec);
      if (ec) return fail(Code::internal, fmt::format("cannot copy {}: {}", at, ec.message()));
      // The copies are the container's own, unlike the files of the cache.
      std::error_code kept;
      for (fs::recursive_directory_iterator it(target, kept), end; !kept && it != end; it.increment(kept)) {
        std::error_code one;
        if (it->is_regular_file(one)) fs::permissions(it->path(), fs::perms::owner_write, fs::perm_options::add, one);
      }
    }
    return {};
  }
  PredictorOptions options_;
};

}  // namespace

std::string argument(const kube::Object& container, std::string_view name) {
  std::string found;
  for (const auto* part : {"command", "args"}) {
    const auto& list = kube::array_at(container, part);
    for (std::size_t i = 0; i < list.size(); ++i) {
      if (!list[i].is_string()) continue;
      std::string_view a(list[i].get_string());
      if (!a.starts_with("--")) continue;
      a.remove_prefix(2);
      if (!a.starts_with(name)) continue;
      a.remove_prefix(name.size());
      if (a.starts_with('='))
        found = a.substr(1);
      else if (a.empty() && i + 1 < list.size() && list[i + 1].is_string())
        found = std::string(list[i + 1].get_string());
    }
  }
  return found;  // the last one counts
}

http::Handler with_access_lines(http::Handler inner, node::LogSink log) {
  return [inner = std::move(inner), log = std::move(log)](http::Request& rq) -> task::Task<http::Response> {
    auto began = time::mono_ns();
    std::string target(rq.target.substr(0, 512));
    std::string method(rq.method_text.substr(0, 16));
    auto answer = co_await inner(rq);
    // Health questions come every second and say nothing.
    bool probe = target.starts_with("/v2/health/") || target == "/healthz" ||
                 (answer.status == 200 && method == "GET" && target.ends_with("/ready"));
    if (log && !probe)
      log(fmt::format("INFO:     {} - \"{} {} HTTP/1.1\" {} {} {:.3f} ms\n", rq.remote, method, printable(target),
                      answer.status, http::reason_phrase(answer.status),
                      static_cast<double>(time::mono_ns() - began) / 1e6));
    co_return answer;
  };
}

std::shared_ptr<node::BuiltinRuntime> make_predictor_runtime(task::Loops& loops, PredictorOptions options) {
  return std::make_shared<PredictorRuntime>(loops, std::move(options));
}
std::shared_ptr<node::BuiltinRuntime> make_initializer_runtime(PredictorOptions options) {
  return std::make_shared<InitializerRuntime>(std::move(options));
}

}  // namespace mr::serving
