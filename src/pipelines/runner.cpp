#include "pipelines/runner.h"

#include <fcntl.h>

#include <filesystem>
#include <future>

#include "log/log.h"
#include "pipelines/runner_state.h"
#include "text/text.h"

namespace mr::pipelines {

namespace {
constexpr std::size_t kRecent = 16;
constexpr long kTickMs = 500;
constexpr std::int64_t kTidyMs = 5000;
constexpr std::int64_t kCacheTidyMs = 600'000;
}  // namespace

Result<LivePtr> Runner::Impl::load(const std::string& id) {
  auto l = std::make_shared<Live>();
  MR_TRY(l->run, store.run(id));
  MR_TRY(auto plan, compile(l->run.spec));
  RunFacts facts;
  facts.run_id = id;
  facts.name = l->run.name;
  facts.resource_name = l->run.resource_name;
  facts.ns = l->run.ns;
  facts.created_ms = l->run.created_ms;
  facts.scheduled_ms = l->run.scheduled_ms;
  const auto* workspace = plan->pipeline_config.if_contains("workspace");
  if (workspace != nullptr && workspace->is_object()) facts.workspace_path = "/kfp-workspace";
  if (const auto* d = plan->pipeline_config.if_contains("activeDeadlineSeconds"))
    if (auto s = text::to_u64(to_text(*d)); s && *s > 0)
      l->deadline_ms = l->run.created_ms + static_cast<std::int64_t>(*s) * 1000;
  l->engine = std::make_unique<Engine>(plan, std::move(facts), l->run.parameters);
  l->engine->begin(l->run.created_ms);
  MR_TRY(auto events, store.events(id));
  for (const auto& e : events)
    if (auto r = l->engine->apply(e); !r)
      log::error("an event of a pipeline run does not fit its plan", {{"run", id}, {"error", r.error().message}});
  return l;
}

Result<LivePtr> Runner::Impl::find(const std::string& id) {
  if (auto it = live.find(id); it != live.end()) return it->second;
  for (const auto& [known, l] : recent)
    if (known == id) return l;
  MR_TRY(auto l, load(id));
  recent.emplace_back(id, l);
  if (recent.size() > kRecent) recent.pop_front();
  return l;
}

task::Task<void> Runner::Impl::take_up(std::string id, bool fresh) {
  if (live.contains(id)) co_return;
  auto l = load(id);
  if (!l) {
    log::error("a pipeline run cannot be taken up", {{"run", id}, {"error", l.error().message}});
    Error e = l.error();
    auto now = options.now_ms();
    (void)co_await store.append(id, {}, State::failed, now, e, {{now, State::failed, e}});
    co_return;
  }
  auto one = *l;
  live[id] = one;
  auto& engine = *one->engine;
  auto commands = engine.take_commands();
  auto running = engine.running();
  if (fresh)
    (void)co_await store.append(id, {}, engine.state(), engine.finished_ms(), engine.error(), engine.history());
  co_await begin_tracking(one);
  // Those whose pod was under way when the program ended.
  for (auto& n : running) {
    ++one->busy;
    group.spawn(again(one, std::move(n)));
  }
  dispatch(one, std::move(commands));
  retire(one);
}

void Runner::Impl::dispatch(const LivePtr& l, std::vector<Command> commands) {
  for (auto& c : commands) {
    if (c.kind == Command::Kind::kill) {
      l->killed.insert(c.node);
      group.spawn(kill(l, c.node));
      continue;
    }
    ++l->busy;
    group.spawn(carry_out(l, c.node, c.attempt, c.not_before_ms));
  }
}

task::Task<Result<void>> Runner::Impl::record(LivePtr l, Event e) {
  e.time_ms = options.now_ms();
  MR_CO_CHECK(l->engine->apply(e));
  auto& engine = *l->engine;
  auto commands = engine.take_commands();
  std::vector<Event> events;
  events.push_back(std::move(e));
  // What happened has happened: when the disk is full or gone, the run waits for it rather than forget.
  for (long wait = 100;; wait = std::min(wait * 2, 10'000L)) {
    auto kept = co_await store.append(l->run.id, events, engine.state(), engine.finished_ms(), engine.error(),
                                      engine.history());
    if (kept || kept.error().code == Code::not_found) break;  // it was deleted meanwhile
    log::error("an event of a pipeline run cannot be kept; trying again",
               {{"run", l->run.id}, {"error", kept.error().message}, {"detail", kept.error().detail}});
    if (stopping) co_return std::unexpected(kept.error());
    co_await task::sleep_ms(wait);
  }
  if (!stopping) dispatch(l, std::move(commands));
  retire(l);
  co_return Result<void>{};
}

// A run that is over, and nothing of it under way, leaves the living.
void Runner::Impl::retire(const LivePtr& l) {
  if (!is_final(l->engine->state()) || l->busy > 0) return;
  if (!l->tracking_run.empty() && !std::exchange(l->tracking_ended, true) && !stopping) group.spawn(end_tracking(l));
  if (live.erase(l->run.id) == 0) return;
  if (l->deleted) return drop_files(l->run.id);
  std::error_code ec;
  std::filesystem::remove_all(fmt::format("{}/steps/{}", options.folder, l->run.id), ec);
  recent.emplace_back(l->run.id, l);
  if (recent.size() > kRecent) recent.pop_front();
}

// Time limits of whole runs.
void Runner::Impl::tick() {
  auto now = options.now_ms();
  for (const auto& [_, l] : live)
    if (l->deadline_ms != 0 && now >= l->deadline_ms && !is_final(l->engine->state())) {
      l->deadline_ms = 0;
      Event e;
      e.kind = Event::Kind::deadline;
      group.spawn([](std::shared_ptr<Impl> self, LivePtr run, Event event) -> task::Task<void> {
        (void)co_await self->record(run, std::move(event));
      }(shared_from_this(), l, std::move(e)));
    }
  if (now - tidied_ms >= kTidyMs) {
    tidied_ms = now;
    tidy_pods();
    if (now - cache_tidied_ms >= kCacheTidyMs) {
      cache_tidied_ms = now;
      group.spawn(tidy_cache());
    }
  }
  clock.start(kTickMs, [this] { tick(); });
}

Runner::Runner(kube::Client& client, kube::Pods& pods, Store& store, ArtifactFiles& files, RunnerOptions options)
    : impl_(std::make_shared<Impl>(client, pods, store, files, std::move(options))) {}
Runner::~Runner() { stop(); }

void Runner::begin() {
  auto* m = impl_.get();
  m->pods.on_change([m](const kube::ObjectPtr& now, const kube::ObjectPtr& before) {
    const auto& o = now ? *now : *before;
    if (auto it = m->waiting.find(kube::key_of(o)); it != m->waiting.end()) it->second->set();
  });
  m->manager.start();
  m->loop.post([m] {
    m->tick();
    auto ids = m->store.unfinished_runs();
    if (!ids) {
      log::error("the unfinished pipeline runs cannot be read", {{"error", ids.error().message}});
      return;
    }
    m->clear_folders(*ids);
    m->group.spawn(m->clear_logs());
    for (auto& id : *ids) m->group.spawn(m->take_up(std::move(id), false));
  });
}

void Runner::stop() {
  auto m = impl_;
  std::promise<void> done;
  auto future = done.get_future();
  if (m->stopping) return;
  m->loop.post([m, &done] {
    m->stopping = true;
    m->clock.cancel();
    for (auto& [_, event] : m->waiting) event->set();
    task::detach([](std::shared_ptr<Impl> self, std::promise<void>& p) -> task::Task<void> {
      co_await self->group.join();
      p.set_value();
    }(m, done));
  });
  future.wait();
  m->manager.stop();
  m->loops.stop();
}

void Runner::start(const std::string& run_id) {
  impl_->loop.post([m = impl_.get(), run_id] {
    if (!m->stopping) m->group.spawn(m->take_up(run_id, true));
  });
}

void Runner::forget(const std::string& run_id) {
  impl_->loop.post([m = impl_.get(), run_id] {
    if (!m->stopping) m->forget(run_id);
  });
}

namespace {

// Runs `t` on the runner's loop and comes back to the caller's.
template <class T>
task::Task<T> over_there(task::Loop& there, task::Task<T> t) {
  auto* here = task::Loop::current();
  co_await task::Hop{there};
  T result = co_await std::move(t);
  if (here != nullptr) co_await task::Hop{*here};
  co_return result;
}

task::Task<Result<>> do_terminate(std::shared_ptr<Runner::Impl> m, std::string id) {
  auto it = m->live.find(id);
  if (it == m->live.end()) co_return fail(Code::failed_precondition, fmt::format("Run {} is not under way", id));
  Event e;
  e.kind = Event::Kind::terminate;
  co_return co_await m->record(it->second, std::move(e));
}

task::Task<Result<>> do_retry(std::shared_ptr<Runner::Impl> m, std::string id) {
  if (m->live.contains(id)) co_return fail(Code::failed_precondition, fmt::format("Run {} is still under way", id));
  MR_CO_TRY(auto l, m->find(id));
  if (l->engine->state() != State::failed && l->engine->state() != State::canceled)
    co_return fail(Code::failed_precondition, "only a failed or canceled run can be retried");
  std::erase_if(m->recent, [&](const auto& r) { return r.first == id; });
  m->live[id] = l;
  l->killed.clear();
  co_await m->begin_tracking(l);
  if (std::exchange(l->tracking_ended, false) && !l->tracking_run.empty())
    (void)co_await m->options.tracking->update_run(l->tracking_run, "RUNNING", 0);
  if (l->deadline_ms != 0) l->deadline_ms = m->options.now_ms() + (l->deadline_ms - l->run.created_ms);
  Event e;
  e.kind = Event::Kind::retry;
  co_return co_await m->record(l, std::move(e));
}

task::Task<Result<std::vector<NodeView>>> do_nodes(std::shared_ptr<Runner::Impl> m, std::string id) {
  MR_CO_TRY(auto l, m->find(id));
  auto nodes = l->engine->nodes(false);
  if (!l->held.empty())
    for (auto& n : nodes) Runner::Impl::tell_held(*l, n);
  co_return nodes;
}

task::Task<Result<NodeView>> do_node(std::shared_ptr<Runner::Impl> m, std::string id, std::string path) {
  MR_CO_TRY(auto l, m->find(id));
  auto n = l->engine->node(path);
  if (!n) co_return fail(Code::not_found, fmt::format("run {} has no node {}", id, path));
  Runner::Impl::tell_held(*l, *n);
  co_return std::move(*n);
}

task::Task<Result<http::Response>> do_log(std::shared_ptr<Runner::Impl> m, std::string id, std::string node,
                                          bool follow) {
  MR_CO_TRY(auto l, m->find(id));
  std::optional<NodeView> found;
  for (auto& n : l->engine->nodes(false))
    if (n.path == node || n.pod == node || task_id(id, n.path) == node) found = std::move(n);
  if (!found) co_return fail(Code::not_found, fmt::format("run {} has no node {}", id, node));
  // A step that was found in the cache has the log of the one that ran.
  if (!found->cached_run.empty() && found->cached_run != id)
    co_return co_await do_log(m, found->cached_run, found->cached_node, false);
  for (int attempt = found->attempts; attempt > 0; --attempt) {
    auto path = m->log_path(id, found->path, attempt);
    std::error_code ec;
    auto size = std::filesystem::file_size(path, ec);
    if (ec) {
      if (attempt != found->attempts) continue;
      if (auto pod = m->pods.get({l->run.ns, found->pod})) {
        kube::LogOptions options;
        options.container = "main";
        options.follow = follow;
        co_return co_await m->logs.logs(pod, options);
      }
      continue;
    }
    http::Response r = http::Response::text(200, "");
    http::FileBody body;
    body.fd = Fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    body.length = size;
    r.body = std::move(body);
    co_return std::move(r);
  }
  co_return fail(Code::not_found, fmt::format("node {} of run {} has no log", node, id));
}

}  // namespace

task::Task<Result<>> Runner::terminate(std::string run_id) {
  return over_there(impl_->loop, do_terminate(impl_, std::move(run_id)));
}
task::Task<Result<>> Runner::retry(std::string run_id) {
  return over_there(impl_->loop, do_retry(impl_, std::move(run_id)));
}
task::Task<Result<std::vector<NodeView>>> Runner::nodes(std::string run_id) {
  return over_there(impl_->loop, do_nodes(impl_, std::move(run_id)));
}
task::Task<Result<NodeView>> Runner::node(std::string run_id, std::string path) {
  return over_there(impl_->loop, do_node(impl_, std::move(run_id), std::move(path)));
}
task::Task<Result<http::Response>> Runner::log(std::string run_id, std::string node, bool follow) {
  return over_there(impl_->loop, do_log(impl_, std::move(run_id), std::move(node), follow));
}

}  // namespace mr::pipelines
