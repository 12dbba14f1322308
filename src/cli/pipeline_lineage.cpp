// `millrace lineage`: an artifact, the step that made it, what that step read, and so on up to the first inputs.
#include <cstdlib>

#include "cli/client_api.h"
#include "cli/client_print.h"
#include "cli/pipeline_commands.h"
#include "cli/pipeline_models.h"
#include "cli/pipeline_tree.h"
#include "json/parse.h"
#include "pipelines/value.h"
#include "text/text.h"
#include "text/uri.h"

namespace mr::cli {

namespace {

using boost::json::value;
using pipelines::Source;

constexpr std::size_t kMostRuns = 20, kMostSteps = 200;  // that are asked for parameters
constexpr std::size_t kMostParameters = 30;              // of one step

const boost::json::array& items_at(const value& v, std::string_view key) {
  static const boost::json::array none;
  const auto* a = json::find(v, key);
  return a != nullptr && a->is_array() ? a->get_array() : none;
}

// Where a parameter of the task at `path` comes from, in words; empty: a constant of the pipeline, or not known.
std::string origin(const pipelines::Plan& plan, std::string_view path, std::string name) {
  std::vector<std::pair<const pipelines::Component*, const pipelines::Task*>> chain;
  const auto* c = &plan.root_component();
  bool loop = false;
  for (auto part : text::split(path, '/')) {
    if (std::exchange(loop, false)) continue;  // the iteration's number
    auto t = std::ranges::find(c->tasks, part, &pipelines::Task::key);
    if (t == c->tasks.end()) return {};
    chain.emplace_back(c, &*t);
    loop = t->iterator.has_value();
    c = &plan.components[t->component];
  }
  for (auto it = chain.rbegin(); it != chain.rend(); ++it) {
    const auto& [dag, t] = *it;
    if (t->iterator && name == t->iterator->item_input) return fmt::format("an item of {}", t->key);
    auto s = t->parameters.find(name);
    if (s == t->parameters.end()) return {};
    if (s->second.kind == Source::Kind::task_output)
      return fmt::format("{} of {}", s->second.output, dag->tasks[s->second.task].key);
    if (s->second.kind == Source::Kind::final_status)
      return fmt::format("the final status of {}", dag->tasks[s->second.task].key);
    if (s->second.kind == Source::Kind::constant) return {};
    name = s->second.input;
  }
  return fmt::format("parameter {} of the run", name);
}

// The MLflow run that logged what this URI names (mlflow-artifacts/EXPERIMENT/RUN/artifacts/…); empty: none.
std::string logged_by(std::string_view uri) {
  auto at = uri.find("mlflow-artifacts");
  if (at == std::string_view::npos) return {};
  auto rest = uri.substr(at + std::string_view("mlflow-artifacts").size());
  while (rest.starts_with(':') || rest.starts_with('/')) rest.remove_prefix(1);
  auto parts = text::split(rest, '/');
  bool run = parts.size() >= 3 && parts[2] == "artifacts" && parts[1].size() == 32 &&
             parts[1].find_first_not_of("0123456789abcdef") == std::string_view::npos;
  return run ? std::string(parts[1]) : std::string();
}

// What the tracking server knows of runs that are mirrored there; a server that does not answer knows nothing.
class TrackedRuns {
 public:
  // Of the pipeline's run: the nested run of the step with this path or name, and the registered models it logged.
  std::vector<std::string> notes(const value& entries, std::string_view path, std::string_view name) {
    auto entry = [&](std::string_view key) {
      const auto* e = json::find(entries, key);
      return std::string(e == nullptr ? std::string_view() : json::string_or_empty(*e, "value"));
    };
    auto root = entry("root_run_id"), url = entry("run_url");
    if (root.empty()) return {};
    std::vector<std::string> out{fmt::format("tracked as MLflow run {}  {}", one_line(root), one_line(url))};
    auto base = url.substr(0, url.find("/#/"));
    if (!base.starts_with("http")) return out;
    for (const auto& run : items_at(nested(base, entry("experiment_id"), root), "runs")) {
      const auto* info = json::find(run, "info");
      auto called = info == nullptr ? std::string_view() : json::string_or_empty(*info, "run_name");
      if (called.empty() || (called != path && called != name)) continue;
      std::string id(json::string_or_empty(*info, "run_id"));
      out.push_back(fmt::format("its step as MLflow run {}", one_line(id)));
      for (const auto& v : items_at(models(base, id), "model_versions"))
        out.push_back(fmt::format("registered as models:/{}/{}", one_line(json::string_or_empty(v, "name")),
                                  one_line(json::string_or_empty(v, "version"))));
      break;
    }
    return out;
  }

