// TASK_CONFIG inputs: a step that starts pods of its own gets the settings of its task as a value, and those that it
// passes on are kept from its own pod, unless the component says otherwise (taskConfigPassthroughs). Source: KFP 2.17's
// driver.
#include "json/parse.h"
#include "pipelines/step.h"

namespace mr::pipelines {

namespace {

// Which of the platform's settings belong to a field that can be passed on.
constexpr std::pair<std::string_view, std::string_view> kSettings[] = {
    {"tolerations", "KUBERNETES_TOLERATIONS"},
    {"nodeSelector", "KUBERNETES_NODE_SELECTOR"},
    {"nodeAffinity", "KUBERNETES_AFFINITY"},
    {"podAffinity", "KUBERNETES_AFFINITY"},
    {"secretAsEnv", "ENV"},
    {"configMapAsEnv", "ENV"},
    {"fieldPathAsEnv", "ENV"},
    {"secretAsVolume", "KUBERNETES_VOLUMES"},
    {"configMapAsVolume", "KUBERNETES_VOLUMES"},
    {"pvcMount", "KUBERNETES_VOLUMES"},
    {"emptyDirMounts", "KUBERNETES_VOLUMES"},
    {"genericEphemeralVolume", "KUBERNETES_VOLUMES"},
    {"enabledSharedMemory", "KUBERNETES_VOLUMES"},
};

// KFP's list of terms as Kubernetes has it: with a weight a wish, without one a demand.
Object node_affinity(const Value& list) {
  Array demands, wishes;
  if (list.is_array())
    for (const auto& item : list.get_array()) {
      Object term;
      for (const auto* part : {"matchExpressions", "matchFields"})
        if (const auto* v = json::find(item, part)) term[part] = *v;
      if (const auto* weight = json::find(item, "weight"))
        wishes.push_back(Object{{"weight", *weight}, {"preference", std::move(term)}});
      else
        demands.push_back(std::move(term));
    }
  Object out;
  if (!demands.empty())
    out["requiredDuringSchedulingIgnoredDuringExecution"] = Object{{"nodeSelectorTerms", std::move(demands)}};
  if (!wishes.empty()) out["preferredDuringSchedulingIgnoredDuringExecution"] = std::move(wishes);
  return out;
}

}  // namespace

Result<TaskConfig> task_config(const Component& c, const Object& resources, const Array& env,
                               const Step::Scope& scope) {
  TaskConfig out;
  out.kubernetes = c.kubernetes;
  // The settings in a pod of nothing else.
  Object pod{{"metadata", Object{}}, {"spec", Object{{"containers", Array{Object{{"name", "main"}}}}}}};
  if (!c.kubernetes.empty()) MR_CHECK(apply_kubernetes(c.kubernetes, scope, pod));
  const auto& spec = pod["spec"].get_object();
  const auto& container = spec.at("containers").get_array().front().get_object();
  auto take = [&](const Object& from, std::string_view name) {
    if (const auto* v = from.if_contains(name)) out.value[name] = *v;
  };
  for (const auto& p : c.task_config_passthroughs) {
    const auto field = json::string_or_empty(p, "field");
    const auto* apply = json::find(p, "applyToTask");
    const bool applied = apply != nullptr && *apply == Value(true);
    if (field == "RESOURCES") {
      if (!resources.empty()) out.value["resources"] = resources;
      out.resources = applied;
    } else if (field == "ENV") {
      Array all = env;
      if (const auto* more = container.if_contains("env"))
        for (const auto& e : more->get_array()) all.push_back(e);
      if (!all.empty()) out.value["env"] = std::move(all);
      out.env = applied;
    } else if (field == "KUBERNETES_TOLERATIONS") {
      take(spec, "tolerations");
    } else if (field == "KUBERNETES_NODE_SELECTOR") {
      const auto* annotations = pod["metadata"].get_object().if_contains("annotations");
      const auto text = annotations == nullptr
                            ? std::string_view()
                            : json::string_or_empty(*annotations, "pipelines.millrace.dev/node-selector");
      if (auto labels = json::parse(text); labels && labels->is_object()) out.value["nodeSelector"] = *labels;
    } else if (field == "KUBERNETES_AFFINITY") {
      if (const auto* list = c.kubernetes.if_contains("nodeAffinity"))
        out.value["affinity"] = Object{{"nodeAffinity", node_affinity(*list)}};
    } else if (field == "KUBERNETES_VOLUMES") {
      take(spec, "volumes");
      take(container, "volumeMounts");
    } else {
      return fail(Code::invalid_argument,
                  fmt::format("component {}: there is no setting \"{}\" to pass on", c.name, field));
    }
    if (applied) continue;
    for (const auto& [setting, of] : kSettings)
      if (of == field) out.kubernetes.erase(setting);
  }
  return out;
}

}  // namespace mr::pipelines
