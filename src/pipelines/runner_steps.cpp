// The steps of runs as Pods, from their making to their outputs.
#include <filesystem>
#include <fstream>

#include "crypto/random.h"
#include "kube/names.h"
#include "pipelines/cache_key.h"
#include "pipelines/runner_state.h"
#include "text/text.h"

namespace mr::pipelines {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kCreateClaim = "argostub/createpvc", kDeleteClaim = "argostub/deletepvc";
constexpr std::size_t kLogTail = 4096;
constexpr int kLogTries = 100;  // for the log of a pod that ended before a restart
constexpr std::size_t kMessage = 300;

std::string new_uuid() {
  auto h = crypto::random_hex(16);
  h[12] = '4';
  h[16] = '8';
  return fmt::format("{}-{}-{}-{}-{}", h.substr(0, 8), h.substr(8, 4), h.substr(12, 4), h.substr(16, 4), h.substr(20));
}

// A pod's name: the run's, the task's, and letters of its own; at most 63 characters.
std::string pod_name(const std::string& run, const std::string& task) {
  std::string out;
  for (char c : run.substr(0, 30) + "-" + task) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    out += (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ? c : '-';
  }
  if (out.size() > 54) out.resize(54);
  if (out.front() < 'a' || out.front() > 'z') out.front() = 'p';
  while (out.back() == '-') out.pop_back();
  return kube::generated_name(out + "-");
}

// The last line that says something: what a traceback ends with.
std::string last_line(std::string_view text) {
  std::string found;
  for (auto line : text::split(text, '\n')) {
    auto t = text::trim(line);
    // A closing bracket says nothing, and the SDK prints what it was given as JSON.
    if (t.starts_with('"') || t.starts_with("[KFP Executor")) continue;
    if (std::ranges::any_of(t, [](unsigned char c) { return std::isalnum(c) != 0 || c >= 0x80; }))
      found = std::string(t);
  }
  if (found.size() > kMessage) found = found.substr(0, kMessage) + "…";
  return found;
}

}  // namespace

Event ended(const NodeView& n, int attempt, Event::Kind kind) {
  Event e;
  e.kind = kind;
  e.node = n.path;
  e.attempt = attempt;
  return e;
}

std::string Runner::Impl::log_path(const std::string& run_id, const std::string& node, int attempt) const {
  return fmt::format("{}/logs/{}/{}-{}.log", options.folder, run_id, task_id(run_id, node), attempt);
}

Step::Scope Runner::Impl::scope(const LivePtr& l, const std::string& node) const {
  return [l, node](const Value& parameter) { return l->engine->in_scope(node, parameter); };
}

std::string Runner::Impl::step_folder(const LivePtr& l, const NodeView& n) const {
  return fmt::format("{}/steps/{}/{}", options.folder, l->run.id, n.uuid);
}

// Only once its end is on disk: until then a restart looks there for the outputs.
void Runner::Impl::clear_step(const LivePtr& l, const NodeView& n) const {
  std::error_code ec;
  if (!n.uuid.empty()) fs::remove_all(step_folder(l, n), ec);
}

Result<Step> Runner::Impl::make_step(const LivePtr& l, const NodeView& n) const {
  StepOptions o;
  o.folder = step_folder(l, n);
  o.pod_name = n.pod;
  auto root = l->run.pipeline_root.empty() ? l->engine->plan().default_root : l->run.pipeline_root;
  if (root.empty()) root = options.default_root;
  while (root.ends_with('/')) root.pop_back();
  o.root_uri = fmt::format("{}/{}/{}", root, l->engine->plan().name, l->run.id);
  o.service_account = l->run.service_account;
  o.env = step_env(l, n.path);
  o.disk_limit = options.step_disk;
  o.resource_ttl = resource_ttl(l->engine->plan());
  if (!l->engine->facts().workspace_path.empty()) {
    o.workspace_folder = fmt::format("{}/steps/{}/workspace", options.folder, l->run.id);
    std::error_code ec;
    fs::create_directories(o.workspace_folder, ec);
  }
  return Step::make(l->engine->facts(), n, std::move(o), scope(l, n.path));
}

task::Task<void> Runner::Impl::carry_out(LivePtr l, std::string node, int attempt_number, std::int64_t not_before) {
  auto self = shared_from_this();
  while (!stopping && options.now_ms() < not_before) {
    auto n = l->engine->node(node);
    if (!n || is_final(n->state)) break;
    co_await task::sleep_ms(std::clamp<long>(static_cast<long>(not_before - options.now_ms()), 1, 200));
  }
  co_await slots.take();
  auto n = l->engine->node(node);
  if (!stopping && n && !is_final(n->state) && n->attempts == attempt_number - 1 && !l->killed.contains(node))
    co_await attempt(l, std::move(*n), attempt_number);
  slots.give();
  --l->busy;
  retire(l);
}

