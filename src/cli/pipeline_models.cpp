#include "cli/pipeline_models.h"

#include "text/text.h"
#include "text/uri.h"

namespace mr::cli {

namespace {

using boost::json::object;
using boost::json::value;

std::string text_in(const value& v, std::initializer_list<std::string_view> path) {
  const auto* at = &v;
  for (auto key : path) {
    at = json::find(*at, key);
    if (at == nullptr) return {};
  }
  return at->is_string() ? std::string(at->get_string()) : std::string();
}

bool hexadecimal(std::string_view s, std::size_t size) {
  return s.size() == size && s.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

std::string below(std::string root, std::string_view path) {
  while (root.ends_with('/')) root.pop_back();
  while (path.starts_with('/')) path.remove_prefix(1);
  return path.empty() ? root : fmt::format("{}/{}", root, path);
}

void add_uri(TrackedName& name, std::string uri) {
  if (!uri.empty() && std::ranges::find(name.uris, uri) == name.uris.end()) name.uris.push_back(std::move(uri));
}

}  // namespace

bool TrackingServer::names(std::string_view uri) { return uri.starts_with("models:/") || uri.starts_with("runs:/"); }

Result<value> TrackingServer::send(http::Method method, const std::string& path, std::string_view body) {
  Error last{Code::unavailable, "no tracking server is known", {}, {}};
  for (std::size_t i = 0; i < urls_.size(); ++i) {
    http::ClientRequest q;
    q.method = method;
    q.url = urls_[i] + "/api/2.0/mlflow" + path;
    q.timeout_s = 10;
    if (!body.empty()) q.headers.add("Content-Type", "application/json");
    q.body = body;
    auto answer = client_.send(q);
    if (!answer) {
      last = answer.error();
      continue;
    }
    auto v = json::parse(answer->body);
    if (!v || !v->is_object()) {
      last = Error{Code::unavailable, fmt::format("{} is no tracking server", urls_[i]), {}, {}};
      continue;
    }
    if (urls_.size() > 1) urls_ = {std::string(urls_[i])};
    if (answer->status == 200) return v;
    auto message = text_in(*v, {"message"});
    return fail(answer->status == 404 ? Code::not_found : Code::invalid_argument,
                message.empty() ? fmt::format("the tracking server answered {}", answer->status) : message);
  }
  return std::unexpected(std::move(last));
}

Result<value> TrackingServer::get(const std::string& path) { return send(http::Method::get, path, {}); }
Result<value> TrackingServer::post(const std::string& path, const object& body) {
  return send(http::Method::post, path, json::serialize(body));
}

Result<TrackedName> TrackingServer::resolve(const std::string& uri) {
  TrackedName out;
  const auto rest = uri.substr(uri.find(':') + 1);
  std::string_view path(rest);
  while (path.starts_with('/')) path.remove_prefix(1);
  if (uri.starts_with("runs:/")) {
    auto slash = path.find('/');
    out.run_id = path.substr(0, slash);
    if (out.run_id.empty()) return fail(Code::invalid_argument, "write runs:/RUN_ID/PATH");
    // A run that is not there is an error; what it logged under the path may be found in several places.
    MR_CHECK(get("/runs/get?run_id=" + text::percent_encode(out.run_id)));
    run_path(out.run_id, slash == std::string_view::npos ? std::string() : std::string(path.substr(slash + 1)), out);
    return out;
  }
  if (path.starts_with("m-") && !path.contains('@')) {
    const auto id = std::string(path.substr(0, path.find('/')));
    MR_CHECK(get("/logged-models/" + text::percent_encode(id)));
    logged_model(id, out);
    return out;
  }
  if (auto at = path.rfind('@'); at != std::string_view::npos) {
    MR_TRY(auto v,
           get(fmt::format("/registered-models/alias?name={}&alias={}", text::percent_encode(path.substr(0, at)),
                           text::percent_encode(path.substr(at + 1)))));
    MR_TRY(out, of_version(v));
    out.title += ", alias " + std::string(path.substr(at + 1));
    return out;
  }
  auto slash = path.rfind('/');
  if (slash == std::string_view::npos || slash + 1 == path.size())
    return fail(Code::invalid_argument, "write models:/NAME/VERSION, models:/NAME@ALIAS or models:/MODEL_ID");
  const auto name = path.substr(0, slash), version = path.substr(slash + 1);
  if (version == "latest") {
    MR_TRY(auto v, get(fmt::format("/model-versions/search?filter={}&order_by={}&max_results=1",
                                   text::percent_encode(fmt::format("name='{}'", name)),
                                   text::percent_encode("version_number DESC"))));
    const auto* list = json::find(v, "model_versions");
    if (list == nullptr || !list->is_array() || list->get_array().empty())
      return fail(Code::not_found, fmt::format("the model {} has no version", name));
    return of_version(object{{"model_version", list->get_array().front()}});
  }
  MR_TRY(auto v, get(fmt::format("/model-versions/get?name={}&version={}", text::percent_encode(name),
                                 text::percent_encode(version))));
  return of_version(v);
}

Result<TrackedName> TrackingServer::of_version(const value& answer) {
  const auto* v = json::find(answer, "model_version");
  if (v == nullptr) return fail(Code::data_loss, "the tracking server answered without a version");
  TrackedName out;
  const auto* number = json::find(*v, "version");
  out.title = fmt::format("version {} of {}",
                          number == nullptr     ? std::string()
                          : number->is_string() ? std::string(number->get_string())
                                                : json::serialize(*number),
                          text_in(*v, {"name"}));
  out.run_id = text_in(*v, {"run_id"});
  if (auto id = text_in(*v, {"model_id"}); !id.empty()) logged_model(id, out);
  follow(text_in(*v, {"source"}), out);
  return out;
}

// A source that is a name again.
void TrackingServer::follow(const std::string& source, TrackedName& name, int depth) {
  if (source.empty() || depth > 4) return;
  if (source.starts_with("models:/m-")) {
    auto id = source.substr(std::string_view("models:/").size());
    return logged_model(id.substr(0, id.find('/')), name);
  }
  if (names(source)) {
    auto there = resolve(source);
    if (!there) return;
    for (auto& u : there->uris) add_uri(name, std::move(u));
    if (name.run_id.empty()) name.run_id = there->run_id;
    return;
  }
  add_uri(name, source);
  if (name.run_id.empty()) name.run_id = of_artifact(source).run_id;
}

void TrackingServer::logged_model(const std::string& id, TrackedName& name) {
  auto v = get("/logged-models/" + text::percent_encode(id));
  if (!v) return;
  if (name.title.empty()) name.title = fmt::format("logged model {} ({})", text_in(*v, {"model", "info", "name"}), id);
  add_uri(name, text_in(*v, {"model", "info", "artifact_uri"}));
  if (name.run_id.empty()) name.run_id = text_in(*v, {"model", "info", "source_run_id"});
}

void TrackingServer::run_path(const std::string& run_id, const std::string& path, TrackedName& name) {
  auto v = get("/runs/get?run_id=" + text::percent_encode(run_id));
  if (!v) return;
  const auto run_name = text_in(*v, {"run", "info", "run_name"});
  if (name.title.empty())
    name.title = fmt::format("{} of MLflow run {}", path.empty() ? std::string("the artifacts") : path, run_name);
  // A model that was logged under a run's path is an object of its own.
  if (!path.empty()) {
    auto found = post("/logged-models/search",
                      object{{"experiment_ids", boost::json::array{text_in(*v, {"run", "info", "experiment_id"})}},
                             {"filter", fmt::format("source_run_id = '{}' AND name = '{}'", run_id,
                                                    path.substr(0, path.find('/')))}});
    if (found)
      if (const auto* list = json::find(*found, "models"); list != nullptr && list->is_array())
        for (const auto& m : list->get_array())
          if (text_in(m, {"info", "source_run_id"}) == run_id) add_uri(name, text_in(m, {"info", "artifact_uri"}));
  }
  add_uri(name, below(text_in(*v, {"run", "info", "artifact_uri"}), path));
}

TrackedName TrackingServer::of_artifact(const std::string& uri) {
  TrackedName out;
  add_uri(out, uri);
  auto at = uri.find("mlflow-artifacts");
  if (at == std::string::npos) return out;
  auto rest = std::string_view(uri).substr(at + std::string_view("mlflow-artifacts").size());
  while (rest.starts_with(':') || rest.starts_with('/')) rest.remove_prefix(1);
  auto parts = text::split(rest, '/');
  // EXPERIMENT/RUN/artifacts/…, EXPERIMENT/models/MODEL/artifacts/…
  if (parts.size() >= 3 && parts[2] == "artifacts" && hexadecimal(parts[1], 32)) {
    out.run_id = parts[1];
    if (auto v = get("/runs/get?run_id=" + out.run_id))
      out.title = fmt::format("logged by MLflow run {}", text_in(*v, {"run", "info", "run_name"}));
    else
      out.run_id.clear();
  } else if (parts.size() >= 3 && parts[1] == "models" && parts[2].starts_with("m-")) {
    logged_model(std::string(parts[2]), out);
  }
  return out;
}

TrackedStep TrackingServer::step_of(const std::string& run_id) {
  auto tag = [](const value& run, std::string_view key) {
    const auto* data = json::find(run, "run");
    data = data == nullptr ? nullptr : json::find(*data, "data");
    const auto* tags = data == nullptr ? nullptr : json::find(*data, "tags");
    if (tags != nullptr && tags->is_array())
      for (const auto& t : tags->get_array())
        if (json::string_or_empty(t, "key") == key) return std::string(json::string_or_empty(t, "value"));
    return std::string();
  };
  TrackedStep out;
  if (run_id.empty()) return out;
  auto run = get("/runs/get?run_id=" + text::percent_encode(run_id));
  if (!run) return out;
  out.name = text_in(*run, {"run", "info", "run_name"});
  out.pipeline_run = tag(*run, "kfp.pipeline_run_id");
  // Runs within a step's run, of a search for parameters for instance, are the step's too.
  for (int depth = 0; out.pipeline_run.empty() && depth < 8; ++depth) {
    auto parent = tag(*run, "mlflow.parentRunId");
    if (parent.empty()) return {};
    run = get("/runs/get?run_id=" + text::percent_encode(parent));
    if (!run) return {};
    out.pipeline_run = tag(*run, "kfp.pipeline_run_id");
    if (out.pipeline_run.empty()) out.name = text_in(*run, {"run", "info", "run_name"});
  }
  return out;
}

}  // namespace mr::cli
