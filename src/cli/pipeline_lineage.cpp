// `millrace lineage`: an artifact, the step that made it, what that step read, and so on up to the first inputs.
#include "cli/client_api.h"
#include "cli/client_print.h"
#include "cli/pipeline_commands.h"
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
    auto entry = [&](std::string_view name) {
      const auto* e = json::find(*entries, name);
      return e == nullptr ? std::string_view() : json::string_or_empty(*e, "value");
    };
    if (auto id = entry("root_run_id"); !id.empty())
      notes.push_back(fmt::format("tracked as MLflow run {}  {}", one_line(id), one_line(entry("run_url"))));
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

}  // namespace

int lineage_command(const Settings& s) {
  const auto& p = s.pipelines;
  if (p.args.empty())
    return complain({Code::invalid_argument, "name an artifact by its URI or id (millrace lineage --help)", {}, {}});
  PipelinesApi api(s);
  std::string path = "/lineage";
  if (text::to_i64(p.args[0])) {
    path = fmt::format("/artifacts/{}/lineage", p.args[0]);
  } else {
    add_query(path, "uri", p.args[0]);
    add_query(path, "namespace", p.ns);
  }
  auto answer = api.get(path);
  if (!answer && answer.error().code == Code::not_found)
    return complain(
        {Code::not_found, fmt::format("no step of a pipeline on {} made or read {}", api.url(), p.args[0]), {}, {}});
  if (!answer) return complain(answer.error());
  if (p.output == "json") return put(json_text(*answer)) ? 0 : 1;
  Lines lines{.api = api, .answer = *answer};
  lines.index();
  const auto& all = items_at(*answer, "artifacts");
  if (all.empty()) return complain({Code::data_loss, fmt::format("{} gave no artifact", api.url()), {}, {}});
  std::string out;
  auto tree = lines.artifact(std::string(json::string_or_empty(all.front(), "artifact_id")), "");
  for (const auto& line : branch_lines({tree}, false)) out += line + "\n";
  for (const auto& r : items_at(*answer, "readers"))
    out += fmt::format("read by {} as {}, run {}\n", one_line(json::string_or_empty(r, "path")),
                       one_line(json::string_or_empty(r, "key")), one_line(json::string_or_empty(r, "run_id")));
  if (const auto* cut = json::find(*answer, "truncated"); cut != nullptr && cut->is_bool() && cut->get_bool())
    out += "… and more: the answer has the artifacts nearest to it\n";
  return put(out) ? 0 : 1;
}

}  // namespace mr::cli
