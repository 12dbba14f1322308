#include "kube/controllers/controllers.h"
#include "kube/controllers/pods.h"

namespace mr::kube {

namespace {

struct Deps {
  Manager& m;
  Api& api;
  std::string ca_pem;
};

// Everything in it is told to go; when nothing is left, so may the namespace.
task::Task<Result<Again>> empty_out(Deps& d, ObjectPtr ns) {
  std::string name(name_of(*ns));
  std::size_t left = 0;
  std::string what;
  for (const auto& kind : d.api.kinds().all()) {
    if (!kind->namespaced || kind->virtual_kind) continue;
    const auto& version = kind->storage();
    for (const auto& o : d.api.store().list(kind->qualified(), name).items) {
      ++left;
      if (what.empty()) what = kind->qualified();
      if (deleting(*o)) continue;
      Target t{kind, &version, name, std::string(name_of(*o)), {}};
      DeleteOptions options;
      options.propagation = Propagation::background;
      auto r = co_await d.api.remove(t, options);
      if (r && r->gone) --left;
      if (!r && r.error().reason != "NotFound") co_return std::unexpected(to_error(r.error()));
    }
  }
  if (left > 0) {
    Object next = *ns;
    set_condition(next, "NamespaceContentRemaining", "True", "SomeResourcesRemain",
                  fmt::format("Some resources are remaining: {} has {} resource instances", what, left));
    (void)co_await write_status(d.m, gvr::namespaces, *ns, next["status"].get_object());
    co_return Again{100};
  }
  auto kind = d.api.kinds().find("", "v1", "namespaces");
  Target t{kind, kind->version("v1"), name, name, "finalize"};
  Object next = *ns;
  metadata(next).erase("resourceVersion");
  ensure(next, "spec")["finalizers"] = Array{};
  WriteOptions w{.user = system_user(), .manager = "namespace-controller"};
  auto r = co_await d.api.update(t, std::move(next), std::move(w));
  if (!r && r.error().reason != "NotFound") co_return std::unexpected(to_error(r.error()));
  co_return Again{};
}

task::Task<Result<Again>> reconcile_namespace(Deps& d, Key key) {
  auto ns = d.m.informer(gvr::namespaces).get(key);
  if (!ns) co_return Again{};
  if (deleting(*ns)) co_return co_await empty_out(d, ns);
  if (!d.m.informer(gvr::serviceaccounts).get({key.name, "default"})) {
    auto r =
        co_await d.m.client().create(gvr::serviceaccounts, make_object("v1", "ServiceAccount", key.name, "default"));
    if (!r && r.error().reason != "AlreadyExists") co_return std::unexpected(r.error());
  }
  auto root = d.m.informer(gvr::configmaps).get({key.name, "kube-root-ca.crt"});
  bool right = false;
  if (root) {
    const auto* v = object_at(*root, "data").if_contains("ca.crt");
    right = v != nullptr && v->is_string() && std::string_view(v->get_string()) == d.ca_pem;
  }
  if (!right) {
    Object o = make_object("v1", "ConfigMap", key.name, "kube-root-ca.crt");
    ensure(o, "metadata.annotations")["kubernetes.io/description"] =
        "The certificate authority of this platform's Kubernetes API.";
    o["data"] = Object{{"ca.crt", d.ca_pem}};
    auto r = root ? co_await d.m.client().update(gvr::configmaps, std::move(o))
                  : co_await d.m.client().create(gvr::configmaps, std::move(o));
    if (!r && r.error().reason != "AlreadyExists") co_return std::unexpected(r.error());
  }
  co_return Again{};
}

}  // namespace

void add_namespace_controller(Manager& m, Api& api, std::string ca_pem) {
  auto deps = std::make_shared<Deps>(Deps{m, api, std::move(ca_pem)});
  auto& q = m.controller("namespace", [deps](Key key) { return reconcile_namespace(*deps, std::move(key)); });
  m.enqueue_changes(m.informer(gvr::namespaces), q);
  for (const auto& r : {gvr::serviceaccounts, gvr::configmaps})
    m.informer(r).on_change([&q](const ObjectPtr& now, const ObjectPtr& before) {
      if (now) return;
      auto name = name_of(*before);
      if (name == "default" || name == "kube-root-ca.crt") q.add({"", std::string(namespace_of(*before))});
    });
}

}  // namespace mr::kube
