#include "http/files.h"
#include "text/text.h"
#include "text/uri.h"
#include "tracking/routes.h"
#include "tracking/service.h"
#include "tracking/store.h"
#include "tracking/validate.h"

namespace mr::tracking {

namespace {
using FT = FieldType;
using http::Method;
using Reply = task::Task<http::Response>;
constexpr Field kList[] = {{"run_id", FT::string, true}, {"path"}, {"page_token"}};
constexpr Field kModelList[] = {{"artifact_directory_path"}, {"page_token"}};
constexpr Field kGet[] = {{"run_id", FT::string, true}, {"path", FT::string, true}};
constexpr Field kVersionGet[] = {{"name", FT::string, true}, {"version", FT::string, true}, {"path", FT::string, true}};
constexpr Field kModelGet[] = {{"artifact_file_path", FT::string, true}};

constexpr Field kPresignDownload[] = {
    {"run_id", FT::string, true}, {"path", FT::string, true}, {"expiration", FT::integer}};
constexpr Field kPresignUpload[] = {{"run_id"}, {"path", FT::string, true}, {"expiration", FT::integer}, {"model_id"}};
constexpr Field kPart[] = {{"part_number", FT::integer}, {"etag"}, {"url"}};
constexpr Field kComplete[] = {{"path", FT::string, true}, {"upload_id"}, {"parts", FT::messages, true, kPart}};
constexpr Field kMultipart[] = {{"path", FT::string, true}, {"num_parts", FT::integer}, {"upload_id"}};

std::string below(const std::string& root, const std::string& path) {
  return root.empty() ? path : path.empty() ? root : root + "/" + path;
}

void write_files(json::Writer& w, const std::vector<ArtifactStore::Entry>& files, const std::string& base) {
  if (files.empty()) return;
  w.key("files");
  w.begin_array();
  for (const auto& f : files) {
    w.begin_object();
    w.field("path", base.empty() ? f.path : f.path.substr(base.size() + 1));
    w.field("is_dir", f.is_dir);
    if (!f.is_dir) w.field("file_size", f.size);
    w.end_object();
  }
  w.end_array();
}

// Ends a body that grows past its limit; a chunked upload declares no length beforehand.
class LimitedBody : public http::BodyReader {
 public:
  LimitedBody(http::BodyReader& inner, std::uint64_t limit) : inner_(inner), left_(limit) {}
  task::Task<Result<std::string_view>> read() override {
    MR_CO_TRY(auto piece, co_await inner_.read());
    if (piece.size() > left_) co_return invalid("Artifact size is too large. Max size is 10MB.");
    left_ -= piece.size();
    co_return piece;
  }
  [[nodiscard]] std::optional<std::uint64_t> length() const override { return inner_.length(); }

