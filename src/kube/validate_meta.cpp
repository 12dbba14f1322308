// Checks that every kind shares: metadata, labels and selectors, and how values are shown in faults.
#include <boost/json/array.hpp>

#include "kube/admission_rules.h"
#include "kube/names.h"
#include "text/text.h"

namespace mr::kube {

std::string sub(std::string_view path, std::string_view member) {
  return path.empty() ? std::string(member) : fmt::format("{}.{}", path, member);
}
std::string item(std::string_view path, std::size_t index) { return fmt::format("{}[{}]", path, index); }
std::string keyed(std::string_view path, std::string_view key) { return fmt::format("{}[{}]", path, key); }

void invalid_all(FieldErrors& e, const std::string& path, const Value& v, const std::vector<std::string>& faults) {
  for (const auto& f : faults) e.push_back(invalid(path, v, f));
}

FieldError invalid_raw(std::string field, std::string_view shown, std::string_view what) {
  return {"FieldValueInvalid", std::move(field), fmt::format("Invalid value: {}: {}", shown, what)};
}

void check_non_negative(FieldErrors& e, const Object& o, std::string_view path, std::string_view key) {
  const auto* v = o.if_contains(key);
  if (v != nullptr && v->is_number() && int_at(o, key) < 0)
    e.push_back(invalid(sub(path, key), *v, "must be greater than or equal to 0"));
}

void check_one_of(FieldErrors& e, const std::string& path, const Value& v, std::vector<std::string> allowed) {
  if (v.is_string() && std::ranges::find(allowed, std::string_view(v.get_string())) != allowed.end()) return;
  e.push_back(not_supported(path, v.is_null() ? Value("") : v, std::move(allowed)));
}

void check_immutable(FieldErrors& e, const Object& now, const Object& before, std::string_view path) {
  static const Value none;
  const auto* a = at(now, path);
  const auto* b = at(before, path);
  if (a == nullptr) a = &none;
  if (b == nullptr) b = &none;
  if (!same(*a, *b)) e.push_back(invalid(std::string(path), *a, "field is immutable"));
}

std::string go_map(const Object& map) {
  if (map.empty()) return "map[string]string(nil)";
  std::map<std::string_view, const Value*> sorted;
  for (const auto& m : map) sorted.emplace(std::string_view(m.key()), &m.value());
  std::string out = "map[string]string{";
  for (const auto& [k, v] : sorted) {
    if (!out.ends_with('{')) out += ", ";
    out += fmt::format("{}:{}", in_quotes(k), rendered(*v));
  }
  return out + "}";
}

std::string go_texts(std::string_view type, const Array& texts) {
  if (texts.empty()) return fmt::format("[]{}(nil)", type);
  std::string out = fmt::format("[]{}{{", type);
  for (std::size_t i = 0; i < texts.size(); ++i) (out += i == 0 ? "" : ", ") += rendered(texts[i]);
  return out + "}";
}

std::string go_selector(const Object& s) {
  auto out = fmt::format("v1.LabelSelector{{MatchLabels:{}, MatchExpressions:[]v1.LabelSelectorRequirement",
                         go_map(object_at(s, "matchLabels")));
  const auto& expressions = array_at(s, "matchExpressions");
  if (expressions.empty()) return out + "(nil)}";
  out += '{';
  for (std::size_t i = 0; i < expressions.size(); ++i) {
    if (!expressions[i].is_object()) continue;
    const auto& x = expressions[i].get_object();
    if (i > 0) out += ", ";
    out += fmt::format("v1.LabelSelectorRequirement{{Key:{}, Operator:{}, Values:{}}}", in_quotes(text_at(x, "key")),
                       in_quotes(text_at(x, "operator")), go_texts("string", array_at(x, "values")));
  }
  return out + "}}";
}

std::string go_int_or_string(const Value& v) {
  if (const auto* s = v.if_string())
    return fmt::format("intstr.IntOrString{{Type:1, IntVal:0, StrVal:{}}}", in_quotes(std::string_view(*s)));
  return fmt::format("intstr.IntOrString{{Type:0, IntVal:{}, StrVal:\"\"}}", v.is_null() ? "0" : rendered(v));
}

void check_labels(FieldErrors& e, const Object& labels, const std::string& path) {
  for (const auto& m : labels) {
    invalid_all(e, path, Value(m.key()), qualified_name(m.key()));
    if (m.value().is_string()) invalid_all(e, path, m.value(), label_value(std::string_view(m.value().get_string())));
  }
}

void check_selector(FieldErrors& e, const Object& selector, const std::string& path) {
  check_labels(e, object_at(selector, "matchLabels"), sub(path, "matchLabels"));
  const auto& expressions = array_at(selector, "matchExpressions");
  for (std::size_t i = 0; i < expressions.size(); ++i) {
    if (!expressions[i].is_object()) continue;
    const auto& x = expressions[i].get_object();
    auto here = item(sub(path, "matchExpressions"), i);
    auto op = text_at(x, "operator");
    const auto& values = array_at(x, "values");
    if (op == "In" || op == "NotIn") {
      if (values.empty())
        e.push_back(required(sub(here, "values"), "must be specified when `operator` is 'In' or 'NotIn'"));
    } else if (op == "Exists" || op == "DoesNotExist") {
      if (!values.empty())
        e.push_back(
            forbidden(sub(here, "values"), "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"));
    } else {
      e.push_back(invalid(sub(here, "operator"), Value(op), "not a valid selector operator"));
    }
    invalid_all(e, sub(here, "key"), Value(text_at(x, "key")), qualified_name(text_at(x, "key")));
    for (std::size_t j = 0; j < values.size(); ++j)
      if (values[j].is_string())
        invalid_all(e, item(sub(here, "values"), j), values[j], label_value(std::string_view(values[j].get_string())));
  }
}

namespace {

constexpr std::size_t max_annotations = 256u << 10;

Faults name_faults(const Kind& kind, std::string_view name) {
  if (kind.group.empty() && kind.kind == "Namespace") return dns_label(name);
  if (kind.group.empty() && kind.kind == "Service") return dns_1035_label(name);
  if (kind.group == "rbac.authorization.k8s.io") return path_segment(name);
  if (kind.kind == "CustomResourceDefinition") return {};  // its name is checked against its spec
  auto f = dns_subdomain(name);
  if (kind.group == "batch" && kind.kind == "CronJob" && name.size() > 52)
    f.emplace_back("must be no more than 52 characters");
  return f;
}

void check_owners(FieldErrors& e, const Array& owners) {
  const std::string path = "metadata.ownerReferences";
  const Object* controller = nullptr;
  for (const auto& v : owners) {
    if (!v.is_object()) continue;
    const auto& r = v.get_object();
    auto version = text_at(r, "apiVersion");
    if (version.substr(version.find('/') + 1).empty())
      e.push_back(invalid(sub(path, "apiVersion"), Value(version), "version must not be empty"));
    for (std::string_view key : {"kind", "name", "uid"})
      if (text_at(r, key).empty()) e.push_back(invalid(sub(path, key), "", fmt::format("{} must not be empty", key)));
    if (version == "v1" && text_at(r, "kind") == "Event")
      e.push_back(invalid(path, "", "/v1, Kind=Event is disallowed from being an owner"));
    if (!bool_at(r, "controller")) continue;
    if (controller != nullptr) {
      std::string shown = "[]v1.OwnerReference{";
      auto pointer = [](const Object& o, std::string_view key) {
        return o.contains(key) ? "(*bool)(0xc000000000)" : "(*bool)(nil)";
      };
      for (const auto& w : owners) {
        if (!w.is_object()) continue;
        const auto& o = w.get_object();
        if (!shown.ends_with('{')) shown += ", ";
        shown += fmt::format(
            "v1.OwnerReference{{APIVersion:{}, Kind:{}, Name:{}, UID:{}, Controller:{}, BlockOwnerDeletion:{}}}",
            in_quotes(text_at(o, "apiVersion")), in_quotes(text_at(o, "kind")), in_quotes(text_at(o, "name")),
            in_quotes(text_at(o, "uid")), pointer(o, "controller"), pointer(o, "blockOwnerDeletion"));
      }
      e.push_back(invalid_raw(path, shown + "}",
                              fmt::format("Only one reference can have Controller set to true. Found \"true\" in "
                                          "references for {}/{} and {}/{}",
                                          text_at(*controller, "kind"), text_at(*controller, "name"),
                                          text_at(r, "kind"), text_at(r, "name"))));
    }
    controller = &r;
  }
}

void check_finalizers(FieldErrors& e, const Kind& kind, const Object& o, const Object* before) {
  const std::string path = "metadata.finalizers";
  const auto& list = array_at(o, path);
  for (const auto& v : list)
    if (v.is_string()) invalid_all(e, path, v, qualified_name(std::string_view(v.get_string())));
  if (!kind.crd)
    for (std::size_t i = 0; i < list.size(); ++i) {
      if (!list[i].is_string()) continue;
      std::string_view name = list[i].get_string();
      if (name.find('/') == std::string_view::npos && name != "kubernetes" && name != "orphan" &&
          name != "foregroundDeletion")
        e.push_back(
            invalid(item(path, i), list[i], "name is neither a standard finalizer name nor is it fully qualified"));
    }
  if (before == nullptr || !deleting(*before)) return;
  Array fresh;
  const auto& old = array_at(*before, path);
  for (const auto& v : list)
    if (std::ranges::find(old, v) == old.end()) fresh.push_back(v);
  // The real server looks at those of its own kinds twice, and says it twice.
  for (int i = 0; !fresh.empty() && i < (kind.crd ? 1 : 2); ++i)
    e.push_back(forbidden(path, fmt::format("no new finalizers can be added if the object is being deleted, found new "
                                            "finalizers {}",
                                            go_texts("string", fresh))));
}

}  // namespace

void validate_meta(FieldErrors& e, const Kind& kind, const Object& o, const Object* before) {
  auto name = name_of(o);
  auto prefix = std::string(text_at(o, "metadata.generateName"));
  if (!prefix.empty() && before == nullptr) {
    auto whole = prefix;
    if (whole.size() > 1 && whole.back() == '-') whole.back() = 'a';
    invalid_all(e, "metadata.generateName", Value(prefix), name_faults(kind, whole));
  }
  if (name.empty())
    e.push_back(required("metadata.name", "name or generateName is required"));
  else if (before == nullptr)
    invalid_all(e, "metadata.name", Value(name), name_faults(kind, name));
  check_labels(e, object_at(o, "metadata.labels"), "metadata.labels");
  std::size_t size = 0;
  for (const auto& m : object_at(o, "metadata.annotations")) {
    invalid_all(e, "metadata.annotations", Value(m.key()), qualified_name(text::lower(m.key())));
    size += m.key().size() + (m.value().is_string() ? m.value().get_string().size() : 0);
  }
  if (size > max_annotations) e.push_back(too_long("metadata.annotations", max_annotations));
  check_owners(e, array_at(o, "metadata.ownerReferences"));
  check_finalizers(e, kind, o, before);
}

}  // namespace mr::kube
