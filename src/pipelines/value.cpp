#include "pipelines/value.h"

#include <array>
#include <charconv>
#include <cmath>

#include "json/parse.h"
#include "json/writer.h"
#include "text/text.h"

namespace mr::pipelines {

namespace {

constexpr std::array<std::string_view, 8> kTypeNames = {"STRING", "NUMBER_INTEGER", "NUMBER_DOUBLE",     "BOOLEAN",
                                                        "LIST",   "STRUCT",         "TASK_FINAL_STATUS", "TASK_CONFIG"};
constexpr std::int64_t kLargestInteger = (std::int64_t{1} << 53) - 1;  // what a double, and so every client, holds
constexpr double kTwo63 = 9223372036854775808.0;

// The shortest digits that read back to the same double, and the place of the decimal point among them.
struct Decimal {
  std::array<char, 24> digits;
  int count = 0;
  int point = 0;  // 0.DIGITS * 10^point
  bool negative = false;
};

Decimal shortest(double d) {
  std::array<char, 40> buf;
  auto end = std::to_chars(buf.data(), buf.data() + buf.size(), d, std::chars_format::scientific).ptr;
  Decimal out;
  const char* p = buf.data();
  if (*p == '-') {
    out.negative = true;
    ++p;
  }
  for (; p != end && *p != 'e'; ++p)
    if (*p != '.') out.digits[static_cast<std::size_t>(out.count++)] = *p;
  ++p;  // e
  if (p != end && *p == '+') ++p;
  int exponent = 0;
  std::from_chars(p, end, exponent);
  out.point = exponent + 1;
  while (out.count > 1 && out.digits[static_cast<std::size_t>(out.count) - 1] == '0') --out.count;
  return out;
}

// Never with an exponent: 1e21 is a one and 21 zeros.
void append_plain(std::string& out, double d) {
  if (!std::isfinite(d)) {
    out += std::isnan(d) ? "NaN" : d > 0 ? "+Inf" : "-Inf";
    return;
  }
  if (d == 0) {
    out += '0';
    return;
  }
  const auto s = shortest(d);
  const std::string_view digits(s.digits.data(), static_cast<std::size_t>(s.count));
  if (s.negative) out += '-';
  if (s.point <= 0) {
    out += "0.";
    out.append(static_cast<std::size_t>(-s.point), '0');
    out += digits;
  } else if (s.point >= s.count) {
    out += digits;
    out.append(static_cast<std::size_t>(s.point - s.count), '0');
  } else {
    out += digits.substr(0, static_cast<std::size_t>(s.point));
    out += '.';
    out += digits.substr(static_cast<std::size_t>(s.point));
  }
}

// Numbers inside JSON as Go writes them: plain between 1e-6 and 1e21.
void append_json_number(std::string& out, double d) {
  if (!std::isfinite(d)) {
    out += "null";  // JSON has no such number
    return;
  }
  const double size = std::abs(d);
  if (size != 0 && (size < 1e-6 || size >= 1e21)) {
    std::array<char, 40> buf;
    out.append(buf.data(), std::to_chars(buf.data(), buf.data() + buf.size(), d, std::chars_format::scientific).ptr);
  } else {
    append_plain(out, d);
  }
}

void append_json(std::string& out, const Object& o);

void append_json(std::string& out, const Value& v) {
  switch (v.kind()) {
    case boost::json::kind::null:
      out += "null";
      break;
    case boost::json::kind::bool_:
      out += v.get_bool() ? "true" : "false";
      break;
    case boost::json::kind::int64:
      out += std::to_string(v.get_int64());
      break;
    case boost::json::kind::uint64:
      out += std::to_string(v.get_uint64());
      break;
    case boost::json::kind::double_:
      append_json_number(out, v.get_double());
      break;
    case boost::json::kind::string:
      json::append_string(out, v.get_string());
      break;
    case boost::json::kind::array: {
      out += '[';
      bool first = true;
      for (const auto& e : v.get_array()) {
        if (!std::exchange(first, false)) out += ',';
        append_json(out, e);
      }
      out += ']';
      break;
    }
    case boost::json::kind::object:
      append_json(out, v.get_object());
      break;
  }
}

void append_json(std::string& out, const Object& o) {
  out += '{';
  bool first = true;
  for (const auto& [k, e] : o) {
    if (!std::exchange(first, false)) out += ',';
    json::append_string(out, k);
    out += ':';
    append_json(out, e);
  }
  out += '}';
}

// The type that a JSON value has by itself.
std::string_view natural_type(const Value& v) {
  switch (v.kind()) {
    case boost::json::kind::null:
      return "null";
    case boost::json::kind::bool_:
      return "BOOLEAN";
    case boost::json::kind::int64:
    case boost::json::kind::uint64:
      return "NUMBER_INTEGER";
    case boost::json::kind::double_:
      return "NUMBER_DOUBLE";
    case boost::json::kind::string:
      return "STRING";
    case boost::json::kind::array:
      return "LIST";
    case boost::json::kind::object:
      return "STRUCT";
  }
  return "null";
}

std::unexpected<Error> mismatch(std::string_view parameter, ParameterType want, std::string_view given) {
  return fail(Code::invalid_argument,
              fmt::format("parameter {} must be of type {}, not {}", parameter, type_name(want), given));
}

Result<Value> as_integer(const Value& v, std::string_view parameter) {
  auto range = [&]() -> std::unexpected<Error> {
    return fail(
        Code::invalid_argument,
        fmt::format("parameter {} of type NUMBER_INTEGER must be within +-(2^53-1), not {}", parameter, to_text(v)));
  };
  std::int64_t i = 0;
  if (v.is_int64()) {
    i = v.get_int64();
  } else if (v.is_uint64()) {
    if (v.get_uint64() > static_cast<std::uint64_t>(kLargestInteger)) return range();
    i = static_cast<std::int64_t>(v.get_uint64());
  } else if (v.is_double()) {
    const double d = v.get_double();
    if (!std::isfinite(d) || std::trunc(d) != d) return mismatch(parameter, ParameterType::integer, "NUMBER_DOUBLE");
    if (std::abs(d) > static_cast<double>(kLargestInteger)) return range();
    i = static_cast<std::int64_t>(d);
  } else {
    return mismatch(parameter, ParameterType::integer, natural_type(v));
  }
  if (i > kLargestInteger || i < -kLargestInteger) return range();
  return i;
}

// Numbers and booleans are read as Go's strconv reads them: a sign '+' and leading zeros pass, '_' does not.
std::optional<std::int64_t> read_integer(std::string_view s) {
  if (s.starts_with('+')) {
    s.remove_prefix(1);
    if (s.starts_with('-')) return std::nullopt;
  }
  return text::to_i64(s);
}

std::optional<double> read_double(std::string_view s) {
  if (s.starts_with('+')) {
    s.remove_prefix(1);
    if (s.starts_with('-')) return std::nullopt;
  }
  double d = 0;
  auto [end, ec] = std::from_chars(s.data(), s.data() + s.size(), d);
  if (end != s.data() + s.size() || s.empty()) return std::nullopt;
  if (ec == std::errc::result_out_of_range) {
    // Too small is zero, too large is no number.
    const auto e = s.find_first_of("eE");
    if (e == std::string_view::npos || !s.substr(e + 1).starts_with('-')) return std::nullopt;
    return 0.0;
  }
  if (ec != std::errc{} || !std::isfinite(d)) return std::nullopt;
  return d;
}

std::optional<bool> read_bool(std::string_view s) {
  for (std::string_view t : {"1", "t", "T", "true", "TRUE", "True"})
    if (s == t) return true;
  for (std::string_view f : {"0", "f", "F", "false", "FALSE", "False"})
    if (s == f) return false;
  return std::nullopt;
}

}  // namespace

Result<ParameterType> parse_parameter_type(std::string_view name) {
  for (std::size_t i = 0; i < kTypeNames.size(); ++i)
    if (kTypeNames[i] == name) return static_cast<ParameterType>(i);
  if (name == "INT") return ParameterType::integer;
  if (name == "DOUBLE") return ParameterType::number;
  return fail(Code::invalid_argument, fmt::format("parameter type \"{}\" is not known; it must be one of {}",
                                                  text::utf8_prefix(name, 64), fmt::join(kTypeNames, ", ")));
}

std::string_view type_name(ParameterType t) { return kTypeNames[static_cast<std::size_t>(t)]; }

std::string to_text(const Value& v) {
  if (v.is_null()) return {};
  if (v.is_string()) return std::string(v.get_string());
  std::string out;
  if (v.is_double())
    append_plain(out, v.get_double());
  else
    append_json(out, v);
  return out;
}

std::string compact_json(const Object& o) {
  std::string out;
  append_json(out, o);
  return out;
}

Result<Value> convert(const Value& v, ParameterType want, std::string_view parameter) {
  if (v.is_null()) return v;
  switch (want) {
    case ParameterType::string:
      if (v.is_string()) return v;
      return Value(to_text(v));
    case ParameterType::integer:
      return as_integer(v, parameter);
    case ParameterType::number:
      if (v.is_double() && !std::isfinite(v.get_double()))
        return fail(Code::invalid_argument, fmt::format("parameter {} must be a finite number", parameter));
      if (v.is_number()) return normalize(v);
      break;
    case ParameterType::boolean:
      if (v.is_bool()) return v;
      break;
    case ParameterType::list:
      if (v.is_array()) return normalize(v);
      break;
    case ParameterType::structure:
    case ParameterType::task_final_status:
    case ParameterType::task_config:
      if (v.is_object()) return normalize(v);
      break;
  }
  return mismatch(parameter, want, natural_type(v));
}

Result<Value> from_text(std::string_view text, ParameterType type, std::string_view parameter) {
  const auto trimmed = text::trim(text);
  auto bad = [&](std::string_view why) -> std::unexpected<Error> {
    std::string start;
    json::append_string(start, text::utf8_prefix(text, 64));
    return fail(Code::invalid_argument,
                fmt::format("output parameter {} of type {} cannot be read from {}{}: {}", parameter, type_name(type),
                            start, text::utf8_length(text) > 64 ? "..." : "", why));
  };
  switch (type) {
    case ParameterType::string:
      return Value(text);
    case ParameterType::integer: {
      auto i = read_integer(trimmed);
      if (!i) return bad("it is no integer");
      if (*i > kLargestInteger || *i < -kLargestInteger) return bad("it is not within +-(2^53-1)");
      return Value(*i);
    }
    case ParameterType::number: {
      auto d = read_double(trimmed);
      if (!d) return bad("it is no finite number");
      return normalize(Value(*d));
    }
    case ParameterType::boolean: {
      auto b = read_bool(trimmed);
      if (!b) return bad("it is neither true nor false");
      return Value(*b);
    }
    case ParameterType::list:
    case ParameterType::structure:
    case ParameterType::task_final_status:
    case ParameterType::task_config: {
      auto v = json::parse(trimmed);
      if (!v) return bad(v.error().message);
      const bool list = type == ParameterType::list;
      if (list ? !v->is_array() : !v->is_object()) return bad(list ? "it is no JSON array" : "it is no JSON object");
      return normalize(std::move(*v));
    }
  }
  return bad("its type is not known");
}

Value normalize(Value v) {
  switch (v.kind()) {
    case boost::json::kind::double_: {
      const double d = v.get_double();
      if (std::trunc(d) == d && d >= -kTwo63 && d < kTwo63) return static_cast<std::int64_t>(d);
      return v;
    }
    case boost::json::kind::uint64:
      if (v.get_uint64() <= static_cast<std::uint64_t>(INT64_MAX)) return static_cast<std::int64_t>(v.get_uint64());
      return v;
    case boost::json::kind::array:
      for (auto& e : v.get_array())
        if (e.is_structured() || e.is_number()) e = normalize(std::move(e));
      return v;
    case boost::json::kind::object:
      for (auto& [k, e] : v.get_object())
        if (e.is_structured() || e.is_number()) e = normalize(std::move(e));
      return v;
    default:
      return v;
  }
}

}  // namespace mr::pipelines
