// What nodes take in and give out: sources of inputs, conditions, outputs of DAGs and loops, the final status.
#include <algorithm>
#include <functional>

#include "json/parse.h"
#include "pipelines/engine_state.h"
#include "pipelines/placeholders.h"
#include "time/clock.h"

namespace mr::pipelines {

namespace {

// Upstream's words for the state of what an exit handler guards.
std::string_view execution_state(State s) {
  switch (s) {
    case State::succeeded:
    case State::skipped:
      return "COMPLETE";
    case State::canceled:
      return "CANCELED";
    case State::failed:
      return "FAILED";
    default:
      return "RUNNING";
  }
}

int rpc_code(Code c) {
  switch (c) {
    case Code::invalid_argument:
      return 3;
    case Code::deadline_exceeded:
      return 4;
    case Code::not_found:
      return 5;
    case Code::cancelled:
      return 1;
    case Code::resource_exhausted:
      return 8;
    default:
      return 13;
  }
}

// Constants that the SDK makes of f-strings and lists name other inputs of the same task:
// "{{$.inputs.parameters['x']}}-b". One that is a whole member of a list or struct keeps its type. Names that the task
// does not have stay as they are.
constexpr std::string_view kReference = "{{$.inputs.parameters['", kReferenceEnd = "']}}";

bool has_reference(const Value& v) {
  if (const auto* s = v.if_string()) return std::string_view(*s).contains(kReference);
  if (const auto* a = v.if_array()) return std::ranges::any_of(*a, has_reference);
  if (const auto* o = v.if_object())
    return std::ranges::any_of(*o, [](const auto& member) { return has_reference(member.value()); });
  return false;
}

using Lookup = std::function<std::optional<Value>(std::string_view name)>;  // none: there is no such input

Value fill_references(const Value& v, const Lookup& value_of, bool inside) {
  if (const auto* a = v.if_array()) {
    Array out;
    for (const auto& x : *a) out.push_back(fill_references(x, value_of, true));
    return out;
  }
  if (const auto* o = v.if_object()) {
    Object out;
    for (const auto& [k, x] : *o) out[k] = fill_references(x, value_of, true);
    return out;
  }
  if (!v.is_string()) return v;
  std::string_view text = v.get_string();
  std::string out;
  for (;;) {
    const auto open = text.find(kReference);
    const auto close = open == std::string_view::npos ? open : text.find(kReferenceEnd, open);
    if (close == std::string_view::npos) break;
    const auto from = open + kReference.size(), end = close + kReferenceEnd.size();
    const auto value = value_of(text.substr(from, close - from));
    if (inside && value && out.empty() && open == 0 && end == text.size()) return *value;
    out += text.substr(0, open);
    out += value ? to_text(*value) : text.substr(open, end - open);
    text.remove_prefix(end);
  }
  return Value(out.append(text));
}

std::unexpected<Error> of_input(const std::string& name, const Error& e) {
  return fail(e.code, fmt::format("input \"{}\": {}", name, e.message));
}

}  // namespace

std::map<std::string, std::string> Engine::Impl::variables(const Node& n) const {
  return {{"pipeline_job_name", facts.name},
          {"pipeline_job_resource_name", facts.resource_name},
          {"pipeline_job_uuid", facts.run_id},
          {"pipeline_task_name", n.task == nullptr ? std::string() : n.task->key},
          {"pipeline_task_uuid", task_id(facts.run_id, n.path)},
          {"pipeline_job_create_time_utc", time::rfc3339_s(facts.created_ms / 1000)},
          {"pipeline_job_schedule_time_utc",
           time::rfc3339_s((facts.scheduled_ms == 0 ? facts.created_ms : facts.scheduled_ms) / 1000)},
          {"workspace_path", facts.workspace_path}};
}

Value Engine::Impl::final_status(const Node& n) const {
  Object why;
  if (n.error && n.state != State::succeeded)
    why = Object{{"code", rpc_code(n.error->code)}, {"message", n.error->message}};
  return Object{{"state", execution_state(n.state)},
                {"pipelineJobResourceName", facts.resource_name},
                {"pipelineTaskName", n.task->key},
                {"error", std::move(why)}};
}

// nullopt: there is no value (an input left out, an output that was not made).
Result<std::optional<Value>> Engine::Impl::value_of(const Node& n, const Source& s) const {
  std::optional<Value> v;
  switch (s.kind) {
    case Source::Kind::constant:
      if (s.constant.is_null()) break;
      v = s.constant.is_string() ? Value(substitute_constant(s.constant.get_string(), variables(n))) : s.constant;
      break;
    case Source::Kind::scope_input:
      if (auto it = n.parent->inputs.find(s.input); it != n.parent->inputs.end()) v = *it->second;
      break;
    case Source::Kind::task_output: {
      const auto& producer = *n.parent->children[s.task];
      if (auto it = producer.outputs.find(s.output); producer.succeeded() && it != producer.outputs.end())
        v = *it->second;
      break;
    }
    case Source::Kind::final_status:
      v = final_status(*n.parent->children[s.task]);
      break;
  }
  if (v && v->is_null()) v.reset();
  if (v && s.selector) {
    auto selected = s.selector->evaluate(selector_variables(*v));
    if (!selected) return std::unexpected(selected.error());
    v = normalize(std::move(*selected));
  }
  return v;
}

Result<void> Engine::Impl::resolve(Node& n) {
  n.inputs.clear();
  n.input_artifacts.clear();
  const auto& c = *n.component;
  if (n.task == nullptr) {  // the root: what the run gave, then defaults
    for (const auto& [name, in] : c.input_parameters) {
      const auto* given = parameters.if_contains(name);
      if (given != nullptr && !given->is_null()) {
        auto v = convert(normalize(*given), in.type, name);
        if (!v) return of_input(name, v.error());
        n.inputs[name] = std::make_shared<const Value>(std::move(*v));
      } else if (in.fallback) {
        n.inputs[name] = std::make_shared<const Value>(*in.fallback);
      } else if (!in.optional) {
        return fail(Code::invalid_argument, fmt::format("input \"{}\" is required and was not given", name));
      }
    }
    return {};
  }
  for (const auto& [name, source] : n.task->parameters) {
    auto v = value_of(n, source);
    if (!v) return of_input(name, v.error());
    auto in = c.input_parameters.find(name);
    if (!*v) continue;
    if (in == c.input_parameters.end()) {
      n.inputs[name] = std::make_shared<const Value>(std::move(**v));
      continue;
    }
    auto fitting = convert(**v, in->second.type, name);
    if (!fitting) return of_input(name, fitting.error());
    if (!in->second.literals.empty() &&
        std::ranges::none_of(in->second.literals, [&](const Value& l) { return l == *fitting; }))
      return fail(Code::invalid_argument,
                  fmt::format("input \"{}\": {} is not among the literals that the component {} allows", name,
                              json::serialize(*fitting), c.name));
    n.inputs[name] = std::make_shared<const Value>(std::move(*fitting));
  }
  for (const auto& [name, source] : n.task->parameters) {
    if (source.kind != Source::Kind::constant || !has_reference(source.constant) || !n.inputs.contains(name)) continue;
    auto filled = fill_references(
        *n.inputs[name],
        [&](std::string_view other) -> std::optional<Value> {
          if (auto it = n.inputs.find(std::string(other)); it != n.inputs.end() && other != name) return *it->second;
          if (n.task->parameters.contains(std::string(other)) && other != name) return Value(nullptr);  // left out
          return std::nullopt;
        },
        false);
    n.inputs[name] = std::make_shared<const Value>(std::move(filled));
  }
  auto item = n.loop ? n.task->iterator->item_input : std::string();
  for (const auto& [name, in] : c.input_parameters) {
    if (n.inputs.contains(name) || name == item || in.type == ParameterType::task_config) continue;
    // A step applies its own default; a DAG has no code of its own to do so.
    if (in.fallback) {
      if (c.kind == ComponentKind::dag) n.inputs[name] = std::make_shared<const Value>(*in.fallback);
      continue;
    }
    if (!in.optional)
      return fail(Code::invalid_argument,
                  fmt::format("input \"{}\" has no value: what it comes from was left out or made no output", name));
  }
  for (const auto& [name, source] : n.task->artifacts) {
    const std::vector<Artifact>* from = nullptr;
    if (source.kind == Source::Kind::scope_input) {
      auto it = n.parent->input_artifacts.find(source.input);
      if (it != n.parent->input_artifacts.end()) from = &it->second;
    } else {
      const auto& producer = *n.parent->children[source.task];
      auto it = producer.output_artifacts.find(source.output);
      if (producer.succeeded() && it != producer.output_artifacts.end()) from = &it->second;
    }
    if (from != nullptr) n.input_artifacts[name] = *from;
  }
  item = n.loop ? n.task->iterator->item_input : std::string();
  for (const auto& [name, in] : c.input_artifacts)
    if (!n.input_artifacts.contains(name) && name != item && !in.optional)
      return fail(Code::invalid_argument,
                  fmt::format("input artifact \"{}\" is missing: what it comes from made none", name));
  return {};
}

Result<bool> Engine::Impl::condition_holds(Node& n) {
  Object values, artifacts;
  for (const auto& [name, v] : n.inputs) values[name] = *v;
  for (const auto& [name, in] : n.component->input_parameters)
    if (!values.contains(name) && in.fallback) values[name] = *in.fallback;
  for (const auto& [name, list] : n.input_artifacts) {
    Array items;
    for (const auto& a : list) items.push_back(to_json(a));
    artifacts[name] = Object{{"artifacts", std::move(items)}};
  }
  auto holds = n.task->condition->holds(condition_variables(values, artifacts));
  if (!holds)
    return fail(Code::invalid_argument,
                fmt::format("the condition \"{}\": {}", n.task->condition->text(), holds.error().message));
  return *holds;
}

Result<void> Engine::Impl::dag_outputs(Node& n) {
  const auto& c = *n.component;
  for (const auto& [name, source] : c.dag_parameters) {
    Shared found;
    int ran = 0;
    for (const auto& from : source.from) {
      const auto& child = *n.children[from.task];
      if (!child.succeeded()) continue;
      auto it = child.outputs.find(from.output);
      if (it == child.outputs.end()) continue;
      ++ran;
      found = it->second;
    }
    if (source.one_of && ran != 1)
      return fail(Code::failed_precondition,
                  fmt::format("output \"{}\" is one of several tasks' outputs, and {} of them ran", name,
                              ran == 0 ? "none" : "more than one"));
    if (found) n.outputs[name] = std::move(found);
  }
  for (const auto& [name, source] : c.dag_artifacts) {
    std::vector<Artifact> all;
    bool any = false;
    for (const auto& from : source.from) {
      const auto& child = *n.children[from.task];
      auto it = child.output_artifacts.find(from.output);
      if (!child.succeeded() || it == child.output_artifacts.end()) continue;
      any = true;
      all.insert(all.end(), it->second.begin(), it->second.end());
    }
    if (any) n.output_artifacts[name] = std::move(all);
  }
  return {};
}

// Seen from outside, an output of a loop is the list over its iterations, in their order.
void Engine::Impl::loop_outputs(Node& n) {
  const auto& c = *n.component;
  for (const auto& [name, _] : c.output_parameters) {
    Array list;
    for (const auto* child : n.children) {
      auto it = child->outputs.find(name);
      if (child->succeeded() && it != child->outputs.end()) list.push_back(*it->second);
    }
    n.outputs[name] = std::make_shared<const Value>(std::move(list));
  }
  for (const auto& [name, _] : c.output_artifacts) {
    auto& all = n.output_artifacts[name];
    all.clear();
    for (const auto* child : n.children) {
      auto it = child->output_artifacts.find(name);
      if (child->succeeded() && it != child->output_artifacts.end())
        all.insert(all.end(), it->second.begin(), it->second.end());
    }
  }
}

Result<std::optional<Value>> Engine::in_scope(const std::string& path, const Value& parameter) const {
  auto it = impl_->by_path.find(path);
  if (it == impl_->by_path.end() || it->second->parent == nullptr)
    return fail(Code::failed_precondition, fmt::format("the run has no task \"{}\"", path));
  const auto& n = *it->second;
  auto member = [](const Value& v, std::string_view camel, std::string_view snake) {
    const auto* m = json::find(v, camel);
    return m != nullptr ? m : json::find(v, snake);
  };
  auto text = [&](const Value& v, std::string_view camel, std::string_view snake) {
    const auto* m = member(v, camel, snake);
    return m != nullptr && m->is_string() ? std::string(m->get_string()) : std::string();
  };
  Source s;
  if (const auto* r = member(parameter, "runtimeValue", "runtime_value")) {
    if (const auto* c = json::find(*r, "constant")) s.constant = normalize(*c);
  } else if (auto name = text(parameter, "componentInputParameter", "component_input_parameter"); !name.empty()) {
    s.kind = Source::Kind::scope_input;
    s.input = name;
  } else if (const auto* t = member(parameter, "taskOutputParameter", "task_output_parameter")) {
    s.kind = Source::Kind::task_output;
    auto producer = text(*t, "producerTask", "producer_task");
    const auto& tasks = n.parent->component->tasks;
    auto task = std::ranges::find(tasks, producer, &Task::key);
    if (task == tasks.end())
      return fail(Code::invalid_argument, fmt::format("there is no task \"{}\" in this DAG", producer));
    s.task = static_cast<std::size_t>(task - tasks.begin());
    s.output = text(*t, "outputParameterKey", "output_parameter_key");
  }
  return impl_->value_of(n, s);
}

NodeView Engine::Impl::view(const Node& n, bool values) const {
  NodeView v;
  v.path = n.path;
  v.parent = n.parent == nullptr ? std::string() : n.parent->path;
  v.task = n.task;
  v.component = n.component;
  v.key = n.task == nullptr ? "root" : n.task->key;
  v.display_name = n.task == nullptr ? "root" : n.task->display_name;
  v.iteration = n.iteration;
  v.loop = n.loop;
  v.state = n.state;
  v.created_ms = n.created_ms;
  v.started_ms = n.started_ms;
  v.finished_ms = n.finished_ms;
  v.error = n.error;
  v.history = n.history;
  if (values) {
    for (const auto& [name, x] : n.inputs) v.inputs[name] = *x;
    for (const auto& [name, x] : n.outputs) v.outputs[name] = *x;
  }
  v.input_artifacts = n.input_artifacts;
  v.output_artifacts = n.output_artifacts;
  v.attempts = n.attempts;
  v.pod = n.pod;
  v.uuid = n.uuid;
  v.cache_note = n.cache_note;
  v.cached_run = n.cached_run;
  v.cached_node = n.cached_node;
  for (const auto* c : n.children) v.children.push_back(c->path);
  return v;
}

}  // namespace mr::pipelines
