#include "serving/repository.h"

#include <fstream>
#include <sstream>

#include "json/parse.h"
#include "json/writer.h"
#include "serving/check.h"
#include "serving/server_info.h"

namespace mr::serving {

namespace fs = std::filesystem;

namespace {

std::string render_metadata(const std::string& name, const Signature& s) {
  std::string out;
  json::Writer w(out);
  auto tensor = [&](const std::string& n, DataType t, const std::vector<std::int64_t>& shape, std::string_view codec) {
    w.begin_object();
    w.field("name", n);
    w.field("datatype", data_type_name(t));
    w.key("shape");
    w.begin_array();
    for (auto d : shape) w.integer(d);
    w.end_array();
    w.key("parameters");
    w.begin_object();
    w.field("content_type", codec);
    w.end_object();
    w.end_object();
  };
  w.begin_object();
  w.field("name", name);
  w.key("versions");
  w.begin_array();
  w.end_array();
  w.field("platform", "");
  w.key("inputs");
  w.begin_array();
  for (const auto& t : input_tensors(s)) tensor(t.name, t.type, t.shape, t.content_type);
  w.end_array();
  w.key("outputs");
  w.begin_array();
  for (const auto& o : s.outputs) tensor(o.name, o.type, o.shape, o.content_type);
  w.end_array();
  w.key("parameters");
  w.begin_object();
  if (!s.columns.empty())
    w.field("content_type", "pd");
  else if (!s.tensors.empty())
    w.field("content_type", "dict");
  else if (s.tensor)
    w.field("content_type", s.tensor_name.empty() ? "np" : "dict");
  w.end_object();
  w.end_object();
  return out;
}

Result<std::shared_ptr<const Model>> read(const ModelSource& src, const LoadOptions& options) {
  MR_TRY(LoadedModel loaded, load_served(src.path, options));
  metrics::Labels labels{{"model", src.name}, {"version", src.version.empty() ? "None" : src.version}};
  auto m = std::make_shared<Model>(Model{
      src.name,
      src.version,
      src.path,
      std::move(loaded),
      {},
      {},
      metrics::counter("model_infer_request_success_total", "Inference requests answered.", labels),
      metrics::counter("model_infer_request_failure_total", "Inference requests refused.", labels),
      metrics::duration_histogram("model_infer_request_duration", "Time of inference requests, in seconds.", labels)});
  m->metadata = render_metadata(src.name, m->loaded.signature);
  std::string safe;
  for (char c : src.name) safe += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  m->answer_head = fmt::format(
      "ce-specversion: 0.3\r\nce-source: io.seldon.serving.deployment.mlserver\r\nce-type: "
      "io.seldon.serving.inference.response\r\nce-modelid: {0}\r\nce-inferenceservicename: mlserver\r\nce-endpoint: "
      "{0}\r\n",
      safe);
  MR_CHECK(check_model(*m, options));
  return m;
}

}  // namespace

Result<> Repository::add(const ModelSource& src) {
  bool plain = !src.name.empty() && src.name != "." && src.name != ".." && src.name.size() <= 255;
  for (char c : src.name) plain = plain && c != '/' && static_cast<unsigned char>(c) >= 0x20 && c != 0x7F;
  if (!plain)
    return fail(
        Code::invalid_argument,
        fmt::format("'{}' cannot be a model's name: it must fit into one part of a URL's path", printable(src.name)));
  auto model = read(src, options_);
  if (!model) {
    auto e = model.error();
    e.message = fmt::format("model '{}' cannot be loaded: {}", printable(src.name), e.message);
    return std::unexpected(e);
  }
  std::lock_guard guard(write_);
  auto next = std::make_shared<Table>(*table());
  auto& slots = (*next)[src.name];
  for (const auto& s : slots)
    if (s.source.version == src.version)
      return fail(Code::invalid_argument,
                  fmt::format("the model name '{}'{} is given twice", printable(src.name),
                              src.version.empty() ? "" : fmt::format(" with version '{}'", printable(src.version))));
  slots.push_back({src, *model, ++loaded_});
  table_.store(std::move(next));
  return {};
}

Result<> Repository::add_tree(const std::string& folder) {
  std::error_code ec;
  if (!fs::is_directory(folder, ec))
    return fail(Code::invalid_argument, fmt::format("--model-repository {}: no such folder", folder));
  std::vector<fs::path> settings;
  for (fs::recursive_directory_iterator it(folder, ec), end; !ec && it != end; it.increment(ec))
    if (it->path().filename() == "model-settings.json") settings.push_back(it->path());
  std::sort(settings.begin(), settings.end());
  if (settings.empty()) {
    std::size_t added = 0;
    std::vector<fs::path> folders;
    for (fs::directory_iterator it(folder, ec), end; !ec && it != end; it.increment(ec))
      if (fs::exists(it->path() / "MLmodel", ec)) folders.push_back(it->path());
    std::sort(folders.begin(), folders.end());
    for (const auto& f : folders) {
      MR_CHECK(add({f.filename().string(), "", f.string()}));
      ++added;
    }
    if (added == 0)
      return fail(
          Code::invalid_argument,
          fmt::format("--model-repository {}: there is no model-settings.json and no MLmodel below it", folder));
    return {};
  }
  for (const auto& file : settings) {
    std::ifstream in(file);
    std::stringstream text;
    text << in.rdbuf();
    auto doc = json::parse(text.str());
    if (!doc || !doc->is_object())
      return fail(Code::invalid_argument, fmt::format("{} is no JSON object", file.string()));
    std::string implementation(json::string_or_empty(*doc, "implementation"));
    if (!implementation.empty() && implementation != "mlserver_mlflow.MLflowRuntime" &&
        implementation != "mlserver_sklearn.SKLearnModel")
      return fail(Code::invalid_argument,
                  fmt::format("{}: the implementation '{}' is not served; mlserver_mlflow.MLflowRuntime and "
                              "mlserver_sklearn.SKLearnModel are",
                              file.string(), printable(implementation)));
    ModelSource src;
    src.name = json::string_or_empty(*doc, "name");
    if (src.name.empty()) src.name = file.parent_path().filename().string();
    std::string uri = ".";
    if (const auto* p = json::find(*doc, "parameters")) {
      if (auto u = json::string_or_empty(*p, "uri"); !u.empty()) uri = u;
      src.version = json::string_or_empty(*p, "version");
    }
    src.path = (fs::path(uri).is_absolute() ? fs::path(uri) : file.parent_path() / uri).lexically_normal().string();
    MR_CHECK(add(src));
  }
  return {};
}

Result<std::shared_ptr<const Model>> Repository::find(const std::string& name, const std::string& version) const {
  auto t = table();
  auto it = t->find(name);
  if (it != t->end()) {
    for (auto s = it->second.rbegin(); s != it->second.rend(); ++s)
      if (s->model && (version.empty() || s->source.version == version)) return s->model;
    if (!version.empty()) {
      bool any = std::any_of(it->second.begin(), it->second.end(), [](const Slot& s) { return s.model != nullptr; });
      if (any) return fail(Code::not_found, fmt::format("Model {} with version {} not found", name, version));
    }
  }
  return fail(Code::not_found, fmt::format("Model {} not found", name));
}

std::shared_ptr<const Model> Repository::last() const {
  auto t = table();
  const Slot* best = nullptr;
  for (const auto& [_, slots] : *t)
    for (const auto& s : slots)
      if (s.model && (best == nullptr || s.order > best->order)) best = &s;
  return best == nullptr ? nullptr : best->model;
}

Result<> Repository::load(const std::string& name) {
  std::lock_guard guard(write_);
  auto next = std::make_shared<Table>(*table());
  auto it = next->find(name);
  if (it == next->end()) return fail(Code::not_found, fmt::format("Model {} not found", name));
  for (auto& s : it->second) {
    MR_TRY(s.model, read(s.source, options_));
    s.order = ++loaded_;
  }
  table_.store(std::move(next));
  return {};
}

Result<> Repository::unload(const std::string& name) {
  std::lock_guard guard(write_);
  auto next = std::make_shared<Table>(*table());
  auto it = next->find(name);
  bool any = it != next->end() &&
             std::any_of(it->second.begin(), it->second.end(), [](const Slot& s) { return s.model != nullptr; });
  if (!any) return fail(Code::not_found, fmt::format("Model {} not found", name));
  for (auto& s : it->second) s.model.reset();
  table_.store(std::move(next));
  return {};
}

std::vector<std::shared_ptr<const Model>> Repository::loaded() const {
  std::vector<std::shared_ptr<const Model>> out;
  for (const auto& [_, slots] : *table())
    for (const auto& s : slots)
      if (s.model) out.push_back(s.model);
  return out;
}

std::vector<Repository::IndexEntry> Repository::index() const {
  std::vector<IndexEntry> out;
  for (const auto& [name, slots] : *table())
    for (const auto& s : slots) out.push_back({name, s.source.version, s.model != nullptr});
  return out;
}
std::size_t Repository::size() const { return table()->size(); }

}  // namespace mr::serving
