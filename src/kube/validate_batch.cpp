#include <boost/json/array.hpp>

#include "kube/admission_rules.h"
#include "kube/names.h"
#include "text/text.h"

namespace mr::kube {

namespace {

void check_failure_policy(FieldErrors& e, const Object& policy, const std::string& path) {
  const auto& rules = array_at(policy, "rules");
  for (std::size_t i = 0; i < rules.size(); ++i) {
    if (!rules[i].is_object()) continue;
    const auto& r = rules[i].get_object();
    auto here = item(sub(path, "rules"), i);
    check_one_of(e, sub(here, "action"), Value(text_at(r, "action")), {"Count", "FailIndex", "FailJob", "Ignore"});
    const auto* codes = child(r, "onExitCodes");
    if (codes == nullptr) continue;
    check_one_of(e, sub(here, "onExitCodes.operator"), Value(text_at(*codes, "operator")), {"In", "NotIn"});
    const auto& values = array_at(*codes, "values");
    if (values.empty())
      e.push_back(invalid(sub(here, "onExitCodes.values"), Value(values), "at least one value is required"));
    if (text_at(*codes, "operator") == "In")
      for (std::size_t j = 0; j < values.size(); ++j)
        if (values[j].is_int64() && values[j].get_int64() == 0)
          e.push_back(
              invalid(item(sub(here, "onExitCodes.values"), j), values[j], "must not be 0 for the In operator"));
  }
}

void check_job_update(FieldErrors& e, const Object& o, const Object& before) {
  const bool indexed = text_at(o, "spec.completionMode") == "Indexed";
  if (!indexed) check_immutable(e, o, before, "spec.completions");
  const auto& now = object_at(o, "spec.selector");
  if (!same(Value(now), Value(object_at(before, "spec.selector"))))
    e.push_back(invalid_raw("spec.selector", go_selector(now), "field is immutable"));
  // A suspended job that never began may be placed anew.
  const bool open = bool_at(before, "spec.suspend") && at(before, "status.startTime") == nullptr;
  Object a = object_at(o, "spec.template"), b = object_at(before, "spec.template");
  if (open)
    for (auto* t : {&a, &b}) {
      ensure(*t, "metadata").clear();
      for (auto key : {"nodeSelector", "tolerations", "affinity", "schedulingGates"}) ensure(*t, "spec").erase(key);
    }
  if (!same(Value(a), Value(b))) e.push_back(invalid("spec.template", Value(a), "field is immutable"));
  check_immutable(e, o, before, "spec.completionMode");
  check_immutable(e, o, before, "spec.podFailurePolicy");
  check_immutable(e, o, before, "spec.backoffLimitPerIndex");
}

void check_schedule(FieldErrors& e, std::string_view schedule, const std::string& path) {
  if (schedule.empty()) {
    e.push_back(required(path));
    return;
  }
  if (schedule.starts_with('@')) {
    static constexpr std::string_view named[] = {"@yearly", "@annually", "@monthly", "@weekly",
                                                 "@daily",  "@midnight", "@hourly"};
    if (!schedule.starts_with("@every ") && std::ranges::find(named, schedule) == std::end(named))
      e.push_back(invalid(path, Value(schedule), fmt::format("unrecognized descriptor: {}", schedule)));
    return;
  }
  if (schedule.find("TZ") != std::string_view::npos) {
    e.push_back(invalid(path, Value(schedule), "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"));
    return;
  }
  std::vector<std::string_view> fields;
  for (auto f : text::split(schedule, ' '))
    if (!f.empty()) fields.push_back(f);
  if (fields.size() != 5) {
    e.push_back(
        invalid(path, Value(schedule),
                fmt::format("expected exactly 5 fields, found {}: [{}]", fields.size(), fmt::join(fields, " "))));
    return;
  }
  constexpr std::pair<int, int> ranges[] = {{0, 59}, {0, 23}, {1, 31}, {1, 12}, {0, 6}};
  for (std::size_t i = 0; i < 5; ++i)
    for (auto part : text::split(fields[i], ',')) {
      auto slash = part.find('/');
      auto base = part.substr(0, slash);
      for (auto end : text::split(base, '-')) {
        auto n = text::to_i64(end);
        const bool name = i >= 3 && end.size() == 3 && std::isalpha(static_cast<unsigned char>(end[0])) != 0;
        if (end == "*" || end == "?" || name) continue;
        if (!n) {
          e.push_back(invalid(path, Value(schedule),
                              fmt::format("failed to parse int from {}: strconv.Atoi: parsing {}: invalid syntax", end,
                                          in_quotes(end))));
          return;
        }
        if (*n < ranges[i].first) {
          e.push_back(
              invalid(path, Value(schedule),
                      fmt::format("beginning of range ({}) below minimum ({}): {}", *n, ranges[i].first, base)));
          return;
        }
        if (*n > ranges[i].second) {
          e.push_back(invalid(path, Value(schedule),
                              fmt::format("end of range ({}) above maximum ({}): {}", *n, ranges[i].second, base)));
          return;
        }
      }
    }
}

}  // namespace

void validate_job_spec(FieldErrors& e, const Object& spec, const std::string& path) {
  for (auto key : {"parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished",
                   "backoffLimitPerIndex", "maxFailedIndexes"})
    check_non_negative(e, spec, path, key);
  auto mode = text_at(spec, "completionMode");
  if (!mode.empty()) check_one_of(e, sub(path, "completionMode"), Value(mode), {"NonIndexed", "Indexed"});
  if (const auto* v = spec.if_contains("backoffLimitPerIndex"); v != nullptr && v->is_number() && mode != "Indexed")
    e.push_back(invalid(sub(path, "backoffLimitPerIndex"), *v, "requires indexed completion mode"));
  if (mode == "Indexed" && (at(spec, "completions") == nullptr || at(spec, "completions")->is_null()))
    e.push_back(required(sub(path, "completions"), "when completion mode is Indexed"));
  if (const auto* policy = child(spec, "podFailurePolicy"))
    check_failure_policy(e, *policy, sub(path, "podFailurePolicy"));
  const auto& t = object_at(spec, "template");
  validate_pod_template(e, t, sub(path, "template"));
  if (auto policy = text_at(t, "spec.restartPolicy"); policy == "Always" || policy.empty())
    e.push_back(required(sub(path, "template.spec.restartPolicy"), "valid values: \"OnFailure\", \"Never\""));
}

void validate_batch(FieldErrors& e, std::string_view kind, const Object& o, const Object* before) {
  const auto& spec = object_at(o, "spec");
  if (kind == "Job") {
    const auto& selector = object_at(spec, "selector");
    if (before == nullptr && !bool_at(spec, "manualSelector")) {
      Object own{{"matchLabels", Object{{"batch.kubernetes.io/controller-uid", uid_of(o)}}}};
      if (!same(Value(own), Value(selector)))
        e.push_back(invalid_raw("spec.selector", go_selector(selector), "`selector` not auto-generated"));
    } else if (spec.if_contains("selector") == nullptr) {
      e.push_back(required("spec.selector"));
    }
    const auto& labels = object_at(spec, "template.metadata.labels");
    if (!matches_selector(selector, labels))
      e.push_back(
          invalid_raw("spec.template.metadata.labels", go_map(labels), "`selector` does not match template `labels`"));
    validate_job_spec(e, spec, "spec");
    if (before != nullptr) check_job_update(e, o, *before);
  } else if (kind == "CronJob") {
    check_schedule(e, text_at(spec, "schedule"), "spec.schedule");
    check_one_of(e, "spec.concurrencyPolicy", Value(text_at(spec, "concurrencyPolicy")),
                 {"Allow", "Forbid", "Replace"});
    for (auto key : {"startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"})
      check_non_negative(e, spec, "spec", key);
    const auto& job = object_at(spec, "jobTemplate.spec");
    if (child(job, "selector") != nullptr)
      e.push_back(invalid_raw("spec.jobTemplate.spec.selector", go_selector(object_at(job, "selector")),
                              "`selector` will be auto-generated"));
    validate_job_spec(e, job, "spec.jobTemplate.spec");
  }
}

}  // namespace mr::kube
