#include "cli/pipeline_lint.h"

#include "json/parse.h"
#include "kube/names.h"
#include "pipelines/lightweight.h"
#include "pipelines/placeholders.h"
#include "text/text.h"

namespace mr::cli {

namespace {

using boost::json::value;
using pipelines::Component;
using pipelines::ComponentKind;
using pipelines::Object;
using pipelines::Plan;
using pipelines::Source;
using pipelines::Task;
using Level = Finding::Level;

constexpr std::size_t kLarge = 100 << 10;       // of one value
constexpr std::size_t kLargeSpec = 1 << 20;     // of the whole package
constexpr std::size_t kManyTasks = 1000;        // of all components
constexpr std::size_t kManyIterations = 1000;   // of one loop
constexpr std::size_t kMostInstances = 20'000;  // of components, that conditions are looked at in
constexpr std::size_t kMostNames = 12;          // in one finding

// Names that the SDK makes for what passes through groups: nobody can leave them out.
bool made_by_compiler(std::string_view name) { return name.starts_with("pipelinechannel--"); }

const value* member(const value& v, std::string_view camel, std::string_view snake) {
  const auto* m = json::find(v, camel);
  return m != nullptr ? m : json::find(v, snake);
}

std::string kilobytes(std::size_t n) { return fmt::format("{} KB", (n + 1023) / 1024); }

std::string some_names(const std::vector<std::string>& names) {
  std::string out;
  for (std::size_t i = 0; i < names.size() && i < kMostNames; ++i) out += (i == 0 ? "" : ", ") + names[i];
  return names.size() > kMostNames ? out + fmt::format(" and {} more", names.size() - kMostNames) : out;
}

std::string version_free(std::string_view requirement) {
  auto end = requirement.find_first_of("=<>!~@;[ ");
  return std::string(requirement.substr(0, end));
}

struct Linter {
  const Plan& plan;
  const value& spec;  // the PipelineSpec
  const value* platform = nullptr;
  const MachineFacts& machine;
  std::vector<Finding> found = {};
  std::vector<bool> used = {};  // components, by index
  // By component: inputs that something reads, outputs that something takes.
  std::vector<std::set<std::string>> read = {}, taken = {};
  std::vector<bool> reads_all = {};
  std::size_t instances = 0;
  std::set<std::string> judged = {};                                    // conditions, by where they stand
  std::set<std::pair<std::size_t, std::string>> names_of_secrets = {};  // inputs of components
  std::map<std::string, std::vector<std::string>> secrets = {};         // by name: where they stand

  void add(Level level, std::string where, std::string what) {
    found.push_back({level, std::move(where), std::move(what)});
  }
  [[nodiscard]] std::string place(const Component& c) const {
    return &c == &plan.root_component() ? "root" : "components." + c.name;
  }
  [[nodiscard]] std::string place(const Component& c, const Task& t) const {
    return fmt::format("{}.dag.tasks.{}", place(c), t.key);
  }
  [[nodiscard]] static std::string executor_place(const Component& c) {
    return fmt::format("deploymentSpec.executors.{}.container", c.executor);
  }

  void reach(std::size_t at) {
    if (used[at]) return;
    used[at] = true;
    for (const auto& t : plan.components[at].tasks) reach(t.component);
  }

  // --- what reads inputs and takes outputs ---

  void read_text(std::size_t at, std::string_view text) {
    auto uses = pipelines::placeholders_of(text);
    if (!uses) return;
    for (const auto& u : *uses) {
      using Kind = pipelines::PlaceholderUse::Kind;
      if (u.kind == Kind::executor_input) reads_all[at] = true;
      if (u.kind == Kind::input_parameter || u.kind == Kind::input_artifact) read[at].insert(u.name);
    }
  }

