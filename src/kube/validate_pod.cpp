// Checks of pods: the specification but for its containers and volumes, and what an update may change.
#include <boost/json/array.hpp>

#include "kube/admission_rules.h"
#include "kube/names.h"
#include "kube/validate_parts.h"
#include "text/text.h"

namespace mr::kube {

namespace {

constexpr std::int64_t max_int32 = 2147483647;

void check_id(FieldErrors& e, const Object& o, const std::string& path, std::string_view key) {
  const auto* v = o.if_contains(key);
  if (v != nullptr && v->is_number() && (int_at(o, key) < 0 || int_at(o, key) > max_int32))
    e.push_back(invalid(sub(path, key), *v, "must be between 0 and 2147483647, inclusive"));
}

bool sysctl_name(std::string_view s) {
  if (s.empty() || s.size() > 253) return false;
  for (char c : s)
    if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
          std::string_view("-_./").find(c) != std::string_view::npos))
      return false;
  auto edge = [](char c) { return std::string_view("-_./").find(c) == std::string_view::npos; };
  return edge(s.front()) && edge(s.back());
}

void check_security(FieldErrors& e, const Object& c, const std::string& path) {
  for (auto key : {"fsGroup", "runAsUser", "runAsGroup"}) check_id(e, c, path, key);
  const auto& groups = array_at(c, "supplementalGroups");
  for (std::size_t i = 0; i < groups.size(); ++i)
    if (groups[i].is_int64() && (groups[i].get_int64() < 0 || groups[i].get_int64() > max_int32))
      e.push_back(
          invalid(item(sub(path, "supplementalGroups"), i), groups[i], "must be between 0 and 2147483647, inclusive"));
  const auto& sysctls = array_at(c, "sysctls");
  for (std::size_t i = 0; i < sysctls.size(); ++i) {
    if (!sysctls[i].is_object()) continue;
    auto name = text_at(sysctls[i].get_object(), "name");
    auto here = sub(item(sub(path, "sysctls"), i), "name");
    if (name.empty())
      e.push_back(required(here));
    else if (!sysctl_name(name))
      e.push_back(invalid(here, Value(name),
                          "must have at most 253 characters and match regex "
                          "^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$"));
  }
}

void check_tolerations(FieldErrors& e, const Array& list, const std::string& path) {
  for (std::size_t i = 0; i < list.size(); ++i) {
    if (!list[i].is_object()) continue;
    const auto& t = list[i].get_object();
    auto here = item(path, i);
    auto key = text_at(t, "key"), op = text_at(t, "operator"), value = text_at(t, "value"),
         effect = text_at(t, "effect");
    if (!key.empty()) invalid_all(e, sub(here, "key"), Value(key), qualified_name(key));
    if (key.empty() && op != "Exists")
      e.push_back(
          invalid(sub(here, "operator"), Value(op),
                  "operator must be Exists when `key` is empty, which means \"match all values and all keys\""));
    if (t.contains("tolerationSeconds") && effect != "NoExecute")
      e.push_back(
          invalid(sub(here, "effect"), Value(effect), "effect must be 'NoExecute' when `tolerationSeconds` is set"));
    if (op.empty() || op == "Equal") {
      if (auto f = label_value(value); !f.empty())
        e.push_back(invalid(sub(here, "operator"), Value(value), join(f, ";")));
    } else if (op == "Exists") {
      if (!value.empty())
        e.push_back(invalid(sub(here, "operator"), Value(value), "value must be empty when `operator` is 'Exists'"));
    } else {
      e.push_back(not_supported(sub(here, "operator"), Value(op), {"Equal", "Exists"}));
    }
    if (!effect.empty())
      check_one_of(e, sub(here, "effect"), Value(effect), {"NoSchedule", "PreferNoSchedule", "NoExecute"});
  }
}

