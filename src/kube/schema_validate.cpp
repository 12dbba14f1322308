// Structural schemas of CustomResourceDefinitions: defaults, pruning and validation of objects.
#include <re2/re2.h>

#include <boost/json/array.hpp>

#include "json/parse.h"
#include "kube/admission_rules.h"
#include "kube/names.h"
#include "kube/schema_rules.h"
#include "text/text.h"

namespace mr::kube {

namespace {

constexpr int max_value_depth = 100;
constexpr std::size_t max_patterns = 1024;  // compiled and kept

bool flag(const Object& schema, std::string_view key) { return bool_at(schema, key); }
bool int_or_string(const Object& s) { return flag(s, "x-kubernetes-int-or-string"); }
bool preserves(const Object& s) { return flag(s, "x-kubernetes-preserve-unknown-fields"); }

// Patterns are users' texts: RE2 bounds time and memory. Compiled ones are shared by all requests.
std::shared_ptr<const re2::RE2> compiled(const std::string& pattern) {
  static std::mutex mutex;
  static std::unordered_map<std::string, std::shared_ptr<const re2::RE2>> cache;
  std::lock_guard lock(mutex);
  if (auto it = cache.find(pattern); it != cache.end()) return it->second;
  re2::RE2::Options options;
  options.set_log_errors(false);
  options.set_max_mem(1 << 20);
  auto re = std::make_shared<const re2::RE2>(pattern, options);
  if (cache.size() >= max_patterns) cache.clear();
  cache.emplace(pattern, re);
  return re;
}

std::string_view type_name(const Value& v) {
  if (v.is_null()) return "null";
  if (v.is_bool()) return "boolean";
  if (v.is_string()) return "string";
  if (v.is_array()) return "array";
  if (v.is_object()) return "object";
  if (v.is_double() && std::trunc(v.get_double()) != v.get_double()) return "number";
  return "integer";
}

bool of_type(const Value& v, std::string_view type) {
  if (type == "integer") return v.is_number() && type_name(v) == "integer";
  if (type == "number") return v.is_number();
  return type_name(v) == type;
}

FieldError body_fault(const std::string& path, const Value& v, std::string what) {
  return invalid(path, v, fmt::format("{} in body {}", path, what));
}

double number(const Value& v) { return v.is_number() ? v.to_number<double>() : 0; }

bool digits(std::string_view s, std::size_t at, std::size_t n) {
  if (s.size() < at + n) return false;
  return std::ranges::all_of(s.substr(at, n), [](char c) { return c >= '0' && c <= '9'; });
}
bool is_date(std::string_view s) {
  return s.size() == 10 && digits(s, 0, 4) && s[4] == '-' && digits(s, 5, 2) && s[7] == '-' && digits(s, 8, 2);
}

// Formats that the real server checks; others say nothing.
bool has_format(std::string_view s, std::string_view format) {
  if (format == "date") return is_date(s);
  if (format == "date-time")
    return s.size() >= 20 && is_date(s.substr(0, 10)) && (s[10] == 'T' || s[10] == 't') && digits(s, 11, 2) &&
           s[13] == ':' && digits(s, 14, 2) && s[16] == ':' && digits(s, 17, 2) &&
           (s.ends_with('Z') || s.ends_with('z') || s.rfind('+') > 18 || s.rfind('-') > 18);
  if (format == "ipv4") return is_ip(s) && s.find(':') == std::string_view::npos;
  if (format == "ipv6") return is_ip(s) && s.find(':') != std::string_view::npos;
  if (format == "cidr") return is_cidr(s);
  if (format == "byte") return text::base64_decode(s).has_value();
  if (format == "hostname") return dns_subdomain(text::lower(s)).empty();
  if (format == "uuid" || format == "uuid3" || format == "uuid4" || format == "uuid5") {
    auto plain = text::lower(s);
    std::erase(plain, '-');
    return plain.size() == 32 && plain.find_first_not_of("0123456789abcdef") == std::string::npos;
  }
  if (format == "email") return s.find('@') != std::string_view::npos && s.find('@') != 0 && !s.ends_with('@');
  if (format == "uri") return s.find(':') != std::string_view::npos || s.starts_with('/');
  return true;
}

class Validator {
 public:
  explicit Validator(FieldErrors& e) : e_(e) {}

