// The pods of steps, from their making to their end, as the runner sees them.
#include "pipelines/runner_state.h"
#include "text/text.h"

namespace mr::pipelines {

namespace {

constexpr long kFirstLookMs = 1000, kLastLookMs = 10'000;  // at what holds a pod that does not start

// Without the blank and the full stop at its end, so that more can follow.
std::string trim_end(std::string s) {
  while (s.ends_with(' ') || s.ends_with('.')) s.pop_back();
  return s;
}

Error pod_error(Code code, std::string message) { return Error{code, std::move(message), {}, {}}; }

// How the pod failed, in words for the task.
Error failure_of(const kube::Object& pod) {
  auto reason = std::string(kube::text_at(pod, "status.reason"));
  auto message = std::string(kube::text_at(pod, "status.message"));
  if (reason == "DeadlineExceeded")
    return pod_error(Code::deadline_exceeded, "DeadlineExceeded: the step took longer than its limit");
  if (reason == "Evicted") return pod_error(Code::resource_exhausted, "Evicted: " + trim_end(message));
  std::string why = reason.empty() ? "the step's pod failed" : reason + ": " + message;
  for (const auto& s : kube::array_at(pod, "status.containerStatuses")) {
    const auto* t = kube::at(s, "state.terminated");
    if (t == nullptr || !t->is_object()) continue;
    auto code = kube::int_at(t->get_object(), "exitCode");
    if (code == 0) continue;
    auto r = kube::text_at(t->get_object(), "reason");
    why = r == "OOMKilled"    ? "OOMKilled: the step used more memory than its limit"
          : r == "StartError" ? fmt::format("the step could not start: {}", kube::text_at(t->get_object(), "message"))
                              : fmt::format("the step ended with exit code {}", code);
  }
  return pod_error(Code::internal, std::move(why));
}

bool has_begun(const kube::Object& pod) {
  const auto& states = kube::array_at(pod, "status.containerStatuses");
  return std::ranges::any_of(states, [](const Value& s) { return kube::at(s, "state.waiting") == nullptr; });
}

// What Kubernetes would try for ever is the step's failure: nobody stands by to mend the manifest.
const Object* stuck_container(const kube::Object& pod) {
  const Object* stuck = nullptr;
  for (const auto* list : {"status.initContainerStatuses", "status.containerStatuses"})
    for (const auto& s : kube::array_at(pod, list))
      if (const auto* w = kube::at(s, "state.waiting"); w != nullptr && w->is_object()) {
        auto r = kube::text_at(w->get_object(), "reason");
        if (r == "ImagePullBackOff" || r == "InvalidImageName" || r == "CreateContainerConfigError" ||
            r == "CreateContainerError" || r == "ErrImageNeverPull")
          stuck = &w->get_object();
      }
  return stuck;
}

}  // namespace

// A pod's status does not say that a volume of it cannot be mounted: only its events do.
task::Task<std::optional<Held>> Runner::Impl::held_by(kube::ObjectPtr pod) {
  if (const auto* c = kube::condition(*pod, "PodScheduled"); c != nullptr && kube::text_at(*c, "status") == "False") {
    auto why = fmt::format("{}: {}", kube::text_at(*c, "reason"), kube::text_at(*c, "message"));
    const bool by_time = !why.contains("not found");
    co_return Held{std::move(why), by_time};
  }
  kube::ListOptions of_pod;
  of_pod.field_selector = fmt::format("involvedObject.uid={},type=Warning", kube::uid_of(*pod));
  auto events = co_await client.list(kube::gvr::events, std::string(kube::namespace_of(*pod)), std::move(of_pod));
  if (!events) co_return std::nullopt;
  const kube::Object* newest = nullptr;
  for (const auto& e : events->items) {
    auto reason = kube::text_at(*e, "reason");
    if (reason != "FailedMount" && reason != "FailedAttachVolume" && reason != "FailedCreatePodSandBox") continue;
    if (newest == nullptr || kube::text_at(*e, "lastTimestamp") >= kube::text_at(*newest, "lastTimestamp"))
      newest = e.get();
  }
  if (newest == nullptr) co_return std::nullopt;
  co_return Held{fmt::format("{}: {}", kube::text_at(*newest, "reason"), kube::text_at(*newest, "message")), false};
}

// In the history of a task that waits, as the original's API provides for what may still come right.
void Runner::Impl::tell_held(const Live& l, NodeView& n) {
  auto it = l.held.find(n.path);
  if (it == l.held.end() || is_final(n.state) || n.history.empty()) return;
  n.waiting_for = it->second;
  n.history.back().error = pod_error(Code::unavailable, it->second);
}

task::Task<PodEnd> Runner::Impl::wait_for(LivePtr l, std::string node, kube::Key key) {
  task::Event changed;
  waiting[key] = &changed;
  PodEnd end;
  bool seen = false;
  std::optional<Held> held;
  std::int64_t held_since = 0;
  long pause = kFirstLookMs;
  auto next_look = options.now_ms() + pause;
  task::Timer timer;
  while (!stopping) {
    auto pod = pods.get(key);
    if (!pod) {
      if (seen) {
        end.gone = true;
        end.error = pod_error(Code::cancelled, "the step's pod was deleted before it ended");
        break;
      }
      co_await changed.wait();
      continue;
    }
    seen = true;
    auto phase = kube::text_at(*pod, "status.phase");
    if (phase == "Succeeded") {
      end.ok = true;
      break;
    }
    if (phase == "Failed") {
      end.error = failure_of(*pod);
      // Over before anybody looked why it did not begin.
      if (!held && end.error.code == Code::deadline_exceeded && !has_begun(*pod)) held = co_await held_by(pod);
      if (held) end.error.message += "; it waited for this: " + held->why;
      break;
    }
    if (const auto* stuck = stuck_container(*pod); stuck != nullptr) {
      end.error = pod_error(Code::failed_precondition,
                            fmt::format("the step cannot start: {}: {}", kube::text_at(*stuck, "reason"),
                                        kube::text_at(*stuck, "message")));
      (void)co_await client.remove(kube::gvr::pods, key);
      break;
    }
    if (phase == "Running") {
      held.reset();
      l->held.erase(node);
      timer.cancel();
      co_await changed.wait();
      continue;
    }
    if (options.now_ms() >= next_look) {
      held = co_await held_by(pod);
      if (!held || held->by_time)
        held_since = 0;
      else if (held_since == 0)
        held_since = options.now_ms();
      if (held)
        l->held[node] = held->why;
      else
        l->held.erase(node);
      if (held_since != 0 && options.start_limit_s > 0 &&
          options.now_ms() - held_since >= options.start_limit_s * 1000) {
        end.error = pod_error(Code::failed_precondition, fmt::format("the step could not start within {} s: {}",
                                                                     options.start_limit_s, held->why));
        (void)co_await client.remove(kube::gvr::pods, key);
        break;
      }
      pause = std::min(pause * 2, kLastLookMs);
      next_look = options.now_ms() + pause;
      if (stopping) break;
      if (pods.get(key) != pod) continue;  // it changed while we asked
    }
    timer.start(std::max<long>(static_cast<long>(next_look - options.now_ms()), 1), [&changed] { changed.set(); });
    co_await changed.wait();
  }
  timer.cancel();
  waiting.erase(key);
  l->held.erase(node);
  co_return end;
}

}  // namespace mr::pipelines
