#include "kube/controllers/controllers.h"
#include "kube/controllers/pods.h"

namespace mr::kube {

namespace {

constexpr const char* kClaimsFinalizer = "kubernetes.io/pvc-protection";

bool uses(const Object& pod, std::string_view claim) {
  auto phase = text_at(pod, "status.phase");
  if (phase == "Succeeded" || phase == "Failed") return false;
  for (const auto& v : array_at(pod, "spec.volumes"))
    if (v.is_object() && text_at(v.get_object(), "persistentVolumeClaim.claimName") == claim) return true;
  return false;
}

task::Task<Result<Again>> reconcile_claims(Manager& m, Api& api, Key key) {
  auto claim = m.informer(gvr::pvcs).get(key);
  if (!claim || !deleting(*claim)) co_return Again{};
  for (const auto& p : m.informer(gvr::pods).list(key.ns))
    if (uses(*p, key.name)) co_return Again{};
  auto kind = api.kinds().find("", "v1", "persistentvolumeclaims");
  Object next = *claim;
  Array kept;
  for (const auto& f : array_at(*claim, "metadata.finalizers"))
    if (f != Value(kClaimsFinalizer)) kept.push_back(f);
  metadata(next)["finalizers"] = std::move(kept);
  WriteOptions w{.user = system_user(), .manager = "pvc-protection-controller"};
  auto r = co_await api.update({kind, kind->version("v1"), key.ns, key.name, {}}, std::move(next), std::move(w));
  if (!r && r.error().reason != "NotFound") co_return std::unexpected(to_error(r.error()));
  co_return Again{};
}

}  // namespace

void add_claim_protection(Manager& m, Api& api) {
  auto& q = m.controller("claims", [&m, &api](Key key) { return reconcile_claims(m, api, std::move(key)); });
  m.enqueue_changes(m.informer(gvr::pvcs), q);
  m.informer(gvr::pods).on_change([&q](const ObjectPtr& now, const ObjectPtr& before) {
    const auto& pod = now ? now : before;
    for (const auto& v : array_at(*pod, "spec.volumes"))
      if (auto name = v.is_object() ? text_at(v.get_object(), "persistentVolumeClaim.claimName") : std::string_view();
          !name.empty())
        q.add({std::string(namespace_of(*pod)), std::string(name)});
  });
}

}  // namespace mr::kube
