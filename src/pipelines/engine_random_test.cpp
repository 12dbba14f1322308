// Random plans of nested groups, conditions, loops, failures, retries and exit handlers: the engine against a reference
// that walks the same model one task after the other. Steps end in random order, and the engine is thrown away and made
// again from its events at random moments.
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <random>
#include <set>

#include "pipelines/engine.h"

namespace mr::pipelines {
namespace {

struct Comparison {
  std::string_view op;
  int right = 0;
  [[nodiscard]] bool holds(int left) const {
    if (op == "==") return left == right;
    if (op == "!=") return left != right;
    if (op == "<") return left < right;
    return left >= right;
  }
};

// A task of the model: a step, which gives a + b and fails when a == bad for its first `times` attempts, or a group,
// which is run once or for each item.
struct ModelTask {
  enum class From : std::uint8_t { constant, scope, task } from = From::constant;  // of a, or of the group's x
  int value = 0;
  std::size_t producer = 0;
  std::vector<std::size_t> waits;  // beside the producers
  bool always = false;
  std::optional<std::size_t> guards;  // whose final status the step takes
  std::optional<Comparison> condition;
  // a step
  bool has_default = false;  // of a: 2
  int b = 0, bad = -1, times = 0, retries = 0;
  // a group
  int group = -1;
  bool loop = false;
  std::vector<int> items;
  std::optional<std::size_t> items_of;  // a loop that gives the items
  int limit = 0;
};
struct ModelGroup {
  std::vector<ModelTask> tasks;
  std::vector<std::size_t> out;  // none, the one, or one of two
};

class Model {
 public:
  explicit Model(unsigned seed) : random_(seed) { group(0); }

  std::vector<std::unique_ptr<ModelGroup>> groups;  // the first is the root

 private:
  int pick(int from, int to) { return std::uniform_int_distribution(from, to)(random_); }
  bool chance(int percent) { return pick(1, 100) <= percent; }
  enum class Gives : std::uint8_t { nothing, number, list };

  int group(int depth) {
    const auto id = static_cast<int>(groups.size());
    auto& g = *groups.emplace_back(std::make_unique<ModelGroup>());
    std::vector<Gives> gives;
    const auto count = depth == 0 ? pick(3, 8) : pick(1, 5);
    for (int i = 0; i < count && (left_ > 0 || i == 0); ++i)
      g.tasks.push_back(depth < 3 && chance(35) ? group_task(depth, gives) : step_task(depth, gives));
    auto numbers = which(gives, Gives::number);
    if (depth > 0 && !numbers.empty() && chance(70)) {
      std::ranges::shuffle(numbers, random_);
      numbers.resize(numbers.size() > 1 && chance(30) ? 2 : 1);
      g.out = numbers;
    }
    return id;
  }
  static std::vector<std::size_t> which(const std::vector<Gives>& gives, Gives what) {
    std::vector<std::size_t> out;
    for (std::size_t i = 0; i < gives.size(); ++i)
      if (gives[i] == what) out.push_back(i);
    return out;
  }
  std::size_t one_of(const std::vector<std::size_t>& v) {
    return v[static_cast<std::size_t>(pick(0, static_cast<int>(v.size()) - 1))];
  }
  void number(ModelTask& t, int depth, const std::vector<Gives>& gives) {
    auto numbers = which(gives, Gives::number);
    if (!numbers.empty() && chance(45)) {
      t.from = ModelTask::From::task;
      t.producer = one_of(numbers);
    } else if (depth > 0 && chance(60)) {
      t.from = ModelTask::From::scope;
    } else {
      t.value = pick(0, 4);
    }
  }
  void common(ModelTask& t, const std::vector<Gives>& gives) {
    if (gives.empty()) return;
    std::vector<std::size_t> all(gives.size());
    std::iota(all.begin(), all.end(), 0);
    if (chance(35)) t.waits.push_back(one_of(all));
    t.always = chance(20);
  }
  Comparison comparison() {
    static constexpr std::string_view ops[] = {"==", "!=", "<", ">="};
    return {ops[pick(0, 3)], pick(0, 4)};
  }
  ModelTask step_task(int depth, std::vector<Gives>& gives) {
    --left_;
    ModelTask t;
    number(t, depth, gives);
    common(t, gives);
    t.has_default = chance(50);
    t.b = pick(0, 2);
    t.bad = pick(0, 9);
    t.times = chance(25) ? 9 : pick(1, 2);
    t.retries = chance(40) ? pick(1, 2) : 0;
    if (!gives.empty() && chance(15)) {
      t.guards = static_cast<std::size_t>(pick(0, static_cast<int>(gives.size()) - 1));
      t.always = true;
    }
    if (t.has_default && chance(20)) t.condition = comparison();
    gives.push_back(Gives::number);
    return t;
  }
  ModelTask group_task(int depth, std::vector<Gives>& gives) {
    ModelTask t;
    t.group = group(depth + 1);
    common(t, gives);
    const bool has_out = !groups[static_cast<std::size_t>(t.group)]->out.empty();
    t.loop = chance(50);
    if (t.loop) {
      auto lists = which(gives, Gives::list);
      if (!lists.empty() && chance(60))
        t.items_of = one_of(lists);
      else
        for (int n = pick(0, 3); n > 0; --n) t.items.push_back(pick(0, 6));
      // Between one at a time and all at once, which ones a failure leaves out is a matter of luck.
      t.limit = chance(50) ? 1 : 0;
    } else {
      number(t, depth, gives);
      if (chance(40)) t.condition = comparison();
    }
    gives.push_back(!has_out ? Gives::nothing : t.loop ? Gives::list : Gives::number);
    return t;
  }