 private:
  value ask(http::Method method, const std::string& url, std::string_view body) {
    http::ClientRequest q;
    q.method = method;
    q.url = url;
    q.timeout_s = 5;
    if (!body.empty()) q.headers.add("Content-Type", "application/json");
    q.body = body;
    auto answer = client_.send(q);
    auto v = answer && answer->status == 200 ? json::parse(answer->body) : Result<value>(value());
    return v ? std::move(*v) : value();
  }
  const value& nested(const std::string& base, const std::string& experiment, const std::string& root) {
    auto known = nested_.find(root);
    if (known != nested_.end()) return known->second;
    auto body = json::serialize(boost::json::object{{"experiment_ids", boost::json::array{experiment}},
                                                    {"filter", fmt::format("tags.mlflow.parentRunId = '{}'", root)},
                                                    {"max_results", 1000}});
    return nested_.emplace(root, ask(http::Method::post, base + "/api/2.0/mlflow/runs/search", body)).first->second;
  }
  value models(const std::string& base, const std::string& run_id) {
    return ask(http::Method::get,
               fmt::format("{}/api/2.0/mlflow/model-versions/search?filter={}", base,
                           text::percent_encode(fmt::format("run_id='{}'", run_id))),
               {});
  }
  http::Client client_;
  std::map<std::string, value> nested_;  // by the run that they are in
};

struct Lines {
  PipelinesApi& api;
  const value& answer;
  std::map<std::string, const value*> artifacts = {}, makers = {};  // by the artifact's id
  std::set<std::string> shown = {};
  struct RunFacts {
    value run;
    std::shared_ptr<const pipelines::Plan> plan;
  };
  std::map<std::string, RunFacts> runs = {};
  std::size_t asked = 0;
  TrackedRuns tracked = {};

  void index() {
    for (const auto& a : items_at(answer, "artifacts")) artifacts.emplace(json::string_or_empty(a, "artifact_id"), &a);
    for (const auto& s : items_at(answer, "steps"))
      for (const auto& o : items_at(s, "outputs")) makers.emplace(json::string_or_empty(o, "artifact_id"), &s);
  }

  const RunFacts& facts(const std::string& id) {
    auto known = runs.find(id);
    if (known != runs.end() || runs.size() >= kMostRuns) {
      static const RunFacts none;
      return known == runs.end() ? none : known->second;
    }
    RunFacts f;
    auto path = "/runs/" + text::percent_encode(id);
    if (auto run = api.get(path)) f.run = std::move(*run);
    if (auto plan = plan_of_run(api, f.run)) f.plan = *plan;
    return runs.emplace(id, std::move(f)).first->second;
  }

