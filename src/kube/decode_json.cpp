#include <algorithm>

#include "kube/decode.h"

namespace mr::kube::decode {

namespace {

std::string quoted(char c) {
  if (c == '\'') return R"('\'')";
  if (c == '\n') return R"('\n')";
  if (c == '\t') return R"('\t')";
  if (c == '\r') return R"('\r')";
  const auto u = static_cast<unsigned char>(c);
  if (u < 0x20 || u == 0x7f) return fmt::format("'\\x{:02x}'", u);
  if (u >= 0x80) return fmt::format("'\\u{:04x}'", u);
  return fmt::format("'{}'", c);
}

// A strict JSON scanner with a stack of its own: no recursion, so that no text can exhaust the thread's.
class Scanner {
 public:
  Scanner(std::string_view text, std::vector<std::string>& duplicates) : text_(text), duplicates_(duplicates) {}

  std::optional<std::string> run() {
    if (!value()) return fault_;
    while (!stack_.empty())
      if (!(stack_.back().array ? array_next() : object_next())) return fault_;
    space();
    if (at_ < text_.size()) bad("after top-level value");
    return fault_;
  }

 private:
  struct Open {
    bool array = false;
    bool first = true;
    std::size_t index = 0;
    std::vector<std::string_view> keys;  // raw, of an object
  };

  bool bad(std::string_view where) {
    fault_ = at_ >= text_.size() ? std::string("unexpected end of JSON input")
                                 : fmt::format("invalid character {} {}", quoted(text_[at_]), where);
    return false;
  }
  void space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t' || text_[at_] == '\r'))
      ++at_;
  }
  [[nodiscard]] char now() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  // Begins a value; a container is left open on the stack.
  bool value() {
    space();
    const char c = now();
    if (at_ < text_.size() && (c == '{' || c == '[')) {
      if (stack_.size() >= deepest) {
        fault_ = "exceeded max depth";
        return false;
      }
      ++at_;
      stack_.push_back({.array = c == '['});
      return true;
    }
    if (c == '"') return string();
    if (c == 't') return literal("true");
    if (c == 'f') return literal("false");
    if (c == 'n') return literal("null");
    if (c == '-' || (c >= '0' && c <= '9')) return number();
    return bad("looking for beginning of value");
  }

  bool array_next() {
    space();
    auto& top = stack_.back();
    if (now() == ']') {
      ++at_;
      stack_.pop_back();
      return true;
    }
    if (!top.first) {
      if (now() != ',') return bad("after array element");
      ++at_;
      space();
      if (now() == ']') return bad("looking for beginning of value");
      ++top.index;
    }
    top.first = false;
    return value();
  }

  bool object_next() {
    space();
    if (now() == '}') {
      ++at_;
      check_keys();
      stack_.pop_back();
      return true;
    }
    if (!stack_.back().first) {
      if (now() != ',') return bad("after object key:value pair");
      ++at_;
      space();
    }
    stack_.back().first = false;
    if (now() != '"') return bad("looking for beginning of object key string");
    const auto start = at_ + 1;
    if (!string()) return false;
    const auto key = text_.substr(start, at_ - 1 - start);
    note_key(key);
    space();
    if (now() != ':') return bad("after object key");
    ++at_;
    return value();
  }

  // A small object's keys are compared as they come, so that the faults are in the order of the text; a large one's
  // once, sorted, at its end.
  void note_key(std::string_view key) {
    auto& keys = stack_.back().keys;
    if (keys.size() < small && std::ranges::find(keys, key) != keys.end()) report(key);
    keys.push_back(key);
  }
  void check_keys() {
    auto& keys = stack_.back().keys;
    if (keys.size() <= small) return;
    std::vector<std::string_view> sorted(keys);
    std::ranges::sort(sorted);
    for (std::size_t i = 1; i < sorted.size(); ++i)
      if (sorted[i] == sorted[i - 1]) {
        keys.back() = sorted[i];
        report(sorted[i]);
      }
  }
  void report(std::string_view key) {
    if (duplicates_.size() >= most_faults) return;
    std::string path;
    for (std::size_t i = 0; i + 1 < stack_.size(); ++i) {
      const auto& s = stack_[i];
      if (s.array)
        path += fmt::format("[{}]", s.index);
      else
        path.append(path.empty() ? "" : ".").append(s.keys.empty() ? std::string_view{} : s.keys.back());
    }
    path.append(path.empty() ? "" : ".").append(key);
    auto fault = fmt::format("duplicate field \"{}\"", path);
    if (std::ranges::find(duplicates_, fault) == duplicates_.end()) duplicates_.push_back(std::move(fault));
  }

  bool string() {
    for (++at_; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      if (c == '"') {
        ++at_;
        return true;
      }
      if (static_cast<unsigned char>(c) < 0x20) return bad("in string literal");
      if (c != '\\') continue;
      ++at_;
      if (at_ >= text_.size()) break;
      if (text_[at_] == 'u') {
        for (int i = 0; i < 4; ++i) {
          ++at_;
          const char h = now();
          const bool hex = (h >= '0' && h <= '9') || (h >= 'a' && h <= 'f') || (h >= 'A' && h <= 'F');
          if (!hex) return bad("in \\u hexadecimal character escape");
        }
      } else if (std::string_view("\"\\/bfnrt").find(text_[at_]) == std::string_view::npos) {
        return bad("in string escape code");
      }
    }
    return bad({});
  }

  bool literal(std::string_view word) {
    for (std::size_t i = 1; i < word.size(); ++i) {
      ++at_;
      if (now() != word[i]) return bad(fmt::format("in literal {} (expecting '{}')", word, word[i]));
    }
    ++at_;
    return true;
  }

  bool digits() {
    if (now() < '0' || now() > '9') return bad("in numeric literal");
    while (now() >= '0' && now() <= '9') ++at_;
    return true;
  }
  bool number() {
    if (now() == '-') ++at_;
    if (now() == '0')
      ++at_;
    else if (!digits())
      return false;
    if (now() == '.') {
      ++at_;
      if (!digits()) return bad("after decimal point in numeric literal");
    }
    if (now() == 'e' || now() == 'E') {
      ++at_;
      if (now() == '+' || now() == '-') ++at_;
      if (!digits()) return bad("in exponent of numeric literal");
    }
    return true;
  }

  static constexpr std::size_t small = 64;
  std::string_view text_;
  std::vector<std::string>& duplicates_;
  std::vector<Open> stack_;
  std::optional<std::string> fault_;
  std::size_t at_ = 0;
};

}  // namespace

std::optional<std::string> scan_json(std::string_view text, std::vector<std::string>& duplicates) {
  return Scanner(text, duplicates).run();
}

}  // namespace mr::kube::decode
