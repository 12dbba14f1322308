#include "tracking/service.h"

#include "log/log.h"
#include "text/text.h"
#include "text/uri.h"
#include "tracking/routes.h"
#include "tracking/store.h"
#include "tracking/validate.h"

namespace mr::tracking {

namespace {
constexpr std::size_t kBodyLimit = 64U << 20;

std::string html_error(int status, std::string_view title, std::string_view text) {
  return fmt::format("<!doctype html>\n<html lang=en>\n<title>{} {}</title>\n<h1>{}</h1>\n<p>{}</p>\n", status, title,
                     title, text);
}
}  // namespace

Tags read_pairs(const Message& m, std::string_view field, std::string_view key) {
  Tags out;
  for (const auto& e : m.messages(field)) out.push_back({e.str(key), e.str("value")});
  return out;
}

Result<std::int64_t> max_results(const Message& m, std::int64_t fallback, std::int64_t limit) {
  auto v = m.i64("max_results").value_or(fallback);
  if (v < 1)
    return invalid(
        fmt::format("Invalid value {} for parameter 'max_results' supplied. It must be a positive integer", v));
  if (v > limit)
    return invalid(
        fmt::format("Invalid value {} for parameter 'max_results' supplied. It must be at most {}", v, limit));
  return v;
}

Result<> check_schema_limit(const Message& m, std::int64_t limit) {
  auto v = m.i64("max_results").value_or(0);
  if (v <= limit) return {};
  return invalid(
      fmt::format("Invalid value {} for parameter 'max_results' supplied:  Hint: Value was of type '{}'. See the API "
                  "docs for more information about request parameters.",
                  m.from_query ? fmt::format("\"{}\"", v) : std::to_string(v), m.from_query ? "str" : "int"));
}

ViewType view_type(std::string_view s) {
  if (s == "ALL" || s == "3") return ViewType::all;
  if (s == "DELETED_ONLY" || s == "2") return ViewType::deleted_only;
  return ViewType::active_only;
}

Result<std::vector<std::int64_t>> experiment_ids(const Message& m) {
  std::vector<std::int64_t> out;
  for (const auto& s : m.strings("experiment_ids")) {
    MR_TRY(auto id, parse_experiment_id(s));
    out.push_back(id);
  }
  if (out.size() > 10000) return invalid("At most 10000 experiment_ids can be searched in one request");
  return out;
}

void add_endpoint(http::Router& router, http::Method method, std::string_view path, std::span<const Field> fields,
                  EndpointFn fn, std::string_view version, std::string_view family) {
  auto handler = [fields, fn = std::move(fn)](http::Request& rq) -> task::Task<http::Response> {
    std::string body;
    if (rq.method != http::Method::get || rq.query.empty()) {
      auto read = co_await http::read_all(rq, kBodyLimit);
      if (!read) co_return error_response(read.error());
      body = std::move(*read);
    }
    auto m = decode(rq, body, fields);
    if (!m) co_return error_response(m.error());
    auto answer = co_await fn(rq, std::move(*m));
    if (!answer) co_return error_response(answer.error());
    co_return http::Response::json(200, std::move(*answer));
  };
  for (const char* root : {"/api/", "/ajax-api/"})
    router.add(method, fmt::format("{}{}/{}/{}", root, version, family, path), handler);
}

Result<std::unique_ptr<Tracking>> Tracking::open(Options options, std::shared_ptr<ArtifactStore> proxied,
                                                 std::function<ArtifactStore*(const std::string&)> bucket_store) {
  auto t = std::unique_ptr<Tracking>(new Tracking());
  t->options_ = std::move(options);
  t->proxied_ = std::move(proxied);
  t->local_ = make_folder_store("/");
  t->bucket_store_ = std::move(bucket_store);
  const auto& path = t->options_.database;
  // A database of another revision is refused before it is opened for writing, so that not a byte of it changes.
  MR_TRY(auto rev, store::revision(path));
  if (!rev.empty() && rev != store::kHead && rev != store::kPrevious)
    return fail(Code::failed_precondition,
                fmt::format("the database {0} has schema revision {1}; Millrace opens {2} (MLflow 3.18.0) and {3} "
                            "(MLflow 3.17.2). Nothing was changed. Make a backup, then upgrade it with "
                            "MLflow 3.18.0:  mlflow db upgrade sqlite:///{0}",
                            path, rev, store::kHead, store::kPrevious));
  if (auto folder = std::filesystem::path(path).parent_path(); !folder.empty()) {
    std::error_code ec;
    std::filesystem::create_directories(folder, ec);
    if (ec)
      return fail(Code::failed_precondition, fmt::format("cannot open sqlite:///{}: the folder {} cannot be made: {}",
                                                         path, folder.string(), ec.message()));
  }
  MR_TRY(t->db_, sql::Database::open_sqlite(path));
  MR_CHECK(
      t->db_->write_blocking([&](sql::Connection& c) { return store::prepare(c, path, t->options_.artifact_root); }));
  return t;
}

Result<Located> Tracking::locate(const std::string& uri) {
  auto u = text::parse_uri(uri);
  auto trimmed = [](std::string_view p) {
    while (p.starts_with('/')) p.remove_prefix(1);
    while (p.ends_with('/')) p.remove_suffix(1);
    return std::string(p);
  };
  auto safe = [](Located at) -> Result<Located> {
    if (at.path.empty()) return at;
    MR_TRY(at.path, text::safe_artifact_path(at.path));
    return at;
  };
  if (u.scheme == "mlflow-artifacts") {
    if (proxied_ == nullptr) return fail(Code::unavailable, "this server was started without --serve-artifacts");
    return safe({proxied_.get(), trimmed(u.path)});
  }
  if (u.scheme == "s3") {
    auto* store = bucket_store_ ? bucket_store_(u.authority) : nullptr;
    if (store == nullptr) return invalid(fmt::format("the bucket '{}' is not served here", u.authority));
    return safe({store, trimmed(u.path)});
  }
  if (u.scheme.empty() || u.scheme == "file") {
    if (!u.authority.empty() && u.authority != "localhost")
      return invalid("file URIs of other hosts cannot be read here");
    return safe({local_.get(), trimmed(u.path)});
  }
  return invalid(
      fmt::format("artifacts at '{}:' cannot be read here; supported are mlflow-artifacts:, s3: and file:", u.scheme));
}

Result<std::string> Tracking::resolve_model_uri(const std::string& uri) {
  auto u = text::parse_uri(uri);
  std::string path = u.path.starts_with('/') ? u.path.substr(1) : u.path;
  while (path.ends_with('/')) path.pop_back();
  return db_->read([&](sql::Connection& c) -> Result<std::string> {
    if (u.scheme == "runs") {
      auto slash = path.find('/');
      MR_TRY(auto run, store::run_info(c, path.substr(0, slash)));
      auto name = slash == std::string::npos ? std::string() : path.substr(slash + 1);
      // MLflow 3 keeps models outside the run: one that the run made under this name is meant first.
      std::string location;
      MR_CHECK(
          c.query("SELECT artifact_location FROM logged_models WHERE source_run_id = ? AND name = ? AND "
                  "lifecycle_stage = 'active' ORDER BY creation_timestamp_ms DESC LIMIT 1",
                  "s", {run.run_id, name}, [&](const sql::Row& r) { location = r.text(0); }));
      return location.empty() ? join_uri(run.artifact_uri, name) : location;
    }
    if (u.scheme != "models") return uri;
    if (path.starts_with("m-") && path.find('/') == std::string::npos) {
      MR_TRY(auto m, store::get_logged_model(c, path));
      return m.artifact_location;
    }
    auto at = path.rfind('@');
    auto slash = path.rfind('/');
    std::optional<ModelVersion> v;
    if (at != std::string::npos) {
      MR_TRY(v, store::version_by_alias(c, path.substr(0, at), path.substr(at + 1)));
    } else if (slash != std::string::npos) {
      auto name = path.substr(0, slash);
      auto suffix = path.substr(slash + 1);
      if (auto n = text::to_i64(suffix)) {
        MR_TRY(v, store::get_version(c, name, *n));
      } else if (text::lower(suffix) == "latest") {
        MR_TRY(v, store::version_by_alias(c, name, "latest"));
      } else {
        MR_TRY(auto found, store::latest_versions(c, name, {suffix}));
        if (found.empty())
          return missing(fmt::format("No versions of model with name '{}' and stage '{}' found", name, suffix));
        v = found[0];
      }
    } else {
      return invalid(fmt::format(
          "'{}' is not a model URI; write models:/NAME/VERSION, models:/NAME@ALIAS or models:/MODEL_ID", uri));
    }
    MR_TRY(auto location, store::download_uri(c, v->name, v->version));
    auto l = text::parse_uri(location);
    if (l.scheme == "runs") {  // a version registered from runs:/ID/path by an old client
      auto p = l.path.substr(1);
      MR_TRY(auto run, store::run_info(c, p.substr(0, p.find('/'))));
      return join_uri(run.artifact_uri, p.find('/') == std::string::npos ? "" : p.substr(p.find('/') + 1));
    }
    return location;
  });
}

void Tracking::add_routes(http::Router& router) {
  add_experiment_routes(router, *this);
  add_run_routes(router, *this);
  add_metric_routes(router, *this);
  add_model_routes(router, *this);
  add_registry_routes(router, *this);
  add_artifact_routes(router, *this);
  add_graphql_routes(router, *this);
  add_ui_routes(router, *this);
}

namespace {

// DNS rebinding: a browser on a foreign page must not reach a server that trusts its loopback. Names and addresses of
// this machine and of private networks pass, as in the real server.
bool host_allowed(std::string_view host) {
  if (host.empty()) return true;
  if (host.starts_with('[')) return true;  // IPv6 literals name an address, not a rebindable name
  host = host.substr(0, host.find(':'));
  if (text::iequals(host, "localhost")) return true;
  if (host.find_first_not_of("0123456789.") == std::string_view::npos) {
    if (host == "0.0.0.0" || host.starts_with("127.") || host.starts_with("10.") || host.starts_with("192.168."))
      return true;
    auto parts = text::split(host, '.');
    auto second = parts.size() == 4 && parts[0] == "172" ? text::to_i64(parts[1]) : std::nullopt;
    return second && *second >= 16 && *second <= 31;
  }
  return host.ends_with(".svc.cluster.local") || host.ends_with(".svc") || host.find('.') == std::string_view::npos;
}

// A name of --allowed-hosts, with or without its port; "*.example.org" covers what is below it.
bool named_host(const std::vector<std::string>& names, std::string_view host) {
  auto bare = host.substr(0, host.rfind(':'));
  for (const auto& n : names) {
    if (n == "*" || text::iequals(n, host) || text::iequals(n, bare)) return true;
    if (n.starts_with("*.") && bare.size() >= n.size() &&
        text::iequals(bare.substr(bare.size() - n.size() + 1), std::string_view(n).substr(1)))
      return true;
  }
  return false;
}

bool origin_allowed(std::string_view origin) {
  if (origin.empty()) return true;
  auto u = text::parse_uri(origin);
  return host_allowed(u.authority) && !u.authority.empty();
}

}  // namespace

http::Handler Tracking::handler(http::Router router) {
  auto routes = std::make_shared<http::Router>(std::move(router));
  return [this, routes](http::Request& rq) -> task::Task<http::Response> {
    auto origin = rq.headers.get("Origin");
    bool friendly = !origin.empty() && origin_allowed(origin);
    auto secure = [&](http::Response r) {
      if (friendly) {
        r.headers.add("Access-Control-Allow-Origin", std::string(origin));
        r.headers.add("Access-Control-Allow-Credentials", "true");
        r.headers.add("Access-Control-Expose-Headers", "*");
      }
      if (!r.headers.has("X-Content-Type-Options")) r.headers.add("X-Content-Type-Options", "nosniff");
      r.headers.add("X-Frame-Options", "SAMEORIGIN");
      return r;
    };
    auto path = rq.path;
    bool open =
        path == "/health" || path == "/healthz" || path == "/readyz" || path == "/version" || path == "/metrics";
    if (!open && !host_allowed(rq.headers.get("Host")) && !named_host(options_.allowed_hosts, rq.headers.get("Host")))
      co_return secure(http::Response::text(403, "Invalid Host header - possible DNS rebinding attack detected"));
    bool changes =
        rq.method != http::Method::get && rq.method != http::Method::head && rq.method != http::Method::options;
    if (changes && !origin_allowed(rq.headers.get("Origin")))
      co_return secure(http::Response::text(403, "Cross-origin request blocked"));
    if (rq.method == http::Method::options && !origin.empty() && rq.headers.has("Access-Control-Request-Method")) {
      if (!friendly) co_return secure(http::Response::text(400, "Disallowed CORS origin"));
      auto r = http::Response::text(200, "OK");
      r.headers.add("Access-Control-Allow-Methods", "GET, POST, PUT, DELETE, OPTIONS, PATCH");
      r.headers.add("Access-Control-Allow-Headers", std::string(rq.headers.has("Access-Control-Request-Headers")
                                                                    ? rq.headers.get("Access-Control-Request-Headers")
                                                                    : std::string_view("*")));
      r.headers.add("Access-Control-Max-Age", "600");
      co_return secure(std::move(r));
    }
    const auto& prefix = options_.static_prefix;
    if (!prefix.empty() && path == prefix) {
      http::Response r;
      r.status = 308;
      r.headers.add("Location", prefix + "/");
      co_return secure(std::move(r));
    }
    if (!prefix.empty() && path.starts_with(prefix) && (path.size() == prefix.size() || path[prefix.size()] == '/')) {
      path.remove_prefix(prefix.size());
      if (path.empty()) path = "/";
    } else if (!prefix.empty() && !open) {
      co_return secure(http::Response::text(404,
                                            html_error(404, "Not Found",
                                                       "The requested URL was not found on the server. If you entered "
                                                       "the URL manually please check your spelling and try again."),
                                            "text/html; charset=utf-8"));
    }
    auto m = routes->find(rq.method, path);
    if (m.handler != nullptr) {
      rq.params = std::move(m.params);
      co_return secure(co_await (*m.handler)(rq));
    }
    if (m.other_method) {
      if (rq.method == http::Method::options) {
        http::Response r;
        r.status = 204;
        r.headers.add("Allow", m.allow);
        co_return secure(std::move(r));
      }
      auto r = http::Response::text(
          405, html_error(405, "Method Not Allowed", "The method is not allowed for the requested URL."),
          "text/html; charset=utf-8");
      r.headers.add("Allow", m.allow);
      co_return secure(std::move(r));
    }
    co_return secure(http::Response::text(404,
                                          html_error(404, "Not Found",
                                                     "The requested URL was not found on the server. If you entered "
                                                     "the URL manually please check your spelling and try again."),
                                          "text/html; charset=utf-8"));
  };
}

}  // namespace mr::tracking
