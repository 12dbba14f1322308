// Cells of what makes pods: deployments, jobs, autoscalers and their kind.
#include "kube/table_cells.h"
#include "text/text.h"

namespace mr::kube::table {

namespace {

Value text(std::string_view s) { return Value(s); }

Value ready_of_wanted(const Object& o, std::int64_t) {
  return Value(fmt::format("{}/{}", int_at(o, "status.readyReplicas"), int_at(o, "spec.replicas")));
}
Value updated(const Object& o, std::int64_t) { return Value(int_at(o, "status.updatedReplicas")); }
Value available(const Object& o, std::int64_t) { return Value(int_at(o, "status.availableReplicas")); }

Value container_texts(const Object& o, std::string_view template_path, std::string_view field) {
  std::vector<std::string> parts;
  for (const auto& c : array_at(o, fmt::format("{}.spec.containers", template_path)))
    if (c.is_object()) parts.emplace_back(text_at(c.get_object(), field));
  return Value(joined(parts));
}
Value containers(const Object& o, std::int64_t) { return container_texts(o, "spec.template", "name"); }
Value images(const Object& o, std::int64_t) { return container_texts(o, "spec.template", "image"); }
Value template_containers(const Object& o, std::int64_t) { return container_texts(o, "template", "name"); }
Value template_images(const Object& o, std::int64_t) { return container_texts(o, "template", "image"); }
Value cron_containers(const Object& o, std::int64_t) {
  return container_texts(o, "spec.jobTemplate.spec.template", "name");
}
Value cron_images(const Object& o, std::int64_t) {
  return container_texts(o, "spec.jobTemplate.spec.template", "image");
}

Value selector_or_none(const Value* s) {
  auto out = selector_text(s);
  return Value(out.empty() ? std::string("<none>") : std::move(out));
}
Value selector(const Object& o, std::int64_t) {
  // A Deployment's printer leaves an empty selector empty.
  if (kind_of(o) == "Deployment") return Value(selector_text(at(o, "spec.selector")));
  return selector_or_none(at(o, "spec.selector"));
}
Value cron_selector(const Object& o, std::int64_t) { return selector_or_none(at(o, "spec.jobTemplate.spec.selector")); }
Value map_selector(const Object& o, std::int64_t) { return Value(format_labels(object_at(o, "spec.selector"))); }
Value template_labels(const Object& o, std::int64_t) {
  return Value(format_labels(object_at(o, "template.metadata.labels")));
}
Value node_selector(const Object& o, std::int64_t) {
  return Value(format_labels(object_at(o, "spec.template.spec.nodeSelector")));
}

Value revision_controller(const Object& o, std::int64_t) {
  const auto* owner = controller_of(o);
  if (!owner) return text("<none>");
  const auto api = text_at(*owner, "apiVersion");
  const auto slash = api.find('/');
  const auto group = slash == std::string_view::npos ? std::string() : "." + std::string(api.substr(0, slash));
  return Value(
      fmt::format("{}/{}", text::lower(std::string(text_at(*owner, "kind")) + group), text_at(*owner, "name")));
}
Value revision_number(const Object& o, std::int64_t) { return Value(int_at(o, "revision")); }

bool job_condition(const Object& o, std::string_view type) {
  const auto* c = condition(o, type);
  return c && text_at(*c, "status") == "True";
}
Value job_status(const Object& o, std::int64_t) {
  if (job_condition(o, "Complete")) return text("Complete");
  if (job_condition(o, "Failed")) return text("Failed");
  if (deleting(o)) return text("Terminating");
  if (job_condition(o, "Suspended")) return text("Suspended");
  if (job_condition(o, "FailureTarget")) return text("FailureTarget");
  return text("Running");
}
Value job_completions(const Object& o, std::int64_t) {
  const auto done = int_at(o, "status.succeeded");
  if (at(o, "spec.completions")) return Value(fmt::format("{}/{}", done, int_at(o, "spec.completions")));
  const auto parallel = int_at(o, "spec.parallelism");
  return Value(parallel > 1 ? fmt::format("{}/1 of {}", done, parallel) : fmt::format("{}/1", done));
}
Value job_duration(const Object& o, std::int64_t now) {
  const auto start = parse_time(text_at(o, "status.startTime"));
  if (!start) return text("");
  const auto end = parse_time(text_at(o, "status.completionTime"));
  return Value(human_duration((end.value_or(now) - *start) / 1000));
}

Value cron_schedule(const Object& o, std::int64_t) { return text(text_at(o, "spec.schedule")); }
Value cron_timezone(const Object& o, std::int64_t) { return text(text_at(o, "spec.timeZone", "<none>")); }
Value cron_suspend(const Object& o, std::int64_t) {
  if (!at(o, "spec.suspend")) return text("<unset>");
  return text(bool_at(o, "spec.suspend") ? "True" : "False");
}
Value cron_active(const Object& o, std::int64_t) {
  return Value(static_cast<std::int64_t>(array_at(o, "status.active").size()));
}
Value cron_last(const Object& o, std::int64_t now) {
  const auto last = text_at(o, "status.lastScheduleTime");
  return last.empty() ? text("<none>") : Value(age_of(last, now));
}

Value hpa_reference(const Object& o, std::int64_t) {
  return Value(fmt::format("{}/{}", text_at(o, "spec.scaleTargetRef.kind"), text_at(o, "spec.scaleTargetRef.name")));
}
Value hpa_min(const Object& o, std::int64_t) {
  return at(o, "spec.minReplicas") ? Value(fmt::format("{}", int_at(o, "spec.minReplicas"))) : text("<unset>");
}
Value hpa_max(const Object& o, std::int64_t) { return Value(int_at(o, "spec.maxReplicas")); }
Value hpa_replicas(const Object& o, std::int64_t) { return Value(int_at(o, "status.currentReplicas")); }

// A quantity as it stands: a text, or a number.
std::string quantity(const Value* v) {
  if (!v) return "<unknown>";
  if (v->is_string()) return std::string(v->get_string());
  if (v->is_int64()) return fmt::format("{}", v->get_int64());
  if (v->is_double()) return fmt::format("{}", v->get_double());
  return "<unknown>";
}

std::string hpa_metric(const Object& spec, const Object* status) {
  const auto type = text_at(spec, "type");
  std::string member(type);
  if (member.empty()) return "<unknown type>";
  member[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(member[0])));
  const auto& m = object_at(spec, member);
  const Object none;
  const auto& now = status ? object_at(*status, member + ".current") : none;
  const auto* average = at(m, "target.averageValue");
  if (type == "Pods") return fmt::format("{}/{}", quantity(at(now, "averageValue")), quantity(average));
  if (type == "External" || type == "Object") {
    if (average) return fmt::format("{}/{} (avg)", quantity(at(now, "averageValue")), quantity(average));
    return fmt::format("{}/{}", quantity(at(now, "value")), quantity(at(m, "target.value")));
  }
  if (type != "Resource" && type != "ContainerResource") return "<unknown type>";
  const auto name = text_at(m, "name");
  if (average) return fmt::format("{}: {}/{}", name, quantity(at(now, "averageValue")), quantity(average));
  auto percent = [](const Object& o, std::string_view path, std::string_view otherwise) {
    return at(o, path) ? fmt::format("{}%", int_at(o, path)) : std::string(otherwise);
  };
  return fmt::format("{}: {}/{}", name, percent(now, "averageUtilization", "<unknown>"),
                     percent(m, "target.averageUtilization", "<auto>"));
}
Value hpa_targets(const Object& o, std::int64_t) {
  const auto& specs = array_at(o, "spec.metrics");
  const auto& statuses = array_at(o, "status.currentMetrics");
  if (specs.empty()) {
    // The form of autoscaling/v1.
    if (!at(o, "spec.targetCPUUtilizationPercentage")) return text("<none>");
    const auto now = at(o, "status.currentCPUUtilizationPercentage")
                         ? fmt::format("{}%", int_at(o, "status.currentCPUUtilizationPercentage"))
                         : std::string("<unknown>");
    return Value(fmt::format("cpu: {}/{}%", now, int_at(o, "spec.targetCPUUtilizationPercentage")));
  }
  constexpr std::size_t shown = 2;
  std::vector<std::string> parts;
  for (std::size_t i = 0; i < specs.size() && i < shown; ++i) {
    if (!specs[i].is_object()) continue;
    const bool measured = i < statuses.size() && statuses[i].is_object();
    parts.push_back(hpa_metric(specs[i].get_object(), measured ? &statuses[i].get_object() : nullptr));
  }
  auto out = joined(parts, ", ");
  if (specs.size() > shown) out += fmt::format(" + {} more...", specs.size() - shown);
  return Value(std::move(out));
}

struct WorkloadCell {
  std::string_view name;
  Cell cell;
};
constexpr WorkloadCell workload_cells[] = {
    {"deployment.ready", ready_of_wanted},
    {"deployment.updated", updated},
    {"deployment.available", available},
    {"statefulset.ready", ready_of_wanted},
    {"workload.containers", containers},
    {"workload.images", images},
    {"workload.selector", selector},
    {"workload.mapselector", map_selector},
    {"template.containers", template_containers},
    {"template.images", template_images},
    {"podtemplate.labels", template_labels},
    {"daemonset.nodeselector", node_selector},
    {"revision.controller", revision_controller},
    {"revision.number", revision_number},
    {"job.status", job_status},
    {"job.completions", job_completions},
    {"job.duration", job_duration},
    {"cronjob.schedule", cron_schedule},
    {"cronjob.timezone", cron_timezone},
    {"cronjob.suspend", cron_suspend},
    {"cronjob.active", cron_active},
    {"cronjob.last", cron_last},
    {"cronjob.containers", cron_containers},
    {"cronjob.images", cron_images},
    {"cronjob.selector", cron_selector},
    {"hpa.reference", hpa_reference},
    {"hpa.targets", hpa_targets},
    {"hpa.min", hpa_min},
    {"hpa.max", hpa_max},
    {"hpa.replicas", hpa_replicas},
};

}  // namespace

Cell find_workload_cell(std::string_view name) {
  const auto* c = std::ranges::find(workload_cells, name, &WorkloadCell::name);
  return c == std::end(workload_cells) ? nullptr : c->cell;
}

}  // namespace mr::kube::table
