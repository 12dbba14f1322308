#include <boost/json/array.hpp>

#include "kube/names.h"
#include "kube/validate_parts.h"
#include "text/text.h"

namespace mr::kube {

namespace {

struct Where {
  const Object& container;
  const std::string& path;
  const VolumeNames& volumes;
};

void check_env(FieldErrors& e, const Where& w) {
  const auto& env = array_at(w.container, "env");
  for (std::size_t i = 0; i < env.size(); ++i) {
    if (!env[i].is_object()) continue;
    const auto& v = env[i].get_object();
    auto here = item(sub(w.path, "env"), i);
    if (auto name = text_at(v, "name"); name.empty())
      e.push_back(required(sub(here, "name")));
    else
      invalid_all(e, sub(here, "name"), Value(name), env_name(name));
    const auto* from = child(v, "valueFrom");
    if (from == nullptr) continue;
    here = sub(here, "valueFrom");
    int sources = 0;
    if (const auto* ref = child(*from, "fieldRef")) {
      ++sources;
      check_field_ref(e, *ref, sub(here, "fieldRef"), true);
    }
    if (const auto* ref = child(*from, "resourceFieldRef")) {
      ++sources;
      check_resource_ref(e, *ref, sub(here, "resourceFieldRef"));
    }
    for (std::string_view key : {"configMapKeyRef", "secretKeyRef"})
      if (const auto* ref = child(*from, key)) {
        ++sources;
        if (text_at(*ref, "name").empty()) e.push_back(required(sub(sub(here, key), "name")));
        if (auto k = text_at(*ref, "key"); k.empty())
          e.push_back(required(sub(sub(here, key), "key")));
        else
          invalid_all(e, sub(sub(here, key), "key"), Value(k), config_key(k));
      }
    if (sources == 0)
      e.push_back(invalid(here, "",
                          "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`"));
    else if (!text_at(v, "value").empty())
      e.push_back(invalid(here, "", "may not be specified when `value` is not empty"));
    else if (sources > 1)
      e.push_back(invalid(here, "", "may not have more than one field specified at a time"));
  }
  const auto& all = array_at(w.container, "envFrom");
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (!all[i].is_object()) continue;
    const auto& v = all[i].get_object();
    auto here = item(sub(w.path, "envFrom"), i);
    if (auto prefix = text_at(v, "prefix"); !prefix.empty())
      invalid_all(e, sub(here, "prefix"), Value(prefix), env_name(prefix));
    int sources = 0;
    for (std::string_view key : {"configMapRef", "secretRef"})
      if (const auto* ref = child(v, key)) {
        ++sources;
        if (text_at(*ref, "name").empty()) e.push_back(required(sub(sub(here, key), "name")));
      }
    // The fault names the list, as the real server's does.
    if (sources == 0)
      e.push_back(invalid(sub(w.path, "envFrom"), "", "must specify one of: `configMapRef` or `secretRef`"));
    else if (sources > 1)
      e.push_back(invalid(sub(w.path, "envFrom"), "", "may not have more than one field specified at a time"));
  }
}

void check_ports(FieldErrors& e, const Where& w, bool host_network, std::set<std::string>& host_ports) {
  const auto& ports = array_at(w.container, "ports");
  std::set<std::string_view> names;
  for (std::size_t i = 0; i < ports.size(); ++i) {
    if (!ports[i].is_object()) continue;
    const auto& p = ports[i].get_object();
    auto here = item(sub(w.path, "ports"), i);
    if (auto name = text_at(p, "name"); !name.empty()) {
      auto faults = port_name(name);
      invalid_all(e, sub(here, "name"), Value(name), faults);
      if (faults.empty() && !names.insert(name).second) e.push_back(duplicate(sub(here, "name"), Value(name)));
    }
    auto port = int_at(p, "containerPort");
    if (port == 0)
      e.push_back(required(sub(here, "containerPort")));
    else
      invalid_all(e, sub(here, "containerPort"), Value(port), port_number(port));
    auto host = int_at(p, "hostPort");
    if (host != 0) {
      invalid_all(e, sub(here, "hostPort"), Value(host), port_number(host));
      auto id = fmt::format("{}/{}/{}", text_at(p, "protocol", "TCP"), text_at(p, "hostIP"), host);
      if (!host_ports.insert(id).second) e.push_back(duplicate(sub(here, "hostPort"), Value(id)));
      if (host_network && host != port)
        e.push_back(
            invalid(sub(here, "hostPort"), Value(host), "must match `containerPort` when `hostNetwork` is true"));
    }
    check_one_of(e, sub(here, "protocol"), Value(text_at(p, "protocol")), {"SCTP", "TCP", "UDP"});
  }
}

void check_mounts(FieldErrors& e, const Where& w) {
  const auto& mounts = array_at(w.container, "volumeMounts");
  std::set<std::string_view> paths;
  for (std::size_t i = 0; i < mounts.size(); ++i) {
    if (!mounts[i].is_object()) continue;
    const auto& m = mounts[i].get_object();
    auto here = item(sub(w.path, "volumeMounts"), i);
    auto name = text_at(m, "name"), path = text_at(m, "mountPath");
    if (name.empty()) e.push_back(required(sub(here, "name")));
    if (path.empty()) e.push_back(required(sub(here, "mountPath")));
    if (!name.empty() && !w.volumes.contains(name)) e.push_back(not_found_value(sub(here, "name"), Value(name)));
    if (!path.empty() && !paths.insert(path).second)
      e.push_back(invalid(sub(here, "mountPath"), Value(path), "must be unique"));
    // The fault names the list, as the real server's does.
    for (std::string_view key : {"subPath", "subPathExpr"})
      if (auto below = text_at(m, key); !below.empty()) check_relative(e, below, sub(sub(w.path, "volumeMounts"), key));
    if (!text_at(m, "subPath").empty() && !text_at(m, "subPathExpr").empty())
      e.push_back(invalid(sub(sub(w.path, "volumeMounts"), "subPathExpr"), Value(text_at(m, "subPathExpr")),
                          "subPathExpr and subPath are mutually exclusive"));
  }
}

void check_handler(FieldErrors& e, const Object& h, const std::string& path) {
  int found = 0;
  for (std::string_view key : {"exec", "httpGet", "tcpSocket", "grpc", "sleep"}) {
    const auto* a = child(h, key);
    if (a == nullptr) continue;
    auto here = sub(path, key);
    if (found++ > 0) {
      e.push_back(forbidden(here, "may not specify more than 1 handler type"));
    } else if (key == "exec") {
      if (array_at(*a, "command").empty()) e.push_back(required(sub(here, "command")));
    } else if (key == "httpGet") {
      if (text_at(*a, "path").empty()) e.push_back(required(sub(here, "path")));
      check_port(e, a->if_contains("port"), sub(here, "port"));
      check_one_of(e, sub(here, "scheme"), Value(text_at(*a, "scheme")), {"HTTP", "HTTPS"});
      const auto& headers = array_at(*a, "httpHeaders");
      for (std::size_t i = 0; i < headers.size(); ++i)
        if (headers[i].is_object())
          invalid_all(e, sub(here, "httpHeaders"), Value(text_at(headers[i].get_object(), "name")),
                      http_header_name(text_at(headers[i].get_object(), "name")));
    } else if (key == "tcpSocket") {
      check_port(e, a->if_contains("port"), sub(here, "port"));
    } else if (key == "grpc") {
      invalid_all(e, sub(here, "port"), Value(int_at(*a, "port")), port_number(int_at(*a, "port")));
    }
  }
  if (found == 0) e.push_back(required(path, "must specify a handler type"));
}

void check_probe(FieldErrors& e, const Where& w, std::string_view key) {
  const auto* p = child(w.container, key);
  if (p == nullptr) return;
  auto path = sub(w.path, key);
  check_handler(e, *p, path);
  for (auto field : {"initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"})
    check_non_negative(e, *p, path, field);
  if (key != "readinessProbe") {
    if (auto n = int_at(*p, "successThreshold", 1); n != 1)
      e.push_back(invalid(sub(path, "successThreshold"), Value(n), "must be 1"));
    if (const auto* g = p->if_contains("terminationGracePeriodSeconds");
        g != nullptr && g->is_number() && int_at(*p, "terminationGracePeriodSeconds") <= 0)
      e.push_back(invalid(sub(path, "terminationGracePeriodSeconds"), *g, "must be greater than 0"));
  } else if (const auto* g = p->if_contains("terminationGracePeriodSeconds"); g != nullptr && g->is_number()) {
    e.push_back(invalid(sub(path, "terminationGracePeriodSeconds"), *g, "must not be set for readinessProbes"));
  }
}

std::string shown_quantity(const Value& v) {
  return v.is_string() ? std::string(std::string_view(v.get_string())) : rendered(v);
}

bool standard_resource(std::string_view name) {
  return name == "cpu" || name == "memory" || name == "ephemeral-storage" || name.starts_with("hugepages-");
}

// How the real server prints a quantity that should be whole: the number, its power of ten, the text.
std::string go_quantity(std::string_view text) {
  std::int64_t scale = 0;
  auto digits = text;
  if (!text.empty() && text.back() == 'm') {
    scale = -3;
    digits.remove_suffix(1);
  }
  return fmt::format(
      "resource.Quantity{{i:resource.int64Amount{{value:{}, scale:{}}}, "
      "d:resource.infDecAmount{{Dec:(*inf.Dec)(nil)}}, "
      "s:{}, Format:\"DecimalSI\"}}",
      digits, scale, in_quotes(text));
}

void check_resources(FieldErrors& e, const Where& w) {
  const auto* r = child(w.container, "resources");
  if (r == nullptr) return;
  auto path = sub(w.path, "resources");
  const auto& limits = object_at(*r, "limits");
  const auto& requests = object_at(*r, "requests");
  for (std::string_view list : {"limits", "requests"})
    for (const auto& m : object_at(*r, list)) {
      std::string_view name = m.key();
      auto here = keyed(sub(path, list), name);
      auto text = shown_quantity(m.value());
      if (!standard_resource(name)) {
        if (name.find('/') == std::string_view::npos) {
          e.push_back(invalid_raw(here, name, "must be a standard resource type or fully qualified"));
          e.push_back(invalid_raw(here, name, "must be a standard resource for containers"));
        } else {
          invalid_all(e, here, Value(name), qualified_name(name));
        }
      }
      auto n = quantity_milli(text);
      if (n && *n < 0) e.push_back(invalid(here, Value(text), "must be greater than or equal to 0"));
      if (n && name.find('/') != std::string_view::npos && *n % 1000 != 0)
        e.push_back(invalid_raw(here, go_quantity(text), "must be an integer"));
    }
  for (const auto& m : requests) {
    std::string_view name = m.key();
    const auto* limit = limits.if_contains(name);
    const bool whole = name.find('/') != std::string_view::npos || name.starts_with("hugepages-");
    if (limit == nullptr) {
      if (whole) e.push_back(required(sub(path, "limits"), "Limit must be set for non overcommitable resources"));
      continue;
    }
    auto wish = shown_quantity(m.value()), most = shown_quantity(*limit);
    auto a = quantity_milli(wish), b = quantity_milli(most);
    if (!a || !b) continue;
    if (whole && *a != *b)
      e.push_back(
          invalid(sub(path, "requests"), Value(wish), fmt::format("must be equal to {} limit of {}", name, most)));
    else if (*a > *b)
      e.push_back(invalid(sub(path, "requests"), Value(wish),
                          fmt::format("must be less than or equal to {} limit of {}", name, most)));
  }
}

void check_security(FieldErrors& e, const Where& w) {
  const auto* c = child(w.container, "securityContext");
  if (c == nullptr) return;
  auto path = sub(w.path, "securityContext");
  for (std::string_view key : {"runAsUser", "runAsGroup"}) {
    const auto* v = c->if_contains(key);
    if (v != nullptr && v->is_number() && (int_at(*c, key) < 0 || int_at(*c, key) > 2147483647))
      e.push_back(invalid(sub(path, key), *v, "must be between 0 and 2147483647, inclusive"));
  }
  const auto* escalation = c->if_contains("allowPrivilegeEscalation");
  if (escalation == nullptr || !escalation->is_bool() || escalation->get_bool()) return;
  if (bool_at(*c, "privileged"))
    e.push_back(invalid(path, Value(*c), "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"));
  for (const auto& cap : array_at(*c, "capabilities.add"))
    if (cap == "CAP_SYS_ADMIN")
      e.push_back(invalid(path, Value(*c),
                          "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"));
}

void check_container(FieldErrors& e, const Where& w, bool host_network, std::set<std::string>& host_ports) {
  const auto& c = w.container;
  if (auto image = text_at(c, "image"); image.empty())
    e.push_back(required(sub(w.path, "image")));
  else if (text::trim(image).size() != image.size())
    e.push_back(invalid(sub(w.path, "image"), Value(image), "must not have leading or trailing whitespace"));
  if (const auto* cycle = child(c, "lifecycle"))
    for (std::string_view hook : {"postStart", "preStop"})
      if (const auto* h = child(*cycle, hook)) check_handler(e, *h, sub(sub(w.path, "lifecycle"), hook));
  check_one_of(e, sub(w.path, "terminationMessagePolicy"), Value(text_at(c, "terminationMessagePolicy")),
               {"File", "FallbackToLogsOnError"});
  check_ports(e, w, host_network, host_ports);
  check_env(e, w);
  check_mounts(e, w);
  check_one_of(e, sub(w.path, "imagePullPolicy"), Value(text_at(c, "imagePullPolicy")),
               {"Always", "IfNotPresent", "Never"});
  check_resources(e, w);
  check_security(e, w);
}

}  // namespace

