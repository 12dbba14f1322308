#include "serving/repository.h"

#include <thread>

#include "json/writer.h"
#include "log/log.h"
#include "serving/check.h"
#include "serving/server_info.h"
#include "serving/shared_models.h"
#include "task/event.h"
#include "task/pool.h"
#include "time/clock.h"

namespace mr::serving {

namespace fs = std::filesystem;

namespace {

constexpr unsigned kReaders = 4;  // at the start
// For requests: some of them sleep until a Python worker has its environment.
constexpr unsigned kReadingThreads = 32;
// What a model takes beside its engine: names, counters, the texts of its answers.
constexpr std::uint64_t kBesideEngine = 16 * 1024;
// Requests that may wait for a model to be read, where the model has no limit of its own.
constexpr std::size_t kMostWaiting = 1024;

// Readings wait for disks and for Python workers: never on the threads that answer.
task::Pool& reading_pool() {
  static task::Pool pool("mr-models", kReadingThreads, 16384);
  return pool;
}

struct LoadMetrics {
  metrics::Gauge loaded = metrics::gauge("millrace_models_loaded", "Models that are in memory.");
  metrics::Counter loads = metrics::counter("millrace_model_loads_total", "Models read.", {{"result", "loaded"}});
  metrics::Counter failed = metrics::counter("millrace_model_loads_total", "Models read.", {{"result", "failed"}});
  metrics::Counter evicted =
      metrics::counter("millrace_model_evictions_total", "Models that gave way to others when memory was short.");
  metrics::Histogram seconds =
      metrics::duration_histogram("millrace_model_load_duration_seconds", "Time of reading models, in seconds.");
};
const LoadMetrics& load_metrics() {
  static const LoadMetrics m;
  return m;
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
  auto served = [&] { return load_served(src.path, options); };
  MR_TRY(LoadedModel loaded, SharedModels::of_process().load(src.path, options.engine != EngineChoice::python, served));
  metrics::Labels labels{{"model", src.name}, {"version", src.version.empty() ? "None" : src.version}};
  labels.insert(labels.end(), options.labels.begin(), options.labels.end());
  traffic->measure(labels);
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
      "io.seldon.serving.inference.response\r\nce-modelid: {0}\r\nce-inferenceservicename: mlserver\r\nce-endpoint: "
      "{0}\r\n",
      safe);
  MR_CHECK(check_model(*m, options));
  return m;
}

Error cannot_load(const std::string& name, Error e) {
  e.message = fmt::format("model '{}' cannot be loaded: {}", printable(name), e.message);
  return e;
}

Error not_there(std::string_view name) { return {Code::not_found, fmt::format("Model {} not found", name), {}, {}}; }

}  // namespace

struct Repository::Slot {
  Slot(ModelSource s, const Limits& limits, bool lazy)
      : source(std::move(s)), traffic(std::make_shared<ModelTraffic>(limits)), wanted(lazy) {}
  const ModelSource source;
  const std::shared_ptr<ModelTraffic> traffic;  // outlives the readings of the model
  // Read without a lock. A model that is wanted and not there is read when it is asked for.
  std::atomic<std::shared_ptr<const Model>> model;
  std::atomic<bool> wanted;
  std::atomic<std::int64_t> last_ns = 0;
  std::atomic<std::uint64_t> order = 0;  // of its loading among all
  std::mutex reading;                    // one reads; taken before write_
  // Under write_:
  std::uint64_t unloads = 0;  // what was begun before the last one is not taken
  std::uint64_t bytes = 0;    // of its engine, when it was there last; 0: it was not yet
  std::shared_ptr<Flight> flight;
};

struct Repository::Flight {
  struct Waiter {
    task::Loop* loop = nullptr;
    std::coroutine_handle<> handle;
    bool settled = false;
    Found found = fail(Code::deadline_exceeded, "the model takes longer to be read than a request may wait");
  };
  std::mutex mutex;
  std::vector<std::shared_ptr<Waiter>> waiting;
  std::size_t waiters = 0;  // that have not given up
  std::optional<Found> ended;

  void end(Found found) {
    std::vector<std::shared_ptr<Waiter>> all;
    {
      std::lock_guard guard(mutex);
      ended = found;
      for (auto& w : waiting) {
        if (w->settled) continue;
        w->settled = true;
        w->found = found;
        all.push_back(std::move(w));
      }
      waiting.clear();
    }
    for (auto& w : all) w->loop->post([w] { w->handle.resume(); });
  }