void check_node_terms(FieldErrors& e, const Array& terms, const std::string& path) {
  if (terms.empty()) e.push_back(required(path, "must have at least one node selector term"));
  for (std::size_t i = 0; i < terms.size(); ++i) {
    if (!terms[i].is_object()) continue;
    const auto& expressions = array_at(terms[i].get_object(), "matchExpressions");
    for (std::size_t j = 0; j < expressions.size(); ++j) {
      if (!expressions[j].is_object()) continue;
      const auto& x = expressions[j].get_object();
      auto here = item(sub(item(path, i), "matchExpressions"), j);
      auto op = text_at(x, "operator");
      auto count = array_at(x, "values").size();
      if (op == "In" || op == "NotIn") {
        if (count == 0)
          e.push_back(required(sub(here, "values"), "must be specified when `operator` is 'In' or 'NotIn'"));
      } else if (op == "Exists" || op == "DoesNotExist") {
        if (count > 0)
          e.push_back(
              forbidden(sub(here, "values"), "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"));
      } else if (op == "Gt" || op == "Lt") {
        if (count != 1)
          e.push_back(required(sub(here, "values"), "must be specified single value when `operator` is 'Lt' or 'Gt'"));
      } else {
        e.push_back(invalid(sub(here, "operator"), Value(op), "not a valid selector operator"));
      }
      invalid_all(e, sub(here, "key"), Value(text_at(x, "key")), qualified_name(text_at(x, "key")));
    }
  }
}

void check_topology_key(FieldErrors& e, std::string_view key, const std::string& path) {
  if (key.empty()) e.push_back(required(path, "can not be empty"));
  invalid_all(e, path, Value(key), qualified_name(key));
}

void check_pod_terms(FieldErrors& e, const Object& affinity, const std::string& path) {
  auto term = [&](const Object& t, const std::string& here) {
    if (const auto* s = child(t, "labelSelector")) check_selector(e, *s, sub(here, "labelSelector"));
    check_topology_key(e, text_at(t, "topologyKey"), sub(here, "topologyKey"));
  };
  constexpr std::string_view hard = "requiredDuringSchedulingIgnoredDuringExecution";
  constexpr std::string_view soft = "preferredDuringSchedulingIgnoredDuringExecution";
  const auto& needed = array_at(affinity, hard);
  for (std::size_t i = 0; i < needed.size(); ++i)
    if (needed[i].is_object()) term(needed[i].get_object(), item(sub(path, hard), i));
  const auto& wished = array_at(affinity, soft);
  for (std::size_t i = 0; i < wished.size(); ++i) {
    if (!wished[i].is_object()) continue;
    const auto& w = wished[i].get_object();
    auto here = item(sub(path, soft), i);
    if (auto weight = int_at(w, "weight"); weight < 1 || weight > 100)
      e.push_back(invalid(sub(here, "weight"), Value(weight), "must be in the range 1-100"));
    term(object_at(w, "podAffinityTerm"), sub(here, "podAffinityTerm"));
  }
}

void check_affinity(FieldErrors& e, const Object& a, const std::string& path) {
  constexpr std::string_view hard = "requiredDuringSchedulingIgnoredDuringExecution";
  if (const auto* node = child(a, "nodeAffinity"))
    if (const auto* needed = child(*node, hard))
      check_node_terms(e, array_at(*needed, "nodeSelectorTerms"),
                       fmt::format("{}.nodeAffinity.{}.nodeSelectorTerms", path, hard));
  for (auto key : {"podAffinity", "podAntiAffinity"})
    if (const auto* p = child(a, key)) check_pod_terms(e, *p, sub(path, key));
}

void check_spread(FieldErrors& e, const Array& list, const std::string& path) {
  for (std::size_t i = 0; i < list.size(); ++i) {
    if (!list[i].is_object()) continue;
    const auto& c = list[i].get_object();
    auto here = item(path, i);
    if (auto skew = int_at(c, "maxSkew"); skew <= 0)
      e.push_back(invalid(sub(here, "maxSkew"), Value(skew), "must be greater than zero"));
    if (text_at(c, "topologyKey").empty()) e.push_back(required(sub(here, "topologyKey"), "can not be empty"));
    check_one_of(e, sub(here, "whenUnsatisfiable"), Value(text_at(c, "whenUnsatisfiable")),
                 {"DoNotSchedule", "ScheduleAnyway"});
  }
}