  std::mt19937 random_;
  int left_ = 24;  // steps to be written
};

// --- the model as a PipelineSpec -------------------------------------------------------------------------------------

std::string key(std::size_t i) { return fmt::format("t{}", i); }
Object of_type(std::string_view type) { return Object{{"parameterType", type}}; }
Object from_task(std::size_t i) {
  return Object{{"taskOutputParameter", Object{{"producerTask", key(i)}, {"outputParameterKey", "out"}}}};
}
Object constant(int n) { return Object{{"runtimeValue", Object{{"constant", n}}}}; }

Object task_spec(const ModelTask& t) {
  Object inputs;
  const auto number = t.from == ModelTask::From::task    ? from_task(t.producer)
                      : t.from == ModelTask::From::scope ? Object{{"componentInputParameter", "x"}}
                                                         : constant(t.value);
  Object out;
  if (t.group < 0) {
    inputs = Object{{"a", number}, {"b", constant(t.b)}, {"bad", constant(t.bad)}, {"times", constant(t.times)}};
    if (t.guards) inputs["status"] = Object{{"taskFinalStatus", Object{{"producerTask", key(*t.guards)}}}};
    out["componentRef"] = Object{{"name", t.has_default ? "step-default" : "step"}};
  } else {
    out["componentRef"] = Object{{"name", fmt::format("group-{}", t.group)}};
    if (!t.loop) inputs["x"] = number;
  }
  if (t.loop) {
    Object items;
    if (t.items_of) {
      inputs["items"] = from_task(*t.items_of);
      items["inputParameter"] = "items";
    } else {
      items["raw"] = fmt::format("[{}]", fmt::join(t.items, ", "));
    }
    out["parameterIterator"] = Object{{"itemInput", "x"}, {"items", items}};
    if (t.limit != 0) out["iteratorPolicy"] = Object{{"parallelismLimit", t.limit}};
  }
  out["inputs"] = Object{{"parameters", inputs}};
  Array waits;
  for (auto w : t.waits) waits.push_back(Value(key(w)));
  if (!waits.empty()) out["dependentTasks"] = waits;
  Object trigger;
  if (t.always) trigger["strategy"] = "ALL_UPSTREAM_TASKS_COMPLETED";
  if (t.condition)
    trigger["condition"] = fmt::format("int(inputs.parameter_values['{}']) {} {}", t.group < 0 ? "a" : "x",
                                       t.condition->op, t.condition->right);
  if (!trigger.empty()) out["triggerPolicy"] = trigger;
  if (t.retries > 0) out["retryPolicy"] = Object{{"maxRetryCount", t.retries}, {"backoffDuration", "0s"}};
  return out;
}

Object group_spec(const ModelGroup& g, bool root) {
  Object tasks;
  for (std::size_t i = 0; i < g.tasks.size(); ++i) tasks[key(i)] = task_spec(g.tasks[i]);
  Object dag{{"tasks", tasks}};
  Object out;
  if (!root)
    out["inputDefinitions"] =
        Object{{"parameters", Object{{"x", of_type("NUMBER_INTEGER")},
                                     {"items", Object{{"parameterType", "LIST"}, {"isOptional", true}}}}}};
  if (!g.out.empty()) {
    auto selector = [](std::size_t i) { return Object{{"producerSubtask", key(i)}, {"outputParameterKey", "out"}}; };
    Object source;
    if (g.out.size() == 1)
      source["valueFromParameter"] = selector(g.out[0]);
    else
      source["valueFromOneof"] = Object{{"parameterSelectors", Array{selector(g.out[0]), selector(g.out[1])}}};
    dag["outputs"] = Object{{"parameters", Object{{"out", source}}}};
    out["outputDefinitions"] = Object{{"parameters", Object{{"out", of_type("NUMBER_INTEGER")}}}};
  }
  out["dag"] = dag;
  return out;
}

Value spec_of(const Model& m) {
  Object components;
  for (const bool has_default : {false, true}) {
    Object a = of_type("NUMBER_INTEGER");
    if (has_default) a["defaultValue"] = 2;
    Object status{{"parameterType", "TASK_FINAL_STATUS"}, {"isOptional", true}};
    const auto number = of_type("NUMBER_INTEGER");
    components[has_default ? "step-default" : "step"] =
        Object{{"executorLabel", "exec"},
               {"inputDefinitions",
                Object{{"parameters",
                        Object{{"a", a}, {"b", number}, {"bad", number}, {"times", number}, {"status", status}}}}},
               {"outputDefinitions", Object{{"parameters", Object{{"out", number}}}}}};
  }
  for (std::size_t i = 1; i < m.groups.size(); ++i)
    components[fmt::format("group-{}", i)] = group_spec(*m.groups[i], false);
  return Object{
      {"pipelineInfo", Object{{"name", "random"}}},
      {"root", group_spec(*m.groups[0], true)},
      {"components", components},
      {"deploymentSpec", Object{{"executors", Object{{"exec", Object{{"container", Object{{"image", "busybox"}}}}}}}}}};
}

// --- the reference ---------------------------------------------------------------------------------------------------

struct Outcome {
  State state = State::succeeded;
  std::optional<int> number;
  std::optional<std::vector<int>> list;
};

class Reference {
 public:
  explicit Reference(const Model& m) : model_(m) {}
  std::map<std::string, State> states;
  std::map<std::string, std::string> seen;  // by step: "a/b/status", what its last attempt got
  State run() { return group(0, 0, "").state; }

