// Probes and lifecycle hooks.
#include <csignal>

#include "crypto/random.h"
#include "http/client_tls.h"
#include "http/tcp_stream.h"
#include "json/parse.h"
#include "node/grpc_health.h"
#include "node/worker.h"
#include "task/pool.h"
#include "text/text.h"

namespace mr::node {

using kube::Object;

namespace {

// A port by number or by the name it has in the container.
int port_of(const Object& container, const Object& action) {
  const auto* v = action.if_contains("port");
  if (v == nullptr) return 0;
  if (v->is_int64()) return static_cast<int>(v->get_int64());
  if (v->is_uint64()) return static_cast<int>(v->get_uint64());
  if (!v->is_string()) return 0;
  std::string_view name = v->get_string();
  for (const auto& p : kube::array_at(container, "ports"))
    if (p.is_object() && kube::text_at(p.get_object(), "name") == name)
      return static_cast<int>(kube::int_at(p.get_object(), "containerPort"));
  return static_cast<int>(text::to_i64(name).value_or(0));
}

// Pods have their own address through the bind shim; a program that it does not reach listens for the whole machine.
task::Task<Result<std::unique_ptr<http::ByteStream>>> connect_pod(std::string ip, int port, long timeout_ms) {
  auto p = static_cast<std::uint16_t>(port);
  auto stream = co_await http::connect_tcp(ip, p, static_cast<int>(timeout_ms));
  if (!stream)
    co_return fail(
        stream.error().code,
        fmt::format("dial tcp {}:{}: {}", ip, port,
                    stream.error().code == Code::deadline_exceeded ? "i/o timeout" : "connect: connection refused"));
  co_return std::move(*stream);
}

// A stream that is also somebody else's: who hands it over can still close it.
class SharedStream final : public http::ByteStream {
 public:
  explicit SharedStream(std::shared_ptr<http::ByteStream> s) : s_(std::move(s)) {}
  task::Task<Result<std::string_view>> read() override { return s_->read(); }
  task::Task<Result<void>> write(std::string_view bytes) override { return s_->write(bytes); }
  task::Task<Result<void>> shutdown_write() override { return s_->shutdown_write(); }
  void close() override { s_->close(); }

 private:
  std::shared_ptr<http::ByteStream> s_;
};

// As the kubelet's: whose certificate it is, is not asked.
http::ClientContext any_certificate() {
  static const auto context =
      http::make_client_context({.ca_pem = {}, .certificate_pem = {}, .key_pem = {}, .insecure = true});
  return context ? *context : nullptr;
}

task::Task<Result<void>> http_get(std::string ip, int port, Object action, long timeout_ms) {
  const bool secure = kube::text_at(action, "scheme", "HTTP") == "HTTPS";
  auto path = std::string(kube::text_at(action, "path", "/"));
  if (path.empty() || path.front() != '/') path.insert(0, "/");
  auto url = fmt::format("{}://{}:{}{}", secure ? "https" : "http", ip, port, path);
  auto connected = co_await connect_pod(ip, port, timeout_ms);
  if (!connected) co_return fail(connected.error().code, fmt::format("Get \"{}\": {}", url, connected.error().message));
  const std::shared_ptr<http::ByteStream> under = std::move(*connected);
  task::Timer timer;
  bool late = false;
  timer.start(timeout_ms, [&] {
    late = true;
    under->close();
  });
  constexpr std::string_view kLate = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)";
  std::unique_ptr<http::ByteStream> stream = std::make_unique<SharedStream>(under);
  if (secure) {
    auto tls = co_await http::start_tls(std::move(stream), any_certificate(), ip);
    if (!tls) {
      timer.cancel();
      co_return fail(tls.error().code,
                     fmt::format("Get \"{}\": {}", url, late ? std::string(kLate) : tls.error().message));
    }
    stream = std::move(*tls);
  }
  std::string host = fmt::format("{}:{}", ip, port), extra;
  bool agent = false;
  for (const auto& h : kube::array_at(action, "httpHeaders")) {
    if (!h.is_object()) continue;
    auto name = kube::text_at(h.get_object(), "name");
    auto value = kube::text_at(h.get_object(), "value");
    if (name.find_first_of("\r\n:") != std::string_view::npos || value.find_first_of("\r\n") != std::string_view::npos)
      continue;
    if (text::iequals(name, "host")) {
      host = value;
    } else {
      agent = agent || text::iequals(name, "user-agent");
      extra += fmt::format("{}: {}\r\n", name, value);
    }
  }
  if (!agent) extra += "User-Agent: kube-probe/1.32\r\n";
  auto request =
      fmt::format("GET {} HTTP/1.1\r\nHost: {}\r\n{}Accept: */*\r\nConnection: close\r\n\r\n", path, host, extra);
  std::string head;
  auto sent = co_await stream->write(request);
  while (sent && head.size() < 4096 && !head.contains('\n')) {
    auto piece = co_await stream->read();
    if (!piece || piece->empty()) break;
    head += *piece;
  }
  timer.cancel();
  int status = head.starts_with("HTTP/1.") && head.size() >= 12
                   ? static_cast<int>(text::to_i64(std::string_view(head).substr(9, 3)).value_or(0))
                   : 0;
  if (status == 0) co_return fail(Code::unavailable, fmt::format("Get \"{}\": {}", url, late ? kLate : "EOF"));
  if (status < 200 || status >= 400)
    co_return fail(Code::unavailable, fmt::format("HTTP probe failed with statuscode: {}", status));
  co_return Result<void>{};
}

}  // namespace

