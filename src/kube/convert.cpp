#include "kube/convert.h"

#include "json/parse.h"

namespace mr::kube {

namespace {

constexpr std::string_view kept_metrics = "autoscaling.alpha.kubernetes.io/metrics";
constexpr std::string_view kept_current = "autoscaling.alpha.kubernetes.io/current-metrics";
constexpr std::string_view kept_behavior = "autoscaling.alpha.kubernetes.io/behavior";
constexpr std::string_view kept_conditions = "autoscaling.alpha.kubernetes.io/conditions";

Object* child(Object& o, std::string_view name) {
  auto* v = o.if_contains(name);
  return v ? v->if_object() : nullptr;
}

// Use of the processor in percent of the request: the only metric of v1.
bool is_cpu_percent(const Value& m) {
  return m.is_object() && text_at(m.get_object(), "type") == "Resource" &&
         text_at(m.get_object(), "resource.name") == "cpu";
}

// Takes an annotation out of the object, as the document it holds.
Value take(Object& o, std::string_view name) {
  auto* annotations = child(metadata(o), "annotations");
  auto* v = annotations ? annotations->if_contains(name) : nullptr;
  if (!v) return nullptr;
  Value out;
  if (v->is_string())
    if (auto parsed = json::parse(v->get_string())) out = std::move(*parsed);
  annotations->erase(name);
  if (annotations->empty()) metadata(o).erase("annotations");
  return out;
}
void keep(Object& o, std::string_view name, const Value& v) {
  ensure(o, "metadata.annotations")[name] = json::serialize(v);
}

// The entries of a list in v2's form: the one that v1 has a field for, and the others.
void metrics_to_v1(Object& o, Object& part, std::string_view list, std::string_view percent_path,
                   std::string_view field, std::string_view annotation) {
  auto* all = part.if_contains(list);
  if (!all || !all->is_array()) return;
  Array others;
  bool taken = false;
  for (auto& m : all->get_array()) {
    const auto* percent = !taken && is_cpu_percent(m) ? at(m, percent_path) : nullptr;
    if (percent) {
      part[field] = *percent;
      taken = true;
    } else {
      others.push_back(std::move(m));
    }
  }
  part.erase(list);
  if (!others.empty()) keep(o, annotation, Value(std::move(others)));
}

void to_v1(Object& o) {
  if (auto* spec = child(o, "spec")) {
    metrics_to_v1(o, *spec, "metrics", "resource.target.averageUtilization", "targetCPUUtilizationPercentage",
                  kept_metrics);
    if (const auto* b = child(o, "spec")->if_contains("behavior")) {
      const Value behavior = *b;
      child(o, "spec")->erase("behavior");
      keep(o, kept_behavior, behavior);
    }
  }
  if (auto* status = child(o, "status")) {
    metrics_to_v1(o, *status, "currentMetrics", "resource.current.averageUtilization",
                  "currentCPUUtilizationPercentage", kept_current);
    if (const auto* c = child(o, "status")->if_contains("conditions")) {
      const Value conditions = *c;
      child(o, "status")->erase("conditions");
      keep(o, kept_conditions, conditions);
    }
  }
}

void metrics_to_v2(Object& o, std::string_view part, std::string_view list, std::string_view field,
                   std::string_view percent, std::string_view annotation) {
  auto others = take(o, annotation);
  auto* p = child(o, part);
  if (!p) return;
  Array all;
  if (const auto* v = p->if_contains(field); v && !v->is_null()) {
    Object measure{{"averageUtilization", *v}};
    if (percent == "target") measure["type"] = "Utilization";
    all.push_back(Object{{"type", "Resource"}, {"resource", Object{{"name", "cpu"}, {percent, std::move(measure)}}}});
  }
  p->erase(field);
  if (others.is_array())
    for (auto& m : others.get_array()) all.push_back(std::move(m));
  if (!all.empty()) (*p)[list] = std::move(all);
}

void to_v2(Object& o) {
  metrics_to_v2(o, "spec", "metrics", "targetCPUUtilizationPercentage", "target", kept_metrics);
  metrics_to_v2(o, "status", "currentMetrics", "currentCPUUtilizationPercentage", "current", kept_current);
  if (auto behavior = take(o, kept_behavior); behavior.is_object())
    if (auto* spec = child(o, "spec")) (*spec)["behavior"] = std::move(behavior);
  if (auto conditions = take(o, kept_conditions); conditions.is_array())
    if (auto* status = child(o, "status")) (*status)["conditions"] = std::move(conditions);
}

}  // namespace

void convert(const Kind& kind, std::string_view from, std::string_view to, Object& o) {
  o["apiVersion"] = kind.api_version(to);
  if (from == to || kind.crd || kind.group != "autoscaling") return;
  if (to == "v1")
    to_v1(o);
  else if (from == "v1")
    to_v2(o);
}

}  // namespace mr::kube
