// `millrace run`: submits a pipeline with typed parameters; and the way to the other commands of the pipelines API.
#include <csignal>
#include <ctime>
#include <fstream>
#include <sstream>

#include "cli/client_api.h"
#include "cli/commands.h"
#include "cli/pipeline_commands.h"
#include "json/parse.h"
#include "kube/decode.h"
#include "text/uri.h"

namespace mr::cli {

namespace {

using boost::json::object;
using boost::json::value;

Result<object> parameters_from_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream all;
  all << in.rdbuf();
  if (!in) return fail(Code::failed_precondition, fmt::format("--parameters-file {} cannot be read", path));
  auto text = std::move(all).str();
  auto v = json::parse(text, 256);
  if (!v) {
    std::vector<std::string> duplicates;
    v = kube::decode::parse_yaml(text, duplicates, true);
    if (v && !duplicates.empty())
      return fail(Code::invalid_argument, fmt::format("--parameters-file {}: {}", path, duplicates.front()));
  }
  if (!v || !v->is_object())
    return fail(Code::invalid_argument,
                fmt::format("--parameters-file {}: expected an object of names and values", path));
  return std::move(v->get_object());
}

// NAME=VALUE by the type that the pipeline gives the name.
Result<void> take_parameter(const pipelines::Plan& plan, const std::string& text, object& out) {
  auto at = text.find('=');
  if (at == std::string::npos || at == 0)
    return fail(Code::invalid_argument, fmt::format("-p {}: write NAME=VALUE", text));
  auto name = text.substr(0, at), given = text.substr(at + 1);
  const auto& inputs = plan.root_component().input_parameters;
  auto in = inputs.find(name);
  if (in == inputs.end() || in->second.type == pipelines::ParameterType::string) {
    out[name] = given;  // a name that is not there is refused with the rest
    return {};
  }
  auto v = pipelines::from_text(given, in->second.type, name);
  if (!v) return fail(Code::invalid_argument, fmt::format("-p {}: {}", name, v.error().message));
  out[name] = std::move(*v);
  return {};
}

Result<object> parameters_of(const pipelines::Plan& plan, const PipelineSettings& p) {
  object out;
  if (!p.parameters_file.empty()) {
    MR_TRY(out, parameters_from_file(p.parameters_file));
  }
  for (const auto& text : p.parameters) MR_CHECK(take_parameter(plan, text, out));
  MR_CHECK(pipelines::check_parameters(plan, out));
  return out;
}

value* part(value& v, std::string_view camel, std::string_view snake) {
  if (!v.is_object()) return nullptr;
  auto* m = v.get_object().if_contains(camel);
  return m != nullptr ? m : v.get_object().if_contains(snake);
}

void forget_caching(value& component) {
  auto* dag = part(component, "dag", "dag");
  auto* tasks = dag == nullptr ? nullptr : part(*dag, "tasks", "tasks");
  if (tasks == nullptr || !tasks->is_object()) return;
  for (auto& t : tasks->get_object()) {
    if (!t.value().is_object()) continue;
    t.value().get_object().erase("cachingOptions");
    t.value().get_object().erase("caching_options");
  }
}

// No task of any depth asks for the cache.
void without_cache(value& sent) {
  auto* inner = part(sent, "pipeline_spec", "pipelineSpec");
  auto& spec = inner == nullptr ? sent : *inner;
  if (auto* root = part(spec, "root", "root")) forget_caching(*root);
  if (auto* components = part(spec, "components", "components"); components != nullptr && components->is_object())
    for (auto& c : components->get_object()) forget_caching(c.value());
}

std::string experiments_named(const std::string& name, const std::string& ns) {
  std::string path = "/experiments?page_size=1";
  add_query(path, "namespace", ns);
  add_query(path, "filter",
            json::serialize(object{
                {"predicates", boost::json::array{object{
                                   {"operation", "EQUALS"}, {"key", "display_name"}, {"string_value", name}}}}}));
  return path;
}

// The id of the experiment, made when it is not there.
Result<std::string> experiment_of(PipelinesApi& api, const PipelineSettings& p) {
  auto name = p.experiment.empty() ? std::string("Default") : p.experiment;
  auto look = [&]() -> Result<std::string> {
    MR_TRY(auto found, api.get(experiments_named(name, p.ns)));
    const auto* list = json::find(found, "experiments");
    if (list == nullptr || !list->is_array() || list->get_array().empty()) return std::string();
    return std::string(json::string_or_empty(list->get_array().front(), "experiment_id"));
  };
  MR_TRY(auto id, look());
  if (!id.empty()) return id;
  object body{{"display_name", name}};
  if (!p.ns.empty()) body["namespace"] = p.ns;
  auto made = api.post("/experiments", body);
  if (!made && made.error().code == Code::already_exists) return look();  // another client was faster
  if (!made) return std::unexpected(made.error());
  return std::string(json::string_or_empty(*made, "experiment_id"));
}

std::string local_time() {
  auto now = std::time(nullptr);
  std::tm tm{};
  ::localtime_r(&now, &tm);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%d %H-%M-%S", &tm);
  return text;
}

Result<std::string> submit_run(PipelinesApi& api, const PipelineSettings& p) {
  MR_TRY(auto loaded, load_pipeline(api, p.args.front(), p.ns));
  MR_TRY(auto parameters, parameters_of(*loaded.plan, p));
  const auto& plan = *loaded.plan;
  object body;
  body["display_name"] =
      p.name.empty() ? fmt::format("{} {}", plan.display_name.empty() ? plan.name : plan.display_name, local_time())
                     : p.name;
  if (!p.experiment.empty() || !p.ns.empty()) {
    MR_TRY(auto id, experiment_of(api, p));
    body["experiment_id"] = id;
  }
  if (p.no_cache) without_cache(loaded.spec);
  if (loaded.version_id.empty() || p.no_cache)
    body["pipeline_spec"] = std::move(loaded.spec);
  else
    body["pipeline_version_reference"] =
        object{{"pipeline_id", loaded.pipeline_id}, {"pipeline_version_id", loaded.version_id}};
  body["runtime_config"] = object{{"parameters", std::move(parameters)}};
  MR_TRY(auto run, api.post("/runs", body));
  std::string id(json::string_or_empty(run, "run_id"));
  if (id.empty()) return fail(Code::data_loss, fmt::format("{} accepted the run and gave it no id", api.url()));
  return id;
}

}  // namespace

