#include "cli/model_fetch.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "cli/s3_artifacts.h"
#include "cli/settings_serving.h"
#include "core/durable_file.h"
#include "crypto/random.h"
#include "json/parse.h"
#include "json/writer.h"
#include "objects/client.h"
#include "task/wait.h"
#include "text/text.h"
#include "text/uri.h"

namespace mr::cli {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kMaxFiles = 10000;

// Writes a file below the folder; the name comes from a server and is checked.
class Sink {
 public:
  static Result<Sink> open(const std::string& folder, const std::string& relative) {
    MR_TRY(auto safe, text::safe_relative_path(relative));
    fs::path p = fs::path(folder) / safe;
    std::error_code ec;
    fs::create_directories(p.parent_path(), ec);
    Sink s;
    s.out_ = std::make_unique<std::ofstream>(p, std::ios::binary);
    if (!*s.out_) return fail(Code::internal, fmt::format("cannot write {}", p.string()));
    return s;
  }
  bool write(std::string_view piece) {
    return static_cast<bool>(out_->write(piece.data(), static_cast<std::streamsize>(piece.size())));
  }
  Result<> close() {
    out_->close();
    if (!*out_) return fail(Code::resource_exhausted, "a fetched file cannot be written; is the disk full?");
    return {};
  }

 private:
  std::unique_ptr<std::ofstream> out_;
};

class TrackingApi {
 public:
  explicit TrackingApi(std::string base) : base_(std::move(base)) {
    while (base_.ends_with('/')) base_.pop_back();
  }
  Result<boost::json::value> get(const std::string& path_and_query) {
    http::ClientRequest rq;
    rq.url = base_ + path_and_query;
    return answer(rq);
  }
  Result<boost::json::value> post(const std::string& path, const std::string& body) {
    http::ClientRequest rq;
    rq.method = http::Method::post;
    rq.url = base_ + path;
    rq.headers.add("Content-Type", "application/json");
    rq.body = body;
    return answer(rq);
  }
  Result<> download(const std::string& path, Sink& sink) {
    http::ClientRequest rq;
    rq.url = base_ + path;
    rq.sink = [&](std::string_view piece) { return sink.write(piece); };
    MR_TRY(auto res, client_.send(rq));
    if (res.status != 200) return fail(Code::not_found, fmt::format("{} answered {} for {}", base_, res.status, path));
    return {};
  }

