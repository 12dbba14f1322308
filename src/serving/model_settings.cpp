#include "serving/model_settings.h"

#include <fstream>
#include <sstream>

#include "json/parse.h"
#include "log/log.h"
#include "serving/onnx/locate.h"
#include "text/text.h"

namespace mr::serving {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kMaxSettingsBytes = 1 << 20;
constexpr std::size_t kMaxModels = 100'000;

// The runtimes of MLServer whose models are read here.
bool known_implementation(std::string_view i) {
  return i.empty() || i == "mlserver_mlflow.MLflowRuntime" || i == "mlserver_sklearn.SKLearnModel" ||
         i == "mlserver_xgboost.XGBoostModel" || i == "mlserver_lightgbm.LightGBMModel" ||
         i == "mlserver_catboost.CatboostModel";
}

std::vector<Signature::Out> tensors(const boost::json::value* list) {
  std::vector<Signature::Out> out;
  if (list == nullptr || !list->is_array()) return out;
  for (const auto& e : list->get_array()) {
    Signature::Out t;
    t.name = json::string_or_empty(e, "name");
    auto type = parse_data_type(json::string_or_empty(e, "datatype"));
    if (t.name.empty() || !type) continue;
    t.type = *type;
    if (const auto* shape = json::find(e, "shape"); shape != nullptr && shape->is_array())
      for (const auto& d : shape->get_array())
        if (d.is_int64()) t.shape.push_back(d.get_int64());
    t.content_type = "np";
    if (const auto* p = json::find(e, "parameters"))
      if (auto c = json::string_or_empty(*p, "content_type"); !c.empty()) t.content_type = c;
    out.push_back(std::move(t));
  }
  return out;
}

// A whole number of a member, or what stands there already.
void number(const boost::json::value& v, const char* key, auto& out) {
  if (const auto* n = json::find(v, key); n != nullptr && n->is_int64() && n->get_int64() >= 0)
    out = static_cast<std::decay_t<decltype(out)>>(n->get_int64());
}

Result<ModelSource> read_settings(const fs::path& file, const Limits& limits) {
  std::ifstream in(file);
  std::string text(kMaxSettingsBytes, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(in.gcount()));
  auto doc = json::parse(text);
  if (!doc || !doc->is_object())
    return fail(Code::invalid_argument, fmt::format("{} is no JSON object", file.string()));
  ModelSource src;
  auto& s = src.settings;
  s.limits = limits;
  s.implementation = json::string_or_empty(*doc, "implementation");
  if (!known_implementation(s.implementation))
    return fail(Code::invalid_argument,
                fmt::format("{}: the implementation '{}' is not served; mlserver_mlflow.MLflowRuntime, "
                            "mlserver_sklearn.SKLearnModel, mlserver_xgboost.XGBoostModel, "
                            "mlserver_lightgbm.LightGBMModel and mlserver_catboost.CatboostModel are",
                            file.string(), printable(s.implementation)));
  src.name = json::string_or_empty(*doc, "name");
  if (src.name.empty()) src.name = file.parent_path().filename().string();
  s.platform = json::string_or_empty(*doc, "platform");
  if (const auto* v = json::find(*doc, "versions"); v != nullptr && v->is_array())
    for (const auto& one : v->get_array())
      if (one.is_string()) s.versions.emplace_back(one.get_string());
  s.inputs = tensors(json::find(*doc, "inputs"));
  s.outputs = tensors(json::find(*doc, "outputs"));
  std::string uri = ".";
  if (const auto* p = json::find(*doc, "parameters")) {
    if (auto u = json::string_or_empty(*p, "uri"); !u.empty()) uri = u;
    if (uri.starts_with("file://")) uri = uri.substr(7);
    src.version = json::string_or_empty(*p, "version");
    s.content_type = json::string_or_empty(*p, "content_type");
    if (const auto* extra = json::find(*p, "extra"))
      if (const auto* own = json::find(*extra, "millrace")) {
        number(*own, "max_concurrency", s.limits.concurrency);
        number(*own, "max_queue", s.limits.queue);
        number(*own, "timeout_ms", s.limits.timeout_ms);
      }
  }
  for (const char* ignored : {"parallel_workers", "warm_workers", "cache_enabled"})
    if (json::find(*doc, ignored) != nullptr)
      log::info("a setting of MLServer that has no meaning here", {{"file", file.string()}, {"setting", ignored}});
  src.path = (fs::path(uri).is_absolute() ? fs::path(uri) : file.parent_path() / uri).lexically_normal().string();
  return src;
}

}  // namespace

Result<std::vector<ModelSource>> read_repository(const std::string& folder, const Limits& limits) {
  std::error_code ec;
  if (!fs::is_directory(folder, ec))
    return fail(Code::invalid_argument, fmt::format("--model-repository {}: no such folder", folder));
  std::vector<fs::path> settings;
  for (fs::recursive_directory_iterator it(folder, ec), end; !ec && it != end; it.increment(ec)) {
    if (it->path().filename() == "model-settings.json") settings.push_back(it->path());
    if (settings.size() > kMaxModels)
      return fail(Code::invalid_argument, fmt::format("{} has more than {} models", folder, kMaxModels));
  }
  std::sort(settings.begin(), settings.end());
  std::vector<ModelSource> out;
  for (const auto& file : settings) {
    MR_TRY(auto src, read_settings(file, limits));
    out.push_back(std::move(src));
  }
  if (!out.empty()) return out;
  std::vector<fs::path> folders;
  for (fs::directory_iterator it(folder, ec), end; !ec && it != end; it.increment(ec))
    if (fs::exists(it->path() / "MLmodel", ec) || onnx::find_model(it->path().string()).value_or(std::nullopt))
      folders.push_back(it->path());
  std::sort(folders.begin(), folders.end());
  for (const auto& f : folders) {
    ModelSource src{f.filename().string(), "", f.string(), {}};
    src.settings.limits = limits;
    out.push_back(std::move(src));
  }
  if (out.empty())
    return fail(
        Code::invalid_argument,
        fmt::format("--model-repository {}: there is no model-settings.json, no MLmodel and no model.onnx below it",
                    folder));
  return out;
}

std::string output_name_of(const std::string& implementation) {
  // MLServer's own runtimes name the output by the method; its mlflow runtime numbers it.
  return implementation == "mlserver_sklearn.SKLearnModel" || implementation == "mlserver_xgboost.XGBoostModel" ||
                 implementation == "mlserver_lightgbm.LightGBMModel" ||
                 implementation == "mlserver_catboost.CatboostModel"
             ? "predict"
             : "output-1";
}

}  // namespace mr::serving