int run_pipeline(const Settings& s) {
  const auto& p = s.pipelines;
  PipelinesApi api(s);
  if (!p.args.empty() && (!p.follow.empty() || !p.terminate.empty()))
    return complain(
        {Code::invalid_argument, "--follow and --terminate are about a run that is there: without PIPELINE", {}, {}});
  if (!p.terminate.empty()) {
    auto done = api.post(fmt::format("/runs/{}:terminate", text::percent_encode(p.terminate)), {});
    if (!done) return complain(done.error());
    if (p.watch) return watch_run(api, p.terminate);
    return put(fmt::format("run {} is being ended\n", p.terminate)) ? 0 : 1;
  }
  if (!p.follow.empty()) return watch_run(api, p.follow);
  if (p.args.empty())
    return complain({Code::invalid_argument,
                     "say what to run: `millrace run pipeline.yaml -p name=value --watch` (millrace run --help)",
                     {},
                     {}});
  auto id = submit_run(api, p);
  if (!id) return complain(id.error());
  if (p.watch) {
    fmt::print(stderr, "run {}\n", *id);
    return watch_run(api, *id);
  }
  fmt::print(stderr, "follow it:  millrace run --follow {}{}\n", *id, api.flags());
  return put(*id + "\n") ? 0 : 1;
}

int run_pipelines(const Settings& s) {
  // As for the other clients: Ctrl-C ends them, a closed pipe is seen when writing to it.
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  if (s.pipelines.verb == "run") return run_pipeline(s);
  if (s.pipelines.verb == "pipeline") return pipeline_command(s);
  return lineage_command(s);
}

}  // namespace mr::cli
