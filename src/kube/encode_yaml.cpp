// Documents as YAML, for clients that ask for it: block style, keys in order.
#include <map>

#include "json/parse.h"
#include "kube/wire.h"
#include "text/text.h"

namespace mr::kube {

namespace {

// Whether a text reads as itself without quotes. When in doubt it gets them: that is always right.
bool plain(std::string_view s) {
  static constexpr std::string_view kWords[] = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"};
  if (s.empty() || s.size() > 4096) return false;
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  bool hyphened = false;
  for (char c : s) {
    if (!letter(c) && !digit(c) && c != '-' && c != '_' && c != '.' && c != '/') return false;
    hyphened = hyphened || c == '-';
  }
  if (std::ranges::find(kWords, text::lower(s)) != std::end(kWords)) return false;
  if (letter(s[0]) || s[0] == '/') return true;
  // Like a number or a date: only an identifier with its first hyphen far in is neither.
  return digit(s[0]) && hyphened && s.size() == 36 && s[8] == '-';
}

void scalar(std::string& out, const Value& v) {
  if (v.is_string() && plain(v.get_string()))
    out += std::string_view(v.get_string());
  else
    json::serialize_to(out, v);  // JSON's texts, numbers and empty lists are YAML's too
}

void block(std::string& out, const Value& v, std::size_t indent);

void members(std::string& out, const Object& o, std::size_t indent, bool first_in_place) {
  std::map<std::string_view, const Value*> sorted;
  for (const auto& m : o) sorted.emplace(std::string_view(m.key()), &m.value());
  for (const auto& [key, value] : sorted) {
    if (!first_in_place) out.append(indent, ' ');
    first_in_place = false;
    scalar(out, Value(key));
    out += ':';
    const bool list = value->is_array() && !value->get_array().empty();
    const bool map = value->is_object() && !value->get_object().empty();
    out += list || map ? '\n' : ' ';
    block(out, *value, map ? indent + 2 : indent);
  }
}

void block(std::string& out, const Value& v, std::size_t indent) {
  if (const auto* o = v.if_object(); o != nullptr && !o->empty()) {
    members(out, *o, indent, false);
  } else if (const auto* a = v.if_array(); a != nullptr && !a->empty()) {
    for (const auto& e : *a) {
      out.append(indent, ' ');
      out += "- ";
      if (const auto* item = e.if_object(); item != nullptr && !item->empty())
        members(out, *item, indent + 2, true);
      else if (!e.is_array())
        block(out, e, indent + 2);
      else
        out += json::serialize(e) + "\n";  // a list in a list in one line
    }
  } else {
    scalar(out, v);
    out += '\n';
  }
}

}  // namespace

std::string yaml_text(const Value& v) {
  std::string out;
  block(out, v, 0);
  return out;
}

}  // namespace mr::kube
