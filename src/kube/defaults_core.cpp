// Defaults of pods and of the other kinds of the core group.
#include <boost/json/array.hpp>

#include "kube/admission_rules.h"
#include "text/text.h"

namespace mr::kube {

void fallback(Object& o, std::string_view key, Value v) {
  auto& there = o[key];
  if (there.is_null()) there = std::move(v);
}

Object* child(Object& o, std::string_view key) {
  auto* v = o.if_contains(key);
  return v == nullptr ? nullptr : v->if_object();
}
const Object* child(const Object& o, std::string_view key) {
  const auto* v = o.if_contains(key);
  return v == nullptr ? nullptr : v->if_object();
}

namespace {

// "Always" for what has no tag or the tag latest.
std::string_view pull_policy(std::string_view image) {
  if (image.find('@') != std::string_view::npos) return "IfNotPresent";
  auto last = image.substr(image.rfind('/') + 1);  // a registry's port is no tag
  auto colon = last.find(':');
  return colon == std::string_view::npos || last.substr(colon + 1) == "latest" ? "Always" : "IfNotPresent";
}

void defaults_handler(Object& h) {
  if (auto* get = child(h, "httpGet")) {
    if (text_at(*get, "path").empty()) (*get)["path"] = "/";
    if (text_at(*get, "scheme").empty()) (*get)["scheme"] = "HTTP";
  }
  if (auto* grpc = child(h, "grpc")) fallback(*grpc, "service", "");
}

void defaults_probe(Object& c, std::string_view key) {
  auto* p = child(c, key);
  if (p == nullptr) return;
  defaults_handler(*p);
  for (auto [name, n] : {std::pair{"timeoutSeconds", 1}, std::pair{"periodSeconds", 10},
                         std::pair{"successThreshold", 1}, std::pair{"failureThreshold", 3}})
    if (int_at(*p, name) == 0) (*p)[name] = n;
}

void defaults_field_ref(Object& o) {
  if (auto* ref = child(o, "fieldRef"))
    if (text_at(*ref, "apiVersion").empty()) (*ref)["apiVersion"] = "v1";
  if (auto* ref = child(o, "resourceFieldRef")) fallback(*ref, "divisor", "0");
}

// What the real server leaves out when it is false.
void drop_false(Object& o, std::string_view key) {
  if (auto it = o.find(key); it != o.end() && it->value() == false) o.stable_erase(it);
}

void defaults_container(Object& c) {
  if (text_at(c, "imagePullPolicy").empty()) c["imagePullPolicy"] = pull_policy(text_at(c, "image"));
  if (text_at(c, "terminationMessagePath").empty()) c["terminationMessagePath"] = "/dev/termination-log";
  if (text_at(c, "terminationMessagePolicy").empty()) c["terminationMessagePolicy"] = "File";
  fallback(c, "resources", Object{});
  for (auto key : {"stdin", "stdinOnce", "tty"}) drop_false(c, key);
  each(c, "volumeMounts", [](Object& m) { drop_false(m, "readOnly"); });
  each(c, "ports", [](Object& p) {
    if (text_at(p, "protocol").empty()) p["protocol"] = "TCP";
  });
  each(c, "env", [](Object& e) {
    if (auto* from = child(e, "valueFrom")) defaults_field_ref(*from);
  });
  for (auto probe : {"livenessProbe", "readinessProbe", "startupProbe"}) defaults_probe(c, probe);
  if (auto* cycle = child(c, "lifecycle"))
    for (auto hook : {"postStart", "preStop"})
      if (auto* h = child(*cycle, hook)) defaults_handler(*h);
}

void defaults_volume(Object& v) {
  static constexpr std::string_view not_sources[] = {"name"};
  bool has = false;
  for (const auto& m : v)
    if (std::ranges::find(not_sources, std::string_view(m.key())) == std::end(not_sources) && !m.value().is_null())
      has = true;
  if (!has) v["emptyDir"].emplace_object();
  for (auto kind : {"secret", "configMap", "projected", "downwardAPI"})
    if (auto* s = child(v, kind)) fallback(*s, "defaultMode", 420);
  if (auto* down = child(v, "downwardAPI")) each(*down, "items", defaults_field_ref);
  if (auto* projected = child(v, "projected"))
    each(*projected, "sources", [](Object& s) {
      if (auto* token = child(s, "serviceAccountToken")) fallback(*token, "expirationSeconds", 3600);
      if (auto* down = child(s, "downwardAPI")) each(*down, "items", defaults_field_ref);
    });
  if (auto* host = child(v, "hostPath")) fallback(*host, "type", "");
  if (auto* ephemeral = child(v, "ephemeral"))
    if (auto* claim = child(*ephemeral, "volumeClaimTemplate"))
      if (auto* spec = child(*claim, "spec")) fallback(*spec, "volumeMode", "Filesystem");
}

// What a pod tolerates unless it says otherwise.
void defaults_tolerations(Object& spec) {
  auto& list = spec["tolerations"];
  if (!list.is_array()) list.emplace_array();
  for (std::string_view key : {"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"}) {
    bool has = false;
    for (const auto& v : list.get_array()) {
      if (!v.is_object()) continue;
      const auto& t = v.get_object();
      auto effect = text_at(t, "effect");
      if ((text_at(t, "key") == key || text_at(t, "key").empty()) && (effect.empty() || effect == "NoExecute"))
        has = true;
    }
    if (!has)
      list.get_array().push_back(
          Object{{"key", key}, {"operator", "Exists"}, {"effect", "NoExecute"}, {"tolerationSeconds", 300}});
  }
}

// How a pod fares when memory is short, by what its containers ask for and may have.
std::string_view quality_of(const Object& spec) {
  bool any = false, all = true;
  for (auto list : {"containers", "initContainers"})
    for (const auto& c : array_at(spec, list)) {
      if (!c.is_object()) continue;
      const auto& limits = object_at(c.get_object(), "resources.limits");
      const auto& requests = object_at(c.get_object(), "resources.requests");
      for (auto name : {"cpu", "memory"}) {
        const auto* most = limits.if_contains(name);
        const auto* least = requests.if_contains(name);
        any |= most != nullptr || least != nullptr;
        all &= most != nullptr && least != nullptr && same(*most, *least);
      }
    }
  return !any ? "BestEffort" : all ? "Guaranteed" : "Burstable";
}

void defaults_pod(Object& o) {
  auto& spec = ensure(o, "spec");
  fallback(spec, "enableServiceLinks", true);
  for (auto list : {"containers", "initContainers"})
    each(spec, list, [](Object& c) {
      auto* resources = child(c, "resources");
      auto* limits = resources == nullptr ? nullptr : child(*resources, "limits");
      if (limits == nullptr) return;
      auto& requests = ensure(*resources, "requests");
      for (const auto& m : *limits)
        if (!requests.contains(m.key())) requests[m.key()] = m.value();
    });
  defaults_pod_spec(spec);
  if (int_at(spec, "terminationGracePeriodSeconds") < 0) spec["terminationGracePeriodSeconds"] = 1;
  if (text_at(spec, "serviceAccountName").empty()) {
    auto old = std::string(text_at(spec, "serviceAccount"));
    spec["serviceAccountName"] = old.empty() ? "default" : old;
  }
  spec["serviceAccount"] = spec["serviceAccountName"];
  fallback(spec, "preemptionPolicy", "PreemptLowerPriority");
  fallback(spec, "priority", 0);
  defaults_tolerations(spec);
  Value quality(quality_of(spec));  // before the object grows: `spec` may move
  auto& status = ensure(o, "status");
  fallback(status, "phase", "Pending");
  fallback(status, "qosClass", std::move(quality));
}

void defaults_service(Object& o) {
  auto& spec = ensure(o, "spec");
  if (text_at(spec, "sessionAffinity").empty()) spec["sessionAffinity"] = "None";
  if (text_at(spec, "type").empty()) spec["type"] = "ClusterIP";
  auto type = std::string(text_at(spec, "type"));
  if (text_at(spec, "sessionAffinity") == "ClientIP")
    fallback(ensure(spec, "sessionAffinityConfig.clientIP"), "timeoutSeconds", 10800);
  each(spec, "ports", [](Object& p) {
    if (text_at(p, "protocol").empty()) p["protocol"] = "TCP";
    const auto* target = p.if_contains("targetPort");
    bool unset = target == nullptr || target->is_null() || (target->is_number() && int_at(p, "targetPort") == 0) ||
                 (target->is_string() && target->get_string().empty());
    if (unset && p.contains("port")) p["targetPort"] = p["port"];
  });
  if (type == "NodePort" || type == "LoadBalancer") fallback(spec, "externalTrafficPolicy", "Cluster");
  if (type == "LoadBalancer") fallback(spec, "allocateLoadBalancerNodePorts", true);
  if (!bool_at(spec, "publishNotReadyAddresses")) spec.erase("publishNotReadyAddresses");
  if (type == "ExternalName") {
    for (auto key : {"internalTrafficPolicy", "ipFamilies", "ipFamilyPolicy"}) spec.erase(key);
  } else {
    // A headless Service without a selector may have addresses of both families.
    const bool both = text_at(spec, "clusterIP") == "None" && object_at(spec, "selector").empty();
    fallback(spec, "internalTrafficPolicy", "Cluster");
    fallback(spec, "ipFamilies", both ? Array{"IPv4", "IPv6"} : Array{"IPv4"});
    fallback(spec, "ipFamilyPolicy", both ? "RequireDualStack" : "SingleStack");
  }
  auto& status = o["status"];
  if (status.is_null()) status = Object{{"loadBalancer", Object{}}};
}

// stringData becomes data, and wins over it.
void defaults_secret(Object& o) {
  if (auto* plain = child(o, "stringData")) {
    auto texts = *plain;
    auto& data = ensure(o, "data");
    for (const auto& m : texts)
      if (m.value().is_string()) data[m.key()] = text::base64_encode(std::string_view(m.value().get_string()));
    o.erase("stringData");
  }
  if (text_at(o, "type").empty()) o["type"] = "Opaque";
}

void defaults_namespace(Object& o) {
  auto name = std::string(name_of(o));
  if (!name.empty()) {
    auto& labels = ensure(metadata(o), "labels");
    labels["kubernetes.io/metadata.name"] = name;
  }
  if (!deleting(o)) {
    fallback(ensure(o, "spec"), "finalizers", Array{"kubernetes"});
    fallback(ensure(o, "status"), "phase", "Active");
  }
}

}  // namespace

void defaults_pod_spec(Object& spec) {
  const bool host_network = bool_at(spec, "hostNetwork");
  for (auto list : {"initContainers", "containers", "ephemeralContainers"})
    each(spec, list, [&](Object& c) {
      defaults_container(c);
      if (host_network)
        each(c, "ports", [](Object& p) {
          if (int_at(p, "hostPort") == 0 && p.contains("containerPort")) p["hostPort"] = p["containerPort"];
        });
    });
  for (auto [key, text] : {std::pair{"restartPolicy", "Always"}, std::pair{"dnsPolicy", "ClusterFirst"},
                           std::pair{"schedulerName", "default-scheduler"}})
    if (text_at(spec, key).empty()) spec[key] = text;
  fallback(spec, "terminationGracePeriodSeconds", 30);
  fallback(spec, "securityContext", Object{});
  if (auto account = text_at(spec, "serviceAccountName"); !account.empty())
    spec["serviceAccount"] = std::string(account);
  else if (auto old = text_at(spec, "serviceAccount"); !old.empty())
    spec["serviceAccountName"] = std::string(old);
  for (auto key : {"hostNetwork", "hostPID", "hostIPC"}) drop_false(spec, key);
  each(spec, "volumes", defaults_volume);
}

void defaults_pod_template(Object& owner, std::string_view key) {
  auto& t = owner[key];
  if (t.is_null()) t.emplace_object();
  if (!t.is_object()) return;
  // The real server shows this member of a template, always.
  fallback(ensure(t.get_object(), "metadata"), "creationTimestamp", nullptr);
  defaults_pod_spec(ensure(t.get_object(), "spec"));
}

void defaults_core(std::string_view kind, Object& o) {
  if (kind == "Pod") {
    defaults_pod(o);
  } else if (kind == "PodTemplate") {
    defaults_pod_template(o);
  } else if (kind == "ReplicationController") {
    auto& spec = ensure(o, "spec");
    fallback(spec, "replicas", 1);
    defaults_pod_template(spec);
  } else if (kind == "Service") {
    defaults_service(o);
  } else if (kind == "Secret") {
    defaults_secret(o);
  } else if (kind == "Namespace") {
    defaults_namespace(o);
  } else if (kind == "PersistentVolumeClaim") {
    fallback(ensure(o, "spec"), "volumeMode", "Filesystem");
    fallback(ensure(o, "status"), "phase", "Pending");
  } else if (kind == "PersistentVolume") {
    auto& spec = ensure(o, "spec");
    fallback(spec, "volumeMode", "Filesystem");
    fallback(spec, "persistentVolumeReclaimPolicy", "Retain");
    fallback(ensure(o, "status"), "phase", "Pending");
  } else if (kind == "Endpoints") {
    each(o, "subsets", [](Object& s) {
      each(s, "ports", [](Object& p) {
        if (text_at(p, "protocol").empty()) p["protocol"] = "TCP";
      });
    });
  } else if (kind == "Event") {
    fallback(o, "source", Object{});
    for (auto key : {"firstTimestamp", "lastTimestamp", "eventTime"}) fallback(o, key, nullptr);
    for (auto key : {"reportingComponent", "reportingInstance"}) fallback(o, key, "");
  } else if (kind == "LimitRange") {
    if (auto* spec = child(o, "spec"))
      each(*spec, "limits", [](Object& l) {
        if (text_at(l, "type") != "Container") return;
        if (auto* max = child(l, "max"))
          for (const auto& m : *max) fallback(ensure(l, "default"), m.key(), m.value());
        if (auto* limit = child(l, "default"))
          for (const auto& m : *limit) fallback(ensure(l, "defaultRequest"), m.key(), m.value());
        if (auto* min = child(l, "min"))
          for (const auto& m : *min) fallback(ensure(l, "defaultRequest"), m.key(), m.value());
      });
  }
}

}  // namespace mr::kube