task::Task<Result<void>> Worker::run_inside(Container& c, std::vector<std::string> command, long timeout_ms) {
  if (c.init_pid <= 0) co_return fail(Code::failed_precondition, "container not running");
  SpawnOptions o;
  const auto mark = c.engine ? crypto::random_hex(12) : std::string();
  if (c.engine) {
    auto inside = exec_command(*c.engine, c.engine_name, command, false, false, mark);
    o.argv = std::move(inside.argv);
    o.env = std::move(inside.env);
  } else {
    auto run = c.run;
    if (!co_await sandbox_is_up(c.init_pid) || c.run != run || c.init_pid <= 0)
      co_return fail(Code::failed_precondition, "container not running");
    auto join = join_command(c.init_pid, c.sandbox, command);
    o.argv = std::move(join.argv);
    o.env = std::move(join.env);
  }
  MR_CO_TRY(auto pipe, make_pipe());
  o.out = o.err = pipe.write.get();
  task::Event over;
  int status = 0;
  auto process = Process::start(o, [&](int s) {
    status = s;
    over.set();
  });
  if (!process) co_return std::unexpected(process.error());
  pipe.write.reset();
  auto out = stream_of(std::move(pipe.read));
  bool late = false;
  task::Timer timer;
  timer.start(timeout_ms, [&] {
    late = true;
    (*process)->kill(SIGKILL);
    out->close();
    if (!mark.empty()) (void)task::disk_pool().submit([mark] { end_marked(mark); });
  });
  std::string said;
  for (;;) {
    auto piece = co_await out->read();
    if (!piece || piece->empty()) break;
    if (said.size() < 10240) said += *piece;
  }
  co_await over.wait();
  timer.cancel();
  if (late)
    co_return fail(Code::deadline_exceeded, fmt::format("command timed out: \"{}\" timed out after {}s",
                                                        command.empty() ? "" : command.front(), timeout_ms / 1000));
  auto code = exit_code(status);
  if (code != 0) co_return fail(Code::unavailable, said.empty() ? fmt::format("command exited with {}", code) : said);
  co_return Result<void>{};
}

task::Task<Result<void>> Worker::act(Container& c, Object action, long timeout_ms) {
  if (const auto& exec = kube::object_at(action, "exec"); !exec.empty()) {
    std::vector<std::string> command;
    for (const auto& v : kube::array_at(exec, "command"))
      if (v.is_string()) command.emplace_back(v.get_string());
    co_return co_await run_inside(c, std::move(command), timeout_ms);
  }
  if (const auto& get = kube::object_at(action, "httpGet"); !get.empty()) {
    auto host = std::string(kube::text_at(get, "host", pod_ip_));
    co_return co_await http_get(host.empty() || host == "localhost" ? pod_ip_ : host, port_of(c.spec, get), get,
                                timeout_ms);
  }
  if (const auto& tcp = kube::object_at(action, "tcpSocket"); !tcp.empty()) {
    auto host = std::string(kube::text_at(tcp, "host", pod_ip_));
    auto stream = co_await connect_pod(host.empty() ? pod_ip_ : host, port_of(c.spec, tcp), timeout_ms);
    if (!stream) co_return std::unexpected(stream.error());
    (*stream)->close();
    co_return Result<void>{};
  }
  if (const auto& grpc = kube::object_at(action, "grpc"); !grpc.empty()) {
    auto stream = co_await connect_pod(pod_ip_, port_of(c.spec, grpc), timeout_ms);
    if (!stream) co_return std::unexpected(stream.error());
    co_return co_await grpc_health(std::move(*stream), std::string(kube::text_at(grpc, "service")), timeout_ms);
  }
  if (const auto* sleep = action.if_contains("sleep"); sleep != nullptr && sleep->is_object()) {
    co_await task::sleep_ms(std::min<long>(kube::int_at(sleep->get_object(), "seconds") * 1000, timeout_ms));
    co_return Result<void>{};
  }
  co_return fail(Code::invalid_argument, "missing probe handler");
}

