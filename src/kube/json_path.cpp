#include "kube/json_path.h"

#include <variant>

#include "text/text.h"

namespace mr::kube {

namespace {

constexpr std::size_t most = 1000;
constexpr std::size_t longest = 1024;

struct Filter {
  std::vector<std::string> path;  // of @, names only
  std::string op;                 // "" : is there
  Value against;
};
struct Index {
  std::int64_t at;
};
struct All {};
using Step = std::variant<std::string, Index, All, Filter>;

class JsonPathParser {
 public:
  explicit JsonPathParser(std::string_view text) : text_(text) {}

  std::optional<std::vector<Step>> run() {
    if (text_.size() > longest) return std::nullopt;
    if (text_.starts_with('{') && text_.ends_with('}')) text_ = text_.substr(1, text_.size() - 2);
    if (text_.starts_with('$')) ++at_;
    std::vector<Step> steps;
    while (at_ < text_.size()) {
      if (text_[at_] == '.') {
        ++at_;
        if (at_ < text_.size() && text_[at_] == '[') continue;
        if (at_ == text_.size()) return steps.empty() ? std::optional(steps) : std::nullopt;
        auto name = plain_name();
        if (name.empty()) return std::nullopt;
        if (name == "*")
          steps.emplace_back(All{});
        else
          steps.emplace_back(std::move(name));
      } else if (text_[at_] == '[') {
        ++at_;
        auto step = bracket();
        if (!step) return std::nullopt;
        steps.push_back(std::move(*step));
      } else {
        return std::nullopt;
      }
    }
    return steps;
  }

 private:
  std::string plain_name() {
    std::string out;
    for (; at_ < text_.size() && text_[at_] != '.' && text_[at_] != '['; ++at_) {
      if (text_[at_] == '\\' && at_ + 1 < text_.size()) ++at_;
      out += text_[at_];
    }
    return out;
  }

  // What stands up to `end`, a quoted text whole.
  std::optional<std::string_view> until(std::string_view end) {
    const auto start = at_;
    char quote = 0;
    for (; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      if (quote) {
        if (c == quote) quote = 0;
      } else if (c == '"' || c == '\'') {
        quote = c;
      } else if (text_.substr(at_).starts_with(end)) {
        const auto out = text_.substr(start, at_ - start);
        at_ += end.size();
        return out;
      }
    }
    return std::nullopt;
  }

  static std::optional<std::string> unquoted(std::string_view s) {
    if (s.size() < 2 || (s[0] != '"' && s[0] != '\'') || s.back() != s[0]) return std::nullopt;
    return std::string(s.substr(1, s.size() - 2));
  }

  std::optional<Step> bracket() {
    if (text_.substr(at_).starts_with("?(")) {
      at_ += 2;
      const auto inside = until(")]");
      return inside ? filter(text::trim(*inside)) : std::nullopt;
    }
    const auto raw = until("]");
    if (!raw) return std::nullopt;
    const auto inside = text::trim(*raw);
    if (inside == "*") return Step(All{});
    if (auto name = unquoted(inside)) return Step(std::move(*name));
    if (const auto n = text::to_i64(inside)) return Step(Index{*n});
    return std::nullopt;
  }

