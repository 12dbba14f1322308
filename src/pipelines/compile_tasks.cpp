// The tasks of one DAG: read, linked by index, ordered, checked against the components that they name.
#include <algorithm>

#include "json/parse.h"
#include "pipelines/compile.h"

namespace mr::pipelines {

namespace {

struct Dag {
  const std::string& path;
  const std::map<std::string, std::size_t>& index_of;
  std::vector<Component>& components;
  std::size_t self;
  Problems& problems;
  std::map<std::string, std::size_t> task_of = {};  // key -> index
  std::vector<bool> bad = {};                       // tasks that could not be read whole

  std::unexpected<Error> wrong(const std::string& field, std::string_view why) const {
    return fail(Code::invalid_argument, fmt::format("{}: {}", field, why));
  }
  Result<std::size_t> task(const std::string& key, const std::string& field) const {
    auto it = task_of.find(key);
    if (it == task_of.end()) return wrong(field, fmt::format("there is no task \"{}\" in this DAG", key));
    return it->second;
  }
  // Only of what was read whole is it known.
  [[nodiscard]] bool lacks_output(std::size_t index, const Task& producer, const std::string& name,
                                  bool artifact) const {
    if (bad[index] || problems.bad.contains(producer.component)) return false;
    const auto& c = components[producer.component];
    return artifact ? !c.output_artifacts.contains(name) : !c.output_parameters.contains(name);
  }
};

Result<Source> read_parameter(const Value& v, const std::string& path, const Dag& dag) {
  Fields f(v, path);
  Source s;
  int kinds = 0;
  if (const auto* r = f.take("runtimeValue")) {
    ++kinds;
    Fields value(*r, f.at("runtimeValue"));
    const auto* constant = value.take("constant");
    const auto* old = value.take("constantValue");
    s.input = value.text("runtimeParameter");
    MR_CHECK(dag.problems.done(value));
    if (!s.input.empty()) {
      s.kind = Source::Kind::scope_input;
    } else if (constant != nullptr) {
      s.constant = normalize(*constant);
    } else if (old != nullptr) {
      for (auto [name, type] : {std::pair{"stringValue", ParameterType::string},
                                {"intValue", ParameterType::integer},
                                {"doubleValue", ParameterType::number}})
        if (const auto* x = json::find(*old, name)) {
          s.constant = normalize(*x);
          if (!x->is_string() || type == ParameterType::string) continue;
          MR_TRY(s.constant, from_text(x->get_string(), type, name));  // int64 is a text in protobuf's JSON
        }
    }  // else: a null constant
  }
  if (auto name = f.text("componentInputParameter"); !name.empty()) {
    ++kinds;
    s.kind = Source::Kind::scope_input;
    s.input = std::move(name);
  }
  if (const auto* t = f.take("taskOutputParameter")) {
    ++kinds;
    s.kind = Source::Kind::task_output;
    Fields from(*t, f.at("taskOutputParameter"));
    MR_TRY(s.task, dag.task(from.text("producerTask"), from.at("producerTask")));
    s.output = from.text("outputParameterKey");
    MR_CHECK(dag.problems.done(from));
  }
  if (const auto* t = f.take("taskFinalStatus")) {
    ++kinds;
    s.kind = Source::Kind::final_status;
    Fields from(*t, f.at("taskFinalStatus"));
    MR_TRY(s.task, dag.task(from.text("producerTask"), from.at("producerTask")));
    MR_CHECK(dag.problems.done(from));
  }
  if (auto text = f.text("parameterExpressionSelector"); !text.empty()) {
    auto e = Expression::parse(text);
    if (!e) return dag.wrong(f.at("parameterExpressionSelector"), e.error().message);
    s.selector = std::move(*e);
  }
  MR_CHECK(dag.problems.done(f));
  if (kinds != 1)
    return dag.wrong(path,
                     "must have one of runtimeValue, componentInputParameter, taskOutputParameter and taskFinalStatus");
  if (s.kind == Source::Kind::scope_input && !dag.problems.bad.contains(dag.self) &&
      !dag.components[dag.self].input_parameters.contains(s.input))
    return dag.wrong(path, fmt::format("the enclosing component {} has no input parameter \"{}\"",
                                       dag.components[dag.self].name, s.input));
  return s;
}

Result<Source> read_artifact(const Value& v, const std::string& path, const Dag& dag) {
  Fields f(v, path);
  Source s;
  int kinds = 0;
  if (auto name = f.text("componentInputArtifact"); !name.empty()) {
    ++kinds;
    s.kind = Source::Kind::scope_input;
    s.input = std::move(name);
  }
  if (const auto* t = f.take("taskOutputArtifact")) {
    ++kinds;
    s.kind = Source::Kind::task_output;
    Fields from(*t, f.at("taskOutputArtifact"));
    MR_TRY(s.task, dag.task(from.text("producerTask"), from.at("producerTask")));
    s.output = from.text("outputArtifactKey");
    MR_CHECK(dag.problems.done(from));
  }
  MR_CHECK(dag.problems.done(f));
  if (kinds != 1) return dag.wrong(path, "must have one of componentInputArtifact and taskOutputArtifact");
  if (s.kind == Source::Kind::scope_input && !dag.problems.bad.contains(dag.self) &&
      !dag.components[dag.self].input_artifacts.contains(s.input))
    return dag.wrong(path, fmt::format("the enclosing component {} has no input artifact \"{}\"",
                                       dag.components[dag.self].name, s.input));
  return s;
}

Result<Iterator> read_iterator(const Value& v, const std::string& path, const Dag& dag, bool artifacts) {
  Fields f(v, path);
  Iterator it;
  it.over_artifacts = artifacts;
  it.item_input = f.text("itemInput");
  if (const auto* items = f.take("items")) {
    Fields i(*items, f.at("items"));
    it.items_input = i.text(artifacts ? "inputArtifact" : "inputParameter");
    if (!artifacts) {
      if (auto raw = i.text("raw"); !raw.empty()) {
        auto parsed = json::parse(raw, 128);
        if (!parsed || !parsed->is_array()) return fail(Code::invalid_argument, i.at("raw") + ": must be a JSON array");
        it.raw = std::move(normalize(std::move(*parsed)).get_array());
      }
    }
    MR_CHECK(dag.problems.done(i));
  }
  if (it.item_input.empty()) f.wrong("itemInput", "given");
  if (it.items_input.empty() && !it.raw) f.wrong("items", "given");
  MR_CHECK(dag.problems.done(f));
  return it;
}

Result<void> read_task(const Value& v, const std::string& path, const Dag& dag, Task& t) {
  Fields f(v, path);
  t.display_name = t.key;
  if (const auto* info = f.take("taskInfo")) {
    Fields i(*info, f.at("taskInfo"));
    if (auto name = i.text("name"); !name.empty()) t.display_name = std::move(name);
    i.ignore({"taskName"});
    MR_CHECK(dag.problems.done(i));
  }
  if (const auto* in = f.take("inputs")) {
    Fields i(*in, f.at("inputs"));
    for (const auto& p : i.map("parameters")) {
      auto source = read_parameter(p.value(), fmt::format("{}.{}", i.at("parameters"), std::string_view(p.key())), dag);
      if (source)
        t.parameters.emplace(p.key(), std::move(*source));
      else
        MR_CHECK(dag.problems.pass(std::unexpected(source.error())));
    }
    for (const auto& a : i.map("artifacts")) {
      auto source = read_artifact(a.value(), fmt::format("{}.{}", i.at("artifacts"), std::string_view(a.key())), dag);
      if (source)
        t.artifacts.emplace(a.key(), std::move(*source));
      else
        MR_CHECK(dag.problems.pass(std::unexpected(source.error())));
    }
    MR_CHECK(dag.problems.done(i));
  }
  for (const auto& name : f.texts("dependentTasks")) {
    auto index = dag.task(name, f.at("dependentTasks"));
    if (index)
      t.upstream.push_back(*index);
    else
      MR_CHECK(dag.problems.pass(std::unexpected(index.error())));
  }
  if (const auto* c = f.take("cachingOptions")) {
    Fields cache(*c, f.at("cachingOptions"));
    t.cache = cache.flag("enableCache");
    t.cache_key = cache.text("cacheKey");
    MR_CHECK(dag.problems.done(cache));
  }
  if (const auto* p = f.take("triggerPolicy")) {
    Fields trigger(*p, f.at("triggerPolicy"));
    auto strategy = trigger.text("strategy");
    if (strategy == "ALL_UPSTREAM_TASKS_COMPLETED")
      t.run_always = true;
    else if (!strategy.empty() && strategy != "ALL_UPSTREAM_TASKS_SUCCEEDED" &&
             strategy != "TRIGGER_STRATEGY_UNSPECIFIED")
      MR_CHECK(
          dag.problems.pass(dag.wrong(trigger.at("strategy"), fmt::format("there is no strategy \"{}\"", strategy))));
    if (auto text = trigger.text("condition"); !text.empty()) {
      auto e = Expression::parse(text);
      if (!e)
        MR_CHECK(dag.problems.pass(dag.wrong(trigger.at("condition"), e.error().message)));
      else
        t.condition = std::move(*e);
    }
    MR_CHECK(dag.problems.done(trigger));
  }
  const auto* over_parameter = f.take("parameterIterator");
  const auto* over_artifact = f.take("artifactIterator");
  if (over_parameter != nullptr && over_artifact != nullptr)
    MR_CHECK(dag.problems.pass(dag.wrong(path, "must not have both of parameterIterator and artifactIterator")));
  if (over_parameter != nullptr) {
    auto it = read_iterator(*over_parameter, f.at("parameterIterator"), dag, false);
    if (it)
      t.iterator = std::move(*it);
    else
      MR_CHECK(dag.problems.pass(std::unexpected(it.error())));
  }
  if (over_artifact != nullptr) {
    auto it = read_iterator(*over_artifact, f.at("artifactIterator"), dag, true);
    if (it)
      t.iterator = std::move(*it);
    else
      MR_CHECK(dag.problems.pass(std::unexpected(it.error())));
  }
  if (const auto* p = f.take("iteratorPolicy")) {
    Fields policy(*p, f.at("iteratorPolicy"));
    auto limit = policy.integer("parallelismLimit");
    if (limit < 0 || limit > 100'000) policy.wrong("parallelismLimit", "between 0 and 100000");
    if (t.iterator) t.iterator->parallelism = static_cast<int>(limit);
    MR_CHECK(dag.problems.done(policy));
  }
  if (const auto* p = f.take("retryPolicy")) {
    Fields policy(*p, f.at("retryPolicy"));
    RetryPolicy r;
    auto count = policy.integer("maxRetryCount");
    if (count < 0 || count > 1000) policy.wrong("maxRetryCount", "between 0 and 1000");
    r.max_retries = static_cast<int>(count);
    r.backoff_s = policy.duration_s("backoffDuration");
    r.factor = policy.number("backoffFactor", 2);
    if (r.factor <= 0) r.factor = 2;
    r.max_backoff_s = policy.duration_s("backoffMaxDuration", 3600);
    if (r.max_backoff_s <= 0) r.max_backoff_s = 3600;
    t.retry = r;
    MR_CHECK(dag.problems.done(policy));
  }
  std::string component;
  if (const auto* ref = f.take("componentRef")) {
    Fields r(*ref, f.at("componentRef"));
    component = r.text("name");
    MR_CHECK(dag.problems.done(r));
  }
  MR_CHECK(dag.problems.done(f));
  auto it = dag.index_of.find(component);
  if (it == dag.index_of.end())
    return dag.wrong(f.at("componentRef"), fmt::format("there is no component \"{}\"", component));
  t.component = it->second;
  return {};
}

// Against the component: every input that must come from somewhere does, every output that is asked for exists.
Result<void> check_task(const Task& t, const std::string& path, const Dag& dag, const std::vector<Task>& tasks) {
  // What could not be read whole cannot be judged.
  if (dag.problems.bad.contains(t.component)) return {};
  const auto& c = dag.components[t.component];
  auto item = t.iterator ? t.iterator->item_input : std::string();
  for (const auto& [name, in] : c.input_parameters) {
    if (in.optional || in.fallback || name == item || t.parameters.contains(name)) continue;
    // The engine fills these by itself.
    if (in.type == ParameterType::task_config) continue;
    MR_CHECK(dag.problems.pass(
        dag.wrong(path + ".inputs", fmt::format("the component {} needs the parameter \"{}\"", c.name, name))));
  }
  for (const auto& [name, in] : c.input_artifacts) {
    if (in.optional || name == item || t.artifacts.contains(name)) continue;
    MR_CHECK(dag.problems.pass(
        dag.wrong(path + ".inputs", fmt::format("the component {} needs the artifact \"{}\"", c.name, name))));
  }
  for (bool artifact : {false, true})
    for (const auto& [name, s] : artifact ? t.artifacts : t.parameters) {
      auto field = fmt::format("{}.inputs.{}.{}", path, artifact ? "artifacts" : "parameters", name);
      if (s.kind == Source::Kind::task_output) {
        const auto& producer = tasks[s.task];
        if (dag.lacks_output(s.task, producer, s.output, artifact))
          MR_CHECK(
              dag.problems.pass(dag.wrong(field, fmt::format("the task \"{}\" has no output {} \"{}\"", producer.key,
                                                             artifact ? "artifact" : "parameter", s.output))));
      }
      if (s.kind == Source::Kind::constant && !s.selector && !artifact) {
        auto in = c.input_parameters.find(name);
        if (in == c.input_parameters.end()) continue;
        // Engine variables become texts or numbers in the run.
        if (s.constant.is_string() && std::string_view(s.constant.get_string()).contains("{{$")) continue;
        auto value = convert(s.constant, in->second.type, name);
        if (!value) {
          MR_CHECK(dag.problems.pass(dag.wrong(field, value.error().message)));
          continue;
        }
        if (!in->second.literals.empty() && std::ranges::find(in->second.literals, *value) == in->second.literals.end())
          MR_CHECK(
              dag.problems.pass(dag.wrong(field, "the value is not among the literals that the component allows")));
      }
    }
  if (t.iterator && !t.iterator->items_input.empty()) {
    const auto& given = t.iterator->over_artifacts ? t.artifacts : t.parameters;
    if (!given.contains(t.iterator->items_input))
      MR_CHECK(
          dag.problems.pass(dag.wrong(path + (t.iterator->over_artifacts ? ".artifactIterator" : ".parameterIterator"),
                                      fmt::format("the task has no input \"{}\"", t.iterator->items_input))));
  }
  if (t.condition)
    for (const auto& name : t.condition->input_names())
      if (!t.parameters.contains(name) && !t.artifacts.contains(name) && !c.input_parameters.contains(name))
        MR_CHECK(dag.problems.pass(
            dag.wrong(path + ".triggerPolicy.condition", fmt::format("the task has no input \"{}\"", name))));
  return {};
}

Result<OutputSource> read_output(const Value& v, const std::string& path, const Dag& dag,
                                 const std::vector<Task>& tasks, bool artifact) {
  Fields f(v, path);
  OutputSource out;
  auto add = [&](const Value& selector, const std::string& at) -> Result<void> {
    Fields s(selector, at);
    OutputSource::From from;
    MR_TRY(from.task, dag.task(s.text("producerSubtask"), s.at("producerSubtask")));
    from.output = s.text(artifact ? "outputArtifactKey" : "outputParameterKey");
    MR_CHECK(dag.problems.done(s));
    const auto& producer = tasks[from.task];
    if (dag.lacks_output(from.task, producer, from.output, artifact))
      return dag.wrong(at, fmt::format("the task \"{}\" has no output {} \"{}\"", producer.key,
                                       artifact ? "artifact" : "parameter", from.output));
    out.from.push_back(std::move(from));
    return {};
  };
  if (artifact) {
    for (const auto& s : f.list("artifactSelectors")) MR_CHECK(add(s, f.at("artifactSelectors")));
    out.one_of = out.from.size() > 1;
  } else {
    if (const auto* one = f.take("valueFromParameter")) MR_CHECK(add(*one, f.at("valueFromParameter")));
    if (const auto* several = f.take("valueFromOneof")) {
      Fields o(*several, f.at("valueFromOneof"));
      for (const auto& s : o.list("parameterSelectors")) MR_CHECK(add(s, o.at("parameterSelectors")));
      MR_CHECK(dag.problems.done(o));
      out.one_of = true;
    }
  }
  MR_CHECK(dag.problems.done(f));
  if (out.from.empty()) return dag.wrong(path, "names no task");
  return out;
}

// Kahn's algorithm; what is left over is a cycle.
Result<std::vector<std::size_t>> topological(const std::vector<Task>& tasks, const Dag& dag) {
  std::vector<std::size_t> missing(tasks.size()), order;
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    missing[i] = tasks[i].upstream.size();
    if (missing[i] == 0) order.push_back(i);
  }
  for (std::size_t at = 0; at < order.size(); ++at)
    for (auto d : tasks[order[at]].downstream)
      if (--missing[d] == 0) order.push_back(d);
  if (order.size() == tasks.size()) return order;
  std::string names;
  for (std::size_t i = 0; i < tasks.size(); ++i)
    if (missing[i] > 0) names += (names.empty() ? "" : ", ") + tasks[i].key;
  return dag.wrong(dag.path + ".tasks", "these tasks wait for each other in a cycle: " + names);
}

}  // namespace

Result<void> compile_dag(const Value& v, const std::string& path, const std::map<std::string, std::size_t>& index_of,
                         std::vector<Component>& components, std::size_t self, Problems& problems) {
  Dag dag{path, index_of, components, self, problems};
  Fields f(v, path);
  const auto& specs = f.map("tasks");
  std::vector<Task> tasks;
  for (const auto& member : specs) {
    std::string key(member.key());
    // Keys are parts of paths, of object names and of URIs.
    if (key.empty() || key.size() > 200 || key.find_first_of("/\\ \t\n") != std::string::npos || key == "." ||
        key == "..")
      return dag.wrong(f.at("tasks"), fmt::format("\"{}\" cannot be the name of a task", key));
    dag.task_of[key] = tasks.size();
    Task t;
    t.key = std::move(key);
    tasks.push_back(std::move(t));
  }
  dag.bad.resize(tasks.size());
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    auto& t = tasks[i];
    t.component = components.size();  // none, until it is read
    const auto before = problems.noted().size();
    MR_CHECK(problems.pass(read_task(specs.at(t.key), fmt::format("{}.{}", f.at("tasks"), t.key), dag, t)));
    dag.bad[i] = problems.noted().size() != before;
  }
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    auto& t = tasks[i];
    auto path_of = fmt::format("{}.{}", f.at("tasks"), t.key);
    if (!dag.bad[i]) MR_CHECK(problems.pass(check_task(t, path_of, dag, tasks)));
    for (const auto* sources : {&t.parameters, &t.artifacts})
      for (const auto& [_, s] : *sources)
        if (s.kind == Source::Kind::task_output || s.kind == Source::Kind::final_status) t.upstream.push_back(s.task);
    std::ranges::sort(t.upstream);
    auto [first, last] = std::ranges::unique(t.upstream);
    t.upstream.erase(first, last);
    for (auto u : t.upstream) tasks[u].downstream.push_back(i);
  }
  auto order = topological(tasks, dag);
  if (!order) MR_CHECK(problems.pass(std::unexpected(order.error())));
  auto& c = components[self];
  if (const auto* out = f.take("outputs")) {
    Fields o(*out, f.at("outputs"));
    for (const auto& p : o.map("parameters")) {
      auto source = read_output(p.value(), fmt::format("{}.{}", o.at("parameters"), std::string_view(p.key())), dag,
                                tasks, false);
      if (source)
        c.dag_parameters.emplace(p.key(), std::move(*source));
      else
        MR_CHECK(problems.pass(std::unexpected(source.error())));
    }
    for (const auto& a : o.map("artifacts")) {
      auto source =
          read_output(a.value(), fmt::format("{}.{}", o.at("artifacts"), std::string_view(a.key())), dag, tasks, true);
      if (source)
        c.dag_artifacts.emplace(a.key(), std::move(*source));
      else
        MR_CHECK(problems.pass(std::unexpected(source.error())));
    }
    MR_CHECK(dag.problems.done(o));
  }
  MR_CHECK(dag.problems.done(f));
  c.tasks = std::move(tasks);
  if (order) c.order = std::move(*order);
  return {};
}

}  // namespace mr::pipelines
