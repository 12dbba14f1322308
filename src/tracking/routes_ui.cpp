#include <fcntl.h>
#include <sys/stat.h>

#include "http/compress.h"
#include "http/files.h"
#include "json/parse.h"
#include "task/pool.h"
#include "text/uri.h"
#include "tracking/routes.h"
#include "tracking/service.h"
#include "tracking/store.h"

namespace mr::tracking {

namespace {
using http::Method;
using Reply = task::Task<http::Response>;

constexpr std::string_view kServerVersion = "3.18.0";

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
                                 {std::string(http::content_type_for(*safe)),
                                  fmt::format("\"{:x}-{:x}\"", st.st_size, st.st_mtim.tv_sec), st.st_mtim.tv_sec});
  // The scripts are megabytes: packed once, kept by name and age, sent to whoever takes gzip.
  if (res.status == 200 && rq.headers.get("Range").empty() && st.st_size >= 1024 && st.st_size < (16 << 20) &&
      http::packs_well(*safe)) {
    res.headers.add("Vary", "Accept-Encoding");
    if (http::accepts_gzip(rq.headers.get("Accept-Encoding"))) {
      static std::mutex mutex;
      static std::map<std::pair<std::string, std::int64_t>, std::shared_ptr<const std::string>> packed;
      auto name = std::pair(folder + "/" + *safe, static_cast<std::int64_t>(st.st_mtim.tv_sec));
      std::shared_ptr<const std::string> bytes;
      {
        std::lock_guard guard(mutex);
        if (auto it = packed.find(name); it != packed.end()) bytes = it->second;
      }
      if (!bytes) {
        auto made = co_await task::run_on(task::disk_pool(), [&]() -> std::shared_ptr<const std::string> {
          std::string plain(static_cast<std::size_t>(st.st_size), '\0');
          auto& file = std::get<http::FileBody>(res.body);
          for (std::size_t at = 0; at < plain.size();) {
            ssize_t n = ::pread(file.fd.get(), plain.data() + at, plain.size() - at, static_cast<off_t>(at));
            if (n <= 0) return nullptr;
            at += static_cast<std::size_t>(n);
          }
          return std::make_shared<const std::string>(http::gzip(plain, 6));
        });
        bytes = made ? *made : nullptr;
        std::lock_guard guard(mutex);
        if (bytes && packed.size() < 600) packed[name] = bytes;
      }
      if (bytes) {
        res.headers.add("Content-Encoding", "gzip");
        res.body = *bytes;
      }
    }
  }
  res.headers.add("Cache-Control", path == "index.html" ? "no-cache" : "public, max-age=2419200");
  co_return res;
}

std::string server_info(Tracking& t) {
  return object([&](json::Writer& w) {
    w.field("store_type", "SqlStore");
    w.field("workspaces_enabled", false);
    w.field("trace_archival_enabled", false);
    bool parts = t.options().serve_artifacts && t.proxied() != nullptr && t.proxied()->takes_parts();
    w.field("multipart_uploads_enabled", parts);
    w.field("multipart_downloads_enabled", parts);
    w.field("artifact_serving_enabled", t.options().serve_artifacts);
    // Said of the requests; whether a storage can is answered for each.
    w.field("presigned_upload_run_id_supported", true);
    w.field("presigned_upload_model_id_supported", true);
    w.field("model_artifact_presigned_downloads_supported", true);
    w.key("features_enabled");
    w.begin_object();
    w.field("gateway", false);
    w.field("scheduled_issue_detection", false);
    w.end_object();
    w.field("tracking_auth", "");
    w.field("artifacts_presigned_only", false);
  });
}