 private:
  http::BodyReader& inner_;
  std::uint64_t left_;
};

// MLflow shows what people read as plain text; the ending counts, in lower case.
std::string artifact_type(const std::string& name) {
  static const std::set<std::string, std::less<>> text{
      "txt", "log", "err",  "cfg", "conf", "cnf", "cf",  "ini", "properties", "prop", "hocon", "toml",    "yaml",
      "yml", "xml", "json", "js",  "py",   "py3", "csv", "tsv", "md",         "rst",  "ipynb", "MLmodel", "MLproject"};
  auto dot = name.rfind('.');
  if (text.contains(dot == std::string::npos ? std::string_view(name) : std::string_view(name).substr(dot + 1)))
    return "text/plain";
  auto type = http::content_type_for(name);
  return std::string(type.substr(0, type.find(';')));
}

// `shown`: the path as the client wrote it.
Reply send_file(const http::Request& rq, ArtifactStore& store, std::string path, std::string shown) {
  auto opened = co_await store.open(path);
  if (!opened) {
    if (opened.error().code == Code::failed_precondition)
      co_return http::Response::json(
          400,
          fmt::format("{{\"detail\":\"Artifact path refers to a directory, not a file: {}\"}}", python_repr(shown)));
    co_return error_response(opened.error());
  }
  auto name = path.substr(path.rfind('/') == std::string::npos ? 0 : path.rfind('/') + 1);
  auto res = http::file_response(rq, std::move(opened->fd), opened->size,
                                 {artifact_type(name), opened->etag, opened->modified_s});
  if (auto* file = std::get_if<http::FileBody>(&res.body); file != nullptr && opened->read) {
    res.headers.add("Content-Length", std::to_string(file->length));
    res.body = [read = std::move(opened->read), at = file->offset,
                end = file->offset + file->length]() mutable -> task::Task<Result<std::string>> {
      auto from = at;
      at = std::min<std::uint64_t>(end, at + (8U << 20));
      if (from == at) co_return std::string();
      co_return co_await read(from, at - from);
    };
  }
  res.headers.add("Content-Disposition", http::attachment(name));
  res.headers.add("X-Content-Type-Options", "nosniff");
  co_return res;
}

// A relative path of a request, decoded already; empty is the root.
Result<std::string> directory(const std::string& path) {
  if (path.empty()) return path;
  return text::safe_artifact_path(path);
}

constexpr int kPresignedSeconds = 300;

void write_headers(json::Writer& w, const ArtifactStore::Presigned& p) {
  w.key("headers");
  w.begin_object();
  for (const auto& [name, value] : p.headers) w.field(name, value);
  w.end_object();
}

// A URL of one file at the storage itself, as the artifact routes answer with.
Reply presign(ArtifactStore& store, std::string path) {
  auto p = co_await store.presign_download(std::move(path), kPresignedSeconds);
  if (!p) co_return error_response(p.error());
  co_return http::Response::json(200, object([&](json::Writer& w) {
                                   w.field("url", p->url);
                                   write_headers(w, *p);
                                   if (p->size) w.field("file_size", *p->size);
                                 }));
}

// Whether the query asks for a URL in place of the bytes.
bool wants_presigned(const http::Request& rq) {
  for (auto& [k, v] : text::parse_query(rq.query))
    if (k == "presigned") return v == "true";
  return false;
}

// The answer of the two endpoints that give URLs of files of runs and models.
template <class Fn>
Answer presign_at(Tracking& t, std::string_view what, std::string uri, std::string path, Fn get) {
  MR_CO_TRY(auto safe, text::safe_artifact_path(path));
  auto scheme = text::parse_uri(uri).scheme;
  if (scheme == "http" || scheme == "https" || scheme == "mlflow-artifacts")
    co_return invalid(
        fmt::format("{} storage (artifact URI scheme: {}). This endpoint requires a {} artifact URI.",
                    what == "upload" ? "Presigned upload is not supported for proxied artifact"
                                     : "Presigned download is not supported for runs with proxied artifact",
                    scheme, what == "upload" ? "direct cloud storage" : "run with a direct cloud storage"));
  MR_CO_TRY(auto at, t.locate(uri));
  MR_CO_TRY(auto p, co_await get(*at.store, below(at.path, safe)));
  co_return object([&](json::Writer& w) {
    w.field("presigned_url", p.url);
    if (!p.headers.empty()) write_headers(w, p);
    if (p.size) w.field("file_size", *p.size);
  });
}

// The list answer of a directory below an artifact URI; paths are relative to the URI's root.
Answer list_uri(Tracking& t, std::string uri, std::string path) {
  MR_CO_TRY(auto dir, directory(path));
  MR_CO_TRY(auto at, t.locate(uri));
  MR_CO_TRY(auto files, co_await at.store->list(below(at.path, dir)));
  co_return object([&](json::Writer& w) {
    w.field("root_uri", uri);
    write_files(w, files, at.path);
  });
}

Reply get_uri(Tracking& t, const http::Request& rq, std::string uri, std::string path, bool presigned = false) {
  auto dir = text::safe_artifact_path(path);
  if (!dir) co_return error_response(dir.error());
  auto at = t.locate(uri);
  if (!at) co_return error_response(at.error());
  auto full = below(at->path, *dir);
  if (presigned) co_return co_await presign(*at->store, full);
  co_return co_await send_file(rq, *at->store, full, full);
}

}  // namespace

void add_artifact_routes(http::Router& router, Tracking& t) {
  add_endpoint(router, Method::get, "artifacts/list", kList, [&t](http::Request&, Message m) -> Answer {
    MR_CO_TRY(auto run, t.db().read([&](sql::Connection& c) { return store::run_info(c, m.str("run_id")); }));
    co_return co_await list_uri(t, run.artifact_uri, m.str("path"));
  });
  add_endpoint(router, Method::get, "logged-models/{model_id}/artifacts/directories", kModelList,
               [&t](http::Request& rq, Message m) -> Answer {
                 MR_CO_TRY(auto model,
                           t.db().read([&](sql::Connection& c) { return store::get_logged_model(c, rq.params[0]); }));
                 co_return co_await list_uri(t, model.artifact_location, m.str("artifact_directory_path"));
               });
  add_endpoint(router, Method::post, "artifacts/presigned-download-url", kPresignDownload,
               [&t](http::Request&, Message m) -> Answer {
                 auto seconds = m.i64("expiration").value_or(kPresignedSeconds);
                 if (seconds < 1 || seconds > 604800)
                   co_return invalid(fmt::format("expiration must be between 1 and 604800 seconds (got {}).", seconds));
                 MR_CO_TRY(auto run,
                           t.db().read([&](sql::Connection& c) { return store::run_info(c, m.str("run_id")); }));
                 co_return co_await presign_at(t, "download", run.artifact_uri, m.str("path"),
                                               [&](ArtifactStore& s, std::string path) {
                                                 return s.presign_download(std::move(path), static_cast<int>(seconds));
                                               });
               });
  add_endpoint(router, Method::post, "artifacts/presigned-upload-url", kPresignUpload,
               [&t](http::Request&, Message m) -> Answer {
                 if (m.str("run_id").empty() == m.str("model_id").empty())
                   co_return invalid("Exactly one of run_id and model_id must be provided.");
                 auto seconds = std::clamp<std::int64_t>(m.i64("expiration").value_or(900), 1, 604800);
                 MR_CO_TRY(auto uri, t.db().read([&](sql::Connection& c) -> Result<std::string> {
                   if (m.str("run_id").empty()) {
                     MR_TRY(auto model, store::get_logged_model(c, m.str("model_id")));
                     return model.artifact_location;
                   }
                   MR_TRY(auto run, store::run_info(c, m.str("run_id")));
                   return run.artifact_uri;
                 }));
                 co_return co_await presign_at(t, "upload", uri, m.str("path"),
                                               [&](ArtifactStore& s, std::string path) {
                                                 return s.presign_upload(std::move(path), static_cast<int>(seconds));
                                               });
               });
  auto get_run_artifact = [&t](http::Request& rq) -> Reply {
    auto m = decode(rq, {}, kGet);
    if (!m) co_return error_response(m.error());
    auto run = t.db().read([&](sql::Connection& c) { return store::run_info(c, m->str("run_id")); });
    if (!run) co_return error_response(run.error());
    co_return co_await get_uri(t, rq, run->artifact_uri, m->str("path"));
  };
  auto get_version_artifact = [&t](http::Request& rq) -> Reply {
    auto m = decode(rq, {}, kVersionGet);
    if (!m) co_return error_response(m.error());
    auto version = parse_model_version(m->str("version"));
    if (!version) co_return error_response(version.error());
    auto uri = t.db().read([&](sql::Connection& c) { return store::download_uri(c, m->str("name"), *version); });
    if (!uri) co_return error_response(uri.error());
    auto resolved = t.resolve_model_uri(*uri);
    if (!resolved) co_return error_response(resolved.error());
    co_return co_await get_uri(t, rq, *resolved, m->str("path"), wants_presigned(rq));
  };
  auto get_model_artifact = [&t](http::Request& rq) -> Reply {
    auto m = decode(rq, {}, kModelGet);
    if (!m) co_return error_response(m.error());
    auto model = t.db().read([&](sql::Connection& c) { return store::get_logged_model(c, rq.params[0]); });
    if (!model) co_return error_response(model.error());
    co_return co_await get_uri(t, rq, model->artifact_location, m->str("artifact_file_path"), wants_presigned(rq));
  };
  auto upload = [&t](http::Request& rq) -> Reply {
    auto query = text::parse_query(rq.query);
    std::string run_id;
    std::string path;
    for (auto& [k, v] : query) {
      if (k == "run_uuid" || k == "run_id") run_id = v;
      if (k == "path") path = v;
    }
    if (run_id.empty()) co_return error_response(invalid("Request must specify run_id or run_uuid.").error());
    if (path.empty()) co_return error_response(invalid("Request must specify path.").error());
    if (rq.body->length().value_or(1) == 0) co_return error_response(invalid("Request must specify data.").error());
    if (rq.body->length().value_or(0) > 10U << 20)
      co_return error_response(invalid("Artifact size is too large. Max size is 10MB.").error());
    auto safe = text::safe_artifact_path(path);
    if (!safe) co_return error_response(safe.error());
    auto run = t.db().read([&](sql::Connection& c) { return store::run_info(c, run_id); });
    if (!run) co_return error_response(run.error());
    auto at = t.locate(run->artifact_uri);
    if (!at) co_return error_response(at.error());
    LimitedBody body(*rq.body, 10U << 20);
    auto r = co_await at->store->put(below(at->path, *safe), body);
    co_return r ? http::Response::json(200, "{}") : error_response(r.error());
  };
  for (const char* p : {"/get-artifact", "/ajax-api/2.0/mlflow/get-artifact"})
    router.add(Method::get, p, get_run_artifact);
  for (const char* p : {"/model-versions/get-artifact", "/ajax-api/2.0/mlflow/model-versions/get-artifact"})
    router.add(Method::get, p, get_version_artifact);
  router.add(Method::get, "/ajax-api/2.0/mlflow/logged-models/{model_id}/artifacts/files", get_model_artifact);
  router.add(Method::post, "/ajax-api/2.0/mlflow/upload-artifact", upload);

  if (!t.options().serve_artifacts) {
    auto disabled = [](http::Request& rq) -> Reply {
      co_return http::Response::text(
          503,
          fmt::format("Endpoint: {} disabled due to the mlflow server running with `--no-serve-artifacts`. To enable "
                      "artifacts server functionality, run `mlflow server` with `--serve-artifacts`",
                      rq.path),
          "text/html; charset=utf-8");
    };
    for (std::string p : {"/api/2.0/mlflow-artifacts/", "/ajax-api/2.0/mlflow-artifacts/"}) {
      router.add(Method::get, p + "artifacts", disabled);
      for (auto m : {Method::get, Method::put, Method::del}) router.add(m, p + "artifacts/{path...}", disabled);
    }
    return;
  }
  auto list = [&t](http::Request& rq) -> Reply {
    std::string path;
    for (auto& [k, v] : text::parse_query(rq.query))
      if (k == "path") path = v;
    auto dir = directory(path);
    if (!dir) co_return error_response(dir.error());
    auto files = co_await t.proxied()->list(*dir);
    if (!files) co_return error_response(files.error());
    co_return http::Response::json(200, object([&](json::Writer& w) { write_files(w, *files, *dir); }));
  };
  auto get = [&t](http::Request& rq) -> Reply {
    auto path = text::safe_artifact_path(rq.params[0]);
    if (!path) co_return error_response(path.error());
    co_return co_await send_file(rq, *t.proxied(), *path, rq.params[0]);
  };
  auto get_presigned = [&t](http::Request& rq) -> Reply {
    auto path = text::safe_artifact_path(rq.params[0]);
    if (!path) co_return error_response(path.error());
    if (!t.proxied()->takes_parts())
      co_return error_response(Error{Code::unimplemented,
                                     "Multipart download is not supported for the current artifact repository",
                                     "NOT_IMPLEMENTED",
                                     {}});
    co_return co_await presign(*t.proxied(), *path);
  };
  auto put = [&t](http::Request& rq) -> Reply {
    auto path = text::safe_artifact_path(rq.params[0]);
    if (!path || rq.params[0].ends_with('/'))
      co_return error_response(path ? invalid("Invalid path").error() : path.error());
    auto r = co_await t.proxied()->put(*path, *rq.body);
    co_return r ? http::Response{} : error_response(r.error());
  };
  auto remove = [&t](http::Request& rq) -> Reply {
    auto path = text::safe_artifact_path(rq.params[0]);
    if (!path) co_return error_response(path.error());
    auto r = co_await t.proxied()->remove(*path);
    co_return r ? http::Response::json(200, "{}") : error_response(r.error());
  };
  // The three steps share their request: the folder in the path, the file's name in the body.
  auto parts_step = [&t](std::string step) -> http::Handler {
    return [&t, step](http::Request& rq) -> Reply {
      auto answer = [&]() -> Answer {
        MR_CO_TRY(auto body, co_await http::read_all(rq, 4U << 20));
        MR_CO_TRY(auto m,
                  decode(rq, body,
                         step == "complete" ? std::span<const Field>(kComplete) : std::span<const Field>(kMultipart)));
        auto name = m.str("path");
        name.erase(0, name.find_last_of("/\\") == std::string::npos ? 0 : name.find_last_of("/\\") + 1);
        MR_CO_TRY(auto path, text::safe_artifact_path(rq.params[0] + "/" + name));
        if (name.empty()) co_return invalid("Invalid path");
        if (step == "abort") co_return nothing(co_await t.proxied()->abort_upload(path, m.str("upload_id")));
        if (step == "complete") {
          std::vector<ArtifactStore::UploadedPart> parts;
          for (const auto& p : m.messages("parts"))
            parts.push_back({static_cast<int>(std::clamp<std::int64_t>(p.i64("part_number").value_or(0), 0, 10001)),
                             p.str("etag")});
          co_return nothing(co_await t.proxied()->complete_upload(path, m.str("upload_id"), std::move(parts)));
        }
        auto count = m.i64("num_parts").value_or(0);
        if (count < 0 || count > 10000)
          co_return invalid(fmt::format("num_parts must be between 0 and 10000, got {}", count));
        MR_CO_TRY(auto upload, co_await t.proxied()->create_upload(path, static_cast<int>(count)));
        co_return object([&](json::Writer& w) {
          w.field("upload_id", upload.upload_id);
          if (upload.urls.empty()) return;
          w.key("credentials");
          w.begin_array();
          for (std::size_t i = 0; i < upload.urls.size(); ++i) {
            w.begin_object();
            w.field("url", upload.urls[i]);
            w.field("part_number", i + 1);
            w.end_object();
          }
          w.end_array();
        });
      };
      auto r = co_await answer();
      co_return r ? http::Response::json(200, std::move(*r)) : error_response(r.error());
    };
  };
  for (std::string p : {"/api/2.0/mlflow-artifacts/", "/ajax-api/2.0/mlflow-artifacts/"}) {
    router.add(Method::get, p + "presigned/{path...}", get_presigned);
    router.add(Method::get, p + "artifacts", list);
    router.add(Method::get, p + "artifacts/{path...}", get);
    router.add(Method::put, p + "artifacts/{path...}", put);
    router.add(Method::del, p + "artifacts/{path...}", remove);
    for (const char* step : {"create", "complete", "abort"})
      router.add(Method::post, p + "mpu/" + step + "/{path...}", parts_step(step));
  }
}

}  // namespace mr::tracking