void check_port(FieldErrors& e, const Value* v, const std::string& path) {
  if (v != nullptr && v->is_string()) {
    invalid_all(e, path, *v, port_name(std::string_view(v->get_string())));
    return;
  }
  auto n = v != nullptr && v->is_int64() ? v->get_int64() : 0;
  invalid_all(e, path, Value(n), port_number(n));
}

void check_field_ref(FieldErrors& e, const Object& ref, const std::string& path, bool env) {
  auto field = text_at(ref, "fieldPath");
  auto here = sub(path, "fieldPath");
  if (text_at(ref, "apiVersion").empty()) e.push_back(required(sub(path, "apiVersion")));
  if (field.empty()) {
    e.push_back(required(here));
    return;
  }
  static constexpr std::string_view both[] = {"metadata.name", "metadata.namespace", "metadata.uid"};
  static constexpr std::string_view of_env[] = {
      "spec.nodeName", "spec.serviceAccountName", "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"};
  for (std::string_view map : {"metadata.labels", "metadata.annotations"}) {
    if (field == map) {
      if (env)
        e.push_back(not_supported(
            here, Value(field),
            {"metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
             "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"}));
      return;
    }
    if (field.starts_with(map) && field.substr(map.size()).starts_with("['") && field.ends_with("']")) {
      auto key = field.substr(map.size() + 2, field.size() - map.size() - 4);
      invalid_all(e, here, Value(key), qualified_name(key));
      return;
    }
  }
  if (std::ranges::find(both, field) != std::end(both)) return;
  if (std::ranges::find(of_env, field) != std::end(of_env)) {
    if (!env)
      e.push_back(not_supported(
          here, Value(field),
          {"metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"}));
    return;
  }
  e.push_back(
      invalid(here, Value(field), fmt::format("error converting fieldPath: field label not supported: {}", field)));
}

