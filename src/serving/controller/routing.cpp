#include "serving/controller/routing.h"

#include <fmt/format.h>

#include <algorithm>

namespace mr::serving {

using kube::Array;
using kube::Object;
using kube::Value;

namespace {

const ComponentState* find(const std::vector<ComponentState>& components, Component c) {
  for (const auto& s : components)
    if (s.component == c) return &s;
  return nullptr;
}

const Revision* revision(const ComponentState& c, std::string_view name) {
  for (const auto& r : c.revisions)
    if (r.name == name) return &r;
  return nullptr;
}

std::vector<const Traffic::Target*> with_traffic(const ComponentState& c) {
  std::vector<const Traffic::Target*> out;
  for (const auto& t : c.traffic.targets)
    if (t.percent > 0) out.push_back(&t);
  return out;
}

Object owned(std::string_view api, std::string_view kind, const Object& isvc, const std::string& name) {
  auto o = kube::make_object(api, kind, kube::namespace_of(isvc), name);
  auto& meta = kube::metadata(o);
  meta["labels"] = Object{{"serving.kserve.io/inferenceservice", kube::name_of(isvc)}};
  meta["ownerReferences"] = Array{kube::owner_reference(isvc)};
  return o;
}

// A Service in front of what a component serves now.
void add_service(const Object& isvc, const std::string& name, const ComponentState& c, const RoutingOptions& o,
                 std::vector<Object>& out) {
  auto targets = with_traffic(c);
  if (targets.empty()) return;
  const auto* first = revision(c, targets.front()->revision);
  if (first == nullptr) return;
  auto s = owned("v1", "Service", isvc, name);
  kube::metadata(s)["labels"].as_object()["component"] = component_name(c.component);
  auto& spec = kube::ensure(s, "spec");
  spec["type"] = "ClusterIP";
  Object port{{"name", "http"}, {"port", 80}, {"protocol", "TCP"}};
  if ((targets.size() > 1 || c.on_demand || !c.traffic.shadow.empty()) && !o.gateway_address.empty()) {
    // Shares by weight, and pods that come with demand, are the gateway's work: this name leads there, as in Knative.
    port["targetPort"] = o.gateway_port;
    Array ports{std::move(port)}, targets_of{Object{{"name", "http"}, {"port", o.gateway_port}, {"protocol", "TCP"}}};
    if (first->grpc_port != 0) {
      ports.push_back(
          Object{{"name", "grpc"}, {"port", kGrpcPort}, {"protocol", "TCP"}, {"targetPort", o.gateway_port}});
      targets_of.push_back(Object{{"name", "grpc"}, {"port", o.gateway_port}, {"protocol", "TCP"}});
    }
    spec["ports"] = std::move(ports);
    out.push_back(std::move(s));
    auto e = owned("v1", "Endpoints", isvc, name);
    e["subsets"] =
        Array{Object{{"addresses", Array{Object{{"ip", o.gateway_address}}}}, {"ports", std::move(targets_of)}}};
    out.push_back(std::move(e));
    return;
  }
  port["targetPort"] = first->builtin ? 8012 : first->port;
  Array ports{std::move(port)};
  if (first->grpc_port != 0)
    ports.push_back(
        Object{{"name", "grpc"}, {"port", kGrpcPort}, {"protocol", "TCP"}, {"targetPort", first->grpc_port}});
  spec["ports"] = std::move(ports);
  if (targets.size() == 1)
    spec["selector"] = Object{{"serving.knative.dev/revision", first->name}};
  else
    spec["selector"] =
        Object{{"serving.kserve.io/inferenceservice", kube::name_of(isvc)}, {"component", component_name(c.component)}};
  out.push_back(std::move(s));
}

std::string revision_host(const Object& isvc, std::string_view revision) {
  return fmt::format("{}.{}.svc.cluster.local", revision, kube::namespace_of(isvc));
}

Array destinations(const Object& isvc, const ComponentState& c, std::string_view only = {}) {
  Array out;
  auto targets = with_traffic(c);
  for (const auto* t : targets) {
    if (!only.empty() && t->revision != only) continue;
    out.push_back(
        Object{{"destination", Object{{"host", revision_host(isvc, t->revision)}, {"port", Object{{"number", 80}}}}},
               {"weight", only.empty() ? t->percent : 100},
               {"headers",
                Object{{"request", Object{{"set", Object{{"KServe-Isvc-Name", kube::name_of(isvc)},
                                                         {"KServe-Isvc-Namespace", kube::namespace_of(isvc)}}}}}}}});
  }
  return out;
}

// The rule with copies for the component's shadow.
Object mirrored(Object rule, const Object& isvc, const ComponentState& c) {
  if (c.traffic.shadow.empty()) return rule;
  rule["mirrors"] = Array{
      Object{{"destination", Object{{"host", revision_host(isvc, c.traffic.shadow)}, {"port", Object{{"number", 80}}}}},
             {"percentage", Object{{"value", c.traffic.shadow_percent}}}}};
  return rule;
}

Object rule(Array routes, Array match, std::string_view rewrite, std::string_view timeout) {
  Object o;
  if (!match.empty()) o["match"] = std::move(match);
  if (!rewrite.empty()) o["rewrite"] = Object{{"uri", rewrite}};
  o["route"] = std::move(routes);
  if (!timeout.empty()) o["timeout"] = timeout;
  return o;
}

// The component's seconds for a request; Knative's default where none is said.
std::string timeout_of(const Object& isvc, Component c) {
  return fmt::format(
      "{}s", std::max<std::int64_t>(1, kube::int_at(isvc, fmt::format("spec.{}.timeout", component_name(c)), 300)));
}

Object make_route(const Object& isvc, const std::string& name, std::vector<std::string> hosts, Array http,
                  const RoutingOptions& o) {
  auto v = owned("networking.istio.io/v1", "VirtualService", isvc, name);
  auto& spec = kube::ensure(v, "spec");
  spec["gateways"] = Array{Value(o.gateway)};
  Array list;
  for (auto& h : hosts) list.emplace_back(h);
  spec["hosts"] = std::move(list);
  spec["http"] = std::move(http);
  return v;
}

std::vector<std::string> inside_names(const Object& isvc, const std::string& service) {
  auto base = fmt::format("{}.{}", service, kube::namespace_of(isvc));
  return {base + ".svc.cluster.local", base + ".svc", base};
}

}  // namespace

std::vector<Object> name_services(const Object& isvc, const std::vector<ComponentState>& components,
                                  const RoutingOptions& o) {
  std::vector<Object> out;
  std::string name(kube::name_of(isvc));
  for (const auto& c : components)
    add_service(isvc, fmt::format("{}-{}", name, component_name(c.component)), c, o, out);
  const auto* top = find(components, Component::transformer);
  if (top == nullptr) top = find(components, Component::predictor);
  if (top != nullptr) add_service(isvc, name, *top, o, out);
  return out;
}

std::vector<Object> virtual_services(const Object& isvc, const std::vector<ComponentState>& components,
                                     const RoutingOptions& o) {
  std::vector<Object> out;
  std::string name(kube::name_of(isvc));
  for (const auto& c : components)
    if (with_traffic(c).empty()) return out;
  const auto* predictor = find(components, Component::predictor);
  const auto* transformer = find(components, Component::transformer);
  const auto* explainer = find(components, Component::explainer);
  const auto* top = transformer != nullptr ? transformer : predictor;
  if (top == nullptr) return out;
  bool inside_only = cluster_local(isvc);
  auto rules = [&](const std::string& prefix) {
    Array http;
    auto timeout = timeout_of(isvc, top->component);
    if (explainer != nullptr) {
      Object uri{{"regex", fmt::format("^{}/v1/models/[^/:]+(:|%3A)explain$", prefix)}};
      // A regular expression cannot be rewritten by prefix: by path, explanations need the host.
      if (prefix.empty())
        http.push_back(rule(destinations(isvc, *explainer), Array{Object{{"uri", std::move(uri)}}}, "",
                            timeout_of(isvc, Component::explainer)));
    }
    if (prefix.empty()) {
      http.push_back(mirrored(rule(destinations(isvc, *top), {}, "", timeout), isvc, *top));
    } else {
      Array match{Object{{"uri", Object{{"prefix", prefix + "/"}}}}};
      http.push_back(mirrored(rule(destinations(isvc, *top), std::move(match), "/", timeout), isvc, *top));
    }
    return http;
  };
  auto hosts = inside_names(isvc, name);
  if (!inside_only) hosts.insert(hosts.begin(), outside_host(isvc, o.urls));
  out.push_back(make_route(isvc, name, hosts, rules(""), o));
  if (!inside_only)
    out.push_back(make_route(isvc, name + "-path", {"*"},
                             rules(fmt::format("/serving/{}/{}", kube::namespace_of(isvc), name)), o));
  for (const auto& c : components) {
    auto service = fmt::format("{}-{}", name, component_name(c.component));
    auto names = inside_names(isvc, service);
    if (!inside_only) names.insert(names.begin(), component_host(isvc, c.component, o.urls));
    out.push_back(
        make_route(isvc, service, names,
                   Array{mirrored(rule(destinations(isvc, c), {}, "", timeout_of(isvc, c.component)), isvc, c)}, o));
    for (const auto& t : c.traffic.targets) {
      if (t.tag.empty() || inside_only) continue;
      ComponentState only = c;
      only.traffic.targets = {t};
      only.traffic.targets[0].percent = 100;
      out.push_back(make_route(isvc, fmt::format("{}-{}", service, t.tag),
                               {fmt::format("{}-{}", t.tag, component_host(isvc, c.component, o.urls))},
                               Array{rule(destinations(isvc, only), {}, "", timeout_of(isvc, c.component))}, o));
    }
  }
  return out;
}

}  // namespace mr::serving
