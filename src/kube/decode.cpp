#include "kube/decode.h"

#include "json/parse.h"
#include "kube/wire.h"
#include "text/text.h"

namespace mr::kube {

namespace decode {

std::optional<std::string> quantity_fault(std::string_view t) {
  constexpr std::string_view format =
      "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
  std::size_t i = 0, digits = 0, dots = 0;
  if (i < t.size() && (t[i] == '+' || t[i] == '-')) ++i;
  for (; i < t.size() && ((t[i] >= '0' && t[i] <= '9') || t[i] == '.'); ++i) t[i] == '.' ? ++dots : ++digits;
  if (digits == 0 || dots > 1) return std::string(format);
  const auto suffix = t.substr(i);
  static constexpr std::string_view known[] = {"",  "n", "u",  "m",  "k",  "M",  "G",  "T",
                                               "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"};
  if (std::ranges::find(known, suffix) != std::end(known)) return std::nullopt;
  const auto letters = suffix.find_first_not_of("eEinumkKMGTP");
  auto rest = letters == std::string_view::npos ? std::string_view{} : suffix.substr(letters);
  const bool exponent = letters == 1 && (suffix[0] == 'e' || suffix[0] == 'E');
  if (rest.starts_with('+') || rest.starts_with('-')) rest.remove_prefix(1);
  if (rest.find_first_not_of("0123456789") != std::string_view::npos) return std::string(format);
  if (exponent && !rest.empty()) return std::nullopt;
  return "unable to parse quantity's suffix";
}

std::optional<std::string> time_fault(std::string_view t) {
  constexpr std::string_view layout = "2006-01-02T15:04:05Z07:00";
  constexpr std::string_view elements[] = {"2006", "-", "01", "-", "02", "T", "15", ":", "04", ":", "05"};
  auto rest = t;
  auto fault = [&](std::string_view element) {
    return fmt::format("parsing time \"{}\" as \"{}\": cannot parse \"{}\" as \"{}\"", t, layout, rest, element);
  };
  auto digit = [](char c) { return c >= '0' && c <= '9'; };
  std::vector<int> numbers;
  for (const auto e : elements) {
    if (!digit(e[0])) {
      if (!rest.starts_with(e)) return fault(e);
      rest.remove_prefix(1);
      continue;
    }
    const auto size = e.size();
    if (rest.size() < size || !std::all_of(rest.begin(), rest.begin() + static_cast<std::ptrdiff_t>(size), digit))
      return fault(e);
    int n = 0;
    for (const char c : rest.substr(0, size)) n = n * 10 + (c - '0');
    numbers.push_back(n);
    rest.remove_prefix(size);
  }
  if (rest.size() > 1 && (rest[0] == '.' || rest[0] == ',') && digit(rest[1]))
    for (rest.remove_prefix(1); !rest.empty() && digit(rest[0]);) rest.remove_prefix(1);
  if (rest != "Z") {
    const bool offset = rest.size() == 6 && (rest[0] == '+' || rest[0] == '-') && digit(rest[1]) && digit(rest[2]) &&
                        rest[3] == ':' && digit(rest[4]) && digit(rest[5]);
    if (!offset) return fault("Z07:00");
  }
  auto range = [&](std::string_view what) { return fmt::format("parsing time \"{}\": {} out of range", t, what); };
  using namespace std::chrono;
  if (numbers[1] < 1 || numbers[1] > 12) return range("month");
  const year_month_day date{year(numbers[0]), month(static_cast<unsigned>(numbers[1])),
                            day(static_cast<unsigned>(numbers[2]))};
  if (!date.ok()) return range("day");
  if (numbers[3] > 23) return range("hour");
  if (numbers[4] > 59) return range("minute");
  if (numbers[5] > 59) return range("second");
  return std::nullopt;
}

std::optional<std::string> base64_fault(std::string_view t) {
  std::size_t in_group = 0, at = 0;
  auto fault = [](std::size_t i) { return fmt::format("illegal base64 data at input byte {}", i); };
  for (; at < t.size(); ++at) {
    const char c = t[at];
    if (c == '\n' || c == '\r') continue;
    if (c == '=') break;
    const bool known =
        (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/';
    if (!known) return fault(at);
    in_group = (in_group + 1) % 4;
  }
  if (at == t.size()) return in_group == 0 ? std::nullopt : std::optional(fault(t.size()));
  // Padding: one or two '=' that fill the group up, then nothing.
  if (in_group < 2) return fault(at);
  std::size_t wanted = 4 - in_group, seen = 0;
  for (; at < t.size(); ++at) {
    if (t[at] == '\n' || t[at] == '\r') continue;
    if (t[at] != '=' || ++seen > wanted) return fault(at);
  }
  return seen == wanted ? std::nullopt : std::optional(fault(t.size()));
}

}  // namespace decode

// How the real server quotes the body that it could not read: text that looks like JSON as it is, all else in hex.
std::string snippet(std::string_view body) {
  constexpr std::size_t shown = 30;
  if (body.empty()) return "<empty>";
  const auto part = body.substr(0, shown);
  auto out = body.starts_with('{') && text::utf8_valid(part) ? std::string(part) : text::hex(part);
  return body.size() > shown ? out + " ..." : out;
}

namespace {

std::string_view go_kind(const Value& v) {
  if (v.is_object()) return "object";
  if (v.is_array()) return "array";
  if (v.is_string()) return "string";
  if (v.is_bool()) return "bool";
  return "number";
}

// "io.k8s.api.core.v1.PodSpec": v1.PodSpec and PodSpec.
std::string_view short_name(std::string_view name) { return name.substr(name.rfind('.') + 1); }
std::string_view go_name(std::string_view name) {
  const auto dot = name.rfind('.');
  if (dot == std::string_view::npos || dot == 0) return name;
  const auto before = name.rfind('.', dot - 1);
  return name.substr(before == std::string_view::npos ? 0 : before + 1);
}

std::string element_type(const Field& f) {
  if (!f.go_type.empty()) return f.go_type;
  switch (f.type) {
    case FieldType::string:
      return "string";
    case FieldType::boolean:
      return "bool";
    case FieldType::int32:
      return "int32";
    case FieldType::int64:
      return "int64";
    case FieldType::number:
      return "float64";
    case FieldType::bytes:
      return "[]uint8";
    case FieldType::time:
      return "v1.Time";
    case FieldType::micro_time:
      return "v1.MicroTime";
    case FieldType::duration:
      return "v1.Duration";
    case FieldType::quantity:
      return "resource.Quantity";
    case FieldType::int_or_string:
      return "intstr.IntOrString";
    case FieldType::object:
      return std::string(go_name(f.ref->name));
    case FieldType::any:
      break;
  }
  return "interface {}";
}

class Checker {
 public:
  explicit Checker(std::vector<std::string>& unknown) : unknown_(unknown) {}