void check_resource_ref(FieldErrors& e, const Object& ref, const std::string& path) {
  auto resource = text_at(ref, "resource");
  if (resource.empty()) {
    e.push_back(required(sub(path, "resource")));
  } else if (!resource.starts_with("limits.hugepages-") && !resource.starts_with("requests.hugepages-")) {
    check_one_of(e, sub(path, "resource"), Value(resource),
                 {"limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu",
                  "requests.ephemeral-storage", "requests.memory"});
  }
}

void check_containers(FieldErrors& e, const Object& spec, const std::string& path, const VolumeNames& volumes) {
  const bool host_network = bool_at(spec, "hostNetwork");
  std::set<std::string_view> names;
  std::set<std::string> host_ports;
  if (array_at(spec, "containers").empty()) e.push_back(required(sub(path, "containers")));
  for (std::string_view list : {"containers", "initContainers"}) {
    const bool init = list == "initContainers";
    const auto& all = array_at(spec, list);
    std::set<std::string> own_ports;  // init containers run one after another
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (!all[i].is_object()) continue;
      const auto& c = all[i].get_object();
      auto here = item(sub(path, list), i);
      auto name = text_at(c, "name");
      if (name.empty())
        e.push_back(required(sub(here, "name")));
      else if (auto faults = dns_label(name); !faults.empty())
        invalid_all(e, sub(here, "name"), Value(name), faults);
      else if (!names.insert(name).second)
        e.push_back(duplicate(sub(here, "name"), Value(name)));
      if (init) own_ports.clear();
      check_container(e, {c, here, volumes}, host_network, init ? own_ports : host_ports);
      const auto* policy = c.if_contains("restartPolicy");
      const bool sidecar = policy != nullptr && *policy == "Always";
      if (policy != nullptr && policy->is_string()) {
        if (!init)
          e.push_back(forbidden(sub(here, "restartPolicy"), "may not be set for non-init containers"));
        else if (!sidecar)
          e.push_back(not_supported(sub(here, "restartPolicy"), *policy, {"Always"}));
      }
      for (std::string_view probe : {"livenessProbe", "readinessProbe", "startupProbe"}) {
        if (init && !sidecar && child(c, probe) != nullptr)
          e.push_back(forbidden(sub(here, probe), "may not be set for init containers without restartPolicy=Always"));
        else
          check_probe(e, {c, here, volumes}, probe);
      }
      if (init && !sidecar && child(c, "lifecycle") != nullptr)
        e.push_back(
            forbidden(sub(here, "lifecycle"), "may not be set for init containers without restartPolicy=Always"));
    }
  }
}

}  // namespace mr::kube
