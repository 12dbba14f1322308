#include "kube/bootstrap.h"

#include "crypto/random.h"
#include "json/parse.h"
#include "kube/admission.h"
#include "log/log.h"

namespace mr::kube {

namespace {

constexpr const char* kRbacVersion = "rbac.authorization.k8s.io/v1";
constexpr const char* kBootstrapping = "kubernetes.io/bootstrapping";

Array list(std::initializer_list<std::string_view> v) {
  Array a;
  for (auto s : v) a.push_back(Value(s));
  return a;
}
Object rule(std::initializer_list<std::string_view> groups, std::initializer_list<std::string_view> resources,
            std::initializer_list<std::string_view> verbs) {
  return Object{{"apiGroups", list(groups)}, {"resources", list(resources)}, {"verbs", list(verbs)}};
}
Object urls(std::initializer_list<std::string_view> paths) {
  return Object{{"nonResourceURLs", list(paths)}, {"verbs", list({"get"})}};
}
Object with_labels(Object o, std::initializer_list<std::pair<std::string_view, std::string_view>> labels) {
  auto& l = ensure(o, "metadata.labels");
  for (auto [k, v] : labels) l[k] = v;
  return o;
}
Object cluster_role(std::string_view name, Array rules) {
  Object o = make_object(kRbacVersion, "ClusterRole", "", name);
  o["rules"] = std::move(rules);
  return with_labels(std::move(o), {{kBootstrapping, "rbac-defaults"}});
}
// A role that gathers the rules of every role with the label.
Object gathering_role(std::string_view name, std::string_view label_key) {
  Object o = make_object(kRbacVersion, "ClusterRole", "", name);
  o["aggregationRule"] = Object{{"clusterRoleSelectors", Array{Object{{"matchLabels", Object{{label_key, "true"}}}}}}};
  o["rules"] = Array{};
  return with_labels(std::move(o), {{kBootstrapping, "rbac-defaults"}});
}
Object subject(std::string_view kind, std::string_view name, std::string_view ns = {}) {
  Object s{{"kind", kind}, {"name", name}};
  if (ns.empty())
    s["apiGroup"] = "rbac.authorization.k8s.io";
  else
    s["namespace"] = ns;
  return s;
}
Object binding(std::string_view ns, std::string_view name, std::string_view role, Array subjects) {
  Object o = make_object(kRbacVersion, ns.empty() ? "ClusterRoleBinding" : "RoleBinding", ns, name);
  o["roleRef"] = Object{{"apiGroup", "rbac.authorization.k8s.io"}, {"kind", "ClusterRole"}, {"name", role}};
  o["subjects"] = std::move(subjects);
  return o;
}

// What people of a namespace may see and change.
constexpr std::initializer_list<std::string_view> kSee = {"get", "list", "watch"};
constexpr std::initializer_list<std::string_view> kChange = {"create", "delete", "deletecollection", "get",
                                                             "list",   "patch",  "update",           "watch"};

void roles(std::vector<Object>& out) {
  out.push_back(cluster_role("cluster-admin", Array{rule({"*"}, {"*"}, {"*"}),
                                                    Object{{"nonResourceURLs", list({"*"})}, {"verbs", list({"*"})}}}));
  out.push_back(
      cluster_role("system:discovery", Array{urls({"/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez",
                                                   "/openapi", "/openapi/*", "/readyz", "/version", "/version/"})}));
  out.push_back(cluster_role("system:public-info-viewer",
                             Array{urls({"/healthz", "/livez", "/readyz", "/version", "/version/"})}));
  out.push_back(cluster_role(
      "system:basic-user",
      Array{rule({"authorization.k8s.io"}, {"selfsubjectaccessreviews", "selfsubjectrulesreviews"}, {"create"}),
            rule({"authentication.k8s.io"}, {"selfsubjectreviews"}, {"create"})}));
  out.push_back(cluster_role("system:auth-delegator",
                             Array{rule({"authentication.k8s.io"}, {"tokenreviews"}, {"create"}),
                                   rule({"authorization.k8s.io"}, {"subjectaccessreviews"}, {"create"})}));
  out.push_back(gathering_role("admin", "rbac.authorization.k8s.io/aggregate-to-admin"));
  out.push_back(gathering_role("edit", "rbac.authorization.k8s.io/aggregate-to-edit"));
  out.push_back(gathering_role("view", "rbac.authorization.k8s.io/aggregate-to-view"));
  auto view =
      Array{rule({""},
                 {"configmaps", "endpoints", "events", "limitranges", "namespaces", "persistentvolumeclaims", "pods",
                  "pods/log", "pods/status", "replicationcontrollers", "resourcequotas", "serviceaccounts", "services"},
                 kSee),
            rule({"apps"},
                 {"controllerrevisions", "daemonsets", "deployments", "deployments/scale", "replicasets",
                  "replicasets/scale", "statefulsets", "statefulsets/scale"},
                 kSee),
            rule({"batch"}, {"cronjobs", "jobs"}, kSee),
            rule({"autoscaling"}, {"horizontalpodautoscalers"}, kSee),
            rule({"networking.k8s.io"}, {"ingresses", "networkpolicies"}, kSee),
            rule({"discovery.k8s.io"}, {"endpointslices"}, kSee),
            rule({"policy"}, {"poddisruptionbudgets"}, kSee)};
  auto edit = Array{rule({""},
                         {"configmaps", "events", "persistentvolumeclaims", "pods", "pods/attach", "pods/eviction",
                          "pods/exec", "pods/portforward", "pods/proxy", "secrets", "serviceaccounts",
                          "serviceaccounts/token", "services", "services/proxy"},
                         kChange),
                    rule({"apps"},
                         {"daemonsets", "deployments", "deployments/scale", "replicasets", "replicasets/scale",
                          "statefulsets", "statefulsets/scale"},
                         kChange),
                    rule({"batch"}, {"cronjobs", "jobs"}, kChange),
                    rule({"autoscaling"}, {"horizontalpodautoscalers"}, kChange),
                    rule({"networking.k8s.io"}, {"ingresses", "networkpolicies"}, kChange),
                    rule({"policy"}, {"poddisruptionbudgets"}, kChange)};
  auto admin = Array{rule({"rbac.authorization.k8s.io"}, {"rolebindings", "roles"}, kChange),
                     rule({"authorization.k8s.io"}, {"localsubjectaccessreviews"}, {"create"})};
  out.push_back(with_labels(cluster_role("system:aggregate-to-view", view),
                            {{"rbac.authorization.k8s.io/aggregate-to-view", "true"},
                             {"rbac.authorization.k8s.io/aggregate-to-edit", "true"},
                             {"rbac.authorization.k8s.io/aggregate-to-admin", "true"}}));
  out.push_back(with_labels(cluster_role("system:aggregate-to-edit", edit),
                            {{"rbac.authorization.k8s.io/aggregate-to-edit", "true"},
                             {"rbac.authorization.k8s.io/aggregate-to-admin", "true"}}));
  out.push_back(with_labels(cluster_role("system:aggregate-to-admin", admin),
                            {{"rbac.authorization.k8s.io/aggregate-to-admin", "true"}}));
  // Kubeflow's: the same ladder under its own labels, with its own kinds.
  constexpr const char* kToAdmin = "rbac.authorization.kubeflow.org/aggregate-to-kubeflow-admin";
  constexpr const char* kToEdit = "rbac.authorization.kubeflow.org/aggregate-to-kubeflow-edit";
  constexpr const char* kToView = "rbac.authorization.kubeflow.org/aggregate-to-kubeflow-view";
  out.push_back(gathering_role("kubeflow-admin", kToAdmin));
  out.push_back(gathering_role("kubeflow-edit", kToEdit));
  out.push_back(gathering_role("kubeflow-view", kToView));
  out.push_back(with_labels(cluster_role("kubeflow-kubernetes-admin", admin), {{kToAdmin, "true"}}));
  out.push_back(with_labels(cluster_role("kubeflow-kubernetes-edit", edit), {{kToEdit, "true"}, {kToAdmin, "true"}}));
  out.push_back(with_labels(cluster_role("kubeflow-kubernetes-view", view),
                            {{kToView, "true"}, {kToEdit, "true"}, {kToAdmin, "true"}}));
  auto kinds_of = [](std::initializer_list<std::string_view> verbs) {
    return Array{rule({"serving.kserve.io"},
                      {"inferencegraphs", "inferenceservices", "servingruntimes", "trainedmodels"}, verbs),
                 rule({"kubeflow.org"}, {"notebooks", "poddefaults"}, verbs),
                 rule({"tensorboard.kubeflow.org"}, {"tensorboards"}, verbs),
                 rule({"networking.istio.io", "security.istio.io", "telemetry.istio.io"}, {"*"}, verbs)};
  };
  out.push_back(
      with_labels(cluster_role("kubeflow-kinds-edit", kinds_of(kChange)), {{kToEdit, "true"}, {kToAdmin, "true"}}));
  out.push_back(with_labels(cluster_role("kubeflow-kinds-view", kinds_of(kSee)), {{kToView, "true"}}));
  auto pipelines = Array{rule({"pipelines.kubeflow.org"},
                              {"experiments", "jobs", "pipelines", "pipelines/versions", "runs", "visualizations"},
                              {"archive", "create", "delete", "disable", "enable", "get", "list", "readArtifact",
                               "report", "reportMetrics", "retry", "terminate", "unarchive", "update"}),
                         rule({"argoproj.io"}, {"workflows"}, {"report"}),
                         rule({"kubeflow.org"}, {"scheduledworkflows"}, {"report"})};
  out.push_back(
      with_labels(cluster_role("kubeflow-pipelines-edit", pipelines), {{kToEdit, "true"}, {kToAdmin, "true"}}));
  out.push_back(with_labels(
      cluster_role("kubeflow-pipelines-view",
                   Array{rule({"pipelines.kubeflow.org"},
                              {"experiments", "jobs", "pipelines", "pipelines/versions", "runs", "visualizations"},
                              {"get", "list", "readArtifact"})}),
      {{kToView, "true"}}));
  out.push_back(binding("", "cluster-admin", "cluster-admin", Array{subject("Group", "system:masters")}));
  out.push_back(binding("", "system:discovery", "system:discovery", Array{subject("Group", "system:authenticated")}));
  out.push_back(binding("", "system:basic-user", "system:basic-user", Array{subject("Group", "system:authenticated")}));
  out.push_back(binding("", "system:public-info-viewer", "system:public-info-viewer",
                        Array{subject("Group", "system:authenticated"), subject("Group", "system:unauthenticated")}));
}

Object name_space(std::string_view name,
                  std::initializer_list<std::pair<std::string_view, std::string_view>> labels = {}) {
  Object o = with_labels(make_object("v1", "Namespace", "", name), labels);
  ensure(o, "metadata.labels")["kubernetes.io/metadata.name"] = name;
  ensure(o, "spec")["finalizers"] = list({"kubernetes"});
  ensure(o, "status")["phase"] = "Active";
  return o;
}

}  // namespace

std::vector<std::pair<std::string, Object>> bootstrap_objects(const Kinds& kinds, const BootstrapOptions& b) {
  std::vector<Object> all;
  for (auto n : {"default", "kube-system", "kube-public", "kube-node-lease"}) all.push_back(name_space(n));
  all.push_back(name_space("kubeflow", {{"control-plane", "kubeflow"}, {"istio-injection", "enabled"}}));
  all.push_back(name_space("istio-system"));
  Object user = name_space(b.user_namespace, {{"app.kubernetes.io/part-of", "kubeflow-profile"},
                                              {"istio-injection", "enabled"},
                                              {"pipelines.kubeflow.org/enabled", "true"},
                                              {"serving.kubeflow.org/inferenceservice", "enabled"}});
  ensure(user, "metadata.annotations")["owner"] = b.user;
  all.push_back(std::move(user));
  roles(all);
  for (auto n : {"default-editor", "default-viewer"})
    all.push_back(make_object("v1", "ServiceAccount", b.user_namespace, n));
  all.push_back(binding(b.user_namespace, "namespaceAdmin", "kubeflow-admin", Array{subject("User", b.user)}));
  all.push_back(binding(b.user_namespace, "default-editor", "kubeflow-edit",
                        Array{subject("ServiceAccount", "default-editor", b.user_namespace)}));
  all.push_back(binding(b.user_namespace, "default-viewer", "kubeflow-view",
                        Array{subject("ServiceAccount", "default-viewer", b.user_namespace)}));

  Object service = with_labels(make_object("v1", "Service", "default", "kubernetes"),
                               {{"component", "apiserver"}, {"provider", "kubernetes"}});
  service["spec"] = Object{
      {"clusterIP", b.kubernetes_ip},
      {"clusterIPs", list({b.kubernetes_ip})},
      {"ipFamilies", list({"IPv4"})},
      {"ipFamilyPolicy", "SingleStack"},
      {"ports", Array{Object{{"name", "https"}, {"port", 443}, {"protocol", "TCP"}, {"targetPort", b.api_port}}}},
      {"type", "ClusterIP"}};
  service["status"] = Object{{"loadBalancer", Object{}}};
  all.push_back(std::move(service));
  Object endpoints = make_object("v1", "Endpoints", "default", "kubernetes");
  endpoints["subsets"] =
      Array{Object{{"addresses", Array{Object{{"ip", "127.0.0.1"}}}},
                   {"ports", Array{Object{{"name", "https"}, {"port", b.api_port}, {"protocol", "TCP"}}}}}};
  all.push_back(std::move(endpoints));

  Object gateway = make_object("networking.istio.io/v1", "Gateway", "kubeflow", "kubeflow-gateway");
  gateway["spec"] =
      Object{{"selector", Object{{"istio", "ingressgateway"}}},
             {"servers", Array{Object{{"hosts", list({"*"})},
                                      {"port", Object{{"name", "http"}, {"number", 80}, {"protocol", "HTTP"}}}}}}};
  all.push_back(std::move(gateway));

  // The dashboard's menu, as the dashboard reads it: entries that a user adds here appear there.
  Object dashboard = make_object("v1", "ConfigMap", "kubeflow", "centraldashboard-config");
  dashboard["data"] = Object{{"links", json::serialize(Value(Object{{"menuLinks", Array{}},
                                                                    {"externalLinks", Array{}},
                                                                    {"quickLinks", Array{}},
                                                                    {"documentationItems", Array{}}}))},
                             {"settings", json::serialize(Value(Object{{"DASHBOARD_FORCE_IFRAME", true}}))}};
  all.push_back(with_labels(std::move(dashboard), {{"app", "centraldashboard"}}));

  Object storage = make_object("storage.k8s.io/v1", "StorageClass", "", "millrace-folder");
  ensure(storage, "metadata.annotations")["storageclass.kubernetes.io/is-default-class"] = "true";
  storage["provisioner"] = "millrace.dev/folder";
  storage["reclaimPolicy"] = "Delete";
  storage["volumeBindingMode"] = "Immediate";
  all.push_back(std::move(storage));
  for (auto [name, value] : {std::pair{"system-cluster-critical", 2000000000}, {"system-node-critical", 2000001000}}) {
    Object p = make_object("scheduling.k8s.io/v1", "PriorityClass", "", name);
    p["value"] = value;
    all.push_back(std::move(p));
  }

  std::vector<std::pair<std::string, Object>> out;
  auto now = now_text();
  for (auto& o : all) {
    auto api_version = api_version_of(o);
    auto slash = api_version.find('/');
    auto group = slash == std::string_view::npos ? std::string_view() : api_version.substr(0, slash);
    auto version = slash == std::string_view::npos ? api_version : api_version.substr(slash + 1);
    auto kind = kinds.by_kind(group, kind_of(o));
    if (!kind) {
      log::error("a first object is of no known kind", {{"kind", kind_of(o)}});
      continue;
    }
    const auto* v = kind->version(version);
    auto& meta = metadata(o);
    meta["uid"] = crypto::uuid4();
    meta["creationTimestamp"] = now;
    if (kind->generation) meta["generation"] = 1;
    if (v != nullptr) set_defaults(*kind, *v, o);
    o["apiVersion"] = kind->api_version(kind->storage().name);
    out.emplace_back(kind->qualified(), std::move(o));
  }
  return out;
}

void register_stored_crds(const Store& store, Kinds& kinds) {
  for (const auto& crd : store.list("customresourcedefinitions.apiextensions.k8s.io", "").items)
    if (auto kind = kind_of_crd(*crd))
      kinds.put(*kind);
    else
      log::warn("a stored CustomResourceDefinition is not served", {{"name", name_of(*crd)}});
}

}  // namespace mr::kube