  void value(const Value& schema, const Value& v, const std::string& path, int depth = 0) {
    const auto* s = schema.if_object();
    if (s == nullptr || depth > max_value_depth) return;
    if (v.is_null() && flag(*s, "nullable")) return;
    if (!check_type(*s, v, path)) return;
    if (const auto* o = v.if_object())
      object(*s, *o, path, depth);
    else if (const auto* a = v.if_array())
      array(*s, *a, path, depth);
    else if (v.is_string())
      text(*s, v, path);
    else if (v.is_number())
      bounds(*s, v, path);
    enumeration(*s, v, path);
    combined(*s, v, path, depth);
  }

 private:
  bool check_type(const Object& s, const Value& v, const std::string& path) {
    if (int_or_string(s)) {
      if (v.is_string() || of_type(v, "integer")) return true;
      e_.push_back(
          type_invalid(path, Value(type_name(v)),
                       fmt::format("{} in body must be of type integer,string: {}", path, in_quotes(type_name(v)))));
      return false;
    }
    auto type = text_at(s, "type");
    if (type.empty() || of_type(v, type)) return true;
    e_.push_back(type_invalid(path, Value(type_name(v)),
                              fmt::format("{} in body must be of type {}: {}", path, type, in_quotes(type_name(v)))));
    return false;
  }

  void object(const Object& s, const Object& o, const std::string& path, int depth) {
    for (const auto& name : array_at(s, "required"))
      if (name.is_string() && !o.contains(name.get_string()))
        e_.push_back(required(sub(path, std::string_view(name.get_string()))));
    if (auto max = int_at(s, "maxProperties", -1); max >= 0 && std::int64_t(o.size()) > max)
      e_.push_back(too_many(path, o.size(), std::size_t(max)));
    if (auto min = int_at(s, "minProperties", -1); min >= 0 && std::int64_t(o.size()) < min)
      e_.push_back(body_fault(path, Value(o), fmt::format("should have at least {} properties", min)));
    const auto& properties = object_at(s, "properties");
    for (const auto& p : properties)
      if (const auto* v = o.if_contains(p.key())) {
        // The server itself answers for these members of a root or of an embedded object.
        if ((path.empty() || flag(s, "x-kubernetes-embedded-resource")) && p.key() == "metadata") continue;
        value(p.value(), *v, sub(path, p.key()), depth + 1);
      }
    if (const auto* more = s.if_contains("additionalProperties"); more != nullptr && more->is_object())
      for (const auto& m : o)
        if (!properties.contains(m.key())) value(*more, m.value(), sub(path, m.key()), depth + 1);
  }

  void array(const Object& s, const Array& a, const std::string& path, int depth) {
    if (auto max = int_at(s, "maxItems", -1); max >= 0 && std::int64_t(a.size()) > max)
      e_.push_back(too_many(path, a.size(), std::size_t(max)));
    if (auto min = int_at(s, "minItems", -1); min >= 0 && std::int64_t(a.size()) < min)
      e_.push_back(body_fault(path, Value(std::int64_t(a.size())), fmt::format("should have at least {} items", min)));
    if (const auto* items = s.if_contains("items"))
      for (std::size_t i = 0; i < a.size(); ++i) value(*items, a[i], item(path, i), depth + 1);
    auto kind = text_at(s, "x-kubernetes-list-type");
    std::set<std::string> seen;
    if (kind == "set") {
      for (std::size_t i = 0; i < a.size(); ++i)
        if (!seen.insert(json::serialize(a[i])).second) e_.push_back(duplicate(item(path, i), a[i]));
    } else if (kind == "map") {
      for (std::size_t i = 0; i < a.size(); ++i) {
        if (!a[i].is_object()) continue;
        std::string shown;
        for (const auto& k : array_at(s, "x-kubernetes-list-map-keys")) {
          if (!k.is_string()) continue;
          if (const auto* v = a[i].get_object().if_contains(k.get_string()))
            shown += fmt::format("{}{}:{}", shown.empty() ? "" : ", ", in_quotes(std::string_view(k.get_string())),
                                 rendered(*v));
        }
        if (!seen.insert(shown).second)
          e_.push_back({"FieldValueDuplicate", item(path, i),
                        fmt::format("Duplicate value: map[string]interface {{}}{{{}}}", shown)});
      }
    }
  }

