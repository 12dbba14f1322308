#include "cli/pipelines.h"

#include <filesystem>

#include "cli/pipeline_files.h"
#include "cli/pipeline_tracking.h"
#include "http/address_kind.h"
#include "http/client.h"
#include "http/router.h"
#include "pipelines/cron.h"
#include "pipelines/runner.h"
#include "pipelines/schedules.h"
#include "pipelines/service.h"
#include "task/pool.h"
#include "time/clock.h"

namespace mr::cli {

namespace {

constexpr const char* kBucket = "mlpipeline";
constexpr std::size_t kMaxPackage = 32U << 20;

// Who may ask this server for pipelines must not reach through it what is closed to them.
bool may_fetch_from(PrivateUrls rule, const std::string& ip) {
  using enum http::AddressKind;
  const auto kind = http::address_kind(ip);
  return kind == public_net || rule == PrivateUrls::yes ||
         (rule == PrivateUrls::of_this_machine && (kind == loopback || kind == private_net));
}

// A pipeline package by its URL, on a pool thread: the blocking client may wait for a slow server.
task::Task<Result<std::string>> fetch_package(std::string url, PrivateUrls rule) {
  auto r = co_await task::run_on(task::disk_pool(), [&]() -> Result<std::string> {
    http::Client client;
    http::ClientRequest q;
    q.url = url;
    q.max_body = kMaxPackage;
    q.timeout_s = 30;
    q.allow = [rule](const std::string& ip) { return may_fetch_from(rule, ip); };
    auto answer = client.send(q);
    if (!answer && answer.error().code == Code::permission_denied)
      return fail(Code::invalid_argument,
                  fmt::format("{}: {} (millrace up --pipeline-private-urls)", url, answer.error().message));
    if (!answer) return std::unexpected(answer.error());
    if (answer->status != 200)
      return fail(Code::invalid_argument,
                  fmt::format("{} answered {} where a package was expected", url, answer->status));
    return std::move(answer->body);
  });
  if (!r) co_return fail(Code::unavailable, "too many packages are being fetched; try again later");
  co_return std::move(*r);
}

}  // namespace

struct Pipelines::Impl {
  std::unique_ptr<pipelines::Store> store;
  std::unique_ptr<pipelines::ArtifactFiles> files;
  std::optional<pipelines::Runner> runner;
  std::unique_ptr<pipelines::TrackingLink> tracking;  // goes after the runner's loop has stopped, before that goes
  std::optional<pipelines::Service> service;
  std::optional<pipelines::Schedules> schedules;
  std::string zone;
  std::shared_ptr<http::Router> routes = std::make_shared<http::Router>();
  bool started = false;
};

Pipelines::Pipelines(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Pipelines::~Pipelines() { stop(); }

Result<std::unique_ptr<Pipelines>> Pipelines::open(kube::Client& client, kube::Pods& pods, objects::Store& objects,
                                                   PipelinesOptions options) {
  auto impl = std::make_unique<Impl>();
  MR_CHECK(objects.make_bucket_blocking(kBucket));
  MR_TRY(impl->store, pipelines::Store::open(options.data + "/pipelines.db"));
  impl->files = make_pipeline_files(objects);
  pipelines::RunnerOptions r;
  // Pods name their folders on this machine by absolute paths.
  r.folder = std::filesystem::absolute(options.data).lexically_normal().string() + "/pipelines";
  r.default_root = fmt::format("s3://{}/v2/artifacts", kBucket);
  r.now_ms = time::now_ms;
  r.cache = options.cache;
  r.cache_max_age_s = std::int64_t{options.cache_days} * 86'400;
  r.max_pods = options.max_pods;
  r.step_disk = options.step_disk;
  r.cache_ignore = {options.cache_ignore.begin(), options.cache_ignore.end()};
  r.cache_entries = options.cache_entries;
  r.start_limit_s = options.start_limit_s;
  // A zone that is not there would show with the first schedule only.
  if (auto cron = pipelines::Cron::parse("@daily", options.cron_zone); !cron)
    return fail(Code::invalid_argument, fmt::format("--cron-timezone {}: {}", options.cron_zone, cron.error().message));
  auto ui = fmt::format("http://{}:{}", options.tracking_address, options.tracking_port);
  impl->tracking = make_tracking_link(options.tracking_address, options.tracking_port,
                                      "http://mlflow.kubeflow.svc.cluster.local:5000", ui);
  r.tracking = impl->tracking.get();
  impl->runner.emplace(client, pods, *impl->store, *impl->files, r);
  pipelines::ServiceOptions s;
  s.default_root = r.default_root;
  s.now_ms = time::now_ms;
  s.fetch_url = [rule = options.private_urls](std::string url) { return fetch_package(std::move(url), rule); };
  s.fetch_artifact = [f = impl->files.get()](std::string uri, std::string path) {
    return f->fetch(std::move(uri), std::move(path));
  };
  s.scratch = r.folder + "/reads";
  s.recurring_error = [i = impl.get()](const std::string& id) {
    return i->schedules ? i->schedules->error(id) : std::nullopt;
  };
  s.recurring_changed = [i = impl.get()] {
    if (i->schedules) i->schedules->changed();
  };
  impl->service.emplace(*impl->store, *impl->runner, std::move(s));
  impl->zone = options.cron_zone;
  impl->schedules.emplace(*impl->service, time::now_ms, options.cron_zone);
  impl->service->add_routes(*impl->routes);
  return std::unique_ptr<Pipelines>(new Pipelines(std::move(impl)));
}

Result<std::vector<std::int64_t>> Pipelines::next_runs(const std::string& id, const std::string& cron,
                                                       std::size_t most) const {
  const auto now = time::now_ms();
  pipelines::RecurringRun r{
      .kind = pipelines::TriggerKind::cron, .cron = cron, .created_ms = now, .updated_ms = now, .plugins_input = {}};
  if (!id.empty()) {
    MR_TRY(r, impl_->store->recurring(id, false));
  }
  return pipelines::next_times(r, now, impl_->zone, most);
}

http::Handler Pipelines::handler() const {
  return [routes = impl_->routes](http::Request& rq) -> task::Task<http::Response> {
    auto m = routes->find(rq.method, rq.path);
    if (m.handler != nullptr) {
      rq.params = std::move(m.params);
      co_return co_await (*m.handler)(rq);
    }
    // As the real server's gateway answers for both.
    if (m.other_method)
      co_return http::Response::json(
          501, R"({"error":"Method Not Allowed","code":12,"message":"Method Not Allowed","details":[]})");
    co_return http::Response::json(404, R"({"error":"Not Found","code":5,"message":"Not Found","details":[]})");
  };
}

http::Handler Pipelines::at_front_door(http::Handler fallback) const {
  return [api = handler(), fallback = std::move(fallback)](http::Request& rq) -> task::Task<http::Response> {
    constexpr std::string_view kPrefix = "/pipeline";
    if (rq.path.starts_with("/pipeline/apis/")) {
      rq.path.remove_prefix(kPrefix.size());
      rq.target.remove_prefix(kPrefix.size());
    }
    if (rq.path.starts_with("/apis/v")) return api(rq);
    return fallback(rq);
  };
}

void Pipelines::start(task::Loop& loop) {
  impl_->started = true;
  impl_->runner->begin();
  impl_->schedules->start(loop);
}

void Pipelines::stop() {
  if (!std::exchange(impl_->started, false)) return;
  impl_->schedules->stop();
  impl_->runner->stop();
  impl_->store->stop();
}

}  // namespace mr::cli
