#include "pipelines/step.h"

#include <filesystem>
#include <fstream>

#include "json/parse.h"
#include "kube/names.h"
#include "pipelines/lightweight.h"
#include "pipelines/placeholders.h"
#include "text/text.h"
#include "time/clock.h"

namespace mr::pipelines {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kInside = "/tmp/kfp";
constexpr std::string_view kRoots[] = {"s3", "minio", "gcs", "oci"};
constexpr std::size_t kMaxOutput = 64U << 20;      // of one output parameter's file
constexpr std::size_t kMaxArgument = 128U * 1024;  // MAX_ARG_STRLEN of Linux, its NUL included

Result<std::string> read_file(const std::string& path, std::size_t limit) {
  std::error_code ec;
  // No links: a step could lead us anywhere.
  if (!fs::is_regular_file(fs::symlink_status(path, ec))) return fail(Code::not_found, path);
  auto size = fs::file_size(path, ec);
  if (ec) return fail(Code::not_found, path);
  if (size > limit) return fail(Code::too_large, fmt::format("it is larger than {} MiB", limit >> 20));
  std::ifstream in(path, std::ios::binary);
  return std::string((std::istreambuf_iterator<char>(in)), {});
}

// Whether `path` lies below `folder` once every link is followed: what a step left behind may lead anywhere.
bool within(const std::string& folder, const std::string& path) {
  std::error_code ec;
  auto root = fs::canonical(folder, ec).string();
  if (ec) return false;
  auto real = fs::canonical(path, ec).string();
  return !ec && (real == root || real.starts_with(root + "/"));
}

bool climbs(const std::string& path) {
  return std::ranges::any_of(fs::path(path), [](const fs::path& part) { return part == ".."; });
}

Result<void> write_file(const std::string& path, std::string_view bytes) {
  std::ofstream out(path, std::ios::binary);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  out.close();
  if (!out) return fail(Code::internal, fmt::format("{} cannot be written", path));
  return {};
}

Array list_json(const std::vector<Artifact>& list) {
  Array out;
  for (const auto& a : list) {
    auto v = to_json(a);
    v.get_object().erase("artifactId");
    out.push_back(std::move(v));
  }
  return out;
}

// A label's value out of any text.
std::string label_text(std::string_view text) {
  std::string out;
  for (char c : text)
    out += std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_' || c == '.' ? c : '-';
  if (out.size() > 63) out.resize(63);
  while (!out.empty() && std::isalnum(static_cast<unsigned char>(out.back())) == 0) out.pop_back();
  while (!out.empty() && std::isalnum(static_cast<unsigned char>(out.front())) == 0) out.erase(0, 1);
  return out;
}

}  // namespace

std::string Step::output_file(const std::string& parameter) const {
  return fmt::format("{}/outputs/{}", kInside, parameter);
}

