#include "kube/pod_defaults.h"

namespace mr::kube {

namespace {

constexpr std::string_view kPrefix = "poddefault.admission.kubeflow.org";
constexpr std::string_view kWebhook = "admission-webhook-deployment.kubeflow.org";
constexpr std::string_view kProxy = "istio-proxy";  // the mesh's own container keeps its command

using Faults = std::vector<std::string>;

Array& list_of(Object& o, std::string_view name) {
  auto& v = o[name];
  if (!v.is_array()) v = Array{};
  return v.get_array();
}

const Object* with_key(const Array& list, std::string_view key, std::string_view value) {
  for (const auto& v : list)
    if (v.is_object() && text_at(v.get_object(), key) == value) return &v.get_object();
  return nullptr;
}

// One list of a pod or a container: what it is called in errors, and the member that its items are known by.
struct ListRule {
  const char* field;
  const char* called;
  const char* key;
  const char* also = nullptr;  // a second member that must be unique as well
};
constexpr ListRule kVolumes{"volumes", "volumes", "name"};
constexpr ListRule kTolerations{"tolerations", "tolerations", "key"};
constexpr ListRule kPullSecrets{"imagePullSecrets", "imagePullSecret", "name"};
constexpr ListRule kEnv{"env", "env", "name"};
constexpr ListRule kMounts{"volumeMounts", "volume mounts", "name", "mountPath"};

// Adds the items that are not there; those that are must be the same.
void merge_list(Object& into, const ListRule& rule, const Array& items, std::string_view from, std::string_view where,
                Faults& faults) {
  if (items.empty()) return;
  auto& list = list_of(into, rule.field);
  for (const auto& item : items) {
    if (!item.is_object()) continue;
    const auto& o = item.get_object();
    auto key = text_at(o, rule.key);
    const auto* there = with_key(list, rule.key, key);
    if (there != nullptr && !same(Value(*there), item))
      faults.push_back(fmt::format("merging {} for {} has a conflict on {}: it does not match the one in {}",
                                   rule.called, from, key, where));
    if (rule.also != nullptr) {
      auto second = text_at(o, rule.also);
      const auto* other = with_key(list, rule.also, second);
      if (other != nullptr && other != there && !same(Value(*other), item))
        faults.push_back(
            fmt::format("merging {} for {} has a conflict on mount path {}: it does not match the one in "
                        "{}",
                        rule.called, from, second, where));
    }
    if (there == nullptr) list.push_back(item);
  }
}

// Labels or annotations.
void merge_texts(Object& pod, const char* field, const Object& add, std::string_view from, Faults& faults) {
  if (add.empty()) return;
  auto& texts = ensure(pod, fmt::format("metadata.{}", field));
  for (const auto& [k, v] : add) {
    const auto* there = texts.if_contains(k);
    if (there == nullptr)
      texts[k] = v;
    else if (*there != v)
      faults.push_back(fmt::format("merging {} for {} has a conflict on {}: it does not match the one in pod", field,
                                   from, std::string_view(k)));
  }
}

void merge_container(Object& container, const Object& spec, std::string_view from, Faults& faults) {
  auto where = fmt::format("container {}", text_at(container, "name"));
  merge_list(container, kEnv, array_at(spec, "env"), from, where, faults);
  merge_list(container, kMounts, array_at(spec, "volumeMounts"), from, where, faults);
  const auto& sources = array_at(spec, "envFrom");
  if (!sources.empty()) {
    auto& list = list_of(container, "envFrom");
    list.insert(list.end(), sources.begin(), sources.end());
  }
  if (text_at(container, "name") == kProxy) return;
  for (const char* f : {"command", "args"})
    if (array_at(container, f).empty() && !array_at(spec, f).empty()) container[f] = array_at(spec, f);
}

// Whole containers: they come as they are, without what the PodDefaults add to the pod's own.
void add_containers(Object& pod, const char* field, const char* called, const Array& items, std::string_view from,
                    Faults& faults) {
  const ListRule rule{field, called, "name"};
  merge_list(ensure(pod, "spec"), rule, items, from, "pod", faults);
}

}  // namespace

std::expected<void, std::vector<std::string>> merge_pod_defaults(const std::vector<ObjectPtr>& defaults, Object& pod) {
  Faults faults;
  Object next = pod;
  for (const auto& d : defaults) {
    auto from = name_of(*d);
    const auto& add = object_at(*d, "spec");
    auto& spec = ensure(next, "spec");
    merge_list(spec, kVolumes, array_at(add, "volumes"), from, "pod", faults);
    merge_list(spec, kTolerations, array_at(add, "tolerations"), from, "pod", faults);
    merge_list(spec, kPullSecrets, array_at(add, "imagePullSecrets"), from, "pod", faults);
    for (auto& c : list_of(spec, "containers"))
      if (c.is_object()) merge_container(c.get_object(), add, from, faults);
    if (const auto* mount = add.if_contains("automountServiceAccountToken"); mount != nullptr && mount->is_bool())
      spec["automountServiceAccountToken"] = *mount;
    if (auto account = text_at(add, "serviceAccountName"); !account.empty()) {
      spec["serviceAccountName"] = account;
      spec.erase("serviceAccount");
    }
    merge_texts(next, "annotations", object_at(add, "annotations"), from, faults);
    merge_texts(next, "labels", object_at(add, "labels"), from, faults);
  }
  for (const auto& d : defaults) {
    auto from = name_of(*d);
    add_containers(next, "containers", "containers", array_at(*d, "spec.sidecars"), from, faults);
    add_containers(next, "initContainers", "init containers", array_at(*d, "spec.initContainers"), from, faults);
    ensure(next, "metadata.annotations")[fmt::format("{}/poddefault-{}", kPrefix, from)] =
        text_at(*d, "metadata.resourceVersion");
  }
  if (!faults.empty()) return std::unexpected(std::move(faults));
  pod = std::move(next);
  return {};
}

Answer<void> apply_pod_defaults(const Api& api, const Target& t, Object& pod) {
  auto all = api.store().list("poddefaults.kubeflow.org", t.ns).items;
  if (all.empty() || annotation(pod, fmt::format("{}/exclude", kPrefix)) == "true" ||
      object_at(pod, "metadata.annotations").contains("kubernetes.io/config.mirror"))
    return {};
  const auto& labels = object_at(pod, "metadata.labels");
  std::erase_if(all, [&](const ObjectPtr& d) { return !matches_selector(object_at(*d, "spec.selector"), labels); });
  if (all.empty()) return {};
  auto merged = merge_pod_defaults(all, pod);
  if (merged) return {};
  std::string names, faults;
  for (const auto& d : all) names += (names.empty() ? "" : ",") + std::string(name_of(*d));
  for (const auto& f : merged.error()) faults += (faults.empty() ? "" : ", ") + f;
  if (merged.error().size() > 1) faults = fmt::format("[{}]", faults);
  return std::unexpected(make_error(400, "",
                                    fmt::format("admission webhook \"{}\" denied the request: conflict occurred while "
                                                "applying poddefaults: {} on pod: {} err: {}",
                                                kWebhook, names, t.name, faults)));
}

}  // namespace mr::kube