  static task::Task<Found> wait(std::shared_ptr<Flight> f, long timeout_ms) {
    auto w = std::make_shared<Waiter>();
    struct Awaiter {
      Flight& f;
      std::shared_ptr<Waiter> w;
      bool await_ready() const { return false; }
      bool await_suspend(std::coroutine_handle<> h) const {
        std::lock_guard guard(f.mutex);
        if (w->settled) return false;  // the timer was faster
        if (f.ended) {
          w->settled = true;
          w->found = *f.ended;
          return false;
        }
        w->loop = task::Loop::current();
        w->handle = h;
        f.waiting.push_back(w);
        return true;
      }
      void await_resume() const {}
    };
    task::Timer timer;
    timer.start(timeout_ms, [f, w] {
      {
        std::lock_guard guard(f->mutex);
        if (w->settled) return;
        w->settled = true;
        std::erase(f->waiting, w);
      }
      if (w->handle) task::resume_later(w->handle);
    });
    co_await Awaiter{*f, w};
    timer.cancel();
    {
      std::lock_guard guard(f->mutex);
      --f->waiters;
    }
    co_return std::move(w->found);
  }
};

Repository::Repository(LoadOptions options, RepositoryOptions own) : options_(std::move(options)), own_(own) {}

Repository::~Repository() {
  closing_ = true;
  std::unique_lock lock(write_);
  ended_.wait(lock, [&] { return flights_ == 0; });
  load_metrics().loaded.add(-static_cast<double>(loaded_slots_.size()));
}

Result<Repository::SlotPtr> Repository::make_slot(ModelSource src) {
  bool plain = !src.name.empty() && src.name != "." && src.name != ".." && src.name.size() <= 255;
  for (char c : src.name) plain = plain && c != '/' && static_cast<unsigned char>(c) >= 0x20 && c != 0x7F;
  if (!plain)
    return fail(
        Code::invalid_argument,
        fmt::format("'{}' cannot be a model's name: it must fit into one part of a URL's path", printable(src.name)));
  if (src.settings.limits.concurrency == 0 && own_.limits.concurrency != 0) src.settings.limits = own_.limits;
  if (std::error_code ec; own_.lazy && !fs::exists(src.path, ec))
    return std::unexpected(
        cannot_load(src.name, Error{Code::not_found, fmt::format("there is no model at {}", src.path), {}, {}}));
  auto limits = src.settings.limits;
  auto slot = std::make_shared<Slot>(std::move(src), limits, own_.lazy);
  if (!own_.lazy)
    if (auto model = read_slot(slot, true); !model)
      return std::unexpected(cannot_load(slot->source.name, model.error()));
  return slot;
}

Result<> Repository::place(Table& t, SlotPtr slot) {
  const auto& src = slot->source;
  auto& slots = t[src.name];
  for (const auto& s : slots)
    if (s->source.version == src.version)
      return fail(Code::invalid_argument,
                  fmt::format("the model name '{}'{} is given twice", printable(src.name),
                              src.version.empty() ? "" : fmt::format(" with version '{}'", printable(src.version))));
  slot->order = ++loads_;
  slots.push_back(std::move(slot));
  return {};
}

Result<> Repository::add(ModelSource src) {
  std::vector<ModelSource> one;
  one.push_back(std::move(src));
  return add_all(std::move(one));
}

Result<> Repository::add_tree(const std::string& folder) {
  MR_TRY(auto sources, read_repository(folder, own_.limits));
  return add_all(std::move(sources));
}

Result<> Repository::add_all(std::vector<ModelSource> sources) {
  std::vector<Result<SlotPtr>> slots(sources.size());
  std::atomic<std::size_t> next = 0;
  std::atomic<bool> failed = false;
  auto work = [&] {
    for (auto i = next++; i < sources.size() && !failed; i = next++) {
      slots[i] = make_slot(std::move(sources[i]));
      if (!slots[i]) failed = true;
    }
  };
  {
    std::vector<std::jthread> others;
    if (!own_.lazy)
      for (unsigned k = 1; k < kReaders && k < sources.size(); ++k) others.emplace_back(work);
    work();
  }
  auto done = [&]() -> Result<> {
    for (auto& s : slots)
      if (!s) return std::unexpected(s.error());
    // One new table for all: there may be thousands.
    std::lock_guard guard(write_);
    auto t = std::make_shared<Table>(*table());
    for (const auto& s : slots) MR_CHECK(place(*t, *s));
    table_.store(std::move(t));
    return {};
  }();
  if (!done) {
    std::lock_guard guard(write_);
    for (const auto& s : slots)
      if (s && *s) drop(**s);
  }
  return done;
}

