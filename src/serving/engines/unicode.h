// Characters as Python's str and re see them, for text vectorisers. Texts are UTF-8; what is not, reads as U+FFFD.
// Pure functions.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace mr::serving::unicode {

// The character at `at`, which moves past it.
char32_t decode(std::string_view text, std::size_t& at);
void encode(std::string& out, char32_t c);
bool is_word(char32_t c);   // \w: letters, numbers, underscore
bool is_space(char32_t c);  // \s
// str.lower(), appended to `out`.
void lower(std::string_view text, std::string& out);
// Decomposed, without combining marks; `ascii`: and without all that is not ASCII then. Appended to `out`.
void fold(std::string_view text, bool ascii, std::string& out);

}  // namespace mr::serving::unicode
