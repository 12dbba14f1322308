#include "json/parse.h"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

namespace mr::json {

namespace {

// Quotes bare NaN/Infinity literals outside strings; most bodies have none and are returned unchanged.
std::string quote_python_literals(std::string_view text) {
  std::string out;
  out.reserve(text.size() + 16);
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (in_string) {
      out += c;
      if (c == '\\' && i + 1 < text.size()) out += text[++i];
      else if (c == '"') in_string = false;
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
  boost::json::parse_options opt;
  opt.max_depth = max_depth;
  boost::system::error_code ec;
  auto v = boost::json::parse(text, ec, {}, opt);
  if (ec && (text.find("NaN") != std::string_view::npos || text.find("Infinity") != std::string_view::npos)) {
    auto fixed = quote_python_literals(text);
    v = boost::json::parse(fixed, ec, {}, opt);
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

std::string serialize(const boost::json::value& v) { return boost::json::serialize(v); }

}  // namespace mr::json
