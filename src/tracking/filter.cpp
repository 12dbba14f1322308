#include "tracking/filter.h"

#include "text/text.h"
#include "tracking/errors.h"
#include "tracking/validate.h"

namespace mr::tracking {

namespace {

constexpr std::size_t kMaxFilter = 64 * 1024;
constexpr std::size_t kMaxComparisons = 100;

struct Token {
  enum class Kind : std::uint8_t { identifier, op, number, string, list, other, end } kind = Kind::end;
  std::string_view text;
};

bool word_char(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || static_cast<unsigned char>(c) >= 0x80;
}
bool blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
bool digit(char c) { return c >= '0' && c <= '9'; }

class Lexer {
 public:
  explicit Lexer(std::string_view s) : s_(s) {}

  Token next() {
    while (at_ < s_.size() && blank(s_[at_])) ++at_;
    start_ = at_;
    if (at_ == s_.size()) return {Token::Kind::end, {}};
    char c = s_[at_];
    if (c == '\'' || c == '"') return quoted(c) ? token(Token::Kind::string) : rest();
    if (c == '(') return list();
    if (std::string_view("<>=!~").find(c) != std::string_view::npos) {
      while (at_ < s_.size() && std::string_view("<>=!~").find(s_[at_]) != std::string_view::npos) ++at_;
      return token(Token::Kind::op);
    }
    if (digit(c) ||
        ((c == '-' || c == '.') && at_ + 1 < s_.size() && (digit(s_[at_ + 1]) || (c == '-' && s_[at_ + 1] == '.'))))
      return number();
    if (word_char(c) || c == '`') return identifier();
    ++at_;
    return token(Token::Kind::other);
  }

 private:
  Token token(Token::Kind k) const { return {k, s_.substr(start_, at_ - start_)}; }
  Token rest() {
    at_ = s_.size();
    return token(Token::Kind::other);
  }
  // Past the closing quote; a doubled quote stays inside. False when it never closes.
  bool quoted(char q) {
    ++at_;
    std::size_t last_chance = 0;  // a quote that was taken as doubled or escaped, and may have to be the end after all
    while (at_ < s_.size()) {
      if (s_[at_] == q) {
        ++at_;
        if (q != '`' && at_ < s_.size() && s_[at_] == q) {
          last_chance = at_;
          ++at_;
          continue;
        }
        return true;
      }
      if (s_[at_] == '\\' && q != '`' && at_ + 1 < s_.size() && s_[at_ + 1] == q) {
        last_chance = at_ + 2;
        ++at_;
      }
      ++at_;
    }
    if (last_chance == 0) return false;
    at_ = last_chance;
    return true;
  }
  Token number() {
    if (s_[at_] == '-') ++at_;
    while (at_ < s_.size() &&
           (word_char(s_[at_]) || s_[at_] == '.' || ((s_[at_] == '-' || s_[at_] == '+') && (s_[at_ - 1] | 32) == 'e')))
      ++at_;
    return token(Token::Kind::number);
  }
  Token identifier() {
    while (at_ < s_.size()) {
      char c = s_[at_];
      if (c == '`' || ((c == '\'' || c == '"') && at_ > start_ && s_[at_ - 1] == '.')) {
        if (!quoted(c)) return rest();
      } else if (word_char(c) || c == '.') {
        ++at_;
      } else {
        break;
      }
    }
    return token(Token::Kind::identifier);
  }
  Token list() {
    int depth = 0;
    while (at_ < s_.size()) {
      char c = s_[at_];
      if (c == '\'' || c == '"') {
        if (!quoted(c)) return rest();
        continue;
      }
      ++at_;
      if (c == '(') ++depth;
      if (c == ')' && --depth == 0) return token(Token::Kind::list);
    }
    return token(Token::Kind::other);
  }

