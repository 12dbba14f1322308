#include "serving/engines/unicode.h"

#include "serving/engines/unicode_tables.h"

namespace mr::serving::unicode {

namespace {

template <class Table>
bool in_ranges(const Table& table, char32_t c) {
  auto it = std::ranges::lower_bound(table, static_cast<std::uint32_t>(c), {}, [](const auto& r) { return r.last; });
  return it != table.end() && it->first <= c;
}

char32_t lower_of(char32_t c) {
  if (c < 0x80) return c >= 'A' && c <= 'Z' ? c + 32 : c;
  auto it =
      std::ranges::lower_bound(lower_groups, static_cast<std::uint32_t>(c), {}, [](const auto& g) { return g.last; });
  if (it == lower_groups.end() || it->first > c || (c - it->first) % it->step != 0) return c;
  return static_cast<char32_t>(static_cast<std::int32_t>(c) + it->distance);
}

// Whether the first character that is not passed over is a letter with case.
bool cased_after(std::string_view text, std::size_t at) {
  while (at < text.size()) {
    auto c = decode(text, at);
    if (in_ranges(ignorable_ranges, c)) continue;
    return in_ranges(cased_ranges, c);
  }
  return false;
}

bool cased_before(std::string_view text, std::size_t end) {
  while (end > 0) {
    auto at = end - 1;
    while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80 && end - at < 4) --at;
    auto from = at;
    auto c = decode(text, from);
    end = at;
    if (in_ranges(ignorable_ranges, c)) continue;
    return in_ranges(cased_ranges, c);
  }
  return false;
}

using Folds = std::unordered_map<char32_t, std::string>;
const Folds& fold_table() {
  static const Folds table = [] {
    Folds out;
    char32_t at = 0;
    for (std::size_t i = 0; i < folds.size();) {
      auto number = [&] {
        std::uint32_t v = 0;
        auto [end, ec] = std::from_chars(folds.data() + i, folds.data() + folds.size(), v, 16);
        i = static_cast<std::size_t>(end - folds.data());
        return v;
      };
      at += number();
      std::string to;
      while (folds[i++] != ';')
        if (folds[i] != ';') encode(to, number());
      out.emplace(at, std::move(to));
    }
    return out;
  }();
  return table;
}

}  // namespace

char32_t decode(std::string_view text, std::size_t& at) {
  constexpr char32_t bad = 0xFFFD;
  const auto lead = static_cast<unsigned char>(text[at++]);
  if (lead < 0x80) return lead;
  std::size_t more = lead >= 0xF0 && lead < 0xF5   ? 3
                     : lead >= 0xE0 && lead < 0xF0 ? 2
                     : lead >= 0xC2 && lead < 0xE0 ? 1
                                                   : 0;
  if (more == 0 || text.size() - at < more) return bad;
  char32_t c = lead & (0x3FU >> more);
  for (std::size_t i = 0; i < more; ++i) {
    const auto b = static_cast<unsigned char>(text[at + i]);
    if ((b & 0xC0) != 0x80) return bad;
    c = c << 6U | (b & 0x3FU);
  }
  at += more;
  return c;
}

void encode(std::string& out, char32_t c) {
  auto byte = [&](char32_t b) { out += static_cast<char>(b); };
  if (c < 0x80) {
    byte(c);
  } else if (c < 0x800) {
    byte(0xC0 | c >> 6U);
    byte(0x80 | (c & 63U));
  } else if (c < 0x10000) {
    byte(0xE0 | c >> 12U);
    byte(0x80 | (c >> 6U & 63U));
    byte(0x80 | (c & 63U));
  } else {
    byte(0xF0 | (c >> 18U & 7U));
    byte(0x80 | (c >> 12U & 63U));
    byte(0x80 | (c >> 6U & 63U));
    byte(0x80 | (c & 63U));
  }
}

bool is_word(char32_t c) {
  if (c < 0x80) return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  return in_ranges(word_ranges, c);
}

bool is_space(char32_t c) {
  if (c <= 0x20) return c == 0x20 || (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x1F);
  return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
         c == 0x202F || c == 0x205F || c == 0x3000;
}

void lower(std::string_view text, std::string& out) {
  for (std::size_t i = 0; i < text.size();) {
    const auto b = static_cast<unsigned char>(text[i]);
    if (b < 0x80) {
      out += static_cast<char>(b >= 'A' && b <= 'Z' ? b + 32 : b);
      ++i;
      continue;
    }
    const auto from = i;
    auto c = decode(text, i);
    if (c == 0x130) {  // the one letter that becomes two
      out += "i\xCC\x87";
    } else if (c == 0x3A3) {  // sigma has a form of its own at the end of a word
      encode(out, cased_before(text, from) && !cased_after(text, i) ? 0x3C2 : 0x3C3);
    } else {
      encode(out, lower_of(c));
    }
  }
}

void fold(std::string_view text, bool ascii, std::string& out) {
  for (std::size_t i = 0; i < text.size();) {
    if (static_cast<unsigned char>(text[i]) < 0x80) {
      out += text[i++];
      continue;
    }
    auto c = decode(text, i);
    std::string one;
    if (c >= 0xAC00 && c < 0xD7A4) {
      const auto syllable = c - 0xAC00;
      encode(one, 0x1100 + syllable / 588);
      encode(one, 0x1161 + syllable % 588 / 28);
      if (syllable % 28 != 0) encode(one, 0x11A7 + syllable % 28);
    } else if (auto it = fold_table().find(c); it != fold_table().end()) {
      one = it->second;
    } else {
      encode(one, c);
    }
    if (!ascii) {
      out += one;
      continue;
    }
    for (char b : one)
      if (static_cast<unsigned char>(b) < 0x80) out += b;
  }
}

}  // namespace mr::serving::unicode
