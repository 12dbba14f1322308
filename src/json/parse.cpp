#include "json/parse.h"

#include <boost/json/array.hpp>
#include <boost/json/basic_parser_impl.hpp>
#include <boost/json/value_stack.hpp>
#include <charconv>

#include "json/writer.h"

namespace mr::json {

namespace {

namespace js = boost::json;

// Builds the document with doubles that are right to the last bit. The library's own conversion (before its option for
// precise numbers, 1.83) is off by one unit in the last place for a fifth of random doubles, and a metric must come
// back as it was sent.
struct ExactHandler {
  using Code = js::error_code;
  using Text = js::string_view;
  static constexpr std::size_t max_object_size = std::size_t(-1);
  static constexpr std::size_t max_array_size = std::size_t(-1);
  static constexpr std::size_t max_key_size = std::size_t(-1);
  static constexpr std::size_t max_string_size = std::size_t(-1);
  js::value_stack stack;
  std::string number;  // of a number whose text came in parts

  bool on_document_begin(Code&) { return true; }
  bool on_document_end(Code&) { return true; }
  bool on_object_begin(Code&) { return true; }
  bool on_object_end(std::size_t n, Code&) { return stack.push_object(n), true; }
  bool on_array_begin(Code&) { return true; }
  bool on_array_end(std::size_t n, Code&) { return stack.push_array(n), true; }
  bool on_key_part(Text s, std::size_t, Code&) { return stack.push_chars(s), true; }
  bool on_key(Text s, std::size_t, Code&) { return stack.push_key(s), true; }
  bool on_string_part(Text s, std::size_t, Code&) { return stack.push_chars(s), true; }
  bool on_string(Text s, std::size_t, Code&) { return stack.push_string(s), true; }
  bool on_number_part(Text s, Code&) { return number.append(s.data(), s.size()), true; }
  bool on_int64(std::int64_t i, Text, Code&) { return number.clear(), stack.push_int64(i), true; }
  bool on_uint64(std::uint64_t u, Text, Code&) { return number.clear(), stack.push_uint64(u), true; }
  bool on_double(double d, Text s, Code&) {
    number.append(s.data(), s.size());
    double exact = 0;
    auto [end, ec] = std::from_chars(number.data(), number.data() + number.size(), exact);
    if (ec == std::errc{} && end == number.data() + number.size()) d = exact;
    number.clear();
    stack.push_double(d);
    return true;
  }
  bool on_bool(bool b, Code&) { return stack.push_bool(b), true; }
  bool on_null(Code&) { return stack.push_null(), true; }
  bool on_comment_part(Text, Code&) { return true; }
  bool on_comment(Text, Code&) { return true; }
};

js::value parse_exact(std::string_view text, std::size_t max_depth, js::error_code& ec) {
  js::parse_options options;
  options.max_depth = max_depth;
  js::basic_parser<ExactHandler> parser(options);
  parser.handler().stack.reset();
  auto used = parser.write_some(false, text.data(), text.size(), ec);
  if (!ec && used < text.size()) ec = js::error::extra_data;
  if (ec) return nullptr;
  return parser.handler().stack.release();
}

void write(Writer& w, const js::object& o);

void write(Writer& w, const js::value& v) {
  switch (v.kind()) {
    case js::kind::null:
      w.null();
      break;
    case js::kind::bool_:
      w.boolean(v.get_bool());
      break;
    case js::kind::int64:
      w.integer(v.get_int64());
      break;
    case js::kind::uint64:
      w.raw(std::to_string(v.get_uint64()));
      break;
    case js::kind::double_:
      if (std::isfinite(v.get_double()))
        w.number(v.get_double());
      else
        w.raw(v.get_double() > 0 ? "1e99999" : "-1e99999");  // what the library writes too: reads back as infinite
      break;
    case js::kind::string:
      w.string(v.get_string());
      break;
    case js::kind::array:
      w.begin_array();
      for (const auto& e : v.get_array()) write(w, e);
      w.end_array();
      break;
    case js::kind::object:
      write(w, v.get_object());
      break;
  }
}

void write(Writer& w, const js::object& o) {
  w.begin_object();
  for (const auto& [k, e] : o) {
    w.key(k);
    write(w, e);
  }
  w.end_object();
}

// Quotes bare NaN/Infinity literals outside strings; most bodies have none and are returned unchanged.
std::string quote_python_literals(std::string_view text) {
  std::string out;
  out.reserve(text.size() + 16);
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (in_string) {
      out += c;
      if (c == '\\' && i + 1 < text.size())
        out += text[++i];
      else if (c == '"')
        in_string = false;
      continue;
    }
    if (c == '"') in_string = true;
    bool replaced = false;
    for (std::string_view lit : {"-Infinity", "Infinity", "NaN"}) {
      if (text.substr(i).starts_with(lit)) {
        out += '"';
        out += lit;
        out += '"';
        i += lit.size() - 1;
        replaced = true;
        break;
      }
    }
    if (!replaced) out += c;
  }
  return out;
}

}  // namespace

Result<boost::json::value> parse(std::string_view text, std::size_t max_depth) {
  boost::system::error_code ec;
  auto v = parse_exact(text, max_depth, ec);
  if (ec && (text.find("NaN") != std::string_view::npos || text.find("Infinity") != std::string_view::npos)) {
    ec = {};
    v = parse_exact(quote_python_literals(text), max_depth, ec);
  }
  if (ec) return fail(Code::invalid_argument, ec.message());
  return v;
}

const boost::json::value* find(const boost::json::value& v, std::string_view key) {
  const auto* o = v.if_object();
  return o == nullptr ? nullptr : o->if_contains(key);
}

std::string_view string_or_empty(const boost::json::value& v, std::string_view key) {
  const auto* m = find(v, key);
  if (m == nullptr || !m->is_string()) return {};
  return m->get_string();
}

std::string serialize(const boost::json::value& v) {
  std::string out;
  Writer w(out);
  write(w, v);
  return out;
}
void serialize_to(std::string& out, const boost::json::object& o) {
  Writer w(out);
  write(w, o);
}
void serialize_to(std::string& out, const boost::json::value& v) {
  Writer w(out);
  write(w, v);
}
std::string serialize(const boost::json::object& o) {
  std::string out;
  serialize_to(out, o);
  return out;
}

}  // namespace mr::json