  std::string_view s_;
  std::size_t at_ = 0;
  std::size_t start_ = 0;
};

std::string unquote(std::string_view s, bool& was) {
  if (s.size() >= 2 && (s.front() == '`' || s.front() == '"' || s.front() == '\'') && s.back() == s.front()) {
    was = true;
    return std::string(s.substr(1, s.size() - 2));
  }
  return std::string(s);
}

template <class T>
void split_identifier(std::string_view ident, T& out) {
  auto dot = ident.front() == '`' ? ident.find('.', ident.find('`', 1)) : ident.find('.');
  bool ignored = false;
  if (dot == std::string_view::npos) {
    out.key = unquote(ident, out.key_quoted);
  } else {
    auto type = ident.substr(0, dot);
    out.type = type.starts_with('`') ? unquote(type, ignored) : std::string(type);
    out.key = unquote(ident.substr(dot + 1), out.key_quoted);
  }
}

bool reserved(std::string_view upper) {
  static const std::set<std::string_view> words{"OR",     "NOT",       "SELECT", "FROM", "WHERE",   "LIMIT", "ORDER",
                                                "GROUP",  "BY",        "CASE",   "IS",   "IN",      "LIKE",  "NULL",
                                                "TRUE",   "FALSE",     "ESCAPE", "USER", "UNION",   "ILIKE", "RLIKE",
                                                "REGEXP", "TIMESTAMP", "DESC",   "ASC",  "VERSION", "SOURCE"};
  return words.contains(upper);
}

// The strings of "('a', "b")", with Python's escapes for quotes and backslashes.
void parse_list(Comparison& c) {
  std::string_view s = c.raw;
  std::size_t i = 1;
  bool want_comma = false;
  while (i < s.size() && s[i] != ')') {
    char ch = s[i];
    if (blank(ch) || ch == '(') {
      ++i;
    } else if (ch == ',') {
      if (!want_comma) c.bad_list = true;
      want_comma = false;
      ++i;
    } else if (ch == '\'' || ch == '"') {
      std::string item;
      for (++i; i < s.size() && s[i] != ch; ++i) {
        if (s[i] == '\\' && i + 1 < s.size()) ++i;
        item += s[i];
      }
      ++i;
      if (want_comma)
        c.list.back() += item;  // adjacent literals join, as in Python
      else
        c.list.push_back(item);
      want_comma = true;
    } else {
      c.bad_list = true;
      ++i;
    }
  }
}

}  // namespace

Result<std::vector<Comparison>> parse_filter(std::string_view filter, bool quote_clauses) {
  std::vector<Comparison> out;
  if (filter.empty()) return out;
  if (filter.size() > kMaxFilter) return invalid(fmt::format("The filter is longer than {} bytes", kMaxFilter));
  if (text::trim(filter).empty()) return invalid(fmt::format("Invalid filter '{}'. Could not be parsed.", filter));
  auto bad = [&](std::string_view token) {
    auto shown = text::utf8_prefix(token, 200);
    return quote_clauses ? invalid(fmt::format("Invalid clause(s) in filter string: '{}'", shown))
                         : invalid(fmt::format("Invalid clause(s) in filter string: {}", shown));
  };
  Lexer lex(filter);
  for (Token t = lex.next(); t.kind != Token::Kind::end; t = lex.next()) {
    auto upper = text::upper(t.text);
    if (t.kind == Token::Kind::identifier && upper == "AND") continue;
    if (t.kind == Token::Kind::string || t.kind == Token::Kind::number) {
      Token after = lex.next();
      if (after.kind == Token::Kind::op)
        return invalid(
            fmt::format("Invalid comparison clause. Expected 'Identifier' found '{}'", text::utf8_prefix(t.text, 200)));
      return bad(t.text);
    }
    if (t.text == ";" && lex.next().kind != Token::Kind::end)
      return invalid(fmt::format("Search filter contained multiple expression {}. Provide AND-ed expression list.",
                                 python_repr(text::utf8_prefix(filter, 1000))));
    if (t.kind != Token::Kind::identifier || reserved(upper)) return bad(t.text);
    if (out.size() == kMaxComparisons)
      return invalid(fmt::format("A filter takes at most {} comparisons", kMaxComparisons));
    Comparison c;
    split_identifier(t.text, c);
    Token op = lex.next();
    Token op_end = op;  // of two words: the second
    auto op_word = text::upper(op.text);
    c.op_text = op.text;
    if (op.kind == Token::Kind::op) {
      c.op = op.text;
    } else if (op.kind == Token::Kind::identifier && (op_word == "LIKE" || op_word == "ILIKE" || op_word == "IN" ||
                                                      op_word == "RLIKE" || op_word == "REGEXP")) {
      c.op = op_word;
    } else if (op.kind == Token::Kind::identifier && op_word == "NOT") {
      op_end = lex.next();
      auto w = text::upper(op_end.text);
      if (w != "IN" && w != "LIKE" && w != "ILIKE") return bad(t.text);
      c.op = "NOT " + w;
      c.op_text = c.op;
    } else if (op.kind == Token::Kind::identifier && op_word == "IS") {
      Token second = lex.next();
      auto w = text::upper(second.text);
      bool negated = w == "NOT";
      if (negated) w = text::upper(lex.next().text);
      if (w != "NULL") return bad(t.text);
      c.op = negated ? "IS NOT NULL" : "IS NULL";
      out.push_back(std::move(c));
      continue;
    } else if (op.kind == Token::Kind::other &&
               (op.text == "-" || op.text == "/" || op.text == "@" || op.text == "#")) {
      return invalid(fmt::format("Invalid comparison clause. Expected 'Identifier' found '{}{}...'", t.text, op.text));
    } else {
      return bad(t.text);
    }
    Token v = lex.next();
    c.raw = v.text;
    if ((c.op == "IN" || c.op == "NOT IN") && v.kind != Token::Kind::list) {
      // The real parser makes no comparison of it, and names each word that is left over.
      std::string words(t.text);
      auto add = [&](std::string_view word) { words.append(quote_clauses ? "', '" : ", ").append(word); };
      add(op.text);
      if (c.op == "NOT IN") add(op_end.text);
      if (v.kind != Token::Kind::end) add(v.text);
      return bad(words);
    }
    switch (v.kind) {
      case Token::Kind::number:
        c.kind = Comparison::Kind::number;
        c.value = v.text;
        break;
      case Token::Kind::string:
        c.kind = Comparison::Kind::string;
        c.value = v.text.substr(1, v.text.size() - 2);
        break;
      // IN wants a list; anything else beside it is no comparison.
      case Token::Kind::list:
        c.kind = Comparison::Kind::list;
        parse_list(c);
        break;
      case Token::Kind::identifier: {
        auto w = text::upper(v.text);
        if (w == "AND" || w == "OR" || w == "TRUE" || w == "FALSE" || w == "DEFAULT") return bad(t.text);
        c.kind = Comparison::Kind::word;
        c.value = v.text;
        break;
      }
      case Token::Kind::op:
      case Token::Kind::other:
      case Token::Kind::end:
        return bad(v.kind == Token::Kind::end ? t.text : v.text);
    }
    out.push_back(std::move(c));
  }
  return out;
}

Result<OrderKey> parse_order_by(std::string_view clause) {
  auto unparsable = [&] {
    return invalid(fmt::format("Invalid order_by clause '{}'. Could not be parsed.", text::utf8_prefix(clause, 500)));
  };
  Lexer lex(clause);
  Token t = lex.next();
  if (t.kind != Token::Kind::identifier) return unparsable();
  auto first = text::upper(t.text);
  if (first == "DESC" || first == "ASC") return unparsable();
  OrderKey k;
  split_identifier(t.text, k);
  Token d = lex.next();
  if (d.kind == Token::Kind::end) return k;
  if (d.kind != Token::Kind::identifier || lex.next().kind != Token::Kind::end) return unparsable();
  auto w = text::upper(d.text);
  if (w != "ASC" && w != "DESC") return invalid(fmt::format("Invalid ordering key in order_by clause '{}'.", clause));
  k.ascending = w == "ASC";
  return k;
}

}  // namespace mr::tracking