Result<Step> Step::make(const RunFacts& run, const NodeView& node, StepOptions options, const Scope& scope) {
  Step s;
  s.node_ = node;
  s.options_ = std::move(options);
  const auto& c = *node.component;
  s.task_root_ = fmt::format("{}/{}/{}", s.options_.root_uri, node.key, node.uuid);
  if (climbs(s.task_root_))
    return fail(Code::invalid_argument, fmt::format("the pipeline root {} is no path", s.options_.root_uri));

  Object in_artifacts, out_parameters, out_artifacts;
  for (const auto& [name, list] : node.input_artifacts) in_artifacts[name] = Object{{"artifacts", list_json(list)}};
  for (const auto& [name, _] : c.output_parameters) out_parameters[name] = Object{{"outputFile", s.output_file(name)}};
  for (const auto& [name, out] : c.output_artifacts) {
    Artifact a;
    a.name = name;
    a.type = out.type;
    a.uri = fmt::format("{}/{}", s.task_root_, name);
    a.metadata = out.metadata;
    out_artifacts[name] = Object{{"artifacts", list_json({a})}};
    s.outputs_[name] = {std::move(a)};
  }
  Object inputs, outputs;
  if (!node.inputs.empty()) inputs["parameterValues"] = node.inputs;
  if (!in_artifacts.empty()) inputs["artifacts"] = std::move(in_artifacts);
  if (!out_parameters.empty()) outputs["parameters"] = std::move(out_parameters);
  if (!out_artifacts.empty()) outputs["artifacts"] = std::move(out_artifacts);
  outputs["outputFile"] = local_path({.uri = s.task_root_}) + "/output_metadata.json";
  s.executor_input_ = Object{{"inputs", std::move(inputs)}, {"outputs", std::move(outputs)}};

  PlaceholderContext context;
  context.executor_input = s.executor_input_;
  for (const auto& [name, in] : c.input_parameters)
    if (in.fallback && !node.inputs.contains(name)) context.default_values[name] = *in.fallback;
  auto schedule = run.scheduled_ms == 0 ? run.created_ms : run.scheduled_ms;
  context.variables = {{"pipeline_job_name", run.name},
                       {"pipeline_job_resource_name", run.resource_name},
                       {"pipeline_job_uuid", run.run_id},
                       {"pipeline_task_name", node.key},
                       {"pipeline_task_uuid", task_id(run.run_id, node.path)},
                       {"pipeline_job_create_time_utc", time::rfc3339_s(run.created_ms / 1000)},
                       {"pipeline_job_schedule_time_utc", time::rfc3339_s(schedule / 1000)},
                       {"workspace_path", run.workspace_path}};

  kube::Object limits, requests;
  for (auto [to, name, text] : {std::tuple{&limits, "cpu", &c.container.cpu_limit},
                                {&limits, "memory", &c.container.memory_limit},
                                {&requests, "cpu", &c.container.cpu_request},
                                {&requests, "memory", &c.container.memory_request}}) {
    if (text->empty()) continue;
    MR_TRY(auto value, substitute(*text, context));
    if (!kube::quantity_milli(value))
      return fail(Code::invalid_argument, fmt::format("the {} of the step, \"{}\", is no quantity", name, value));
    (*to)[name] = value;
  }
  if (!c.container.accelerator_type.empty()) {
    MR_TRY(auto type, substitute(c.container.accelerator_type, context));
    MR_TRY(auto count,
           substitute(c.container.accelerator_count.empty() ? "1" : c.container.accelerator_count, context));
    limits[type] = count;
  }
  kube::Object resources;
  if (!limits.empty()) resources["limits"] = std::move(limits);
  if (!requests.empty()) resources["requests"] = std::move(requests);

  kube::Array own_env;
  for (const auto& e : c.container.env) {
    MR_TRY(auto value, substitute(e.value, context));
    own_env.push_back(kube::Object{{"name", e.name}, {"value", value}});
  }
  TaskConfig config{.kubernetes = c.kubernetes};
  for (const auto& [name, in] : c.input_parameters)
    if (in.type == ParameterType::task_config) {
      MR_TRY(config, task_config(c, resources, own_env, scope));
      auto& given = s.executor_input_["inputs"].get_object()["parameterValues"];
      if (!given.is_object()) given = Object{};
      given.get_object()[name] = config.value;
      context.executor_input = s.executor_input_;
    }

  kube::Object container{{"name", "main"}};
  MR_TRY(auto image, substitute(c.container.image, context));
  container["image"] = image;
  auto light = recognise(c.container.command);
  MR_TRY(auto args, substitute_all(c.container.args, context));
  std::vector<std::string> command;
  if (light) {
    s.lightweight_ = true;
    s.source_ = std::move(light->source);
    s.requirements_ = std::move(light->requirements);
    s.argv_ = std::move(args);
    command = {"python3", fmt::format("{}/step.py", kInside)};
    args.clear();
  } else {
    MR_TRY(command, substitute_all(c.container.command, context));
    for (const auto* list : {&command, &args})
      for (const auto& word : *list)
        if (word.size() >= kMaxArgument)
          return fail(Code::too_large,
                      fmt::format("an argument of {} KiB: the system passes none longer than 128 KiB to a command; "
                                  "hand large values over as an artifact",
                                  word.size() / 1024));
  }
  auto texts = [](const std::vector<std::string>& list) {
    kube::Array out;
    for (const auto& w : list) out.emplace_back(w);
    return out;
  };
  // The program gets its words as they are: Kubernetes would take `$(NAME)` for a variable, and `$$` for one `$`.
  auto escaped = [&](std::vector<std::string> list) {
    for (auto& w : list) {
      std::string literal;
      for (std::size_t i = 0; i < w.size(); ++i) {
        literal += w[i];
        if (w[i] == '$' && i + 1 < w.size() && (w[i + 1] == '$' || w[i + 1] == '(')) literal += '$';
      }
      w = std::move(literal);
    }
    return texts(list);
  };
  if (!command.empty()) container["command"] = escaped(command);
  if (!args.empty()) container["args"] = escaped(args);
  kube::Array env;
  auto set_env = [&](std::string_view name, std::string_view value) {
    env.push_back(kube::Object{{"name", name}, {"value", value}});
  };
  for (const auto& [name, value] : s.options_.env) set_env(name, value);
  // What a function prints is seen at once, and in order with its errors.
  if (s.lightweight_) set_env("PYTHONUNBUFFERED", "1");
  set_env("KFP_RUN_ID", run.run_id);
  set_env("KFP_POD_NAME", s.options_.pod_name);
  set_env("KFP_RETRY_INDEX", std::to_string(std::max(node.attempts - 1, 0)));
  if (config.env)
    for (const auto& e : own_env) env.push_back(e);
  container["env"] = std::move(env);
  if (config.resources && !resources.empty()) container["resources"] = std::move(resources);
  kube::Array mounts, volumes;
  auto mount = [&](std::string_view name, std::string_view folder, std::string_view where, bool read_only) {
    volumes.push_back(
        kube::Object{{"name", name},
                     {"hostPath", {{"path", fmt::format("{}/{}", s.options_.folder, folder)}, {"type", "Directory"}}}});
    kube::Object m{{"name", name}, {"mountPath", where}};
    if (read_only) m["readOnly"] = true;
    mounts.push_back(std::move(m));
  };
  mount("kfp", "kfp", kInside, false);
  for (auto root : kRoots)
    mount(fmt::format("artifacts-{}", root), fmt::format("roots/{}", root), fmt::format("/{}", root), true);
  mount("outputs", "out", local_path({.uri = s.task_root_}), false);
  if (!s.options_.workspace_folder.empty()) {
    volumes.push_back(kube::Object{{"name", "kfp-workspace"},
                                   {"hostPath", {{"path", s.options_.workspace_folder}, {"type", "Directory"}}}});
    mounts.push_back(kube::Object{{"name", "kfp-workspace"}, {"mountPath", "/kfp-workspace"}});
  }
  container["volumeMounts"] = std::move(mounts);

  s.pod_ = kube::make_object("v1", "Pod", run.ns, s.options_.pod_name);
  auto& meta = kube::metadata(s.pod_);
  meta["labels"] = kube::Object{{"pipeline/runid", run.run_id},
                                {"pipelines.kubeflow.org/v2_component", "true"},
                                {"component", label_text(node.key)},
                                {"millrace.dev/pipeline-step", task_id(run.run_id, node.path)}};
  kube::Object annotations{{"pipelines.kubeflow.org/task_path", node.path},
                           {"pipelines.kubeflow.org/task_name", node.display_name},
                           {"pipelines.kubeflow.org/run_name", run.name}};
  annotations["millrace.dev/merged-output"] = "true";
  if (!s.options_.resource_ttl.empty()) annotations["pipelines.millrace.dev/resource-ttl"] = s.options_.resource_ttl;
  if (!s.options_.disk_limit.empty()) {
    annotations["millrace.dev/ephemeral-storage-limit"] = s.options_.disk_limit;
    // What it writes for us stands in folders of the machine; the workspace is a claim, and those are not counted.
    annotations["millrace.dev/counted-volumes"] = "kfp,outputs";
  }
  if (s.lightweight_) annotations["millrace.dev/warm-imports"] = kWarmImports;
  if (!s.requirements_.empty()) annotations["millrace.dev/requirements"] = s.requirements_;
  meta["annotations"] = std::move(annotations);
  auto& spec = kube::ensure(s.pod_, "spec");
  spec["restartPolicy"] = "Never";
  spec["terminationGracePeriodSeconds"] = 5;
  if (!s.options_.service_account.empty()) spec["serviceAccountName"] = s.options_.service_account;
  spec["containers"] = kube::Array{std::move(container)};
  spec["volumes"] = std::move(volumes);
  if (!config.kubernetes.empty()) MR_CHECK(apply_kubernetes(config.kubernetes, scope, s.pod_));
  return s;
}