 private:
  Outcome group(int id, int x, const std::string& path) {
    const auto& g = *model_.groups[static_cast<std::size_t>(id)];
    std::vector<Outcome> done;  // tasks only wait for earlier ones
    bool failed = false;
    for (std::size_t i = 0; i < g.tasks.size(); ++i) {
      auto full = path.empty() ? key(i) : fmt::format("{}/{}", path, key(i));
      done.push_back(task(g.tasks[i], x, done, full));
      states[full] = done.back().state;
      failed |= done.back().state == State::failed;
    }
    if (failed) return {.state = State::failed};
    Outcome out;
    int ran = 0;
    for (auto i : g.out)
      if (done[i].state == State::succeeded && done[i].number) {
        ++ran;
        out.number = done[i].number;
      }
    if (g.out.size() > 1 && ran != 1) return {.state = State::failed};
    return out;
  }

  Outcome task(const ModelTask& t, int x, const std::vector<Outcome>& done, const std::string& path) {
    std::set<std::size_t> upstream(t.waits.begin(), t.waits.end());
    if (t.from == ModelTask::From::task && !t.loop) upstream.insert(t.producer);
    if (t.items_of) upstream.insert(*t.items_of);
    if (t.guards) upstream.insert(*t.guards);
    if (!t.always)
      for (auto u : upstream)
        if (done[u].state != State::succeeded) return {.state = State::skipped};
    if (t.loop) return loop(t, done, path);
    std::optional<int> n;
    if (t.from == ModelTask::From::task) {
      if (done[t.producer].state == State::succeeded) n = done[t.producer].number;
    } else {
      n = t.from == ModelTask::From::scope ? x : t.value;
    }
    if (!n && t.group < 0 && t.has_default) n = 2;
    if (!n) return {.state = State::failed};
    if (t.condition && !t.condition->holds(*n)) return {.state = State::skipped};
    if (t.group >= 0) return group(t.group, *n, path);
    const auto* status = !t.guards ? "" : done[*t.guards].state == State::failed ? "FAILED" : "COMPLETE";
    seen[path] = fmt::format("{}/{}/{}", *n, t.b, status);
    if (*n == t.bad && t.retries < t.times) return {.state = State::failed};
    return {.number = *n + t.b};
  }

