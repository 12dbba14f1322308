// NetworkPolicy and the small kinds of policy, coordination, discovery and autoscaling.
#include <arpa/inet.h>

#include <boost/json/array.hpp>

#include "kube/admission_rules.h"
#include "kube/names.h"
#include "text/text.h"

namespace mr::kube {

namespace {

struct Prefix {
  int family = 0;
  std::array<unsigned char, 16> bytes{};
  unsigned bits = 0;
};

std::optional<Prefix> prefix_of(std::string_view s) {
  if (!is_cidr(s)) return std::nullopt;
  auto slash = s.find('/');
  Prefix p;
  p.family = s.find(':') == std::string_view::npos ? AF_INET : AF_INET6;
  if (inet_pton(p.family, std::string(s.substr(0, slash)).c_str(), p.bytes.data()) != 1) return std::nullopt;
  p.bits = static_cast<unsigned>(*text::to_u64(s.substr(slash + 1)));
  return p;
}

bool strictly_within(const Prefix& in, const Prefix& out) {
  if (in.family != out.family || in.bits <= out.bits) return false;
  for (unsigned b = 0; b < out.bits; ++b)
    if (((in.bytes[b / 8] ^ out.bytes[b / 8]) >> (7 - b % 8) & 1) != 0) return false;
  return true;
}

void check_block(FieldErrors& e, const Object& block, const std::string& path) {
  auto cidr = text_at(block, "cidr");
  auto whole = prefix_of(cidr);
  if (cidr.empty()) {
    e.push_back(required(sub(path, "cidr")));
    return;
  }
  constexpr std::string_view fault = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
  if (!whole) {
    e.push_back(invalid(sub(path, "cidr"), Value(cidr), fault));
    return;
  }
  const auto& except = array_at(block, "except");
  for (std::size_t i = 0; i < except.size(); ++i) {
    if (!except[i].is_string()) continue;
    auto part = prefix_of(std::string_view(except[i].get_string()));
    auto here = item(sub(path, "except"), i);
    if (!part)
      e.push_back(invalid(here, except[i], fault));
    else if (!strictly_within(*part, *whole))
      e.push_back(invalid(here, except[i], "must be a strict subset of `cidr`"));
  }
}

void check_peers(FieldErrors& e, const Array& peers, const std::string& path) {
  for (std::size_t i = 0; i < peers.size(); ++i) {
    if (!peers[i].is_object()) continue;
    const auto& p = peers[i].get_object();
    auto here = item(path, i);
    int found = 0;
    for (auto key : {"podSelector", "namespaceSelector"})
      if (const auto* s = child(p, key)) {
        ++found;
        check_selector(e, *s, sub(here, key));
      }
    if (const auto* block = child(p, "ipBlock")) {
      if (found > 0)
        e.push_back(forbidden(here, "may not specify both ipBlock and another peer"));
      else
        check_block(e, *block, sub(here, "ipBlock"));
    } else if (found == 0) {
      e.push_back(required(here, "must specify a peer"));
    }
  }
}

void check_policy_ports(FieldErrors& e, const Array& ports, const std::string& path) {
  for (std::size_t i = 0; i < ports.size(); ++i) {
    if (!ports[i].is_object()) continue;
    const auto& p = ports[i].get_object();
    auto here = item(path, i);
    if (auto protocol = text_at(p, "protocol"); !protocol.empty())
      check_one_of(e, sub(here, "protocol"), Value(protocol), {"TCP", "UDP", "SCTP"});
    const auto* port = p.if_contains("port");
    const auto* end = p.if_contains("endPort");
    const bool has_end = end != nullptr && end->is_number();
    if (port == nullptr || port->is_null()) {
      if (has_end)
        e.push_back(invalid(sub(here, "endPort"), *end, "may not be specified when `port` is not specified"));
    } else if (port->is_string()) {
      if (has_end) e.push_back(invalid(sub(here, "endPort"), *end, "may not be specified when `port` is non-numeric"));
      invalid_all(e, sub(here, "port"), *port, port_name(std::string_view(port->get_string())));
    } else {
      auto n = int_at(p, "port");
      invalid_all(e, sub(here, "port"), *port, port_number(n));
      if (has_end) {
        auto last = int_at(p, "endPort");
        // The real server shows the port here.
        if (last < n) e.push_back(invalid(sub(here, "endPort"), *port, "must be greater than or equal to `port`"));
        invalid_all(e, sub(here, "endPort"), *end, port_number(last));
      }
    }
  }
}

void check_network_policy(FieldErrors& e, const Object& o) {
  const auto& spec = object_at(o, "spec");
  if (const auto* s = child(spec, "podSelector")) check_selector(e, *s, "spec.podSelector");
  for (auto [list, peers] : {std::pair{"ingress", "from"}, std::pair{"egress", "to"}}) {
    const auto& rules = array_at(spec, list);
    for (std::size_t i = 0; i < rules.size(); ++i) {
      if (!rules[i].is_object()) continue;
      auto here = item(sub("spec", list), i);
      check_policy_ports(e, array_at(rules[i].get_object(), "ports"), sub(here, "ports"));
      check_peers(e, array_at(rules[i].get_object(), peers), sub(here, peers));
    }
  }
  const auto& types = array_at(spec, "policyTypes");
  if (types.size() > 2) {
    e.push_back(invalid_raw("spec.policyTypes", go_texts("networking.PolicyType", types),
                            "may not specify more than two policyTypes"));
  } else {
    for (std::size_t i = 0; i < types.size(); ++i)
      check_one_of(e, item("spec.policyTypes", i), types[i], {"Egress", "Ingress"});
  }
}

void check_budget(FieldErrors& e, const Object& o) {
  const auto& spec = object_at(o, "spec");
  const auto* least = spec.if_contains("minAvailable");
  const auto* most = spec.if_contains("maxUnavailable");
  if (least != nullptr && !least->is_null() && most != nullptr && !most->is_null())
    e.push_back(invalid_raw("spec",
                            "policy.PodDisruptionBudgetSpec{MinAvailable:(*intstr.IntOrString)(0xc000000000), "
                            "Selector:(*v1.LabelSelector)(nil), MaxUnavailable:(*intstr.IntOrString)(0xc000000000), "
                            "UnhealthyPodEvictionPolicy:(*policy.UnhealthyPodEvictionPolicyType)(nil)}",
                            "minAvailable and maxUnavailable cannot be both set"));
  if (const auto* s = child(spec, "selector")) check_selector(e, *s, "spec.selector");
}

void check_lease(FieldErrors& e, const Object& o) {
  const auto& spec = object_at(o, "spec");
  if (const auto* v = spec.if_contains("leaseDurationSeconds");
      v != nullptr && v->is_number() && int_at(spec, "leaseDurationSeconds") <= 0)
    e.push_back(invalid("spec.leaseDurationSeconds", *v, "must be greater than 0"));
  check_non_negative(e, spec, "spec", "leaseTransitions");
}

void check_autoscaler(FieldErrors& e, const Object& o) {
  const auto& spec = object_at(o, "spec");
  for (auto key : {"kind", "name"})
    if (text_at(object_at(spec, "scaleTargetRef"), key).empty()) e.push_back(required(sub("spec.scaleTargetRef", key)));
  auto least = int_at(spec, "minReplicas", 1), most = int_at(spec, "maxReplicas");
  if (least < 1) e.push_back(invalid("spec.minReplicas", Value(least), "must be greater than or equal to 1"));
  if (most < 1)
    e.push_back(invalid("spec.maxReplicas", Value(most), "must be greater than 0"));
  else if (most < least)
    e.push_back(invalid("spec.maxReplicas", Value(most), "must be greater than or equal to `minReplicas`"));
}

}  // namespace

void validate_networking(FieldErrors& e, std::string_view kind, const Object& o, const Object*) {
  if (kind == "NetworkPolicy")
    check_network_policy(e, o);
  else if (kind == "PodDisruptionBudget")
    check_budget(e, o);
  else if (kind == "Lease")
    check_lease(e, o);
  else if (kind == "HorizontalPodAutoscaler")
    check_autoscaler(e, o);
}

}  // namespace mr::kube
