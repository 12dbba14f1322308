#include "kube/controllers/controllers.h"
#include "kube/controllers/pods.h"
#include "text/text.h"
#include "time/clock.h"

namespace mr::kube {

namespace {

constexpr std::string_view kJobComponent = "job-controller";
constexpr const char* kIndex = "batch.kubernetes.io/job-completion-index";
constexpr long kFirstDelayMs = 10'000;
constexpr long kLastDelayMs = 600'000;

bool finished(const Object& job, std::string_view type) {
  const auto* c = condition(job, type);
  return c != nullptr && text_at(*c, "status") == "True";
}

// "0-2,5" of sorted indexes.
std::string ranges(const std::set<std::int64_t>& s) {
  std::string out;
  for (auto i = s.begin(); i != s.end();) {
    auto from = *i, to = *i;
    while (++i != s.end() && *i == to + 1) to = *i;
    out += fmt::format("{}{}", out.empty() ? "" : ",", from);
    if (to > from) out += fmt::format("-{}", to);
  }
  return out;
}
std::set<std::int64_t> parse_ranges(std::string_view text) {
  std::set<std::int64_t> out;
  if (text.empty()) return out;
  for (auto part : text::split(text, ',')) {
    auto dash = part.find('-');
    auto from = text::to_i64(part.substr(0, dash));
    auto to = dash == std::string_view::npos ? from : text::to_i64(part.substr(dash + 1));
    if (!from || !to || *to - *from > 100000) continue;
    for (auto n = *from; n <= *to; ++n) out.insert(n);
  }
  return out;
}

void condition_with_probe(Object& job, std::string_view type, std::string_view reason, std::string_view message) {
  set_condition(job, type, "True", reason, message);
  for (auto& v : job["status"].get_object()["conditions"].get_array())
    if (text_at(v.get_object(), "type") == type && !v.get_object().contains("lastProbeTime"))
      v.get_object()["lastProbeTime"] = now_text();
}

task::Task<Result<Again>> reconcile_job(Manager& m, Key key) {
  auto job = m.informer(gvr::jobs).get(key);
  if (!job || deleting(*job)) co_return Again{};
  auto now = time::now_ms() / 1000;
  if (finished(*job, "Complete") || finished(*job, "Failed")) {
    const auto* ttl = at(*job, "spec.ttlSecondsAfterFinished");
    if (ttl == nullptr || !ttl->is_int64()) co_return Again{};
    const auto* c = finished(*job, "Complete") ? condition(*job, "Complete") : condition(*job, "Failed");
    auto left = unix_of(text_at(*c, "lastTransitionTime")) + ttl->get_int64() - now;
    if (left > 0) co_return Again{static_cast<long>(left * 1000)};
    auto r = co_await m.client().remove(gvr::jobs, key, Propagation::foreground, std::string(uid_of(*job)));
    if (!r && r.error().reason != "NotFound") co_return std::unexpected(r.error());
    co_return Again{};
  }
  Object next = *job;
  auto& status = ensure(next, "status");
  bool indexed = text_at(*job, "spec.completionMode") == "Indexed";
  bool suspended = bool_at(*job, "spec.suspend");
  const auto* completions_v = at(*job, "spec.completions");
  bool open_ended = completions_v == nullptr || !completions_v->is_int64();
  auto completions = open_ended ? 1 : completions_v->get_int64();
  auto parallelism = int_at(*job, "spec.parallelism", 1);
  auto limit = int_at(*job, "spec.backoffLimit", 6);
  bool keep_failed = text_at(*job, "spec.template.spec.restartPolicy") == "OnFailure";

  // Pods that ended are counted by uid, so that one that is deleted later stays counted.
  std::vector<ObjectPtr> active;
  std::int64_t succeeded = 0, failed = 0, ready = 0, restarts = 0;
  std::int64_t last_failure = 0;
  auto done_indexes = parse_ranges(text_at(*job, "status.completedIndexes"));
  std::set<std::int64_t> live_indexes;
  for (const auto& p : m.informer(gvr::pods).owned_by(uid_of(*job))) {
    auto phase = text_at(*p, "status.phase");
    auto index = text::to_i64(annotation(*p, kIndex));
    if (phase == "Succeeded") {
      ++succeeded;
      if (index) done_indexes.insert(*index);
    } else if (phase == "Failed") {
      ++failed;
      for (const auto& s : array_at(*p, "status.containerStatuses"))
        last_failure = std::max(last_failure, unix_of(text_at(s.get_object(), "state.terminated.finishedAt")));
      if (last_failure == 0) last_failure = unix_of(text_at(*p, "metadata.creationTimestamp"));
    } else if (!deleting(*p)) {
      active.push_back(p);
      if (index) live_indexes.insert(*index);
      if (pod_ready(*p)) ++ready;
      if (keep_failed)
        for (const char* list : {"status.containerStatuses", "status.initContainerStatuses"})
          for (const auto& s : array_at(*p, list)) restarts += int_at(s.get_object(), "restartCount");
    }
  }
  succeeded =
      indexed ? static_cast<std::int64_t>(done_indexes.size()) : std::max(succeeded, int_at(*job, "status.succeeded"));
  failed = std::max(failed, int_at(*job, "status.failed"));
  bool complete = open_ended ? succeeded > 0 && active.empty() : succeeded >= completions;
  std::string fail_reason, fail_message;
  const auto* deadline = at(*job, "spec.activeDeadlineSeconds");
  auto start = unix_of(text_at(*job, "status.startTime"));
  long again = -1;
  if (!complete && (failed > limit || (keep_failed && restarts > 0 && restarts > limit))) {
    fail_reason = "BackoffLimitExceeded";
    fail_message = "Job has reached the specified backoff limit";
  } else if (!complete && deadline != nullptr && deadline->is_int64() && start != 0 && !suspended) {
    auto left = start + deadline->get_int64() - now;
    if (left <= 0) {
      fail_reason = "DeadlineExceeded";
      fail_message = "Job was active longer than specified deadline";
    } else {
      again = static_cast<long>(left * 1000);
    }
  }
  auto drop = [&](std::size_t n) -> task::Task<Result<void>> {
    auto order = by_deletion_order(active);
    for (std::size_t i = 0; i < n && i < order.size(); ++i)
      MR_CO_CHECK(co_await delete_pod(m, *job, order[i], kJobComponent));
    co_return Result<void>{};
  };
  if (!suspended && !status.contains("startTime")) status["startTime"] = now_text();
  std::int64_t active_now = static_cast<std::int64_t>(active.size());
  if (!fail_reason.empty()) {
    MR_CO_CHECK(co_await drop(active.size()));
    failed += active_now;
    active_now = 0;
    condition_with_probe(next, "FailureTarget", fail_reason, fail_message);
    condition_with_probe(next, "Failed", fail_reason, fail_message);
    m.event(*job, "Warning", fail_reason, fail_message, kJobComponent);
  } else if (complete) {
    MR_CO_CHECK(co_await drop(active.size()));
    active_now = 0;
    condition_with_probe(next, "SuccessCriteriaMet", "CompletionsReached", "Reached expected number of succeeded pods");
    condition_with_probe(next, "Complete", "CompletionsReached", "Reached expected number of succeeded pods");
    next["status"].get_object()["completionTime"] = now_text();
    m.event(*job, "Normal", "Completed", "Job completed", kJobComponent);
  } else if (suspended) {
    MR_CO_CHECK(co_await drop(active.size()));
    active_now = 0;
    if (set_condition(next, "Suspended", "True", "JobSuspended", "Job suspended"))
      m.event(*job, "Normal", "Suspended", "Job suspended", kJobComponent);
    next["status"].get_object().erase("startTime");
  } else {
    if (condition(*job, "Suspended") != nullptr && finished(*job, "Suspended"))
      set_condition(next, "Suspended", "False", "JobResumed", "Job resumed");
    auto left = open_ended ? (succeeded > 0 ? 0 : parallelism) : completions - succeeded;
    auto wanted = std::min(parallelism, left);
    if (open_ended && succeeded > 0) wanted = active_now;
    // After failures, new pods wait: 10 s, doubled for each, at most 10 min.
    auto delay = failed == 0 ? 0 : std::min(kLastDelayMs, kFirstDelayMs << std::min<std::int64_t>(failed - 1, 6));
    auto wait = last_failure == 0 ? 0 : last_failure * 1000 + delay - time::now_ms();
    if (active_now > wanted) {
      MR_CO_CHECK(co_await drop(static_cast<std::size_t>(active_now - wanted)));
      active_now = wanted;
    } else if (active_now < wanted && wait > 0) {
      again = again < 0 ? static_cast<long>(wait) : std::min(again, static_cast<long>(wait));
    } else {
      std::int64_t index = 0;
      while (active_now < wanted) {
        Object pod = pod_of_template(*job, object_at(*job, "spec.template"), "");
        if (indexed) {
          while (done_indexes.contains(index) || live_indexes.contains(index)) ++index;
          if (index >= completions) break;
          live_indexes.insert(index);
          auto text = std::to_string(index);
          ensure(pod, "metadata.annotations")[kIndex] = text;
          ensure(pod, "metadata.labels")[kIndex] = text;
          metadata(pod)["generateName"] = fmt::format("{}-{}-", name_of(*job), index);
          ensure(pod, "spec")["hostname"] = fmt::format("{}-{}", name_of(*job), index);
          for (auto& c : ensure(pod, "spec")["containers"].get_array()) {
            auto& env = c.get_object()["env"];
            if (!env.is_array()) env = Array{};
            env.get_array().push_back(Object{
                {"name", "JOB_COMPLETION_INDEX"},
                {"valueFrom",
                 Object{{"fieldRef",
                         Object{{"apiVersion", "v1"}, {"fieldPath", fmt::format("metadata.labels['{}']", kIndex)}}}}}});
          }
        }
        MR_CO_CHECK(co_await create_pod(m, *job, std::move(pod), kJobComponent));
        ++active_now;
      }
    }
  }
  auto& st = next["status"].get_object();
  for (auto [name, n] : {std::pair{"active", active_now}, {"succeeded", succeeded}, {"failed", failed}}) {
    if (n > 0)
      st[name] = n;
    else
      st.erase(name);
  }
  st["ready"] = active_now == 0 ? 0 : ready;
  st["terminating"] = 0;
  st["uncountedTerminatedPods"] = Object{};
  if (indexed && !done_indexes.empty()) st["completedIndexes"] = ranges(done_indexes);
  MR_CO_CHECK(co_await write_status(m, gvr::jobs, *job, st));
  co_return Again{again};
}

}  // namespace

void add_job_controller(Manager& m) {
  auto& q = m.controller("job", [&m](Key key) { return reconcile_job(m, std::move(key)); });
  m.enqueue_changes(m.informer(gvr::jobs), q);
  m.enqueue_owner(m.informer(gvr::pods), "Job", q);
}

}  // namespace mr::kube