  Outcome loop(const ModelTask& t, const std::vector<Outcome>& done, const std::string& path) {
    auto items = t.items;
    if (t.items_of) {
      const auto& from = done[*t.items_of];
      items = from.state == State::succeeded ? from.list.value_or(std::vector<int>{}) : std::vector<int>{};
    }
    Outcome out;
    std::vector<int> list;
    for (std::size_t i = 0; i < items.size(); ++i) {
      const auto full = fmt::format("{}/{}", path, i);
      if (t.limit == 1 && out.state == State::failed) {
        states[full] = State::skipped;
        continue;
      }
      const auto one = group(t.group, items[i], full);
      states[full] = one.state;
      if (one.state == State::failed) out.state = State::failed;
      if (one.number) list.push_back(*one.number);
    }
    if (out.state == State::succeeded && !model_.groups[static_cast<std::size_t>(t.group)]->out.empty())
      out.list = std::move(list);
    return out;
  }

  const Model& model_;
};

// --- the engine, with steps that end in random order
// -------------------------------------------------------------------

class Simulation {
 public:
  Simulation(std::shared_ptr<const Plan> plan, unsigned seed, bool crashes)
      : plan_(std::move(plan)), random_(seed), crashes_(crashes) {
    begin();
  }
  std::map<std::string, std::string> seen;

  // Until the run is over, or `most` things have happened.
  void go(int most = 100'000) {
    for (int i = 0; i < most && !is_final(engine->state()); ++i) {
      if (crashes_ && random_() % 8 == 0) restart();
      for (auto& c : engine->take_commands()) commands_.push_back(std::move(c));
      ASSERT_FALSE(commands_.empty() && flying_.empty()) << "the run is not over, and there is nothing to do";
      ++now_;
      const auto at = random_() % (commands_.size() + flying_.size());
      if (at < commands_.size())
        obey(at);
      else
        end(at - commands_.size());
    }
  }
  void happen(Event e) {
    e.time_ms = now_;
    auto r = engine->apply(e);
    ASSERT_TRUE(r) << r.error().message;
    events_.push_back(std::move(e));
  }
  // The run is over; from now on nothing fails.
  void retry() {
    EXPECT_TRUE(flying_.empty());
    commands_.clear();
    nothing_fails_ = true;
    happen(Event{.kind = Event::Kind::retry});
  }
  void restart() {
    begin();
    for (const auto& e : events_) {
      auto r = engine->apply(e);
      ASSERT_TRUE(r) << r.error().message;
    }
    commands_.clear();
    flying_.clear();
    for (const auto& n : engine->running()) flying_.emplace_back(n.path, n.attempts);
  }
  [[nodiscard]] std::map<std::string, State> states() const {
    std::map<std::string, State> out;
    for (const auto& n : engine->nodes(false))
      if (!n.path.empty()) out[n.path] = n.state;
    return out;
  }
  // A group that is over has nothing in it that is not.
  void consistent() const {
    const auto all = states();
    for (const auto& [path, state] : all) {
      const auto slash = path.rfind('/');
      const bool over =
          is_final(engine->state()) || (slash != std::string::npos && is_final(all.at(path.substr(0, slash))));
      EXPECT_TRUE(!over || is_final(state)) << path;
    }
  }

  std::unique_ptr<Engine> engine;