 private:
  Result<boost::json::value> answer(const http::ClientRequest& rq) {
    auto res = client_.send(rq);
    if (!res) return fail(res.error().code, fmt::format("tracking server {}: {}", base_, res.error().message));
    auto doc = json::parse(res->body);
    if (res->status != 200) {
      std::string message(doc ? json::string_or_empty(*doc, "message") : std::string_view{});
      return fail(res->status == 404 || res->status == 400 ? Code::not_found : Code::unavailable,
                  fmt::format("tracking server {}: {}", base_,
                              message.empty() ? fmt::format("status {}", res->status) : message));
    }
    if (!doc)
      return fail(Code::data_loss, fmt::format("tracking server {} answered with something that is no JSON", base_));
    return doc;
  }
  std::string base_;
  http::Client client_;
};

std::string member(const boost::json::value& v, std::string_view a, std::string_view b, std::string_view c = {}) {
  const auto* x = json::find(v, a);
  if (x == nullptr) return {};
  if (c.empty()) return std::string(json::string_or_empty(*x, b));
  const auto* y = json::find(*x, b);
  return y == nullptr ? std::string() : std::string(json::string_or_empty(*y, c));
}

constexpr const char* kApi = "/api/2.0/mlflow/";

Result<std::string> resolve_models(TrackingApi& api, const std::string& uri, std::string path) {
  auto q = [](const std::string& s) { return text::percent_encode(s); };
  while (path.ends_with('/')) path.pop_back();
  if (path.starts_with("m-") && path.find('/') == std::string::npos) {
    MR_TRY(auto m, api.get(std::string(kApi) + "logged-models/" + q(path)));
    return member(m, "model", "info", "artifact_uri");
  }
  std::string name;
  std::string version;
  if (auto at = path.rfind('@'); at != std::string::npos) {
    name = path.substr(0, at);
    MR_TRY(auto v,
           api.get(std::string(kApi) + "registered-models/alias?name=" + q(name) + "&alias=" + q(path.substr(at + 1))));
    version = member(v, "model_version", "version");
  } else if (auto slash = path.rfind('/'); slash != std::string::npos) {
    name = path.substr(0, slash);
    version = path.substr(slash + 1);
    if (!text::to_i64(version)) {
      bool latest = text::lower(version) == "latest";
      MR_TRY(auto v, api.get(std::string(kApi) + (latest ? "registered-models/alias?alias=latest&name=" + q(name)
                                                         : "registered-models/get-latest-versions?name=" + q(name) +
                                                               "&stages=" + q(version))));
      if (latest) {
        version = member(v, "model_version", "version");
      } else {
        const auto* list = json::find(v, "model_versions");
        if (list == nullptr || !list->is_array() || list->get_array().empty())
          return fail(Code::not_found, fmt::format("{}: no version is in stage '{}'", uri, version));
        version = json::string_or_empty(list->get_array()[0], "version");
      }
    }
  } else {
    return fail(
        Code::invalid_argument,
        fmt::format("'{}' is not a model URI; write models:/NAME/VERSION, models:/NAME@ALIAS or models:/MODEL_ID",
                    uri));
  }
  MR_TRY(auto d,
         api.get(std::string(kApi) + "model-versions/get-download-uri?name=" + q(name) + "&version=" + q(version)));
  return std::string(json::string_or_empty(d, "artifact_uri"));
}

Result<std::string> resolve_runs(TrackingApi& api, std::string path) {
  while (path.ends_with('/')) path.pop_back();
  auto slash = path.find('/');
  auto run = path.substr(0, slash);
  auto name = slash == std::string::npos ? std::string() : path.substr(slash + 1);
  MR_TRY(auto r, api.get(std::string(kApi) + "runs/get?run_id=" + text::percent_encode(run)));
  auto experiment = member(*json::find(r, "run"), "info", "experiment_id");
  auto root = member(*json::find(r, "run"), "info", "artifact_uri");
  // MLflow 3 keeps models outside the run; one that the run made under this name is meant first.
  std::string body = R"({"experiment_ids":[)";
  json::append_string(body, experiment);
  body += R"(],"filter":)";
  json::append_string(body, fmt::format("source_run_id = '{}' AND name = '{}'", run, name));
  body += "}";
  if (auto found = api.post(std::string(kApi) + "logged-models/search", body)) {
    const auto* models = json::find(*found, "models");
    if (models != nullptr && models->is_array() && !models->get_array().empty())
      return member(models->get_array()[0], "info", "artifact_uri");
  }
  return name.empty() ? root : root + "/" + name;
}

// Everything below a folder of the artifacts proxy.
Result<> download_proxied(TrackingApi& api, const std::string& root, const std::string& below,
                          const std::string& folder, std::size_t& files, int depth) {
  if (depth > 20) return fail(Code::invalid_argument, "the model's folders are nested too deep");
  auto path = below.empty() ? root : root + "/" + below;
  MR_TRY(auto listing, api.get("/api/2.0/mlflow-artifacts/artifacts?path=" + text::percent_encode(path)));
  const auto* list = json::find(listing, "files");
  if (list == nullptr || !list->is_array()) return {};
  for (const auto& f : list->get_array()) {
    std::string name(json::string_or_empty(f, "path"));
    auto relative = below.empty() ? name : fmt::format("{}/{}", below, name);
    const auto* dir = json::find(f, "is_dir");
    if (dir != nullptr && dir->is_bool() && dir->get_bool()) {
      MR_CHECK(download_proxied(api, root, relative, folder, files, depth + 1));
      continue;
    }
    if (++files > kMaxFiles) return fail(Code::too_large, "the model has more files than are fetched");
    MR_TRY(Sink sink, Sink::open(folder, relative));
    MR_CHECK(api.download(
        "/api/2.0/mlflow-artifacts/artifacts/" + text::percent_encode(fmt::format("{}/{}", root, relative), "/"),
        sink));
    MR_CHECK(sink.close());
  }
  return {};
}

Result<> download_s3(const Settings& s, const std::string& bucket, std::string prefix, const std::string& folder) {
  auto access = s3_access(s);
  objects::Client client(access.endpoint, access.credentials);
  while (prefix.ends_with('/')) prefix.pop_back();
  MR_TRY(auto entries, client.list(bucket, prefix + "/"));
  if (entries.size() > kMaxFiles) return fail(Code::too_large, "the model has more files than are fetched");
  for (const auto& entry : entries) {
    const auto& key = entry.key;
    if (key.ends_with('/')) continue;
    MR_TRY(Sink sink, Sink::open(folder, key.substr(prefix.size() + 1)));
    MR_CHECK(client.get(bucket, key, [&](std::string_view piece) { return sink.write(piece); }));
    MR_CHECK(sink.close());
  }
  return {};
}

bool is_empty(const std::string& folder) {
  std::error_code ec;
  return !fs::exists(folder, ec) || fs::is_empty(folder, ec);
}

std::string without_slashes(std::string_view p) {
  while (p.starts_with('/')) p.remove_prefix(1);
  while (p.ends_with('/')) p.remove_suffix(1);
  return std::string(p);
}

}  // namespace

