// Cells of the objects around the pods: services, nodes, events, volumes, bindings.
#include <set>

#include "kube/table_cells.h"
#include "text/text.h"

namespace mr::kube::table {

namespace {

using Now = std::int64_t;
constexpr std::size_t shown = 3;  // entries of a list before "+ n more..."

Value text(std::string_view s) { return Value(s); }
Value or_none(std::string s) { return Value(s.empty() ? std::string("<none>") : std::move(s)); }
// The text at a path; what is not there is "".
template <const char* Path>
Value path_text(const Object& o, Now) {
  return text(text_at(o, Path));
}
template <const char* Path>
Value path_size(const Object& o, Now) {
  const auto* v = at(o, Path);
  std::size_t n = 0;
  if (v && v->is_array()) n = v->get_array().size();
  if (v && v->is_object()) n = v->get_object().size();
  return Value(static_cast<std::int64_t>(n));
}
// The text at a path, or what the printer says of an unset field.
template <const char* Path, const char* Otherwise>
Value path_or(const Object& o, Now) {
  const auto s = text_at(o, Path);
  return text(s.empty() ? std::string_view(Otherwise) : s);
}

constexpr char none[] = "<none>", unset[] = "<unset>", unknown[] = "<unknown>", empty[] = "";
#define MR_PATH(name, path) constexpr char name[] = path
MR_PATH(p_phase, "status.phase");
MR_PATH(p_type, "type");
MR_PATH(p_spec_type, "spec.type");
MR_PATH(p_volume_name, "spec.volumeName");
MR_PATH(p_volume_mode, "spec.volumeMode");
MR_PATH(p_attributes, "spec.volumeAttributesClassName");
MR_PATH(p_reclaim, "spec.persistentVolumeReclaimPolicy");
MR_PATH(p_reason, "reason");
MR_PATH(p_status_reason, "status.reason");
MR_PATH(p_kubelet, "status.nodeInfo.kubeletVersion");
MR_PATH(p_os, "status.nodeInfo.osImage");
MR_PATH(p_kernel, "status.nodeInfo.kernelVersion");
MR_PATH(p_runtime, "status.nodeInfo.containerRuntimeVersion");
MR_PATH(p_secrets, "secrets");
MR_PATH(p_data, "data");
MR_PATH(p_address_type, "addressType");
MR_PATH(p_ingress_class, "spec.ingressClassName");
MR_PATH(p_controller, "spec.controller");
MR_PATH(p_provisioner, "provisioner");
MR_PATH(p_holder, "spec.holderIdentity");
MR_PATH(p_preemption, "preemptionPolicy");
#undef MR_PATH

Value configmap_data(const Object& o, Now) {
  return Value(static_cast<std::int64_t>(object_at(o, "data").size() + object_at(o, "binaryData").size()));
}

// --- services and endpoints ---
Value cluster_ip(const Object& o, Now) {
  const auto ip = text_at(o, "spec.clusterIPs.0", text_at(o, "spec.clusterIP"));
  return or_none(std::string(ip));
}
Value external_ip(const Object& o, Now) {
  const auto type = text_at(o, "spec.type", "ClusterIP");
  if (type == "ExternalName") return text(text_at(o, "spec.externalName"));
  std::vector<std::string> ips;
  if (type == "LoadBalancer")
    for (const auto& i : array_at(o, "status.loadBalancer.ingress")) {
      if (!i.is_object()) continue;
      const auto ip = text_at(i.get_object(), "ip", text_at(i.get_object(), "hostname"));
      if (!ip.empty()) ips.emplace_back(ip);
    }
  for (const auto& ip : array_at(o, "spec.externalIPs"))
    if (ip.is_string()) ips.emplace_back(ip.get_string());
  if (ips.empty()) return text(type == "LoadBalancer" ? "<pending>" : "<none>");
  return Value(joined(ips));
}
Value service_ports(const Object& o, Now) {
  std::vector<std::string> parts;
  for (const auto& p : array_at(o, "spec.ports")) {
    if (!p.is_object()) continue;
    const auto& port = p.get_object();
    const auto node = int_at(port, "nodePort");
    parts.push_back(fmt::format("{}{}/{}", int_at(port, "port"), node > 0 ? fmt::format(":{}", node) : "",
                                text_at(port, "protocol", "TCP")));
  }
  return or_none(joined(parts));
}
Value service_selector(const Object& o, Now) { return Value(format_labels(object_at(o, "spec.selector"))); }

// At most a few of a list, then how many more there are.
std::string some(std::vector<std::string> all) {
  const auto count = all.size();
  if (count > shown) all.resize(shown);
  auto out = joined(all);
  if (count > shown) out += fmt::format(" + {} more...", count - shown);
  return out;
}
std::string host_port(std::string_view ip, std::int64_t port) {
  return ip.find(':') == std::string_view::npos ? fmt::format("{}:{}", ip, port) : fmt::format("[{}]:{}", ip, port);
}
Value endpoints(const Object& o, Now) {
  std::vector<std::string> all;
  for (const auto& s : array_at(o, "subsets")) {
    if (!s.is_object()) continue;
    const auto& subset = s.get_object();
    const auto& ports = array_at(subset, "ports");
    auto each = [&](auto&& add) {
      for (const auto& a : array_at(subset, "addresses"))
        if (a.is_object()) add(text_at(a.get_object(), "ip"));
    };
    if (ports.empty()) each([&](std::string_view ip) { all.emplace_back(ip); });
    for (const auto& p : ports)
      if (p.is_object())
        each([&](std::string_view ip) { all.push_back(host_port(ip, int_at(p.get_object(), "port"))); });
  }
  return or_none(some(std::move(all)));
}
std::string or_unset(std::string s) { return s.empty() ? std::string(unset) : s; }
Value slice_ports(const Object& o, Now) {
  std::vector<std::string> all;
  for (const auto& p : array_at(o, "ports")) {
    if (!p.is_object()) continue;
    const auto& port = p.get_object();
    if (at(port, "port"))
      all.push_back(fmt::format("{}", int_at(port, "port")));
    else
      all.emplace_back(text_at(port, "name", "*"));
  }
  return Value(or_unset(some(std::move(all))));
}
Value slice_endpoints(const Object& o, Now) {
  std::vector<std::string> all;
  for (const auto& e : array_at(o, "endpoints"))
    if (e.is_object())
      for (const auto& a : array_at(e.get_object(), "addresses"))
        if (a.is_string()) all.emplace_back(a.get_string());
  return Value(or_unset(some(std::move(all))));
}
Value ingress_hosts(const Object& o, Now) {
  const auto& rules = array_at(o, "spec.rules");
  std::vector<std::string> hosts;
  bool more = false;
  for (const auto& r : rules) {
    if (hosts.size() == shown) more = true;
    if (!more && r.is_object() && !text_at(r.get_object(), "host").empty())
      hosts.emplace_back(text_at(r.get_object(), "host"));
  }
  if (hosts.empty()) return text("*");
  return Value(joined(hosts) + (more ? fmt::format(" + {} more...", rules.size() - shown) : ""));
}
Value ingress_address(const Object& o, Now) {
  std::set<std::string> all;
  for (const auto& i : array_at(o, "status.loadBalancer.ingress")) {
    if (!i.is_object()) continue;
    const auto a = text_at(i.get_object(), "ip", text_at(i.get_object(), "hostname"));
    if (!a.empty()) all.emplace(a);
  }
  return Value(joined({all.begin(), all.end()}));
}
Value ingress_ports(const Object& o, Now) { return text(array_at(o, "spec.tls").empty() ? "80" : "80, 443"); }
Value ingressclass_parameters(const Object& o, Now) {
  if (!at(o, "spec.parameters")) return text(none);
  const auto group = text_at(o, "spec.parameters.apiGroup");
  return Value(fmt::format("{}{}{}/{}", text_at(o, "spec.parameters.kind"), group.empty() ? "" : ".", group,
                           text_at(o, "spec.parameters.name")));
}
Value netpol_selector(const Object& o, Now) { return or_none(selector_text(at(o, "spec.podSelector"))); }

// --- namespaces and nodes ---
Value node_status(const Object& o, Now) {
  std::string out = "Unknown";
  if (const auto* c = condition(o, "Ready")) out = text_at(*c, "status") == "True" ? "Ready" : "NotReady";
  if (bool_at(o, "spec.unschedulable")) out += ",SchedulingDisabled";
  return Value(std::move(out));
}
Value node_roles(const Object& o, Now) {
  constexpr std::string_view prefix = "node-role.kubernetes.io/";
  std::set<std::string> roles;
  for (const auto& [k, v] : object_at(o, "metadata.labels")) {
    const std::string_view key = k;
    if (key.starts_with(prefix) && key.size() > prefix.size())
      roles.emplace(key.substr(prefix.size()));
    else if (key == "kubernetes.io/role" && v.is_string() && !v.get_string().empty())
      roles.emplace(v.get_string());
  }
  return or_none(joined({roles.begin(), roles.end()}));
}
Value node_address(const Object& o, std::string_view type) {
  for (const auto& a : array_at(o, "status.addresses"))
    if (a.is_object() && text_at(a.get_object(), "type") == type) return text(text_at(a.get_object(), "address"));
  return text(none);
}
Value node_internal(const Object& o, Now) { return node_address(o, "InternalIP"); }
Value node_external(const Object& o, Now) { return node_address(o, "ExternalIP"); }

// --- events: those of core and of events.k8s.io have other names for the same things ---
std::string_view first_text(const Object& o, std::initializer_list<std::string_view> paths) {
  for (const auto p : paths)
    if (const auto s = text_at(o, p); !s.empty()) return s;
  return {};
}
Value event_first(const Object& o, Now now) {
  return Value(age_of(first_text(o, {"firstTimestamp", "deprecatedFirstTimestamp", "eventTime"}), now));
}
Value event_last(const Object& o, Now now) {
  const auto series = text_at(o, "series.lastObservedTime");
  if (!series.empty()) return Value(age_of(series, now));
  const auto last = first_text(o, {"lastTimestamp", "deprecatedLastTimestamp"});
  return last.empty() ? event_first(o, now) : Value(age_of(last, now));
}
const Object& event_about(const Object& o) {
  return at(o, "involvedObject") ? object_at(o, "involvedObject") : object_at(o, "regarding");
}
Value event_object(const Object& o, Now) {
  const auto& about = event_about(o);
  auto kind = text::lower(text_at(about, "kind"));
  const auto name = text_at(about, "name");
  return Value(name.empty() ? std::move(kind) : fmt::format("{}/{}", kind, name));
}
Value event_subobject(const Object& o, Now) { return text(text_at(event_about(o), "fieldPath")); }
Value event_source(const Object& o, Now) {
  const auto component =
      first_text(o, {"source.component", "deprecatedSource.component", "reportingComponent", "reportingController"});
  const auto host = first_text(o, {"source.host", "deprecatedSource.host", "reportingInstance"});
  return Value(host.empty() ? std::string(component) : fmt::format("{}, {}", component, host));
}
Value event_message(const Object& o, Now) { return text(text::trim(first_text(o, {"message", "note"}))); }
Value event_count(const Object& o, Now) {
  if (at(o, "series")) return Value(int_at(o, "series.count"));
  const auto n = int_at(o, "count", int_at(o, "deprecatedCount"));
  return Value(n == 0 ? std::int64_t{1} : n);
}

// --- volumes ---
std::string modes(const Array& all) {
  constexpr std::pair<std::string_view, std::string_view> known[] = {
      {"ReadWriteOnce", "RWO"}, {"ReadOnlyMany", "ROX"}, {"ReadWriteMany", "RWX"}, {"ReadWriteOncePod", "RWOP"}};
  std::vector<std::string> parts;
  for (const auto& [name, abbreviation] : known)
    if (std::ranges::any_of(all, [&](const Value& v) { return v.is_string() && v.get_string() == name; }))
      parts.emplace_back(abbreviation);
  return joined(parts);
}
std::string_view storage_class(const Object& o) {
  const auto old = annotation(o, "volume.beta.kubernetes.io/storage-class");
  return old.empty() ? text_at(o, "spec.storageClassName") : old;
}
std::string amount(const Value* v) {
  if (v && v->is_string()) return std::string(v->get_string());
  if (v && v->is_int64()) return fmt::format("{}", v->get_int64());
  return "0";
}
Value volume_status(const Object& o, Now) { return text(deleting(o) ? "Terminating" : text_at(o, "status.phase")); }
Value pvc_capacity(const Object& o, Now) {
  if (text_at(o, "spec.volumeName").empty()) return text("");
  return Value(amount(at(o, "status.capacity.storage")));
}
Value pvc_modes(const Object& o, Now) {
  return text_at(o, "spec.volumeName").empty() ? text("") : Value(modes(array_at(o, "status.accessModes")));
}
Value volume_class(const Object& o, Now) { return text(storage_class(o)); }
Value pv_capacity(const Object& o, Now) { return Value(amount(at(o, "spec.capacity.storage"))); }
Value pv_modes(const Object& o, Now) { return Value(modes(array_at(o, "spec.accessModes"))); }
Value pv_claim(const Object& o, Now) {
  if (!at(o, "spec.claimRef")) return text("");
  return Value(fmt::format("{}/{}", text_at(o, "spec.claimRef.namespace"), text_at(o, "spec.claimRef.name")));
}
Value sc_name(const Object& o, Now) {
  const bool is_default = annotation(o, "storageclass.kubernetes.io/is-default-class") == "true" ||
                          annotation(o, "storageclass.beta.kubernetes.io/is-default-class") == "true";
  return Value(std::string(name_of(o)) + (is_default ? " (default)" : ""));
}
Value sc_reclaim(const Object& o, Now) { return text(text_at(o, "reclaimPolicy", "Delete")); }
Value sc_binding(const Object& o, Now) { return text(text_at(o, "volumeBindingMode", "Immediate")); }
Value sc_expansion(const Object& o, Now) { return Value(bool_at(o, "allowVolumeExpansion")); }

// --- roles, budgets, quotas ---
Value binding_role(const Object& o, Now) {
  return Value(fmt::format("{}/{}", text_at(o, "roleRef.kind"), text_at(o, "roleRef.name")));
}
Value subjects(const Object& o, std::string_view kind) {
  std::vector<std::string> parts;
  for (const auto& s : array_at(o, "subjects")) {
    if (!s.is_object() || text_at(s.get_object(), "kind") != kind) continue;
    const auto name = text_at(s.get_object(), "name");
    if (kind == "ServiceAccount")
      parts.push_back(fmt::format("{}/{}", text_at(s.get_object(), "namespace"), name));
    else
      parts.emplace_back(name);
  }
  return Value(joined(parts, ", "));
}
Value binding_users(const Object& o, Now) { return subjects(o, "User"); }
Value binding_groups(const Object& o, Now) { return subjects(o, "Group"); }
Value binding_accounts(const Object& o, Now) { return subjects(o, "ServiceAccount"); }

Value int_or_text(const Value* v) {
  if (v && v->is_string()) return *v;
  if (v && v->is_int64()) return Value(fmt::format("{}", v->get_int64()));
  return text("N/A");
}
Value pdb_min(const Object& o, Now) { return int_or_text(at(o, "spec.minAvailable")); }
Value pdb_max(const Object& o, Now) { return int_or_text(at(o, "spec.maxUnavailable")); }
Value pdb_allowed(const Object& o, Now) { return Value(int_at(o, "status.disruptionsAllowed")); }
Value priority_value(const Object& o, Now) { return Value(int_at(o, "value")); }
Value priority_default(const Object& o, Now) { return Value(bool_at(o, "globalDefault")); }

Value quota(const Object& o, bool limits) {
  const auto& used = object_at(o, "status.used");
  std::map<std::string, std::string> parts;
  for (const auto& [k, hard] : object_at(o, "status.hard")) {
    const std::string_view name = k;
    if (name.starts_with("limits.") != limits) continue;
    parts[std::string(name)] = fmt::format("{}: {}/{}", name, amount(used.if_contains(name)), amount(&hard));
  }
  std::vector<std::string> all;
  for (auto& [k, v] : parts) all.push_back(std::move(v));
  return Value(joined(all, ", "));
}
Value quota_request(const Object& o, Now) { return quota(o, false); }
Value quota_limit(const Object& o, Now) { return quota(o, true); }

Value metric(const Object& o, std::string_view resource) {
  const auto& all = array_at(o, "containers");
  return all.empty() || !all[0].is_object() ? text("")
                                            : Value(amount(at(all[0].get_object(), fmt::format("usage.{}", resource))));
}
Value metrics_cpu(const Object& o, Now) { return metric(o, "cpu"); }
Value metrics_memory(const Object& o, Now) { return metric(o, "memory"); }

struct ObjectCell {
  std::string_view name;
  Cell cell;
};
constexpr ObjectCell object_cells[] = {
    {"namespace.status", path_text<p_phase>},
    {"configmap.data", configmap_data},
    {"secret.type", path_text<p_type>},
    {"secret.data", path_size<p_data>},
    {"serviceaccount.secrets", path_size<p_secrets>},
    {"service.type", path_text<p_spec_type>},
    {"service.clusterip", cluster_ip},
    {"service.externalip", external_ip},
    {"service.ports", service_ports},
    {"service.selector", service_selector},
    {"endpoints.endpoints", endpoints},
    {"slice.type", path_text<p_address_type>},
    {"slice.ports", slice_ports},
    {"slice.endpoints", slice_endpoints},
    {"ingress.class", path_or<p_ingress_class, none>},
    {"ingress.hosts", ingress_hosts},
    {"ingress.address", ingress_address},
    {"ingress.ports", ingress_ports},
    {"ingressclass.controller", path_text<p_controller>},
    {"ingressclass.parameters", ingressclass_parameters},
    {"netpol.selector", netpol_selector},
    {"node.status", node_status},
    {"node.roles", node_roles},
    {"node.version", path_text<p_kubelet>},
    {"node.internalip", node_internal},
    {"node.externalip", node_external},
    {"node.osimage", path_or<p_os, unknown>},
    {"node.kernel", path_or<p_kernel, unknown>},
    {"node.runtime", path_or<p_runtime, unknown>},
    {"event.lastseen", event_last},
    {"event.firstseen", event_first},
    {"event.type", path_text<p_type>},
    {"event.reason", path_text<p_reason>},
    {"event.object", event_object},
    {"event.subobject", event_subobject},
    {"event.source", event_source},
    {"event.message", event_message},
    {"event.count", event_count},
    {"pvc.status", volume_status},
    {"pvc.volume", path_text<p_volume_name>},
    {"pvc.capacity", pvc_capacity},
    {"pvc.modes", pvc_modes},
    {"pvc.class", volume_class},
    {"pvc.attributes", path_or<p_attributes, unset>},
    {"pvc.volumemode", path_or<p_volume_mode, unset>},
    {"pv.capacity", pv_capacity},
    {"pv.modes", pv_modes},
    {"pv.reclaim", path_text<p_reclaim>},
    {"pv.status", volume_status},
    {"pv.claim", pv_claim},
    {"pv.class", volume_class},
    {"pv.attributes", path_or<p_attributes, unset>},
    {"pv.reason", path_text<p_status_reason>},
    {"pv.volumemode", path_or<p_volume_mode, unset>},
    {"sc.name", sc_name},
    {"sc.provisioner", path_text<p_provisioner>},
    {"sc.reclaim", sc_reclaim},
    {"sc.binding", sc_binding},
    {"sc.expansion", sc_expansion},
    {"binding.role", binding_role},
    {"binding.users", binding_users},
    {"binding.groups", binding_groups},
    {"binding.accounts", binding_accounts},
    {"pdb.min", pdb_min},
    {"pdb.max", pdb_max},
    {"pdb.allowed", pdb_allowed},
    {"priorityclass.value", priority_value},
    {"priorityclass.default", priority_default},
    {"priorityclass.preemption", path_or<p_preemption, empty>},
    {"quota.request", quota_request},
    {"quota.limit", quota_limit},
    {"lease.holder", path_text<p_holder>},
    {"metrics.cpu", metrics_cpu},
    {"metrics.memory", metrics_memory},
};

}  // namespace

Cell find_object_cell(std::string_view name) {
  const auto* c = std::ranges::find(object_cells, name, &ObjectCell::name);
  return c == std::end(object_cells) ? nullptr : c->cell;
}

}  // namespace mr::kube::table
