#include "kube/controllers/controllers.h"
#include "kube/controllers/pods.h"

namespace mr::kube {

namespace {

// The number that a service port's target means in this pod; 0: the pod has no port of that name.
std::int64_t target_port(const Object& port, const Object& pod) {
  const auto* target = port.if_contains("targetPort");
  if (target == nullptr || target->is_null()) return int_at(port, "port");
  if (target->is_int64()) return target->get_int64() != 0 ? target->get_int64() : int_at(port, "port");
  if (!target->is_string()) return 0;
  for (const char* list : {"spec.containers", "spec.initContainers"})
    for (const auto& c : array_at(pod, list))
      for (const auto& p : array_at(c.get_object(), "ports"))
        if (text_at(p.get_object(), "name") == std::string_view(target->get_string()) &&
            text_at(p.get_object(), "protocol", "TCP") == text_at(port, "protocol", "TCP"))
          return int_at(p.get_object(), "containerPort");
  return 0;
}

Object address_of(const Object& pod, const Object& service) {
  Object a{{"ip", text_at(pod, "status.podIP")}};
  if (auto h = text_at(pod, "spec.hostname"); !h.empty() && text_at(pod, "spec.subdomain") == name_of(service))
    a["hostname"] = h;
  a["nodeName"] = text_at(pod, "spec.nodeName");
  a["targetRef"] =
      Object{{"kind", "Pod"}, {"namespace", namespace_of(pod)}, {"name", name_of(pod)}, {"uid", uid_of(pod)}};
  return a;
}

task::Task<Result<void>> write(Manager& m, const Gvr& r, Object wanted) {
  auto key = key_of(wanted);
  auto current = m.informer(r).get(key);
  if (!current) {
    auto made = co_await m.client().create(r, std::move(wanted));
    if (!made && made.error().reason != "AlreadyExists") co_return std::unexpected(made.error());
    if (!made) co_return fail(Code::conflict, "seen later", "Conflict");
    co_await seen(m.informer(r), key, resource_version_of(**made));
    co_return Result<void>{};
  }
  Object next = *current;
  bool changed = false;
  for (const char* f : {"subsets", "endpoints", "ports", "addressType"}) {
    const auto* w = wanted.if_contains(f);
    const auto* h = next.if_contains(f);
    if (w == nullptr && h == nullptr) continue;
    if (w != nullptr && h != nullptr && *w == *h) continue;
    changed = true;
    if (w != nullptr)
      next[f] = *w;
    else
      next.erase(f);
  }
  if (!changed) co_return Result<void>{};
  auto done = co_await m.client().update(r, std::move(next));
  if (!done) co_return std::unexpected(done.error());
  co_await seen(m.informer(r), key, resource_version_of(**done));
  co_return Result<void>{};
}

task::Task<Result<Again>> reconcile_endpoints(Manager& m, Key key) {
  auto service = m.informer(gvr::services).get(key);
  if (!service) {
    // The slice goes with its owner; Endpoints of the same name have none, and go here.
    auto old = m.informer(gvr::endpoints).get(key);
    if (old && !annotation(*old, "endpoints.kubernetes.io/last-change-trigger-time").empty())
      (void)co_await m.client().remove(gvr::endpoints, key);
    co_return Again{};
  }
  const auto& selector = object_at(*service, "spec.selector");
  if (selector.empty() || text_at(*service, "spec.type") == "ExternalName" || deleting(*service)) co_return Again{};
  bool publish_unready = bool_at(*service, "spec.publishNotReadyAddresses");
  // Pods whose named ports differ stand in subsets of their own.
  struct Subset {
    Array ready, waiting;
  };
  std::map<std::vector<std::int64_t>, Subset> by_ports;
  Array slice_endpoints;
  Array slice_ports;
  const auto& ports = array_at(*service, "spec.ports");
  bool ports_known = false;
  for (const auto& p : m.informer(gvr::pods).list(key.ns)) {
    if (!has_labels(object_at(*p, "metadata.labels"), selector)) continue;
    auto phase = text_at(*p, "status.phase");
    if (text_at(*p, "status.podIP").empty() || phase == "Succeeded" || phase == "Failed") continue;
    std::vector<std::int64_t> numbers;
    bool usable = true;
    for (const auto& port : ports) {
      numbers.push_back(target_port(port.get_object(), *p));
      usable = usable && numbers.back() != 0;
    }
    if (!usable && ports.size() == 1) continue;
    bool ready = (pod_ready(*p) && !deleting(*p)) || publish_unready;
    auto& subset = by_ports[numbers];
    (ready ? subset.ready : subset.waiting).push_back(address_of(*p, *service));
    Object e{{"addresses", Array{Value(text_at(*p, "status.podIP"))}},
             {"conditions", Object{{"ready", ready}, {"serving", pod_ready(*p)}, {"terminating", deleting(*p)}}},
             {"nodeName", text_at(*p, "spec.nodeName")},
             {"targetRef", address_of(*p, *service)["targetRef"]}};
    if (auto h = text_at(*p, "spec.hostname"); !h.empty()) e["hostname"] = h;
    slice_endpoints.push_back(std::move(e));
    if (!ports_known) {
      ports_known = true;
      for (std::size_t i = 0; i < ports.size(); ++i)
        slice_ports.push_back(Object{{"name", text_at(ports[i].get_object(), "name")},
                                     {"port", numbers[i]},
                                     {"protocol", text_at(ports[i].get_object(), "protocol", "TCP")}});
    }
  }
  Array subsets;
  for (auto& [numbers, s] : by_ports) {
    Object o;
    if (!s.ready.empty()) o["addresses"] = std::move(s.ready);
    if (!s.waiting.empty()) o["notReadyAddresses"] = std::move(s.waiting);
    Array out;
    for (std::size_t i = 0; i < ports.size(); ++i) {
      if (numbers[i] == 0) continue;
      const auto& port = ports[i].get_object();
      Object q;
      if (auto n = text_at(port, "name"); !n.empty()) q["name"] = n;
      q["port"] = numbers[i];
      q["protocol"] = text_at(port, "protocol", "TCP");
      out.push_back(std::move(q));
    }
    if (!out.empty()) o["ports"] = std::move(out);
    subsets.push_back(std::move(o));
  }
  Object endpoints = make_object("v1", "Endpoints", key.ns, key.name);
  metadata(endpoints)["labels"] = object_at(*service, "metadata.labels");
  ensure(endpoints, "metadata.annotations")["endpoints.kubernetes.io/last-change-trigger-time"] = now_text();
  if (!subsets.empty()) endpoints["subsets"] = std::move(subsets);
  MR_CO_CHECK(co_await write(m, gvr::endpoints, std::move(endpoints)));
  Object slice = make_object("discovery.k8s.io/v1", "EndpointSlice", key.ns, key.name + "-millrace");
  auto& labels = ensure(slice, "metadata.labels");
  labels["kubernetes.io/service-name"] = key.name;
  labels["endpointslice.kubernetes.io/managed-by"] = "endpointslice-controller.k8s.io";
  metadata(slice)["ownerReferences"] = Array{owner_reference(*service)};
  slice["addressType"] = "IPv4";
  slice["endpoints"] = std::move(slice_endpoints);
  slice["ports"] = std::move(slice_ports);
  MR_CO_CHECK(co_await write(m, gvr::endpointslices, std::move(slice)));
  co_return Again{};
}

}  // namespace

void add_endpoints_controller(Manager& m) {
  auto& q = m.controller("endpoints", [&m](Key key) { return reconcile_endpoints(m, std::move(key)); });
  m.informer(gvr::endpoints);
  m.informer(gvr::endpointslices);
  m.enqueue_changes(m.informer(gvr::services), q);
  m.informer(gvr::pods).on_change([&m, &q](const ObjectPtr& now, const ObjectPtr& before) {
    for (const auto& p : {now, before}) {
      if (!p) continue;
      for (const auto& s : m.informer(gvr::services).list(namespace_of(*p))) {
        const auto& selector = object_at(*s, "spec.selector");
        if (!selector.empty() && has_labels(object_at(*p, "metadata.labels"), selector)) q.add(key_of(*s));
      }
    }
  });
}

}  // namespace mr::kube
