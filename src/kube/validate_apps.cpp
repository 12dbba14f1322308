#include <boost/json/array.hpp>

#include "kube/admission_rules.h"
#include "kube/names.h"
#include "text/text.h"

namespace mr::kube {

namespace {

constexpr std::string_view no_match = "`selector` does not match template `labels`";

bool selector_is_sound(const Object& s) {
  FieldErrors faults;
  check_selector(faults, s, "");
  return faults.empty();
}

// The selector and the labels that it must find on the template's pods.
void check_own_selector(FieldErrors& e, const Object& spec, std::string_view word) {
  const auto* selector = child(spec, "selector");
  const auto& labels = object_at(spec, "template.metadata.labels");
  const bool present = selector != nullptr;
  if (!present) {
    e.push_back(required("spec.selector"));
  } else {
    check_selector(e, *selector, "spec.selector");
    if (object_at(*selector, "matchLabels").empty() && array_at(*selector, "matchExpressions").empty()) {
      e.push_back(
          invalid_raw("spec.selector", go_selector(*selector), fmt::format("empty selector is invalid for {}", word)));
      return;
    }
    if (!selector_is_sound(*selector)) {
      e.push_back(invalid_raw("spec.selector", go_selector(*selector), "invalid label selector"));
      return;
    }
  }
  if (!present || !matches_selector(*selector, labels))
    e.push_back(invalid_raw("spec.template.metadata.labels", go_map(labels), no_match));
}

void check_template(FieldErrors& e, const Object& spec, std::string_view word) {
  const auto& t = object_at(spec, "template");
  validate_pod_template(e, t, "spec.template");
  if (auto policy = text_at(t, "spec.restartPolicy"); policy == "OnFailure" || policy == "Never")
    e.push_back(not_supported("spec.template.spec.restartPolicy", Value(policy), {"Always"}));
  if (const auto* v = at(t, "spec.activeDeadlineSeconds"); v != nullptr && !v->is_null())
    e.push_back(forbidden("spec.template.spec.activeDeadlineSeconds",
                          fmt::format("activeDeadlineSeconds in {} is not Supported", word)));
}

void check_selector_kept(FieldErrors& e, const Object& o, const Object* before) {
  if (before == nullptr) return;
  const auto& now = object_at(o, "spec.selector");
  if (!same(Value(now), Value(object_at(*before, "spec.selector"))))
    e.push_back(invalid_raw("spec.selector", go_selector(now), "field is immutable"));
}

void check_int_or_percent(FieldErrors& e, const Value* v, const std::string& path, bool at_most_all) {
  if (v == nullptr) return;
  if (const auto* s = v->if_string()) {
    std::string_view t = *s;
    auto n = t.ends_with('%') ? text::to_u64(t.substr(0, t.size() - 1)) : std::nullopt;
    if (!n)
      e.push_back(
          invalid_raw(path, go_int_or_string(*v),
                      "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or "
                      "'93%', regex used for validation is '[0-9]+%')"));
    else if (at_most_all && *n > 100)
      e.push_back(invalid_raw(path, go_int_or_string(*v), "must not be greater than 100%"));
  } else if (v->is_int64() && v->get_int64() < 0) {
    e.push_back(invalid(path, *v, "must be greater than or equal to 0"));
  }
}

bool zero(const Value* v) { return v != nullptr && ((v->is_int64() && v->get_int64() == 0) || *v == "0%"); }

void check_strategy(FieldErrors& e, const Object& spec) {
  const auto& s = object_at(spec, "strategy");
  auto type = text_at(s, "type");
  const auto* rolling = child(s, "rollingUpdate");
  if (type == "Recreate") {
    if (rolling != nullptr)
      e.push_back(forbidden("spec.strategy.rollingUpdate", "may not be specified when strategy `type` is 'Recreate'"));
    return;
  }
  if (type != "RollingUpdate") {
    e.push_back({"FieldValueNotSupported", "spec.strategy",
                 fmt::format("Unsupported value: apps.DeploymentStrategy{{Type:{}, "
                             "RollingUpdate:(*apps.RollingUpdateDeployment)({})}}: supported values: \"Recreate\", "
                             "\"RollingUpdate\"",
                             in_quotes(type), rolling == nullptr ? "nil" : "0xc000000000")});
    return;
  }
  if (rolling == nullptr) {
    e.push_back(required("spec.strategy.rollingUpdate", "this should be defaulted and never be nil"));
    return;
  }
  const auto* surge = rolling->if_contains("maxSurge");
  const auto* gone = rolling->if_contains("maxUnavailable");
  check_int_or_percent(e, gone, "spec.strategy.rollingUpdate.maxUnavailable", true);
  check_int_or_percent(e, surge, "spec.strategy.rollingUpdate.maxSurge", false);
  if (zero(surge) && zero(gone))
    e.push_back(invalid_raw("spec.strategy.rollingUpdate.maxUnavailable", go_int_or_string(*gone),
                            "may not be 0 when `maxSurge` is 0"));
}

void check_deployment(FieldErrors& e, const Object& o) {
  const auto& spec = object_at(o, "spec");
  check_non_negative(e, spec, "spec", "replicas");
  check_own_selector(e, spec, "deployment");
  check_template(e, spec, "ReplicaSet");
  check_strategy(e, spec);
  check_non_negative(e, spec, "spec", "minReadySeconds");
  check_non_negative(e, spec, "spec", "revisionHistoryLimit");
  check_non_negative(e, spec, "spec", "progressDeadlineSeconds");
  if (const auto* d = spec.if_contains("progressDeadlineSeconds"); d != nullptr && d->is_number())
    if (int_at(spec, "progressDeadlineSeconds") <= int_at(spec, "minReadySeconds"))
      e.push_back(invalid("spec.progressDeadlineSeconds", *d, "must be greater than minReadySeconds"));
}

void check_stateful_set(FieldErrors& e, const Object& o, const Object* before) {
  const auto& spec = object_at(o, "spec");
  auto policy = text_at(spec, "podManagementPolicy");
  if (policy.empty())
    e.push_back(required("spec.podManagementPolicy"));
  else if (policy != "OrderedReady" && policy != "Parallel")
    e.push_back(invalid("spec.podManagementPolicy", Value(policy), "must be 'OrderedReady' or 'Parallel'"));
  auto type = text_at(spec, "updateStrategy.type");
  const auto* rolling = at(spec, "updateStrategy.rollingUpdate");
  if (type == "OnDelete") {
    if (rolling != nullptr && rolling->is_object())
      e.push_back(invalid_raw(
          "spec.updateStrategy.rollingUpdate",
          fmt::format(
              "apps.RollingUpdateStatefulSetStrategy{{Partition:{}, MaxUnavailable:(*intstr.IntOrString)(nil)}}",
              int_at(rolling->get_object(), "partition")),
          "only allowed for updateStrategy 'RollingUpdate'"));
  } else if (type == "RollingUpdate") {
    if (rolling != nullptr && rolling->is_object())
      check_non_negative(e, rolling->get_object(), "spec.updateStrategy.rollingUpdate", "partition");
  } else {
    e.push_back(invalid("spec.updateStrategy", Value(object_at(spec, "updateStrategy")),
                        "must be 'RollingUpdate' or 'OnDelete'"));
  }
  for (std::string_view when : {"whenDeleted", "whenScaled"})
    check_one_of(e, sub("spec.persistentVolumeClaimRetentionPolicy", when),
                 Value(text_at(object_at(spec, "persistentVolumeClaimRetentionPolicy"), when)), {"Retain", "Delete"});
  check_non_negative(e, spec, "spec", "replicas");
  check_non_negative(e, spec, "spec", "minReadySeconds");
  if (const auto* ordinals = child(spec, "ordinals")) check_non_negative(e, *ordinals, "spec.ordinals", "start");
  check_own_selector(e, spec, "statefulset");
  // A claim template's volume is there for the containers to mount.
  Object whole = spec;
  auto& pod = ensure(whole, "template.spec");
  for (const auto& claim : array_at(spec, "volumeClaimTemplates"))
    if (claim.is_object()) {
      auto name = std::string(name_of(claim.get_object()));
      auto& volumes = pod["volumes"];
      if (!volumes.is_array()) volumes.emplace_array();
      if (std::ranges::none_of(volumes.get_array(), [&](const Value& v) {
            return v.is_object() && text_at(v.get_object(), "name") == name;
          }))
        volumes.get_array().push_back(Object{{"name", name}, {"emptyDir", Object{}}});
    }
  check_template(e, whole, "StatefulSet");
  if (before == nullptr) return;
  auto frozen = [](const Object& from) {
    Object s = object_at(from, "spec");
    for (auto key : {"replicas", "ordinals", "template", "updateStrategy", "persistentVolumeClaimRetentionPolicy",
                     "minReadySeconds"})
      s.erase(key);
    return s;
  };
  if (!same(Value(frozen(o)), Value(frozen(*before))))
    e.push_back(forbidden("spec",
                          "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
                          "'updateStrategy', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are "
                          "forbidden"));
}

}  // namespace

void validate_apps(FieldErrors& e, std::string_view kind, const Object& o, const Object* before) {
  const auto& spec = object_at(o, "spec");
  if (kind == "Deployment") {
    check_deployment(e, o);
    check_selector_kept(e, o, before);
  } else if (kind == "ReplicaSet") {
    check_non_negative(e, spec, "spec", "replicas");
    check_non_negative(e, spec, "spec", "minReadySeconds");
    check_own_selector(e, spec, "deployment");
    check_template(e, spec, "ReplicaSet");
    check_selector_kept(e, o, before);
  } else if (kind == "StatefulSet") {
    check_stateful_set(e, o, before);
  } else if (kind == "DaemonSet") {
    check_own_selector(e, spec, "daemonset");
    check_template(e, spec, "DaemonSet");
    check_non_negative(e, spec, "spec", "minReadySeconds");
    check_non_negative(e, spec, "spec", "revisionHistoryLimit");
    check_selector_kept(e, o, before);
  }
}

}  // namespace mr::kube
