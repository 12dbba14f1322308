#include "node/env.h"

#include "json/parse.h"
#include "text/text.h"

namespace mr::node {

using kube::Object;
using kube::ObjectPtr;

double parse_quantity(std::string_view s) {
  static constexpr std::pair<std::string_view, double> kUnits[] = {{"Ki", 1024.0},
                                                                   {"Mi", 1048576.0},
                                                                   {"Gi", 1073741824.0},
                                                                   {"Ti", 1099511627776.0},
                                                                   {"Pi", 1125899906842624.0},
                                                                   {"n", 1e-9},
                                                                   {"u", 1e-6},
                                                                   {"m", 1e-3},
                                                                   {"k", 1e3},
                                                                   {"M", 1e6},
                                                                   {"G", 1e9},
                                                                   {"T", 1e12},
                                                                   {"P", 1e15},
                                                                   {"E", 1e18}};
  double unit = 1;
  for (auto [suffix, factor] : kUnits)
    if (s.size() > suffix.size() && s.ends_with(suffix)) {
      unit = factor;
      s.remove_suffix(suffix.size());
      break;
    }
  auto v = text::to_double(s);
  return v && *v >= 0 ? *v * unit : -1;
}

namespace {

// The texts of a quantity that stands as a text or a number.
std::string quantity_text(const kube::Value* v) {
  if (v == nullptr) return {};
  if (v->is_string()) return std::string(v->get_string());
  return json::serialize(*v);
}

}  // namespace

std::string format_map(const Object& map) {
  std::map<std::string, std::string> sorted;
  for (const auto& [k, v] : map)
    if (v.is_string()) sorted[std::string(k)] = std::string(v.get_string());
  std::string out;
  for (const auto& [k, v] : sorted) {
    if (!out.empty()) out += '\n';
    out += k + '=';
    // Quoted so that a value of several lines stays one entry.
    out += '"';
    for (char c : v) {
      if (c == '"' || c == '\\') out += '\\';
      if (c == '\n')
        out += "\\n";
      else
        out += c;
    }
    out += '"';
  }
  return out;
}

Result<std::string> field_value(const PodFacts& f, std::string_view path) {
  const Object& pod = *f.pod;
  if (path == "metadata.name" || path == "metadata.namespace" || path == "metadata.uid" ||
      path == "spec.serviceAccountName") {
    auto v = kube::text_at(pod, path);
    return std::string(v.empty() && path == "spec.serviceAccountName" ? "default" : v);
  }
  if (path == "spec.nodeName") return f.node_name;
  if (path == "status.hostIP" || path == "status.hostIPs") return f.host_ip;
  if (path == "status.podIP" || path == "status.podIPs") return f.pod_ip;
  if (path == "metadata.labels" || path == "metadata.annotations") return format_map(kube::object_at(pod, path));
  for (std::string_view map : {"metadata.labels", "metadata.annotations"}) {
    if (!path.starts_with(map) || !path.substr(map.size()).starts_with("['") || !path.ends_with("']")) continue;
    auto key = path.substr(map.size() + 2, path.size() - map.size() - 4);
    auto* v = kube::object_at(pod, map).if_contains(key);
    return v != nullptr && v->is_string() ? std::string(v->get_string()) : std::string();
  }
  return fail(Code::invalid_argument, fmt::format("unsupported fieldPath: {}", path));
}

Result<std::string> resource_value(const PodFacts& f, const Object& container, const Object& ref) {
  auto resource = kube::text_at(ref, "resource");
  auto dot = resource.find('.');
  if (dot == std::string_view::npos)
    return fail(Code::invalid_argument, fmt::format("unsupported container resource : {}", resource));
  auto name = resource.substr(dot + 1);
  const auto& limits = kube::object_at(container, "resources.limits");
  const auto& requests = kube::object_at(container, "resources.requests");
  const kube::Value* v = resource.starts_with("limits.") ? limits.if_contains(name) : requests.if_contains(name);
  if (v == nullptr && resource.starts_with("requests.")) v = limits.if_contains(name);
  double amount = 0;
  if (v != nullptr)
    amount = parse_quantity(quantity_text(v));
  else if (resource.starts_with("limits."))
    amount = name == "cpu" ? f.node_cpus : name == "memory" ? static_cast<double>(f.node_memory) : 0;
  auto* d = ref.if_contains("divisor");
  double divisor = d == nullptr ? 1 : parse_quantity(quantity_text(d));
  if (divisor <= 0) divisor = 1;
  return fmt::format("{}", static_cast<std::int64_t>(std::ceil(amount / divisor - 1e-9)));
}

std::string expand(std::string_view s, const std::map<std::string, std::string>& env) {
  std::string out;
  for (std::size_t i = 0; i < s.size(); ++i) {
    if (s[i] != '$' || i + 1 >= s.size()) {
      out += s[i];
      continue;
    }
    if (s[i + 1] == '$') {
      out += '$';
      ++i;
      continue;
    }
    auto close = s[i + 1] == '(' ? s.find(')', i) : std::string_view::npos;
    if (close == std::string_view::npos) {
      out += s[i];
      continue;
    }
    auto it = env.find(std::string(s.substr(i + 2, close - i - 2)));
    if (it == env.end())
      out += s.substr(i, close - i + 1);
    else
      out += it->second;
    i = close;
  }
  return out;
}

Env service_links(const std::vector<ObjectPtr>& services) {
  Env env;
  for (const auto& s : services) {
    auto ip = kube::text_at(*s, "spec.clusterIP");
    const auto& ports = kube::array_at(*s, "spec.ports");
    if (ip.empty() || ip == "None" || ports.empty()) continue;
    auto prefix = text::upper(kube::name_of(*s));
    std::ranges::replace(prefix, '-', '_');
    auto first = kube::int_at(*s, "spec.ports.0.port");
    env.emplace_back(prefix + "_SERVICE_HOST", ip);
    env.emplace_back(prefix + "_SERVICE_PORT", std::to_string(first));
    for (const auto& p : ports) {
      if (!p.is_object()) continue;
      auto name = text::upper(kube::text_at(p.get_object(), "name"));
      std::ranges::replace(name, '-', '_');
      auto port = kube::int_at(p.get_object(), "port");
      if (!name.empty()) env.emplace_back(prefix + "_SERVICE_PORT_" + name, std::to_string(port));
      auto proto = text::lower(kube::text_at(p.get_object(), "protocol", "TCP"));
      auto url = fmt::format("{}://{}:{}", proto, ip, port);
      if (port == first) env.emplace_back(prefix + "_PORT", url);
      auto stem = fmt::format("{}_PORT_{}_{}", prefix, port, text::upper(proto));
      env.emplace_back(stem, url);
      env.emplace_back(stem + "_PROTO", proto);
      env.emplace_back(stem + "_PORT", std::to_string(port));
      env.emplace_back(stem + "_ADDR", ip);
    }
  }
  return env;
}

namespace {

std::unexpected<Error> config_error(std::string message) {
  return fail(Code::failed_precondition, std::move(message), "CreateContainerConfigError");
}

// The texts of a ConfigMap or Secret.
std::string data_text(const Object& o, std::string_view key, bool secret, bool& found) {
  found = false;
  auto* v = kube::object_at(o, "data").if_contains(key);
  if (v != nullptr && v->is_string()) {
    found = true;
    if (!secret) return std::string(v->get_string());
    return text::base64_decode(v->get_string()).value_or("");
  }
  v = secret ? nullptr : kube::object_at(o, "binaryData").if_contains(key);
  if (v != nullptr && v->is_string()) {
    found = true;
    return text::base64_decode(v->get_string()).value_or("");
  }
  return {};
}

// A name that a shell could set; others are left out, as the kubelet does.
bool environment_name(std::string_view s) {
  return !s.empty() && s.find('=') == std::string_view::npos && s.find('\0') == std::string_view::npos;
}

}  // namespace

task::Task<Result<Env>> resolve_env(const PodFacts& facts, Object container, Env base, Find find) {
  auto ns = std::string(kube::namespace_of(*facts.pod));
  std::map<std::string, std::string> values;
  std::vector<std::string> order;
  auto set = [&](std::string name, std::string value) {
    if (!values.contains(name)) order.push_back(name);
    values[std::move(name)] = std::move(value);
  };
  for (auto& [k, v] : base) set(k, v);
  for (const auto& from : kube::array_at(container, "envFrom")) {
    if (!from.is_object()) continue;
    const auto& source = from.get_object();
    auto prefix = std::string(kube::text_at(source, "prefix"));
    bool secret = source.contains("secretRef");
    const auto& ref = kube::object_at(source, secret ? "secretRef" : "configMapRef");
    auto name = std::string(kube::text_at(ref, "name"));
    auto object = co_await find(secret ? kube::gvr::secrets : kube::gvr::configmaps, kube::Key{ns, name});
    if (!object) {
      if (kube::bool_at(ref, "optional")) continue;
      co_return config_error(fmt::format("{} \"{}\" not found", secret ? "secret" : "configmap", name));
    }
    for (const auto& [k, v] : kube::object_at(*object, "data")) {
      bool found = false;
      auto value = data_text(*object, k, secret, found);
      auto full = prefix + std::string(k);
      if (found && environment_name(full)) set(full, value);
    }
  }
  for (const auto& entry : kube::array_at(container, "env")) {
    if (!entry.is_object()) continue;
    const auto& e = entry.get_object();
    auto name = std::string(kube::text_at(e, "name"));
    if (!environment_name(name)) continue;
    const auto& from = kube::object_at(e, "valueFrom");
    if (from.empty()) {
      set(name, expand(kube::text_at(e, "value"), values));
      continue;
    }
    if (const auto& ref = kube::object_at(from, "fieldRef"); !ref.empty()) {
      auto v = field_value(facts, kube::text_at(ref, "fieldPath"));
      if (!v) co_return config_error(v.error().message);
      set(name, *v);
      continue;
    }
    if (const auto& ref = kube::object_at(from, "resourceFieldRef"); !ref.empty()) {
      const Object* of = &container;
      auto other = kube::text_at(ref, "containerName");
      for (const auto& c : kube::array_at(*facts.pod, "spec.containers"))
        if (!other.empty() && c.is_object() && kube::text_at(c.get_object(), "name") == other) of = &c.get_object();
      auto v = resource_value(facts, *of, ref);
      if (!v) co_return config_error(v.error().message);
      set(name, *v);
      continue;
    }
    bool secret = from.contains("secretKeyRef");
    const auto& ref = kube::object_at(from, secret ? "secretKeyRef" : "configMapKeyRef");
    auto of = std::string(kube::text_at(ref, "name"));
    auto key = std::string(kube::text_at(ref, "key"));
    auto object = co_await find(secret ? kube::gvr::secrets : kube::gvr::configmaps, kube::Key{ns, of});
    bool found = false;
    std::string value;
    if (object) value = data_text(*object, key, secret, found);
    if (!found) {
      if (kube::bool_at(ref, "optional")) continue;
      if (!object) co_return config_error(fmt::format("{} \"{}\" not found", secret ? "secret" : "configmap", of));
      co_return config_error(
          fmt::format("couldn't find key {} in {} {}/{}", key, secret ? "Secret" : "ConfigMap", ns, of));
    }
    set(name, value);
  }
  Env out;
  for (auto& name : order) out.emplace_back(name, values[name]);
  co_return out;
}

}  // namespace mr::node
