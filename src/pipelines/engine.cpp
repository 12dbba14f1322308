#include "pipelines/engine.h"

#include <algorithm>
#include <cmath>

#include "pipelines/engine_state.h"

namespace mr::pipelines {

namespace {
constexpr std::size_t kMaxNodes = 200'000;  // of one run: loops in loops multiply
}  // namespace

Node* Engine::Impl::add(std::string path, Node* parent, const Task* task, const Component* component) {
  auto& n = nodes.emplace_back();
  n.path = std::move(path);
  n.parent = parent;
  n.task = task;
  n.component = component;
  n.created_ms = now;
  by_path[n.path] = &n;
  return &n;
}

void Engine::Impl::set(Node& n, State s, std::optional<Error> e) {
  if (n.state == s && !e) return;
  n.state = s;
  n.error = e;
  n.history.push_back({now, s, std::move(e)});
}

void Engine::Impl::set_run(State s, std::optional<Error> e) {
  state = s;
  error = e;
  history.push_back({now, s, std::move(e)});
}

// Follows what is due until nothing more follows. A queue, not recursion: chains may be 10,000 tasks long.
void Engine::Impl::drain() {
  while (!work.empty()) {
    auto* n = work.front();
    work.pop_front();
    look_at(*n);
  }
}

void Engine::Impl::look_at(Node& n) {
  if (is_final(n.state)) return;
  if (n.state == State::pending && n.waiting == 0) return begin_node(n);
  if (n.state == State::running && !n.leaf() && n.open == 0) close(n);
}

// All that the node waits for is over: what becomes of it?
void Engine::Impl::begin_node(Node& n) {
  if (n.leaf() && (n.wanted || n.in_flight)) return;
  if (ending != Ending::no) return finish(n, State::canceled);
  if (n.iteration < 0 && n.task != nullptr && !n.task->run_always)
    for (auto u : n.task->upstream)
      if (!n.parent->children[u]->succeeded()) return finish(n, State::skipped);
  // Iterations have their inputs from their loop.
  if (n.iteration < 0) {
    if (auto r = resolve(n); !r) return finish(n, State::failed, r.error());
    if (n.task != nullptr && n.task->condition) {
      auto holds = condition_holds(n);
      if (!holds) return finish(n, State::failed, holds.error());
      if (!*holds) return finish(n, State::skipped);
    }
    if (n.loop) {
      const auto& it = *n.task->iterator;
      Array items;
      std::vector<Artifact> artifacts;
      if (it.over_artifacts) {
        artifacts = n.input_artifacts[it.items_input];
      } else if (it.raw) {
        items = *it.raw;
      } else {
        auto given = n.inputs.find(it.items_input);
        Value v = given == n.inputs.end() ? Value(Array{}) : *given->second;
        if (v.is_string()) {
          auto parsed = from_text(v.get_string(), ParameterType::list, it.items_input);
          if (!parsed) return finish(n, State::failed, parsed.error());
          v = std::move(*parsed);
        }
        if (!v.is_array())
          return finish(n, State::failed,
                        Error{Code::invalid_argument,
                              fmt::format("the loop's items, \"{}\", must be a list", it.items_input),
                              {},
                              {}});
        items = std::move(v.get_array());
      }
      return begin_loop(n, std::move(items), std::move(artifacts));
    }
  }
  if (n.leaf()) return want(n, n.attempts + 1, 0);
  begin_dag(n);
}

void Engine::Impl::begin_dag(Node& n) {
  const auto& c = *n.component;
  if (nodes.size() + c.tasks.size() > kMaxNodes)
    return finish(n, State::failed,
                  Error{Code::resource_exhausted, fmt::format("the run has more than {} tasks", kMaxNodes), {}, {}});
  n.started_ms = now;
  set(n, State::running);
  n.open = c.tasks.size();
  n.children.clear();
  for (const auto& t : c.tasks) {
    auto path = n.path.empty() ? t.key : n.path + "/" + t.key;
    auto* child = add(std::move(path), &n, &t, &plan->components[t.component]);
    child->loop = t.iterator.has_value();
    child->waiting = t.upstream.size();
    n.children.push_back(child);
  }
  for (auto i : c.order)
    if (n.children[i]->waiting == 0) work.push_back(n.children[i]);
  if (n.open == 0) work.push_back(&n);
}

void Engine::Impl::begin_loop(Node& n, Array items, std::vector<Artifact> item_artifacts) {
  const auto& it = *n.task->iterator;
  auto count = it.over_artifacts ? item_artifacts.size() : items.size();
  if (nodes.size() + count > kMaxNodes)
    return finish(n, State::failed,
                  Error{Code::resource_exhausted, fmt::format("the run has more than {} tasks", kMaxNodes), {}, {}});
  auto in = n.component->input_parameters.find(it.item_input);
  if (!it.over_artifacts && in != n.component->input_parameters.end())
    for (auto& item : items) {
      auto value = convert(item, in->second.type, it.item_input);
      if (!value) return finish(n, State::failed, value.error());
      item = std::move(*value);
    }
  n.started_ms = now;
  set(n, State::running);
  n.open = count;
  n.next = n.active = 0;
  n.any_failed = false;
  n.children.clear();
  for (std::size_t i = 0; i < count; ++i) {
    auto* child = add(fmt::format("{}/{}", n.path, i), &n, n.task, n.component);
    child->iteration = static_cast<int>(i);
    child->inputs = n.inputs;
    child->input_artifacts = n.input_artifacts;
    if (!it.items_input.empty() && !n.component->input_parameters.contains(it.items_input))
      child->inputs.erase(it.items_input);
    if (it.over_artifacts) {
      if (!n.component->input_artifacts.contains(it.items_input)) child->input_artifacts.erase(it.items_input);
      child->input_artifacts[it.item_input] = {std::move(item_artifacts[i])};
    } else {
      child->inputs[it.item_input] = std::make_shared<const Value>(std::move(items[i]));
    }
    n.children.push_back(child);
  }
  more_iterations(n);
  if (n.open == 0) work.push_back(&n);
}

// Begins iterations up to the loop's limit; after a failure, none any more.
void Engine::Impl::more_iterations(Node& n) {
  if (n.any_failed || ending != Ending::no) {
    auto from = std::exchange(n.next, n.children.size());
    for (auto i = from; i < n.children.size(); ++i)
      if (auto& c = *n.children[i]; !is_final(c.state) && !c.counted)
        finish(c, n.any_failed ? State::skipped : State::canceled);
    return;
  }
  auto limit =
      n.task->iterator->parallelism == 0 ? n.children.size() : static_cast<std::size_t>(n.task->iterator->parallelism);
  for (; n.active < limit && n.next < n.children.size(); ++n.next) {
    auto& c = *n.children[n.next];
    if (is_final(c.state) || c.counted) continue;  // kept by a retry
    c.counted = true;
    ++n.active;
    work.push_back(&c);
  }
}

// Every child is over: the state of a DAG or loop follows from theirs.
void Engine::Impl::close(Node& n) {
  const Node* failed = nullptr;
  bool canceled = false;
  for (const auto* c : n.children) {
    if (c->state == State::failed && failed == nullptr) failed = c;
    canceled |= c->state == State::canceled;
  }
  if (canceled && ending != Ending::no) return finish(n, State::canceled);
  if (failed != nullptr) {
    auto name = failed->iteration >= 0 ? fmt::format("iteration {}", failed->iteration)
                                       : fmt::format("task \"{}\"", failed->task->display_name);
    auto why = failed->error ? failed->error->message : std::string("failed");
    return finish(
        n, State::failed,
        Error{failed->error ? failed->error->code : Code::internal, fmt::format("{}: {}", name, why), {}, {}});
  }
  if (n.loop) {
    loop_outputs(n);
  } else if (auto r = dag_outputs(n); !r) {
    return finish(n, State::failed, r.error());
  }
  finish(n, State::succeeded);
}

void Engine::Impl::finish(Node& n, State s, std::optional<Error> e) {
  n.finished_ms = now;
  n.wanted = n.in_flight = false;
  std::erase_if(commands, [&](const Command& c) { return c.node == n.path; });
  set(n, s, e);
  auto* p = n.parent;
  if (p == nullptr) {
    if (ending == Ending::deadline)
      return set_run(State::failed,
                     Error{Code::deadline_exceeded, "the run took longer than its activeDeadlineSeconds", {}, {}});
    return set_run(ending == Ending::canceled && s != State::succeeded ? State::canceled : s, std::move(e));
  }
  --p->open;
  if (n.iteration >= 0) {
    if (std::exchange(n.counted, false)) --p->active;
    p->any_failed |= s == State::failed;
    more_iterations(*p);
  } else {
    for (auto d : n.task->downstream) {
      auto* child = p->children[d];
      if (--child->waiting == 0) work.push_back(child);
    }
  }
  if (p->open == 0) work.push_back(p);
}

void Engine::Impl::want(Node& n, int attempt, std::int64_t not_before) {
  n.wanted = true;
  commands.push_back({Command::Kind::launch, n.path, attempt, not_before});
}

void Engine::Impl::attempt_failed(Node& n, const Event& e) {
  n.in_flight = false;
  if (ending != Ending::no) return finish(n, State::canceled, e.error);
  const auto& retry = n.task->retry;
  int done = n.attempts - n.first_attempt;  // retries that were made
  if (retry && done < retry->max_retries) {
    auto wait = retry->backoff_s * std::pow(retry->factor, done);
    auto spent = static_cast<double>(e.time_ms - n.first_started_ms) / 1000;
    if (std::isfinite(wait) && spent + wait <= retry->max_backoff_s)
      return want(n, n.attempts + 1, e.time_ms + static_cast<std::int64_t>(wait * 1000));
  }
  n.output_artifacts = e.artifacts;
  for (const auto& p : e.parameters) n.outputs[p.key()] = std::make_shared<const Value>(p.value());
  finish(n, State::failed, e.error ? e.error : std::optional(Error{Code::internal, "the step failed", {}, {}}));
}

// A terminated run: what has not started never will, what runs is killed.
void Engine::Impl::end_all(Node& n) {
  if (is_final(n.state)) return;
  if (n.leaf()) {
    if (n.in_flight)
      commands.push_back({Command::Kind::kill, n.path, n.attempts, 0});
    else
      finish(n, State::canceled);
    return;
  }
  if (n.state == State::pending) return finish(n, State::canceled);
  for (std::size_t i = 0; i < n.children.size(); ++i) end_all(*n.children[i]);
}

// For a retry: everything below `n` that did not succeed begins again; what succeeded stays.
void Engine::Impl::reset(Node& n) {
  n.error.reset();
  n.finished_ms = 0;
  if (n.leaf() || n.children.empty()) {
    n.first_attempt = n.attempts + 1;
    n.first_started_ms = 0;
    n.outputs.clear();
    n.output_artifacts.clear();
    if (n.iteration < 0) {
      n.inputs.clear();
      n.input_artifacts.clear();
    }
    set(n, State::pending);
    return;
  }
  set(n, State::running);
  n.open = 0;
  for (auto* c : n.children) {
    if (c->succeeded()) continue;
    reset(*c);
    ++n.open;
  }
  if (n.loop) {
    n.next = n.active = 0;
    n.any_failed = false;
    for (auto* c : n.children) {
      c->counted = c->state == State::running;
      n.active += c->counted ? 1 : 0;
    }
    more_iterations(n);
  } else {
    for (auto i : n.component->order) {
      auto* c = n.children[i];
      if (c->succeeded()) continue;
      c->waiting = 0;
      for (auto u : c->task->upstream) c->waiting += n.children[u]->succeeded() ? 0 : 1;
      if (c->waiting == 0) work.push_back(c);
    }
  }
  if (n.open == 0) work.push_back(&n);
}

Engine::Engine(std::shared_ptr<const Plan> plan, RunFacts facts, Object parameters) : impl_(std::make_unique<Impl>()) {
  impl_->plan = std::move(plan);
  impl_->facts = std::move(facts);
  impl_->parameters = std::move(parameters);
}
Engine::~Engine() = default;
Engine::Engine(Engine&&) noexcept = default;

void Engine::begin(std::int64_t time_ms) {
  auto& m = *impl_;
  m.now = m.facts.created_ms != 0 ? m.facts.created_ms : time_ms;
  m.set_run(State::pending);
  m.now = time_ms;
  m.set_run(State::running);
  m.root = m.add("", nullptr, nullptr, &m.plan->root_component());
  m.work.push_back(m.root);
  m.drain();
}

Result<void> Engine::apply(const Event& e) {
  auto& m = *impl_;
  m.now = std::max(m.now, e.time_ms);
  using Kind = Event::Kind;
  if (e.kind == Kind::terminate || e.kind == Kind::deadline) {
    if (is_final(m.state)) return fail(Code::failed_precondition, "the run is over");
    if (m.ending != Impl::Ending::no) return {};
    m.ending = e.kind == Kind::terminate ? Impl::Ending::canceled : Impl::Ending::deadline;
    if (e.kind == Kind::terminate) m.set_run(State::canceling);
    m.end_all(*m.root);
    m.drain();
    return {};
  }
  if (e.kind == Kind::retry) {
    if (m.state != State::failed && m.state != State::canceled)
      return fail(Code::failed_precondition, "only a failed or canceled run can be retried");
    m.ending = Impl::Ending::no;
    m.set_run(State::running);
    m.reset(*m.root);
    if (m.root->state == State::pending) m.work.push_back(m.root);
    m.drain();
    return {};
  }
  auto it = m.by_path.find(e.node);
  if (it == m.by_path.end() || !it->second->leaf() || it->second->task == nullptr)
    return fail(Code::failed_precondition, fmt::format("the run has no step \"{}\"", e.node));
  auto& n = *it->second;
  if (is_final(n.state)) return fail(Code::failed_precondition, fmt::format("the step \"{}\" is over", e.node));
  if (e.kind == Kind::started) {
    // The program ended while the attempt was under way: the same attempt begins again, in another pod.
    if (n.in_flight && e.attempt == n.attempts) {
      n.pod = e.pod;
      n.uuid = e.uuid;
      return {};
    }
    if (!n.wanted || e.attempt != n.attempts + 1)
      return fail(Code::failed_precondition,
                  fmt::format("the step \"{}\" does not wait for attempt {}", e.node, e.attempt));
    n.wanted = false;
    n.in_flight = true;
    n.attempts = e.attempt;
    if (n.started_ms == 0) n.started_ms = e.time_ms;
    if (n.first_started_ms == 0) n.first_started_ms = e.time_ms;
    n.pod = e.pod;
    n.uuid = e.uuid;
    if (!e.cache_note.empty()) n.cache_note = e.cache_note;
    m.set(n, State::running);
    std::erase_if(m.commands, [&](const Command& c) { return c.node == n.path && c.kind == Command::Kind::launch; });
    return {};
  }
  // A failure may come before the start (inputs that cannot be fetched, a pod that cannot be made): it counts as one.
  if (n.wanted && e.attempt == n.attempts + 1) {
    n.wanted = false;
    n.attempts = e.attempt;
    if (n.started_ms == 0) n.started_ms = e.time_ms;
    if (n.first_started_ms == 0) n.first_started_ms = e.time_ms;
    if (!e.uuid.empty()) n.uuid = e.uuid;
    std::erase_if(m.commands, [&](const Command& c) { return c.node == n.path && c.kind == Command::Kind::launch; });
  } else if (!n.in_flight || e.attempt != n.attempts) {
    return fail(Code::failed_precondition,
                fmt::format("attempt {} of the step \"{}\" is not under way", e.attempt, e.node));
  }
  if (e.kind == Kind::failed) {
    m.attempt_failed(n, e);
  } else {
    n.in_flight = false;
    n.output_artifacts = e.artifacts;
    n.outputs.clear();
    for (const auto& p : e.parameters) n.outputs[p.key()] = std::make_shared<const Value>(p.value());
    if (!e.cache_note.empty()) n.cache_note = e.cache_note;
    n.cached_run = e.cached_run;
    n.cached_node = e.cached_node;
    m.finish(n, State::succeeded);
  }
  m.drain();
  return {};
}

std::vector<Command> Engine::take_commands() { return std::exchange(impl_->commands, {}); }

std::vector<NodeView> Engine::running() const {
  std::vector<NodeView> out;
  for (const auto& n : impl_->nodes)
    if (n.in_flight) out.push_back(impl_->view(n, true));
  return out;
}

State Engine::state() const { return impl_->state; }
std::optional<Error> Engine::error() const { return impl_->error; }
std::int64_t Engine::finished_ms() const {
  return is_final(impl_->state) && !impl_->history.empty() ? impl_->history.back().time_ms : 0;
}
const std::vector<StateChange>& Engine::history() const { return impl_->history; }
std::optional<NodeView> Engine::node(const std::string& path) const {
  auto it = impl_->by_path.find(path);
  if (it == impl_->by_path.end()) return std::nullopt;
  return impl_->view(*it->second, true);
}
std::vector<NodeView> Engine::nodes(bool values) const {
  std::vector<NodeView> out;
  out.reserve(impl_->nodes.size());
  for (const auto& n : impl_->nodes) {
    // A retry makes the nodes below a DAG anew; those of before are no longer found by their path.
    auto it = impl_->by_path.find(n.path);
    if (it != impl_->by_path.end() && it->second == &n) out.push_back(impl_->view(n, values));
  }
  return out;
}
std::size_t Engine::node_count() const { return impl_->by_path.size(); }
const RunFacts& Engine::facts() const { return impl_->facts; }
const Plan& Engine::plan() const { return *impl_->plan; }

}  // namespace mr::pipelines
