#include "tracking/graphql.h"

#include <boost/json/array.hpp>

#include "json/parse.h"
#include "text/text.h"

namespace mr::tracking {

namespace js = boost::json;

namespace {

constexpr int kMaxDepth = 10;
constexpr int kMaxSelections = 1000;
constexpr std::size_t kMaxQuery = 64 * 1024;

struct Selection {
  std::string alias;  // the answer's key
  std::string name;
  js::object arguments;
  std::vector<Selection> children;
  std::string fragment;  // a spread; name is empty
};

struct Operation {
  std::string name;
  std::vector<Selection> fields;
};

std::unexpected<Error> bad(std::string what) {
  return fail(Code::invalid_argument, "Syntax Error: " + std::move(what), "BAD_REQUEST");
}

class Parser {
 public:
  Parser(std::string_view s, const js::object& variables) : s_(s), variables_(variables) {}
  std::vector<Operation> operations;
  std::map<std::string, std::vector<Selection>> fragments;

  Result<> document() {
    for (skip(); at_ < s_.size(); skip()) {
      if (s_[at_] == '{') {
        Operation o;
        MR_TRY(o.fields, set(0));
        operations.push_back(std::move(o));
        continue;
      }
      MR_TRY(auto word, name());
      if (word == "query") {
        Operation o;
        skip();
        if (peek() != '{' && peek() != '(' && peek() != '@') {
          MR_TRY(o.name, name());
        }
        skip();
        if (peek() == '(') MR_CHECK(balanced('(', ')'));
        MR_CHECK(directives());
        MR_TRY(o.fields, set(0));
        operations.push_back(std::move(o));
      } else if (word == "fragment") {
        MR_TRY(auto label, name());
        MR_TRY(auto on, name());
        MR_TRY(auto type, name());
        if (on != "on" || type.empty()) return bad("a fragment needs 'on TYPE'");
        MR_CHECK(directives());
        MR_TRY(auto fields, set(0));
        fragments[label] = std::move(fields);
      } else {
        return bad(fmt::format("only queries are answered here, not '{}'", word.substr(0, 40)));
      }
    }
    if (operations.empty()) return bad("Unexpected <EOF>.");
    return {};
  }

 private:
  [[nodiscard]] char peek() const { return at_ < s_.size() ? s_[at_] : '\0'; }
  void skip() {
    while (at_ < s_.size()) {
      char c = s_[at_];
      if (c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == ',') {
        ++at_;
      } else if (c == '#') {
        while (at_ < s_.size() && s_[at_] != '\n') ++at_;
      } else {
        return;
      }
    }
  }
  Result<std::string> name() {
    skip();
    std::size_t b = at_;
    while (at_ < s_.size() && (std::isalnum(static_cast<unsigned char>(s_[at_])) != 0 || s_[at_] == '_')) ++at_;
    if (b == at_)
      return bad(at_ < s_.size() ? fmt::format("Unexpected character '{}'.", s_[at_]) : "Unexpected <EOF>.");
    return std::string(s_.substr(b, at_ - b));
  }
  Result<> balanced(char open, char close) {
    int depth = 0;
    bool text = false;
    for (; at_ < s_.size(); ++at_) {
      char c = s_[at_];
      if (text) {
        if (c == '\\')
          ++at_;
        else if (c == '"')
          text = false;
        continue;
      }
      if (c == '"') text = true;
      if (c == open) ++depth;
      if (c == close && --depth == 0) {
        ++at_;
        return {};
      }
    }
    return bad("Unexpected <EOF>.");
  }
  Result<> directives() {
    for (skip(); peek() == '@'; skip()) {
      ++at_;
      MR_CHECK(name());
      skip();
      if (peek() == '(') MR_CHECK(balanced('(', ')'));
    }
    return {};
  }
  Result<js::value> value(int depth) {
    if (depth > kMaxDepth) return bad("values are nested too deep");
    skip();
    char c = peek();
    if (c == '$') {
      ++at_;
      MR_TRY(auto n, name());
      const auto* v = variables_.if_contains(n);
      return v == nullptr ? js::value(nullptr) : *v;
    }
    if (c == '{' || c == '[') {
      ++at_;
      js::object object;
      js::array array;
      char end = c == '{' ? '}' : ']';
      for (skip(); peek() != end; skip()) {
        if (at_ >= s_.size()) return bad("Unexpected <EOF>.");
        if (c == '{') {
          MR_TRY(auto k, name());
          skip();
          if (peek() != ':') return bad("Expected ':'.");
          ++at_;
          MR_TRY(object[k], value(depth + 1));
        } else {
          MR_TRY(auto item, value(depth + 1));
          array.push_back(std::move(item));
        }
      }
      ++at_;
      return c == '{' ? js::value(std::move(object)) : js::value(std::move(array));
    }
    if (c == '"') {
      std::size_t b = at_;
      for (++at_; at_ < s_.size() && s_[at_] != '"'; ++at_)
        if (s_[at_] == '\\') ++at_;
      if (at_ >= s_.size()) return bad("Unterminated string.");
      ++at_;
      return json::parse(s_.substr(b, at_ - b));
    }
    std::size_t b = at_;
    while (at_ < s_.size() && (std::isalnum(static_cast<unsigned char>(s_[at_])) != 0 ||
                               std::string_view("_-+.").find(s_[at_]) != std::string_view::npos))
      ++at_;
    auto word = s_.substr(b, at_ - b);
    if (word.empty()) return bad("a value is missing");
    if (word == "true" || word == "false") return js::value(word == "true");
    if (word == "null") return js::value(nullptr);
    if (auto i = text::to_i64(word)) return js::value(*i);
    if (auto d = text::to_double(word)) return js::value(*d);
    return js::value(std::string(word));  // an enum's name
  }
  Result<std::vector<Selection>> set(int depth) {
    skip();
    if (peek() != '{') return bad("Expected '{'.");
    if (depth > kMaxDepth) return bad("the query is nested too deep");
    ++at_;
    std::vector<Selection> out;
    for (skip(); peek() != '}'; skip()) {
      if (at_ >= s_.size()) return bad("Unexpected <EOF>.");
      if (++count_ > kMaxSelections) return bad("the query selects too much");
      Selection sel;
      if (s_.substr(at_).starts_with("...")) {
        at_ += 3;
        skip();
        if (peek() == '{' || peek() == '@') {
          MR_CHECK(directives());
          MR_TRY(auto inner, set(depth + 1));
          for (auto& i : inner) out.push_back(std::move(i));
          continue;
        }
        MR_TRY(auto word, name());
        if (word == "on") {
          MR_CHECK(name());
          MR_CHECK(directives());
          MR_TRY(auto inner, set(depth + 1));
          for (auto& i : inner) out.push_back(std::move(i));
          continue;
        }
        sel.fragment = word;
        MR_CHECK(directives());
        out.push_back(std::move(sel));
        continue;
      }
      MR_TRY(sel.name, name());
      sel.alias = sel.name;
      skip();
      if (peek() == ':') {
        ++at_;
        MR_TRY(sel.name, name());
        skip();
      }
      if (peek() == '(') {
        ++at_;
        for (skip(); peek() != ')'; skip()) {
          MR_TRY(auto k, name());
          skip();
          if (peek() != ':') return bad("Expected ':'.");
          ++at_;
          MR_TRY(sel.arguments[k], value(0));
        }
        ++at_;
      }
      MR_CHECK(directives());
      skip();
      if (peek() == '{') {
        MR_TRY(sel.children, set(depth + 1));
      }
      out.push_back(std::move(sel));
    }
    ++at_;
    return out;
  }