task::Task<void> Runner::Impl::attempt(LivePtr l, NodeView n, int number) {
  if (n.component->kind == ComponentKind::importer) co_return co_await import(l, std::move(n), number);
  const auto& image = n.component->container.image;
  for (auto [stub, create] : {std::pair{kCreateClaim, true}, {kDeleteClaim, false}})
    if (image == stub || image.starts_with(std::string(stub) + ":") || image.ends_with("/" + std::string(stub)))
      co_return co_await volume_claim(l, std::move(n), number, create);
  std::string note;
  if (co_await from_cache(l, n, number, note)) co_return;
  auto start = ended(n, number, Event::Kind::started);
  start.uuid = new_uuid();
  start.pod = pod_name(l->run.resource_name, n.key);
  start.cache_note = note;
  if (auto r = co_await record(l, start); !r) co_return;
  n = *l->engine->node(n.path);
  co_await begin_nested(l, n);
  Event end = ended(n, number, Event::Kind::succeeded);
  if (auto r = co_await run_step(l, n, end); !r) {
    end.kind = Event::Kind::failed;
    end.error = r.error();
  }
  co_await end_nested(l, n, end);
  if (stopping) co_return;  // the next start begins this attempt again
  (void)co_await record(l, std::move(end));
  clear_step(l, n);
}

// An attempt whose pod was under way when the program ended. What the pod had finished counts; else it begins again.
task::Task<void> Runner::Impl::again(LivePtr l, NodeView n) {
  auto self = shared_from_this();
  for (int i = 0; !stopping && !pods.synced() && i < 6000; ++i) co_await task::sleep_ms(10);
  co_await slots.take();
  Event end = ended(n, n.attempts, Event::Kind::succeeded);
  auto pod = pods.get({l->run.ns, n.pod});
  Result<void> r;
  if (n.component->kind != ComponentKind::container || n.pod.empty()) {
    r = fail(Code::internal, "the program ended while the step was under way");
  } else if (std::error_code ec;
             pod && kube::text_at(*pod, "status.phase") == "Succeeded" && fs::is_directory(step_folder(l, n), ec)) {
    auto step = make_step(l, n);
    if (!step) {
      r = std::unexpected(step.error());
    } else {
      auto outputs = co_await step->collect(files, true);
      if (outputs) {
        end.parameters = std::move(outputs->parameters);
        end.artifacts = std::move(outputs->artifacts);
        // The node may learn of the pod a moment after us.
        for (int i = 0; i < kLogTries && !stopping; ++i) {
          if (co_await save_log(pod, log_path(l->run.id, n.path, n.attempts))) break;
          co_await task::sleep_ms(100);
        }
      } else {
        r = std::unexpected(outputs.error());
      }
    }
  } else if (!stopping) {
    if (pod) co_await forget_pod({l->run.ns, n.pod});
    auto start = ended(n, n.attempts, Event::Kind::started);
    start.uuid = new_uuid();
    start.pod = pod_name(l->run.resource_name, n.key);
    if (auto kept = co_await record(l, start); kept) {
      n = *l->engine->node(n.path);
      r = co_await run_step(l, n, end);
    } else {
      r = std::unexpected(kept.error());
    }
  }
  if (!r) {
    end.kind = Event::Kind::failed;
    end.error = r.error();
  }
  if (!stopping) {
    (void)co_await record(l, std::move(end));
    clear_step(l, n);
  }
  slots.give();
  --l->busy;
  retire(l);
}

// From the step's folder to its recorded outputs. `end` gets them, on failure too, as far as they are there.
task::Task<Result<void>> Runner::Impl::run_step(LivePtr l, NodeView n, Event& end) {
  MR_CO_TRY(auto step, make_step(l, n));
  if (auto r = co_await step.prepare(files); !r) {
    co_return std::unexpected(r.error());
  }
  MR_CO_CHECK(co_await check_devices(step.pod()));
  kube::Key key{l->run.ns, n.pod};
  auto made = l->killed.contains(n.path) ? fail(Code::cancelled, "canceled")
                                         : co_await client.create(kube::gvr::pods, step.pod());
  if (!made) {
    co_return fail(made.error().code == Code::cancelled ? Code::cancelled : Code::failed_precondition,
                   made.error().code == Code::cancelled
                       ? std::string("the run was canceled")
                       : fmt::format("the step's pod could not be made: {}", made.error().message));
  }
  auto over = co_await wait_for(l, n.path, key);
  if (stopping) co_return fail(Code::unavailable, "the program ends");
  std::string tail;
  if (auto pod = pods.get(key)) tail = (co_await save_log(pod, log_path(l->run.id, n.path, n.attempts))).value_or("");
  if (over.ok) {
    auto outputs = co_await step.collect(files, true);
    if (outputs) {
      end.parameters = std::move(outputs->parameters);
      end.artifacts = std::move(outputs->artifacts);
    } else {
      over.ok = false;
      over.error = outputs.error();
    }
  } else if (auto outputs = co_await step.collect(files, false)) {
    // What a failed step did write is worth looking at.
    end.parameters = std::move(outputs->parameters);
    end.artifacts = std::move(outputs->artifacts);
    if (auto line = last_line(tail); !line.empty()) over.error.message += ": " + line;
  }
  for (const auto& [name, list] : n.input_artifacts)
    (void)co_await store.record_artifacts(l->run.ns, l->run.id, n.path, name, false, list);
  for (auto& [name, list] : end.artifacts) {
    auto with_ids = co_await store.record_artifacts(l->run.ns, l->run.id, n.path, name, true, list);
    if (with_ids) list = std::move(*with_ids);
  }
  if (l->killed.contains(n.path)) co_return fail(Code::cancelled, "the run was canceled");
  if (!over.ok) co_return std::unexpected(over.error);
  if (n.task != nullptr && n.task->cache && options.cache) {
    auto claims = claims_of(l, n);
    auto cache = cache_key(n, claims, options.cache_ignore);
    CacheEntry entry;
    entry.run_id = l->run.id;
    entry.node = n.path;
    entry.created_ms = options.now_ms();
    entry.parameters = end.parameters;
    entry.artifacts = end.artifacts;
    entry.inputs = std::move(cache.parts);
    Array unwritten;
    for (const auto& [_, list] : end.artifacts)
      for (const auto& a : list)
        if (auto there = files.exists(a.uri); files.serves(a.uri) && there && !*there) unwritten.emplace_back(a.uri);
    if (!unwritten.empty()) entry.inputs["unwritten"] = std::move(unwritten);
    const auto& name = l->engine->plan().name;
    (void)co_await store.cache_put(cache.digest, "pipeline/" + name, l->run.ns, name + "/" + n.key, std::move(entry));
  }
  co_return Result<void>{};
}