void Worker::start_probes(Container& c) {
  c.probes.clear();
  bool startup = false, readiness = false;
  for (auto [field, kind] :
       {std::pair{"startupProbe", "Startup"}, {"livenessProbe", "Liveness"}, {"readinessProbe", "Readiness"}}) {
    const auto& spec = kube::object_at(c.spec, field);
    if (spec.empty()) continue;
    auto p = std::make_unique<Probe>();
    p->kind = kind;
    p->spec = spec;
    if (p->kind == "Startup") startup = true;
    if (p->kind == "Readiness") readiness = true;
    c.probes.push_back(std::move(p));
  }
  c.started = !startup;
  c.ready = !startup && !readiness && !c.builtin;
  for (auto& p : c.probes)
    if (!startup || p->kind == "Startup")
      schedule(c, *p, std::max<long>(kube::int_at(p->spec, "initialDelaySeconds") * 1000, 1));
  if (c.builtin) watch_builtin(c);
}

// A part of this program says itself when it is ready, besides any probe.
void Worker::watch_builtin(Container& c) {
  bool ready = c.builtin->ready();
  bool probed = std::ranges::any_of(c.probes, [](const auto& p) { return p->kind == "Readiness"; });
  if (!probed && c.started && ready != c.ready) {
    c.ready = ready;
    wake();
  }
  c.watch_timer.start(ready ? 500 : 20, [weak = weak_from_this(), &c, run = c.run] {
    if (auto self = weak.lock(); self && c.run == run && c.builtin && !c.stopping) self->watch_builtin(c);
  });
}

void Worker::schedule(Container& c, Probe& p, long ms) {
  p.timer.start(ms, [weak = weak_from_this(), &c, &p, run = c.run] {
    auto self = weak.lock();
    if (!self || c.run != run || c.stopping || (!c.process && !c.builtin)) return;
    task::detach(self->probe_once(self, c, run, p));
  });
}

task::Task<void> Worker::probe_once(std::shared_ptr<Worker>, Container& c, unsigned run, Probe& p) {
  auto timeout = std::max<long>(kube::int_at(p.spec, "timeoutSeconds", 1), 1) * 1000;
  auto result = co_await act(c, p.spec, timeout);
  if (c.run != run || c.stopping || (!c.process && !c.builtin)) co_return;
  probe_result(c, p, result);
}

void Worker::probe_result(Container& c, Probe& p, const Result<void>& result) {
  auto period = std::max<long>(kube::int_at(p.spec, "periodSeconds", 10), 1) * 1000;
  auto needed = p.kind == "Readiness" ? std::max<std::int64_t>(kube::int_at(p.spec, "successThreshold", 1), 1) : 1;
  auto allowed = std::max<std::int64_t>(kube::int_at(p.spec, "failureThreshold", 3), 1);
  if (result) {
    p.failures = 0;
    ++p.successes;
  } else {
    p.successes = 0;
    ++p.failures;
    event("Warning", "Unhealthy", fmt::format("{} probe failed: {}", p.kind, result.error().message));
  }
  bool good = p.successes >= needed, bad = p.failures >= allowed;
  if (p.kind == "Readiness") {
    if ((good && !c.ready) || (bad && c.ready)) {
      c.ready = good;
      wake();
    }
  } else if (bad) {
    event("Normal", "Killing",
          fmt::format("Container {} failed {} probe, will be restarted", c.name,
                      p.kind == "Startup" ? "startup" : "liveness"));
    auto grace = kube::int_at(p.spec, "terminationGracePeriodSeconds",
                              kube::int_at(*pod_, "spec.terminationGracePeriodSeconds", 30));
    stop_container(c, grace * 1000, {});
    return;
  } else if (p.kind == "Startup" && good && !c.started) {
    c.started = true;
    bool readiness = false;
    for (auto& other : c.probes) {
      if (other->kind == "Startup") continue;
      readiness = readiness || other->kind == "Readiness";
      schedule(c, *other, std::max<long>(kube::int_at(other->spec, "initialDelaySeconds") * 1000, 1));
    }
    if (!readiness && !c.builtin) c.ready = true;
    wake();
    return;  // its work is done
  }
  schedule(c, p, period);
}

}  // namespace mr::node
