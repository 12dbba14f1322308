#include <boost/json/array.hpp>

#include "kube/admission_rules.h"
#include "kube/names.h"
#include "text/text.h"

namespace mr::kube {

namespace {

constexpr std::string_view ip_fault = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";

void check_service_port(FieldErrors& e, const Object& p, const std::string& here, bool several, std::string_view type,
                        std::set<std::string>& names, bool headless) {
  auto name = text_at(p, "name");
  if (name.empty()) {
    if (several) e.push_back(required(sub(here, "name")));
  } else if (auto faults = dns_label(name); !faults.empty()) {
    invalid_all(e, sub(here, "name"), Value(name), faults);
  } else if (!names.emplace(name).second) {
    e.push_back(duplicate(sub(here, "name"), Value(name)));
  }
  auto port = int_at(p, "port");
  invalid_all(e, sub(here, "port"), Value(port), port_number(port));
  check_one_of(e, sub(here, "protocol"), Value(text_at(p, "protocol")), {"SCTP", "TCP", "UDP"});
  const auto* target = p.if_contains("targetPort");
  if (target != nullptr && target->is_string())
    invalid_all(e, sub(here, "targetPort"), *target, port_name(std::string_view(target->get_string())));
  else
    invalid_all(e, sub(here, "targetPort"), Value(int_at(p, "targetPort")), port_number(int_at(p, "targetPort")));
  if (auto node = int_at(p, "nodePort"); node != 0) {
    if (type == "ClusterIP")
      e.push_back(forbidden(sub(here, "nodePort"), "may not be used when `type` is 'ClusterIP'"));
    else if (!headless && (node < 30000 || node > 32767))
      e.push_back(invalid(sub(here, "nodePort"), Value(node),
                          "provided port is not in the valid range. The range of valid ports is 30000-32767"));
  }
}

void check_service(FieldErrors& e, const Object& o, const Object* before) {
  const auto& spec = object_at(o, "spec");
  auto type = text_at(spec, "type", "ClusterIP");
  auto cluster_ip = text_at(spec, "clusterIP");
  if (cluster_ip.empty() && !array_at(spec, "clusterIPs").empty()) cluster_ip = text_at(spec, "clusterIPs.0");
  const bool headless = cluster_ip == "None";
  const auto& ports = array_at(spec, "ports");
  if (ports.empty() && !headless && type != "ExternalName") e.push_back(required("spec.ports"));
  if (type == "ExternalName") {
    auto name = text_at(spec, "externalName");
    if (name.ends_with('.')) name.remove_suffix(1);
    if (name.empty())
      e.push_back(required("spec.externalName"));
    else
      invalid_all(e, "spec.externalName", Value(name), dns_subdomain(name));
  } else if (headless && (type == "NodePort" || type == "LoadBalancer")) {
    e.push_back(invalid("spec.clusterIPs[0]", "None", fmt::format("may not be set to 'None' for {} services", type)));
  } else if (!cluster_ip.empty() && !headless && !is_ip(cluster_ip)) {
    e.push_back(invalid("spec.clusterIPs[0]", Value(cluster_ip), ip_fault));
  }
  std::set<std::string> names, seen;
  for (std::size_t i = 0; i < ports.size(); ++i) {
    if (!ports[i].is_object()) continue;
    const auto& p = ports[i].get_object();
    auto here = item("spec.ports", i);
    check_service_port(e, p, here, ports.size() > 1, type, names, headless);
    auto protocol = text_at(p, "protocol", "TCP");
    if (!seen.insert(fmt::format("{}/{}", protocol, int_at(p, "port"))).second)
      e.push_back({"FieldValueDuplicate", here,
                   fmt::format("Duplicate value: core.ServicePort{{Name:\"\", Protocol:{}, AppProtocol:(*string)(nil), "
                               "Port:{}, TargetPort:intstr.IntOrString{{Type:0, IntVal:0, StrVal:\"\"}}, NodePort:0}}",
                               in_quotes(protocol), int_at(p, "port"))});
  }
  check_labels(e, object_at(spec, "selector"), "spec.selector");
  check_one_of(e, "spec.sessionAffinity", Value(text_at(spec, "sessionAffinity")), {"ClientIP", "None"});
  if (text_at(spec, "sessionAffinity") == "ClientIP") {
    auto seconds = int_at(spec, "sessionAffinityConfig.clientIP.timeoutSeconds", 10800);
    if (seconds <= 0 || seconds > 86400)
      e.push_back(invalid("spec.sessionAffinityConfig.clientIP.timeoutSeconds", Value(seconds),
                          "must be greater than 0 and less than 86400"));
  }
  check_one_of(e, "spec.type", Value(type), {"ClusterIP", "ExternalName", "LoadBalancer", "NodePort"});
  const auto& addresses = array_at(spec, "externalIPs");
  for (std::size_t i = 0; i < addresses.size(); ++i)
    if (addresses[i].is_string() && !is_ip(std::string_view(addresses[i].get_string())))
      e.push_back(invalid(item("spec.externalIPs", i), addresses[i], ip_fault));
  if (auto policy = text_at(spec, "externalTrafficPolicy"); !policy.empty()) {
    if (type != "NodePort" && type != "LoadBalancer" && addresses.empty())
      e.push_back(
          invalid("spec.externalTrafficPolicy", Value(policy), "may only be set for externally-accessible services"));
    else
      check_one_of(e, "spec.externalTrafficPolicy", Value(policy), {"Cluster", "Local"});
  }
  if (auto policy = text_at(spec, "internalTrafficPolicy"); !policy.empty())
    check_one_of(e, "spec.internalTrafficPolicy", Value(policy), {"Cluster", "Local"});
  const auto before_families = e.size();
  const auto& families = array_at(spec, "ipFamilies");
  for (std::size_t i = 0; i < families.size(); ++i) {
    if (families[i] == "IPv6" && headless)
      continue;  // nothing is given an address
    else if (families[i] == "IPv6")
      e.push_back(invalid(item("spec.ipFamilies", i), families[i], "not configured on this cluster"));
    else
      check_one_of(e, item("spec.ipFamilies", i), families[i], {"IPv4", "IPv6"});
  }
  if (auto policy = text_at(spec, "ipFamilyPolicy"); policy == "RequireDualStack" && !headless)
    e.push_back(
        invalid("spec.ipFamilyPolicy", Value(policy), "this cluster is not configured for dual-stack services"));
  // With families that cannot be, no address is looked at.
  if (before == nullptr || e.size() != before_families) return;
  auto old_type = text_at(*before, "spec.type"), old_ip = text_at(*before, "spec.clusterIP");
  if (old_type != "ExternalName" && type != "ExternalName" && !old_ip.empty() && old_ip != cluster_ip)
    e.push_back(
        invalid_raw("spec.clusterIPs[0]", go_texts("string", Array{Value(cluster_ip)}), "may not change once set"));
}

// The real server refuses loopback addresses. Here every pod and Service has one, so they are as good as any.
void check_endpoints(FieldErrors& e, const Object& o) {
  const auto& subsets = array_at(o, "subsets");
  for (std::size_t i = 0; i < subsets.size(); ++i) {
    if (!subsets[i].is_object()) continue;
    const auto& s = subsets[i].get_object();
    auto here = item("subsets", i);
    if (array_at(s, "addresses").empty() && array_at(s, "notReadyAddresses").empty())
      e.push_back(required(here, "must specify `addresses` or `notReadyAddresses`"));
    for (std::string_view list : {"addresses", "notReadyAddresses"}) {
      const auto& addresses = array_at(s, list);
      for (std::size_t j = 0; j < addresses.size(); ++j) {
        if (!addresses[j].is_object()) continue;
        auto ip = text_at(addresses[j].get_object(), "ip");
        auto at = sub(item(sub(here, list), j), "ip");
        if (!is_ip(ip)) {
          e.push_back(invalid(at, Value(ip), ip_fault));
          e.push_back(invalid(at, Value(ip), "must be a valid IP address"));
        }
      }
    }
    const auto& ports = array_at(s, "ports");
    for (std::size_t j = 0; j < ports.size(); ++j) {
      if (!ports[j].is_object()) continue;
      const auto& p = ports[j].get_object();
      auto at = item(sub(here, "ports"), j);
      if (text_at(p, "name").empty() && ports.size() > 1) e.push_back(required(sub(at, "name")));
      if (auto name = text_at(p, "name"); !name.empty()) invalid_all(e, sub(at, "name"), Value(name), dns_label(name));
      invalid_all(e, sub(at, "port"), Value(int_at(p, "port")), port_number(int_at(p, "port")));
    }
  }
}

}  // namespace

void validate_service(FieldErrors& e, std::string_view kind, const Object& o, const Object* before) {
  if (kind == "Service")
    check_service(e, o, before);
  else
    check_endpoints(e, o);
}

}  // namespace mr::kube
