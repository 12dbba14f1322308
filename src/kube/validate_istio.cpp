// What istiod's webhook refuses, for the kinds that have a meaning here.
#include <boost/json/array.hpp>

#include "kube/admission_rules.h"
#include "kube/names.h"
#include "text/text.h"

namespace mr::kube {

namespace {

bool host_name(std::string_view h) {
  if (h == "*") return true;
  if (h.starts_with("*.")) h.remove_prefix(2);
  return dns_subdomain(text::lower(h)).empty() || is_ip(h);
}

void check_destination(FieldErrors& e, const Object& route, const std::string& path) {
  const auto* d = child(route, "destination");
  if (d == nullptr) {
    e.push_back(required(sub(path, "destination"), "destination is required"));
    return;
  }
  auto host = text_at(*d, "host");
  if (host.empty())
    e.push_back(required(sub(path, "destination.host"), "domain name \"\" invalid (label \"\" invalid)"));
  else if (host == "*")
    e.push_back(invalid(sub(path, "destination.host"), Value(host), "invalid destination host *"));
  else if (!host_name(host))
    e.push_back(invalid(sub(path, "destination.host"), Value(host), "must be a host name"));
  if (const auto* n = at(*d, "port.number"); n != nullptr && n->is_number())
    if (auto p = int_at(*d, "port.number"); p < 1 || p > 65535)
      e.push_back(invalid(sub(path, "destination.port.number"), *n,
                          fmt::format("port number {} must be in the range 1..65535", p)));
}

void check_match(FieldErrors& e, const Object& m, const std::string& path) {
  for (std::string_view key : {"uri", "scheme", "method", "authority"}) {
    const auto* s = child(m, key);
    if (s == nullptr) continue;
    int kinds = 0;
    for (auto how : {"exact", "prefix", "regex"})
      if (s->contains(how)) ++kinds;
    if (kinds > 1) e.push_back(invalid(sub(path, key), Value(*s), "only one of exact, prefix and regex may be given"));
  }
}

void check_http(FieldErrors& e, const Object& r, const std::string& path) {
  const auto& matches = array_at(r, "match");
  for (std::size_t i = 0; i < matches.size(); ++i)
    if (matches[i].is_object()) check_match(e, matches[i].get_object(), item(sub(path, "match"), i));
  const auto& routes = array_at(r, "route");
  const bool redirect = child(r, "redirect") != nullptr, direct = child(r, "directResponse") != nullptr;
  if (redirect && !routes.empty())
    e.push_back(invalid(path, Value(Object{}), "HTTP route cannot contain both route and redirect"));
  if (!redirect && !direct && child(r, "delegate") == nullptr && routes.empty())
    e.push_back(invalid(path, Value(Object{}), "HTTP route, redirect or direct_response is required"));
  if (redirect && child(r, "rewrite") != nullptr)
    e.push_back(invalid(path, Value(Object{}), "HTTP route rule cannot contain both rewrite and redirect"));
  std::int64_t total = 0;
  for (std::size_t i = 0; i < routes.size(); ++i) {
    if (!routes[i].is_object()) continue;
    const auto& d = routes[i].get_object();
    auto here = item(sub(path, "route"), i);
    check_destination(e, d, here);
    auto weight = int_at(d, "weight");
    if (weight < 0) e.push_back(invalid(sub(here, "weight"), Value(weight), fmt::format("weight {} < 0", weight)));
    total += weight;
  }
  if (routes.size() > 1 && total == 0)
    e.push_back(invalid(sub(path, "route"), Value(std::int64_t(0)), "total destination weight = 0"));
}

void check_virtual_service(FieldErrors& e, const Object& o) {
  const auto& spec = object_at(o, "spec");
  const auto& hosts = array_at(spec, "hosts");
  bool delegate = hosts.empty();
  if (delegate && !array_at(spec, "gateways").empty())
    e.push_back(required("spec.hosts", "virtual service must have at least one host"));
  bool mesh = array_at(spec, "gateways").empty();
  for (const auto& g : array_at(spec, "gateways")) mesh |= g == "mesh";
  std::set<std::string_view> seen;
  for (std::size_t i = 0; i < hosts.size(); ++i) {
    if (!hosts[i].is_string()) continue;
    std::string_view h = hosts[i].get_string();
    if (!host_name(h))
      e.push_back(invalid(item("spec.hosts", i), hosts[i], "must be a host name, an IP address or a wildcard"));
    if (h == "*" && mesh)
      e.push_back(invalid(item("spec.hosts", i), hosts[i],
                          "wildcard host * is not allowed for virtual services bound to the mesh gateway"));
    if (!seen.insert(h).second)
      e.push_back(invalid(item("spec.hosts", i), hosts[i], "duplicate hosts in virtual service"));
  }
  const auto& http = array_at(spec, "http");
  if (http.empty() && array_at(spec, "tcp").empty() && array_at(spec, "tls").empty())
    e.push_back(required("spec", "http, tcp or tls must be provided in virtual service"));
  for (std::size_t i = 0; i < http.size(); ++i)
    if (http[i].is_object()) check_http(e, http[i].get_object(), item("spec.http", i));
}

void check_destination_rule(FieldErrors& e, const Object& o) {
  const auto& spec = object_at(o, "spec");
  auto host = text_at(spec, "host");
  if (host.empty())
    e.push_back(required("spec.host", "host cannot be empty"));
  else if (!host_name(host))
    e.push_back(invalid("spec.host", Value(host), "must be a host name or a wildcard"));
  const auto& subsets = array_at(spec, "subsets");
  for (std::size_t i = 0; i < subsets.size(); ++i)
    if (subsets[i].is_object() && text_at(subsets[i].get_object(), "name").empty())
      e.push_back(required(sub(item("spec.subsets", i), "name"), "subset name cannot be empty"));
  if (auto mode = text_at(spec, "trafficPolicy.tls.mode"); !mode.empty())
    check_one_of(e, "spec.trafficPolicy.tls.mode", Value(mode), {"DISABLE", "SIMPLE", "MUTUAL", "ISTIO_MUTUAL"});
}

void check_gateway(FieldErrors& e, const Object& o) {
  const auto& servers = array_at(o, "spec.servers");
  if (servers.empty()) e.push_back(required("spec.servers", "gateway must have at least one server"));
  for (std::size_t i = 0; i < servers.size(); ++i) {
    if (!servers[i].is_object()) continue;
    const auto& s = servers[i].get_object();
    auto here = item("spec.servers", i);
    if (array_at(s, "hosts").empty())
      e.push_back(required(sub(here, "hosts"), "server config must contain at least one host"));
    auto n = int_at(s, "port.number");
    if (n < 1 || n > 65535)
      e.push_back(
          invalid(sub(here, "port.number"), Value(n), fmt::format("port number {} must be in the range 1..65535", n)));
    if (text_at(s, "port.protocol").empty()) e.push_back(required(sub(here, "port.protocol")));
  }
}

void check_authorization(FieldErrors& e, const Object& o) {
  const auto& spec = object_at(o, "spec");
  if (const auto* action = spec.if_contains("action"); action != nullptr && !action->is_null())
    check_one_of(e, "spec.action", *action, {"ALLOW", "DENY", "AUDIT", "CUSTOM"});
  auto action = text_at(spec, "action", "ALLOW");
  const auto& rules = array_at(spec, "rules");
  if (action == "CUSTOM" && text_at(spec, "provider.name").empty())
    e.push_back(required("spec.provider.name", "`provider.name` must not be empty"));
  if (action == "DENY" && rules.empty())
    e.push_back(required("spec.rules",
                         "a DENY policy without `rules` is meaningless as it will never be triggered, "
                         "please add an empty rule `{}` if you want it to be triggered for every request"));
  for (std::size_t i = 0; i < rules.size(); ++i) {
    if (!rules[i].is_object()) continue;
    const auto& r = rules[i].get_object();
    auto here = item("spec.rules", i);
    for (auto [list, part] : {std::pair{"from", "source"}, std::pair{"to", "operation"}}) {
      const auto& all = array_at(r, list);
      if (r.contains(list) && all.empty())
        e.push_back(required(sub(here, list), fmt::format("`{}` cannot be empty, must have at least one entry", list)));
      for (std::size_t j = 0; j < all.size(); ++j)
        if (all[j].is_object() && object_at(all[j].get_object(), part).empty())
          e.push_back(required(sub(item(sub(here, list), j), part),
                               fmt::format("`{}.{}` must have at least one field", list, part)));
    }
    const auto& when = array_at(r, "when");
    for (std::size_t j = 0; j < when.size(); ++j) {
      if (!when[j].is_object()) continue;
      const auto& w = when[j].get_object();
      auto at = item(sub(here, "when"), j);
      if (text_at(w, "key").empty()) e.push_back(required(sub(at, "key"), "`key` cannot be empty"));
      if (array_at(w, "values").empty() && array_at(w, "notValues").empty())
        e.push_back(required(at, "at least one of `values` or `notValues` must be set"));
    }
  }
}

}  // namespace

void validate_istio(FieldErrors& e, std::string_view kind, const Object& o, const Object*) {
  if (kind == "VirtualService") {
    check_virtual_service(e, o);
  } else if (kind == "DestinationRule") {
    check_destination_rule(e, o);
  } else if (kind == "Gateway") {
    check_gateway(e, o);
  } else if (kind == "AuthorizationPolicy") {
    check_authorization(e, o);
  } else if (kind == "PeerAuthentication") {
    if (const auto* mode = at(o, "spec.mtls.mode"))
      check_one_of(e, "spec.mtls.mode", *mode, {"UNSET", "DISABLE", "PERMISSIVE", "STRICT"});
  } else if (kind == "RequestAuthentication") {
    const auto& rules = array_at(o, "spec.jwtRules");
    for (std::size_t i = 0; i < rules.size(); ++i)
      if (rules[i].is_object() && text_at(rules[i].get_object(), "issuer").empty())
        e.push_back(required(sub(item("spec.jwtRules", i), "issuer"), "issuer must be set"));
  }
}

}  // namespace mr::kube