  // Settings of pods name inputs of the enclosing DAG and outputs of tasks beside the one that they are for.
  void read_settings(const value& v, std::size_t dag) {
    if (v.is_array())
      for (const auto& x : v.get_array()) read_settings(x, dag);
    if (!v.is_object()) return;
    for (const auto& m : v.get_object()) {
      if ((m.key() == "componentInputParameter" || m.key() == "component_input_parameter") && m.value().is_string())
        read[dag].insert(std::string(m.value().get_string()));
      if (m.key() == "taskOutputParameter" || m.key() == "task_output_parameter") {
        const auto* producer = member(m.value(), "producerTask", "producer_task");
        const auto* key = member(m.value(), "outputParameterKey", "output_parameter_key");
        if (producer == nullptr || key == nullptr || !producer->is_string() || !key->is_string()) continue;
        for (const auto& t : plan.components[dag].tasks)
          if (t.key == std::string_view(producer->get_string()))
            taken[t.component].insert(std::string(key->get_string()));
      }
      // An input that names a Secret holds none.
      if (m.key() == "secretNameParameter" || m.key() == "secret_name_parameter")
        if (const auto* p = member(m.value(), "componentInputParameter", "component_input_parameter"))
          if (p->is_string()) names_of_secrets.emplace(dag, std::string(p->get_string()));
      read_settings(m.value(), dag);
    }
  }

  void follow_data(std::size_t at) {
    const auto& c = plan.components[at];
    const auto& k = c.container;
    if (c.kind == ComponentKind::container) {
      for (const auto* list : {&k.command, &k.args})
        for (const auto& text : *list) read_text(at, text);
      for (const auto& e : k.env) read_text(at, e.value);
      for (const auto* text : {&k.image, &k.cpu_limit, &k.cpu_request, &k.memory_limit, &k.memory_request,
                               &k.accelerator_type, &k.accelerator_count})
        read_text(at, *text);
      if (k.image.contains("argostub/")) reads_all[at] = true;
    } else if (c.kind == ComponentKind::importer) {
      // Whether its metadata read them or not, the SDK writes them.
      reads_all[at] = true;
    }
    for (const auto& t : c.tasks) {
      for (const auto* given : {&t.parameters, &t.artifacts})
        for (const auto& [_, s] : *given) {
          if (s.kind == Source::Kind::scope_input) read[at].insert(s.input);
          if (s.kind == Source::Kind::task_output) taken[c.tasks[s.task].component].insert(s.output);
        }
      if (t.condition)
        for (const auto& name : t.condition->input_names()) read[t.component].insert(name);
      if (t.iterator)
        for (const auto& name : {t.iterator->items_input, t.iterator->item_input}) read[t.component].insert(name);
      read_settings(plan.components[t.component].kubernetes, at);
    }
    for (const auto* outputs : {&c.dag_parameters, &c.dag_artifacts})
      for (const auto& [_, source] : *outputs)
        for (const auto& from : source.from) taken[c.tasks[from.task].component].insert(from.output);
  }

  void unused() {
    for (std::size_t i = 0; i < plan.components.size(); ++i)
      if (used[i]) follow_data(i);
    for (std::size_t i = 0; i < plan.components.size(); ++i) {
      const auto& c = plan.components[i];
      if (!used[i]) {
        add(Level::warning, place(c), "no task uses this component");
        continue;
      }
      auto unread = [&](const std::string& name, bool artifact, bool filled) {
        if (reads_all[i] || filled || made_by_compiler(name) || read[i].contains(name)) return;
        add(Level::warning,
            fmt::format("{}.inputDefinitions.{}.{}", place(c), artifact ? "artifacts" : "parameters", name),
            c.kind == ComponentKind::dag ? "no task reads this input"
                                         : "neither command, arguments nor environment read this input");
      };
      for (const auto& [name, in] : c.input_parameters)
        unread(name, false, in.type == pipelines::ParameterType::task_config);
      for (const auto& [name, _] : c.input_artifacts) unread(name, true, false);
      if (i == plan.root) continue;
      auto untaken = [&](const std::string& name, bool artifact) {
        if (made_by_compiler(name) || taken[i].contains(name)) return;
        auto where = fmt::format("{}.outputDefinitions.{}.{}", place(c), artifact ? "artifacts" : "parameters", name);
        if (c.kind == ComponentKind::importer)
          add(Level::warning, std::move(where), "the imported artifact is never used");
        else
          add(Level::note, std::move(where), "no task takes this output");
      };
      for (const auto& [name, _] : c.output_parameters) untaken(name, false);
      for (const auto& [name, out] : c.output_artifacts) {
        // What is made to be looked at needs nobody that takes it.
        static const std::set<std::string_view> shown{"system.Metrics", "system.ClassificationMetrics",
                                                      "system.SlicedClassificationMetrics", "system.HTML",
                                                      "system.Markdown"};
        if (!shown.contains(out.type.title)) untaken(name, true);
      }
    }
    const auto* deployment = member(spec, "deploymentSpec", "deployment_spec");
    const auto* executors = deployment == nullptr ? nullptr : json::find(*deployment, "executors");
    std::set<std::string_view> named;
    for (const auto& c : plan.components) named.insert(c.executor);
    if (executors != nullptr && executors->is_object())
      for (const auto& m : executors->get_object())
        if (!named.contains(m.key()))
          add(Level::warning, fmt::format("deploymentSpec.executors.{}", std::string_view(m.key())),
              "no component names this executor");
    platforms(named);
  }