Repository::Found Repository::find(std::string_view name, std::string_view version) const {
  auto t = table();
  auto it = t->find(name);
  if (it != t->end()) {
    for (auto s = it->second.rbegin(); s != it->second.rend(); ++s) {
      auto& slot = **s;
      if (!version.empty() && slot.source.version != version) continue;
      if (auto model = slot.model.load()) {
        if (own_.memory != 0) slot.last_ns.store(time::mono_ns(), std::memory_order_relaxed);
        return model;
      }
      if (slot.wanted) return fail(Code::unavailable, "the model is not read yet", "waiting");
    }
    if (!version.empty() &&
        std::any_of(it->second.begin(), it->second.end(), [](const SlotPtr& s) { return s->wanted.load(); }))
      return fail(Code::not_found, fmt::format("Model {} with version {} not found", name, version));
  }
  return std::unexpected(not_there(name));
}

task::Task<Repository::Found> Repository::get(std::string name, std::string version) {
  auto found = find(name, version);
  if (found || found.error().reason != "waiting") co_return found;
  SlotPtr slot;
  {
    auto t = table();
    auto it = t->find(name);
    for (auto s = it->second.rbegin(); s != it->second.rend() && !slot; ++s)
      if ((version.empty() || (*s)->source.version == version) && (*s)->wanted) slot = *s;
  }
  if (!slot) co_return std::unexpected(not_there(name));
  std::shared_ptr<Flight> flight;
  bool first = false;
  {
    std::lock_guard guard(write_);
    if (auto model = slot->model.load()) co_return model;
    first = !slot->flight;
    if (first) {
      slot->flight = std::make_shared<Flight>();
      ++flights_;
    }
    flight = slot->flight;
    const auto& limits = slot->traffic->limits();
    std::lock_guard waiters(flight->mutex);
    if (flight->waiters >= (limits.concurrency == 0 ? kMostWaiting : limits.concurrency + limits.queue))
      co_return fail(Code::resource_exhausted, "too many requests wait for the model to be read; try again later");
    ++flight->waiters;
  }
  if (first && !reading_pool().submit([this, slot, flight] { fly(slot, flight); })) {
    {
      std::lock_guard guard(write_);
      slot->flight.reset();
      if (--flights_ == 0) ended_.notify_all();
    }
    flight->end(fail(Code::resource_exhausted, "too many models are waiting to be read; try again later"));
  }
  co_return co_await Flight::wait(std::move(flight), slot->traffic->limits().timeout_ms);
}

void Repository::fly(const SlotPtr& slot, const std::shared_ptr<Flight>& flight) {
  auto model = read_slot(slot, false);
  if (!model && model.error().code != Code::not_found) {
    auto e = cannot_load(slot->source.name, model.error());
    e.code = Code::unavailable;
    log::warn("a model cannot be read", {{"model", slot->source.name}, {"error", e.message}});
    model = std::unexpected(std::move(e));
  }
  {
    std::lock_guard guard(write_);
    slot->flight.reset();
  }
  flight->end(std::move(model));
  // Last: the repository may go now.
  std::lock_guard guard(write_);
  if (--flights_ == 0) ended_.notify_all();
}

Repository::Found Repository::read_slot(const SlotPtr& slot, bool again) {
  std::lock_guard one(slot->reading);
  if (closing_) return fail(Code::cancelled, "the server is stopping");
  const auto& src = slot->source;
  // Before it is read, the others make room for what it took last time, or for what its files tell.
  std::uint64_t share = own_.memory == 0 ? 0 : memory_by_files(src.path);
  std::uint64_t unloads = 0;
  {
    std::unique_lock lock(write_);
    auto model = slot->model.load();
    if (model && !again) return model;
    if (!again && !slot->wanted) return std::unexpected(not_there(src.name));
    unloads = slot->unloads;
    if (own_.memory != 0) {
      // A model never read is not worth all others: much of its files may lie in a worker.
      share = slot->bytes != 0 ? slot->bytes : std::min(share, own_.memory / 2);
      // What is already there has its place until it is replaced.
      ended_.wait(lock, [&] { return readings_ == 0 || coming_ + share <= own_.memory; });
      coming_ += share;
      ++readings_;
      make_room(slot.get());
    }
  }
  const auto began = time::mono_ns();
  auto model = read(src, options_, slot->traffic);
  const auto& metrics = load_metrics();
  (model ? metrics.loads : metrics.failed).add();
  metrics.seconds.observe(static_cast<double>(time::mono_ns() - began) / 1e9);
  std::lock_guard lock(write_);
  if (own_.memory != 0) {
    coming_ -= share;
    --readings_;
    ended_.notify_all();
  }
  if (!model) return model;
  if (slot->unloads != unloads) return std::unexpected(not_there(src.name));
  install(*slot, *model);
  return model;
}

