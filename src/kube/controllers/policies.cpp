#include "kube/controllers/controllers.h"
#include "kube/controllers/pods.h"

namespace mr::kube {

namespace {

// Says on each policy of the mesh that it is kept and not enforced: nobody should believe that it protects.
task::Task<Result<Again>> mark_policy(Manager& m, Gvr r, Key key) {
  auto policy = m.informer(r).get(key);
  if (!policy || deleting(*policy)) co_return Again{};
  Object next = *policy;
  if (!set_condition(next, "Enforced", "False", "NotEnforcedYet",
                     fmt::format("{} is stored and shown; it is not enforced yet", kind_of(*policy))))
    co_return Again{};
  MR_CO_CHECK(co_await write_status(m, r, *policy, next["status"].get_object()));
  co_return Again{};
}

}  // namespace

void add_policy_marks(Manager& m) {
  for (const char* plural : {"authorizationpolicies", "peerauthentications", "requestauthentications"}) {
    Gvr r{"security.istio.io", "v1", plural};
    auto& q = m.controller(plural, [&m, r](Key key) { return mark_policy(m, r, std::move(key)); });
    m.enqueue_changes(m.informer(r), q);
  }
}

}  // namespace mr::kube
