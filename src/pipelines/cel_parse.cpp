#include <array>
#include <charconv>

#include "pipelines/cel_node.h"

namespace mr::pipelines {

namespace cel {

namespace {

using Kind = Expression::Node::Kind;

struct Signature {
  std::string_view name;
  Function function;
  bool global, method;
  std::size_t arguments;  // without the receiver
};
constexpr std::array<Signature, 12> kSignatures = {{
    {"size", Function::size, true, true, 0},
    {"int", Function::to_int, true, false, 0},
    {"uint", Function::to_uint, true, false, 0},
    {"double", Function::to_double, true, false, 0},
    {"string", Function::to_string, true, false, 0},
    {"bool", Function::to_bool, true, false, 0},
    {"dyn", Function::dyn, true, false, 0},
    {"startsWith", Function::starts_with, false, true, 1},
    {"endsWith", Function::ends_with, false, true, 1},
    {"contains", Function::contains, false, true, 1},
    {"matches", Function::matches, true, true, 1},
    {"parseJson", Function::parse_json, true, false, 0},
}};
constexpr std::array<std::string_view, 5> kMacros = {"all", "exists", "exists_one", "map", "filter"};
// Part of the language, but of no use to pipelines.
constexpr std::array<std::string_view, 4> kUnsupported = {"type", "timestamp", "duration", "bytes"};
constexpr std::array<std::string_view, 17> kReserved = {
    "as",  "break", "const",   "continue", "else", "for",  "if",    "function", "import",
    "let", "loop",  "package", "return",   "var",  "void", "while", "namespace"};

bool letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool digit(char c) { return c >= '0' && c <= '9'; }
bool hex_digit(char c) { return digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

void append_utf8(std::string& out, std::uint32_t c) {
  auto put = [&](std::uint32_t byte) { out += static_cast<char>(byte); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 | (c >> 6));
    put(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    put(0xE0 | (c >> 12));
    put(0x80 | ((c >> 6) & 0x3F));
    put(0x80 | (c & 0x3F));
  } else {
    put(0xF0 | (c >> 18));
    put(0x80 | ((c >> 12) & 0x3F));
    put(0x80 | ((c >> 6) & 0x3F));
    put(0x80 | (c & 0x3F));
  }
}

NodePtr make(Kind kind) {
  auto n = std::make_unique<Expression::Node>();
  n->kind = kind;
  return n;
}

void add_once(std::vector<std::string>& names, std::string_view name) {
  if (std::ranges::find(names, name) == names.end()) names.emplace_back(name);
}

class CelParser {
 public:
  explicit CelParser(std::string_view text) : text_(text) {}

  Result<NodePtr> run() {
    MR_TRY(auto root, expression());
    skip();
    if (at_ < text_.size()) return expected("an operator or the end");
    root->roots = std::move(roots_);
    return root;
  }
  std::vector<std::string>& names() { return names_; }

 private:
  // --- texts ---
  void skip() {
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f')
        ++at_;
      else if (text_.substr(at_).starts_with("//"))
        at_ = std::min(text_.find('\n', at_), text_.size());
      else
        return;
    }
  }
  bool accept(std::string_view symbol) {
    skip();
    if (!text_.substr(at_).starts_with(symbol)) return false;
    at_ += symbol.size();
    return true;
  }
  // A word, when the next thing is one; it is not consumed.
  std::string_view peek_word() {
    skip();
    auto end = at_;
    while (end < text_.size() && (letter(text_[end]) || (end > at_ && digit(text_[end])))) ++end;
    return text_.substr(at_, end - at_);
  }
  [[nodiscard]] char next() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  [[nodiscard]] char after() const { return at_ + 1 < text_.size() ? text_[at_ + 1] : '\0'; }

  [[nodiscard]] std::unexpected<Error> refuse(std::size_t at, std::string_view why) const {
    return fail(Code::invalid_argument, fmt::format("Syntax error at position {}: {}", at + 1, why));
  }
  std::unexpected<Error> expected(std::string_view what) {
    skip();
    if (at_ >= text_.size()) return refuse(at_, fmt::format("expected {}, found the end", what));
    auto word = peek_word();
    std::size_t length = word.empty() ? 1 : std::min<std::size_t>(word.size(), 32);
    while (word.empty() && at_ + length < text_.size() &&
           (static_cast<unsigned char>(text_[at_ + length]) & 0xC0) == 0x80)
      ++length;
    return refuse(at_, fmt::format("expected {}, found '{}'", what, text_.substr(at_, length)));
  }

  // --- operators, the weakest first ---
  Result<NodePtr> expression() {
    if (++depth_ > kDeepest) return refuse(at_, fmt::format("nested more than {} levels deep", kDeepest));
    auto out = choice();
    --depth_;
    return out;
  }
  Result<NodePtr> choice() {
    MR_TRY(auto condition, either());
    if (!accept("?")) return condition;
    auto n = make(Kind::choose);
    n->children.push_back(std::move(condition));
    MR_TRY(auto yes, either());
    n->children.push_back(std::move(yes));
    if (!accept(":")) return expected("':'");
    MR_TRY(auto no, expression());
    n->children.push_back(std::move(no));
    return n;
  }
  template <class Operand>
  Result<NodePtr> logic(std::string_view symbol, Kind kind, Operand operand) {
    MR_TRY(auto first, operand());
    if (!accept(symbol)) return first;
    auto n = make(kind);
    n->children.push_back(std::move(first));
    do {
      MR_TRY(auto next, operand());
      n->children.push_back(std::move(next));
    } while (accept(symbol));
    return n;
  }
  Result<NodePtr> either() {
    return logic("||", Kind::any, [&] { return both(); });
  }
  Result<NodePtr> both() {
    return logic("&&", Kind::all, [&] { return relation(); });
  }

  template <class Next, class Operand>
  Result<NodePtr> operators(Next next_operator, Operand operand) {
    MR_TRY(auto first, operand());
    auto op = next_operator();
    if (!op) return first;
    auto n = make(Kind::chain);
    n->children.push_back(std::move(first));
    for (; op; op = next_operator()) {
      n->operators.push_back(*op);
      MR_TRY(auto next, operand());
      n->children.push_back(std::move(next));
    }
    return n;
  }
  Result<NodePtr> relation() {
    return operators(
        [&]() -> std::optional<Operator> {
          if (accept("==")) return Operator::equal;
          if (accept("!=")) return Operator::unequal;
          if (accept("<=")) return Operator::at_most;
          if (accept(">=")) return Operator::at_least;
          if (accept("<")) return Operator::less;
          if (accept(">")) return Operator::greater;
          if (peek_word() == "in") {
            at_ += 2;
            return Operator::in;
          }
          return std::nullopt;
        },
        [&] { return sum(); });
  }
  Result<NodePtr> sum() {
    return operators(
        [&]() -> std::optional<Operator> {
          if (accept("+")) return Operator::add;
          if (accept("-")) return Operator::subtract;
          return std::nullopt;
        },
        [&] { return product(); });
  }
  Result<NodePtr> product() {
    return operators(
        [&]() -> std::optional<Operator> {
          if (accept("*")) return Operator::multiply;
          if (accept("/")) return Operator::divide;
          if (accept("%")) return Operator::remainder;
          return std::nullopt;
        },
        [&] { return unary(); });
  }
  Result<NodePtr> unary() {
    skip();
    std::size_t inversions = 0;
    std::size_t negations = 0;
    while (accept("!")) ++inversions;
    if (inversions == 0)
      for (skip(); next() == '-' && !digit(after()) && after() != '.'; skip(), ++negations) ++at_;
    MR_TRY(auto n, member());
    // Two of a kind may not cancel out: they still say what type the operand must have.
    if (inversions > 2) inversions = 2 - inversions % 2;
    if (negations > 2) negations = 2 - negations % 2;
    for (std::size_t i = 0; i < inversions + negations; ++i) {
      auto outer = make(inversions > 0 ? Kind::invert : Kind::negate);
      outer->children.push_back(std::move(n));
      n = std::move(outer);
    }
    return n;
  }

  // --- operands ---
  Result<NodePtr> member() {
    MR_TRY(auto base, primary());
    auto n = make(Kind::path);
    for (;;) {
      if (accept(".")) {
        MR_TRY(auto step, selection());
        n->steps.push_back(std::move(step));
      } else if (accept("[")) {
        Step step{.kind = Step::Kind::index, .field = {}, .method = {}, .arguments = {}};
        MR_TRY(auto index, expression());
        if (index->kind == Kind::string) step.field = index->text;
        step.arguments.push_back(std::move(index));
        if (!accept("]")) return expected("']'");
        n->steps.push_back(std::move(step));
      } else {
        break;
      }
    }
    if (n->steps.empty()) return base;
    note_input(*base, n->steps);
    n->children.push_back(std::move(base));
    return n;
  }
  Result<Step> selection() {
    auto word = peek_word();
    if (word.empty()) return expected("the name of a field");
    const auto start = at_;
    at_ += word.size();
    Step step{.kind = Step::Kind::field, .field = std::string(word), .method = {}, .arguments = {}};
    if (!accept("(")) return step;
    if (std::ranges::find(kMacros, word) != kMacros.end())
      return refuse(start, fmt::format("the macro '{}' is not supported", word));
    step.kind = Step::Kind::method;
    MR_TRY(step.arguments, list_until(")"));
    const auto* s = signature(word, true);
    if (s == nullptr) return unknown(start, word);
    if (step.arguments.size() != s->arguments) return miscounted(start, word, s->arguments, step.arguments.size());
    step.method = s->function;
    return step;
  }

  Result<NodePtr> primary() {
    skip();
    const char c = next();
    if (c == '(') {
      ++at_;
      MR_TRY(auto n, expression());
      if (!accept(")")) return expected("')'");
      return n;
    }
    if (c == '[') {
      ++at_;
      auto n = make(Kind::list);
      MR_TRY(n->children, list_until("]"));
      return n;
    }
    if (c == '{') {
      ++at_;
      return map();
    }
    if (digit(c) || c == '-' || (c == '.' && digit(after()))) return number();
    if (c == '"' || c == '\'') return string(false);
    if (c == '.') {  // a name from the outermost scope: there is no other
      ++at_;
      if (peek_word().empty()) return expected("a name");
    }
    auto word = peek_word();
    if (word.empty()) return expected("an operand");
    if (at_ + word.size() < text_.size() && (text_[at_ + word.size()] == '"' || text_[at_ + word.size()] == '\'')) {
      if (word == "r" || word == "R") {
        ++at_;
        return string(true);
      }
      if (word == "b" || word == "B" || word == "br" || word == "rb")
        return refuse(at_, "literals of bytes are not supported");
    }
    return name(word);
  }

  Result<NodePtr> name(std::string_view word) {
    const auto start = at_;
    if (word == "in") return expected("an operand");
    if (std::ranges::find(kReserved, word) != kReserved.end())
      return refuse(start, fmt::format("reserved identifier: {}", word));
    at_ += word.size();
    if (word == "true" || word == "false") {
      auto n = make(Kind::boolean);
      n->boolean = word == "true";
      return n;
    }
    if (word == "null") return make(Kind::null);
    if (!accept("(")) {
      auto n = make(Kind::name);
      n->text = word;
      add_once(roots_, word);
      return n;
    }
    MR_TRY(auto arguments, list_until(")"));
    if (word == "has") {
      if (arguments.size() != 1 || arguments[0]->kind != Kind::path ||
          arguments[0]->steps.back().kind != Step::Kind::field)
        return refuse(start, "invalid argument to has() macro");
      auto n = make(Kind::has);
      n->children = std::move(arguments);
      return n;
    }
    const auto* s = signature(word, false);
    if (s == nullptr) return unknown(start, word);
    if (arguments.size() != s->arguments + 1) return miscounted(start, word, s->arguments + 1, arguments.size());
    auto n = make(Kind::call);
    n->function = s->function;
    n->children = std::move(arguments);
    return n;
  }

  // Expressions with commas between them; a comma may stand before the end of a list, as the language has it.
  Result<std::vector<NodePtr>> list_until(std::string_view end) {
    std::vector<NodePtr> out;
    if (accept(end)) return out;
    for (;;) {
      MR_TRY(auto e, expression());
      out.push_back(std::move(e));
      if (accept(end)) return out;
      if (!accept(",")) return expected(fmt::format("',' or '{}'", end));
      if (end == "]" && accept(end)) return out;
    }
  }
  Result<NodePtr> map() {
    auto n = make(Kind::map);
    if (accept("}")) return n;
    for (;;) {
      MR_TRY(auto key, expression());
      n->children.push_back(std::move(key));
      if (!accept(":")) return expected("':'");
      MR_TRY(auto value, expression());
      n->children.push_back(std::move(value));
      if (accept("}")) return n;
      if (!accept(",")) return expected("',' or '}'");
      if (accept("}")) return n;
    }
  }

  // --- literals ---
  Result<NodePtr> number() {
    const auto start = at_;
    if (next() == '-') ++at_;
    if (next() == '0' && (after() == 'x' || after() == 'X')) {
      at_ += 2;
      const auto digits = at_;
      while (at_ < text_.size() && hex_digit(text_[at_])) ++at_;
      return integer(start, text_.substr(digits, at_ - digits), 16);
    }
    bool whole = true;
    const auto digits = at_;
    auto run = [&] {
      const auto from = at_;
      while (digit(next())) ++at_;
      return at_ > from;
    };
    const bool leading = run();
    if (next() == '.' && digit(after())) {
      ++at_;
      run();
      whole = false;
    } else if (!leading) {
      return refuse(start, "expected digits");
    }
    if (next() == 'e' || next() == 'E') {
      ++at_;
      if (next() == '+' || next() == '-') ++at_;
      if (!run()) return refuse(start, "a number without digits in its exponent");
      whole = false;
    }
    if (whole) return integer(start, text_.substr(digits, at_ - digits), 10);
    if (letter(next())) return refuse(start, "a number and a name run together");
    auto n = make(Kind::number);
    std::string s(text_.substr(start, at_ - start));
    if (s.starts_with('.')) s.insert(0, 1, '0');
    if (s.starts_with("-.")) s.insert(1, 1, '0');
    auto [end, ec] = std::from_chars(s.data(), s.data() + s.size(), n->number);
    if (ec != std::errc{}) return refuse(start, "invalid double literal");
    return n;
  }
  Result<NodePtr> integer(std::size_t start, std::string_view digits, int base) {
    const bool negative = text_[start] == '-';
    const bool is_unsigned = next() == 'u' || next() == 'U';
    if (is_unsigned) ++at_;
    if (digits.empty() || letter(next()) || digit(next())) return refuse(start, "invalid number");
    std::uint64_t value = 0;
    auto [end, ec] = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
    const std::uint64_t most = is_unsigned ? UINT64_MAX : static_cast<std::uint64_t>(INT64_MAX) + (negative ? 1 : 0);
    if (ec != std::errc{} || value > most || (is_unsigned && negative))
      return refuse(start, is_unsigned ? "invalid uint literal" : "invalid int literal");
    auto n = make(is_unsigned ? Kind::uinteger : Kind::integer);
    n->uinteger = value;
    n->integer = static_cast<std::int64_t>(negative ? 0 - value : value);
    return n;
  }

  Result<NodePtr> string(bool raw) {
    const auto start = at_;
    const char quote = next();
    std::string_view end = text_.substr(at_, 1);
    if (text_.substr(at_).starts_with(quote == '"' ? R"(""")" : "'''")) end = text_.substr(at_, 3);
    at_ += end.size();
    auto n = make(Kind::string);
    for (;;) {
      if (at_ >= text_.size()) return refuse(start, "a text without its closing quote");
      if (text_.substr(at_).starts_with(end)) break;
      const char c = text_[at_];
      if (end.size() == 1 && (c == '\n' || c == '\r')) return refuse(start, "a text without its closing quote");
      ++at_;
      if (c != '\\' || raw) {
        n->text += c;
        continue;
      }
      MR_CHECK(escape(n->text));
    }
    at_ += end.size();
    return n;
  }
  Result<> escape(std::string& out) {
    const auto start = at_ - 1;
    const char c = next();
    ++at_;
    static constexpr std::string_view kPlain = "abfnrtv\\'\"`?";
    static constexpr std::string_view kMeans = "\a\b\f\n\r\t\v\\'\"`?";
    if (auto i = kPlain.find(c); c != '\0' && i != std::string_view::npos) {
      out += kMeans[i];
      return {};
    }
    std::size_t count = 0;
    int base = 16;
    if (c == 'x' || c == 'X')
      count = 2;
    else if (c == 'u')
      count = 4;
    else if (c == 'U')
      count = 8;
    else if (c >= '0' && c <= '3') {
      count = 3;
      base = 8;
      --at_;
    }
    const auto digits = text_.substr(std::min(at_, text_.size()), count);
    std::uint32_t code = 0;
    auto [end, ec] = std::from_chars(digits.data(), digits.data() + digits.size(), code, base);
    if (count == 0 || digits.size() < count || ec != std::errc{} || end != digits.data() + count || code > 0x10FFFF ||
        (code >= 0xD800 && code < 0xE000))
      return refuse(start, "invalid escape in a text");
    at_ += count;
    append_utf8(out, code);
    return {};
  }

  // --- names ---
  static const Signature* signature(std::string_view word, bool method) {
    for (const auto& s : kSignatures)
      if (s.name == word && (method ? s.method : s.global)) return &s;
    return nullptr;
  }
  [[nodiscard]] std::unexpected<Error> unknown(std::size_t at, std::string_view word) const {
    if (std::ranges::find(kUnsupported, word) != kUnsupported.end() ||
        std::ranges::find(kMacros, word) != kMacros.end())
      return refuse(at, fmt::format("the function '{}' is not supported", word));
    return refuse(at, fmt::format("undeclared reference to '{}' (in container '')", word));
  }
  [[nodiscard]] std::unexpected<Error> miscounted(std::size_t at, std::string_view word, std::size_t want,
                                                  std::size_t got) const {
    return refuse(at, fmt::format("found no matching overload for '{}': it takes {} argument{}, not {}", word, want,
                                  want == 1 ? "" : "s", got));
  }
  void note_input(const Expression::Node& base, const std::vector<Step>& steps) {
    if (base.kind != Kind::name || base.text != "inputs" || steps.size() < 2) return;
    const auto& group = steps[0].field;
    if (group != "parameter_values" && group != "parameters" && group != "artifacts") return;
    if (steps[1].kind == Step::Kind::field ||
        (steps[1].kind == Step::Kind::index && steps[1].arguments[0]->kind == Kind::string))
      add_once(names_, steps[1].field);
  }

  std::string_view text_;
  std::size_t at_ = 0;
  int depth_ = 0;
  std::vector<std::string> roots_, names_;
};

}  // namespace

}  // namespace cel

Result<Expression> Expression::parse(std::string_view text) {
  if (text.size() > cel::kLongestText)
    return fail(Code::invalid_argument,
                fmt::format("an expression of {} bytes; at most {} are read", text.size(), cel::kLongestText));
  cel::CelParser parser(text);
  auto root = parser.run();
  if (!root) return std::unexpected(std::move(root).error());
  Expression e;
  e.root_ = std::move(*root);
  e.text_ = text;
  e.names_ = std::move(parser.names());
  return e;
}

const std::vector<std::string>& Expression::input_names() const { return names_; }
const std::string& Expression::text() const { return text_; }

}  // namespace mr::pipelines
