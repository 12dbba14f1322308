// Notebooks: each is a StatefulSet of one pod, a Service and a route at the gateway.
#include "json/parse.h"
#include "kube/controllers/controllers.h"
#include "kube/controllers/owned.h"
#include "kube/controllers/pods.h"
#include "time/clock.h"

namespace mr::kube {

namespace {

constexpr std::string_view kNotebookComponent = "notebook-controller";
constexpr std::string_view kStopped = "kubeflow-resource-stopped";
constexpr std::string_view kRewrite = "notebooks.kubeflow.org/http-rewrite-uri";
constexpr std::string_view kHeaders = "notebooks.kubeflow.org/http-headers-request-set";
constexpr const char* kLabel = "notebook-name";
constexpr const char* kGateway = "kubeflow/kubeflow-gateway";
constexpr std::int64_t kPort = 8888;
constexpr std::int64_t kServicePort = 80;
constexpr std::int64_t kGroup = 100;  // "users" of the Jupyter images
const Gvr kNotebooks{"kubeflow.org", "v1", "notebooks"};

std::string prefix_of(const Object& nb) { return fmt::format("/notebook/{}/{}", namespace_of(nb), name_of(nb)); }

Object stateful_set(const Object& nb) {
  Object o = make_object("apps/v1", "StatefulSet", namespace_of(nb), name_of(nb));
  Object spec = object_at(nb, "spec.template.spec");
  if (auto* containers = spec.if_contains("containers"); containers != nullptr && containers->is_array() &&
                                                         !containers->get_array().empty() &&
                                                         containers->get_array()[0].is_object()) {
    auto& c = containers->get_array()[0].get_object();
    if (text_at(c, "workingDir").empty()) c["workingDir"] = "/home/jovyan";
    if (array_at(c, "ports").empty())
      c["ports"] = Array{Object{{"containerPort", kPort}, {"name", "notebook-port"}, {"protocol", "TCP"}}};
    Array env;
    for (const auto& e : array_at(c, "env"))
      if (!e.is_object() || text_at(e.get_object(), "name") != "NB_PREFIX") env.push_back(e);
    env.push_back(Object{{"name", "NB_PREFIX"}, {"value", prefix_of(nb)}});
    c["env"] = std::move(env);
  }
  if (!spec.contains("securityContext")) spec["securityContext"] = Object{{"fsGroup", kGroup}};
  // PodDefaults go by the notebook's labels.
  Object labels = object_at(nb, "metadata.labels");
  labels["statefulset"] = name_of(nb);
  labels[kLabel] = name_of(nb);
  Object annotations;
  for (const auto& [k, v] : object_at(nb, "metadata.annotations")) {
    std::string_view key = k;
    if (!key.contains("kubectl") && !key.contains("notebook") && key != kStopped) annotations[key] = v;
  }
  Object meta{{"labels", std::move(labels)}};
  if (!annotations.empty()) meta["annotations"] = std::move(annotations);
  bool stopped = object_at(nb, "metadata.annotations").contains(kStopped);
  o["spec"] = Object{{"replicas", stopped ? 0 : 1},
                     {"selector", Object{{"matchLabels", Object{{"statefulset", name_of(nb)}}}}},
                     {"serviceName", ""},
                     {"template", Object{{"metadata", std::move(meta)}, {"spec", std::move(spec)}}}};
  return o;
}

Object service(const Object& nb) {
  Object o = make_object("v1", "Service", namespace_of(nb), name_of(nb));
  o["spec"] = Object{
      {"type", "ClusterIP"},
      {"selector", Object{{"statefulset", name_of(nb)}}},
      {"ports",
       Array{Object{{"name", fmt::format("http-{}", name_of(nb))},
                    {"port", kServicePort},
                    {"protocol", "TCP"},
                    {"targetPort", int_at(nb, "spec.template.spec.containers.0.ports.0.containerPort", kPort)}}}}};
  return o;
}

Object route(const Object& nb) {
  Object o = make_object("networking.istio.io/v1", "VirtualService", namespace_of(nb),
                         fmt::format("notebook-{}-{}", namespace_of(nb), name_of(nb)));
  auto prefix = prefix_of(nb) + "/";
  auto rewrite = std::string(annotation(nb, kRewrite));
  if (rewrite.empty()) rewrite = prefix;
  Object http{
      {"match", Array{Object{{"uri", Object{{"prefix", prefix}}}}}},
      {"rewrite", Object{{"uri", rewrite}}},
      {"route", Array{Object{{"destination",
                              Object{{"host", fmt::format("{}.{}.svc.cluster.local", name_of(nb), namespace_of(nb))},
                                     {"port", Object{{"number", kServicePort}}}}}}}},
      {"timeout", "300s"}};
  // An annotation that is no object of texts sets no headers.
  Object set;
  if (auto given = json::parse(annotation(nb, kHeaders)); given && given->is_object())
    for (const auto& [k, v] : given->get_object())
      if (v.is_string()) set[k] = v;
  if (!set.empty()) http["headers"] = Object{{"request", Object{{"set", std::move(set)}}}};
  o["spec"] = Object{{"gateways", Array{kGateway}}, {"hosts", Array{"*"}}, {"http", Array{std::move(http)}}};
  return o;
}

// As much of the pod as a notebook shows.
Object status_of_notebook(const Object& nb, const Object* set, const Object* pod) {
  Object status{{"conditions", Array{}},
                {"readyReplicas", set != nullptr ? int_at(*set, "status.readyReplicas") : 0},
                {"containerState", Object{}}};
  if (pod == nullptr) return status;
  for (const auto& c : array_at(*pod, "status.containerStatuses"))
    if (c.is_object() && text_at(c.get_object(), "name") == name_of(nb))
      status["containerState"] = object_at(c.get_object(), "state");
  Array conditions;
  for (const auto& c : array_at(*pod, "status.conditions")) {
    if (!c.is_object()) continue;
    Object one;
    for (const char* f : {"type", "status", "reason", "message", "lastProbeTime", "lastTransitionTime"})
      if (const auto* v = c.get_object().if_contains(f); v != nullptr && v->is_string()) one[f] = *v;
    conditions.push_back(std::move(one));
  }
  status["conditions"] = std::move(conditions);
  return status;
}

task::Task<Result<Again>> reconcile_notebook(Manager& m, const Kinds& kinds, Key key) {
  auto nb = m.informer(kNotebooks).get(key);
  if (!nb || deleting(*nb)) co_return Again{};
  auto done = co_await keep_owned(m, kinds, gvr::statefulsets, *nb, stateful_set(*nb),
                                  {"spec.template", "spec.replicas"}, Found::must_be_ours);
  if (done)
    done = co_await keep_owned(m, kinds, gvr::services, *nb, service(*nb), {"spec.ports", "spec.selector"},
                               Found::must_be_ours);
  if (done) done = co_await keep_owned(m, kinds, gvr::virtualservices, *nb, route(*nb), {"spec"}, Found::must_be_ours);
  if (!done) {
    // A lost race is nothing to tell; what stands in the way, or is refused, is.
    if (done.error().message.contains("is there already") || done.error().reason == "Invalid")
      m.event(*nb, "Warning", "FailedCreate", done.error().message, kNotebookComponent);
    co_return std::unexpected(done.error());
  }
  auto sts = m.informer(gvr::statefulsets).get(key);
  auto pod = m.informer(gvr::pods).get({key.ns, key.name + "-0"});
  if (pod && label(*pod, kLabel) != key.name) pod = nullptr;
  MR_CO_CHECK(co_await write_status(m, kNotebooks, *nb, status_of_notebook(*nb, sts.get(), pod.get())));
  co_return Again{};
}

// Tells the notebook what is told of its pod and its StatefulSet, from now on.
void reissue(Manager& m, std::int64_t since, const ObjectPtr& now, const ObjectPtr& before) {
  if (!now || (before && int_at(*before, "count") == int_at(*now, "count"))) return;
  auto kind = text_at(*now, "involvedObject.kind");
  if (kind != "Pod" && kind != "StatefulSet") return;
  if (unix_of(text_at(*now, "lastTimestamp", text_at(*now, "eventTime"))) < since) return;
  auto ns = std::string(namespace_of(*now));
  auto about = std::string(text_at(*now, "involvedObject.name"));
  auto name = about;
  if (kind == "Pod") {
    // The pod may not have been seen yet: then its name says whose it is.
    auto pod = m.informer(gvr::pods).get({ns, about});
    name = pod ? std::string(label(*pod, kLabel)) : about.ends_with("-0") ? about.substr(0, about.size() - 2) : "";
  }
  auto nb = m.informer(kNotebooks).get({ns, name});
  if (!nb) return;
  m.event(
      *nb, text_at(*now, "type", "Normal"), text_at(*now, "reason"),
      fmt::format("Reissued from {}/{}: {}", kind == "Pod" ? "pod" : "statefulset", about, text_at(*now, "message")),
      kNotebookComponent);
}

}  // namespace

void add_notebook_controller(Manager& m, const Kinds& kinds) {
  auto& q = m.controller("notebook", [&m, &kinds](Key key) { return reconcile_notebook(m, kinds, std::move(key)); });
  m.enqueue_changes(m.informer(kNotebooks), q);
  for (const auto& r : {gvr::statefulsets, gvr::services, gvr::virtualservices})
    m.enqueue_owner(m.informer(r), "Notebook", q);
  m.informer(gvr::pods).on_change([&q](const ObjectPtr& now, const ObjectPtr& before) {
    const auto& pod = now ? *now : *before;
    if (auto name = label(pod, kLabel); !name.empty()) q.add({std::string(namespace_of(pod)), std::string(name)});
  });
  m.informer(gvr::events).on_change([&m, since = time::now_ms() / 1000](const ObjectPtr& now, const ObjectPtr& before) {
    reissue(m, since, now, before);
  });
}

}  // namespace mr::kube
