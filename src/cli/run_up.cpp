#include <cstdlib>

#include "cli/bucket_artifacts.h"
#include "cli/commands.h"
#include "cli/listener.h"
#include "cli/model_fetch.h"
#include "cli/model_storage.h"
#include "cli/mysql.h"
#include "cli/pipelines.h"
#include "cli/platform.h"
#include "cli/settings_serving.h"
#include "dashboard/dashboard.h"
#include "kube/names.h"
#include "log/log.h"
#include "objects/api.h"
#include "serving/api.h"
#include "serving/grpc_service.h"
#include "time/clock.h"
#include "tracking/service.h"

namespace mr::cli {

namespace {
bool loopback(const std::string& address) {
  return address == "localhost" || address == "::1" || address.starts_with("127.");
}
constexpr const char* kArtifactBucket = "mlflow-artifacts";
}  // namespace

int run_up(const Settings& s) {
  if (!loopback(s.listen) && !s.keys_given)
    return report(Error{Code::invalid_argument,
                        fmt::format("--listen {} opens the object store to other machines, and its keys are the "
                                    "well-known defaults; set your own with --access-key and MILLRACE_SECRET_KEY",
                                    s.listen),
                        {},
                        {}});
  auto lock = lock_data(s.data);
  if (!lock) return report(lock.error());
  Listeners listeners(s, s.loops != 0 ? s.loops : std::thread::hardware_concurrency());

  auto objects = objects::Store::open(s.data + "/objects");
  if (!objects) return report(objects.error());
  if (auto r = (*objects)->make_bucket_blocking(kArtifactBucket); !r) return report(r.error());

  tracking::Options o;
  o.database = s.data + "/millrace.db";
  o.ui_folder = find_mlflow_ui(s);
  o.allowed_hosts = s.allowed_hosts;
  // Stores of buckets are made when first named and live as long as the program.
  std::mutex mutex;
  std::map<std::string, std::unique_ptr<tracking::ArtifactStore>> by_bucket;
  auto bucket_store = [&](const std::string& bucket) -> tracking::ArtifactStore* {
    if (!(*objects)->require_bucket(bucket)) return nullptr;
    std::lock_guard guard(mutex);
    auto& slot = by_bucket[bucket];
    if (!slot) slot = make_bucket_artifacts(**objects, bucket);
    return slot.get();
  };
  objects::Credentials keys{s.access_key, s.secret_key};
  auto endpoint = fmt::format("http://{}:{}", s.listen == "localhost" ? "127.0.0.1" : s.listen, 9000 + s.port_offset);
  // Presigned URLs name one address; listening on all of them, none is right for every client.
  if (s.listen == "0.0.0.0" || s.listen == "::") endpoint.clear();
  auto tracking =
      tracking::Tracking::open(o, make_bucket_artifacts(**objects, kArtifactBucket, endpoint, keys), bucket_store);
  if (!tracking) return report(tracking.error());

  auto specs = paired_models(s);
  if (!specs) return report(specs.error());
  auto load = load_options(s);
  if (!load) return report(load.error());
  auto own = repository_options(s);
  if (!own) return report(own.error());
  serving::Repository repository(*load, *own);
  std::optional<FetchFolder> folder;
  for (const auto& m : *specs) {
    if (!folder) {
      auto made = FetchFolder::make(s.data);
      if (!made) return report(made.error());
      folder.emplace(std::move(*made));
    }
    auto path = fetch_model_inside(**tracking, listeners.loops().at(0), m.uri, *folder);
    auto loaded = path ? repository.add({m.name, "", *path}) : std::unexpected(path.error());
    if (!loaded) {
      auto e = loaded.error();
      e.code = Code::internal;
      return report(e);
    }
  }
  if (!s.model_repository.empty())
    if (auto r = repository.add_tree(s.model_repository); !r) return report(r.error());

  // Pods that stand for parts of this program lead to these listeners.
  auto port = [&](int p) { return static_cast<std::uint16_t>(p + s.port_offset); };
  auto host = s.listen == "localhost" || s.listen == "0.0.0.0" ? std::string("127.0.0.1") : s.listen;
  auto tracking_log = std::make_shared<PartLog>();
  auto objects_log = std::make_shared<PartLog>();
  auto pipelines_log = std::make_shared<PartLog>();
  auto mysql_log = std::make_shared<PartLog>();
  std::unique_ptr<MySql> mysql;
  if (s.mysql) {
    auto opened = MySql::open({.folder = s.data + "/mysql",
                               .address = "127.0.0.1",
                               .port = port(3306),
                               .log = [mysql_log](std::string_view lines) { mysql_log->bytes(lines); }});
    if (!opened) return report(opened.error());
    mysql = std::move(*opened);
    mysql->start();
  }
  PlatformOptions p;
  std::int64_t step_disk = 0;
  p.data = s.data;
  p.address = host;
  p.api_port = port(6443);
  p.gateway_port = port(8080);
  p.version = MILLRACE_VERSION;
  p.mysql = s.mysql;
  p.container_engine = s.container_engine;
  p.warm_interpreters = s.warm_interpreters;
  p.scale_window_ms = s.scale_window_s * 1000L;
  p.scale_grace_ms = s.scale_grace_s * 1000L;
  // Sizes are quantities of Kubernetes.
  for (auto [flag, text, bytes] : {std::tuple{"--min-free-disk", &s.min_free_disk, &p.min_free_disk},
                                   {"--pipeline-step-disk", &s.pipeline_step_disk, &step_disk}}) {
    const auto milli = kube::quantity_milli(*text);
    if (!milli || *milli < 0)
      return report(
          Error{Code::invalid_argument, fmt::format("{} {}: write a size, like 512Mi or 64Gi", flag, *text), {}, {}});
    *bytes = static_cast<std::int64_t>(*milli / 1000);
  }
  for (const auto& one : s.images) {
    auto at = one.rfind('=');
    if (at == std::string::npos || at == 0 || at + 1 == one.size())
      return report(Error{Code::invalid_argument,
                          fmt::format("--image {}: write NAME=RUNTIME, like registry/team/trainer:7=python:3.11", one),
                          {},
                          {}});
    p.images[one.substr(0, at)] = one.substr(at + 1);
  }
  p.storage = model_storage(s, {.tracking_url = fmt::format("http://{}:{}", host, port(5000)),
                                .s3_url = fmt::format("http://{}:{}", host, port(9000)),
                                .keys = keys});
  auto cache = model_cache(s);
  if (!cache) return report(cache.error());
  p.model_cache = std::move(*cache);
  p.parts["millrace/tracking"] = {
      .ports = {{5000, port(5000)}}, .address = host, .ready = [] { return true; }, .log = tracking_log};
  p.parts["millrace/objects"] = {
      .ports = {{9000, port(9000)}}, .address = host, .ready = [] { return true; }, .log = objects_log};
  p.parts["millrace/pipelines"] = {
      .ports = {{8888, port(8888)}}, .address = host, .ready = [] { return true; }, .log = pipelines_log};
  if (mysql)
    p.parts["millrace/mysql"] = {.ports = {{3306, port(3306)}},
                                 .address = "127.0.0.1",
                                 .ready = [m = mysql.get()] { return m->ready(); },
                                 .log = mysql_log};
  p.load = *load;
  auto platform = Platform::open(listeners.loops(), std::move(p));
  if (!platform) return report(platform.error());
  PipelinesOptions runs;
  runs.data = s.data;
  runs.tracking_address = host;
  runs.tracking_port = port(5000);
  runs.cron_zone = s.cron_timezone;
  runs.cache = s.pipeline_cache;
  runs.cache_days = s.pipeline_cache_days;
  runs.max_pods = static_cast<std::size_t>(s.pipeline_pods);
  if (step_disk > 0) runs.step_disk = s.pipeline_step_disk;
  runs.private_urls = s.pipeline_private_urls ? PrivateUrls::yes
                      : loopback(s.listen)    ? PrivateUrls::of_this_machine
                                              : PrivateUrls::no;
  runs.start_limit_s = s.pipeline_start_limit;
  runs.cache_ignore = s.pipeline_cache_ignore;
  runs.cache_entries = s.pipeline_cache_entries;
  auto pipelines = Pipelines::open((*platform)->client(), (*platform)->pods(), **objects, std::move(runs));
  if (!pipelines) return report(pipelines.error());

  auto grpc = serving::make_grpc_server(listeners.loops(), repository, s.listen, port(8001));
  http::Router inference;
  serving::add_routes(inference, repository);
  http::Router routes;
  (*tracking)->add_routes(routes);
  auto tracking_handler = (*tracking)->handler(std::move(routes));
  dashboard::DashboardDeps pages;
  pages.kube = (*platform)->handler();
  pages.tracking = tracking_handler;
  pages.pipelines = (*pipelines)->handler();
  pages.objects = objects::make_handler(**objects, keys);
  pages.sign = [keys](std::string_view method, const std::string& at, const std::string& bucket, const std::string& key,
                      std::vector<std::pair<std::string, std::string>> query) {
    auto root = "http://" + at;
    return objects::presign(keys, method, root, bucket, key, std::move(query), time::now_ms() / 1000, 300)
        .substr(root.size());
  };
  pages.next_runs = [p = pipelines->get()](const std::string& id, const std::string& cron, std::size_t most) {
    return p->next_runs(id, cron, most);
  };
  pages.allowed_hosts = s.allowed_hosts;
  pages.local = loopback(s.listen);
  pages.version = MILLRACE_VERSION;
  pages.addresses = {{"tracking", fmt::format("http://{}:{}", host, port(5000))},
                     {"s3", fmt::format("http://{}:{}", host, port(9000))},
                     {"gateway", fmt::format("http://{}:{}", host, port(8080))},
                     {"kubernetes", fmt::format("https://{}:{}", host, port(6443))}};
  dashboard::Dashboard dash(std::move(pages));
  auto front = dash.at_front_door(serving::make_handler(std::move(inference)));
  auto added = [&]() -> Result<> {
    MR_CHECK(listeners.add("tracking", s.listen, 5000 + s.port_offset,
                           with_part_log(dash.observed(tracking_handler), tracking_log),
                           "MLflow API and UI: MLFLOW_TRACKING_URI"));
    MR_CHECK(listeners.add("s3", s.listen, 9000 + s.port_offset,
                           with_part_log(objects::make_handler(**objects, keys), objects_log),
                           "S3: MLFLOW_S3_ENDPOINT_URL, AWS_ENDPOINT_URL"));
    MR_CHECK(listeners.add("gateway", s.listen, 8080 + s.port_offset,
                           (*platform)->gateway((*pipelines)->at_front_door(std::move(front))),
                           "dashboard, kfp.Client(host=…), inference, /mlflow/, routes of the cluster", nullptr,
                           (*platform)->gateway_http2(host, port(8001))));
    MR_CHECK(grpc->start());
    listeners.also("grpc", fmt::format("{}:{}", s.listen, grpc->port()), "V2 inference over gRPC",
                   [&grpc](int grace_s) { grpc->stop(grace_s); });
    MR_CHECK(listeners.add("pipelines", s.listen, 8888 + s.port_offset,
                           with_part_log((*pipelines)->handler(), pipelines_log), "Kubeflow Pipelines API"));
    MR_CHECK(listeners.add("kubernetes", s.listen, 6443 + s.port_offset, (*platform)->handler(),
                           "Kubernetes API: export KUBECONFIG=$(millrace kubeconfig)", (*platform)->tls()));
    return {};
  }();
  if (!added) return report(added.error());
  (*platform)->start();
  (*pipelines)->start(listeners.loops().at(0));
  dash.start(listeners.loops().at(0));
  listeners.check("database", [&] {
    return (*tracking)->db().read([](sql::Connection& c) {
      return c.query("SELECT version_num FROM alembic_version", "s", {}, [](const sql::Row&) {});
    });
  });
  listeners.check("objects", [&]() -> Result<> {
    if (auto r = (*objects)->require_bucket(kArtifactBucket); !r) return std::unexpected(r.error());
    return check_disk(s.data);
  });
  listeners.run([&] {
    dash.stop();
    (*pipelines)->stop();
    (*platform)->stop();
  });
  if (mysql) mysql->stop();
  (*tracking)->stop();
  (*objects)->stop();
  listeners.loops().stop();
  return 0;
}

}  // namespace mr::cli