void Repository::install(Slot& slot, std::shared_ptr<const Model> model) {
  drop(slot);
  const auto* engine = model->loaded.engine.get();
  slot.bytes = model->loaded.memory + kBesideEngine;
  slot.last_ns = time::mono_ns();
  slot.order = ++loads_;
  auto& held = engines_[engine];
  if (held.models++ == 0) {
    held.bytes = model->loaded.memory;
    bytes_ += held.bytes;
  }
  bytes_ += kBesideEngine;
  loaded_slots_.push_back(&slot);
  load_metrics().loaded.add(1);
  slot.model.store(std::move(model));
  slot.wanted = true;
  make_room(&slot);
  if (own_.memory != 0 && bytes_ > own_.memory)
    log::warn("a model alone takes more than the memory that models may take",
              {{"model", slot.source.name}, {"bytes", slot.bytes}});
}

void Repository::drop(Slot& slot) {
  auto model = slot.model.exchange(nullptr);  // requests under way keep it until they end
  if (!model) return;
  std::erase(loaded_slots_, &slot);
  bytes_ -= kBesideEngine;
  load_metrics().loaded.add(-1);
  auto it = engines_.find(model->loaded.engine.get());
  if (--it->second.models != 0) return;
  bytes_ -= it->second.bytes;
  engines_.erase(it);
}

void Repository::make_room(const Slot* keep) {
  if (own_.memory == 0) return;
  while (bytes_ + coming_ > own_.memory) {
    Slot* oldest = nullptr;
    for (auto* s : loaded_slots_)
      if (s != keep && (oldest == nullptr || s->last_ns < oldest->last_ns)) oldest = s;
    if (oldest == nullptr) return;
    log::info("a model gives way to others", {{"model", oldest->source.name}});
    load_metrics().evicted.add();
    drop(*oldest);
  }
}

std::pair<std::string, std::string> Repository::last() const {
  auto t = table();
  const Slot* best = nullptr;
  for (const auto& [_, slots] : *t)
    for (const auto& s : slots)
      if (s->wanted && (best == nullptr || s->order > best->order)) best = s.get();
  if (best == nullptr) return {};
  return {best->source.name, best->source.version};
}

Result<> Repository::load(const std::string& name) {
  auto t = table();
  auto it = t->find(name);
  if (it == t->end()) return std::unexpected(not_there(name));
  for (const auto& s : it->second)
    if (auto model = read_slot(s, true); !model) return std::unexpected(model.error());
  return {};
}

Result<> Repository::unload(const std::string& name) {
  std::lock_guard guard(write_);
  auto t = table();
  auto it = t->find(name);
  bool any = it != t->end() &&
             std::any_of(it->second.begin(), it->second.end(), [](const SlotPtr& s) { return s->wanted.load(); });
  if (!any) return std::unexpected(not_there(name));
  for (const auto& s : it->second) {
    ++s->unloads;
    s->wanted = false;
    drop(*s);
  }
  return {};
}

std::vector<std::shared_ptr<const Model>> Repository::loaded() const {
  std::vector<std::shared_ptr<const Model>> out;
  for (const auto& [_, slots] : *table())
    for (const auto& s : slots)
      if (auto model = s->model.load()) out.push_back(std::move(model));
  return out;
}

std::vector<Repository::IndexEntry> Repository::index() const {
  std::vector<IndexEntry> out;
  for (const auto& [name, slots] : *table())
    for (const auto& s : slots) out.push_back({name, s->source.version, s->wanted});
  return out;
}
std::size_t Repository::size() const { return table()->size(); }
std::uint64_t Repository::memory() const {
  std::lock_guard guard(write_);
  return bytes_;
}

}  // namespace mr::serving
