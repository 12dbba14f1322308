// The link to the tracking server: for a run that asks for it (plugins_input.mlflow), a parent run, and a nested run
// for each attempt of a step, whose address and id the step finds in its environment. Trouble there is told in
// plugins_output and never stops a run.
#include "json/parse.h"
#include "log/log.h"
#include "pipelines/runner_state.h"

namespace mr::pipelines {

namespace {

constexpr std::string_view kDefaultExperiment = "KFP-Default";

const Object* plugin_input(const Run& run) {
  const auto* v = run.plugins_input.if_contains("mlflow");
  if (v == nullptr || !v->is_object()) return nullptr;
  const auto* disabled = v->get_object().if_contains("disabled");
  return disabled != nullptr && *disabled == Value(true) ? nullptr : &v->get_object();
}

Object entry(std::string_view text, bool url = false) {
  Object o{{"value", text}};
  if (url) o["render_type"] = "URL";
  return o;
}

std::string text_entry(const Object& plugins_output, std::string_view name) {
  const auto* m = plugins_output.if_contains("mlflow");
  const auto* e = m == nullptr ? nullptr : json::find(*m, "entries");
  const auto* v = e == nullptr ? nullptr : json::find(*e, name);
  return v == nullptr ? std::string() : std::string(json::string_or_empty(*v, "value"));
}

std::string status_of(State s) {
  return s == State::succeeded ? "FINISHED" : s == State::canceled ? "KILLED" : "FAILED";
}

}  // namespace

task::Task<void> Runner::Impl::begin_tracking(LivePtr l) {
  const auto* input = plugin_input(l->run);
  if (input == nullptr || options.tracking == nullptr) co_return;
  l->tracking_experiment = text_entry(l->run.plugins_output, "experiment_id");
  l->tracking_run = text_entry(l->run.plugins_output, "root_run_id");
  if (!l->tracking_run.empty()) co_return;  // taken up again
  auto& link = *options.tracking;
  auto wanted_id = std::string(json::string_or_empty(*input, "experiment_id"));
  auto wanted = std::string(json::string_or_empty(*input, "experiment_name"));
  if (wanted.empty()) wanted = kDefaultExperiment;
  Object entries, output;
  std::string trouble;
  if (auto e = co_await link.experiment(wanted_id, wanted); !e) {
    trouble = e.error().message;
  } else {
    Tags tags{{"kfp.pipeline_run_id", l->run.id}};
    if (!l->run.pipeline_id.empty()) tags.emplace_back("kfp.pipeline_id", l->run.pipeline_id);
    if (!l->run.version_id.empty()) tags.emplace_back("kfp.pipeline_version_id", l->run.version_id);
    auto made = co_await link.create_run(e->id, l->run.name, std::move(tags));
    entries["experiment_id"] = entry(e->id);
    entries["experiment_name"] = entry(e->name);
    if (made) {
      l->tracking_experiment = e->id;
      l->tracking_run = *made;
      entries["root_run_id"] = entry(*made);
      entries["run_url"] = entry(link.run_url(e->id, *made), true);
    } else {
      trouble = made.error().message;
    }
  }
  output["entries"] = std::move(entries);
  output["state"] = trouble.empty() ? "PLUGIN_SUCCEEDED" : "PLUGIN_FAILED";
  if (!trouble.empty()) {
    output["state_message"] = trouble;
    log::warn("a pipeline run has no run on the tracking server", {{"run", l->run.id}, {"error", trouble}});
  }
  l->run.plugins_output["mlflow"] = std::move(output);
  (void)co_await store.set_plugins_output(l->run.id, l->run.plugins_output);
}

task::Task<void> Runner::Impl::begin_nested(LivePtr l, NodeView n) {
  if (l->tracking_run.empty()) co_return;
  auto name = n.path.contains('/') ? n.path : n.display_name;
  auto made =
      co_await options.tracking->create_run(l->tracking_experiment, name, {{"mlflow.parentRunId", l->tracking_run}});
  if (made)
    l->nested[n.path] = *made;
  else
    log::warn("a step has no run on the tracking server",
              {{"run", l->run.id}, {"step", n.path}, {"error", made.error().message}});
}

task::Task<void> Runner::Impl::end_nested(LivePtr l, NodeView n, const Event& end) {
  auto it = l->nested.find(n.path);
  if (it == l->nested.end()) co_return;
  std::map<std::string, double> metrics;
  for (const auto& [_, list] : end.artifacts)
    for (const auto& a : list)
      if (a.type.title == "system.Metrics")
        for (const auto& m : a.metadata)
          if (m.value().is_number()) metrics[m.key()] = m.value().to_number<double>();
  std::map<std::string, std::string> params;
  for (const auto& p : n.inputs) params[p.key()] = json::serialize(p.value()).substr(0, 6000);
  if (!metrics.empty() || !params.empty())
    (void)co_await options.tracking->log(it->second, std::move(metrics), std::move(params));
  auto state = end.kind == Event::Kind::succeeded ? State::succeeded
               : l->killed.contains(n.path)       ? State::canceled
                                                  : State::failed;
  (void)co_await options.tracking->update_run(it->second, status_of(state), options.now_ms());
}

task::Task<void> Runner::Impl::end_tracking(LivePtr l) {
  if (l->tracking_run.empty()) co_return;
  auto r =
      co_await options.tracking->update_run(l->tracking_run, status_of(l->engine->state()), l->engine->finished_ms());
  if (r) co_return;
  auto& output = l->run.plugins_output["mlflow"].get_object();
  output["state"] = "PLUGIN_FAILED";
  output["state_message"] = r.error().message;
  (void)co_await store.set_plugins_output(l->run.id, l->run.plugins_output);
}

std::vector<std::pair<std::string, std::string>> Runner::Impl::step_env(const LivePtr& l,
                                                                        const std::string& node) const {
  std::vector<std::pair<std::string, std::string>> env;
  if (options.tracking == nullptr) return env;
  env.emplace_back("MLFLOW_TRACKING_URI", options.tracking->inside_url());
  if (auto it = l->nested.find(node); it != l->nested.end()) {
    env.emplace_back("MLFLOW_EXPERIMENT_ID", l->tracking_experiment);
    env.emplace_back("MLFLOW_RUN_ID", it->second);
  }
  return env;
}

}  // namespace mr::pipelines
