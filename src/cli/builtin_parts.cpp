#include "cli/builtin_parts.h"

#include "json/parse.h"
#include "log/log.h"
#include "task/event.h"
#include "time/clock.h"

namespace mr::cli {

namespace {
constexpr std::size_t kMaxPending = 500;        // lines between two deliveries
constexpr std::size_t kMaxHistory = 64 * 1024;  // bytes that a new pod begins with
constexpr long kDeliverMs = 100;
constexpr long kRetryMs = 5000;
}  // namespace

struct PartLog::Impl : std::enable_shared_from_this<PartLog::Impl> {
  struct Sink {
    node::LogSink write;
    task::Loop* loop = nullptr;
  };
  std::mutex mutex;
  std::string pending, history;
  std::atomic<std::size_t> lines{0}, dropped{0};  // written under the mutex, but for has_room()
  bool scheduled = false;
  std::map<std::uint64_t, Sink> sinks;
  std::uint64_t next = 0;

  // Under the mutex.
  void schedule() {
    if (scheduled || sinks.empty()) return;
    scheduled = true;
    auto* loop = sinks.begin()->second.loop;
    loop->post([self = shared_from_this()] { task::detach(deliver_later(self)); });
  }
  static task::Task<void> deliver_later(std::shared_ptr<Impl> self) {
    co_await task::sleep_ms(kDeliverMs);
    self->deliver();
  }
  void deliver() {
    std::lock_guard guard(mutex);  // sinks are the node's: quick, and they do not call back
    scheduled = false;
    if (auto n = dropped.exchange(0); n > 0) pending += fmt::format("... {} more lines left out\n", n);
    lines = 0;
    if (pending.empty()) return;
    for (auto& [id, s] : sinks) s.write(pending);
    history += pending;
    pending.clear();
    if (history.size() > kMaxHistory) {
      auto cut = history.find('\n', history.size() - kMaxHistory / 2);
      history.erase(0, cut == std::string::npos ? history.size() : cut + 1);
    }
  }
};

PartLog::PartLog() : impl_(std::make_shared<Impl>()) {}

bool PartLog::has_room() {
  if (impl_->lines.load(std::memory_order_relaxed) < kMaxPending) return true;
  impl_->dropped.fetch_add(1, std::memory_order_relaxed);
  return false;
}

void PartLog::line(std::string text) {
  std::lock_guard guard(impl_->mutex);
  if (impl_->lines >= kMaxPending) {
    ++impl_->dropped;
    // Nobody listens: the oldest go instead.
    if (impl_->sinks.empty()) {
      impl_->pending.clear();
      impl_->lines = 0;
    }
    return;
  }
  ++impl_->lines;
  impl_->pending += text;
  impl_->pending += '\n';
  impl_->schedule();
}

void PartLog::bytes(std::string_view more) {
  std::lock_guard guard(impl_->mutex);
  if (impl_->pending.size() + more.size() > kMaxHistory) impl_->pending.clear();
  impl_->pending += more;
  impl_->schedule();
}

std::shared_ptr<void> PartLog::attach(node::LogSink sink) {
  std::lock_guard guard(impl_->mutex);
  auto id = ++impl_->next;
  if (!impl_->history.empty()) sink(impl_->history);
  impl_->sinks[id] = {std::move(sink), task::Loop::current()};
  if (!impl_->pending.empty()) impl_->schedule();
  return {nullptr, [impl = impl_, id](void*) {
            std::lock_guard again(impl->mutex);
            impl->sinks.erase(id);
          }};
}

http::Handler with_part_log(http::Handler inner, std::shared_ptr<PartLog> log) {
  return [inner = std::move(inner), log = std::move(log)](http::Request& rq) -> task::Task<http::Response> {
    auto began = time::mono_ns();
    auto res = co_await inner(rq);
    // Probes would fill it with nothing.
    bool probe = rq.path == "/healthz" || rq.path == "/readyz" || rq.path == "/metrics" || rq.path == "/health";
    if (!probe && log->has_room()) {
      std::string target;
      for (char c : rq.path) target += c < ' ' || c == '"' ? '?' : c;
      log->line(fmt::format("{} {} - \"{} {}\" {} {:.1f}ms", time::http_date(time::now_ms() / 1000), rq.remote,
                            rq.method_text, target, res.status, static_cast<double>(time::mono_ns() - began) / 1e6));
    }
    co_return res;
  };
}

namespace {

class PartContainer final : public node::BuiltinContainer {
 public:
  PartContainer(services::Relays& relays, const Part& part, node::BuiltinStart start)
      : state_(std::make_shared<State>(relays, part)) {
    state_->ip = start.pod_ip;
    for (const auto& [port, target] : part.ports) state_->missing[port] = target;
    if (part.log && start.log) attached_ = part.log->attach(start.log);
    task::detach(open_all(state_));
  }
  ~PartContainer() override { end(); }
  void stop(long) override { end(); }
  task::Task<int> wait() override {
    auto state = state_;  // this may go first
    co_await state->ended.wait();
    co_return 0;
  }
  bool ready() const override { return state_->missing.empty() && (!state_->part.ready || state_->part.ready()); }

