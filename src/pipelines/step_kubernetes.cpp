// The platform document's settings of one executor in its pod. Source: kfp-kubernetes' KubernetesExecutorConfig
// (kfp-ir, section 11). What chooses among nodes is shown and not acted on where there is one node.
#include "json/parse.h"
#include "kube/object.h"
#include "pipelines/spec_fields.h"
#include "pipelines/step.h"

namespace mr::pipelines {

namespace {

using kube::Array;
using kube::Object;

struct Pod {
  Object& pod;
  const Step::Scope& scope;
  int volumes = 0;

  Object& spec() { return pod["spec"].get_object(); }
  Object& container() { return spec()["containers"].get_array().front().get_object(); }
  static Array& list(Object& o, std::string_view name) {
    auto& v = o[name];
    if (!v.is_array()) v = Array{};
    return v.get_array();
  }
  void env(Object one) { list(container(), "env").push_back(std::move(one)); }
  void volume(std::string_view prefix, std::string_view kind, kube::Value source, std::string_view where,
              std::string_view sub_path = {}) {
    auto name = fmt::format("{}-{}", prefix, volumes++);
    list(spec(), "volumes").push_back(Object{{"name", name}, {kind, std::move(source)}});
    Object m{{"name", name}, {"mountPath", where}};
    if (!sub_path.empty()) m["subPath"] = sub_path;
    list(container(), "volumeMounts").push_back(std::move(m));
  }
  // A name given as a constant or by a parameter; empty: the parameter was left out, and the setting with it.
  Result<std::string> name(Fields& f, std::string_view constant, std::string_view parameter) {
    auto text = f.text(constant);
    const auto* p = f.take(parameter);
    if (p == nullptr) return text;
    MR_TRY(auto value, scope(*p));
    if (!value || value->is_null()) return std::string();
    return to_text(*value);
  }
};

Result<void> secrets_and_maps(Fields& f, Pod& pod) {
  for (auto [field, source, name_field, parameter, kind, name_key] :
       {std::tuple{"secretAsVolume", "secret", "secretName", "secretNameParameter", "secret", "secretName"},
        std::tuple{"configMapAsVolume", "map", "configMapName", "configMapNameParameter", "configMap", "name"}}) {
    for (const auto& item : f.list(field)) {
      Fields one(item, f.at(field));
      MR_TRY(auto name, pod.name(one, name_field, parameter));
      auto where = one.text("mountPath");
      auto optional = one.flag("optional");
      MR_CHECK(one.done());
      if (name.empty()) continue;
      pod.volume(source, kind, Object{{name_key, name}, {"optional", optional}}, where);
    }
  }
  for (auto [field, name_field, parameter, key_field, ref] :
       {std::tuple{"secretAsEnv", "secretName", "secretNameParameter", "secretKey", "secretKeyRef"},
        std::tuple{"configMapAsEnv", "configMapName", "configMapNameParameter", "configMapKey", "configMapKeyRef"}}) {
    for (const auto& item : f.list(field)) {
      Fields one(item, f.at(field));
      MR_TRY(auto name, pod.name(one, name_field, parameter));
      auto optional = one.flag("optional");
      for (const auto& pair : one.list("keyToEnv")) {
        Fields p(pair, one.at("keyToEnv"));
        auto key = p.text(key_field);
        auto var = p.text("envVar");
        MR_CHECK(p.done());
        if (!name.empty())
          pod.env({{"name", var}, {"valueFrom", {{ref, {{"name", name}, {"key", key}, {"optional", optional}}}}}});
      }
      MR_CHECK(one.done());
    }
  }
  return {};
}

Result<void> storage(Fields& f, Pod& pod) {
  for (const auto& item : f.list("pvcMount")) {
    Fields one(item, f.at("pvcMount"));
    std::string name;
    // Older files name the claim by one of three fields, newer ones by a parameter.
    if (const auto* p = one.take("pvcNameParameter")) {
      MR_TRY(auto v, pod.scope(*p));
      if (v) name = to_text(*v);
    }
    if (const auto* t = one.take("taskOutputParameter")) {
      MR_TRY(auto v, pod.scope(Object{{"taskOutputParameter", *t}}));
      if (v) name = to_text(*v);
    }
    if (auto c = one.text("componentInputParameter"); !c.empty()) {
      MR_TRY(auto v, pod.scope(Object{{"componentInputParameter", c}}));
      if (v) name = to_text(*v);
    }
    if (auto c = one.text("constant"); !c.empty()) name = c;
    auto where = one.text("mountPath");
    auto sub_path = one.text("subPath");
    MR_CHECK(one.done());
    if (!name.empty()) pod.volume("claim", "persistentVolumeClaim", Object{{"claimName", name}}, where, sub_path);
  }
  for (const auto& item : f.list("emptyDirMounts")) {
    Fields one(item, f.at("emptyDirMounts"));
    one.ignore({"volumeName"});
    auto where = one.text("mountPath");
    Object source;
    if (auto medium = one.text("medium"); !medium.empty()) source["medium"] = medium;
    if (auto size = one.text("sizeLimit"); !size.empty()) source["sizeLimit"] = size;
    MR_CHECK(one.done());
    pod.volume("empty", "emptyDir", std::move(source), where);
  }
  for (const auto& item : f.list("genericEphemeralVolume")) {
    Fields one(item, f.at("genericEphemeralVolume"));
    one.ignore({"volumeName", "accessModes", "defaultStorageClass", "storageClassName", "metadata"});
    auto where = one.text("mountPath");
    auto size = one.text("size");
    MR_CHECK(one.done());
    // On one machine a claim that lives as long as its pod is a folder that does.
    Object source;
    if (!size.empty()) source["sizeLimit"] = size;
    pod.volume("ephemeral", "emptyDir", std::move(source), where);
  }
  if (const auto* shm = f.take("enabledSharedMemory")) {
    Fields one(*shm, f.at("enabledSharedMemory"));
    one.ignore({"volumeName"});
    Object source{{"medium", "Memory"}};
    if (auto size = one.text("size"); !size.empty()) source["sizeLimit"] = size;
    MR_CHECK(one.done());
    pod.volume("shm", "emptyDir", std::move(source), "/dev/shm");
  }
  return {};
}

Result<void> placement(Fields& f, Pod& pod) {
  auto& annotations = kube::ensure(pod.pod, "metadata.annotations");
  if (const auto* n = f.take("nodeSelector")) {
    Fields one(*n, f.at("nodeSelector"));
    Object labels = one.map("labels");
    if (const auto* p = one.take("nodeSelectorJson")) {
      MR_TRY(auto v, pod.scope(*p));
      if (v && v->is_object()) labels = v->get_object();
    }
    MR_CHECK(one.done());
    if (!labels.empty()) annotations["pipelines.millrace.dev/node-selector"] = json::serialize(labels);
  }
  for (const auto* field : {"nodeAffinity", "podAffinity"})
    if (const auto& list = f.list(field); !list.empty())
      annotations[fmt::format("pipelines.millrace.dev/{}", field)] = json::serialize(kube::Value(list));
  for (const auto& item : f.list("tolerations")) {
    Fields one(item, f.at("tolerations"));
    if (const auto* p = one.take("tolerationJson")) {
      MR_TRY(auto v, pod.scope(*p));
      if (v && v->is_object()) Pod::list(pod.spec(), "tolerations").push_back(std::move(*v));
      if (v && v->is_array())
        for (auto& t : v->get_array()) Pod::list(pod.spec(), "tolerations").push_back(std::move(t));
      continue;
    }
    Object t;
    for (const auto* name : {"key", "operator", "value", "effect"})
      if (auto text = one.text(name); !text.empty()) t[name] = text;
    if (auto seconds = one.integer("tolerationSeconds", -1); seconds >= 0) t["tolerationSeconds"] = seconds;
    MR_CHECK(one.done());
    if (!t.empty()) Pod::list(pod.spec(), "tolerations").push_back(std::move(t));
  }
  return {};
}

}  // namespace

Result<void> apply_kubernetes(const Object& config, const Step::Scope& scope, kube::Object& object) {
  kube::Value whole(config);
  Fields f(whole, "platforms.kubernetes");
  Pod pod{object, scope};
  MR_CHECK(secrets_and_maps(f, pod));
  MR_CHECK(storage(f, pod));
  MR_CHECK(placement(f, pod));
  if (const auto* m = f.take("podMetadata")) {
    Fields one(*m, f.at("podMetadata"));
    for (const auto* part : {"labels", "annotations"})
      for (const auto& kv : one.map(part))
        kube::ensure(object, fmt::format("metadata.{}", part))[kv.key()] = kv.value();
    MR_CHECK(one.done());
  }
  for (const auto& item : f.list("fieldPathAsEnv")) {
    Fields one(item, f.at("fieldPathAsEnv"));
    auto name = one.text("name");
    auto path = one.text("fieldPath");
    MR_CHECK(one.done());
    pod.env({{"name", name}, {"valueFrom", {{"fieldRef", {{"fieldPath", path}}}}}});
  }
  for (const auto& item : f.list("imagePullSecret")) {
    Fields one(item, f.at("imagePullSecret"));
    MR_TRY(auto name, pod.name(one, "secretName", "secretNameParameter"));
    MR_CHECK(one.done());
    if (!name.empty()) Pod::list(pod.spec(), "imagePullSecrets").push_back(Object{{"name", name}});
  }
  if (auto policy = f.text("imagePullPolicy"); !policy.empty()) pod.container()["imagePullPolicy"] = policy;
  if (auto seconds = f.integer("activeDeadlineSeconds"); seconds > 0) pod.spec()["activeDeadlineSeconds"] = seconds;
  if (const auto* s = f.take("securityContext")) {
    Fields one(*s, f.at("securityContext"));
    Object context;
    for (const auto* name : {"runAsUser", "runAsGroup"})
      if (auto id = one.integer(name, -1); id >= 0) context[name] = id;
    if (one.flag("runAsNonRoot")) context["runAsNonRoot"] = true;
    MR_CHECK(one.done());
    if (!context.empty()) pod.container()["securityContext"] = std::move(context);
  }
  if (const auto& list = f.list("initContainers"); !list.empty()) {
    Array all;
    for (const auto& item : list) all.push_back(item);
    pod.spec()["initContainers"] = std::move(all);
  }
  return f.done();
}

}  // namespace mr::pipelines
