#include "cli/commands.h"
#include "cli/listener.h"
#include "cli/s3_artifacts.h"
#include "core/durable_file.h"
#include "log/log.h"
#include "text/text.h"
#include "text/uri.h"
#include "tracking/service.h"

namespace mr::cli {

namespace {

// sqlite:///rel, sqlite:////abs, or a bare path.
Result<std::string> database_path(const Settings& s) {
  const auto& uri = s.backend_store_uri;
  if (uri.empty()) return s.data + "/millrace.db";
  if (uri.starts_with("sqlite:///"))
    return uri.substr(10, uri.find('?') == std::string::npos ? std::string::npos : uri.find('?') - 10);
  auto u = text::parse_uri(uri);
  if (u.scheme.empty() || u.scheme == "file")
    return fail(Code::invalid_argument,
                fmt::format("--backend-store-uri {} names a folder of files; Millrace keeps tracking data in a "
                            "database: use sqlite:///PATH (MLflow's `mlflow migrate-filestore` carries a folder over)",
                            uri));
  return fail(Code::invalid_argument,
              fmt::format("--backend-store-uri {}: only sqlite:///PATH is supported by this version", uri));
}

Result<std::unique_ptr<tracking::ArtifactStore>> destination(const Settings& s) {
  auto uri = s.artifacts_destination.empty() ? std::string("./mlartifacts") : s.artifacts_destination;
  auto u = text::parse_uri(uri);
  if (u.scheme == "s3") {
    if (u.authority.empty())
      return fail(Code::invalid_argument,
                  fmt::format("--artifacts-destination {}: the form is s3://BUCKET/PREFIX", uri));
    return make_s3_artifacts(s3_access(s), u.authority, u.path);
  }
  if (!u.scheme.empty() && u.scheme != "file")
    return fail(Code::invalid_argument,
                fmt::format("--artifacts-destination {}: folders, file: and s3: URIs are supported", uri));
  return tracking::make_folder_store(
      std::filesystem::absolute(u.scheme == "file" ? u.path : uri).lexically_normal().string());
}

}  // namespace

int run_tracking(const Settings& s) {
  auto database = database_path(s);
  if (!database) return report(database.error());
  tracking::Options o;
  o.database = *database;
  o.serve_artifacts = s.serve_artifacts;
  o.static_prefix = s.static_prefix;
  o.ui_folder = find_mlflow_ui(s);
  o.allowed_hosts = s.allowed_hosts;
  if (!s.static_prefix.empty() && (!s.static_prefix.starts_with('/') || s.static_prefix.ends_with('/')))
    return report(Error{Code::invalid_argument, "--static-prefix must start with / and not end with /", {}, {}});
  if (!s.default_artifact_root.empty()) {
    auto u = text::parse_uri(s.default_artifact_root);
    o.artifact_root = u.scheme.empty() ? std::filesystem::absolute(s.default_artifact_root).lexically_normal().string()
                                       : s.default_artifact_root;
  } else if (!s.serve_artifacts) {
    o.artifact_root = std::filesystem::absolute("./mlruns").lexically_normal().string();
  }
  Listeners listeners(s, s.loops != 0 ? s.loops : std::thread::hardware_concurrency());
  std::shared_ptr<tracking::ArtifactStore> store;
  if (s.serve_artifacts) {
    auto made = destination(s);
    if (!made) return report(made.error());
    store = std::move(*made);
  }
  // Runs whose artifacts lie at s3:// are listed and shown by way of the S3 server that the clients use.
  std::mutex mutex;
  std::map<std::string, std::unique_ptr<tracking::ArtifactStore>> by_bucket;
  auto bucket_store = [&](const std::string& bucket) -> tracking::ArtifactStore* {
    std::lock_guard guard(mutex);
    auto& slot = by_bucket[bucket];
    if (!slot) slot = make_s3_artifacts(s3_access(s), bucket, "");
    return slot.get();
  };
  auto t = tracking::Tracking::open(o, store, bucket_store);
  if (!t) return report(t.error());
  http::Router router;
  (*t)->add_routes(router);
  if (auto r = listeners.add("tracking", s.host, s.port != 0 ? s.port : 5000 + s.port_offset,
                             (*t)->handler(std::move(router)), "MLflow API and UI");
      !r)
    return report(r.error());
  listeners.check("database", [&] {
    return (*t)->db().read([](sql::Connection& c) {
      return c.query("SELECT version_num FROM alembic_version", "s", {}, [](const sql::Row&) {});
    });
  });
  listeners.check("disk", [folder = std::filesystem::path(*database).parent_path().string()] {
    return check_disk(folder.empty() ? "." : folder);
  });
  listeners.run();
  (*t)->stop();
  listeners.loops().stop();
  return 0;
}

}  // namespace mr::cli