void check_host_aliases(FieldErrors& e, const Array& list, const std::string& path) {
  for (std::size_t i = 0; i < list.size(); ++i) {
    if (!list[i].is_object()) continue;
    const auto& a = list[i].get_object();
    auto here = item(path, i);
    if (auto ip = text_at(a, "ip"); !is_ip(ip))
      e.push_back(invalid(sub(here, "ip"), Value(ip), "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"));
    const auto& names = array_at(a, "hostnames");
    for (std::size_t j = 0; j < names.size(); ++j)
      if (names[j].is_string())
        invalid_all(e, item(sub(here, "hostnames"), j), names[j],
                    dns_subdomain(std::string_view(names[j].get_string())));
  }
}

// What an update of a pod may change is taken over into `next`; the rest must be equal.
Object with_mutable_parts(const Object& next, const Object& before) {
  Object munged = before;
  for (std::string_view list : {"containers", "initContainers"}) {
    auto* into = munged.if_contains(list);
    const auto& from = array_at(next, list);
    if (into == nullptr || !into->is_array() || into->get_array().size() != from.size()) continue;
    for (std::size_t i = 0; i < from.size(); ++i)
      if (from[i].is_object() && into->get_array()[i].is_object())
        if (const auto* image = from[i].get_object().if_contains("image"))
          into->get_array()[i].get_object()["image"] = *image;
  }
  for (std::string_view key : {"activeDeadlineSeconds", "tolerations", "ephemeralContainers"}) {
    if (const auto* v = next.if_contains(key))
      munged[key] = *v;
    else
      munged.erase(key);
  }
  if (int_at(before, "terminationGracePeriodSeconds") < 0 && int_at(next, "terminationGracePeriodSeconds") == 1)
    munged["terminationGracePeriodSeconds"] = 1;
  if (array_at(next, "schedulingGates").size() < array_at(before, "schedulingGates").size()) {
    if (const auto* v = next.if_contains("schedulingGates"))
      munged["schedulingGates"] = *v;
    else
      munged.erase("schedulingGates");
  }
  return munged;
}

void validate_pod_update(FieldErrors& e, const Object& next, const Object& before) {
  for (std::string_view list : {"containers", "initContainers"})
    if (array_at(next, list).size() != array_at(before, list).size()) {
      e.push_back(forbidden(sub("spec", list), "pod updates may not add or remove containers"));
      return;
    }
  const auto* was = before.if_contains("activeDeadlineSeconds");
  const auto* is = next.if_contains("activeDeadlineSeconds");
  if (was != nullptr && was->is_number()) {
    if (is == nullptr || is->is_null())
      e.push_back(
          invalid("spec.activeDeadlineSeconds", Value(), "must not update from a positive integer to nil value"));
    else if (int_at(next, "activeDeadlineSeconds") > int_at(before, "activeDeadlineSeconds"))
      e.push_back(invalid("spec.activeDeadlineSeconds", *is, "must be less than or equal to previous value"));
  }
  const auto& now = array_at(next, "tolerations");
  for (const auto& t : array_at(before, "tolerations"))
    if (std::ranges::none_of(now, [&](const Value& v) { return same(v, t); })) {
      e.push_back(
          forbidden("spec.tolerations", "existing toleration can not be modified except its tolerationSeconds"));
      break;
    }
  if (!e.empty()) return;
  if (!same(Value(with_mutable_parts(next, before)), Value(next)))
    e.push_back(forbidden(
        "spec",
        "pod updates may not change fields other than "
        "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` "
        "(only "
        "additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was "
        "previously negative)"));
}

}  // namespace

