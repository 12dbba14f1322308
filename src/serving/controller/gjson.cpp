#include "serving/controller/gjson.h"

#include <fmt/format.h>

#include <optional>

#include "text/text.h"

namespace mr::serving {

using kube::Array;
using kube::Value;

struct JsonPath::Step {
  enum class Kind : std::uint8_t { name, length, first, all, self, wrapped } kind = Kind::name;
  std::string name;        // with wildcards
  std::vector<Step> left;  // of a query
  std::string op, right;   // empty op: the left side exists
};

namespace {

using Step = JsonPath::Step;
using Kind = Step::Kind;

constexpr std::size_t kMaxText = 1024;
constexpr std::size_t kMaxSteps = 32;
constexpr int kMaxDepth = 4;

std::unexpected<Error> bad(std::string_view why, std::string_view text) {
  return fail(Code::invalid_argument, fmt::format("the condition '{}' is not understood: {}", text, why));
}

// The end of a bracket that begins before `i`, quotes respected; npos: none.
std::size_t closing(std::string_view s, std::size_t i) {
  int depth = 1;
  bool quoted = false;
  for (; i < s.size(); ++i) {
    if (quoted) {
      if (s[i] == '\\')
        ++i;
      else if (s[i] == '"')
        quoted = false;
    } else if (s[i] == '"') {
      quoted = true;
    } else if (s[i] == '(' || s[i] == '[') {
      ++depth;
    } else if (s[i] == ')' || s[i] == ']') {
      if (--depth == 0) return i;
    }
  }
  return std::string_view::npos;
}

Result<std::vector<Step>> parse_steps(std::string_view s, std::string_view whole, int depth);

// `left OP right` inside #( ).
Result<void> parse_query(std::string_view q, std::string_view whole, int depth, Step& step) {
  q = text::trim(q);
  std::size_t at = std::string_view::npos;
  std::size_t size = 0;
  int nested = 0;
  for (std::size_t i = 0; i < q.size() && at == std::string_view::npos; ++i) {
    if (q[i] == '(' || q[i] == '[') ++nested;
    if (q[i] == ')' || q[i] == ']') --nested;
    if (q[i] == '\\') {
      ++i;
      continue;
    }
    if (nested > 0) continue;
    if (q[i] == '~') return bad("'~' queries are not supported", whole);
    auto two = q.substr(i, 2);
    if (two == "==" || two == "!=" || two == "<=" || two == ">=" || two == "!%")
      at = i, size = 2;
    else if (q[i] == '<' || q[i] == '>' || q[i] == '%' || q[i] == '=')
      at = i, size = 1;
    else if (q[i] == '"' || q[i] == '!')
      return bad("a query compares a path with a value", whole);
  }
  auto left = text::trim(q.substr(0, at));
  if (!left.empty()) {
    MR_TRY(step.left, parse_steps(left, whole, depth + 1));
  }
  if (at == std::string_view::npos) return left.empty() ? bad("an empty query", whole) : Result<void>{};
  step.op = q.substr(at, size);
  if (step.op == "=") step.op = "==";
  auto right = text::trim(q.substr(at + size));
  if (right.empty()) return bad("a comparison without a value", whole);
  if (right.front() == '"') {
    if (right.size() < 2 || right.back() != '"') return bad("a text without its closing quote", whole);
    right = right.substr(1, right.size() - 2);
    for (std::size_t i = 0; i < right.size(); ++i) {
      if (right[i] == '\\' && i + 1 < right.size()) ++i;
      step.right += right[i];
    }
  } else {
    step.right = right;
  }
  return {};
}

Result<std::vector<Step>> parse_steps(std::string_view s, std::string_view whole, int depth) {
  if (depth > kMaxDepth) return bad("queries are nested too deep", whole);
  std::vector<Step> out;
  std::size_t i = 0;
  for (;;) {
    if (out.size() >= kMaxSteps) return bad("it has too many steps", whole);
    Step step;
    if (i < s.size() && s[i] == '#') {
      ++i;
      step.kind = Kind::length;
      if (i < s.size() && (s[i] == '(' || s[i] == '[')) {
        auto end = closing(s, i + 1);
        if (end == std::string_view::npos) return bad("a bracket is not closed", whole);
        step.kind = Kind::first;
        MR_CHECK(parse_query(s.substr(i + 1, end - i - 1), whole, depth, step));
        i = end + 1;
        if (i < s.size() && s[i] == '#') {
          step.kind = Kind::all;
          ++i;
        }
      }
    } else if (s.substr(i).starts_with("[@this]")) {
      step.kind = Kind::wrapped;
      i += 7;
    } else if (s.substr(i).starts_with("@this")) {
      step.kind = Kind::self;
      i += 5;
    } else if (i < s.size() && (s[i] == '@' || s[i] == '{' || s[i] == '[' || s[i] == '!')) {
      return bad("modifiers, multipaths and literals are not supported, but for @this and [@this]", whole);
    } else {
      for (; i < s.size() && s[i] != '.' && s[i] != '|'; ++i) {
        if (s[i] == '#' || s[i] == '(') return bad(fmt::format("'{}' inside a name", s[i]), whole);
        if (s[i] == '\\' && i + 1 < s.size()) {
          step.name += s[i++];  // kept: the name is a pattern
        }
        step.name += s[i];
      }
      if (step.name.empty()) return bad("an empty name", whole);
    }
    out.push_back(std::move(step));
    if (i == s.size()) return out;
    if (s[i] != '.' && s[i] != '|') return bad(fmt::format("'{}' after a step", s[i]), whole);
    ++i;
  }
}

// Names and texts against a pattern of * and ?; a backslash takes the next character as it is.
bool like(std::string_view text, std::string_view pattern) {
  std::size_t t = 0, p = 0, star = std::string_view::npos, mark = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      mark = t;
      continue;
    }
    bool escaped = p + 1 < pattern.size() && pattern[p] == '\\';
    char c = p < pattern.size() ? pattern[escaped ? p + 1 : p] : '\0';
    if (p < pattern.size() && (c == text[t] || (!escaped && c == '?'))) {
      p += escaped ? 2 : 1;
      ++t;
      continue;
    }
    if (star == std::string_view::npos) return false;
    p = star + 1;
    t = ++mark;
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

template <class T>
bool compare(const T& a, std::string_view op, const T& b) {
  if (op == "==") return a == b;
  if (op == "!=") return a != b;
  if (op == "<") return a < b;
  if (op == "<=") return a <= b;
  if (op == ">") return a > b;
  if (op == ">=") return a >= b;
  return false;
}

bool meets(const Value& v, const Step& q) {
  if (q.op.empty()) return true;
  if (v.is_string()) {
    std::string_view s(v.get_string());
    if (q.op == "%") return like(s, q.right);
    if (q.op == "!%") return !like(s, q.right);
    return compare(s, q.op, std::string_view(q.right));
  }
  if (v.is_number()) {
    auto right = text::to_double(q.right);
    return right && compare(v.to_number<double>(), q.op, *right);
  }
  if (v.is_bool() && (q.right == "true" || q.right == "false"))
    return compare(static_cast<int>(v.get_bool()), q.op, static_cast<int>(q.right == "true"));
  if (v.is_null() && q.right == "null") return q.op == "==" || q.op == "<=" || q.op == ">=";
  return v.is_null() && q.op == "!=";
}

std::optional<Value> find(const Value& v, const std::vector<Step>& steps, std::size_t from, int& budget);

bool matches(const Value& element, const Step& q, int& budget) {
  if (q.left.empty()) return meets(element, q);
  auto left = find(element, q.left, 0, budget);
  return left && meets(*left, q);
}

// What the path finds. Results that a query collects are made anew; `budget` bounds the work.
std::optional<Value> find(const Value& v, const std::vector<Step>& steps, std::size_t from, int& budget) {
  if (--budget < 0) return std::nullopt;
  if (from == steps.size()) return v;
  const auto& s = steps[from];
  switch (s.kind) {
    case Kind::self:
      return find(v, steps, from + 1, budget);
    case Kind::wrapped:
      return find(Value(Array{v}), steps, from + 1, budget);
    case Kind::name: {
      if (const auto* o = v.if_object()) {
        for (const auto& [k, member] : *o)
          if (like(k, s.name)) return find(member, steps, from + 1, budget);
        return std::nullopt;
      }
      const auto* a = v.if_array();
      auto i = text::to_u64(s.name);
      if (a == nullptr || !i || *i >= a->size()) return std::nullopt;
      return find((*a)[*i], steps, from + 1, budget);
    }
    case Kind::length: {
      const auto* a = v.if_array();
      if (a == nullptr) return std::nullopt;
      if (from + 1 == steps.size()) return Value(a->size());
      Array out;
      for (const auto& e : *a)
        if (auto r = find(e, steps, from + 1, budget)) out.push_back(std::move(*r));
      return Value(std::move(out));
    }
    case Kind::first:
    case Kind::all: {
      const auto* a = v.if_array();
      if (a == nullptr) return std::nullopt;
      Array out;
      for (const auto& e : *a) {
        if (!matches(e, s, budget)) continue;
        if (s.kind == Kind::first) return find(e, steps, from + 1, budget);
        if (auto r = find(e, steps, from + 1, budget)) out.push_back(std::move(*r));
      }
      if (s.kind == Kind::first) return std::nullopt;
      return Value(std::move(out));
    }
  }
  return std::nullopt;
}

}  // namespace

Result<JsonPath> JsonPath::parse(std::string_view text) {
  if (text.size() > kMaxText) return fail(Code::invalid_argument, "a condition is longer than 1024 bytes");
  MR_TRY(auto steps, parse_steps(text, text, 0));
  JsonPath p;
  p.steps_ = std::make_shared<const std::vector<Step>>(std::move(steps));
  return p;
}

bool JsonPath::exists(const Value& document) const {
  int budget = 1'000'000;
  return find(document, *steps_, 0, budget).has_value();
}

}  // namespace mr::serving