 private:
  void begin() {
    engine = std::make_unique<Engine>(plan_, RunFacts{.run_id = "r", .name = "n", .resource_name = "r-n", .ns = "ns"},
                                      Object{});
    engine->begin(1);
  }
  void obey(std::size_t at) {
    auto c = commands_[at];
    commands_.erase(commands_.begin() + static_cast<std::ptrdiff_t>(at));
    // Given out before the step was over: a launch when the run is ended, a kill when the step ends by itself.
    if (is_final(engine->node(c.node)->state)) return;
    if (c.kind == Command::Kind::kill) {
      std::erase_if(flying_, [&](const auto& f) { return f.first == c.node; });
      return happen(Event{.kind = Event::Kind::failed,
                          .node = c.node,
                          .attempt = c.attempt,
                          .error = Error{Code::cancelled, "killed", {}, {}}});
    }
    happen(Event{.kind = Event::Kind::started, .node = c.node, .attempt = c.attempt, .pod = "p", .uuid = "u"});
    flying_.emplace_back(c.node, c.attempt);
  }
  void end(std::size_t at) {
    auto [path, attempt] = flying_[at];
    flying_.erase(flying_.begin() + static_cast<std::ptrdiff_t>(at));
    const auto n = engine->node(path);
    auto input = [&](std::string_view name) {
      const auto* v = n->inputs.if_contains(name);
      return static_cast<int>((v != nullptr ? *v : *n->component->input_parameters.at(std::string(name)).fallback)
                                  .to_number<std::int64_t>());
    };
    const auto* status = n->inputs.if_contains("status");
    seen[path] = fmt::format("{}/{}/{}", input("a"), input("b"),
                             status == nullptr ? "" : std::string_view(status->at("state").as_string()));
    Event e{.node = path, .attempt = attempt};
    if (!nothing_fails_ && input("a") == input("bad") && attempt - 1 < input("times")) {
      e.kind = Event::Kind::failed;
      e.error = Error{Code::internal, "exit code 1", {}, {}};
    } else {
      e.kind = Event::Kind::succeeded;
      e.parameters["out"] = input("a") + input("b");
    }
    happen(std::move(e));
  }

  std::shared_ptr<const Plan> plan_;
  std::mt19937 random_;
  bool crashes_, nothing_fails_ = false;
  std::int64_t now_ = 1;
  std::vector<Event> events_;
  std::vector<Command> commands_;
  std::vector<std::pair<std::string, int>> flying_;
};

std::shared_ptr<const Plan> plan_of(const Model& m) {
  auto plan = compile(spec_of(m));
  EXPECT_TRUE(plan) << plan.error().message;
  return plan ? *plan : nullptr;
}

TEST(EngineRandom, PlansEndAsTheReferenceSaysInAnyOrderAndAfterCrashes) {
  std::map<State, int> met;
  for (unsigned seed = 1; seed <= 400; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    const Model m(seed);
    Reference reference(m);
    const auto state = reference.run();
    const auto plan = plan_of(m);
    ASSERT_TRUE(plan);
    for (const bool crashes : {false, true}) {
      Simulation s(plan, seed, crashes);
      s.go();
      ASSERT_EQ(s.engine->state(), state);
      ASSERT_EQ(s.states(), reference.states);
      ASSERT_EQ(s.seen, reference.seen);
      s.consistent();
    }
    for (const auto& [_, x] : reference.states) ++met[x];
  }
  for (auto x : {State::succeeded, State::failed, State::skipped}) EXPECT_GT(met[x], 200);
}

TEST(EngineRandom, TerminatedAnywhereARunEndsAndCanBeRunAgain) {
  int canceled = 0;
  for (unsigned seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    const Model m(seed);
    Simulation s(plan_of(m), seed, seed % 2 == 0);
    s.go(static_cast<int>(seed % 40));
    s.consistent();
    if (!is_final(s.engine->state())) {
      s.happen(Event{.kind = Event::Kind::terminate});
      s.go();
      canceled += s.engine->state() == State::canceled ? 1 : 0;
    }
    s.consistent();
    if (s.engine->state() == State::succeeded) continue;
    std::set<std::string> kept;
    for (const auto& [path, state] : s.states())
      if (state == State::succeeded) kept.insert(path);
    s.retry();
    s.go();
    s.consistent();
    const auto after = s.states();
    for (const auto& path : kept) EXPECT_EQ(after.at(path), State::succeeded) << path;
  }
  EXPECT_GT(canceled, 50);
}

}  // namespace
}  // namespace mr::pipelines
