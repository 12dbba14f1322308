#include "kube/strategy.h"

#include "crypto/random.h"
#include "kube/names.h"
#include "kube/pod_defaults.h"
#include "text/text.h"

namespace mr::kube {

namespace {

ApiError forbidden_pod(const Target& t, std::string_view why) {
  auto e = make_error(403, "Forbidden", fmt::format("pods \"{}\" is forbidden: {}", t.name, why));
  e.details = {{"name", t.name}, {"kind", "pods"}};
  return e;
}

// The priority that the pod's class stands for.
Answer<void> give_priority(const Api& api, const Target& t, Object& pod) {
  auto& spec = ensure(pod, "spec");
  const std::string name(text_at(spec, "priorityClassName"));
  const std::string table = "priorityclasses.scheduling.k8s.io";
  ObjectPtr chosen;
  if (!name.empty()) {
    chosen = api.store().latest(table, {"", name});
    if (!chosen) return std::unexpected(forbidden_pod(t, fmt::format("no PriorityClass with name {} was found", name)));
  } else {
    for (const auto& o : api.store().list(table, "").items)
      if (bool_at(*o, "globalDefault") && (!chosen || int_at(*o, "value") < int_at(*chosen, "value"))) chosen = o;
    if (chosen) spec["priorityClassName"] = name_of(*chosen);
  }
  const auto value = chosen ? int_at(*chosen, "value") : 0;
  const std::string policy(chosen ? text_at(*chosen, "preemptionPolicy", "PreemptLowerPriority")
                                  : "PreemptLowerPriority");
  if (const auto* given = spec.if_contains("priority");
      given != nullptr && given->is_int64() && given->get_int64() != value)
    return std::unexpected(forbidden_pod(
        t, fmt::format("the integer value of priority ({}) must not be provided in pod spec; priority admission "
                       "controller computed {} from the given PriorityClass name",
                       given->get_int64(), value)));
  if (auto given = text_at(spec, "preemptionPolicy"); !given.empty() && given != policy)
    return std::unexpected(forbidden_pod(
        t, fmt::format("the string value of PreemptionPolicy ({}) must not be provided in pod spec; priority admission "
                       "controller computed {} from the given PriorityClass name",
                       given, policy)));
  spec["priority"] = value;
  spec["preemptionPolicy"] = policy;
  if (!object_at(spec, "overhead").empty() && text_at(spec, "runtimeClassName").empty())
    return std::unexpected(
        forbidden_pod(t, "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"));
  return {};
}

// Pods get their account's token, the cluster's CA and their namespace as files, as the admission plugin mounts them.
Answer<void> give_account(const Api& api, const Target& t, Object& pod) {
  auto& spec = ensure(pod, "spec");
  std::string name(text_at(spec, "serviceAccountName", text_at(spec, "serviceAccount", "default")));
  if (name.empty()) name = "default";
  spec["serviceAccountName"] = name;
  spec["serviceAccount"] = name;
  auto account = api.store().latest("serviceaccounts", {t.ns, name});
  if (!account) {
    // The default account comes with the namespace, a moment later: nothing waits for it.
    if (name != "default")
      return std::unexpected(forbidden_pod(
          t, fmt::format("error looking up service account {}/{}: serviceaccount \"{}\" not found", t.ns, name, name)));
  }
  bool mount = true;
  if (const auto* v = at(spec, "automountServiceAccountToken"); v != nullptr && v->is_bool())
    mount = v->get_bool();
  else if (account)
    mount = bool_at(*account, "automountServiceAccountToken", true);
  if (!mount) return {};
  static constexpr std::string_view kPath = "/var/run/secrets/kubernetes.io/serviceaccount";
  auto volume = generated_name("kube-api-access-");
  bool used = false;
  for (const char* list : {"containers", "initContainers"}) {
    auto* containers = spec.if_contains(list);
    if (containers == nullptr || !containers->is_array()) continue;
    for (auto& c : containers->get_array()) {
      if (!c.is_object()) continue;
      bool has = false;
      for (const auto& m : array_at(c.get_object(), "volumeMounts"))
        if (m.is_object() && text_at(m.get_object(), "mountPath") == kPath) has = true;
      if (has) continue;
      auto& mounts = c.get_object()["volumeMounts"];
      if (!mounts.is_array()) mounts = Array{};
      mounts.get_array().push_back(Object{{"name", volume}, {"readOnly", true}, {"mountPath", kPath}});
      used = true;
    }
  }
  if (!used) return {};
  auto& volumes = spec["volumes"];
  if (!volumes.is_array()) volumes = Array{};
  volumes.get_array().push_back(Object{
      {"name", volume},
      {"projected",
       Object{{"defaultMode", 420},
              {"sources",
               Array{Object{{"serviceAccountToken", Object{{"expirationSeconds", 3607}, {"path", "token"}}}},
                     Object{{"configMap", Object{{"name", "kube-root-ca.crt"},
                                                 {"items", Array{Object{{"key", "ca.crt"}, {"path", "ca.crt"}}}}}}},
                     Object{{"downwardAPI",
                             Object{{"items",
                                     Array{Object{{"path", "namespace"},
                                                  {"fieldRef", Object{{"apiVersion", "v1"},
                                                                      {"fieldPath", "metadata.namespace"}}}}}}}}}}}}}});
  return {};
}

Answer<void> give_addresses(const Api& api, const Hooks& hooks, const Target& t, Object& service, bool dry_run) {
  auto& spec = ensure(service, "spec");
  auto type = text_at(spec, "type", "ClusterIP");
  if (type == "ExternalName") return {};
  auto wanted = std::string(text_at(spec, "clusterIP"));
  if (wanted == "None") {
    spec["clusterIPs"] = Array{"None"};
  } else {
    std::set<std::string> used;
    for (const auto& o : api.store().list("services", "").items) {
      auto ip = text_at(*o, "spec.clusterIP");
      if (!ip.empty() && ip != "None") used.emplace(ip);
    }
    if (wanted.empty()) {
      // One that another request was given a moment ago is not in the store yet.
      do {
        if (!wanted.empty()) used.insert(wanted);
        wanted = hooks.allocate_cluster_ip ? hooks.allocate_cluster_ip(used, {t.ns, t.name}) : std::string();
        if (wanted.empty())
          return std::unexpected(internal_error("failed to allocate a serviceIP: no address is left"));
      } while (!dry_run && !api.reserve(wanted));
    } else if (hooks.in_cluster_range && is_ip(wanted) && !hooks.in_cluster_range(wanted)) {
      return std::unexpected(invalid_object(
          "", "Service", t.name,
          {FieldError{
              "FieldValueInvalid", "spec.clusterIPs",
              fmt::format("Invalid value: []string{{\"{0}\"}}: failed to allocate IP {0}: the provided IP ({0}) "
                          "is not in the valid range. The range of valid IPs is {1}",
                          wanted, hooks.cluster_range)}}));
    } else if (used.contains(wanted)) {
      return std::unexpected(
          invalid_object("", "Service", t.name,
                         {invalid("spec.clusterIPs", Array{Value(wanted)},
                                  fmt::format("failed to allocate IP {}: provided IP is already allocated", wanted))}));
    }
    spec["clusterIP"] = wanted;
    spec["clusterIPs"] = Array{Value(wanted)};
  }
  if (type == "NodePort" || type == "LoadBalancer") {
    std::set<std::int64_t> taken;
    for (const auto& o : api.store().list("services", "").items)
      for (const auto& p : array_at(*o, "spec.ports"))
        if (p.is_object()) taken.insert(int_at(p.get_object(), "nodePort"));
    if (auto* ports = spec.if_contains("ports"); ports != nullptr && ports->is_array())
      for (auto& p : ports->get_array()) {
        if (!p.is_object() || int_at(p.get_object(), "nodePort") != 0) continue;
        std::int64_t port = 30000 + static_cast<std::int64_t>(crypto::random_u64() % 2768);
        auto unusable = [&] { return taken.contains(port) || (!dry_run && !api.reserve(std::to_string(port))); };
        for (int i = 0; i < 2768 && unusable(); ++i) port = port == 32767 ? 30000 : port + 1;
        taken.insert(port);
        p.get_object()["nodePort"] = port;
      }
  }
  return {};
}

}  // namespace

Answer<void> before_create(const Api& api, const Hooks& hooks, const Target& t, Object& o, bool dry_run) {
  const auto& q = t.kind->qualified();
  if (t.version->status && q != "pods" && q != "persistentvolumeclaims") o.erase("status");
  if (q == "pods") {
    o["status"] = Object{{"phase", "Pending"}};
    if (auto r = apply_pod_defaults(api, t, o); !r) return r;
    if (!array_at(o, "spec.schedulingGates").empty())
      set_condition(o, "PodScheduled", "False", "SchedulingGated",
                    "Scheduling is blocked due to non-empty scheduling gates");
    if (auto r = give_account(api, t, o); !r) return r;
    return give_priority(api, t, o);
  }
  if (q == "services") {
    o["status"] = Object{{"loadBalancer", Object{}}};
    return give_addresses(api, hooks, t, o, dry_run);
  }
  if (q == "namespaces") {
    ensure(o, "spec")["finalizers"] = Array{"kubernetes"};
    o["status"] = Object{{"phase", "Active"}};
  } else if (q == "persistentvolumeclaims") {
    auto& finalizers = metadata(o)["finalizers"];
    if (!finalizers.is_array()) finalizers = Array{};
    if (std::ranges::find(finalizers.get_array(), Value("kubernetes.io/pvc-protection")) ==
        finalizers.get_array().end())
      finalizers.get_array().push_back("kubernetes.io/pvc-protection");
    o["status"] = Object{{"phase", "Pending"}};
  } else if (q == "persistentvolumes") {
    o["status"] = Object{{"phase", "Available"}};
  }
  return {};
}

void after_defaults(const Target& t, Object& o) {
  const auto& q = t.kind->qualified();
  if (q == "customresourcedefinitions.apiextensions.k8s.io") {
    auto now = now_text();
    Array stored;
    for (const auto& v : array_at(o, "spec.versions"))
      if (v.is_object() && bool_at(v.get_object(), "storage")) stored.push_back(Value(text_at(v.get_object(), "name")));
    o["status"] = Object{{"acceptedNames", object_at(o, "spec.names")},
                         {"conditions", Array{Object{{"lastTransitionTime", now},
                                                     {"message", "no conflicts found"},
                                                     {"reason", "NoConflicts"},
                                                     {"status", "True"},
                                                     {"type", "NamesAccepted"}},
                                              Object{{"lastTransitionTime", now},
                                                     {"message", "the initial names have been accepted"},
                                                     {"reason", "InitialNamesAccepted"},
                                                     {"status", "True"},
                                                     {"type", "Established"}}}},
                         {"storedVersions", std::move(stored)}};
  }
}

Answer<void> before_update(const Api& api, const Hooks& hooks, const Target& t, Object& next, const Object& current) {
  const auto q = t.kind->qualified();
  if (q == "services") {
    auto& spec = ensure(next, "spec");
    auto was = text_at(current, "spec.type", "ClusterIP");
    auto is = text_at(spec, "type", "ClusterIP");
    if (is == "ExternalName") {
      spec.erase("clusterIP");
      spec.erase("clusterIPs");
    } else if (was == "ExternalName") {
      return give_addresses(api, hooks, t, next, false);
    } else {
      // A manifest need not repeat the address that was given.
      for (const char* f : {"clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "sessionAffinity"})
        if (!spec.contains(f))
          if (const auto* v = at(current, fmt::format("spec.{}", f))) spec[f] = *v;
      if (is == "NodePort" || is == "LoadBalancer") {
        std::string ip(text_at(spec, "clusterIP"));
        ensure(next, "spec").erase("clusterIP");
        auto r = give_addresses(api, hooks, t, next, false);
        ensure(next, "spec")["clusterIP"] = ip;
        ensure(next, "spec")["clusterIPs"] = Array{Value(ip)};
        return r;
      }
    }
  } else if (q == "pods") {
    auto& spec = ensure(next, "spec");
    for (const char* f : {"nodeName", "serviceAccountName", "serviceAccount"})
      if (!spec.contains(f))
        if (const auto* v = at(current, fmt::format("spec.{}", f))) spec[f] = *v;
  } else if (q == "namespaces") {
    ensure(next, "spec")["finalizers"] = array_at(current, "spec.finalizers");
  } else if (q == "persistentvolumeclaims") {
    auto& spec = ensure(next, "spec");
    for (const char* f : {"volumeName", "storageClassName"})
      if (!spec.contains(f))
        if (const auto* v = at(current, fmt::format("spec.{}", f))) spec[f] = *v;
  }
  return {};
}

std::optional<Answer<Object>> write_subresource(const Target& t, const Object& given, const Object& current) {
  const auto& sub = t.subresource;
  if (sub == "status" && t.version->status) {
    Object next = current;
    if (const auto* status = given.if_contains("status"))
      next["status"] = *status;
    else
      next.erase("status");
    // A deployment's controller notes its revision beside the status.
    if (t.kind->qualified() == "deployments.apps")
      if (const auto* notes = at(given, "metadata.annotations"); notes != nullptr && notes->is_object())
        metadata(next)["annotations"] = *notes;
    return next;
  }
  if (sub == "scale" && t.version->scale) {
    const auto* replicas = at(given, "spec.replicas");
    std::int64_t n = replicas != nullptr && replicas->is_int64() ? replicas->get_int64() : 0;
    if (n < 0)
      return std::unexpected(invalid_object("autoscaling", "Scale", t.name,
                                            {invalid("spec.replicas", n, "must be greater than or equal to 0")}));
    Object next = current;
    std::string_view path = t.version->scale_spec;
    if (path.starts_with('.')) path.remove_prefix(1);
    auto dot = path.rfind('.');
    if (dot == std::string_view::npos) return std::unexpected(internal_error("the scale path is not usable"));
    ensure(next, path.substr(0, dot))[path.substr(dot + 1)] = n;
    return next;
  }
  if (sub == "finalize" && t.kind->qualified() == "namespaces") {
    Object next = current;
    ensure(next, "spec")["finalizers"] = array_at(given, "spec.finalizers");
    return next;
  }
  return std::nullopt;
}

void complete_status(const Target& t, Object& o) {
  if (t.kind->qualified() != "pods" || t.subresource != "status") return;
  auto* status = o.if_contains("status");
  auto* list = status != nullptr && status->is_object() ? status->get_object().if_contains("conditions") : nullptr;
  if (list == nullptr || !list->is_array()) return;
  for (auto& c : list->get_array()) {
    if (!c.is_object()) continue;
    auto& condition = c.get_object();
    if (!condition.contains("status")) condition["status"] = "";
    for (const char* f : {"lastProbeTime", "lastTransitionTime"})
      if (!condition.contains(f)) condition[f] = nullptr;
  }
}

bool may_go(const Object& o) {
  if (!array_at(o, "metadata.finalizers").empty()) return false;
  if (kind_of(o) == "Namespace" && api_version_of(o) == "v1") return array_at(o, "spec.finalizers").empty();
  if (kind_of(o) == "Pod" && api_version_of(o) == "v1") return int_at(o, "metadata.deletionGracePeriodSeconds") == 0;
  return true;
}

}  // namespace mr::kube
