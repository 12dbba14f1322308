#include "kube/selectors.h"

#include <boost/json/array.hpp>

#include "kube/names.h"
#include "text/text.h"

namespace mr::kube {

namespace {

using Op = LabelRequirement::Op;

enum class Token : std::uint8_t {
  error,
  end,
  identifier,
  in,
  not_in,
  open,
  close,
  comma,
  bang,
  equals,
  double_equals,
  not_equals,
  greater,
  less
};
struct Item {
  Token token = Token::end;
  std::string text;
};

constexpr std::pair<std::string_view, Token> symbols[] = {
    {")", Token::close},          {",", Token::comma},  {"!", Token::bang},
    {"==", Token::double_equals}, {"=", Token::equals}, {"!=", Token::not_equals},
    {">", Token::greater},        {"<", Token::less},   {"(", Token::open}};

Token symbol(std::string_view s) {
  for (const auto& [text, token] : symbols)
    if (text == s) return token;
  return Token::error;
}

bool special(char c) { return std::string_view("=!(),><").find(c) != std::string_view::npos; }
bool space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

std::vector<Item> scan(std::string_view s) {
  std::vector<Item> out;
  std::size_t i = 0;
  while (i < s.size()) {
    if (space(s[i])) {
      ++i;
      continue;
    }
    if (special(s[i])) {
      std::size_t n = i + 1 < s.size() && special(s[i + 1]) && symbol(s.substr(i, 2)) != Token::error ? 2 : 1;
      out.push_back({symbol(s.substr(i, n)), std::string(s.substr(i, n))});
      i += n;
      continue;
    }
    auto begin = i;
    while (i < s.size() && !special(s[i]) && !space(s[i])) ++i;
    auto word = s.substr(begin, i - begin);
    out.push_back({word == "in" ? Token::in : word == "notin" ? Token::not_in : Token::identifier, std::string(word)});
  }
  out.push_back({});
  return out;
}

using Text = std::expected<void, std::string>;

// A parser by hand with the real one's order of checks, so that the texts are the same.
class Parser {
 public:
  explicit Parser(std::string_view s) : items_(scan(s)) {}

  std::expected<std::vector<LabelRequirement>, std::string> parse() {
    std::vector<LabelRequirement> out;
    for (;;) {
      auto next = peek();
      if (next.token == Token::end) return out;
      if (next.token != Token::identifier && next.token != Token::bang)
        return found(next, ", expected: !, identifier, or 'end of string'");
      LabelRequirement r;
      if (auto ok = requirement(r); !ok) return std::unexpected("unable to parse requirement: " + ok.error());
      out.push_back(std::move(r));
      auto then = take();
      if (then.token == Token::end) return out;
      if (then.token != Token::comma) return found(then, ", expected: ',' or 'end of string'");
      auto after = peek();
      if (after.token != Token::identifier && after.token != Token::bang)
        return found(after, ", expected: identifier after ','");
    }
  }

 private:
  static std::unexpected<std::string> found(const Item& i, std::string_view rest) {
    return std::unexpected(fmt::format("found '{}'{}", i.text, rest));
  }
  // Keywords are ordinary words where a value may stand.
  Item peek(bool values = true) const {
    auto i = items_[at_];
    if (values && (i.token == Token::in || i.token == Token::not_in)) i.token = Token::identifier;
    return i;
  }
  Item take(bool values = true) {
    auto i = peek(values);
    if (at_ + 1 < items_.size()) ++at_;
    return i;
  }

  Text requirement(LabelRequirement& r) {
    auto first = take();
    bool absent = first.token == Token::bang;
    if (absent) first = take();
    if (first.token != Token::identifier) return found(first, ", expected: identifier");
    r.key = first.text;
    if (auto bad = qualified_name(r.key); !bad.empty())
      return std::unexpected(fmt::format("<nil>: Invalid value: {}: {}", in_quotes(r.key), join(bad)));
    auto next = peek();
    r.op = absent ? Op::not_exists : Op::exists;
    if (absent || next.token == Token::end || next.token == Token::comma) return {};

    auto op = take(false);
    switch (op.token) {
      case Token::in:
      case Token::not_in:
        r.op = op.token == Token::in ? Op::in : Op::not_in;
        if (auto ok = list(r.values); !ok) return ok;
        if (r.values.empty())
          return std::unexpected("values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty");
        break;
      case Token::equals:
      case Token::double_equals:
      case Token::not_equals:
      case Token::greater:
      case Token::less: {
        r.op = op.token == Token::not_equals ? Op::not_in
               : op.token == Token::greater  ? Op::greater
               : op.token == Token::less     ? Op::less
                                             : Op::in;
        auto value = peek();
        if (value.token == Token::end || value.token == Token::comma) {
          r.values.emplace_back();
        } else {
          value = take();
          if (value.token != Token::identifier) return found(value, ", expected: identifier");
          r.values.push_back(value.text);
        }
        break;
      }
      default:
        return found(op, ", expected: in, notin, =, ==, !=, gt, lt");
    }
    if ((r.op == Op::greater || r.op == Op::less) && !text::to_i64(r.values[0]))
      return std::unexpected(
          fmt::format("values[0]: Invalid value: {}: for 'Gt', 'Lt' operators, the value must be an integer",
                      in_quotes(r.values[0])));
    for (std::size_t i = 0; i < r.values.size(); ++i)
      if (auto bad = label_value(r.values[i]); !bad.empty())
        return std::unexpected(
            fmt::format("values[{}][{}]: Invalid value: {}: {}", i, r.key, in_quotes(r.values[i]), join(bad)));
    return {};
  }