// What no node has, devices or as much memory, will not come by waiting.
task::Task<Result<void>> Runner::Impl::check_devices(kube::Object pod) {
  const auto& container = kube::array_at(pod, "spec.containers").front().get_object();
  Object asked = kube::object_at(container, "resources.limits");
  // Limits bind devices; of the rest, what is requested is what must be there.
  for (auto it = asked.begin(); it != asked.end();)
    it = std::string_view(it->key()).contains('/') ? it + 1 : asked.erase(it);
  for (const auto& request : kube::object_at(container, "resources.requests")) asked[request.key()] = request.value();
  if (asked.empty()) co_return Result<void>{};
  auto nodes = co_await client.list(kube::gvr::nodes);
  if (!nodes) co_return std::unexpected(nodes.error());
  for (const auto& one : asked) {
    auto wanted = kube::quantity_milli(to_text(one.value())).value_or(0);
    bool there = std::ranges::any_of(nodes->items, [&](const kube::ObjectPtr& node) {
      const auto* v = kube::object_at(*node, "status.allocatable").if_contains(one.key());
      return v != nullptr && kube::quantity_milli(to_text(*v)).value_or(0) >= wanted;
    });
    if (!there)
      co_return fail(Code::failed_precondition,
                     fmt::format("Unschedulable: the step asks for {} {}, and no node has as much",
                                 to_text(one.value()), std::string_view(one.key())));
  }
  co_return Result<void>{};
}

task::Task<void> Runner::Impl::kill(LivePtr l, std::string node) {
  auto self = shared_from_this();
  auto n = l->engine->node(node);
  if (!n || n->pod.empty()) co_return;
  kube::Key key{l->run.ns, n->pod};
  // The log goes with the pod.
  if (auto pod = pods.get(key)) (void)co_await save_log(pod, log_path(l->run.id, n->path, n->attempts));
  (void)co_await client.remove(kube::gvr::pods, key);
}

// The whole log into `path`; answers its end. It is there whole or not at all: a restart that finds a piece of it would
// take that for the log.
task::Task<std::optional<std::string>> Runner::Impl::save_log(kube::ObjectPtr pod, std::string path) {
  kube::LogOptions o;
  o.container = "main";
  auto answer = co_await logs.logs(pod, o);
  if (!answer) co_return std::nullopt;
  std::error_code ec;
  fs::create_directories(fs::path(path).parent_path(), ec);
  const auto unfinished = path + ".new";
  std::ofstream out(unfinished, std::ios::binary);
  std::string tail;
  auto take = [&](std::string_view piece) {
    out.write(piece.data(), static_cast<std::streamsize>(piece.size()));
    tail += piece;
    if (tail.size() > 2 * kLogTail) tail.erase(0, tail.size() - kLogTail);
  };
  if (auto* text = std::get_if<std::string>(&answer->body)) {
    take(*text);
  } else if (auto* stream = std::get_if<http::StreamBody>(&answer->body)) {
    for (;;) {
      auto piece = co_await (*stream)();
      if (!piece || piece->empty()) break;
      take(*piece);
    }
  }
  out.close();
  fs::rename(unfinished, path, ec);
  co_return tail;
}

task::Task<void> Runner::Impl::forget_pod(kube::Key key) { (void)co_await client.remove(kube::gvr::pods, key); }

}  // namespace mr::pipelines