task::Task<Result<void>> Step::prepare(ArtifactFiles& files) {
  std::error_code ec;
  fs::remove_all(options_.folder, ec);  // of an attempt that a crash cut short
  ec.clear();
  fs::create_directories(options_.folder + "/kfp/outputs", ec);
  fs::create_directories(options_.folder + "/out", ec);
  for (auto root : kRoots) fs::create_directories(fmt::format("{}/roots/{}", options_.folder, root), ec);
  // A task may name its outputs "a/b"; their folders are there before it starts.
  for (const auto& [name, _] : outputs_)
    if (auto slash = name.rfind('/'); slash != std::string::npos)
      fs::create_directories(options_.folder + "/out/" + name.substr(0, slash), ec);
  if (ec) co_return fail(Code::internal, fmt::format("{}: {}", options_.folder, ec.message()));
  if (lightweight_) {
    Array argv;
    for (const auto& w : argv_) argv.emplace_back(w);
    MR_CO_CHECK(write_file(options_.folder + "/kfp/argv.json", json::serialize(Value(std::move(argv)))));
    MR_CO_CHECK(write_file(options_.folder + "/kfp/ephemeral_component.py", source_));
    MR_CO_CHECK(write_file(options_.folder + "/kfp/step.py", kStepProgram));
  }
  auto inside = [&](const std::string& path) { return options_.folder + "/roots" + path; };
  for (const auto& [name, list] : node_.input_artifacts)
    for (const auto& a : list) {
      if (!files.serves(a.uri)) continue;
      // What lies in the workspace is linked here too: an SDK before 2.15 knows no other place.
      auto path = inside(local_path({.uri = a.uri}));
      if (fs::exists(path, ec)) continue;  // the same artifact twice
      auto fetched = co_await files.fetch(a.uri, path);
      // An output that its maker never wrote: the step sees that there is no file, as it would upstream.
      if (!fetched && fetched.error().code != Code::not_found)
        co_return fail(fetched.error().code,
                       fmt::format("input artifact \"{}\" ({}): {}", name, a.uri, fetched.error().message));
    }
  // The mount point of the outputs lies in a folder that the step may only read.
  auto root = local_path({.uri = task_root_});
  if (std::ranges::any_of(kRoots, [&](auto r) { return root.starts_with(fmt::format("/{}/", r)); }))
    fs::create_directories(inside(root), ec);
  if (ec) co_return fail(Code::internal, fmt::format("{}: {}", inside(root), ec.message()));
  co_return Result<void>{};
}

