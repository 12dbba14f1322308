#include "tracking/message.h"

#include "json/parse.h"
#include "json/writer.h"
#include "text/names.h"
#include "text/text.h"
#include "text/uri.h"
#include "tracking/errors.h"

namespace mr::tracking {

namespace js = boost::json;

namespace {
constexpr Field tag_fields[] = {{"key"}, {"value"}};

std::string_view python_type(const js::value& v) {
  switch (v.kind()) {
    case js::kind::string:
      return "str";
    case js::kind::bool_:
      return "bool";
    case js::kind::int64:
    case js::kind::uint64:
      return "int";
    case js::kind::double_:
      return "float";
    case js::kind::array:
      return "list";
    case js::kind::object:
      return "dict";
    case js::kind::null:
      return "NoneType";
  }
  return "str";
}

// As Python's json.dumps with compact separators: floats by their repr.
void python_json(std::string& out, const js::value& v) {
  if (v.is_double()) {
    json::append_double(out, v.get_double());
  } else if (v.is_array()) {
    out += '[';
    for (std::size_t i = 0; i < v.get_array().size(); ++i) {
      if (i > 0) out += ',';
      python_json(out, v.get_array()[i]);
    }
    out += ']';
  } else if (v.is_object()) {
    out += '{';
    bool first = true;
    for (const auto& [k, e] : v.get_object()) {
      if (!first) out += ',';
      first = false;
      json::append_string_ascii(out, k);
      out += ':';
      python_json(out, e);
    }
    out += '}';
  } else if (v.is_string()) {
    json::append_string_ascii(out, v.get_string());
  } else {
    out += json::serialize(v);
  }
}

std::unexpected<Error> wrong_type(std::string_view path, const js::value& v) {
  std::string shown;
  python_json(shown, v);
  if (shown.size() > 200) shown = std::string(text::utf8_prefix(shown, 200)) + "...";
  return invalid(
      fmt::format("Invalid value {} for parameter '{}' supplied:  Hint: Value was of type '{}'. See the API docs for "
                  "more information about request parameters.",
                  shown, path, python_type(v)));
}

// proto JSON's integer: a JSON integer, an integral double, or a text of either.
std::optional<std::int64_t> to_integer(const js::value& v) {
  if (v.is_int64()) return v.get_int64();
  auto integral = [](double d) -> std::optional<std::int64_t> {
    if (d != std::floor(d) || d < -9223372036854775808.0 || d >= 9223372036854775808.0) return std::nullopt;
    return static_cast<std::int64_t>(d);
  };
  if (v.is_double()) return integral(v.get_double());
  if (v.is_string()) {
    std::string_view s = v.get_string();
    if (auto i = text::to_i64(s)) return i;
    if (auto d = text::to_double(s)) return integral(*d);
  }
  return std::nullopt;
}

std::optional<double> to_real(const js::value& v) {
  if (v.is_double()) return v.get_double();
  if (v.is_int64()) return static_cast<double>(v.get_int64());
  if (v.is_uint64()) return static_cast<double>(v.get_uint64());
  if (v.is_bool()) return v.get_bool() ? 1.0 : 0.0;
  if (v.is_string()) {
    auto s = text::lower(text::trim(v.get_string()));
    if (s == "nan" || s == "+nan" || s == "-nan") return std::nan("");
    if (s == "inf" || s == "infinity" || s == "+inf" || s == "+infinity") return INFINITY;
    if (s == "-inf" || s == "-infinity") return -INFINITY;
    std::string_view digits = s;
    if (digits.starts_with('+')) digits.remove_prefix(1);
    double d = 0;
    auto [end, ec] = std::from_chars(digits.data(), digits.data() + digits.size(), d);
    if (end != digits.data() + digits.size() || digits.empty()) return std::nullopt;
    if (ec == std::errc::result_out_of_range) return std::strtod(s.c_str(), nullptr);
    if (ec == std::errc{}) return d;
  }
  return std::nullopt;
}

Result<js::object> check(const js::object& in, std::span<const Field> fields, const std::string& prefix);

Result<js::value> convert(const Field& f, const js::value& v, const std::string& path) {
  switch (f.type) {
    case FieldType::string:
      if (v.is_string()) return v;
      break;
    case FieldType::enumeration:
      if (v.is_string()) return v;
      if (v.is_int64()) return js::value(std::to_string(v.get_int64()));
      break;
    case FieldType::integer:
      if (auto i = to_integer(v)) return js::value(*i);
      break;
    case FieldType::real:
      if (auto d = to_real(v)) return js::value(*d);
      break;
    case FieldType::boolean:
      if (v.is_bool()) return v;
      break;
    case FieldType::strings: {
      if (!v.is_array()) break;
      for (const auto& e : v.get_array())
        if (!e.is_string()) return wrong_type(path, v);
      return v;
    }
    case FieldType::messages: {
      if (!v.is_array()) break;
      js::array out;
      std::size_t i = 0;
      for (const auto& e : v.get_array()) {
        auto item = fmt::format("{}[{}]", path, i++);
        if (!e.is_object()) return wrong_type(item, e);
        MR_TRY(js::object o, check(e.get_object(), f.fields, item + "."));
        out.push_back(std::move(o));
      }
      return js::value(std::move(out));
    }
  }
  return wrong_type(path, v);
}

Result<js::object> check(const js::object& in, std::span<const Field> fields, const std::string& prefix) {
  js::object out;
  for (const auto& f : fields) {
    const auto* v = in.if_contains(f.name);
    if (f.name.find('_') != std::string_view::npos) {
      if (const auto* c = in.if_contains(text::camel_case(f.name))) {
        if (v != nullptr)
          return invalid(fmt::format("Request specifies both '{}' and '{}'; provide only one of them.", f.name,
                                     text::camel_case(f.name)));
        v = c;
      }
    }
    auto path = prefix + std::string(f.name);
    bool absent = v == nullptr || v->is_null() || (v->is_string() && v->get_string().empty());
    // run_uuid is the old spelling of run_id and stands in for it.
    if (absent && f.name == "run_id" && prefix.empty()) {
      const auto* old = in.if_contains("run_uuid");
      if (old != nullptr && old->is_string() && !old->get_string().empty()) {
        out["run_id"] = *old;
        continue;
      }
    }
    if (f.required && absent) return missing_parameter(path);
    if (v == nullptr || v->is_null()) continue;
    MR_TRY(js::value converted, convert(f, *v, path));
    out[f.name] = std::move(converted);
  }
  return out;
}

}  // namespace

const std::span<const Field> kTagFields = tag_fields;

Result<Message> decode_json(std::string_view body, std::span<const Field> fields) {
  js::object raw;
  // As the real server has it: what is not JSON counts as {}, and a JSON text holding JSON is read once more.
  auto v = json::parse(body);
  if (v && v->is_string()) v = json::parse(std::string(v->get_string()));
  if (v) {
    if (v->is_object())
      raw = std::move(v->get_object());
    else if (!v->is_null())
      return invalid("Bad Request. The request body must be a JSON object.");
  }
  MR_TRY(js::object values, check(raw, fields, ""));
  return Message(fields, std::move(values));
}

Result<Message> decode(const http::Request& rq, std::string_view body, std::span<const Field> fields) {
  if ((rq.method == http::Method::get || rq.method == http::Method::head) && !rq.query.empty()) {
    js::object raw;
    for (auto& [k, value] : text::parse_query(rq.query)) {
      const auto* f =
          std::find_if(fields.data(), fields.data() + fields.size(), [&](const Field& x) { return x.name == k; });
      bool old_run = k == "run_uuid";
      if (f == fields.data() + fields.size() && !old_run) continue;
      if (!old_run && f->type == FieldType::strings) {
        auto& list = raw[k];
        if (!list.is_array()) list = js::array();
        list.get_array().push_back(js::value(value));
      } else if (!old_run && f->type == FieldType::boolean) {
        auto lower = text::lower(value);
        if (lower != "true" && lower != "false")
          return invalid(fmt::format("Invalid boolean value: {}, must be 'true' or 'false'.", value));
        raw[k] = lower == "true";
      } else if (!raw.contains(k)) {
        raw[k] = value;
      }
    }
    MR_TRY(js::object values, check(raw, fields, ""));
    Message m(fields, std::move(values));
    m.from_query = true;
    return m;
  }
  if (rq.method == http::Method::post || rq.method == http::Method::put) {
    if (!rq.headers.has("Content-Type")) return invalid("Bad Request. Content-Type header is missing.");
    auto type = rq.headers.get("Content-Type");
    if (type.substr(0, type.find(';')) != "application/json")
      return invalid("Bad Request. Content-Type must be one of ['application/json'].");
  }
  return decode_json(body, fields);
}

bool Message::has(std::string_view name) const { return values_.contains(name); }
std::optional<std::string> Message::opt_str(std::string_view name) const {
  const auto* v = values_.if_contains(name);
  if (v == nullptr) return std::nullopt;
  return std::string(v->get_string());
}
std::string Message::str(std::string_view name) const { return opt_str(name).value_or(""); }
std::optional<std::int64_t> Message::i64(std::string_view name) const {
  const auto* v = values_.if_contains(name);
  return v == nullptr ? std::nullopt : std::optional(v->get_int64());
}
std::optional<double> Message::real(std::string_view name) const {
  const auto* v = values_.if_contains(name);
  return v == nullptr ? std::nullopt : std::optional(v->get_double());
}
bool Message::boolean(std::string_view name, bool fallback) const {
  const auto* v = values_.if_contains(name);
  return v == nullptr ? fallback : v->get_bool();
}
std::vector<std::string> Message::strings(std::string_view name) const {
  std::vector<std::string> out;
  if (const auto* v = values_.if_contains(name))
    for (const auto& e : v->get_array()) out.emplace_back(e.get_string());
  return out;
}
std::vector<Message> Message::messages(std::string_view name) const {
  std::vector<Message> out;
  const auto* v = values_.if_contains(name);
  if (v == nullptr) return out;
  const auto* f =
      std::find_if(fields_.data(), fields_.data() + fields_.size(), [&](const Field& x) { return x.name == name; });
  for (const auto& e : v->get_array()) out.emplace_back(f->fields, e.get_object());
  return out;
}

}  // namespace mr::tracking
