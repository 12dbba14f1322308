#include "mesh/read.h"

#include "mesh/text_match.h"
#include "text/text.h"

namespace mr::mesh {

Node Node::at(std::string_view key) const {
  Node n{nullptr, path.empty() ? std::string(key) : fmt::format("{}.{}", path, key)};
  if (v != nullptr)
    if (const auto* o = v->if_object()) n.v = o->if_contains(key);
  return n;
}
std::vector<Node> Node::items() const {
  std::vector<Node> all;
  if (v == nullptr) return all;
  if (const auto* a = v->if_array()) {
    all.reserve(a->size());
    for (std::size_t i = 0; i < a->size(); ++i) all.push_back({&(*a)[i], fmt::format("{}[{}]", path, i)});
  }
  return all;
}
std::vector<std::pair<std::string, Node>> Node::members() const {
  std::vector<std::pair<std::string, Node>> all;
  if (v == nullptr) return all;
  if (const auto* o = v->if_object())
    for (const auto& kv : *o)
      all.emplace_back(std::string(kv.key()),
                       Node{&kv.value(), fmt::format("{}.{}", path, std::string_view(kv.key()))});
  return all;
}

void Reader::fault(const Node& n, std::string_view what) {
  if (fault_.empty()) fault_ = fmt::format("{}: {}", n.path, what);
}

std::string Reader::text(const Node& n, std::string_view otherwise) {
  if (!n.present()) return std::string(otherwise);
  if (const auto* s = n.v->if_string()) return {s->data(), s->size()};
  fault(n, "must be a string");
  return {};
}

std::int64_t Reader::number(const Node& n, std::int64_t otherwise, std::int64_t low, std::int64_t high) {
  if (!n.present()) return otherwise;
  std::int64_t x = 0;
  if (const auto* i = n.v->if_int64()) {
    x = *i;
  } else if (const auto* u = n.v->if_uint64(); u != nullptr && *u <= INT64_MAX) {
    x = static_cast<std::int64_t>(*u);
  } else if (const auto* d = n.v->if_double(); d != nullptr && *d == std::floor(*d) && std::abs(*d) < 1e15) {
    x = static_cast<std::int64_t>(*d);
  } else {
    fault(n, "must be a whole number");
    return otherwise;
  }
  if (x < low || x > high) fault(n, fmt::format("must be from {} to {}", low, high));
  return x;
}

double Reader::percent(const Node& n, double otherwise) {
  Node value = n.at("value");
  if (!value.present()) return otherwise;
  double d = 0;
  if (value.v->is_double())
    d = value.v->get_double();
  else if (value.v->is_int64())
    d = static_cast<double>(value.v->get_int64());
  else if (value.v->is_uint64())
    d = static_cast<double>(value.v->get_uint64());
  else
    fault(value, "must be a number");
  if (!(d >= 0 && d <= 100)) fault(value, "must be from 0 to 100");
  return d;
}

std::optional<long> parse_duration_ms(std::string_view s) {
  constexpr double kMost = 366.0 * 24 * 3600 * 1000;
  if (s.empty()) return std::nullopt;
  double total = 0;
  while (!s.empty()) {
    double n = 0;
    auto [end, ec] = std::from_chars(s.data(), s.data() + s.size(), n, std::chars_format::fixed);
    if (ec != std::errc{} || n < 0 || !std::isfinite(n)) return std::nullopt;
    s.remove_prefix(static_cast<std::size_t>(end - s.data()));
    double unit = 0;
    for (auto [name, ms] : {std::pair<std::string_view, double>{"ms", 1},
                            {"us", 1e-3},
                            {"ns", 1e-6},
                            {"h", 3.6e6},
                            {"m", 6e4},
                            {"s", 1e3}}) {
      if (!s.starts_with(name)) continue;
      unit = ms;
      s.remove_prefix(name.size());
      break;
    }
    if (unit == 0) return std::nullopt;
    total += n * unit;
    if (total > kMost) return std::nullopt;
  }
  return static_cast<long>(std::llround(total));
}

long Reader::duration_ms(const Node& n) {
  auto s = text(n);
  if (s.empty()) return 0;
  auto ms = parse_duration_ms(s);
  if (!ms) fault(n, fmt::format("\"{}\" is no duration", s));
  return ms.value_or(0);
}

std::vector<std::string> Reader::texts(const Node& n) {
  std::vector<std::string> all;
  if (n.present() && !n.v->is_array()) fault(n, "must be a list");
  for (const auto& i : n.items()) all.push_back(text(i));
  return all;
}
Pairs Reader::pairs(const Node& n) {
  Pairs all;
  if (n.present() && !n.v->is_object()) fault(n, "must be a map");
  for (const auto& [k, v] : n.members()) all.emplace_back(k, text(v));
  return all;
}

TextMatch Reader::match(const Node& n, bool fold) {
  TextMatch m;
  if (!n.present()) return m;
  if (!n.v->is_object()) {
    fault(n, "must be one of exact, prefix, regex");
    return m;
  }
  int kinds = 0;
  for (auto [key, kind] : {std::pair<std::string_view, TextMatch::Kind>{"exact", TextMatch::Kind::exact},
                           {"prefix", TextMatch::Kind::prefix},
                           {"regex", TextMatch::Kind::regex}}) {
    Node one = n.at(key);
    if (!one.present()) continue;
    ++kinds;
    m.kind = kind;
    m.text = text(one);
    if (kind != TextMatch::Kind::regex) {
      m.fold = fold;
      continue;
    }
    auto p = compile_pattern(m.text);
    if (!p)
      fault(one, p.error().message);
    else
      m.pattern = *p;
  }
  if (kinds > 1) fault(n, "only one of exact, prefix, regex may be set");
  return m;
}

namespace {
bool token(std::string_view s) {
  return !s.empty() && std::ranges::all_of(s, [](unsigned char c) {
    return std::isalnum(c) != 0 ||
           std::string_view("!#$%&'*+-.^_`|~").find(static_cast<char>(c)) != std::string_view::npos;
  });
}
bool printable(std::string_view s) {
  return std::ranges::none_of(s, [](unsigned char c) { return (c < 32 && c != '\t') || c == 127; });
}
}  // namespace

HeaderOps Reader::header_ops(const Node& n) {
  HeaderOps ops;
  ops.set = pairs(n.at("set"));
  ops.add = pairs(n.at("add"));
  ops.remove = texts(n.at("remove"));
  for (const auto* list : {&ops.set, &ops.add})
    for (const auto& [name, value] : *list)
      if (!token(name) || !printable(value))
        fault(n, fmt::format("\"{}\" is no header name, or its value has control characters", name));
  for (const auto& name : ops.remove)
    if (!token(name)) fault(n, fmt::format("\"{}\" is no header name", name));
  return ops;
}

}  // namespace mr::mesh