  void platforms(const std::set<std::string_view>& executors) {
    const auto* list = platform == nullptr ? nullptr : json::find(*platform, "platforms");
    if (list == nullptr || !list->is_object()) return;
    for (const auto& p : list->get_object()) {
      if (p.key() != "kubernetes") {
        add(Level::warning, fmt::format("platforms.{}", std::string_view(p.key())),
            "settings for this platform have no effect here");
        continue;
      }
      const auto* deployment = member(p.value(), "deploymentSpec", "deployment_spec");
      const auto* given = deployment == nullptr ? nullptr : json::find(*deployment, "executors");
      if (given == nullptr || !given->is_object()) continue;
      for (const auto& m : given->get_object())
        if (!executors.contains(m.key()))
          add(Level::warning,
              fmt::format("platforms.kubernetes.deploymentSpec.executors.{}", std::string_view(m.key())),
              "these settings are for an executor that no component names");
    }
  }

  // --- single components ---

  void images() {
    std::map<std::string, std::vector<std::string>> by_image;
    for (std::size_t i = 0; i < plan.components.size(); ++i) {
      const auto& c = plan.components[i];
      if (used[i] && c.kind == ComponentKind::container) by_image[c.container.image].push_back(c.name);
    }
    for (const auto& [image, components] : by_image) {
      if (image.contains("argostub/")) continue;
      if (image.contains("{{$")) {
        add(Level::note, "image " + image,
            fmt::format("chosen by an input, so not looked at (of {})", some_names(components)));
        continue;
      }
      auto verdict = machine.image(image);
      if (verdict.note.empty()) continue;
      add(verdict.runs ? Level::note : Level::warning, fmt::format("image {}", image),
          fmt::format("{} (of {})", verdict.note, some_names(components)));
    }
  }

  void packages(const Component& c) {
    const auto& command = c.container.command;
    auto light = pipelines::recognise(command);
    if (!light) {
      for (const auto* list : {&command, &c.container.args})
        for (const auto& text : *list)
          if (text.contains("pip install"))
            return add(Level::warning, executor_place(c),
                       "installs packages by a script of its own, so anew at every run: the environments that are made "
                       "once serve only what the SDK's packages_to_install writes");
      return;
    }
    std::vector<std::string> free;
    for (auto line : text::split(light->requirements, '\n')) {
      auto t = text::trim(line);
      if (t.empty() || t.starts_with("-") || t.starts_with("#") || t.starts_with("setuptools<")) continue;
      if (t.find_first_of("=<>~@") == std::string_view::npos) free.push_back(version_free(t));
    }
    if (!free.empty())
      add(Level::note, executor_place(c),
          fmt::format("asks for packages without a version, so gets the newest of the day the environment is made: {}",
                      some_names(free)));
  }

  // What the machine cannot give, a step waits for as long as the run lives.
  void room(const Component& c) {
    const auto& k = c.container;
    auto where = executor_place(c) + ".resources";
    for (auto [word, request, limit, have] :
         {std::tuple{"cores", &k.cpu_request, &k.cpu_limit, machine.cpu_milli},
          std::tuple{"of memory", &k.memory_request, &k.memory_limit, machine.memory_milli}}) {
      const auto& text = request->empty() ? *limit : *request;
      auto asked = kube::quantity_milli(text);
      if (asked && have > 0 && *asked > have)
        add(Level::warning, where,
            fmt::format("asks for {} {}, which this machine does not have: the step would wait for ever", text, word));
    }
    if (!k.accelerator_type.empty() && !k.accelerator_type.contains("{{$"))
      add(Level::warning, where,
          fmt::format("asks for {}, which this machine does not offer: the step would wait for ever",
                      k.accelerator_type));
  }

