#include "cli/commands.h"
#include "cli/listener.h"
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
  if (uri.starts_with("sqlite:///")) return uri.substr(10, uri.find('?') == std::string::npos ? std::string::npos : uri.find('?') - 10);
  auto u = text::parse_uri(uri);
  if (u.scheme.empty() || u.scheme == "file")
    return fail(Code::invalid_argument, fmt::format("--backend-store-uri {} names a folder of files; Millrace keeps tracking data in a database: use sqlite:///PATH (MLflow's `mlflow migrate-filestore` carries a folder over)", uri));
  return fail(Code::invalid_argument, fmt::format("--backend-store-uri {}: only sqlite:///PATH is supported by this version", uri));
}

Result<std::string> destination_folder(const Settings& s) {
  auto uri = s.artifacts_destination.empty() ? std::string("./mlartifacts") : s.artifacts_destination;
  auto u = text::parse_uri(uri);
  if (!u.scheme.empty() && u.scheme != "file") return fail(Code::invalid_argument, fmt::format("--artifacts-destination {}: only folders and file: URIs are supported by this version", uri));
  return std::filesystem::absolute(u.scheme == "file" ? u.path : uri).lexically_normal().string();
}

}  // namespace

int run_tracking(const Settings& s) {
  auto database = database_path(s);
  if (!database) return report(database.error());
  auto destination = destination_folder(s);
  if (!destination) return report(destination.error());
  tracking::Options o;
  o.database = *database;
  o.serve_artifacts = s.serve_artifacts;
  o.static_prefix = s.static_prefix;
  o.ui_folder = find_mlflow_ui(s);
  if (!s.static_prefix.empty() && (!s.static_prefix.starts_with('/') || s.static_prefix.ends_with('/')))
    return report(Error{Code::invalid_argument, "--static-prefix must start with / and not end with /", {}, {}});
  if (!s.default_artifact_root.empty()) {
    auto u = text::parse_uri(s.default_artifact_root);
    o.artifact_root = u.scheme.empty() ? std::filesystem::absolute(s.default_artifact_root).lexically_normal().string() : s.default_artifact_root;
  } else if (!s.serve_artifacts) {
    o.artifact_root = std::filesystem::absolute("./mlruns").lexically_normal().string();
  }
  Listeners listeners(s, s.loops != 0 ? s.loops : std::thread::hardware_concurrency());
  std::shared_ptr<tracking::ArtifactStore> store;
  if (s.serve_artifacts) store = tracking::make_folder_store(*destination);
  auto t = tracking::Tracking::open(o, store, {});
  if (!t) return report(t.error());
  http::Router router;
  (*t)->add_routes(router);
  if (auto r = listeners.add("tracking", s.host, s.port != 0 ? s.port : 5000 + s.port_offset, (*t)->handler(std::move(router)), "MLflow API and UI"); !r) return report(r.error());
  listeners.run();
  (*t)->stop();
  listeners.loops().stop();
  return 0;
}

}  // namespace mr::cli
