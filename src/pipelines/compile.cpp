#include "pipelines/compile.h"

#include <algorithm>

#include "json/parse.h"
#include "kube/decode.h"
#include "pipelines/placeholders.h"

namespace mr::pipelines {

namespace {

constexpr std::size_t kMaxTasks = 10'000;
constexpr std::size_t kMaxDepth = 64;

std::string below(const std::string& path, std::string_view name) {
  return path.empty() ? std::string(name) : fmt::format("{}.{}", path, name);
}

// Old files name the type of a parameter in the field `type`, by an enum.
Result<ParameterType> read_parameter_type(Fields& f) {
  auto name = f.text("parameterType");
  auto old = f.text("type");
  if (name.empty()) name = old;
  auto type = parse_parameter_type(name.empty() ? "STRING" : name);
  if (!type) return fail(Code::invalid_argument, fmt::format("{}: {}", f.at("parameterType"), type.error().message));
  return type;
}

// Reads each member of a map field by `one(its fields, its name)`; fields that it did not ask for are errors.
template <class F>
Result<void> each_member(Fields& f, std::string_view field, Problems& problems, F one) {
  for (const auto& member : f.map(field)) {
    Fields m(member.value(), below(f.at(field), member.key()));
    auto read = [&]() -> Result<void> {
      MR_CHECK(one(m, std::string(member.key())));
      return problems.done(m);
    };
    MR_CHECK(problems.pass(read()));
  }
  return {};
}

Result<ArtifactType> artifact_type_of(Fields& f, Problems& problems) {
  const auto* t = f.take("artifactType");
  return t == nullptr ? ArtifactType{} : read_artifact_type(*t, f.at("artifactType"), problems);
}

Result<void> read_inputs(const Value& v, const std::string& path, Component& c, Problems& problems) {
  Fields f(v, path);
  MR_CHECK(each_member(f, "parameters", problems, [&](Fields& p, std::string name) -> Result<void> {
    InputParameter in;
    MR_TRY(in.type, read_parameter_type(p));
    in.optional = p.flag("isOptional");
    for (const auto& l : p.list("literals")) in.literals.push_back(normalize(l));
    p.ignore({"description"});
    if (const auto* d = p.take("defaultValue")) {
      auto value = convert(normalize(*d), in.type, name);
      // Older files have numbers as texts.
      if (!value && d->is_string())
        if (auto read = from_text(d->get_string(), in.type, name)) value = std::move(read);
      if (!value)
        return fail(Code::invalid_argument, fmt::format("{}: {}", p.at("defaultValue"), value.error().message));
      in.fallback = std::move(*value);
      in.optional = true;
    }
    c.input_parameters.emplace(std::move(name), std::move(in));
    return {};
  }));
  MR_CHECK(each_member(f, "artifacts", problems, [&](Fields& a, std::string name) -> Result<void> {
    InputArtifact in;
    MR_TRY(in.type, artifact_type_of(a, problems));
    in.list = a.flag("isArtifactList");
    in.optional = a.flag("isOptional");
    a.ignore({"description"});
    c.input_artifacts.emplace(std::move(name), std::move(in));
    return {};
  }));
  return problems.done(f);
}

// Names of outputs become names of files.
Result<void> check_output_name(std::string_view name, const std::string& path) {
  bool bad = name.empty() || name.front() == '/' || name.contains('\0');
  for (std::size_t at = 0; at <= name.size();) {
    auto end = std::min(name.find('/', at), name.size());
    auto part = name.substr(at, end - at);
    bad |= part == ".." || part == ".";
    at = end + 1;
  }
  if (!bad) return {};
  return fail(Code::invalid_argument, fmt::format("{}: \"{}\" cannot be the name of an output", path, name));
}

Result<void> read_outputs(const Value& v, const std::string& path, Component& c, Problems& problems) {
  Fields f(v, path);
  MR_CHECK(each_member(f, "parameters", problems, [&](Fields& p, std::string name) -> Result<void> {
    MR_CHECK(check_output_name(name, f.at("parameters")));
    MR_TRY(auto type, read_parameter_type(p));
    p.ignore({"description", "isOptional"});
    c.output_parameters.emplace(std::move(name), type);
    return {};
  }));
  MR_CHECK(each_member(f, "artifacts", problems, [&](Fields& a, std::string name) -> Result<void> {
    MR_CHECK(check_output_name(name, f.at("artifacts")));
    OutputArtifact out;
    MR_TRY(out.type, artifact_type_of(a, problems));
    out.metadata = a.map("metadata");
    out.list = a.flag("isArtifactList");
    a.ignore({"description", "properties", "customProperties"});
    c.output_artifacts.emplace(std::move(name), std::move(out));
    return {};
  }));
  return problems.done(f);
}

// A quantity: the new text form, or the old number (memory in gigabytes).
std::string quantity(Fields& f, std::string_view text_name, std::string_view number_name, std::string_view unit) {
  auto text = f.text(text_name);
  auto number = f.number(number_name);
  if (!text.empty() || number <= 0) return text;
  return to_text(normalize(number)) + std::string(unit);
}

Result<void> read_container(const Value& v, const std::string& path, ContainerSpec& c, Problems& problems) {
  Fields f(v, path);
  c.image = f.text("image");
  c.command = f.texts("command");
  c.args = f.texts("args");
  f.ignore({"lifecycle"});
  for (const auto& e : f.list("env")) {
    Fields one(e, f.at("env"));
    EnvVar var;
    var.name = one.text("name");
    var.value = one.text("value");
    MR_CHECK(problems.done(one));
    c.env.push_back(std::move(var));
  }
  if (const auto* r = f.take("resources")) {
    Fields res(*r, f.at("resources"));
    c.cpu_limit = quantity(res, "resourceCpuLimit", "cpuLimit", "");
    c.cpu_request = quantity(res, "resourceCpuRequest", "cpuRequest", "");
    c.memory_limit = quantity(res, "resourceMemoryLimit", "memoryLimit", "G");
    c.memory_request = quantity(res, "resourceMemoryRequest", "memoryRequest", "G");
    if (const auto* a = res.take("accelerator")) {
      Fields acc(*a, res.at("accelerator"));
      c.accelerator_type = acc.text("resourceType");
      auto old_type = acc.text("type");
      if (c.accelerator_type.empty()) c.accelerator_type = old_type;
      c.accelerator_count = acc.text("resourceCount");
      auto old_count = acc.integer("count");
      if (c.accelerator_count.empty() && old_count > 0) c.accelerator_count = std::to_string(old_count);
      MR_CHECK(problems.done(acc));
    }
    MR_CHECK(problems.done(res));
  }
  if (c.image.empty()) f.wrong("image", "named");
  return problems.done(f);
}

Result<void> read_importer(const Value& v, const std::string& path, ImporterSpec& i, Problems& problems) {
  Fields f(v, path);
  if (const auto* u = f.take("artifactUri")) {
    Fields uri(*u, f.at("artifactUri"));
    if (const auto* c = uri.take("constant")) {
      if (!c->is_string())
        uri.wrong("constant", "a string");
      else
        i.uri = std::string(c->get_string());
    }
    if (const auto* old = uri.take("constantValue")) i.uri = std::string(json::string_or_empty(*old, "stringValue"));
    i.uri_input = uri.text("runtimeParameter");
    MR_CHECK(problems.done(uri));
  }
  if (const auto* t = f.take("typeSchema")) {
    MR_TRY(i.type, read_artifact_type(*t, f.at("typeSchema"), problems));
  }
  i.metadata = f.map("metadata");
  i.reimport = f.flag("reimport");
  i.to_workspace = f.flag("downloadToWorkspace");
  f.ignore({"properties", "customProperties"});
  if (i.uri.empty() && i.uri_input.empty()) f.wrong("artifactUri", "a constant or a runtimeParameter");
  return problems.done(f);
}

Result<void> read_executor(const Value& v, const std::string& path, Component& c, Problems& problems) {
  Fields f(v, path);
  if (f.take("resolver") != nullptr)
    return fail(Code::invalid_argument, fmt::format("{}: resolver executors are not supported", path));
  if (f.take("customJob") != nullptr)
    return fail(Code::invalid_argument, fmt::format("{}: customJob executors are not supported", path));
  const auto* container = f.take("container");
  const auto* importer = f.take("importer");
  if ((container == nullptr) == (importer == nullptr))
    return fail(Code::invalid_argument, fmt::format("{}: must be one of container and importer", path));
  if (container != nullptr) {
    c.kind = ComponentKind::container;
    MR_CHECK(read_container(*container, f.at("container"), c.container, problems));
  } else {
    c.kind = ComponentKind::importer;
    MR_CHECK(read_importer(*importer, f.at("importer"), c.importer, problems));
    if (c.output_artifacts.size() != 1)
      return fail(Code::invalid_argument,
                  fmt::format("component {}: an importer must have exactly one output artifact", c.name));
    if (!c.importer.uri_input.empty() && !c.input_parameters.contains(c.importer.uri_input))
      return fail(Code::invalid_argument,
                  fmt::format("{}.importer.artifactUri: the component {} has no input parameter \"{}\"", path, c.name,
                              c.importer.uri_input));
  }
  return problems.done(f);
}

struct Raw {
  const Value* dag = nullptr;
  std::string path;
};

Result<Raw> read_component(const Value& v, const std::string& path, const Object& executors,
                           const std::string& executors_path, Component& c, Problems& problems) {
  Raw raw;
  const auto before = problems.noted().size();
  Fields f(v, path);
  if (const auto* in = f.take("inputDefinitions")) MR_CHECK(read_inputs(*in, f.at("inputDefinitions"), c, problems));
  if (const auto* out = f.take("outputDefinitions"))
    MR_CHECK(read_outputs(*out, f.at("outputDefinitions"), c, problems));
  raw.dag = f.take("dag");
  raw.path = f.at("dag");
  c.executor = f.text("executorLabel");
  f.ignore({"singlePlatformSpecs"});
  for (const auto& p : f.list("taskConfigPassthroughs")) c.task_config_passthroughs.push_back(p);
  MR_CHECK(problems.done(f));
  if ((raw.dag == nullptr) == c.executor.empty())
    return fail(Code::invalid_argument, fmt::format("{}: must have one of dag and executorLabel", path));
  if (raw.dag != nullptr) {
    c.kind = ComponentKind::dag;
    return raw;
  }
  auto it = executors.find(c.executor);
  if (it == executors.end())
    return fail(Code::invalid_argument,
                fmt::format("{}.executorLabel: there is no executor \"{}\" in deploymentSpec", path, c.executor));
  MR_CHECK(problems.pass(read_executor(it->value(), below(executors_path, c.executor), c, problems)));
  // What could not be read is not missing.
  if (problems.noted().size() == before) MR_CHECK(check_placeholders(c, problems));
  return raw;
}

// A component that holds itself would never end.
Result<void> check_nesting(const Plan& plan, std::size_t at, std::vector<std::uint8_t>& mark, std::size_t depth) {
  if (depth > kMaxDepth)
    return fail(Code::invalid_argument,
                fmt::format("component {}: DAGs are nested more than {} deep", plan.components[at].name, kMaxDepth));
  if (mark[at] == 2) return {};
  if (mark[at] == 1)
    return fail(Code::invalid_argument,
                fmt::format("component {}: it contains itself, so that it would never end", plan.components[at].name));
  mark[at] = 1;
  for (const auto& t : plan.components[at].tasks)
    if (t.component < plan.components.size()) MR_CHECK(check_nesting(plan, t.component, mark, depth + 1));
  mark[at] = 2;
  return {};
}

constexpr std::string_view kKubernetesFields[] = {"secretAsVolume",         "secretAsEnv",       "pvcMount",
                                                  "nodeSelector",           "podMetadata",       "imagePullSecret",
                                                  "imagePullPolicy",        "configMapAsVolume", "configMapAsEnv",
                                                  "activeDeadlineSeconds",  "fieldPathAsEnv",    "tolerations",
                                                  "genericEphemeralVolume", "nodeAffinity",      "podAffinity",
                                                  "enabledSharedMemory",    "emptyDirMounts",    "securityContext",
                                                  "initContainers"};

Result<void> read_platform(const Value& v, Plan& plan, Problems& problems) {
  Fields f(v, "platform_spec");
  for (const auto& platform : f.map("platforms")) {
    if (platform.key() != "kubernetes") continue;  // settings for other platforms concern those
    Fields p(platform.value(), "platforms.kubernetes");
    if (const auto* d = p.take("deploymentSpec")) {
      Fields dep(*d, p.at("deploymentSpec"));
      for (const auto& e : dep.map("executors")) {
        Fields k(e.value(), below(dep.at("executors"), e.key()));
        for (auto name : kKubernetesFields) (void)k.take(name);
        MR_CHECK(problems.done(k));
        for (auto& c : plan.components)
          if (c.executor == e.key()) c.kubernetes = e.value().get_object();
      }
      MR_CHECK(problems.done(dep));
    }
    plan.pipeline_config = p.map("pipelineConfig");
    p.ignore({"platform", "version", "config"});
    MR_CHECK(problems.done(p));
  }
  return problems.done(f);
}

}  // namespace

Result<ArtifactType> read_artifact_type(const Value& v, const std::string& path, Problems& problems) {
  Fields f(v, path);
  ArtifactType t;
  t.title = f.text("schemaTitle");
  t.version = f.text("schemaVersion");
  t.instance = f.text("instanceSchema");
  auto uri = f.text("schemaUri");
  if (t.title.empty() && t.instance.empty()) t.title = uri.empty() ? "system.Artifact" : uri;
  MR_CHECK(problems.done(f));
  return t;
}

Result<void> check_placeholders(const Component& c, Problems& problems) {
  auto check = [&](std::string_view text, std::string_view field) -> Result<void> {
    auto uses = placeholders_of(text);
    auto wrong = [&](std::string_view why) {
      return fail(Code::invalid_argument, fmt::format("component {}, container.{}: {}", c.name, field, why));
    };
    if (!uses) return wrong(uses.error().message);
    for (const auto& u : *uses) {
      using Kind = PlaceholderUse::Kind;
      if (u.kind == Kind::input_parameter && !c.input_parameters.contains(u.name))
        return wrong(
            fmt::format("a placeholder names the input parameter \"{}\", which the component does not have", u.name));
      if (u.kind == Kind::input_artifact && !c.input_artifacts.contains(u.name))
        return wrong(
            fmt::format("a placeholder names the input artifact \"{}\", which the component does not have", u.name));
      if (u.kind == Kind::output_parameter && !c.output_parameters.contains(u.name))
        return wrong(
            fmt::format("a placeholder names the output parameter \"{}\", which the component does not have", u.name));
      if (u.kind == Kind::output_artifact && !c.output_artifacts.contains(u.name))
        return wrong(
            fmt::format("a placeholder names the output artifact \"{}\", which the component does not have", u.name));
    }
    return {};
  };
  if (c.kind != ComponentKind::container) return {};
  for (const auto& t : c.container.command) MR_CHECK(problems.pass(check(t, "command")));
  for (const auto& t : c.container.args) MR_CHECK(problems.pass(check(t, "args")));
  for (const auto& e : c.container.env) MR_CHECK(problems.pass(check(e.value, "env")));
  return problems.pass(check(c.container.image, "image"));
}

namespace {

Result<std::shared_ptr<const Plan>> build(const Value& sent, Problems& problems) {
  const Value* spec = &sent;
  const Value* platform = nullptr;
  if (sent.is_object())
    if (const auto* inner = json::find(sent, "pipeline_spec")) {
      spec = inner;
      platform = json::find(sent, "platform_spec");
    }
  auto plan = std::make_shared<Plan>();
  Fields f(*spec, "");
  if (!spec->is_object()) return std::unexpected(f.errors().front());
  if (const auto* info = f.take("pipelineInfo")) {
    Fields i(*info, "pipelineInfo");
    plan->name = i.text("name");
    plan->display_name = i.text("displayName");
    plan->description = i.text("description");
    MR_CHECK(problems.done(i));
  }
  plan->schema_version = f.text("schemaVersion");
  plan->sdk_version = f.text("sdkVersion");
  plan->default_root = f.text("defaultPipelineRoot");
  static const Object kNone;
  const Object* executors = &kNone;
  if (const auto* d = f.take("deploymentSpec")) {
    Fields dep(*d, "deploymentSpec");
    executors = &dep.map("executors");
    MR_CHECK(problems.done(dep));
  }
  const auto& components = f.map("components");
  const auto* root = f.take("root");
  MR_CHECK(problems.done(f));
  if (plan->name.empty()) MR_CHECK(problems.pass(fail(Code::invalid_argument, "pipelineInfo.name: must be given")));
  if (root == nullptr) return fail(Code::invalid_argument, "root: must be given");

  std::vector<Raw> raws;
  std::map<std::string, std::size_t> index_of;
  auto add = [&](std::string name, const Value& v, const std::string& path) -> Result<void> {
    Component c;
    c.name = std::move(name);
    const auto before = problems.noted().size();
    auto raw = read_component(v, path, *executors, "deploymentSpec.executors", c, problems);
    if (!raw) MR_CHECK(problems.pass(std::unexpected(raw.error())));
    if (problems.noted().size() != before) problems.bad.insert(plan->components.size());
    raws.push_back(raw ? std::move(*raw) : Raw{});
    plan->components.push_back(std::move(c));
    return {};
  };
  MR_CHECK(add("root", *root, "root"));
  for (const auto& member : components) {
    index_of[std::string(member.key())] = plan->components.size();
    MR_CHECK(add(std::string(member.key()), member.value(), below("components", member.key())));
  }
  if (plan->root_component().kind != ComponentKind::dag && !problems.bad.contains(plan->root))
    return fail(Code::invalid_argument, "root: must be a dag; a single component compiles to a DAG of one task");
  std::size_t tasks = 0;
  for (std::size_t i = 0; i < raws.size(); ++i) {
    if (raws[i].dag == nullptr) continue;
    MR_CHECK(problems.pass(compile_dag(*raws[i].dag, raws[i].path, index_of, plan->components, i, problems)));
    tasks += plan->components[i].tasks.size();
    if (tasks > kMaxTasks) return fail(Code::too_large, fmt::format("the pipeline has more than {} tasks", kMaxTasks));
  }
  std::vector<std::uint8_t> mark(plan->components.size());
  MR_CHECK(problems.pass(check_nesting(*plan, plan->root, mark, 1)));
  if (platform != nullptr && !platform->is_null()) MR_CHECK(read_platform(*platform, *plan, problems));
  if (!problems.noted().empty()) return std::unexpected(problems.noted().front());
  return std::shared_ptr<const Plan>(std::move(plan));
}

}  // namespace

Result<std::shared_ptr<const Plan>> compile(const Value& sent) {
  Problems problems(false);
  return build(sent, problems);
}

std::vector<Error> compile_errors(const Value& sent) {
  Problems problems(true);
  if (auto plan = build(sent, problems); !plan) problems.note(plan.error());
  return problems.noted();
}

Result<Value> parse_package(std::string_view text) {
  Value spec;
  Object platforms;
  bool first = true;
  std::size_t line = 0;  // of the document's start
  while (!text.empty()) {
    // A separator stands in the first column, where no text of a block can.
    auto end = std::string_view::npos;
    for (std::size_t at = 0; at < text.size();) {
      if (at > 0 && text.substr(at).starts_with("---") &&
          (at + 3 == text.size() || text[at + 3] == '\n' || text[at + 3] == '\r' || text[at + 3] == ' ')) {
        end = at;
        break;
      }
      auto next = text.find('\n', at);
      if (next == std::string_view::npos) break;
      at = next + 1;
    }
    auto document = text.substr(0, end);
    std::vector<std::string> duplicates;
    auto parsed = kube::decode::parse_yaml(document, duplicates, true);
    if (!parsed)
      return fail(Code::invalid_argument, line == 0
                                              ? fmt::format("the package is no YAML: {}", parsed.error().message)
                                              : fmt::format("the package is no YAML: in the document at line {}: {}",
                                                            line + 1, parsed.error().message));
    if (!duplicates.empty())
      return fail(Code::invalid_argument, fmt::format("the package names a key twice: {}", duplicates.front()));
    if (!parsed->is_null()) {
      if (!parsed->is_object())
        return fail(Code::invalid_argument, "the package is no pipeline: it must hold a YAML object");
      auto& o = parsed->get_object();
      if (o.contains("pipelineInfo") || o.contains("pipeline_info") || first) {
        if (!first) return fail(Code::invalid_argument, "the package holds two pipelines");
        spec = std::move(*parsed);
        first = false;
      } else {
        for (auto& member : o) platforms[member.key()] = std::move(member.value());
      }
    }
    if (end == std::string_view::npos) break;
    line += static_cast<std::size_t>(std::ranges::count(text.substr(0, end), '\n'));
    text.remove_prefix(end);
  }
  if (first) return fail(Code::invalid_argument, "the package is empty");
  if (json::find(spec, "pipelineInfo") == nullptr && json::find(spec, "pipeline_info") == nullptr &&
      json::find(spec, "pipeline_spec") == nullptr)
    return fail(Code::invalid_argument,
                json::string_or_empty(spec, "kind") == "Workflow"
                    ? "the package is an Argo Workflow of KFP 1.x; compile the pipeline with kfp 2"
                    : "the package is no pipeline: pipelineInfo is missing");
  if (platforms.empty()) return spec;
  return Object{{"pipeline_spec", std::move(spec)}, {"platform_spec", std::move(platforms)}};
}

Result<void> check_parameters(const Plan& plan, const Object& parameters) {
  const auto& inputs = plan.root_component().input_parameters;
  for (const auto& member : parameters) {
    auto it = inputs.find(std::string(member.key()));
    if (it == inputs.end()) {
      std::string known;
      for (const auto& [name, _] : inputs) known += (known.empty() ? "" : ", ") + name;
      return fail(Code::invalid_argument,
                  fmt::format("the pipeline has no parameter \"{}\"; {}", std::string_view(member.key()),
                              known.empty() ? "it has none" : "it has: " + known));
    }
    if (member.value().is_null()) continue;
    MR_TRY(auto value, convert(normalize(member.value()), it->second.type, it->first));
    if (!it->second.literals.empty() && std::ranges::find(it->second.literals, value) == it->second.literals.end()) {
      std::string allowed;
      for (const auto& l : it->second.literals) allowed += (allowed.empty() ? "" : ", ") + json::serialize(l);
      return fail(Code::invalid_argument, fmt::format("parameter \"{}\" must be one of: {}", it->first, allowed));
    }
  }
  for (const auto& [name, in] : inputs) {
    if (in.optional || in.fallback) continue;
    auto it = parameters.find(name);
    if (it == parameters.end() || it->value().is_null())
      return fail(Code::invalid_argument, fmt::format("the parameter \"{}\" is required and was not given", name));
  }
  return {};
}

}  // namespace mr::pipelines
