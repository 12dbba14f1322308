// Checks of CustomResourceDefinitions.
#include <boost/json/array.hpp>

#include "kube/admission_rules.h"
#include "kube/names.h"
#include "kube/schema_rules.h"
#include "text/text.h"

namespace mr::kube {

namespace {

constexpr int max_checked_depth = 60;

const Value* checked_schema(const Object& version) {
  const auto* schema = at(version, "schema.openAPIV3Schema");
  return schema != nullptr && schema->is_object() ? schema : nullptr;
}

// A part that all versions have alike is spoken of as the definition's own, as the real server's internal form has it.
bool alike(const Array& versions, std::string_view path) {
  for (const auto& v : versions) {
    if (!v.is_object() || !versions[0].is_object()) return false;
    const auto* a = at(versions[0].get_object(), path);
    const auto* b = at(v.get_object(), path);
    if ((a == nullptr) != (b == nullptr) || (a != nullptr && !same(*a, *b))) return false;
  }
  return !versions.empty();
}

void check_schema(FieldErrors& e, const Object& s, const std::string& path, bool root, bool structural, int depth) {
  if (depth > max_checked_depth) {
    e.push_back(forbidden(path, "the schema is nested too deeply"));
    return;
  }
  auto type = text_at(s, "type");
  const bool int_or_string = bool_at(s, "x-kubernetes-int-or-string");
  const auto* preserve = s.if_contains("x-kubernetes-preserve-unknown-fields");
  if (s.contains("$ref")) {
    e.push_back(forbidden(sub(path, "$ref"), "$ref is not supported"));
    return;
  }
  if (preserve != nullptr && preserve->is_bool() && !preserve->get_bool())
    e.push_back(invalid(sub(path, "x-kubernetes-preserve-unknown-fields"), *preserve, "must be true or undefined"));
  if (!type.empty())
    check_one_of(e, sub(path, "type"), Value(type), {"array", "boolean", "integer", "number", "object", "string"});
  if (root && type != "object") {
    if (type.empty())
      e.push_back(required(sub(path, "type"), "must not be empty at the root"));
    else
      e.push_back(invalid(sub(path, "type"), Value(type), "must be object at the root"));
    return;
  }
  if (structural && !root && type.empty() && !int_or_string && !(preserve != nullptr && preserve->is_bool()))
    e.push_back(required(sub(path, "type"), path.ends_with("items") ? "must not be empty for specified array items"
                                                                    : "must not be empty for specified object fields"));
  if (auto pattern = std::string(text_at(s, "pattern")); !pattern.empty())
    if (auto fault = pattern_fault(pattern))
      e.push_back(
          invalid(sub(path, "pattern"), Value(pattern), "must be a valid regular expression, but isn't: " + *fault));
  auto list = text_at(s, "x-kubernetes-list-type");
  if (!list.empty()) {
    check_one_of(e, sub(path, "x-kubernetes-list-type"), Value(list), {"atomic", "map", "set"});
    if (type != "array")
      e.push_back(invalid(sub(path, "type"), Value(type), "must be array if x-kubernetes-list-type is specified"));
    if (list == "map" && array_at(s, "x-kubernetes-list-map-keys").empty())
      e.push_back(
          required(sub(path, "x-kubernetes-list-map-keys"), "must not be empty if x-kubernetes-list-type is map"));
  }
  if (const auto* d = s.if_contains("default"); d != nullptr && !d->is_null()) {
    FieldErrors faults;
    validate_schema(faults, Value(s), *d, "");
    for (auto& f : faults) {
      f.field = f.field.empty() ? sub(path, "default") : sub(sub(path, "default"), f.field);
      e.push_back(std::move(f));
    }
  }
  for (const auto& p : object_at(s, "properties")) {
    auto here = keyed(sub(path, "properties"), p.key());
    const auto* child_schema = p.value().if_object();
    if (child_schema == nullptr) continue;
    if (root && p.key() == "metadata") {
      bool only_names = std::ranges::all_of(object_at(*child_schema, "properties"), [](const auto& m) {
        return m.key() == "name" || m.key() == "generateName";
      });
      if (!only_names)
        e.push_back(forbidden(here,
                              "must not specify anything other than name and generateName, but metadata is "
                              "implicitly specified"));
      continue;
    }
    check_schema(e, *child_schema, here, false, structural, depth + 1);
  }
  if (const auto* more = child(s, "additionalProperties")) {
    if (!object_at(s, "properties").empty())
      e.push_back(
          forbidden(sub(path, "additionalProperties"), "additionalProperties and properties are mutual exclusive"));
    check_schema(e, *more, sub(path, "additionalProperties"), false, structural, depth + 1);
  }
  if (const auto* items = s.if_contains("items")) {
    if (items->is_array())
      e.push_back(forbidden(sub(path, "items"), "items must be a schema object and not an array"));
    else if (items->is_object())
      check_schema(e, items->get_object(), sub(path, "items"), false, structural, depth + 1);
  } else if (type == "array") {
    e.push_back(required(sub(path, "items"), "must be specified"));
  }
  for (std::string_view key : {"allOf", "anyOf", "oneOf"}) {
    const auto& parts = array_at(s, key);
    for (std::size_t i = 0; i < parts.size(); ++i)
      if (parts[i].is_object())
        check_schema(e, parts[i].get_object(), item(sub(path, key), i), false, false, depth + 1);
  }
  if (const auto* no = child(s, "not")) check_schema(e, *no, sub(path, "not"), false, false, depth + 1);
}

bool simple_path(std::string_view p) { return p.size() > 1 && p[0] == '.' && p.find("..") == std::string_view::npos; }

void check_columns(FieldErrors& e, const Array& columns, const std::string& path) {
  for (std::size_t i = 0; i < columns.size(); ++i) {
    if (!columns[i].is_object()) continue;
    const auto& c = columns[i].get_object();
    auto here = item(path, i);
    if (text_at(c, "name").empty()) e.push_back(required(sub(here, "name")));
    auto type = text_at(c, "type");
    static constexpr std::string_view types[] = {"boolean", "date", "integer", "number", "string"};
    if (type.empty())
      e.push_back(required(sub(here, "type"), "must be one of boolean,date,integer,number,string"));
    else if (std::ranges::find(types, type) == std::end(types))
      e.push_back(invalid(sub(here, "type"), Value(type), "must be one of boolean,date,integer,number,string"));
    auto json_path = text_at(c, "jsonPath");
    if (json_path.empty())
      e.push_back(required(sub(here, "JSONPath")));
    else if (!simple_path(json_path))
      e.push_back(invalid(sub(here, "JSONPath"), Value(json_path), "must be a simple json path starting with ."));
  }
}

void check_scale(FieldErrors& e, const Object& subresources, const std::string& path) {
  const auto* scale = child(subresources, "scale");
  if (scale == nullptr) return;
  for (auto [key, below, needed] :
       {std::tuple{"specReplicasPath", ".spec.", true}, std::tuple{"statusReplicasPath", ".status.", true},
        std::tuple{"labelSelectorPath", "", false}}) {
    auto p = text_at(*scale, key);
    auto here = sub(sub(path, "scale"), key);
    if (p.empty()) {
      if (needed) e.push_back(required(here));
    } else if (!simple_path(p)) {
      e.push_back(invalid(here, Value(p), "must be a simple json path starting with ."));
    } else if (std::string_view(below).empty() ? !p.starts_with(".spec.") && !p.starts_with(".status.")
                                               : !p.starts_with(below)) {
      e.push_back(invalid(here, Value(p),
                          std::string_view(below).empty()
                              ? "should be a json path under either .spec or .status"
                              : fmt::format("should be a json path under {}",
                                            std::string(below).substr(0, std::string_view(below).size() - 1))));
    }
  }
}

void check_names(FieldErrors& e, const Object& names) {
  const std::string path = "spec.names";
  for (std::string_view key : {"plural", "singular"}) {
    auto v = text_at(names, key);
    if (v.empty())
      e.push_back(required(sub(path, key)));
    else
      invalid_all(e, sub(path, key), Value(v), dns_1035_label(v));
  }
  for (std::string_view key : {"kind", "listKind"}) {
    auto v = text_at(names, key);
    if (v.empty())
      e.push_back(required(sub(path, key)));
    else if (auto f = dns_1035_label(text::lower(v)); !f.empty())
      e.push_back(
          invalid(sub(path, key), Value(v), "may have mixed case, but should otherwise match: " + join(f, ",")));
  }
  auto texts = [&](std::string_view key) {
    const auto& list = array_at(names, key);
    for (std::size_t i = 0; i < list.size(); ++i)
      if (list[i].is_string())
        invalid_all(e, item(sub(path, key), i), list[i], dns_1035_label(std::string_view(list[i].get_string())));
  };
  texts("shortNames");
  if (!text_at(names, "kind").empty() && text_at(names, "kind") == text_at(names, "listKind"))
    e.push_back(
        invalid(sub(path, "listKind"), Value(text_at(names, "listKind")), "kind and listKind may not be the same"));
  texts("categories");
}

std::string shown_versions(const Object& spec) {
  const auto* given = at(spec, "versions");
  const std::string type = "[]apiextensions.CustomResourceDefinitionVersion";
  if (given == nullptr || !given->is_array()) return type + "(nil)";
  std::string out = type + "{";
  for (const auto& v : given->get_array()) {
    if (!v.is_object()) continue;
    if (!out.ends_with('{')) out += ", ";
    out += fmt::format(
        "apiextensions.CustomResourceDefinitionVersion{{Name:{}, Served:{}, Storage:{}, Deprecated:{}, "
        "DeprecationWarning:(*string)(nil), Schema:(*apiextensions.CustomResourceValidation)(nil), "
        "Subresources:(*apiextensions.CustomResourceSubresources)(nil), "
        "AdditionalPrinterColumns:[]apiextensions.CustomResourceColumnDefinition(nil), "
        "SelectableFields:[]apiextensions.SelectableField(nil)}}",
        in_quotes(text_at(v.get_object(), "name")), bool_at(v.get_object(), "served"),
        bool_at(v.get_object(), "storage"), bool_at(v.get_object(), "deprecated"));
  }
  return out + "}";
}

void check_versions(FieldErrors& e, const Object& spec) {
  const auto& versions = array_at(spec, "versions");
  std::size_t storage = 0;
  std::string_view stored;
  std::vector<std::string> first;
  std::set<std::string_view> seen;
  const bool one_schema = alike(versions, "schema"), one_columns = alike(versions, "additionalPrinterColumns"),
             one_sub = alike(versions, "subresources");
  for (std::size_t i = 0; i < versions.size(); ++i) {
    if (!versions[i].is_object()) continue;
    const auto& v = versions[i].get_object();
    auto here = item("spec.versions", i);
    if (bool_at(v, "storage")) {
      ++storage;
      stored = text_at(v, "name");
    }
    auto faults = dns_1035_label(text_at(v, "name"));
    invalid_all(e, sub(here, "name"), Value(text_at(v, "name")), faults);
    if (i == 0) first = faults;
    if (!seen.insert(text_at(v, "name")).second)
      e.push_back(invalid(sub(here, "name"), Value(text_at(v, "name")), "must be unique"));
    const auto* schema = checked_schema(v);
    if (schema == nullptr) {
      e.push_back(required(sub(here, "schema.openAPIV3Schema"), "schemas are required"));
    } else if (!one_schema || i == 0) {
      check_schema(e, schema->get_object(),
                   one_schema ? "spec.validation.openAPIV3Schema" : sub(here, "schema.openAPIV3Schema"), true, true, 0);
    }
    if (!one_columns || i == 0)
      check_columns(e, array_at(v, "additionalPrinterColumns"),
                    one_columns ? "spec.additionalPrinterColumns" : sub(here, "additionalPrinterColumns"));
    if (!one_sub || i == 0)
      check_scale(e, object_at(v, "subresources"), one_sub ? "spec.subresources" : sub(here, "subresources"));
  }
  if (storage != 1)
    e.push_back(
        invalid_raw("spec.versions", shown_versions(spec), "must have exactly one version marked as storage version"));
  // The first version stands for the definition's own in the internal form.
  if (!versions.empty() && versions[0].is_object())
    invalid_all(e, "spec.version", Value(text_at(versions[0].get_object(), "name")), first);
  if (storage == 0)
    e.push_back(invalid_raw("status.storedVersions", "[]string(nil)", "must have at least one stored version"));
  else if (storage > 1)
    for (const auto& v : versions)
      if (v.is_object() && bool_at(v.get_object(), "storage")) {
        e.push_back(invalid_raw("status.storedVersions",
                                fmt::format("[]string{{{}}}", in_quotes(text_at(v.get_object(), "name"))),
                                fmt::format("must have the storage version {}", stored)));
        break;
      }
}

bool protected_group(std::string_view g) {
  return g == "k8s.io" || g == "kubernetes.io" || g.ends_with(".k8s.io") || g.ends_with(".kubernetes.io");
}

}  // namespace

void validate_crd(FieldErrors& e, const Object& o, const Object* before) {
  const auto& spec = object_at(o, "spec");
  const auto& names = object_at(spec, "names");
  auto group = text_at(spec, "group");
  auto name = name_of(o);
  if (name != fmt::format("{}.{}", text_at(names, "plural"), group))
    e.push_back(invalid("metadata.name", Value(name), "must be spec.names.plural+\".\"+spec.group"));
  if (group.empty()) {
    e.push_back(required("spec.group"));
  } else {
    invalid_all(e, "spec.group", Value(group), dns_subdomain(group));
    if (group.find('.') == std::string_view::npos)
      e.push_back(invalid("spec.group", Value(group), "should be a domain with at least one dot"));
  }
  auto scope = text_at(spec, "scope");
  if (scope.empty())
    e.push_back(required("spec.scope"));
  else
    check_one_of(e, "spec.scope", Value(scope), {"Cluster", "Namespaced"});
  check_versions(e, spec);
  check_names(e, names);
  if (auto strategy = text_at(spec, "conversion.strategy", "None"); strategy == "Webhook") {
    if (at(spec, "conversion.webhook.clientConfig") == nullptr)
      e.push_back(required("spec.conversion.webhookClientConfig", "required when strategy is set to Webhook"));
    if (array_at(spec, "conversion.webhook.conversionReviewVersions").empty())
      e.push_back(required("spec.conversion.conversionReviewVersions"));
  } else if (strategy != "None") {
    check_one_of(e, "spec.conversion.strategy", Value(strategy), {"None", "Webhook"});
  }
  if (protected_group(group) && annotation(o, "api-approved.kubernetes.io").empty())
    e.push_back(required("metadata.annotations[api-approved.kubernetes.io]",
                         "protected groups must have approval annotation \"api-approved.kubernetes.io\", see "
                         "https://github.com/kubernetes/enhancements/pull/1111"));
  if (before != nullptr)
    for (std::string_view key : {"spec.scope", "spec.names.kind", "spec.group", "spec.names.plural"})
      check_immutable(e, o, *before, key);
}

}  // namespace mr::kube
