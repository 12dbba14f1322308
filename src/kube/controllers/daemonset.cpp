#include "kube/controllers/controllers.h"
#include "kube/controllers/pods.h"

namespace mr::kube {

namespace {

constexpr std::string_view kDaemonSetComponent = "daemonset-controller";
constexpr const char* kDaemonSetHash = "controller-revision-hash";
const Gvr kDaemonSets{"apps", "v1", "daemonsets"};

// One machine, one node: a daemon set is one pod there, of today's template.
task::Task<Result<Again>> reconcile_daemon_set(Manager& m, std::string node, Key key) {
  auto d = m.informer(kDaemonSets).get(key);
  if (!d || deleting(*d)) co_return Again{};
  auto hash = template_hash(object_at(*d, "spec.template"));
  auto min_ready = int_at(*d, "spec.minReadySeconds");
  std::vector<ObjectPtr> mine;
  for (const auto& p : m.informer(gvr::pods).owned_by(uid_of(*d))) {
    auto phase = text_at(*p, "status.phase");
    bool finished = phase == "Failed" || phase == "Succeeded";
    bool outdated = label(*p, kDaemonSetHash) != hash && text_at(*d, "spec.updateStrategy.type") != "OnDelete";
    if (!deleting(*p) && (finished || outdated)) {
      MR_CO_CHECK(co_await delete_pod(m, *d, p, kDaemonSetComponent));
    } else {
      mine.push_back(p);
    }
  }
  bool going =
      std::ranges::any_of(m.informer(gvr::pods).owned_by(uid_of(*d)), [](const ObjectPtr& p) { return deleting(*p); });
  if (mine.empty() && !going) {
    Object pod = pod_of_template(*d, object_at(*d, "spec.template"), "");
    ensure(pod, "metadata.labels")[kDaemonSetHash] = hash;
    ensure(pod, "spec")["nodeName"] = node;
    MR_CO_CHECK(co_await create_pod(m, *d, std::move(pod), kDaemonSetComponent));
    mine.clear();
  }
  std::int64_t current = 0, ready = 0, available = 0, updated = 0;
  for (const auto& p : m.informer(gvr::pods).owned_by(uid_of(*d))) {
    if (!pod_active(*p)) continue;
    current = 1;
    ready += pod_ready(*p) ? 1 : 0;
    available += pod_available(*p, min_ready) ? 1 : 0;
    updated += label(*p, kDaemonSetHash) == hash ? 1 : 0;
  }
  Object status = object_at(*d, "status");
  status["currentNumberScheduled"] = current;
  status["desiredNumberScheduled"] = 1;
  status["numberMisscheduled"] = 0;
  status["numberReady"] = ready;
  status["numberAvailable"] = available;
  status["numberUnavailable"] = 1 - std::min<std::int64_t>(1, available);
  status["updatedNumberScheduled"] = updated;
  status["observedGeneration"] = int_at(*d, "metadata.generation", 1);
  MR_CO_CHECK(co_await write_status(m, kDaemonSets, *d, std::move(status)));
  co_return Again{};
}

}  // namespace

void add_daemonset_controller(Manager& m, std::string node_name) {
  auto& q = m.controller("daemonset", [&m, node = std::move(node_name)](Key key) {
    return reconcile_daemon_set(m, node, std::move(key));
  });
  m.enqueue_changes(m.informer(kDaemonSets), q);
  m.enqueue_owner(m.informer(gvr::pods), "DaemonSet", q);
}

}  // namespace mr::kube