task::Task<Result<Step::Outputs>> Step::collect(ArtifactFiles& files, bool ok) const {
  Outputs out;
  const auto& c = *node_.component;
  out.artifacts = outputs_;
  Object written;  // parameters that the executor's own file gives
  auto text = read_file(options_.folder + "/out/output_metadata.json", kMaxOutput);
  if (!text && text.error().code == Code::too_large)
    co_return fail(Code::invalid_argument, fmt::format("output_metadata.json: {}", text.error().message));
  if (text) {
    auto doc = json::parse(*text, 128);
    if (!doc || !doc->is_object()) {
      if (ok) co_return fail(Code::invalid_argument, "output_metadata.json, which the step wrote, is no JSON object");
    } else {
      auto member = [&](std::string_view camel, std::string_view snake) {
        const auto* v = json::find(*doc, camel);
        return v != nullptr ? v : json::find(*doc, snake);
      };
      if (const auto* p = member("parameterValues", "parameter_values"); p != nullptr && p->is_object())
        written = p->get_object();
      if (const auto* a = member("artifacts", "artifacts"); a != nullptr && a->is_object())
        for (const auto& m : a->get_object()) {
          auto known = out.artifacts.find(std::string(m.key()));
          const auto* list = json::find(m.value(), "artifacts");
          if (known == out.artifacts.end() || list == nullptr || !list->is_array()) continue;
          auto base = known->second.front();
          std::vector<Artifact> all;
          for (const auto& item : list->get_array()) {
            auto said = artifact_from_json(item);
            if (!said) continue;
            auto one = base;
            if (!said->uri.empty()) one.uri = said->uri;
            if (!said->name.empty() && list->get_array().size() > 1) one.name = said->name;
            one.custom_path = said->custom_path;
            for (auto& kv : said->metadata) one.metadata[kv.key()] = normalize(kv.value());
            all.push_back(std::move(one));
          }
          if (!all.empty()) known->second = std::move(all);
        }
    }
  }
  for (const auto& [name, type] : c.output_parameters) {
    if (const auto* v = written.if_contains(name)) {
      if (v->is_null()) continue;
      auto value = convert(normalize(*v), type, name);
      if (!value && ok) co_return fail(Code::invalid_argument, fmt::format("output {}", value.error().message));
      if (value) out.parameters[name] = std::move(*value);
      continue;
    }
    auto place = fmt::format("{}/kfp/outputs/{}", options_.folder, name);
    auto bytes = within(options_.folder + "/kfp", place) ? read_file(place, kMaxOutput) : fail(Code::not_found, place);
    if (!bytes) {
      // A function that returned None has written its metadata without the parameter.
      if (bytes.error().code == Code::not_found && (text || !ok)) continue;
      if (!ok) continue;
      co_return fail(Code::invalid_argument,
                     bytes.error().code == Code::not_found
                         ? fmt::format("the step ended well and did not write its output parameter \"{}\"", name)
                         : fmt::format("the output parameter \"{}\": {}", name, bytes.error().message));
    }
    auto value = from_text(*bytes, type, name);
    if (!value) {
      if (!ok) continue;
      co_return fail(Code::invalid_argument, fmt::format("output {}", value.error().message));
    }
    out.parameters[name] = std::move(*value);
  }
  std::error_code ec;
  for (auto& [name, list] : out.artifacts)
    for (auto& a : list) {
      std::string path;
      if (a.uri == task_root_ || a.uri.starts_with(task_root_ + "/"))
        path = options_.folder + "/out" + a.uri.substr(task_root_.size());
      if (!a.custom_path.empty()) {
        // Only what the step could write to outside of its own sandbox is still there.
        auto mine = local_path({.uri = task_root_});
        if (a.custom_path.starts_with(std::string(kInside) + "/"))
          path = options_.folder + "/kfp" + a.custom_path.substr(kInside.size());
        else if (a.custom_path.starts_with(mine + "/"))
          path = options_.folder + "/out" + a.custom_path.substr(mine.size());
        a.custom_path.clear();
      }
      if (path.empty() || !within(options_.folder, path) || !files.serves(a.uri)) continue;
      auto status = fs::symlink_status(path, ec);
      if (!fs::is_regular_file(status) && !fs::is_directory(status)) continue;
      auto kept = co_await files.keep(path, a.uri);
      if (!kept)
        co_return fail(kept.error().code,
                       fmt::format("output artifact \"{}\" ({}): {}", name, a.uri, kept.error().message));
    }
  co_return std::move(out);
}

}  // namespace mr::pipelines
