// What `kubectl get pods` shows: one word that sums up the states of a pod's containers.
#include "kube/table_cells.h"

namespace mr::kube::table {

namespace {

struct Summary {
  std::int64_t ready = 0, total = 0, restarts = 0;
  std::string status;
  std::optional<std::int64_t> last_restart;
};

void later(std::optional<std::int64_t>& time, const Object& status) {
  const auto t = parse_time(text_at(status, "lastState.terminated.finishedAt"));
  if (t && (!time || *t > *time)) time = t;
}

bool condition_true(const Object& pod, std::string_view type) {
  const auto* c = condition(pod, type);
  return c && text_at(*c, "status") == "True";
}

// How a container ended, where its state names no reason.
std::string ending(const Object& state) {
  const auto signal = int_at(state, "terminated.signal");
  return signal != 0 ? fmt::format("Signal:{}", signal)
                     : fmt::format("ExitCode:{}", int_at(state, "terminated.exitCode"));
}

// Init containers that go on running beside the others.
bool is_sidecar(const Object& pod, std::string_view name) {
  for (const auto& c : array_at(pod, "spec.initContainers"))
    if (c.is_object() && text_at(c.get_object(), "name") == name)
      return text_at(c.get_object(), "restartPolicy") == "Always";
  return false;
}

// Goes through the init containers up to the first that holds the pod up; true: one does.
bool init_containers(const Object& pod, Summary& s, std::int64_t& sidecar_restarts,
                     std::optional<std::int64_t>& sidecar_last) {
  const auto& all = array_at(pod, "spec.initContainers");
  std::size_t i = 0;
  for (const auto& v : array_at(pod, "status.initContainerStatuses")) {
    const auto index = i++;
    if (!v.is_object()) continue;
    const auto& c = v.get_object();
    const auto& state = object_at(c, "state");
    const auto restarts = int_at(c, "restartCount");
    const bool sidecar = is_sidecar(pod, text_at(c, "name"));
    s.restarts += restarts;
    later(s.last_restart, c);
    if (sidecar) {
      sidecar_restarts += restarts;
      later(sidecar_last, c);
    }
    const bool ended = at(state, "terminated") != nullptr;
    if (ended && int_at(state, "terminated.exitCode") == 0) continue;
    if (sidecar && bool_at(c, "started")) {
      if (bool_at(c, "ready")) ++s.ready;
      continue;
    }
    const auto why = text_at(state, "terminated.reason"), waits = text_at(state, "waiting.reason");
    if (ended)
      s.status = "Init:" + (why.empty() ? ending(state) : std::string(why));
    else if (!waits.empty() && waits != "PodInitializing")
      s.status = fmt::format("Init:{}", waits);
    else
      s.status = fmt::format("Init:{}/{}", index, all.size());
    return true;
  }
  return false;
}

void containers(const Object& pod, Summary& s) {
  bool running = false;
  const auto& all = array_at(pod, "status.containerStatuses");
  for (auto i = all.size(); i-- > 0;) {
    if (!all[i].is_object()) continue;
    const auto& c = all[i].get_object();
    const auto& state = object_at(c, "state");
    s.restarts += int_at(c, "restartCount");
    later(s.last_restart, c);
    const auto waits = text_at(state, "waiting.reason"), why = text_at(state, "terminated.reason");
    if (!waits.empty()) {
      s.status = waits;
    } else if (at(state, "terminated")) {
      s.status = why.empty() ? ending(state) : std::string(why);
    } else if (bool_at(c, "ready") && at(state, "running")) {
      running = true;
      ++s.ready;
    }
  }
  if (s.status == "Completed" && running) s.status = condition_true(pod, "Ready") ? "Running" : "NotReady";
}

Summary summary(const Object& pod) {
  Summary s;
  const auto phase = text_at(pod, "status.phase");
  const auto reason = text_at(pod, "status.reason");
  s.status = reason.empty() ? phase : reason;
  if (const auto* c = condition(pod, "PodScheduled"); c && text_at(*c, "reason") == "SchedulingGated")
    s.status = "SchedulingGated";
  s.total = static_cast<std::int64_t>(array_at(pod, "spec.containers").size());
  for (const auto& c : array_at(pod, "spec.initContainers"))
    if (c.is_object() && text_at(c.get_object(), "restartPolicy") == "Always") ++s.total;

  std::int64_t sidecar_restarts = 0;
  std::optional<std::int64_t> sidecar_last;
  const bool initializing = init_containers(pod, s, sidecar_restarts, sidecar_last);
  if (!initializing || condition_true(pod, "Initialized")) {
    s.restarts = sidecar_restarts;
    s.last_restart = sidecar_last;
    containers(pod, s);
  }
  if (deleting(pod)) {
    if (reason == "NodeLost")
      s.status = "Unknown";
    else if (phase != "Succeeded" && phase != "Failed")
      s.status = "Terminating";
  }
  return s;
}

Value or_none(std::string_view text) { return Value(text.empty() ? std::string_view("<none>") : text); }

Value ready(const Object& o, std::int64_t) {
  const auto s = summary(o);
  return Value(fmt::format("{}/{}", s.ready, s.total));
}
Value status(const Object& o, std::int64_t) { return Value(summary(o).status); }
Value restarts(const Object& o, std::int64_t now) {
  const auto s = summary(o);
  if (s.restarts == 0 || !s.last_restart) return Value(fmt::format("{}", s.restarts));
  return Value(fmt::format("{} ({} ago)", s.restarts, human_duration((now - *s.last_restart) / 1000)));
}
Value ip(const Object& o, std::int64_t) {
  const auto& ips = array_at(o, "status.podIPs");
  return or_none(ips.empty() ? text_at(o, "status.podIP") : text_at(o, "status.podIPs.0.ip"));
}
Value node(const Object& o, std::int64_t) { return or_none(text_at(o, "spec.nodeName")); }
Value nominated(const Object& o, std::int64_t) { return or_none(text_at(o, "status.nominatedNodeName")); }
Value gates(const Object& o, std::int64_t) {
  const auto& all = array_at(o, "spec.readinessGates");
  if (all.empty()) return or_none({});
  std::size_t met = 0;
  for (const auto& g : all)
    if (g.is_object() && condition_true(o, text_at(g.get_object(), "conditionType"))) ++met;
  return Value(fmt::format("{}/{}", met, all.size()));
}

struct PodCell {
  std::string_view name;
  Cell cell;
};
constexpr PodCell pod_cells[] = {
    {"pod.ready", ready}, {"pod.status", status},       {"pod.restarts", restarts}, {"pod.ip", ip},
    {"pod.node", node},   {"pod.nominated", nominated}, {"pod.gates", gates},
};

}  // namespace

Cell find_pod_cell(std::string_view name) {
  const auto* c = std::ranges::find(pod_cells, name, &PodCell::name);
  return c == std::end(pod_cells) ? nullptr : c->cell;
}

}  // namespace mr::kube::table
