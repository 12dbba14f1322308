#include "pipelines/encode.h"

#include "pipelines/errors.h"
#include "text/text.h"

namespace mr::pipelines {

namespace {

Array history_messages(const std::vector<StateChange>& history) {
  Array out;
  for (const auto& h : history) {
    Object o{{"update_time", h.time_ms}, {"state", state_name(h.state)}};
    if (h.error) o["error"] = to_message(*h.error);
    out.push_back(std::move(o));
  }
  return out;
}

// The source of a run or a recurring run: a version, or the spec itself.
void add_source(Object& m, const std::string& pipeline_id, const std::string& version_id, const Value& spec) {
  if (!pipeline_id.empty() || !version_id.empty())
    m["pipeline_version_reference"] = Object{{"pipeline_id", pipeline_id}, {"pipeline_version_id", version_id}};
  else if (spec.is_object())
    m["pipeline_spec"] = spec;
}

void add_config(Object& m, const Object& parameters, const std::string& root) {
  if (parameters.empty() && root.empty()) return;
  m["runtime_config"] = Object{{"parameters", parameters}, {"pipeline_root", root}};
}

Object artifact_lists(const std::map<std::string, std::vector<Artifact>>& artifacts) {
  Object out;
  for (const auto& [key, list] : artifacts) {
    Array ids;
    for (const auto& a : list)
      if (a.id != 0) ids.push_back(a.id);
    if (!ids.empty()) out[key] = Object{{"artifact_ids", std::move(ids)}};
  }
  return out;
}

// A number for what the original counts in its metadata store: of the task's id, so that it stays the same; it fits
// into a double, since JavaScript reads it.
std::int64_t execution_number(const std::string& id) {
  std::uint64_t n = 0;
  for (const char c : id.substr(0, 13))
    if (c != '-') n = n * 16 + static_cast<std::uint64_t>(c <= '9' ? c - '0' : c - 'a' + 10);
  return static_cast<std::int64_t>(n | 1);
}

void add_more(Object& m, const NodeView& n) {
  Object more{{"path", n.path},
              {"key", n.key},
              {"attempts", n.attempts},
              {"input_parameters", n.inputs},
              {"output_parameters", n.outputs},
              {"cache", n.cache_note},
              {"cached_run_id", n.cached_run}};
  if (n.iteration >= 0) more["iteration"] = n.iteration;
  if (!n.waiting_for.empty()) more["waiting_for"] = n.waiting_for;
  if (!n.cached_run.empty()) more["cached_task_id"] = task_id(n.cached_run, n.cached_node);
  m["more"] = std::move(more);
}

struct Source {
  std::string pipeline_id, version_id;
  Value spec;
};
Source source_from(const Object& m) {
  Source s;
  if (const auto* reference = message_of(m, "pipeline_version_reference")) {
    s.pipeline_id = text_of(*reference, "pipeline_id");
    s.version_id = text_of(*reference, "pipeline_version_id");
  } else if (const auto* spec = message_of(m, "pipeline_spec")) {
    s.spec = *spec;
  } else {
    s.version_id = text_of(m, "pipeline_version_id");
  }
  return s;
}

}  // namespace

Object to_message(const Error& e) { return {{"code", wire_code_of(e.code)}, {"message", e.message}}; }

Object to_message(const Experiment& e) {
  return {{"experiment_id", e.id},
          {"display_name", e.name},
          {"description", e.description},
          {"created_at", e.created_ms},
          {"namespace", e.ns},
          {"storage_state", e.archived ? "ARCHIVED" : "AVAILABLE"},
          {"last_run_created_at", e.last_run_ms}};
}

Object to_message(const Pipeline& p) {
  return {{"pipeline_id", p.id},
          {"name", p.name},
          {"display_name", p.display_name},
          {"description", p.description},
          {"created_at", p.created_ms},
          {"namespace", p.ns},
          {"tags", texts_value(p.tags)}};
}

Object to_message(const Version& v) {
  Object m{{"pipeline_id", v.pipeline_id},   {"pipeline_version_id", v.id},  {"name", v.name},
           {"display_name", v.display_name}, {"description", v.description}, {"created_at", v.created_ms},
           {"code_source_url", v.code_url},  {"tags", texts_value(v.tags)}};
  if (!v.url.empty()) m["package_url"] = Object{{"pipeline_url", v.url}};
  if (v.spec.is_object()) m["pipeline_spec"] = v.spec;
  return m;
}

Object to_message(const Run& r, const Array* tasks) {
  Object m{{"experiment_id", r.experiment_id},
           {"run_id", r.id},
           {"display_name", r.name},
           {"storage_state", r.archived ? "ARCHIVED" : "AVAILABLE"},
           {"description", r.description},
           {"service_account", r.service_account},
           {"created_at", r.created_ms},
           {"scheduled_at", r.scheduled_ms},
           {"finished_at", r.finished_ms},
           {"state", state_name(r.state)},
           {"recurring_run_id", r.recurring_run_id},
           {"state_history", history_messages(r.history)},
           {"plugins_input", r.plugins_input},
           {"plugins_output", r.plugins_output}};
  add_source(m, r.pipeline_id, r.version_id, r.spec);
  add_config(m, r.parameters, r.pipeline_root);
  if (r.error) m["error"] = to_message(*r.error);
  if (tasks != nullptr && !tasks->empty()) m["run_details"] = Object{{"task_details", *tasks}};
  return m;
}

Object to_message(const RecurringRun& r) {
  Object m{{"recurring_run_id", r.id},
           {"display_name", r.name},
           {"description", r.description},
           {"service_account", r.service_account},
           {"max_concurrency", r.max_concurrency},
           {"mode", r.enabled ? "ENABLE" : "DISABLE"},
           {"created_at", r.created_ms},
           {"updated_at", r.updated_ms},
           {"status", r.enabled ? "ENABLED" : "DISABLED"},
           {"no_catchup", r.no_catchup},
           {"namespace", r.ns},
           {"experiment_id", r.experiment_id},
           {"plugins_input", r.plugins_input}};
  add_source(m, r.pipeline_id, r.version_id, r.spec);
  add_config(m, r.parameters, r.pipeline_root);
  Object schedule;
  if (r.start_ms != 0) schedule["start_time"] = r.start_ms;
  if (r.end_ms != 0) schedule["end_time"] = r.end_ms;
  if (r.kind == TriggerKind::cron) {
    schedule["cron"] = r.cron;
    m["trigger"] = Object{{"cron_schedule", std::move(schedule)}};
  } else if (r.kind == TriggerKind::periodic) {
    schedule["interval_second"] = r.interval_s;
    m["trigger"] = Object{{"periodic_schedule", std::move(schedule)}};
  }
  return m;
}

Object to_message(const ArtifactRecord& a) {
  const auto& type = a.artifact.type;
  Object m{{"artifact_id", a.artifact.id},
           {"name", a.artifact.name},
           {"type", type.title.empty() ? type.instance : type.title},
           {"uri", a.artifact.uri},
           {"metadata", a.artifact.metadata},
           {"created_at", a.created_ms},
           {"namespace", a.ns}};
  return m;
}

Object to_message(const ArtifactUse& u) {
  // The task's key is the last part of its path that is no number of an iteration.
  std::string_view task = u.node;
  for (auto part : text::split(u.node, '/'))
    if (!part.empty() && part.find_first_not_of("0123456789") != std::string_view::npos) task = part;
  Object m{{"id", u.id},
           {"artifact_id", u.artifact_id},
           {"run_id", u.run_id},
           {"task_id", task_id(u.run_id, u.node)},
           {"type", u.output ? "OUTPUT" : "INPUT"},
           {"artifact_key", u.key}};
  if (u.output) {
    m["producer_task_name"] = task;
    m["producer_key"] = u.key;
  }
  return m;
}

Array task_messages(const std::string& run_id, std::span<const NodeView> nodes, bool more) {
  Array out;
  out.reserve(nodes.size());
  for (const auto& n : nodes) {
    const auto id = task_id(run_id, n.path);
    Object m{{"run_id", run_id},
             {"task_id", id},
             {"display_name", n.path.empty() ? std::string("root") : n.display_name},
             {"create_time", n.created_ms},
             {"start_time", n.started_ms},
             {"end_time", n.finished_ms},
             {"state", state_name(n.state)},
             {"inputs", artifact_lists(n.input_artifacts)},
             {"outputs", artifact_lists(n.output_artifacts)},
             {"state_history", history_messages(n.history)},
             {"pod_name", n.pod}};
    if (!n.path.empty()) m["parent_task_id"] = task_id(run_id, n.parent);
    if (n.started_ms != 0) m["execution_id"] = execution_number(id);
    if (!n.pod.empty()) m["executor_detail"] = Object{{"main_job", n.pod}};
    if (n.error) m["error"] = to_message(*n.error);
    Array children;
    for (const auto& child : n.children) children.push_back(Object{{"task_id", task_id(run_id, child)}});
    m["child_tasks"] = std::move(children);
    if (more) add_more(m, n);
    out.push_back(std::move(m));
  }
  return out;
}

Experiment experiment_from(const Object& m) {
  Experiment e;
  e.name = text_of(m, "display_name");
  e.description = text_of(m, "description");
  e.ns = text_of(m, "namespace");
  return e;
}

// Older requests had but one of the two names, or none of the other.
template <class T>
void read_names(const Object& m, T& x) {
  x.name = text_of(m, "name");
  x.display_name = text_of(m, "display_name");
  if (x.name.empty()) x.name = x.display_name;
  if (x.display_name.empty()) x.display_name = x.name;
  x.description = text_of(m, "description");
  x.tags = texts_of(m, "tags");
}

Pipeline pipeline_from(const Object& m) {
  Pipeline p;
  p.id = text_of(m, "pipeline_id");
  read_names(m, p);
  p.ns = text_of(m, "namespace");
  return p;
}

Version version_from(const Object& m) {
  Version v;
  v.id = text_of(m, "pipeline_version_id");
  v.pipeline_id = text_of(m, "pipeline_id");
  read_names(m, v);
  v.code_url = text_of(m, "code_source_url");
  if (const auto* url = message_of(m, "package_url")) v.url = text_of(*url, "pipeline_url");
  return v;
}

// What a run and a recurring run have in common: what is to run, with what.
template <class R>
void read_wish(const Object& m, R& r) {
  r.name = text_of(m, "display_name");
  r.description = text_of(m, "description");
  r.experiment_id = text_of(m, "experiment_id");
  r.service_account = text_of(m, "service_account");
  auto source = source_from(m);
  r.pipeline_id = std::move(source.pipeline_id);
  r.version_id = std::move(source.version_id);
  r.spec = std::move(source.spec);
  if (const auto* config = message_of(m, "runtime_config")) {
    r.parameters = document_of(*config, "parameters");
    r.pipeline_root = text_of(*config, "pipeline_root");
  }
  r.plugins_input = document_of(m, "plugins_input");
}

Run run_from(const Object& m) {
  Run r;
  read_wish(m, r);
  return r;
}

Result<RecurringRun> recurring_from(const Object& m) {
  RecurringRun r;
  read_wish(m, r);
  r.ns = text_of(m, "namespace");
  r.max_concurrency = integer_of(m, "max_concurrency");
  r.no_catchup = flag_of(m, "no_catchup");
  r.enabled = text_of(m, "mode") == "ENABLE";
  const auto* trigger = message_of(m, "trigger");
  const auto* cron = trigger == nullptr ? nullptr : message_of(*trigger, "cron_schedule");
  const auto* periodic = trigger == nullptr ? nullptr : message_of(*trigger, "periodic_schedule");
  if (cron == nullptr && periodic == nullptr)
    return invalid("A recurring run needs a trigger with a cron_schedule or a periodic_schedule");
  const auto& schedule = cron != nullptr ? *cron : *periodic;
  r.kind = cron != nullptr ? TriggerKind::cron : TriggerKind::periodic;
  r.start_ms = integer_of(schedule, "start_time");
  r.end_ms = integer_of(schedule, "end_time");
  r.cron = text_of(schedule, "cron");
  r.interval_s = integer_of(schedule, "interval_second");
  return r;
}

}  // namespace mr::pipelines