// Reads of things that this version cannot store. Where the database has none the answer is the real server's for none;
// where another server stored some, saying so beats hiding them.
void add_unless_stored(http::Router& router, Tracking& t, Method method, const std::string& path, const char* table,
                       std::function<std::string(const std::string& body)> none) {
  auto handler = [&t, table, none = std::move(none)](http::Request& rq) -> Reply {
    auto body = co_await http::read_all(rq, 1 << 20);
    if (!body) co_return error_response(body.error());
    bool stored = false;
    auto read = t.db().read([&](sql::Connection& c) -> Result<> {
      return c.query(fmt::format("SELECT 1 FROM {} LIMIT 1", table), "i", {}, [&](const sql::Row&) { stored = true; });
    });
    if (!read) co_return error_response(read.error());
    if (stored)
      co_return error_response(
          fail(
              Code::unimplemented,
              fmt::format("This database has {} that another server stored; this version of Millrace cannot show them.",
                          table),
              "NOT_IMPLEMENTED")
              .error());
    co_return http::Response::json(200, none(*body));
  };
  for (const char* root : {"/api/", "/ajax-api/"}) router.add(method, root + path, handler);
}

}  // namespace

void add_ui_routes(http::Router& router, Tracking& t) {
  router.add(Method::get, "/health", [](http::Request&) -> Reply { co_return http::Response::text(200, "OK"); });
  router.add(Method::get, "/version",
             [](http::Request&) -> Reply { co_return http::Response::text(200, std::string(kServerVersion)); });
  for (const char* p : {"/api/3.0/mlflow/server-info", "/ajax-api/3.0/mlflow/server-info"})
    router.add(Method::get, p, [&t](http::Request&) -> Reply { co_return http::Response::json(200, server_info(t)); });
  // What the web UI asks on every page, answered as a server with these parts switched off does.
  router.add(Method::get, "/ajax-api/3.0/mlflow/ui-telemetry", [](http::Request&) -> Reply {
    co_return http::Response::json(200,
                                   R"({"disable_ui_events":[],"disable_ui_telemetry":true,"ui_rollout_percentage":0})");
  });
  router.add(Method::post, "/ajax-api/3.0/mlflow/ui-telemetry",
             [](http::Request&) -> Reply { co_return http::Response::json(200, R"({"status":"disabled"})"); });
  auto empty = [](const std::string&) { return std::string("{}"); };
  add_unless_stored(router, t, Method::post, "3.0/mlflow/traces/search", "trace_info", empty);
  add_unless_stored(router, t, Method::get, "2.0/mlflow/traces", "trace_info", empty);
  add_unless_stored(router, t, Method::post, "3.0/mlflow/datasets/search", "evaluation_datasets", empty);
  add_unless_stored(router, t, Method::get, "3.0/mlflow/scorers/list", "scorers", empty);
  add_unless_stored(router, t, Method::post, "3.0/mlflow/issues/search", "issues",
                    [](const std::string&) { return std::string(R"({"next_page_token":""})"); });
  add_unless_stored(router, t, Method::post, "3.0/mlflow/traces/metrics", "trace_info",
                    [](const std::string& body) -> std::string {
                      auto doc = json::parse(body);
                      const auto* dimensions = doc ? json::find(*doc, "dimensions") : nullptr;
                      if (dimensions != nullptr && dimensions->is_array() && !dimensions->get_array().empty())
                        return "{}";
                      std::string name(doc ? json::string_or_empty(*doc, "metric_name") : std::string_view{});
                      if (name != "trace_count") return "{}";
                      return R"({"data_points":[{"metric_name":"trace_count","values":{"COUNT":0.0}}]})";
                    });
  router.add(Method::get, "/ajax-api/2.0/mlflow/gateway-proxy",
             [](http::Request&) -> Reply { co_return http::Response::json(200, "{\"endpoints\":[]}\n"); });
  router.add(Method::get, "/", [&t](http::Request& rq) -> Reply {
    if (t.options().ui_folder.empty())
      co_return http::Response::text(200, std::string(kNoUi), "text/html; charset=utf-8");
    co_return co_await ui_file(rq, t.options().ui_folder, "index.html");
  });
  router.add(Method::get, "/static-files/{path...}", [&t](http::Request& rq) -> Reply {
    if (t.options().ui_folder.empty()) co_return http::Response::text(404, "not found\n");
    co_return co_await ui_file(rq, t.options().ui_folder, rq.params[0]);
  });
}

}  // namespace mr::tracking
