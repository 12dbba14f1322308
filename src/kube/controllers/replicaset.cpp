#include "kube/controllers/controllers.h"
#include "kube/controllers/pods.h"

namespace mr::kube {

namespace {

constexpr std::string_view kReplicaSetComponent = "replicaset-controller";
constexpr std::size_t kBurst = 500;  // pods created or deleted in one reconcile

task::Task<Result<Again>> reconcile_replica_set(Manager& m, Key key) {
  auto& pods = m.informer(gvr::pods);
  auto rs = m.informer(gvr::replicasets).get(key);
  if (!rs) co_return Again{};
  auto min_ready = int_at(*rs, "spec.minReadySeconds");
  std::vector<ObjectPtr> mine;
  for (auto& p : pods.owned_by(uid_of(*rs)))
    if (pod_active(*p)) mine.push_back(std::move(p));
  // A pod without a controller whose labels fit is taken in.
  for (auto& p : pods.list(key.ns)) {
    if (controller_of(*p) != nullptr || !pod_active(*p) || deleting(*rs)) continue;
    if (!matches_selector(object_at(*rs, "spec.selector"), object_at(*p, "metadata.labels"))) continue;
    Object next = *p;
    auto& refs = metadata(next)["ownerReferences"];
    if (!refs.is_array()) refs = Array{};
    refs.get_array().push_back(owner_reference(*rs));
    if (auto r = co_await m.client().update(gvr::pods, std::move(next))) {
      co_await seen(pods, key_of(**r), resource_version_of(**r));
      mine.push_back(*r);
    }
  }
  auto wanted = static_cast<std::size_t>(std::max<std::int64_t>(0, int_at(*rs, "spec.replicas", 1)));
  std::string failure;
  if (!deleting(*rs)) {
    if (mine.size() < wanted) {
      auto n = std::min(kBurst, wanted - mine.size());
      for (std::size_t i = 0; i < n; ++i) {
        auto r = co_await create_pod(m, *rs, pod_of_template(*rs, object_at(*rs, "spec.template"), ""),
                                     kReplicaSetComponent);
        if (!r) {
          failure = r.error().message;
          break;
        }
      }
    } else if (mine.size() > wanted) {
      auto order = by_deletion_order(mine);
      for (std::size_t i = 0; i < std::min(kBurst, mine.size() - wanted); ++i)
        MR_CO_CHECK(co_await delete_pod(m, *rs, order[i], kReplicaSetComponent));
    }
  }
  // Counted again from the cache, which has seen what was done above.
  std::int64_t total = 0, ready = 0, available = 0, labeled = 0;
  long again = -1;
  const auto& labels = object_at(*rs, "spec.template.metadata.labels");
  for (const auto& p : pods.owned_by(uid_of(*rs))) {
    if (!pod_active(*p)) continue;
    ++total;
    if (has_labels(object_at(*p, "metadata.labels"), labels)) ++labeled;
    if (pod_ready(*p)) ++ready;
    if (pod_available(*p, min_ready)) ++available;
    if (auto ms = until_available_ms(*p, min_ready); ms > 0) again = again < 0 ? ms : std::min(again, ms);
  }
  Object next = *rs;
  auto& status = ensure(next, "status");
  status["replicas"] = total;
  for (auto [name, n] :
       {std::pair{"fullyLabeledReplicas", labeled}, {"readyReplicas", ready}, {"availableReplicas", available}}) {
    if (n > 0)
      status[name] = n;
    else
      status.erase(name);
  }
  status["observedGeneration"] = int_at(*rs, "metadata.generation", 1);
  if (!failure.empty()) {
    set_condition(next, "ReplicaFailure", "True", "FailedCreate", failure);
  } else if (condition(next, "ReplicaFailure") != nullptr) {
    next["status"].get_object().erase("conditions");
  }
  MR_CO_CHECK(co_await write_status(m, gvr::replicasets, *rs, next["status"].get_object()));
  if (!failure.empty()) co_return fail(Code::unavailable, failure);
  co_return Again{again};
}

}  // namespace

void add_replicaset_controller(Manager& m) {
  auto& q = m.controller("replicaset", [&m](Key key) { return reconcile_replica_set(m, std::move(key)); });
  m.enqueue_changes(m.informer(gvr::replicasets), q);
  m.enqueue_owner(m.informer(gvr::pods), "ReplicaSet", q);
}

}  // namespace mr::kube