  std::optional<std::string> object(const Type& type, const Object& o, const std::string& strict,
                                    const std::string& path) {
    for (const auto& [k, v] : o) {
      const std::string_view key = k;
      const auto* f = type.find(key);
      const auto here = strict.empty() ? std::string(key) : fmt::format("{}.{}", strict, key);
      if (!f) {
        if (!type.preserve_unknown && unknown_.size() < decode::most_faults)
          unknown_.push_back(fmt::format("unknown field \"{}\"", here));
        continue;
      }
      const auto plain = path.empty() ? std::string(key) : fmt::format("{}.{}", path, key);
      if (auto fault = field(type, *f, v, here, plain)) return fault;
    }
    return std::nullopt;
  }

 private:
  std::optional<std::string> field(const Type& type, const Field& f, const Value& v, const std::string& strict,
                                   const std::string& path) {
    if (v.is_null()) return std::nullopt;
    if (f.container == Container::one) return element(type, f, v, strict, path);
    if (f.container == Container::list) {
      if (!v.is_array()) return wrong(type, v, path, "[]" + element_type(f));
      std::size_t i = 0;
      for (const auto& x : v.get_array())
        if (auto fault = element(type, f, x, fmt::format("{}[{}]", strict, i++), path)) return fault;
      return std::nullopt;
    }
    if (!v.is_object()) return wrong(type, v, path, "map[string]" + element_type(f));
    for (const auto& [k, x] : v.get_object())
      if (auto fault = element(type, f, x, fmt::format("{}.{}", strict, std::string_view(k)), path)) return fault;
    return std::nullopt;
  }

  static std::string wrong(const Type& type, const Value& v, const std::string& path, const std::string& wanted) {
    return fmt::format("json: cannot unmarshal {} into Go struct field {}.{} of type {}", go_kind(v),
                       short_name(type.name), path, wanted);
  }
  // A number that is no whole one, or does not fit: Go names it.
  static std::string wrong_number(const Type& type, const Value& v, const std::string& path,
                                  const std::string& wanted) {
    return fmt::format("json: cannot unmarshal number {} into Go struct field {}.{} of type {}", json::serialize(v),
                       short_name(type.name), path, wanted);
  }