  Text list(std::vector<std::string>& values) {
    auto open = take();
    if (open.token != Token::open) return found(open, " expected: '('");
    auto next = peek();
    if (next.token == Token::close) {
      take();
      values.emplace_back();  // the empty value
      return {};
    }
    if (next.token != Token::identifier && next.token != Token::comma)
      return found(next, ", expected: ',', ')' or identifier");
    std::set<std::string> set;
    for (;;) {
      auto i = take();
      if (i.token == Token::identifier) {
        set.insert(i.text);
        auto then = peek();
        if (then.token == Token::close) break;
        if (then.token != Token::comma) return found(then, ", expected: ',' or ')'");
      } else if (i.token == Token::comma) {
        if (set.empty()) set.emplace();
        auto then = peek();
        if (then.token == Token::close) {
          set.emplace();
          break;
        }
        if (then.token == Token::comma) {
          take();
          set.emplace();
        }
      } else {
        return found(i, ", expected: ',', or identifier");
      }
    }
    take();
    values.assign(set.begin(), set.end());
    return {};
  }

  std::vector<Item> items_;
  std::size_t at_ = 0;
};

bool matches_one(const LabelRequirement& r, const Object& labels) {
  const auto* v = labels.if_contains(r.key);
  const auto* have = v == nullptr ? nullptr : v->if_string();
  auto listed = [&] {
    return std::ranges::any_of(r.values, [&](const std::string& w) { return std::string_view(*have) == w; });
  };
  switch (r.op) {
    case Op::exists:
      return have != nullptr;
    case Op::not_exists:
      return have == nullptr;
    case Op::in:
      return have != nullptr && listed();
    case Op::not_in:
      return have == nullptr || !listed();
    default: {
      if (have == nullptr) return false;
      auto x = text::to_i64(std::string_view(*have)), y = text::to_i64(r.values[0]);
      return x && y && (r.op == Op::greater ? *x > *y : *x < *y);
    }
  }
}

// The value that a field is compared by; what is absent is the empty text.
std::string field_value(const Object& o, std::string_view field) {
  const auto* v = at(o, field);
  if (v != nullptr && v->is_string()) return std::string(std::string_view(v->get_string()));
  if (v != nullptr && (v->is_bool() || v->is_number())) return rendered(*v);
  if (field == "spec.unschedulable" || field == "spec.hostNetwork") return "false";
  if (field == "source" || field == "reportingComponent") {
    auto component = text_at(o, "source.component");
    return std::string(component.empty() ? text_at(o, "reportingComponent") : component);
  }
  return {};
}

}  // namespace

std::expected<LabelSelector, ApiError> LabelSelector::parse(std::string_view text) {
  LabelSelector s;
  auto parsed = Parser(text).parse();
  if (!parsed) return std::unexpected(bad_request(std::move(parsed).error()));
  s.all = std::move(*parsed);
  return s;
}

bool LabelSelector::matches(const Object& object) const {
  return all.empty() || matches_labels(object_at(object, "metadata.labels"));
}
bool LabelSelector::matches_labels(const Object& labels) const {
  return std::ranges::all_of(all, [&](const LabelRequirement& r) { return matches_one(r, labels); });
}

std::expected<FieldSelector, ApiError> FieldSelector::parse(std::string_view text, const Kind& kind) {
  FieldSelector s;
  // Commas, equals signs and backslashes of a value are escaped by a backslash.
  std::vector<std::string> parts;
  std::string part;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 1 < text.size()) {
      part += text[i];
      part += text[++i];
    } else if (text[i] == ',') {
      parts.push_back(std::move(part));
      part.clear();
    } else {
      part += text[i];
    }
  }
  parts.push_back(std::move(part));
  for (const auto& p : parts) {
    if (p.empty()) continue;
    std::size_t at = 0, width = 0;
    bool negated = false;
    for (; at < p.size() && width == 0; ++at) {
      if (p[at] == '\\') {
        ++at;
      } else if (p.compare(at, 2, "!=") == 0) {
        width = 2;
        negated = true;
        break;
      } else if (p[at] == '=') {
        width = p.compare(at, 2, "==") == 0 ? 2 : 1;
        break;
      }
    }
    if (width == 0)
      return std::unexpected(bad_request(fmt::format("invalid selector: '{}'; can't understand '{}'", text, p)));
    FieldRequirement r{.field = p.substr(0, at), .value = {}, .negated = negated};
    for (std::size_t i = at + width; i < p.size(); ++i) {
      if (p[i] == '\\') {
        if (i + 1 == p.size() || (p[i + 1] != '\\' && p[i + 1] != ',' && p[i + 1] != '='))
          return std::unexpected(
              bad_request(fmt::format("invalid field selector: invalid escape sequence: {}", p.substr(i, 2))));
        ++i;
      } else if (p[i] == ',' || p[i] == '=') {
        return std::unexpected(bad_request(
            fmt::format("invalid field selector: unescaped character in value: {}", in_quotes(p.substr(i, 1)))));
      }
      r.value += p[i];
    }

    if (r.field != "metadata.name" && r.field != "metadata.namespace" &&
        std::ranges::find(kind.selectable, r.field) == kind.selectable.end())
      return std::unexpected(bad_request(
          kind.selectable.empty() && !kind.crd
              ? fmt::format("{} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
                            in_quotes(r.field))
              : "field label not supported: " + r.field));
    s.all.push_back(std::move(r));
  }
  return s;
}

bool FieldSelector::matches(const Object& object) const {
  return std::ranges::all_of(
      all, [&](const FieldRequirement& r) { return (field_value(object, r.field) == r.value) != r.negated; });
}

std::string_view FieldSelector::exact_name() const {
  for (const auto& r : all)
    if (r.field == "metadata.name" && !r.negated) return r.value;
  return {};
}

}  // namespace mr::kube