Result<FetchFolder> FetchFolder::make(const std::string& data) {
  MR_CHECK(make_folders(data + "/models"));
  auto path = data + "/models/" + crypto::random_hex(8);
  MR_CHECK(make_folders(path));
  return FetchFolder(path);
}
FetchFolder::~FetchFolder() {
  std::error_code ec;
  if (!path_.empty()) fs::remove_all(path_, ec);
}

namespace {

TrackingApi tracking_api(const Settings& s) {
  return TrackingApi(!s.tracking_uri.empty() ? s.tracking_uri
                                             : environment("MLFLOW_TRACKING_URI", nullptr, "http://127.0.0.1:5000"));
}

Error of_model(const std::string& uri, Error e) {
  e.message = fmt::format("--model {}: {}", uri, e.message);
  return e;
}

// What lies at a location that is no local path, into `target`.
Result<> download_to(const Settings& s, const std::string& location, const std::string& target) {
  auto l = text::parse_uri(location);
  if (l.scheme == "mlflow-artifacts") {
    std::size_t files = 0;
    auto api = tracking_api(s);
    MR_CHECK(download_proxied(api, without_slashes(l.path), "", target, files, 0));
  } else {
    MR_CHECK(download_s3(s, l.authority, without_slashes(l.path), target));
  }
  if (is_empty(target)) return fail(Code::not_found, fmt::format("there is no model at {}", location));
  return {};
}

}  // namespace

Result<std::string> model_location(const Settings& s, const std::string& uri) {
  if (uri.empty())
    return fail(
        Code::invalid_argument,
        "it is empty; give a folder, models:/NAME/VERSION, models:/NAME@ALIAS, runs:/ID/PATH or s3://BUCKET/KEY");
  auto u = text::parse_uri(uri);
  if (u.scheme.empty()) return fs::absolute(uri).lexically_normal().string();
  bool rooted = u.path.starts_with('/') && u.path.size() > 1;
  if ((u.scheme == "models" || u.scheme == "runs" || u.scheme == "mlflow-artifacts") && !rooted)
    return fail(Code::invalid_argument, fmt::format("a {}: URI has the form {}:/…", u.scheme, u.scheme));
  if (u.scheme == "s3" && (u.authority.empty() || !rooted))
    return fail(Code::invalid_argument, "an s3: URI has the form s3://BUCKET/KEY");
  if (u.scheme == "file") return u.path;
  if (u.scheme != "models" && u.scheme != "runs" && u.scheme != "s3" && u.scheme != "mlflow-artifacts")
    return fail(
        Code::invalid_argument,
        fmt::format("'{}' is not a model URI; a folder, models:/, runs:/, mlflow-artifacts:/ and s3:// are", uri));
  auto api = tracking_api(s);
  std::string location = uri;
  for (int hop = 0; hop < 5; ++hop) {  // a version may name a run or another model
    auto l = text::parse_uri(location);
    if (l.scheme == "runs") {
      MR_TRY(location, resolve_runs(api, without_slashes(l.path)));
    } else if (l.scheme == "models") {
      MR_TRY(location, resolve_models(api, location, without_slashes(l.path)));
    } else {
      break;
    }
  }
  auto l = text::parse_uri(location);
  if (l.scheme == "mlflow-artifacts" || l.scheme == "s3") return location;
  if (l.scheme == "file" || l.scheme.empty()) return l.path;
  return fail(Code::invalid_argument, fmt::format("{} lies at {}, which cannot be fetched", uri, location));
}

Result<std::string> fetch_model(const Settings& s, const std::string& uri, std::optional<FetchFolder>& folder) {
  auto r = [&]() -> Result<std::string> {
    MR_TRY(auto location, model_location(s, uri));
    if (text::parse_uri(location).scheme.empty()) return location;
    if (!folder) {
      MR_TRY(auto made, FetchFolder::make(s.data));
      folder.emplace(std::move(made));
    }
    auto target = folder->path() + "/" + crypto::random_hex(8);
    MR_CHECK(download_to(s, location, target));
    return target;
  }();
  if (!r) return std::unexpected(of_model(uri, r.error()));
  return r;
}

Result<std::string> fetch_model_into(const Settings& s, const std::string& uri, const std::string& target) {
  auto location = model_location(s, uri);
  if (!location) return std::unexpected(of_model(uri, location.error()));
  if (text::parse_uri(*location).scheme.empty()) return location;
  if (auto done = download_to(s, *location, target); !done) return std::unexpected(of_model(uri, done.error()));
  return target;
}

