#include "tracking/model_source.h"

#include "text/text.h"
#include "text/uri.h"
#include "tracking/errors.h"
#include "tracking/validate.h"

namespace mr::tracking {

namespace {

std::unexpected<Error> not_contained(const std::string& source, std::string_view by) {
  return invalid(
      fmt::format("Invalid model version source: '{}'. The {} request parameter must identify the resource that "
                  "contains the source.",
                  source, by));
}

// Decoded until it stops changing, so that no layer of encoding hides a "..".
std::string fully_decoded(std::string s) {
  for (int i = 0; i < 10; ++i) {
    std::string plus = s;
    for (char& ch : plus)
      if (ch == '+') ch = ' ';
    auto d = text::percent_decode(plus);
    if (!d || *d == s) return d ? *d : plus;
    s = *d;
  }
  return s;
}

Result<> check_path(const std::string& source) {
  auto refuse = [&] {
    return invalid(
        fmt::format("Invalid model version source: '{}'. If supplying a source as an http, https, local file path, "
                    "ftp, objectstore, or mlflow-artifacts uri, an absolute path must be provided "
                    "without relative path references present. Please provide an absolute path.",
                    source));
  };
  auto decoded = fully_decoded(source);
  for (char ch : decoded)
    if (static_cast<unsigned char>(ch) < 0x20) return refuse();
  for (auto seg : text::split(decoded, '/'))
    if (seg == "..") return refuse();
  auto path = text::parse_uri(decoded).path;
  if (!path.starts_with('/') || path == "/") return refuse();
  for (auto seg : text::split(path, '/'))
    if (seg == ".") return refuse();
  return {};
}

std::vector<std::string> segments(std::string_view path) {
  std::vector<std::string> out;
  for (auto s : text::split(path, '/'))
    if (!s.empty()) out.emplace_back(s);
  return out;
}

bool inside(const std::string& path, const std::string& root) {
  auto p = segments(fully_decoded(path));
  auto r = segments(fully_decoded(root));
  return p.size() >= r.size() && std::equal(r.begin(), r.end(), p.begin());
}

bool is_local(const text::Uri& u) { return u.scheme.empty() || u.scheme == "file"; }

// models:/name/N, /latest, /Stage or name@alias: resolved to a version that exists.
Result<ModelVersion> referenced(sql::Connection& c, const std::string& path, const std::string& source) {
  auto at = path.rfind('@');
  auto slash = path.rfind('/');
  if (at != std::string::npos && (slash == std::string::npos || at > slash))
    return store::version_by_alias(c, path.substr(0, at), path.substr(at + 1));
  if (slash == std::string::npos || slash + 1 == path.size()) return not_contained(source, "model_id");
  auto name = path.substr(0, slash);
  auto suffix = path.substr(slash + 1);
  MR_CHECK(store::require_registered_model(c, name));
  if (auto n = text::to_i64(suffix)) return store::get_version(c, name, *n);
  if (text::lower(suffix) == "latest") return store::version_by_alias(c, name, "latest");
  MR_TRY(auto found, store::latest_versions(c, name, {suffix}));
  if (found.empty())
    return fail(Code::internal, fmt::format("No versions of model with name '{}' and stage '{}' found", name, suffix),
                "INTERNAL_ERROR");
  return std::move(found[0]);
}

}  // namespace

Result<> check_source(sql::Connection& c, store::NewVersion& v, SourceRequest given) {
  const std::string source = v.source;
  bool prompt = false;
  for (const auto& t : v.tags)
    if (t.key == "mlflow.prompt.is_prompt") prompt = text::lower(t.value) == "true";
  if (prompt) {
    if (source != "dummy-source" && source != "prompt-template")
      return invalid(
          fmt::format("Invalid prompt source: '{}'. Prompt sources must use an MLflow placeholder.", source));
    return {};
  }
  auto uri = text::parse_uri(source);
  static const std::set<std::string> remote{"ftp", "sftp", "hdfs", "viewfs", "http", "https", "r2", "b2", "abfss"};
  if (remote.contains(uri.scheme) || (uri.scheme == "mlflow-artifacts" && !uri.authority.empty()))
    return invalid(
        fmt::format("'source' cannot use the '{0}' scheme: the '{0}' scheme addresses a host other than the tracking "
                    "server's configured artifact storage, so the server would connect to the host "
                    "named in the URI. Set the MLFLOW_ALLOWED_HOST_ADDRESSED_ARTIFACT_SCHEMES environment variable on "
                    "the server to allow it.",
                    uri.scheme));
  std::string models_path = uri.scheme == "models" && uri.path.starts_with('/') ? uri.path.substr(1) : "";
  bool logged_model = models_path.starts_with("m-") && models_path.find('/') == std::string::npos;
  if (uri.scheme == "models") {
    if (!uri.authority.empty())
      return invalid(fmt::format(
          "Invalid model version source: '{}'. Registered model sources must use the active model registry.", source));
    if (models_path.empty()) return not_contained(source, "model_id");
    if (!logged_model) {
      MR_TRY(auto target, referenced(c, models_path, source));
      if ((given.run_id_given && v.run_id != target.run_id.value_or("")) || !v.model_id.empty())
        return invalid(
            fmt::format("Invalid model version source: '{}'. The run_id and model_id request parameters must match the "
                        "referenced model version.",
                        source));
      v.source = fmt::format("models:/{}/{}", target.name, target.version);
      if (!given.run_id_given) v.run_id = target.run_id.value_or("");
      return {};
    }
  }
  const bool by_model = !v.model_id.empty();
  const std::string_view owner = by_model ? "model_id" : "run_id";
  // The artifact root of the run or logged model that must contain the source; empty when it is unknown.
  std::string root;
  if (by_model) {
    if (auto m = store::get_logged_model(c, v.model_id)) root = m->artifact_location;
  } else if (!v.run_id.empty()) {
    if (auto r = store::run_info(c, v.run_id)) root = r->artifact_uri;
  }
  if (is_local(uri)) {
    std::string path = source;
    if (!v.run_id.empty() && root.empty() && !by_model) return not_contained(source, owner);
    if (uri.scheme == "file" && !root.empty()) path = uri.path;
    auto root_uri = text::parse_uri(root);
    if (!root.empty() && is_local(root_uri)) {
      std::error_code ec;
      auto real_path = std::filesystem::weakly_canonical(fully_decoded(uri.path), ec).string();
      auto real_root = std::filesystem::weakly_canonical(root_uri.path, ec).string();
      if (!ec && uri.path.starts_with('/') && inside(real_path, real_root)) return {};
    }
    return invalid(
        fmt::format("Invalid model version source: '{}'. To use a local path as a model version source, the {} request "
                    "parameter has to be specified and the local path has to be contained within "
                    "the artifact directory of the run specified by the {}.",
                    path, owner, owner));
  }
  if (uri.scheme == "models") {
    if (!by_model || models_path != v.model_id) return not_contained(source, "model_id");
    return {};
  }
  MR_CHECK(check_path(source));
  if (uri.scheme == "runs") {
    auto parts = segments(uri.path);
    if (by_model) return not_contained(source, "model_id");
    if (!uri.authority.empty() || parts.empty() || parts[0] != v.run_id) return not_contained(source, "run_id");
    return {};
  }
  if (uri.scheme == "mlflow-artifacts") {
    auto root_uri = text::parse_uri(root);
    if (root.empty() || root_uri.scheme != uri.scheme || !inside(uri.path, root_uri.path))
      return not_contained(source, owner);
  }
  return {};
}

}  // namespace mr::tracking