void validate_pod_spec(FieldErrors& e, const Object& spec, const std::string& path) {
  auto volumes = check_volumes(e, array_at(spec, "volumes"), sub(path, "volumes"));
  check_containers(e, spec, path, volumes);
  check_one_of(e, sub(path, "restartPolicy"), Value(text_at(spec, "restartPolicy")), {"Always", "OnFailure", "Never"});
  check_one_of(e, sub(path, "dnsPolicy"), Value(text_at(spec, "dnsPolicy")),
               {"ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"});
  if (text_at(spec, "dnsPolicy") == "None") {
    if (child(spec, "dnsConfig") == nullptr)
      e.push_back(required(sub(path, "dnsConfig"), "must provide `dnsConfig` when `dnsPolicy` is None"));
    else if (array_at(spec, "dnsConfig.nameservers").empty())
      e.push_back(required(sub(path, "dnsConfig.nameservers"),
                           "must provide at least one DNS nameserver when `dnsPolicy` is None"));
  }
  check_labels(e, object_at(spec, "nodeSelector"), sub(path, "nodeSelector"));
  if (const auto* c = child(spec, "securityContext")) check_security(e, *c, sub(path, "securityContext"));
  if (const auto* a = child(spec, "affinity")) check_affinity(e, *a, sub(path, "affinity"));
  const auto& gates = array_at(spec, "schedulingGates");
  for (std::size_t i = 0; i < gates.size(); ++i)
    if (gates[i].is_object())
      invalid_all(e, item(sub(path, "schedulingGates"), i), Value(text_at(gates[i].get_object(), "name")),
                  qualified_name(text_at(gates[i].get_object(), "name")));
  check_spread(e, array_at(spec, "topologySpreadConstraints"), sub(path, "topologySpreadConstraints"));
  for (std::string_view key : {"serviceAccountName", "nodeName", "priorityClassName", "runtimeClassName"})
    if (auto v = text_at(spec, key); !v.empty()) invalid_all(e, sub(path, key), Value(v), dns_subdomain(v));
  if (const auto* v = spec.if_contains("activeDeadlineSeconds"); v != nullptr && v->is_number()) {
    auto n = int_at(spec, "activeDeadlineSeconds");
    if (n < 1 || n > max_int32)
      e.push_back(invalid(sub(path, "activeDeadlineSeconds"), *v, "must be between 1 and 2147483647, inclusive"));
  }
  for (std::string_view key : {"hostname", "subdomain"})
    if (auto v = text_at(spec, key); !v.empty()) {
      if (v.find('.') != std::string_view::npos)
        e.push_back(invalid(sub(path, key), Value(v), "must not contain dots"));
      else
        invalid_all(e, sub(path, key), Value(v), dns_label(v));
    }
  check_tolerations(e, array_at(spec, "tolerations"), sub(path, "tolerations"));
  check_host_aliases(e, array_at(spec, "hostAliases"), sub(path, "hostAliases"));
  if (const auto* os = child(spec, "os")) {
    if (text_at(*os, "name").empty())
      e.push_back(required(sub(path, "os.name")));
    else
      check_one_of(e, sub(path, "os"), Value(text_at(*os, "name")), {"linux", "windows"});
  }
}

void validate_pod_template(FieldErrors& e, const Object& t, const std::string& path) {
  check_labels(e, object_at(t, "metadata.labels"), sub(path, "labels"));
  for (const auto& m : object_at(t, "metadata.annotations"))
    invalid_all(e, sub(path, "annotations"), Value(m.key()), qualified_name(text::lower(m.key())));
  validate_pod_spec(e, object_at(t, "spec"), sub(path, "spec"));
  if (!array_at(t, "spec.ephemeralContainers").empty())
    e.push_back(forbidden(sub(path, "spec.ephemeralContainers"), "ephemeral containers not allowed in pod template"));
}

void validate_pod(FieldErrors& e, const Object& o, const Object* before) {
  const auto& spec = object_at(o, "spec");
  validate_pod_spec(e, spec, "spec");
  if (before == nullptr) {
    if (!array_at(spec, "ephemeralContainers").empty())
      e.push_back(forbidden("spec.ephemeralContainers", "cannot be set on create"));
    return;
  }
  FieldErrors changes;
  validate_pod_update(changes, spec, object_at(*before, "spec"));
  e.insert(e.end(), changes.begin(), changes.end());
}

}  // namespace mr::kube