  void parameters(const value& step, std::vector<std::string>& notes) {
    const auto& f = facts(std::string(json::string_or_empty(step, "run_id")));
    auto path = json::string_or_empty(step, "path");
    if (++asked > kMostSteps) return;
    auto task = api.get(fmt::format("/runs/{}/tasks/{}", text::percent_encode(json::string_or_empty(step, "run_id")),
                                    text::percent_encode(json::string_or_empty(step, "task_id"))));
    const auto* more = task ? json::find(*task, "more") : nullptr;
    if (more == nullptr) return;
    for (auto [word, key] : {std::pair{"with", "input_parameters"}, {"gave", "output_parameters"}}) {
      const auto* list = json::find(*more, key);
      if (list == nullptr || !list->is_object()) continue;
      std::map<std::string, std::string> sorted;
      for (const auto& m : list->get_object())
        sorted[std::string(m.key())] =
            one_line(m.value().is_string() ? json::serialize(m.value()) : pipelines::to_text(m.value()), 100);
      std::size_t n = 0;
      for (const auto& [name, shown_value] : sorted) {
        if (++n > kMostParameters) {
          notes.push_back(fmt::format("{} {} more", word, sorted.size() - kMostParameters));
          break;
        }
        auto from = f.plan != nullptr && std::string_view(word) == "with" ? origin(*f.plan, path, name) : std::string();
        notes.push_back(
            fmt::format("{} {} = {}{}{}", word, one_line(name, 80), shown_value, from.empty() ? "" : ", ", from));
      }
    }
    const auto* plugins = json::find(f.run, "plugins_output");
    const auto* mlflow = plugins == nullptr ? nullptr : json::find(*plugins, "mlflow");
    const auto* entries = mlflow == nullptr ? nullptr : json::find(*mlflow, "entries");
    if (entries == nullptr) return;
    for (auto& note : tracked.notes(*entries, path, json::string_or_empty(*task, "display_name")))
      notes.push_back(std::move(note));
  }