  void text(const Object& s, const Value& v, const std::string& path) {
    std::string_view t = v.get_string();
    auto length = std::int64_t(text::utf8_length(t));
    if (auto max = int_at(s, "maxLength", -1); max >= 0 && length > max) e_.push_back(too_long(path, std::size_t(max)));
    if (auto min = int_at(s, "minLength", -1); min >= 0 && length < min)
      e_.push_back(body_fault(path, v, fmt::format("should be at least {} chars long", min)));
    if (auto pattern = std::string(text_at(s, "pattern")); !pattern.empty()) {
      auto re = compiled(pattern);
      if (re->ok() && !re2::RE2::PartialMatch(re2::StringPiece(t.data(), t.size()), *re))
        e_.push_back(body_fault(path, v, fmt::format("should match '{}'", pattern)));
    }
    if (auto format = text_at(s, "format"); !format.empty() && !has_format(t, format))
      e_.push_back(body_fault(path, v, fmt::format("must be of type {}: {}", format, in_quotes(t))));
  }

  void bounds(const Object& s, const Value& v, const std::string& path) {
    double n = number(v);
    if (const auto* max = s.if_contains("maximum"); max != nullptr && max->is_number()) {
      bool exclusive = flag(s, "exclusiveMaximum");
      if (exclusive ? n >= number(*max) : n > number(*max))
        e_.push_back(body_fault(
            path, v,
            fmt::format("should be less than {}{}", exclusive ? "" : "or equal to ", rendered(Value(number(*max))))));
    }
    if (const auto* min = s.if_contains("minimum"); min != nullptr && min->is_number()) {
      bool exclusive = flag(s, "exclusiveMinimum");
      if (exclusive ? n <= number(*min) : n < number(*min))
        e_.push_back(body_fault(path, v,
                                fmt::format("should be greater than {}{}", exclusive ? "" : "or equal to ",
                                            rendered(Value(number(*min))))));
    }
    if (const auto* of = s.if_contains("multipleOf"); of != nullptr && number(*of) > 0) {
      double times = n / number(*of);
      if (std::abs(times - std::round(times)) > 1e-9 * std::max(1.0, std::abs(times)))
        e_.push_back(body_fault(path, v, "should be a multiple of " + rendered(Value(number(*of)))));
    }
  }

  void enumeration(const Object& s, const Value& v, const std::string& path) {
    const auto& allowed = array_at(s, "enum");
    if (allowed.empty()) return;
    std::vector<std::string> texts;
    for (const auto& a : allowed) {
      if (same(a, v)) return;
      texts.push_back(a.is_string() ? std::string(std::string_view(a.get_string())) : rendered(a));
    }
    e_.push_back(not_supported(path, v, std::move(texts)));
  }

  bool fits(const Value& schema, const Value& v, const std::string& path, int depth) {
    FieldErrors faults;
    Validator(faults).value(schema, v, path, depth + 1);
    return faults.empty();
  }

  void combined(const Object& s, const Value& v, const std::string& path, int depth) {
    for (const auto& part : array_at(s, "allOf")) value(part, v, path, depth + 1);
    auto fitting = [&](std::string_view key) {
      return std::ranges::count_if(array_at(s, key), [&](const Value& p) { return fits(p, v, path, depth); });
    };
    if (const auto& any = array_at(s, "anyOf"); !any.empty() && !int_or_string(s) && fitting("anyOf") == 0)
      e_.push_back(body_fault(path, Value(""), "must validate at least one schema (anyOf)"));
    if (const auto& one = array_at(s, "oneOf"); !one.empty()) {
      auto n = fitting("oneOf");
      if (n != 1)
        e_.push_back(body_fault(
            path, Value(""),
            fmt::format("must validate one and only one schema (oneOf). {}",
                        n == 0 ? std::string("Found none valid") : fmt::format("Found {} valid alternatives", n))));
    }
    if (const auto* no = s.if_contains("not"); no != nullptr && fits(*no, v, path, depth))
      e_.push_back(body_fault(path, Value(""), "must not validate the schema (not)"));
  }

