#include "cli/client_print.h"

#include "json/parse.h"
#include "kube/decode.h"
#include "text/text.h"

namespace mr::cli {

namespace {

// Keys of an object in byte order.
std::vector<std::string_view> sorted_keys(const kube::Object& o) {
  std::vector<std::string_view> keys;
  for (const auto& [k, v] : o) keys.emplace_back(k);
  std::ranges::sort(keys);
  return keys;
}

std::string json_quoted(std::string_view s) { return json::serialize(kube::Value(s)); }

bool printable(std::string_view s) {
  return text::utf8_valid(s) && std::ranges::all_of(s, [](unsigned char c) { return c >= 0x20 && c != 0x7F; });
}

// Whether a reader takes the plain text for something else than itself: 1, true, null, a date.
bool reads_as_other(const std::string& s) {
  static constexpr std::string_view floats[] = {".inf", ".Inf", ".INF", "-.inf", "+.inf", ".nan", ".NaN", ".NAN"};
  if (std::ranges::find(floats, s) != std::end(floats)) return true;
  if (s.size() >= 10 && std::isdigit(static_cast<unsigned char>(s[0])) != 0 && s[4] == '-' && s[7] == '-') return true;
  if (s.find(':') != std::string::npos && s.find_first_not_of("0123456789:.+-_") == std::string::npos)
    return true;  // a number in base 60
  std::vector<std::string> ignored;
  auto v = kube::decode::parse_yaml(s, ignored);
  return v && !v->is_string();
}

// A text on one line.
std::string scalar(std::string_view view) {
  std::string s(view);
  if (s.empty()) return "\"\"";
  if (!printable(s)) return json_quoted(s);
  static constexpr std::string_view kOpeners = "!&*{}[]|>@`\"'#%,";
  bool unsafe = kOpeners.find(s.front()) != std::string_view::npos || s.front() == ' ' || s.back() == ' ' ||
                s.back() == ':' || s.find(": ") != std::string::npos || s.find(" #") != std::string::npos ||
                ((s.front() == '-' || s.front() == '?' || s.front() == ':') && (s.size() == 1 || s[1] == ' ')) ||
                s == "---" || s == "..." || s == "=" || s == "<<";
  if (unsafe) {
    std::string out = "'";
    for (char c : s) out += c == '\'' ? std::string("''") : std::string(1, c);
    return out + "'";
  }
  return reads_as_other(s) ? json_quoted(s) : s;
}

// A text of several lines as a block, which keeps them readable; nullopt where a block cannot say it.
std::optional<std::string> block(std::string_view s, std::string_view pad) {
  if (s.find('\n') == std::string_view::npos) return std::nullopt;
  auto lines = text::split(s, '\n');
  for (auto l : lines) {
    std::string tabs_allowed;
    for (char c : l) tabs_allowed += c == '\t' ? ' ' : c;
    if (!printable(tabs_allowed) || l.ends_with(' ')) return std::nullopt;
  }
  bool ends = s.ends_with('\n');
  // Where the first line does not show it, the indentation is told.
  std::string out = s.front() == ' ' || s.front() == '\n' ? "|2" : "|";
  out += !ends ? "-" : s.ends_with("\n\n") ? "+" : "";
  if (ends) lines.pop_back();
  for (auto l : lines) out += l.empty() ? std::string("\n") : fmt::format("\n{}{}", pad, l);
  return out;
}

class Yaml {
 public:
  std::string out;

