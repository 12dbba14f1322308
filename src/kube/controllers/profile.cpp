// Profiles: each is a namespace with an owner, and what people and programs need to work in it.
#include "kube/controllers/controllers.h"
#include "kube/controllers/owned.h"
#include "kube/controllers/pods.h"

namespace mr::kube {

namespace {

const Gvr kProfiles{"kubeflow.org", "v1", "profiles"};
const Gvr kBindings{"rbac.authorization.k8s.io", "v1", "rolebindings"};
const Gvr kQuotas{"", "v1", "resourcequotas"};
const Gvr kPolicies{"security.istio.io", "v1", "authorizationpolicies"};
constexpr const char* kQuota = "kf-resource-quota";
constexpr const char* kProfileFinalizer = "profile-finalizer";
constexpr std::string_view kRbac = "rbac.authorization.k8s.io";

// Who may speak for the users, and for the notebooks' controller, in the mesh.
constexpr const char* kGatewayPrincipal = "cluster.local/ns/istio-system/sa/istio-ingressgateway-service-account";
constexpr const char* kPipelinesUiPrincipal = "cluster.local/ns/kubeflow/sa/ml-pipeline-ui";
constexpr const char* kNotebooksPrincipal = "cluster.local/ns/kubeflow/sa/notebook-controller-service-account";

// A label that is set to something else already stays: it is somebody's wish.
constexpr std::pair<const char*, const char*> kLabels[] = {
    {"app.kubernetes.io/part-of", "kubeflow-profile"},
    {"katib.kubeflow.org/metrics-collector-injection", "enabled"},
    {"pipelines.kubeflow.org/enabled", "true"},
    {"serving.kubeflow.org/inferenceservice", "enabled"},
};

struct Profile {
  Manager& m;
  const Kinds& kinds;
  ObjectPtr p;

  [[nodiscard]] std::string name() const { return std::string(name_of(*p)); }
  [[nodiscard]] std::string_view owner() const { return text_at(*p, "spec.owner.name"); }

  task::Task<Result<Again>> report(std::string_view type, std::string message) {
    Object condition{{"type", type}, {"status", "True"}};
    if (!message.empty()) condition["message"] = message;
    Object status = object_at(*p, "status");
    const auto& before = array_at(status, "conditions");
    bool news = before.size() != 1 || !same(before[0], Value(condition));
    if (news && type == "Failed") m.event(*p, "Warning", "Failed", std::move(message), "profile-controller");
    status["conditions"] = Array{std::move(condition)};
    MR_CO_CHECK(co_await write_status(m, kProfiles, *p, std::move(status)));
    co_return Again{};
  }
  // nullopt: the namespace is this profile's. Otherwise what to answer.
  task::Task<Result<std::optional<Again>>> take_namespace() {
    auto ns = m.informer(gvr::namespaces).get({"", name()});
    if (!ns) {
      Object fresh = make_object("v1", "Namespace", "", name());
      metadata(fresh)["ownerReferences"] = Array{owner_reference(*p)};
      ensure(fresh, "metadata.annotations")["owner"] = owner();
      auto& labels = ensure(fresh, "metadata.labels");
      for (auto [k, v] : kLabels) labels[k] = v;
      labels["istio-injection"] = "enabled";
      auto made = co_await m.client().create(gvr::namespaces, std::move(fresh));
      if (!made) {
        auto e = made.error();
        if (e.reason == "AlreadyExists") e.reason = "Conflict";  // it came in the meantime: look again
        co_return std::unexpected(std::move(e));
      }
      co_await seen(m.informer(gvr::namespaces), {"", name()}, resource_version_of(**made));
      co_return std::nullopt;
    }
    if (deleting(*ns)) co_return Again{500};
    if (!object_at(*ns, "metadata.annotations").contains("owner") || annotation(*ns, "owner") != owner()) {
      auto r = co_await report("Failed",
                               fmt::format("namespace already exist, but not owned by profile creator {}", owner()));
      if (!r) co_return std::unexpected(r.error());
      co_return Again{};
    }
    Object next = *ns;
    auto& labels = ensure(next, "metadata.labels");
    bool differs = label(*ns, "istio-injection") != "enabled";
    labels["istio-injection"] = "enabled";
    for (auto [k, v] : kLabels)
      if (!labels.contains(k)) {
        labels[k] = v;
        differs = true;
      }
    if (differs) {
      auto done = co_await m.client().update(gvr::namespaces, std::move(next));
      if (!done) co_return std::unexpected(done.error());
    }
    co_return std::nullopt;
  }