  void large(const std::string& where, std::size_t size) {
    if (size > kLarge)
      add(Level::note, where, fmt::format("{} of text: large values are better artifacts", kilobytes(size)));
  }
  static std::size_t size_of(const value& v) {
    return v.is_string() ? v.get_string().size() : json::serialize(v).size();
  }

  void secret(std::string where, std::string_view name, const value& v) {
    if (!v.is_string() || v.get_string().empty() || std::string_view(v.get_string()).contains("{{$")) return;
    auto lower = text::lower(name);
    for (std::string_view word : {"password", "passwd", "secret", "token", "api_key", "apikey", "private_key"})
      if (lower.contains(word) && !lower.ends_with("_name")) {
        secrets[std::string(name)].push_back(std::move(where));
        return;
      }
  }

  void tell_secrets() {
    for (auto& [name, places] : secrets) {
      auto first = std::move(places.front());
      places.erase(places.begin());
      auto also = places.empty() ? std::string() : fmt::format(". Also at {}", some_names(places));
      add(Level::warning, std::move(first),
          fmt::format("\"{}\" looks like a secret, and stands in clear text in the package and in every run: "
                      "kfp.kubernetes.use_secret_as_env keeps it out{}",
                      name, also));
    }
  }

  void component(std::size_t at) {
    const auto& c = plan.components[at];
    for (const auto& [name, in] : c.input_parameters)
      if (in.fallback) {
        auto where = fmt::format("{}.inputDefinitions.parameters.{}.defaultValue", place(c), name);
        large(where, size_of(*in.fallback));
        if (!names_of_secrets.contains({at, name})) secret(where, name, *in.fallback);
      }
    if (c.kind == ComponentKind::container) {
      for (const auto& [word, list] : {std::pair{"command", &c.container.command}, {"args", &c.container.args}})
        for (const auto& text : *list) large(fmt::format("{}.{}", executor_place(c), word), text.size());
      for (const auto& e : c.container.env) {
        large(fmt::format("{}.env.{}", executor_place(c), e.name), e.value.size());
        secret(fmt::format("{}.env.{}", executor_place(c), e.name), e.name, value(e.value));
      }
      packages(c);
      room(c);
      std::vector<std::string> idle;
      for (auto name : {"nodeSelector", "tolerations", "nodeAffinity", "podAffinity"})
        if (c.kubernetes.contains(name)) idle.emplace_back(name);
      if (!idle.empty())
        add(Level::note, fmt::format("platforms.kubernetes.deploymentSpec.executors.{}", c.executor),
            fmt::format("{}: no effect on one machine", some_names(idle)));
    }
    for (const auto& t : c.tasks) {
      auto where = place(c, t);
      for (const auto& [name, s] : t.parameters)
        if (s.kind == Source::Kind::constant) {
          auto field = fmt::format("{}.inputs.parameters.{}", where, name);
          large(field, size_of(s.constant));
          secret(field, name, s.constant);
        }
      if (!t.iterator || !t.iterator->raw) continue;
      auto n = t.iterator->raw->size();
      if (n == 0) add(Level::warning, where, "loops over an empty list: nothing in it ever runs");
      if (n > kManyIterations) add(Level::note, where, fmt::format("loops over {} items", n));
      large(where + ".parameterIterator", size_of(value(*t.iterator->raw)));
    }
  }

  void caching() {
    std::vector<std::string> without;
    for (std::size_t i = 0; i < plan.components.size(); ++i)
      if (used[i])
        for (const auto& t : plan.components[i].tasks)
          if (!t.cache && plan.components[t.component].kind == ComponentKind::container) without.push_back(t.key);
    if (!without.empty())
      add(Level::note, "cachingOptions", fmt::format("caching is off for: {}", some_names(without)));
  }

  // --- conditions: what constants alone decide ---