  FieldErrors& e_;
};

void apply_defaults(const Object& schema, Value& v, int depth);
void apply_defaults(const Object& schema, Object& o, int depth) {
  for (const auto& p : object_at(schema, "properties")) {
    const auto* of = p.value().if_object();
    if (of == nullptr) continue;
    auto it = o.find(p.key());
    // A null where none is allowed counts as absent.
    if (it != o.end() && it->value().is_null() && !flag(*of, "nullable")) {
      o.stable_erase(it);
      it = o.end();
    }
    if (it == o.end()) {
      const auto* d = of->if_contains("default");
      if (d == nullptr) continue;
      o[p.key()] = *d;
    }
    apply_defaults(*of, o[p.key()], depth + 1);
  }
  if (const auto* more = child(schema, "additionalProperties"))
    for (auto& m : o) apply_defaults(*more, m.value(), depth + 1);
}
void apply_defaults(const Object& schema, Value& v, int depth) {
  if (depth > max_value_depth) return;
  if (auto* o = v.if_object()) {
    apply_defaults(schema, *o, depth);
  } else if (auto* a = v.if_array()) {
    if (const auto* items = child(schema, "items"))
      for (auto& e : *a) apply_defaults(*items, e, depth + 1);
  }
}

void prune_value(const Object& schema, Value& v, bool root, const std::string& path, std::vector<std::string>& removed,
                 int depth) {
  if (depth > max_value_depth) return;
  if (auto* a = v.if_array()) {
    if (const auto* items = child(schema, "items"))
      for (std::size_t i = 0; i < a->size(); ++i)
        prune_value(*items, (*a)[i], false, item(path, i), removed, depth + 1);
    return;
  }
  auto* o = v.if_object();
  if (o == nullptr) return;
  const auto& properties = object_at(schema, "properties");
  const auto* more = schema.if_contains("additionalProperties");
  const bool keep = preserves(schema);
  const bool embedded = root || flag(schema, "x-kubernetes-embedded-resource");
  std::vector<std::string> gone;
  for (auto& m : *o) {
    auto here = sub(path, m.key());
    if (embedded && (m.key() == "apiVersion" || m.key() == "kind" || m.key() == "metadata")) continue;
    if (const auto* p = properties.if_contains(m.key())) {
      if (p->is_object()) prune_value(p->get_object(), m.value(), false, here, removed, depth + 1);
    } else if (more != nullptr && (more->is_object() || (more->is_bool() && more->get_bool()))) {
      if (more->is_object()) prune_value(more->get_object(), m.value(), false, here, removed, depth + 1);
    } else if (!keep) {
      gone.emplace_back(m.key());
      removed.push_back("unknown field " + in_quotes(here));
    }
  }
  for (const auto& key : gone)
    if (auto it = o->find(key); it != o->end()) o->stable_erase(it);
}

}  // namespace

void defaults_schema(const Value& schema, Object& object) {
  if (const auto* s = schema.if_object()) apply_defaults(*s, object, 0);
}

void validate_schema(FieldErrors& e, const Value& schema, const Value& v, const std::string& path) {
  Validator(e).value(schema, v, path);
}

void prune_schema(const Value& schema, Object& o, bool root, const std::string& path,
                  std::vector<std::string>& removed) {
  const auto* s = schema.if_object();
  if (s == nullptr) return;
  Value v(std::move(o), o.storage());
  prune_value(*s, v, root, path, removed, 0);
  o = std::move(v.get_object());
}

std::optional<std::string> pattern_fault(const std::string& pattern) {
  auto re = compiled(pattern);
  if (re->ok()) return std::nullopt;
  std::string what;
  switch (re->error_code()) {
    case re2::RE2::ErrorMissingParen:
      what = "missing closing )";
      break;
    case re2::RE2::ErrorUnexpectedParen:
      what = "unexpected )";
      break;
    case re2::RE2::ErrorMissingBracket:
      what = "missing closing ]";
      break;
    case re2::RE2::ErrorBadCharRange:
      what = "invalid character class range";
      break;
    case re2::RE2::ErrorBadEscape:
      what = "invalid escape sequence";
      break;
    case re2::RE2::ErrorRepeatArgument:
      what = "missing argument to repetition operator";
      break;
    default:
      what = "invalid pattern";
  }
  return fmt::format("error parsing regexp: {}: `{}`", what, re->error_arg());
}

}  // namespace mr::kube
