#include "serving/repository.h"

#include "json/writer.h"
#include "log/log.h"
#include "serving/check.h"
#include "serving/server_info.h"
#include "task/pool.h"
#include "time/clock.h"

namespace mr::serving {

namespace fs = std::filesystem;

namespace {

// Readings wait for disks and for Python workers: never on the threads that answer.
task::Pool& reading_pool() {
  static task::Pool pool("mr-models", 4, 4096);
  return pool;
}

std::string render_metadata(const Model& m, const ModelSettings& settings) {
  const auto& s = m.loaded.signature;
  std::string out;
  json::Writer w(out);
  auto list = [&](const char* key, const std::vector<Signature::Out>& tensors) {
    w.key(key);
    w.begin_array();
    for (const auto& t : tensors) {
      w.begin_object();
      w.field("name", t.name);
      w.field("datatype", data_type_name(t.type));
      w.key("shape");
      w.begin_array();
      for (auto d : t.shape) w.integer(d);
      w.end_array();
      w.key("parameters");
      w.begin_object();
      w.field("content_type", t.content_type);
      w.end_object();
      w.end_object();
    }
    w.end_array();
  };
  w.begin_object();
  w.field("name", m.name);
  w.key("versions");
  w.begin_array();
  for (const auto& v : settings.versions) w.string(v);
  w.end_array();
  w.field("platform", settings.platform);
  auto inputs = input_tensors(s);
  list("inputs", inputs.empty() ? settings.inputs : inputs);
  list("outputs", s.outputs.empty() ? settings.outputs : s.outputs);
  w.key("parameters");
  w.begin_object();
  if (auto codec = request_codec(m); !codec.empty()) w.field("content_type", codec);
  w.end_object();
  w.end_object();
  return out;
}

Repository::Found read(const ModelSource& src, const LoadOptions& options, std::shared_ptr<ModelTraffic> traffic) {
  MR_TRY(LoadedModel loaded, load_served(src.path, options));
  metrics::Labels labels{{"model", src.name}, {"version", src.version.empty() ? "None" : src.version}};
  auto m = std::make_shared<Model>(
      Model{.name = src.name,
            .version = src.version,
            .path = src.path,
            .loaded = std::move(loaded),
            .metadata = {},
            .answer_head = {},
            .success = metrics::counter("model_infer_request_success_total", "Inference requests answered.", labels),
            .failure = metrics::counter("model_infer_request_failure_total", "Inference requests refused.", labels),
            .seconds = metrics::duration_histogram("model_infer_request_duration",
                                                   "Time of inference requests, in seconds.", labels),
            .traffic = std::move(traffic),
            .output_name = output_name_of(src.settings.implementation),
            .content_type = src.settings.content_type});
  metrics::Labels kserve{{"model_name", src.name}};
  kserve.insert(kserve.end(), options.labels.begin(), options.labels.end());
  m->predict_seconds =
      metrics::duration_histogram("request_predict_seconds", "Time that models compute, in seconds.", kserve);
  std::error_code ec;
  m->bare = !fs::exists(fs::path(src.path) / "MLmodel", ec);
  // KServe's own servers of bare models count from 0.
  if (m->bare && src.settings.implementation.empty()) m->output_name = "output-0";
  m->metadata = render_metadata(*m, src.settings);
  std::string safe;
  for (char c : src.name) safe += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  m->answer_head = fmt::format(
      "ce-specversion: 0.3\r\nce-source: io.seldon.serving.deployment.mlserver\r\nce-type: "
  labels.insert(labels.end(), options.labels.begin(), options.labels.end());
  traffic->measure(labels);
      "io.seldon.serving.inference.response\r\nce-modelid: {0}\r\nce-inferenceservicename: mlserver\r\nce-endpoint: "
      "{0}\r\n",
      safe);
  MR_CHECK(check_model(*m, options));
  return m;
}

// What a model takes in memory, by its files: they are packed, and its engine keeps them unpacked.
std::uint64_t estimate(const std::string& path) {
  std::error_code ec;
  std::uint64_t bytes = 64 * 1024;
  if (fs::is_regular_file(path, ec)) return bytes + 2 * fs::file_size(path, ec);
  for (fs::recursive_directory_iterator it(path, ec), end; !ec && it != end; it.increment(ec)) {
    std::error_code one;
    if (it->is_regular_file(one)) bytes += 2 * it->file_size(one);
  }
  return bytes;
}

Error cannot_load(const std::string& name, Error e) {
  e.message = fmt::format("model '{}' cannot be loaded: {}", printable(name), e.message);
  return e;
}

}  // namespace

Result<Repository::Slot> Repository::make_slot(ModelSource src) const {
  bool plain = !src.name.empty() && src.name != "." && src.name != ".." && src.name.size() <= 255;
  for (char c : src.name) plain = plain && c != '/' && static_cast<unsigned char>(c) >= 0x20 && c != 0x7F;
  if (!plain)
    return fail(
        Code::invalid_argument,
        fmt::format("'{}' cannot be a model's name: it must fit into one part of a URL's path", printable(src.name)));
  if (src.settings.limits.concurrency == 0 && own_.limits.concurrency != 0) src.settings.limits = own_.limits;
  Slot slot;
  slot.use = std::make_shared<Use>(src.settings.limits);
  slot.waiting = own_.lazy;
  if (!own_.lazy) {
    auto model = read(src, options_, slot.use->traffic);
    if (!model) return std::unexpected(cannot_load(src.name, model.error()));
    slot.model = std::move(*model);
    if (own_.memory != 0) slot.bytes = estimate(src.path);
    slot.use->last_ns = time::mono_ns();
  } else if (std::error_code ec; !fs::exists(src.path, ec)) {
    return std::unexpected(
        cannot_load(src.name, Error{Code::not_found, fmt::format("there is no model at {}", src.path), {}, {}}));
  }
  slot.source = std::move(src);
  return slot;
}

Result<> Repository::place(Table& t, Slot slot) {
  const auto& src = slot.source;
  auto& slots = t[src.name];
  for (const auto& s : slots)
    if (s.source.version == src.version)
      return fail(Code::invalid_argument,
                  fmt::format("the model name '{}'{} is given twice", printable(src.name),
                              src.version.empty() ? "" : fmt::format(" with version '{}'", printable(src.version))));
  slot.order = ++loaded_;
  slots.push_back(std::move(slot));
  if (slots.back().model) make_room(t, slots.back());
  return {};
}

Result<> Repository::add(ModelSource src) {
  MR_TRY(auto slot, make_slot(std::move(src)));
  std::lock_guard guard(write_);
  auto next = std::make_shared<Table>(*table());
  MR_CHECK(place(*next, std::move(slot)));
  table_.store(std::move(next));
  return {};
}

Result<> Repository::add_tree(const std::string& folder) {
  MR_TRY(auto sources, read_repository(folder, own_.limits));
  // One new table for all: there may be thousands.
  std::lock_guard guard(write_);
  auto next = std::make_shared<Table>(*table());
  for (auto& s : sources) {
    MR_TRY(auto slot, make_slot(std::move(s)));
    MR_CHECK(place(*next, std::move(slot)));
  }
  table_.store(std::move(next));
  return {};
}

Repository::Found Repository::find(std::string_view name, std::string_view version) const {
  auto t = table();
  auto it = t->find(name);
  if (it != t->end()) {
    for (auto s = it->second.rbegin(); s != it->second.rend(); ++s) {
      if (!version.empty() && s->source.version != version) continue;
      if (s->model) {
        if (own_.memory != 0) s->use->last_ns.store(time::mono_ns(), std::memory_order_relaxed);
        return s->model;
      }
      if (s->waiting) return fail(Code::unavailable, "the model is not read yet", "waiting");
    }
    if (!version.empty()) {
      bool any = std::any_of(it->second.begin(), it->second.end(),
                             [](const Slot& s) { return s.model != nullptr || s.waiting; });
      if (any) return fail(Code::not_found, fmt::format("Model {} with version {} not found", name, version));
    }
  }
  return fail(Code::not_found, fmt::format("Model {} not found", name));
}

task::Task<Repository::Found> Repository::get(std::string name, std::string version) {
  auto found = find(name, version);
  if (found || found.error().reason != "waiting") co_return found;
  auto read = co_await task::run_on(reading_pool(), [&] { return read_waiting(name, version); });
  if (!read) co_return fail(Code::resource_exhausted, "too many models are waiting to be read; try again later");
  co_return std::move(*read);
}

Repository::Found Repository::read_waiting(const std::string& name, const std::string& version) {
  auto t = table();
  auto it = t->find(name);
  if (it == t->end()) return fail(Code::not_found, fmt::format("Model {} not found", name));
  for (auto s = it->second.rbegin(); s != it->second.rend(); ++s) {
    if ((!version.empty() && s->source.version != version) || !s->waiting) continue;
    std::lock_guard one(s->use->reading);  // of many that ask at once, one reads
    if (auto found = find(name, version); found || found.error().reason != "waiting") return found;
    auto model = read(s->source, options_, s->use->traffic);
    if (!model) {
      auto e = cannot_load(name, model.error());
      e.code = Code::unavailable;
      log::warn("a model cannot be read", {{"model", name}, {"error", e.message}});
      return std::unexpected(e);
    }
    s->use->last_ns = time::mono_ns();
    put(name, s->source.version, *model);
    return model;
  }
  return find(name, version);
}

void Repository::put(const std::string& name, const std::string& version, std::shared_ptr<const Model> model) {
  auto bytes = own_.memory != 0 ? estimate(model->path) : 0;
  std::lock_guard guard(write_);
  auto next = std::make_shared<Table>(*table());
  for (auto& s : (*next)[name]) {
    if (s.source.version != version) continue;
    s.model = std::move(model);
    s.waiting = false;
    s.order = ++loaded_;
    s.bytes = bytes;
    make_room(*next, s);
    break;
  }
  table_.store(std::move(next));
}

void Repository::make_room(Table& t, const Slot& keep) const {
  if (own_.memory == 0) return;
  while (true) {
    std::uint64_t total = 0;
    Slot* oldest = nullptr;
    for (auto& [_, slots] : t)
      for (auto& s : slots) {
        if (!s.model) continue;
        total += s.bytes;
        if (&s != &keep && (oldest == nullptr || s.use->last_ns < oldest->use->last_ns)) oldest = &s;
      }
    if (total <= own_.memory || oldest == nullptr) return;
    log::info("a model gives way to others", {{"model", oldest->source.name}});
    oldest->model.reset();  // requests under way keep it until they end
    oldest->waiting = true;
    oldest->bytes = 0;
  }
}

std::pair<std::string, std::string> Repository::last() const {
  auto t = table();
  const Slot* best = nullptr;
  for (const auto& [_, slots] : *t)
    for (const auto& s : slots)
      if ((s.model || s.waiting) && (best == nullptr || s.order > best->order)) best = &s;
  if (best == nullptr) return {};
  return {best->source.name, best->source.version};
}

Result<> Repository::load(const std::string& name) {
  auto t = table();
  auto it = t->find(name);
  if (it == t->end()) return fail(Code::not_found, fmt::format("Model {} not found", name));
  for (const auto& s : it->second) {
    std::lock_guard one(s.use->reading);
    MR_TRY(auto model, read(s.source, options_, s.use->traffic));
    s.use->last_ns = time::mono_ns();
    put(name, s.source.version, std::move(model));
  }
  return {};
}

Result<> Repository::unload(const std::string& name) {
  std::lock_guard guard(write_);
  auto next = std::make_shared<Table>(*table());
  auto it = next->find(name);
  bool any = it != next->end() && std::any_of(it->second.begin(), it->second.end(),
                                              [](const Slot& s) { return s.model != nullptr || s.waiting; });
  if (!any) return fail(Code::not_found, fmt::format("Model {} not found", name));
  for (auto& s : it->second) {
    s.model.reset();
    s.waiting = false;
    s.bytes = 0;
  }
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
    for (const auto& s : slots) out.push_back({name, s.source.version, s.model != nullptr || s.waiting});
  return out;
}
std::size_t Repository::size() const { return table()->size(); }

}  // namespace mr::serving
