// Tables of characters for engines/unicode.cpp, made by scripts/unicode_tables.py.
#pragma once
#include <array>
#include <cstdint>
#include <string_view>

namespace mr::serving::unicode {

struct Range {
  std::uint32_t first, last;
};
struct LowerGroup {
  std::uint32_t first, last, step;
  std::int32_t distance;
};
extern const std::array<Range, 734> word_ranges;
extern const std::array<Range, 149> cased_ranges;
extern const std::array<Range, 427> ignorable_ranges;
extern const std::array<LowerGroup, 181> lower_groups;
// "41=61;1f=...": how far a character is from the one before, and what it is without marks, in hexadecimal.
extern const std::string_view folds;

}  // namespace mr::serving::unicode
