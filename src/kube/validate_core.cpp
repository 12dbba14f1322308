// Checks of the small kinds of the core group.
#include <boost/json/array.hpp>

#include "json/parse.h"
#include "kube/admission_rules.h"
#include "kube/names.h"
#include "text/text.h"

namespace mr::kube {

namespace {

constexpr std::size_t max_data = 1u << 20;
constexpr std::string_view frozen = "field is immutable when `immutable` is set";

std::size_t decoded_size(std::string_view base64) {
  auto n = base64.size() / 4 * 3;
  while (base64.ends_with('=') && n > 0) {
    --n;
    base64.remove_suffix(1);
  }
  return n;
}

std::size_t text_size(const Value& v) { return v.is_string() ? v.get_string().size() : 0; }

bool same_part(const Object& a, const Object& b, std::string_view key) {
  return same(Value(object_at(a, key)), Value(object_at(b, key)));
}

void check_frozen(FieldErrors& e, const Object& o, const Object& before,
                  std::initializer_list<std::string_view> parts) {
  if (!bool_at(before, "immutable")) return;
  if (!bool_at(o, "immutable")) e.push_back(forbidden("immutable", frozen));
  for (auto part : parts)
    if (!same_part(o, before, part)) e.push_back(forbidden(std::string(part), frozen));
}

void check_config_map(FieldErrors& e, const Object& o, const Object* before) {
  std::size_t size = 0;
  const auto& binary = object_at(o, "binaryData");
  for (const auto& m : object_at(o, "data")) {
    auto here = keyed("data", m.key());
    invalid_all(e, here, Value(m.key()), config_key(m.key()));
    if (binary.contains(m.key())) e.push_back(invalid(here, Value(m.key()), "duplicate of key present in binaryData"));
    size += text_size(m.value());
  }
  for (const auto& m : binary) {
    invalid_all(e, keyed("binaryData", m.key()), Value(m.key()), config_key(m.key()));
    if (m.value().is_string()) size += decoded_size(std::string_view(m.value().get_string()));
  }
  if (size > max_data) e.push_back(too_long("[]", max_data));
  if (before != nullptr) check_frozen(e, o, *before, {"data", "binaryData"});
}

void check_secret(FieldErrors& e, const Object& o, const Object* before) {
  std::size_t size = 0;
  const auto& data = object_at(o, "data");
  for (const auto& m : data) {
    invalid_all(e, keyed("data", m.key()), Value(m.key()), config_key(m.key()));
    if (m.value().is_string()) size += decoded_size(std::string_view(m.value().get_string()));
  }
  if (size > max_data) e.push_back(too_long("data", max_data));
  auto type = text_at(o, "type");
  auto need = [&](std::string_view key) {
    if (!data.contains(key)) e.push_back(required(keyed("data", key)));
  };
  auto need_json = [&](std::string_view key) {
    need(key);
    const auto* v = data.if_contains(key);
    if (v == nullptr || !v->is_string()) return;
    auto text = text::base64_decode(std::string_view(v->get_string()));
    if (text && json::parse(*text)) return;
    std::string_view first = text && !text->empty() ? std::string_view(*text).substr(0, 1) : "";
    e.push_back(invalid(keyed("data", key), "<secret contents redacted>",
                        first.empty() ? std::string("unexpected end of JSON input")
                                      : fmt::format("invalid character '{}' looking for beginning of value", first)));
  };
  if (type == "kubernetes.io/service-account-token") {
    if (annotation(o, "kubernetes.io/service-account.name").empty())
      e.push_back(required("metadata.annotations[kubernetes.io/service-account.name]"));
  } else if (type == "kubernetes.io/dockercfg") {
    need_json(".dockercfg");
  } else if (type == "kubernetes.io/dockerconfigjson") {
    need_json(".dockerconfigjson");
  } else if (type == "kubernetes.io/basic-auth") {
    if (!data.contains("username") && !data.contains("password")) {
      need("username");
      need("password");
    }
  } else if (type == "kubernetes.io/ssh-auth") {
    need("ssh-privatekey");
  } else if (type == "kubernetes.io/tls") {
    need("tls.crt");
    need("tls.key");
  }
  if (before == nullptr) return;
  check_immutable(e, o, *before, "type");
  check_frozen(e, o, *before, {"data"});
}

void check_claim(FieldErrors& e, const Object& o, const Object* before) {
  const auto& spec = object_at(o, "spec");
  validate_claim_spec(e, spec, "spec");
  if (before == nullptr) return;
  Object now = spec, was = object_at(*before, "spec");
  const bool bound = text_at(*before, "status.phase") == "Bound";
  for (auto* s : {&now, &was}) {
    if (bound)
      if (auto* r = child(*s, "resources")) r->erase("requests");
    s->erase("volumeAttributesClassName");
  }
  // The binder names the volume, once.
  if (text_at(was, "volumeName").empty()) now.erase("volumeName");
  was.erase(text_at(was, "volumeName").empty() ? "volumeName" : "");
  // And the default class may be given to a claim that was made without one.
  if (!was.contains("storageClassName")) now.erase("storageClassName");
  if (!same(Value(now), Value(was)))
    e.push_back(forbidden("spec",
                          "spec is immutable after creation except resources.requests and "
                          "volumeAttributesClassName for bound claims"));
  auto size = [](const Object& c) {
    const auto* v = at(c, "spec.resources.requests.storage");
    return v == nullptr ? 0
                        : quantity_milli(v->is_string() ? std::string(std::string_view(v->get_string())) : rendered(*v))
                              .value_or(0);
  };
  if (bound && size(o) < size(*before))
    e.push_back(forbidden("spec.resources.requests.storage", "field can not be less than status.capacity"));
}

void check_event(FieldErrors& e, const Object& o) {
  auto ns = text_at(o, "involvedObject.namespace"), own = namespace_of(o);
  const bool cluster_wide = ns.empty() && (own == "default" || own.empty());
  if (ns != own && !cluster_wide)
    e.push_back(invalid("involvedObject.namespace", Value(ns), "does not match event.namespace"));
}

}  // namespace

void validate_claim_spec(FieldErrors& e, const Object& spec, const std::string& path) {
  const auto& modes = array_at(spec, "accessModes");
  if (modes.empty()) e.push_back(required(sub(path, "accessModes"), "at least 1 access mode is required"));
  for (const auto& m : modes)
    check_one_of(e, sub(path, "accessModes"), m,
                 {"ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"});
  const auto* storage = at(spec, "resources.requests.storage");
  auto here = sub(path, "resources[storage]");
  if (storage == nullptr || storage->is_null()) {
    e.push_back(required(here));
  } else {
    auto text = storage->is_string() ? std::string(std::string_view(storage->get_string())) : rendered(*storage);
    if (auto n = quantity_milli(text); n && *n <= 0)
      e.push_back(invalid(here, Value(text), "must be greater than zero"));
  }
  if (const auto* s = child(spec, "selector")) check_selector(e, *s, sub(path, "selector"));
  if (auto name = text_at(spec, "storageClassName"); !name.empty())
    invalid_all(e, sub(path, "storageClassName"), Value(name), dns_subdomain(name));
  if (auto mode = text_at(spec, "volumeMode"); !mode.empty())
    check_one_of(e, sub(path, "volumeMode"), Value(mode), {"Block", "Filesystem"});
}

void validate_core(FieldErrors& e, std::string_view kind, const Object& o, const Object* before) {
  if (kind == "ConfigMap")
    check_config_map(e, o, before);
  else if (kind == "Secret")
    check_secret(e, o, before);
  else if (kind == "PersistentVolumeClaim")
    check_claim(e, o, before);
  else if (kind == "Event")
    check_event(e, o);
  else if (kind == "PodTemplate")
    validate_pod_template(e, object_at(o, "template"), "template");
}

}  // namespace mr::kube
