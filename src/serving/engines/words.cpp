#include "serving/engines/words.h"

#include <re2/re2.h>

#include "serving/engines/transform.h"
#include "serving/engines/unicode.h"
#include "text/text.h"

namespace mr::serving {

namespace {

// The English stop words that scikit-learn takes out, from the list of the Glasgow Information Retrieval Group.
constexpr std::string_view kEnglish =
    "a about above across after afterwards again against all almost alone along already also although always am "
    "among amongst amoungst amount an and another any anyhow anyone anything anyway anywhere are around as at "
    "back be became because become becomes becoming been before beforehand behind being below beside besides "
    "between beyond bill both bottom but by call can cannot cant co con could couldnt cry de describe detail do "
    "done down due during each eg eight either eleven else elsewhere empty enough etc even ever every everyone "
    "everything everywhere except few fifteen fifty fill find fire first five for former formerly forty found "
    "four from front full further get give go had has hasnt have he hence her here hereafter hereby herein "
    "hereupon hers herself him himself his how however hundred i ie if in inc indeed interest into is it its "
    "itself keep last latter latterly least less ltd made many may me meanwhile might mill mine more moreover "
    "most mostly move much must my myself name namely neither never nevertheless next nine no nobody none noone "
    "nor not nothing now nowhere of off often on once one only onto or other others otherwise our ours ourselves "
    "out over own part per perhaps please put rather re same see seem seemed seeming seems serious several she "
    "should show side since sincere six sixty so some somehow someone something sometime sometimes somewhere "
    "still such system take ten than that the their them themselves then thence there thereafter thereby "
    "therefore therein thereupon these they thick thin third this those though three through throughout thru thus "
    "to together too top toward towards twelve twenty two un under until up upon us very via was we well were "
    "what whatever when whence whenever where whereafter whereas whereby wherein whereupon wherever whether which "
    "while whither who whoever whole whom whose why will with within without would yet you your yours yourself "
    "yourselves";
constexpr std::string_view kSpaces =
    R"(\t-\r\x1c-\x20\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";

// A pattern of Python's re in RE2's words: \w, \d and \s mean all of Unicode there. Nullopt: it cannot be said.
std::optional<std::string> translated(std::string_view p) {
  std::string out;
  bool in_class = false;
  for (std::size_t i = 0; i < p.size(); ++i) {
    const char c = p[i];
    if (!in_class && c == '[') {
      // Word characters without some of them.
      for (auto [python, re2] : {std::pair<std::string_view, std::string_view>{R"([^\W\d_])", R"([\pL\p{Nl}\p{No}])"},
                                 {R"([^\W_\d])", R"([\pL\p{Nl}\p{No}])"},
                                 {R"([^\W_])", R"([\pL\pN])"},
                                 {R"([^\W\d])", R"([\pL\p{Nl}\p{No}_])"}})
        if (p.substr(i).starts_with(python)) {
          out += re2;
          i += python.size() - 1;
          in_class = true;  // only to say that it is done
          break;
        }
      if (in_class) {
        in_class = false;
        continue;
      }
      in_class = true;
      out += c;
      if (i + 1 < p.size() && p[i + 1] == '^') out += p[++i];
      if (i + 1 < p.size() && p[i + 1] == ']') {
        out += "\\]";
        ++i;
      }
      continue;
    }
    if (in_class && c == ']') in_class = false;
    if (in_class && c == '[') return std::nullopt;
    if (!in_class && c == '$') return std::nullopt;
    if (c != '\\') {
      out += c;
      continue;
    }
    if (++i >= p.size()) return std::nullopt;
    switch (p[i]) {
      case 'w':
        out += in_class ? R"(\pL\pN_)" : R"([\pL\pN_])";
        break;
      case 'd':
        out += R"(\p{Nd})";
        break;
      case 's':
        out += in_class ? std::string(kSpaces) : fmt::format("[{}]", kSpaces);
        break;
      case 'W':
      case 'S':
        if (in_class) return std::nullopt;
        out += p[i] == 'W' ? R"([^\pL\pN_])" : fmt::format("[^{}]", kSpaces);
        break;
      case 'D':
        out += R"(\P{Nd})";
        break;
      default:
        // What RE2 has besides and Python has not, or not in this sense.
        if (std::isalnum(static_cast<unsigned char>(p[i])) != 0 &&
            std::string_view("ntrfv").find(p[i]) == std::string_view::npos)
          return std::nullopt;
        out += '\\';
        out += p[i];
    }
  }
  return in_class ? std::nullopt : std::optional(out);
}

// Whether a pattern can match nothing but word characters, each of its parts being one of them, repeated or not.
bool only_word_characters(std::string_view p) {
  if (p.empty()) return false;
  for (std::size_t i = 0; i < p.size(); ++i) {
    const auto c = static_cast<unsigned char>(p[i]);
    if (c == '\\') {
      if (++i >= p.size() || (p[i] != 'w' && p[i] != 'd')) return false;
    } else if (c == '[') {
      auto end = p.find(']', i + 1);
      if (end == std::string_view::npos) return false;
      auto inside = p.substr(i + 1, end - i - 1);
      if (!inside.starts_with("^\\W")) {
        for (std::size_t k = 0; k < inside.size(); ++k) {
          if (inside[k] == '\\' && k + 1 < inside.size() && (inside[k + 1] == 'w' || inside[k + 1] == 'd')) {
            ++k;
            continue;
          }
          // A range between letters, or between digits, holds nothing else only within one kind.
          if (inside[k] == '-' && k > 0 && k + 1 < inside.size()) {
            auto kind = [](char x) {
              return std::islower(static_cast<unsigned char>(x)) != 0   ? 1
                     : std::isupper(static_cast<unsigned char>(x)) != 0 ? 2
                     : std::isdigit(static_cast<unsigned char>(x)) != 0 ? 3
                                                                        : 0;
            };
            if (kind(inside[k - 1]) == 0 || kind(inside[k - 1]) != kind(inside[k + 1])) return false;
            continue;
          }
          if (std::isalnum(static_cast<unsigned char>(inside[k])) == 0 && inside[k] != '_') return false;
        }
      }
      i = end;
    } else if (c == '{') {
      auto end = p.find('}', i);
      if (end == std::string_view::npos) return false;
      i = end;
    } else if (c == '+' || c == '*' || c == '?') {
      continue;
    } else if (std::isalnum(c) == 0 && c != '_') {
      return false;
    }
  }
  return true;
}

}  // namespace

Analyzer::Analyzer() = default;
Analyzer::Analyzer(Analyzer&&) noexcept = default;
Analyzer& Analyzer::operator=(Analyzer&&) noexcept = default;
Analyzer::~Analyzer() = default;

Result<> Analyzer::read_pattern(const std::string& given) {
  auto refuse = [&] {
    return fail(Code::unimplemented, fmt::format("the token_pattern '{}' is not read natively", printable(given)));
  };
  std::string_view p = given;
  if (p.starts_with("(?u)")) p.remove_prefix(4);
  if (p == R"(\b\w\w+\b)" || p == R"(\w\w+)") return {};
  if (p == R"(\b\w+\b)" || p == R"(\w+)") {
    shortest_ = 1;
    return {};
  }
  if (p.size() > 1000) return refuse();
  if (p.starts_with("\\b") && p.ends_with("\\b") && p.size() > 4) {
    p = p.substr(2, p.size() - 4);
    if (!only_word_characters(p)) return refuse();
    whole_runs_ = true;
  }
  auto text = translated(p);
  if (!text) return refuse();
  re2::RE2::Options options;
  options.set_log_errors(false);
  options.set_max_mem(4 << 20);
  pattern_ = std::make_unique<re2::RE2>(*text, options);
  if (!pattern_->ok() || pattern_->NumberOfCapturingGroups() > 1) return refuse();
  // Empty tokens come between others; nobody means them.
  if (re2::RE2::FullMatch("", *pattern_)) return refuse();
  return {};
}

Result<Analyzer> Analyzer::read(const Build& b, NodeId id) {
  Analyzer a;
  for (const auto* custom : {"preprocessor", "tokenizer"})
    if (!b.tree.is_none(b.tree.get(id, custom)))
      return fail(Code::unimplemented,
                  fmt::format("{}: a {} of one's own is not read natively", b.short_class(id), custom));
  if (b.text_or(id, "input", "content") != "content") return b.bad(id, "it reads files, which is not done here");
  auto analyzer = b.text_or(id, "analyzer", "");
  if (analyzer == "word")
    a.kind_ = Kind::word;
  else if (analyzer == "char")
    a.kind_ = Kind::character;
  else if (analyzer == "char_wb")
    a.kind_ = Kind::char_wb;
  else
    return fail(Code::unimplemented, fmt::format("{}: its analyzer is not read natively", b.short_class(id)));
  a.lowercase_ = b.flag_or(id, "lowercase", true);
  if (auto at = b.tree.get(id, "strip_accents"); !b.tree.is_none(at)) {
    auto accents = b.tree.text_of(at);
    if (accents != "ascii" && accents != "unicode")
      return fail(Code::unimplemented, fmt::format("{}: its strip_accents is not read natively", b.short_class(id)));
    a.accents_ = accents == "ascii" ? Accents::ascii : Accents::unicode;
  }
  if (auto at = b.tree.get(id, "ngram_range"); !b.tree.is_none(at)) {
    MR_TRY(auto range, numbers_at(b.tree, at));
    if (range.size() != 2 || !(range[0] >= 1 && range[0] <= range[1] && range[1] <= 1000))
      return b.bad(id, "ngram_range is out of range");
    a.low_ = static_cast<std::size_t>(range[0]);
    a.high_ = static_cast<std::size_t>(range[1]);
  }
  if (a.kind_ != Kind::word) return a;
  auto pattern = b.tree.get(id, "token_pattern");
  if (b.tree.is_none(pattern)) return b.bad(id, "it has no token_pattern");
  MR_CHECK(a.read_pattern(b.tree.text_of(pattern)));
  if (auto at = b.tree.get(id, "stop_words"); !b.tree.is_none(at)) {
    if (b.tree.at(at).kind == NodeKind::text) {
      if (b.tree.at(at).text != "english") return b.bad(id, "its stop_words are not known");
      for (auto word : text::split(kEnglish, ' ')) a.stop_words_.emplace(word);
    } else if (auto words = b.tree.array_of(at); words && !words->texts.empty()) {
      for (const auto& word : words->texts) a.stop_words_.insert(word);
    } else {
      auto cells = b.tree.cells(at);
      if (!cells) return b.bad(id, "its stop_words are not a list");
      for (auto c : *cells) a.stop_words_.insert(b.tree.text_of(c));
    }
  }
  return a;
}

void Analyzer::prepare(std::string_view text, Scratch& s) const {
  if (lowercase_) {
    s.lowered.clear();
    unicode::lower(text, s.lowered);
    text = s.lowered;
  }
  if (accents_ != Accents::keep) {
    s.folded.clear();
    unicode::fold(text, accents_ == Accents::ascii, s.folded);
    text = s.folded;
  }
  s.joined.clear();
  s.pieces.clear();
  if (kind_ != Kind::word) return characters(text, s);
  if (pattern_ && !whole_runs_) return pattern_words(text, s);
  words(text, s);
}

void Analyzer::add_word(std::string_view word, Scratch& s) const {
  if (!stop_words_.empty() && stop_words_.contains(word)) return;
  if (!s.joined.empty() || !s.pieces.empty()) s.joined += ' ';
  const auto from = s.joined.size();
  s.joined += word;
  s.pieces.emplace_back(from, s.joined.size());
}

void Analyzer::words(std::string_view text, Scratch& s) const {
  std::size_t start = 0;
  std::size_t length = 0;  // of the run of word characters that ends here
  for (std::size_t i = 0;;) {
    const auto from = i;
    if (i < text.size() && unicode::is_word(unicode::decode(text, i))) {
      if (length++ == 0) start = from;
      continue;
    }
    if (length > 0) {
      auto run = text.substr(start, from - start);
      if (!pattern_ ? length >= shortest_ : re2::RE2::FullMatch(re2::StringPiece(run.data(), run.size()), *pattern_))
        add_word(run, s);
      length = 0;
    }
    if (from >= text.size()) return;
  }
}

void Analyzer::pattern_words(std::string_view text, Scratch& s) const {
  const re2::StringPiece whole(text.data(), text.size());
  std::array<re2::StringPiece, 2> found;
  const int groups = pattern_->NumberOfCapturingGroups() + 1;
  for (std::size_t at = 0; at < text.size();) {
    if (!pattern_->Match(whole, at, text.size(), re2::RE2::UNANCHORED, found.data(), groups)) return;
    const auto& token = found[static_cast<std::size_t>(groups - 1)];
    // A group that took no part is an empty token.
    add_word(token.data() == nullptr ? std::string_view() : std::string_view(token.data(), token.size()), s);
    const auto end = static_cast<std::size_t>(found[0].data() - text.data()) + found[0].size();
    if (end > at)
      at = end;
    else
      (void)unicode::decode(text, at);
  }
}

void Analyzer::characters(std::string_view text, Scratch& s) const {
  auto add = [&](std::string_view one) {
    const auto from = s.joined.size();
    s.joined += one;
    s.pieces.emplace_back(from, s.joined.size());
  };
  bool in_word = false;
  std::size_t blanks = 0;
  std::string_view blank;
  auto leave_word = [&] {
    if (!in_word) return;
    add(" ");
    s.pieces.emplace_back(s.joined.size(), s.joined.size());
    in_word = false;
  };
  for (std::size_t i = 0; i < text.size();) {
    const auto from = i;
    const bool space = unicode::is_space(unicode::decode(text, i));
    const auto one = text.substr(from, i - from);
    if (kind_ == Kind::char_wb) {
      if (space) {
        leave_word();
        continue;
      }
      if (!in_word) add(" ");
      in_word = true;
      add(one);
      continue;
    }
    // Two blanks and more become one space; a lone one stays what it is.
    if (space) {
      ++blanks;
      blank = one;
      continue;
    }
    if (blanks > 0) add(blanks == 1 ? blank : " ");
    blanks = 0;
    add(one);
  }
  if (kind_ == Kind::char_wb)
    leave_word();
  else if (blanks > 0)
    add(blanks == 1 ? blank : " ");
}

}  // namespace mr::serving