  static std::optional<Step> filter(std::string_view s) {
    Filter f;
    if (!s.starts_with('@')) return std::nullopt;
    s.remove_prefix(1);
    std::size_t end = s.size();
    for (const std::string_view op : {"==", "!=", ">=", "<=", ">", "<"}) {
      const auto at = s.find(op);
      // The first operator of the text; of two that begin there the longer.
      if (at != std::string_view::npos && (at < end || (at == end && op.size() > f.op.size()))) {
        end = at;
        f.op = op;
      }
    }
    const auto left = text::trim(s.substr(0, end));
    if (!left.empty() && !left.starts_with('.')) return std::nullopt;
    for (const auto part : text::split(left.empty() ? left : left.substr(1), '.'))
      if (!part.empty()) f.path.emplace_back(part);
    if (f.op.empty()) return Step(std::move(f));
    const auto right = text::trim(s.substr(end + f.op.size()));
    if (auto t = unquoted(right))
      f.against = *t;
    else if (right == "true" || right == "false")
      f.against = right == "true";
    else if (const auto n = text::to_i64(right))
      f.against = *n;
    else if (const auto d = text::to_double(right))
      f.against = *d;
    else
      return std::nullopt;
    return Step(std::move(f));
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

std::optional<double> number(const Value& v) {
  if (v.is_int64()) return static_cast<double>(v.get_int64());
  if (v.is_uint64()) return static_cast<double>(v.get_uint64());
  if (v.is_double()) return v.get_double();
  return std::nullopt;
}

bool holds(const Filter& f, const Value& v) {
  const Value* x = &v;
  for (const auto& name : f.path) {
    x = x->is_object() ? x->get_object().if_contains(name) : nullptr;
    if (!x) return false;
  }
  if (f.op.empty()) return true;
  const auto a = number(*x), b = number(f.against);
  int order = 0;
  if (a && b)
    order = *a < *b ? -1 : *a > *b ? 1 : 0;
  else if (x->is_string() && f.against.is_string())
    order = std::string_view(x->get_string()).compare(std::string_view(f.against.get_string()));
  else if (x->is_bool() && f.against.is_bool())
    order = static_cast<int>(x->get_bool()) - static_cast<int>(f.against.get_bool());
  else
    return f.op == "!=";
  if (f.op == "==") return order == 0;
  if (f.op == "!=") return order != 0;
  if (f.op == ">=") return order >= 0;
  if (f.op == "<=") return order <= 0;
  return f.op == ">" ? order > 0 : order < 0;
}

void take(const Step& step, const Value& v, std::vector<const Value*>& out) {
  auto add = [&](const Value* x) {
    if (x && out.size() < most) out.push_back(x);
  };
  if (const auto* name = std::get_if<std::string>(&step)) {
    if (v.is_object()) add(v.get_object().if_contains(*name));
  } else if (const auto* index = std::get_if<Index>(&step)) {
    if (!v.is_array()) return;
    const auto size = static_cast<std::int64_t>(v.get_array().size());
    const auto i = index->at < 0 ? size + index->at : index->at;
    if (i >= 0 && i < size) add(&v.get_array()[static_cast<std::size_t>(i)]);
  } else {
    const auto* filter = std::get_if<Filter>(&step);
    if (v.is_array())
      for (const auto& x : v.get_array())
        if (!filter || holds(*filter, x)) add(&x);
    if (v.is_object() && !filter)
      for (const auto& [k, x] : v.get_object()) add(&x);
  }
}

std::vector<const Value*> walk(const std::vector<Step>& steps, std::size_t from, std::vector<const Value*> now) {
  for (auto i = from; i < steps.size() && !now.empty(); ++i) {
    std::vector<const Value*> next;
    for (const auto* v : now) take(steps[i], *v, next);
    now = std::move(next);
  }
  return now;
}

}  // namespace

std::vector<const Value*> json_path(const Value& root, std::string_view path) {
  const auto steps = JsonPathParser(path).run();
  return steps ? walk(*steps, 0, {&root}) : std::vector<const Value*>{};
}

std::vector<const Value*> json_path(const Object& root, std::string_view path) {
  const auto steps = JsonPathParser(path).run();
  if (!steps || steps->empty()) return {};
  const auto* name = std::get_if<std::string>(&(*steps)[0]);
  const auto* member = name ? root.if_contains(*name) : nullptr;
  return member ? walk(*steps, 1, {member}) : std::vector<const Value*>{};
}

bool json_path_valid(std::string_view path) { return JsonPathParser(path).run().has_value(); }

}  // namespace mr::kube
