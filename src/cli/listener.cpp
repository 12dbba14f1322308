#include "cli/listener.h"

#include <fcntl.h>
#include <malloc.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <csignal>
#include <cstdio>

#include "core/durable_file.h"
#include "log/log.h"
#include "metrics/metrics.h"
#include "time/clock.h"

namespace mr::cli {

namespace {
sigset_t signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  return set;
}
const std::int64_t kProcessStart = time::mono_ns();
}  // namespace

void block_signals() {
  auto set = signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  // Few arenas: with glibc's default of eight a core, idle memory grows with each thread that ever allocated.
  mallopt(M_ARENA_MAX, 4);
}
int wait_for_signal() {
  auto set = signals();
  int sig = 0;
  sigwait(&set, &sig);
  return sig;
}

void configure_log(const Settings& s) {
  log::Options o;
  o.level = s.log_level == "debug"   ? log::Level::debug
            : s.log_level == "warn"  ? log::Level::warn
            : s.log_level == "error" ? log::Level::error
                                     : log::Level::info;
  o.format = s.log_format == "json" ? log::Format::json : log::Format::text;
  o.file = s.log_file;
  log::configure(o);
}

Result<Fd> lock_data(const std::string& folder) {
  MR_CHECK(make_folders(folder));
  ::chmod(folder.c_str(), 0700);
  Fd fd(::open((folder + "/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!fd) return fail_errno("cannot open " + folder + "/lock", errno);
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    char pid[32] = {};
    if (::read(fd.get(), pid, sizeof pid - 1) < 0) pid[0] = 0;
    return fail(Code::failed_precondition, fmt::format("the data folder {} is in use by another Millrace (process {}); "
                                                       "stop it, or choose another folder with --data",
                                                       folder, *pid ? pid : "unknown"));
  }
  auto pid = std::to_string(::getpid());
  if (::ftruncate(fd.get(), 0) != 0 || ::pwrite(fd.get(), pid.data(), pid.size(), 0) < 0)
    return fail_errno("cannot write " + folder + "/lock", errno);
  return fd;
}

Result<> check_disk(const std::string& folder) {
  if (::access(folder.c_str(), W_OK) != 0) return fail_errno("the data folder cannot be written", errno);
  struct statvfs disk{};
  if (::statvfs(folder.c_str(), &disk) == 0 && disk.f_bavail * disk.f_frsize < 1U << 20)
    return fail(Code::resource_exhausted, "the disk is full");
  return {};
}

namespace {
http::Response readiness_answer(const Readiness& readiness, const std::string& ok) {
  if (const char* why = readiness.why_not.load(std::memory_order_acquire); why != nullptr)
    return http::Response::text(503, fmt::format("not ready: {}\n", why));
  for (const auto& [name, passes] : readiness.checks)
    if (auto r = passes(); !r) {
      log::warn("not ready", {{"check", name}, {"error", r.error().message}, {"detail", r.error().detail}});
      return http::Response::text(503, fmt::format("not ready: {}\n", name));  // what and where is for the log
    }
  return http::Response::text(200, ok);
}
task::Task<http::Response> at_once(http::Response r) { co_return r; }
}  // namespace

http::Handler with_probes(http::Handler inner, std::shared_ptr<const Readiness> readiness, std::string ok) {
  return [inner = std::move(inner), readiness = std::move(readiness),
          ok = std::move(ok)](http::Request& rq) -> task::Task<http::Response> {
    // A signed request means a bucket that may have such a name.
    bool probe = (rq.method == http::Method::get || rq.method == http::Method::head) &&
                 !rq.headers.has("Authorization") && rq.query.empty();
    if (probe) {
      if (rq.path == "/healthz") return at_once(http::Response::text(200, ok));
      if (rq.path == "/readyz") return at_once(readiness_answer(*readiness, ok));
      if (rq.path == "/metrics")
        return at_once(http::Response::text(200, metrics::expose(), "text/plain; version=0.0.4; charset=utf-8"));
    }
    return inner(rq);
  };
}

Listeners::Listeners(const Settings& s, unsigned loops) : settings_(s), loops_(loops), started_ns_(kProcessStart) {}

Result<> Listeners::add(const std::string& name, const std::string& address, int port, http::Handler handler,
                        const std::string& purpose, std::shared_ptr<const http::TlsContext> tls, http::TakeOver http2) {
  if (port > 65535)
    return fail(Code::invalid_argument, fmt::format("port {} is out of range; choose a smaller --port-offset", port));
  http::ServerOptions o;
  o.name = name;
  o.address = address;
  o.port = static_cast<std::uint16_t>(port);
  o.access_log = settings_.access_log;
  // Clients of the Kubernetes API compare the text.
  const char* ok = name == "kubernetes" ? "ok" : "ok\n";
  const char* scheme = tls ? "https" : "http";
  o.tls = std::move(tls);
  o.http2 = std::move(http2);
  auto server = std::make_unique<http::Server>(loops_, o, with_probes(std::move(handler), readiness_, ok));
  MR_CHECK(server->start());
  items_.push_back({std::move(server),
                    fmt::format("  {:<10} {}://{}:{:<6} {}", name, scheme, address == "0.0.0.0" ? "127.0.0.1" : address,
                                port, purpose),
                    {}});
  return {};
}

void Listeners::also(const std::string& name, const std::string& address, const std::string& purpose,
                     std::function<void(int)> stop) {
  items_.push_back({nullptr, fmt::format("  {:<10} {:<24} {}", name, address, purpose), std::move(stop)});
}

void Listeners::run(const std::function<void()>& before_stop) {
  for (const auto& i : items_) fmt::print("{}\n", i.line);
  readiness_->why_not.store(nullptr, std::memory_order_release);
  fmt::print("ready in {:.0f} ms\n", static_cast<double>(time::mono_ns() - started_ns_) / 1e6);
  std::fflush(stdout);
  int sig = wait_for_signal();
  readiness_->why_not = "stopping";
  log::info("stopping", {{"signal", sig}, {"grace_s", settings_.grace_s}});
  if (before_stop) before_stop();
  stop();
}

void Listeners::stop() {
  for (auto& i : items_) {
    if (i.server)
      i.server->stop(settings_.grace_s);
    else
      i.stop(settings_.grace_s);
  }
}

int report(const Error& e) {
  fmt::print(stderr, "millrace: {}\n", e.message);
  if (!e.detail.empty()) log::debug("the reason in detail", {{"detail", e.detail}});
  return e.code == Code::invalid_argument || e.code == Code::failed_precondition ? 2 : 1;
}

}  // namespace mr::cli