  // What stands behind "key:" or "-": on the same line, or below it.
  void value(const kube::Value& v, std::size_t indent, bool in_list) {
    if (v.is_object() && !v.get_object().empty()) {
      if (!in_list) out += '\n';
      members(v.get_object(), in_list ? indent + 2 : indent + 2, in_list);
      return;
    }
    if (v.is_array() && !v.get_array().empty()) {
      if (!in_list) out += '\n';
      items(v.get_array(), in_list ? indent + 2 : indent, in_list);
      return;
    }
    if (!in_list) out += ' ';
    out += leaf(v, std::string(indent + 2, ' '));
    out += '\n';
  }
  void members(const kube::Object& o, std::size_t indent, bool first_is_placed) {
    for (auto key : sorted_keys(o)) {
      if (!std::exchange(first_is_placed, false)) out.append(indent, ' ');
      out += scalar(key) + ":";
      value(o.at(key), indent, false);
    }
  }
  void items(const kube::Array& a, std::size_t indent, bool first_is_placed) {
    for (const auto& v : a) {
      if (!std::exchange(first_is_placed, false)) out.append(indent, ' ');
      out += "- ";
      value(v, indent, true);
    }
  }
  static std::string leaf(const kube::Value& v, std::string_view pad) {
    if (v.is_string()) {
      std::string_view s = v.get_string();
      if (auto b = block(s, pad)) return *b;
      return scalar(s);
    }
    return v.is_object() ? "{}" : v.is_array() ? "[]" : json::serialize(v);
  }
};

void json_to(std::string& out, const kube::Value& v, std::size_t indent) {
  auto line = [&](std::size_t n) { out.append("\n").append(n, ' '); };
  if (v.is_object() && !v.get_object().empty()) {
    out += '{';
    bool first = true;
    for (auto key : sorted_keys(v.get_object())) {
      if (!std::exchange(first, false)) out += ',';
      line(indent + 4);
      out += json_quoted(key) + ": ";
      json_to(out, v.get_object().at(key), indent + 4);
    }
    line(indent);
    out += '}';
  } else if (v.is_array() && !v.get_array().empty()) {
    out += '[';
    bool first = true;
    for (const auto& x : v.get_array()) {
      if (!std::exchange(first, false)) out += ',';
      line(indent + 4);
      json_to(out, x, indent + 4);
    }
    line(indent);
    out += ']';
  } else {
    out += json::serialize(v);
  }
}

// A cell's text: one line, without control characters that a terminal would obey.
std::string cell_text(const kube::Value& v) {
  if (v.is_null()) return "<none>";
  if (!v.is_string()) return json::serialize(v);
  std::string_view s = v.get_string();
  auto end = s.find_first_of("\r\n\f");
  std::string out;
  for (unsigned char c : s.substr(0, end)) out += c < 0x20 || c == 0x7F ? ' ' : static_cast<char>(c);
  return end == std::string_view::npos ? out : out + "...";
}

std::string labels_text(const kube::Object& metadata) {
  std::set<std::string> pairs;  // in the order of the whole texts, as kubectl has it
  for (const auto& [k, v] : kube::object_at(metadata, "labels"))
    if (v.is_string()) pairs.insert(fmt::format("{}={}", std::string_view(k), std::string_view(v.get_string())));
  return pairs.empty() ? "<none>" : fmt::format("{}", fmt::join(pairs, ","));
}

}  // namespace

std::string yaml_text(const kube::Value& v, std::size_t indent) {
  Yaml y;
  if (v.is_object() && !v.get_object().empty())
    y.members(v.get_object(), indent, false);
  else if (v.is_array() && !v.get_array().empty())
    y.items(v.get_array(), indent, false);
  else
    y.out = std::string(indent, ' ') + Yaml::leaf(v, std::string(indent + 2, ' ')) + "\n";
  return std::move(y.out);
}

std::string json_text(const kube::Value& v) {
  std::string out;
  json_to(out, v, 0);
  return out + "\n";
}

std::string aligned(const std::vector<std::vector<std::string>>& rows, std::vector<std::size_t>& widths) {
  constexpr std::size_t kGap = 3, kLeast = 6;
  for (const auto& row : rows) {
    if (widths.size() < row.size()) widths.resize(row.size(), kLeast);
    // The last column ends its line and needs no width.
    for (std::size_t i = 0; i + 1 < row.size(); ++i) widths[i] = std::max(widths[i], text::utf8_length(row[i]) + kGap);
  }
  std::string out;
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      out += row[i];
      if (i + 1 < row.size()) out.append(widths[i] - text::utf8_length(row[i]), ' ');
    }
    out += '\n';
  }
  return out;
}

std::string TablePrinter::print(const kube::Object& table) {
  if (const auto& c = kube::array_at(table, "columnDefinitions"); !c.empty()) columns_ = c;
  std::vector<std::size_t> shown;
  for (std::size_t i = 0; i < columns_.size(); ++i)
    if (columns_[i].is_object() && (look_.wide || kube::int_at(columns_[i].get_object(), "priority") == 0))
      shown.push_back(i);
  std::vector<std::vector<std::string>> rows;
  if (look_.headers && !headed_) {
    auto& head = rows.emplace_back();
    if (look_.with_namespace) head.emplace_back("NAMESPACE");
    for (auto i : shown) head.push_back(text::upper(kube::text_at(columns_[i].get_object(), "name")));
    if (look_.with_labels) head.emplace_back("LABELS");
    headed_ = true;
  }
  for (const auto& v : kube::array_at(table, "rows")) {
    if (!v.is_object()) continue;
    const auto& cells = kube::array_at(v.get_object(), "cells");
    const auto& metadata = kube::object_at(v.get_object(), "object.metadata");
    auto& row = rows.emplace_back();
    if (look_.with_namespace) row.emplace_back(kube::text_at(metadata, "namespace"));
    for (auto i : shown) {
      auto text = i < cells.size() ? cell_text(cells[i]) : std::string();
      row.push_back(i == shown.front() ? look_.name_prefix + text : text);
    }
    if (look_.with_labels) row.push_back(labels_text(metadata));
  }
  return aligned(rows, widths_);
}

}  // namespace mr::cli
