#include <fcntl.h>
#include <sys/stat.h>

#include "http/files.h"
#include "text/uri.h"
#include "tracking/routes.h"
#include "tracking/service.h"
#include "tracking/store.h"

namespace mr::tracking {

namespace {
using http::Method;
using Reply = task::Task<http::Response>;

constexpr std::string_view kVersion = "3.18.0";

constexpr std::string_view kNoUi = R"(<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Millrace tracking</title>
<h1>Millrace tracking</h1>
<p>The MLflow API is served here. MLflow's own web UI is shown at this address when the <code>mlflow</code> Python package is
installed where Millrace can find it, or when Millrace is started with <code>--mlflow-ui PATH</code> (the folder
<code>mlflow/server/js/build</code> of that package).</p></html>
)";

// One file of the UI folder. Names with a hash in them never change; index.html must be asked for again each time.
Reply ui_file(const http::Request& rq, const std::string& folder, const std::string& path) {
  auto safe = text::safe_relative_path(path);
  if (!safe) co_return http::Response::text(404, "not found\n");
  Fd fd(::open((folder + "/" + *safe).c_str(), O_RDONLY | O_CLOEXEC));
  struct stat st{};
  if (!fd || ::fstat(fd.get(), &st) != 0 || !S_ISREG(st.st_mode)) co_return http::Response::text(404, "not found\n");
  auto res = http::file_response(rq, std::move(fd), static_cast<std::uint64_t>(st.st_size),
                                 {std::string(http::content_type_for(*safe)), fmt::format("\"{:x}-{:x}\"", st.st_size, st.st_mtim.tv_sec), st.st_mtim.tv_sec});
  res.headers.add("Cache-Control", path == "index.html" ? "no-cache" : "public, max-age=2419200");
  co_return res;
}

std::string server_info(Tracking& t) {
  return object([&](json::Writer& w) {
    w.field("store_type", "SqlStore");
    w.field("workspaces_enabled", false);
    w.field("trace_archival_enabled", false);
    w.field("multipart_uploads_enabled", t.options().serve_artifacts && t.proxied() != nullptr && t.proxied()->takes_parts());
    w.field("multipart_downloads_enabled", false);
    w.field("artifact_serving_enabled", t.options().serve_artifacts);
    w.field("presigned_upload_run_id_supported", false);
    w.field("presigned_upload_model_id_supported", false);
    w.field("model_artifact_presigned_downloads_supported", false);
    w.key("features_enabled");
    w.begin_object();
    w.field("gateway", false);
    w.field("scheduled_issue_detection", false);
    w.end_object();
    w.field("tracking_auth", "");
    w.field("artifacts_presigned_only", false);
  });
}

}  // namespace

void add_ui_routes(http::Router& router, Tracking& t) {
  router.add(Method::get, "/health", [](http::Request&) -> Reply { co_return http::Response::text(200, "OK"); });
  router.add(Method::get, "/version", [](http::Request&) -> Reply { co_return http::Response::text(200, std::string(kVersion)); });
  for (const char* p : {"/api/3.0/mlflow/server-info", "/ajax-api/3.0/mlflow/server-info"})
    router.add(Method::get, p, [&t](http::Request&) -> Reply { co_return http::Response::json(200, server_info(t)); });
  // What the web UI asks on every page, answered as a server with these parts switched off does.
  router.add(Method::get, "/ajax-api/3.0/mlflow/ui-telemetry", [](http::Request&) -> Reply { co_return http::Response::json(200, R"({"disable_ui_events":[],"disable_ui_telemetry":true,"ui_rollout_percentage":0})"); });
  router.add(Method::post, "/ajax-api/3.0/mlflow/ui-telemetry", [](http::Request&) -> Reply { co_return http::Response::json(200, R"({"status":"disabled"})"); });
  router.add(Method::get, "/ajax-api/2.0/mlflow/gateway-proxy", [](http::Request&) -> Reply { co_return http::Response::json(200, "{\"endpoints\":[]}\n"); });
  router.add(Method::get, "/", [&t](http::Request& rq) -> Reply {
    if (t.options().ui_folder.empty()) co_return http::Response::text(200, std::string(kNoUi), "text/html; charset=utf-8");
    co_return co_await ui_file(rq, t.options().ui_folder, "index.html");
  });
  router.add(Method::get, "/static-files/{path...}", [&t](http::Request& rq) -> Reply {
    if (t.options().ui_folder.empty()) co_return http::Response::text(404, "not found\n");
    co_return co_await ui_file(rq, t.options().ui_folder, rq.params[0]);
  });
}

}  // namespace mr::tracking