  std::string_view s_;
  const js::object& variables_;
  std::size_t at_ = 0;
  int count_ = 0;
};

class Projector {
 public:
  explicit Projector(const std::map<std::string, std::vector<Selection>>& fragments) : fragments_(fragments) {}

  Result<js::value> project(const js::value& v, const std::vector<Selection>& set, int depth) {
    if (depth > 2 * kMaxDepth) return bad("fragments are nested too deep");
    if (v.is_array()) {
      js::array out;
      for (const auto& e : v.get_array()) {
        MR_TRY(auto item, project(e, set, depth + 1));
        out.push_back(std::move(item));
      }
      return js::value(std::move(out));
    }
    if (!v.is_object() || set.empty()) return v;
    std::map<std::string, js::value> sorted;  // keys in order, as the real server prints them
    MR_CHECK(fill(v.get_object(), set, sorted, depth));
    js::object out;
    for (auto& [k, e] : sorted) out[k] = std::move(e);
    return js::value(std::move(out));
  }
  Result<> fill(const js::object& from, const std::vector<Selection>& set, std::map<std::string, js::value>& out,
                int depth) {
    if (depth > 2 * kMaxDepth) return bad("fragments are nested too deep");
    for (const auto& s : set) {
      if (!s.fragment.empty()) {
        auto it = fragments_.find(s.fragment);
        if (it == fragments_.end()) return bad(fmt::format("Unknown fragment '{}'.", s.fragment));
        MR_CHECK(fill(from, it->second, out, depth + 1));
        continue;
      }
      const auto* v = from.if_contains(s.name);
      if (v == nullptr) {
        const auto* type = from.if_contains("__typename");
        return fail(Code::invalid_argument,
                    fmt::format("Cannot query field '{}' on type '{}'.", s.name,
                                type != nullptr && type->is_string() ? std::string(type->get_string()) : "Query"),
                    "FIELD");
      }
      MR_TRY(out[s.alias], project(*v, s.children, depth + 1));
    }
    return {};
  }

 private:
  const std::map<std::string, std::vector<Selection>>& fragments_;
};

std::string answer(js::value data, const std::vector<std::string>& errors) {
  js::object out;
  out["data"] = std::move(data);
  if (errors.empty()) {
    out["errors"] = nullptr;
  } else {
    js::array list;
    for (const auto& e : errors) list.push_back(js::value(e));
    out["errors"] = std::move(list);
  }
  return json::serialize(out) + "\n";
}

}  // namespace

Result<std::string> run_graphql(std::string_view query, const js::object& variables, std::string_view operation,
                                const GraphqlResolver& resolve) {
  if (query.size() > kMaxQuery) return bad("the query is too long");
  Parser p(query, variables);
  MR_CHECK(p.document());
  const Operation* chosen = &p.operations[0];
  for (const auto& o : p.operations)
    if (!operation.empty() && o.name == operation) chosen = &o;
  if (chosen->fields.size() > 10) return bad("the query has more than 10 root fields");
  Projector projector(p.fragments);
  std::map<std::string, js::value> sorted;
  std::vector<std::string> errors;
  for (const auto& f : chosen->fields) {
    if (f.name == "__typename") {
      sorted[f.alias] = "Query";
      continue;
    }
    auto v = resolve(f.name, f.arguments);
    if (!v) {
      if (v.error().reason == "FIELD") return answer(nullptr, {v.error().message});
      errors.push_back(v.error().message);
      sorted[f.alias] = nullptr;
      continue;
    }
    auto shown = projector.project(*v, f.children, 0);
    if (!shown) return answer(nullptr, {shown.error().message});
    sorted[f.alias] = std::move(*shown);
  }
  js::object data;
  for (auto& [k, v] : sorted) data[k] = std::move(v);
  return answer(std::move(data), errors);
}

}  // namespace mr::tracking