  void conditions(std::size_t at, const Object& known) {
    if (++instances > kMostInstances) return;
    const auto& c = plan.components[at];
    for (const auto& t : c.tasks) {
      const auto& inner = plan.components[t.component];
      Object values;
      auto take = [&](const std::string& name, const value& v) {
        auto in = inner.input_parameters.find(name);
        auto converted =
            in == inner.input_parameters.end() ? Result<value>(v) : pipelines::convert(v, in->second.type, name);
        if (converted) values[name] = std::move(*converted);
      };
      for (const auto& [name, s] : t.parameters) {
        if (s.selector) continue;
        if (s.kind == Source::Kind::constant &&
            !(s.constant.is_string() && std::string_view(s.constant.get_string()).contains("{{$")))
          take(name, s.constant);
        if (s.kind == Source::Kind::scope_input)
          if (const auto* v = known.if_contains(s.input)) take(name, *v);
      }
      for (const auto& [name, in] : inner.input_parameters)
        if (in.fallback && !t.parameters.contains(name)) take(name, *in.fallback);
      if (t.iterator) values.erase(t.iterator->item_input);
      bool never = t.iterator && t.iterator->raw && t.iterator->raw->empty();
      if (t.condition && std::ranges::all_of(t.condition->input_names(), [&](auto& n) { return values.contains(n); })) {
        auto holds = t.condition->holds(pipelines::condition_variables(values, {}));
        auto where = place(c, t) + ".triggerPolicy.condition";
        bool first = judged.insert(where).second;
        if (!holds && first)
          add(Level::warning, where, "fails on the constants that it is given: " + holds.error().message);
        if (holds && first)
          add(Level::warning, where,
              *holds ? "always true: all of its inputs are constants"
                     : "always false, so the task never runs: all of its inputs are constants");
        never = never || (holds && !*holds);
      }
      if (!never && inner.kind == ComponentKind::dag) conditions(t.component, values);
    }
  }

  // --- the whole ---

  void whole() {
    const auto& n = plan.name;
    bool good = !n.empty() && n.size() <= 128 && n[0] != '-' && std::ranges::all_of(n, [](char ch) {
      return (ch >= 'a' && ch <= 'z') || (ch >= '0' && ch <= '9') || ch == '-';
    });
    if (!good)
      add(Level::error, "pipelineInfo.name",
          "must consist of lower case letters, digits and '-', begin with a letter or digit, and have at most 128 "
          "characters");
    if (!plan.schema_version.empty() && !plan.schema_version.starts_with("2."))
      add(Level::warning, "schemaVersion",
          fmt::format("{} is none of the versions that are known here (2.x)", plan.schema_version));
    auto size = json::serialize(spec).size();
    if (size > kLargeSpec) add(Level::note, "package", fmt::format("{} in all: large", kilobytes(size)));
    std::size_t tasks = 0;
    for (const auto& c : plan.components) tasks += c.tasks.size();
    if (tasks > kManyTasks) add(Level::note, "package", fmt::format("{} tasks: many", tasks));
    if (plan.root_component().tasks.empty()) add(Level::warning, "root.dag", "has no tasks: a run succeeds at once");
  }

  void all() {
    auto n = plan.components.size();
    used.resize(n);
    read.resize(n);
    taken.resize(n);
    reads_all.resize(n);
    reach(plan.root);
    whole();
    conditions(plan.root, {});
    unused();
    images();
    for (std::size_t i = 0; i < n; ++i)
      if (used[i]) component(i);
    tell_secrets();
    caching();
    std::vector<Finding> ordered;
    for (auto level : {Level::error, Level::warning, Level::note})
      for (auto& f : found)
        if (f.level == level) ordered.push_back(std::move(f));
    found = std::move(ordered);
  }
};

}  // namespace

std::string_view level_name(Finding::Level l) {
  return l == Level::error ? "error" : l == Level::warning ? "warning" : "note";
}

std::vector<Finding> lint(const Plan& plan, const value& sent, const MachineFacts& machine) {
  const auto* inner = member(sent, "pipeline_spec", "pipelineSpec");
  Linter l{.plan = plan,
           .spec = inner == nullptr ? sent : *inner,
           .platform = member(sent, "platform_spec", "platformSpec"),
           .machine = machine};
  l.all();
  return std::move(l.found);
}

}  // namespace mr::cli