  Branch artifact(const std::string& id, const std::string& as) {
    Branch b;
    auto a = artifacts.find(id);
    if (a == artifacts.end()) {
      b.text = fmt::format("{}artifact {}", as, id);
      return b;
    }
    b.text = fmt::format("{}{}  {}", as, one_line(json::string_or_empty(*a->second, "uri"), 500),
                         one_line(json::string_or_empty(*a->second, "type")));
    if (!shown.insert(id).second) {
      b.text += "  (as above)";
      return b;
    }
    if (auto run = logged_by(json::string_or_empty(*a->second, "uri")); !run.empty())
      b.notes.push_back(fmt::format("logged by MLflow run {}", run));
    auto maker = makers.find(id);
    if (maker == makers.end()) {
      b.notes.emplace_back("made outside of the pipelines, or by a run that was deleted");
      return b;
    }
    const auto& s = *maker->second;
    std::string output;
    for (const auto& o : items_at(s, "outputs"))
      if (json::string_or_empty(o, "artifact_id") == id) output = json::string_or_empty(o, "key");
    b.notes.push_back(fmt::format("made by {} as {}, {}", one_line(json::string_or_empty(s, "path")), one_line(output),
                                  one_line(json::string_or_empty(*a->second, "created_at"))));
    auto name = json::string_or_empty(s, "run_name");
    b.notes.push_back(fmt::format("in run {}{}", one_line(json::string_or_empty(s, "run_id")),
                                  name.empty() ? " (deleted)"
                                               : fmt::format(" \"{}\" of pipeline {}", one_line(name),
                                                             one_line(json::string_or_empty(s, "pipeline_name")))));
    parameters(s, b.notes);
    for (const auto& in : items_at(s, "inputs"))
      b.children.push_back(artifact(std::string(json::string_or_empty(in, "artifact_id")),
                                    one_line(json::string_or_empty(in, "key")) + ": "));
    return b;
  }
};

// The tracking servers that may go with the pipelines API at `url`.
std::vector<std::string> tracking_urls(const std::string& url) {
  constexpr int kTracking = 5000, kDoors[] = {8888, 8080};
  std::vector<std::string> out;
  if (const char* given = std::getenv("MLFLOW_TRACKING_URI");
      given != nullptr && std::string_view(given).starts_with("http"))
    out.emplace_back(given);
  const auto u = text::parse_uri(url);
  if (const auto colon = u.authority.rfind(':'); colon != std::string::npos)
    if (auto port = text::to_i64(std::string_view(u.authority).substr(colon + 1)))
      for (int door : kDoors)
        if (*port >= door)
          out.push_back(fmt::format("http://{}:{}", u.authority.substr(0, colon), *port - door + kTracking));
  return out;
}

boost::json::object resolved_json(const TrackedName& name) {
  boost::json::array uris;
  for (const auto& u : name.uris) uris.emplace_back(u);
  return {{"title", name.title}, {"uris", std::move(uris)}, {"run_id", name.run_id}};
}

Error not_known(const PipelinesApi& api, const std::string& asked, const Error& e, const TrackedName& name) {
  if (e.code != Code::not_found) return e;
  auto message = fmt::format("no step of a pipeline on {} made or read {}", api.url(), asked);
  if (!name.title.empty()) message += fmt::format(" ({})", name.title);
  if (!name.run_id.empty()) message += fmt::format("; MLflow run {} logged it", name.run_id);
  return {Code::not_found, std::move(message), {}, {}};
}

// A tree of artifacts, with what a name of the tracking server's meant above it.
int told(PipelinesApi& api, const PipelineSettings& p, const value& answer, const TrackedName& name) {
  if (p.output == "json") {
    auto v = answer;
    if (!name.title.empty() && v.is_object()) v.get_object()["resolved"] = resolved_json(name);
    return put(json_text(v)) ? 0 : 1;
  }
  Lines lines{.api = api, .answer = answer};
  lines.index();
  const auto& all = items_at(answer, "artifacts");
  if (all.empty()) return complain({Code::data_loss, fmt::format("{} gave no artifact", api.url()), {}, {}});
  std::string out;
  if (!name.title.empty()) out += one_line(name.title, 300) + "\n";
  auto tree = lines.artifact(std::string(json::string_or_empty(all.front(), "artifact_id")), "");
  for (const auto& line : branch_lines({tree}, false)) out += line + "\n";
  for (const auto& r : items_at(answer, "readers"))
    out += fmt::format("read by {} as {}, run {}\n", one_line(json::string_or_empty(r, "path")),
                       one_line(json::string_or_empty(r, "key")), one_line(json::string_or_empty(r, "run_id")));
  if (const auto* cut = json::find(answer, "truncated"); cut != nullptr && cut->is_bool() && cut->get_bool())
    out += "… and more: the answer has the artifacts nearest to it\n";
  return put(out) ? 0 : 1;
}

// What a step logged on the tracking server while it ran: no output of the pipeline, and of the same origin.
int told_by_step(PipelinesApi& api, const PipelineSettings& p, const std::string& asked, const TrackedName& name,
                 const TrackedStep& step) {
  auto tasks = api.get(fmt::format("/runs/{}/tasks", text::percent_encode(step.pipeline_run)));
  if (!tasks) return complain(not_known(api, asked, tasks.error(), name));
  auto run = api.get("/runs/" + text::percent_encode(step.pipeline_run));
  const value* task = nullptr;
  for (const auto& t : items_at(*tasks, "tasks")) {
    const auto* more = json::find(t, "more");
    auto path = more == nullptr ? std::string_view() : json::string_or_empty(*more, "path");
    if (!path.empty() && (path == step.name || json::string_or_empty(t, "display_name") == step.name)) task = &t;
  }
  auto path_of = [&] {
    const auto* more = task == nullptr ? nullptr : json::find(*task, "more");
    return more == nullptr ? std::string() : std::string(json::string_or_empty(*more, "path"));
  };
  std::vector<std::pair<std::string, value>> inputs;  // their names and lineages
  if (task != nullptr)
    if (const auto* given = json::find(*task, "inputs"); given != nullptr && given->is_object())
      for (const auto& in : given->get_object())
        for (const auto& id : items_at(in.value(), "artifact_ids"))
          if (auto one = api.get(fmt::format("/artifacts/{}/lineage",
                                             id.is_string() ? std::string(id.get_string()) : json::serialize(id))))
            inputs.emplace_back(in.key(), std::move(*one));
  if (p.output == "json") {
    boost::json::object out{{"resolved", resolved_json(name)}};
    out["step"] =
        boost::json::object{{"run_id", step.pipeline_run},
                            {"task_id", task == nullptr ? std::string_view() : json::string_or_empty(*task, "task_id")},
                            {"path", path_of()}};
    boost::json::array list;
    for (auto& [key, lineage] : inputs)
      list.push_back(boost::json::object{{"key", key}, {"lineage", std::move(lineage)}});
    out["inputs"] = std::move(list);
    return put(json_text(value(std::move(out)))) ? 0 : 1;
  }
  Branch top;
  top.text = fmt::format("{}{}", one_line(asked, 500), name.title.empty() ? "" : "  " + one_line(name.title, 300));
  for (const auto& u : name.uris)
    if (u != asked) top.notes.push_back("is " + one_line(u, 500));
  top.notes.push_back(fmt::format("logged by MLflow run {}", one_line(name.run_id)));
  top.notes.push_back(task == nullptr ? fmt::format("in a step of run {}", one_line(step.pipeline_run))
                                      : fmt::format("made by {}", one_line(path_of())));
  auto run_name = run ? json::string_or_empty(*run, "display_name") : std::string_view();
  top.notes.push_back(fmt::format("in run {}{}", one_line(step.pipeline_run),
                                  run_name.empty() ? "" : fmt::format(" \"{}\"", one_line(run_name))));
  static const value kNothing(boost::json::object{});
  Lines lines{.api = api, .answer = kNothing};
  if (task != nullptr) {
    boost::json::object as_step{
        {"run_id", step.pipeline_run}, {"task_id", json::string_or_empty(*task, "task_id")}, {"path", path_of()}};
    lines.parameters(value(std::move(as_step)), top.notes);
  }
  for (const auto& [key, lineage] : inputs) {
    Lines of_input{.api = api, .answer = lineage};
    of_input.index();
    const auto& all = items_at(lineage, "artifacts");
    if (!all.empty())
      top.children.push_back(
          of_input.artifact(std::string(json::string_or_empty(all.front(), "artifact_id")), one_line(key) + ": "));
  }
  std::string out;
  for (const auto& line : branch_lines({top}, false)) out += line + "\n";
  return put(out) ? 0 : 1;
}

}  // namespace

int lineage_command(const Settings& s) {
  const auto& p = s.pipelines;
  if (p.args.empty())
    return complain({Code::invalid_argument, "name an artifact by its URI or id (millrace lineage --help)", {}, {}});
  PipelinesApi api(s);
  const auto& asked = p.args[0];
  if (text::to_i64(asked)) {
    auto answer = api.get(fmt::format("/artifacts/{}/lineage", asked));
    return answer ? told(api, p, *answer, {}) : complain(not_known(api, asked, answer.error(), {}));
  }
  auto by_uri = [&](const std::string& uri) {
    std::string path = "/lineage";
    add_query(path, "uri", uri);
    add_query(path, "namespace", p.ns);
    return api.get(path);
  };
  TrackingServer tracking(tracking_urls(api.url()));
  TrackedName name;
  if (TrackingServer::names(asked)) {
    auto found = tracking.resolve(asked);
    if (!found) return complain(found.error());
    name = std::move(*found);
  }
  auto answer = by_uri(asked);
  for (std::size_t i = 0; !answer && answer.error().code == Code::not_found && i < name.uris.size(); ++i)
    answer = by_uri(name.uris[i]);
  if (answer) return told(api, p, *answer, name);
  if (answer.error().code != Code::not_found) return complain(answer.error());
  // No step says that it is its output; the run that logged it may be a step's.
  if (!TrackingServer::names(asked)) name = tracking.of_artifact(asked);
  auto step = tracking.step_of(name.run_id);
  if (step.pipeline_run.empty()) return complain(not_known(api, asked, answer.error(), name));
  return told_by_step(api, p, asked, name, step);
}

}  // namespace mr::cli