  std::optional<std::string> element(const Type& type, const Field& f, const Value& v, const std::string& strict,
                                     const std::string& path) {
    if (v.is_null()) return std::nullopt;
    auto fault = [&] { return wrong(type, v, path, element_type(f)); };
    switch (f.type) {
      case FieldType::any:
        return std::nullopt;
      case FieldType::string:
        return v.is_string() ? std::nullopt : std::optional(fault());
      case FieldType::boolean:
        return v.is_bool() ? std::nullopt : std::optional(fault());
      case FieldType::number:
        return v.is_number() ? std::nullopt : std::optional(fault());
      case FieldType::int32:
      case FieldType::int64: {
        if (!v.is_number()) return fault();
        const bool fits =
            v.is_int64() && (f.type == FieldType::int64 || (v.get_int64() >= INT32_MIN && v.get_int64() <= INT32_MAX));
        return fits ? std::nullopt : std::optional(wrong_number(type, v, path, element_type(f)));
      }
      case FieldType::bytes:
        return v.is_string() ? decode::base64_fault(v.get_string()) : std::optional(fault());
      case FieldType::time:
      case FieldType::micro_time:
        if (v.is_string()) return decode::time_fault(v.get_string());
        return fmt::format("json: cannot unmarshal {} into Go value of type string", go_kind(v));
      case FieldType::duration:
        if (v.is_string()) return std::nullopt;
        return fmt::format("json: cannot unmarshal {} into Go value of type string", go_kind(v));
      case FieldType::quantity:
        if (v.is_string()) return decode::quantity_fault(v.get_string());
        return v.is_number() ? std::nullopt : decode::quantity_fault("");
      case FieldType::int_or_string:
        if (v.is_string() || (v.is_int64() && v.get_int64() >= INT32_MIN && v.get_int64() <= INT32_MAX))
          return std::nullopt;
        return fmt::format("json: cannot unmarshal {}{} into Go value of type int32", go_kind(v),
                           v.is_number() ? " " + json::serialize(v) : std::string());
      case FieldType::object:
        if (!v.is_object()) return fault();
        return object(*f.ref, v.get_object(), strict, path);
    }
    return std::nullopt;
  }

  std::vector<std::string>& unknown_;
};

}  // namespace

std::expected<Object, ApiError> decode_text(std::string_view body, bool yaml, std::vector<std::string>& duplicates) {
  auto refuse = [&](std::string_view what) {
    return std::unexpected(bad_request(fmt::format("{} ({})", what, snippet(body))));
  };
  const auto first = body.find_first_not_of(" \t\r\n");
  const bool json_like = first != std::string_view::npos && body[first] == '{';
  Value v;
  std::vector<std::string> found;
  if (!yaml || (json_like && !decode::scan_json(body, found))) {
    found.clear();
    if (const auto fault = decode::scan_json(body, found))
      return refuse(fmt::format("couldn't get version/kind; json parse error: {}", *fault));
    auto parsed = json::parse(body, decode::deepest + 1);
    if (!parsed) return refuse(fmt::format("couldn't get version/kind; json parse error: {}", parsed.error().message));
    v = std::move(*parsed);
  } else {
    found.clear();
    auto parsed = decode::parse_yaml(body, found);
    if (!parsed) return refuse(parsed.error().message);
    v = std::move(*parsed);
  }
  if (!v.is_object())
    return refuse(
        fmt::format("couldn't get version/kind; json parse error: json: cannot unmarshal {} into Go value of type "
                    "struct {{ APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string "
                    "\"json:\\\"kind,omitempty\\\"\" }}",
                    v.is_null() ? std::string_view("null") : go_kind(v)));
  for (const auto* key : {"apiVersion", "kind"})
    if (const auto* x = v.get_object().if_contains(key); x && !x->is_string() && !x->is_null())
      return refuse(
          fmt::format("couldn't get version/kind; json parse error: json: cannot unmarshal {} into Go struct "
                      "field .{} of type string",
                      go_kind(*x), key));
  for (auto& d : found) duplicates.push_back(std::move(d));
  return std::move(v.get_object());
}

std::optional<std::string> check_types(const Type& type, const Object& object, std::vector<std::string>& unknown) {
  return Checker(unknown).object(type, object, {}, {});
}

}  // namespace mr::kube