 private:
  struct State {
    State(services::Relays& r, Part p) : relays(r), part(std::move(p)) {}
    services::Relays& relays;
    Part part;
    std::string ip;
    std::map<std::uint16_t, std::uint16_t> missing;
    std::vector<std::unique_ptr<services::Relays::Listener>> listeners;
    task::Event ended;
    bool over = false;
  };
  static task::Task<void> open_all(std::shared_ptr<State> s) {
    while (!s->over && !s->missing.empty()) {
      for (auto it = s->missing.begin(); it != s->missing.end();) {
        auto e = std::make_shared<services::Endpoint>();
        e->ip = s->part.address;
        e->port = it->second;
        auto made = s->relays.listen(
            s->ip, it->first,
            [e](std::string_view, const auto& tried) -> services::EndpointPtr { return tried.empty() ? e : nullptr; });
        if (!made) {
          if (s->part.log) s->part.log->line(made.error().message);
          ++it;
          continue;
        }
        s->listeners.push_back(std::move(*made));
        it = s->missing.erase(it);
      }
      if (!s->missing.empty()) co_await task::sleep_ms(kRetryMs);
    }
  }
  void end() {
    if (std::exchange(state_->over, true)) return;
    state_->listeners.clear();
    attached_.reset();
    state_->ended.set();
  }
  std::shared_ptr<State> state_;
  std::shared_ptr<void> attached_;
};

class PartRuntime final : public node::BuiltinRuntime {
 public:
  PartRuntime(services::Relays& relays, Part part) : relays_(relays), part_(std::move(part)) {}
  task::Task<Result<std::unique_ptr<node::BuiltinContainer>>> start(node::BuiltinStart start) override {
    co_return std::unique_ptr<node::BuiltinContainer>(
        std::make_unique<PartContainer>(relays_, part_, std::move(start)));
  }

 private:
  services::Relays& relays_;
  Part part_;
};

kube::Object parsed(std::string_view text) {
  auto v = json::parse(text);
  return v && v->is_object() ? std::move(v->as_object()) : kube::Object{};
}

}  // namespace

std::shared_ptr<node::BuiltinRuntime> make_part_runtime(services::Relays& relays, Part part) {
  return std::make_shared<PartRuntime>(relays, std::move(part));
}

namespace {

kube::Object deployment(std::string_view name, std::string_view image, int port, std::string_view port_name) {
  return parsed(fmt::format(
      R"({{"apiVersion":"apps/v1","kind":"Deployment","metadata":{{"name":"{0}","namespace":"kubeflow","labels":{{"app":"{0}"}}}},
"spec":{{"replicas":1,"selector":{{"matchLabels":{{"app":"{0}"}}}},"template":{{"metadata":{{"labels":{{"app":"{0}"}}}},
"spec":{{"containers":[{{"name":"{0}","image":"{1}","ports":[{{"name":"{2}","containerPort":{3}}}]}}]}}}}}}}})",
      name, image, port_name, port));
}
kube::Object service(std::string_view name, std::string_view app, std::string_view ports) {
  return parsed(fmt::format(
      R"({{"apiVersion":"v1","kind":"Service","metadata":{{"name":"{}","namespace":"kubeflow","labels":{{"app":"{}"}}}},
"spec":{{"selector":{{"app":"{}"}},"ports":{}}}}})",
      name, app, app, ports));
}
// So marked, an object may become part of a chart's release of that name instead of standing in its way.
kube::Object of_release(kube::Object o, std::string_view release) {
  auto& meta = kube::metadata(o);
  meta["labels"].as_object()["app.kubernetes.io/managed-by"] = "Helm";
  meta["annotations"] = {{"meta.helm.sh/release-name", release}, {"meta.helm.sh/release-namespace", "kubeflow"}};
  return o;
}

}  // namespace

std::vector<kube::Object> builtin_objects(bool with_mysql) {
  std::vector<kube::Object> all;
  all.push_back(of_release(deployment("mlflow", "millrace/tracking", 5000, "http"), "mlflow"));
  // Charts have named the port 80 and 5000 in turn: both lead to the server.
  all.push_back(of_release(service("mlflow", "mlflow",
                                   R"([{"name":"http","port":80,"targetPort":5000},
{"name":"http-tracking","port":5000,"targetPort":5000}])"),
                           "mlflow"));
  all.push_back(deployment("minio", "millrace/objects", 9000, "http"));
  all.push_back(service("minio-service", "minio", R"([{"name":"http","port":9000,"targetPort":9000}])"));
  all.push_back(deployment("ml-pipeline", "millrace/pipelines", 8888, "http"));
  all.push_back(service("ml-pipeline", "ml-pipeline", R"([{"name":"http","port":8888,"targetPort":8888}])"));
  if (with_mysql) {
    all.push_back(deployment("mysql", "millrace/mysql", 3306, "mysql"));
    all.push_back(service("mysql", "mysql", R"([{"name":"mysql","port":3306,"targetPort":3306}])"));
  }
  all.push_back(parsed(
      R"({"apiVersion":"networking.istio.io/v1","kind":"Gateway","metadata":{"name":"kubeflow-gateway","namespace":"kubeflow"},
"spec":{"selector":{"istio":"ingressgateway"},"servers":[{"port":{"number":80,"name":"http","protocol":"HTTP"},"hosts":["*"]}]}})"));
  return all;
}

}  // namespace mr::cli