  [[nodiscard]] Object policy() const {
    Object o = make_object("security.istio.io/v1", "AuthorizationPolicy", name(), "ns-owner-access-istio");
    metadata(o)["annotations"] = Object{{"user", owner()}, {"role", "admin"}};
    auto from = [](Array principals) {
      return Array{Object{{"source", Object{{"principals", std::move(principals)}}}}};
    };
    o["spec"] = Object{
        {"action", "ALLOW"},
        {"rules",
         Array{// The owner, as the gateway's login names them.
               Object{{"from", from({kGatewayPrincipal, kPipelinesUiPrincipal})},
                      {"when", Array{Object{{"key", "request.headers[kubeflow-userid]"}, {"values", Array{owner()}}}}}},
               // The namespace's own programs.
               Object{{"when", Array{Object{{"key", "source.namespace"}, {"values", Array{Value(name())}}}}}},
               // Probes and measurements.
               Object{{"to", Array{Object{
                                 {"operation", Object{{"paths", Array{"/healthz", "/metrics", "/wait-for-drain"}}}}}}}},
               // Whether a notebook is in use.
               Object{{"from", from({kNotebooksPrincipal})},
                      {"to", Array{Object{{"operation",
                                           Object{{"methods", Array{"GET"}}, {"paths", Array{"*/api/kernels"}}}}}}}}}}};
    return o;
  }
  task::Task<Result<void>> bind(std::string binding, std::string_view role, Object subject, Object annotations) {
    Object o = make_object("rbac.authorization.k8s.io/v1", "RoleBinding", name(), binding);
    if (!annotations.empty()) metadata(o)["annotations"] = std::move(annotations);
    o["roleRef"] = Object{{"apiGroup", kRbac}, {"kind", "ClusterRole"}, {"name", role}};
    o["subjects"] = Array{std::move(subject)};
    // A binding's role cannot be changed; its subjects can.
    co_return co_await keep_owned(m, kinds, kBindings, *p, std::move(o), {"subjects"}, Found::any);
  }
  task::Task<Result<void>> give_account(std::string account, std::string_view role) {
    MR_CO_CHECK(co_await keep_owned(m, kinds, gvr::serviceaccounts, *p,
                                    make_object("v1", "ServiceAccount", name(), account), {}, Found::any));
    Object subject{{"kind", "ServiceAccount"}, {"name", account}, {"namespace", name()}};
    co_return co_await bind(account, role, std::move(subject), {});
  }
  task::Task<Result<void>> set_quota() {
    const auto& wanted = object_at(*p, "spec.resourceQuotaSpec");
    if (object_at(wanted, "hard").empty()) {
      auto there = m.informer(kQuotas).get({name(), kQuota});
      if (!there) co_return Result<void>{};
      auto done = co_await m.client().remove(kQuotas, key_of(*there));
      if (!done && done.error().reason != "NotFound") co_return std::unexpected(done.error());
      co_return Result<void>{};
    }
    Object o = make_object("v1", "ResourceQuota", name(), kQuota);
    o["spec"] = wanted;
    co_return co_await keep_owned(m, kinds, kQuotas, *p, std::move(o), {"spec"}, Found::any);
  }
  // Profiles from elsewhere may carry the finalizer of the controller there, which would hold them for ever.
  task::Task<Result<Again>> let_go() {
    Object next = *p;
    Array kept;
    for (const auto& f : array_at(next, "metadata.finalizers"))
      if (f != Value(kProfileFinalizer)) kept.push_back(f);
    if (kept.size() == array_at(next, "metadata.finalizers").size()) co_return Again{};
    metadata(next)["finalizers"] = std::move(kept);
    auto done = co_await m.client().update(kProfiles, std::move(next));
    if (!done && done.error().reason != "NotFound") co_return std::unexpected(done.error());
    co_return Again{};
  }

  task::Task<Result<Again>> reconcile() {
    if (deleting(*p)) co_return co_await let_go();
    if (owner().empty()) co_return co_await report("Failed", "spec.owner.name is missing: a profile needs an owner");
    MR_CO_TRY(auto end, co_await take_namespace());
    if (end) co_return *end;
    MR_CO_CHECK(co_await keep_owned(m, kinds, kPolicies, *p, policy(), {"spec"}, Found::any));
    MR_CO_CHECK(co_await give_account("default-editor", "kubeflow-edit"));
    MR_CO_CHECK(co_await give_account("default-viewer", "kubeflow-view"));
    Object admin = object_at(*p, "spec.owner");
    if (text_at(admin, "kind").empty()) admin["kind"] = "User";
    if (text_at(admin, "kind") != "ServiceAccount" && text_at(admin, "apiGroup").empty()) admin["apiGroup"] = kRbac;
    MR_CO_CHECK(co_await bind("namespaceAdmin", "kubeflow-admin", std::move(admin),
                              Object{{"user", owner()}, {"role", "admin"}}));
    MR_CO_CHECK(co_await set_quota());
    std::string plugins;
    for (const auto& x : array_at(*p, "spec.plugins"))
      if (x.is_object()) plugins += (plugins.empty() ? "" : ", ") + std::string(text_at(x.get_object(), "kind"));
    if (!plugins.empty()) plugins = fmt::format("plugins of clouds have no effect on this machine: {}", plugins);
    co_return co_await report("Successful", std::move(plugins));
  }
};

task::Task<Result<Again>> reconcile_profile(Manager& m, const Kinds& kinds, Key key) {
  auto p = m.informer(kProfiles).get(key);
  if (!p) co_return Again{};
  Profile profile{m, kinds, p};
  co_return co_await profile.reconcile();
}

}  // namespace

void add_profile_controller(Manager& m, const Kinds& kinds) {
  auto& q = m.controller("profile", [&m, &kinds](Key key) { return reconcile_profile(m, kinds, std::move(key)); });
  auto& profiles = m.informer(kProfiles);
  m.enqueue_changes(profiles, q);
  // A profile has its namespace's name: whatever of these changes there may be what its profile keeps.
  auto owned = [&q, &profiles](const ObjectPtr& now, const ObjectPtr& before) {
    const auto& o = now ? *now : *before;
    Key key{"", std::string(namespace_of(o).empty() ? name_of(o) : namespace_of(o))};
    if (profiles.get(key)) q.add(std::move(key));
  };
  for (const auto& r : {gvr::namespaces, gvr::serviceaccounts, kBindings, kQuotas, kPolicies})
    m.informer(r).on_change(owned);
}

}  // namespace mr::kube