std::string bucket_state(objects::Client& client, const std::string& where, const std::string& bucket,
                         const std::string& prefix) {
  auto entries = client.list(bucket, prefix);
  if (!entries) return {};
  std::string keys;
  for (const auto& e : *entries) {
    if (e.key.ends_with('/')) continue;
    // Not what only begins alike.
    if (!prefix.empty() && e.key != prefix && !(e.key.starts_with(prefix) && e.key[prefix.size()] == '/')) continue;
    if (e.etag.empty()) return {};
    keys += fmt::format("{} {} {}\n", e.key, e.size, e.etag);
  }
  return keys.empty() ? keys : fmt::format("s3 {} {}/{}\n{}", where, bucket, prefix, keys);
}

Result<std::shared_ptr<serving::CachedModel>> fetch_cached_model(const Settings& s, const std::string& uri,
                                                                 std::shared_ptr<serving::ModelCache>& cache) {
  static const std::atomic<bool> never = false;
  auto location = model_location(s, uri);
  if (!location) return std::unexpected(of_model(uri, location.error()));
  auto l = text::parse_uri(*location);
  if (l.scheme.empty()) return std::make_shared<serving::CachedModel>(*location);
  if (!cache) {
    MR_TRY(cache, model_cache(s));
  }
  serving::ModelCache::Source source;
  if (l.scheme == "s3")
    source.state = [&] {
      auto access = s3_access(s);
      objects::Client client(access.endpoint, access.credentials);
      return bucket_state(client, access.endpoint, l.authority, without_slashes(l.path));
    };
  source.fetch = [&](const std::string& folder) -> Result<std::string> {
    MR_CHECK(download_to(s, *location, folder));
    return folder;
  };
  auto model = cache->get(source, never);
  if (!model) return std::unexpected(of_model(uri, model.error()));
  return model;
}

Result<std::string> fetch_model_inside(tracking::Tracking& t, task::Loop& loop, const std::string& uri,
                                       const FetchFolder& folder) {
  auto u = text::parse_uri(uri);
  if (u.scheme.empty()) return fs::absolute(uri).lexically_normal().string();
  if (u.scheme == "file") return u.path;
  MR_TRY(auto location, t.resolve_model_uri(uri));
  MR_TRY(auto at, t.locate(location));
  auto target = folder.path() + "/" + crypto::random_hex(8);
  std::vector<std::string> pending{at.path};
  std::size_t files = 0;
  while (!pending.empty()) {
    auto dir = pending.back();
    pending.pop_back();
    MR_TRY(auto entries, (task::wait_on<Result<std::vector<tracking::ArtifactStore::Entry>>>(
                             loop, [&] { return at.store->list(dir); })));
    for (const auto& e : entries) {
      if (e.is_dir) {
        pending.push_back(e.path);
        continue;
      }
      if (++files > kMaxFiles) return fail(Code::too_large, "the model has more files than are fetched");
      MR_TRY(auto opened,
             (task::wait_on<Result<tracking::ArtifactStore::Opened>>(loop, [&] { return at.store->open(e.path); })));
      MR_TRY(auto relative, text::safe_relative_path(std::string_view(e.path).substr(at.path.size() + 1)));
      fs::path place = fs::path(target) / relative;
      std::error_code ec;
      fs::create_directories(place.parent_path(), ec);
      // A hard link: the bytes are stored once.
      if (::linkat(AT_FDCWD, fmt::format("/proc/self/fd/{}", opened.fd.get()).c_str(), AT_FDCWD, place.c_str(),
                   AT_SYMLINK_FOLLOW) != 0) {
        fs::copy_file(fmt::format("/proc/self/fd/{}", opened.fd.get()), place, ec);
        if (ec) return fail(Code::internal, fmt::format("cannot copy {}: {}", e.path, ec.message()));
      }
    }
  }
  if (is_empty(target)) return fail(Code::not_found, fmt::format("there is no model at {} ({})", uri, location));
  return target;
}

Result<std::vector<ModelSpec>> paired_models(const Settings& s) {
  if (s.model_uris.size() != s.model_names.size())
    return fail(Code::invalid_argument,
                fmt::format("every --model needs its --name: {} --model and {} --name were given", s.model_uris.size(),
                            s.model_names.size()));
  std::vector<ModelSpec> out;
  out.reserve(s.model_uris.size());
  for (std::size_t i = 0; i < s.model_uris.size(); ++i) out.push_back({s.model_uris[i], s.model_names[i]});
  return out;
}

}  // namespace mr::cli
