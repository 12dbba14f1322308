// The status that a pod's object is given.
#include "json/parse.h"
#include "log/log.h"
#include "node/worker.h"
#include "text/text.h"

namespace mr::node {

using kube::Array;
using kube::Object;

std::string qos_class(const Object& pod) {
  bool any = false, guaranteed = true;
  auto number = [](const kube::Value* v) {
    if (v == nullptr) return -1.0;
    return parse_quantity(v->is_string() ? std::string(v->get_string()) : json::serialize(*v));
  };
  for (auto list : {"spec.initContainers", "spec.containers"})
    for (const auto& c : kube::array_at(pod, list)) {
      if (!c.is_object()) continue;
      const auto& limits = kube::object_at(c.get_object(), "resources.limits");
      const auto& requests = kube::object_at(c.get_object(), "resources.requests");
      for (auto name : {"cpu", "memory"}) {
        const auto *l = limits.if_contains(name), *r = requests.if_contains(name);
        any = any || number(l) > 0 || number(r) > 0;
        if (number(l) <= 0 || (r != nullptr && number(r) != number(l))) guaranteed = false;
      }
    }
  return !any ? "BestEffort" : guaranteed ? "Guaranteed" : "Burstable";
}

std::string pod_phase(const Object& spec, const std::vector<std::unique_ptr<Container>>& containers, bool failed,
                      bool initialized) {
  if (failed) return "Failed";
  auto policy = kube::text_at(spec, "restartPolicy", "Always");
  int waiting = 0, running = 0, succeeded = 0, stopped = 0;
  for (const auto& c : containers) {
    if (c->kind == Kind::init && c->state == State::terminated && c->exit_code != 0 && policy == "Never")
      return "Failed";
    if (c->kind != Kind::main) continue;
    if (c->state == State::running)
      ++running;
    else if (c->state == State::waiting)
      ++waiting;
    else if (c->exit_code == 0)
      ++succeeded, ++stopped;
    else
      ++stopped;
  }
  if (!initialized) {
    // Init containers that run, and all before them, are a pod that is pending.
    if (running == 0 && stopped == 0) return "Pending";
  }
  if (waiting > 0 && running == 0 && stopped == 0) return "Pending";
  if (waiting > 0 && stopped == 0) return "Pending";
  if (running > 0) return "Running";
  if (stopped > 0 && waiting == 0 && running == 0) {
    if (policy == "Always") return "Running";
    if (stopped == succeeded) return "Succeeded";
    return policy == "Never" ? "Failed" : "Running";
  }
  return stopped > 0 ? "Running" : "Pending";
}

namespace {

Object terminated(const Container& c) {
  Object t{{"exitCode", c.exit_code}, {"reason", c.reason}};
  if (!c.message.empty()) t["message"] = c.message;
  if (!c.started_at.empty()) t["startedAt"] = c.started_at;
  if (!c.finished_at.empty()) t["finishedAt"] = c.finished_at;
  if (!c.id.empty()) t["containerID"] = c.id;
  return Object{{"terminated", std::move(t)}};
}

Object waiting(const Container& c) {
  Object w{{"reason", c.waiting_reason}};
  if (!c.waiting_message.empty()) w["message"] = c.waiting_message;
  return Object{{"waiting", std::move(w)}};
}

}  // namespace

Object Worker::make_status() const {
  Object next = *pod_;
  auto& status = kube::ensure(next, "status");
  bool deleting = kube::deleting(*pod_);
  bool ending = deleting || closing_ || !fail_reason_.empty() || terminal_;
  Array statuses, init_statuses;
  std::string unready, incomplete;
  bool all_ready = true, all_init = true, any_started = false;
  for (const auto& p : containers_) {
    const auto& c = *p;
    Object s{{"name", c.name}, {"image", c.image}, {"imageID", c.image_id}, {"restartCount", c.restarts}};
    if (!c.id.empty()) s["containerID"] = c.id;
    Object state, last = c.last.value_or(Object{});
    if (c.state == State::running) {
      state = Object{{"running", Object{{"startedAt", c.started_at}}}};
    } else if (c.state == State::waiting) {
      state = waiting(c);
    } else if (!ending && !(c.kind == Kind::sidecar && work_over_) && restarts(c) &&
               (c.not_before_ms > mono_ms() || !c.failure.empty())) {
      state = waiting(c);
      if (!c.counted) last = terminated(c);
    } else {
      state = terminated(c);
    }
    any_started = any_started || c.state != State::waiting;
    s["state"] = std::move(state);
    s["lastState"] = std::move(last);
    bool running = c.state == State::running;
    bool ready = c.kind == Kind::init ? c.state == State::terminated && c.exit_code == 0 : running && c.ready;
    s["ready"] = ready;
    s["started"] = running && c.started;
    if (c.kind == Kind::init || c.kind == Kind::sidecar) {
      bool complete = c.kind == Kind::init ? ready : (running && c.started) || initialized_;
      if (!complete) {
        all_init = false;
        incomplete += (incomplete.empty() ? "" : " ") + c.name;
      }
    }
    if (c.kind != Kind::init && !ready && !(c.kind == Kind::sidecar && work_over_)) {
      all_ready = false;
      unready += (unready.empty() ? "" : " ") + c.name;
    }
    (c.kind == Kind::main ? statuses : init_statuses).push_back(std::move(s));
  }
  bool stopped = !any_running();
  auto phase = pod_phase(kube::object_at(*pod_, "spec"), containers_, !fail_reason_.empty() && stopped, initialized_);
  // Once over, it stays over.
  auto before = kube::text_at(*pod_, "status.phase");
  if (before == "Succeeded" || before == "Failed") phase = before;
  // A pod that was stopped from outside has ended, whatever its policy.
  if (deleting && stopped && phase == "Running")
    phase = std::ranges::all_of(containers_, [](const auto& c) { return c->kind != Kind::main || c->exit_code == 0; })
                ? "Succeeded"
                : "Failed";
  status["phase"] = phase;
  bool succeeded = phase == "Succeeded", failed = phase == "Failed";

  auto set = [&](std::string_view type, bool good, std::string_view reason, std::string_view message) {
    kube::set_condition(next, type, good ? "True" : "False", good ? std::string_view() : reason,
                        good ? std::string_view() : message);
  };
  set("PodReadyToStartContainers", prepared_ && !((succeeded || failed) && stopped), "", "");
  if (succeeded) {
    kube::set_condition(next, "Initialized", "True", "PodCompleted", "");
  } else {
    set("Initialized", all_init, "ContainersNotInitialized",
        fmt::format("containers with incomplete status: [{}]", incomplete));
  }
  bool gates = true;
  for (const auto& g : kube::array_at(*pod_, "spec.readinessGates")) {
    const auto* got = g.is_object() ? kube::condition(*pod_, kube::text_at(g.get_object(), "conditionType")) : nullptr;
    gates = gates && got != nullptr && kube::text_at(*got, "status") == "True";
  }
  auto message = fmt::format("containers with unready status: [{}]", unready);
  std::string_view reason = succeeded ? "PodCompleted" : failed ? "PodFailed" : "ContainersNotReady";
  auto said = succeeded || failed ? std::string_view() : std::string_view(message);
  bool up = all_ready && !succeeded && !failed;
  if (up && !gates)
    set("Ready", false, "ReadinessGatesNotReady",
        "corresponding condition of pod readiness gate does not exist or is not True");
  else
    set("Ready", up, reason, said);
  set("ContainersReady", up, reason, said);
  set("PodScheduled", true, "", "");

  status["hostIP"] = ctx_->host_ip;
  status["hostIPs"] = Array{Object{{"ip", ctx_->host_ip}}};
  if (!pod_ip_.empty()) {
    status["podIP"] = pod_ip_;
    status["podIPs"] = Array{Object{{"ip", pod_ip_}}};
  }
  if (!start_time_.empty()) status["startTime"] = start_time_;
  status["qosClass"] = qos_class(*pod_);
  if (fail_reason_ == "Evicted")
    kube::set_condition(next, "DisruptionTarget", "True", "TerminationByKubelet", fail_message_);
  if (!fail_reason_.empty()) {
    status["reason"] = fail_reason_;
    status["message"] = fail_message_;
  }
  status["containerStatuses"] = std::move(statuses);
  if (!init_statuses.empty()) status["initContainerStatuses"] = std::move(init_statuses);
  return status;
}

task::Task<void> Worker::write_status() {
  if (removed_ || closing_) co_return;
  auto status = make_status();
  if (status == written_) co_return;
  auto wrote = status;
  Object metadata{{"uid", uid_}};
  Object patch{{"metadata", std::move(metadata)}, {"status", std::move(status)}};
  auto done = co_await ctx_->manager.client().patch(kube::gvr::pods, kube::key_of(*pod_), kube::PatchType::merge,
                                                    std::move(patch), "status", "kubelet");
  if (!done) {
    const auto& e = done.error();
    if (e.code == Code::not_found || e.reason == "NotFound") {
      // The watch says so too, a moment later.
      again_in(1000);
      co_return;
    }
    if (e.reason != "Conflict") log::warn("status of pod not written", {{"pod", label_}, {"error", e.message}});
    again_in(e.reason == "Conflict" ? 50 : 1000);
    co_return;
  }
  written_ = std::move(wrote);
  if (kube::uid_of(**done) == uid_ && kube::resource_version_of(**done) >= kube::resource_version_of(*pod_))
    pod_ = std::move(*done);
  wake_if_changed();
}

// What changed while we wrote is written as well.
void Worker::wake_if_changed() {
  if (!over_ && make_status() != written_) wake();
}

}  // namespace mr::node
