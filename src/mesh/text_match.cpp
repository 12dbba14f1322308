#include "mesh/text_match.h"

#include <re2/re2.h>

#include "text/text.h"

namespace mr::mesh {

namespace {
constexpr std::size_t kMaxPattern = 1024;
// For the program and its automata; beyond it RE2 falls back to slower ways or refuses to compile.
constexpr std::int64_t kMaxMemory = 512 * 1024;

RE2::Options options() {
  RE2::Options o;
  o.set_log_errors(false);
  o.set_max_mem(kMaxMemory);
  o.set_encoding(RE2::Options::EncodingLatin1);  // paths and headers are bytes
  o.set_dot_nl(true);
  return o;
}
}  // namespace

class Pattern {
 public:
  explicit Pattern(std::string_view text) : re({text.data(), text.size()}, options()) {}
  RE2 re;
};

Result<std::shared_ptr<const Pattern>> compile_pattern(std::string_view text) {
  if (text.size() > kMaxPattern)
    return fail(Code::invalid_argument, fmt::format("regex is longer than {} bytes", kMaxPattern));
  auto p = std::make_shared<Pattern>(text);
  if (!p->re.ok()) return fail(Code::invalid_argument, fmt::format("regex \"{}\": {}", text, p->re.error()));
  return p;
}
bool full_match(const Pattern& p, std::string_view value) { return RE2::FullMatch({value.data(), value.size()}, p.re); }
std::string replace_all(const Pattern& p, std::string_view value, const std::string& substitution) {
  std::string s(value);
  RE2::GlobalReplace(&s, p.re, substitution);
  return s;
}
Result<void> check_substitution(const Pattern& p, const std::string& substitution) {
  std::string why;
  if (!p.re.CheckRewriteString(substitution, &why)) return fail(Code::invalid_argument, why);
  return {};
}

bool TextMatch::matches(std::string_view value) const {
  switch (kind) {
    case Kind::present:
      return true;
    case Kind::exact:
      return fold ? text::iequals(value, text) : value == text;
    case Kind::prefix: {
      if (value.size() < text.size()) return false;
      auto head = value.substr(0, text.size());
      return fold ? text::iequals(head, text) : head == text;
    }
    case Kind::regex:
      return full_match(*pattern, value);
  }
  return false;
}

}  // namespace mr::mesh
