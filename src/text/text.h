// Small text helpers. Pure functions, thread safe.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mr::text {

bool iequals(std::string_view a, std::string_view b);
bool icontains_token(std::string_view list, std::string_view token);  // comma separated, case-insensitive
std::string lower(std::string_view s);
std::string upper(std::string_view s);
std::string_view trim(std::string_view s);
std::vector<std::string_view> split(std::string_view s, char sep);
// Whole text as a number; nullopt for anything else (no spaces, no sign '+').
std::optional<std::int64_t> to_i64(std::string_view s);
std::optional<std::uint64_t> to_u64(std::string_view s);
std::optional<double> to_double(std::string_view s);
// Number of code points of valid or invalid UTF-8 (an invalid byte counts one).
std::size_t utf8_length(std::string_view s);
// The longest prefix with at most n code points.
std::string_view utf8_prefix(std::string_view s, std::size_t n);
bool utf8_valid(std::string_view s);
std::string hex(std::string_view bytes);
std::string base64_encode(std::string_view bytes);
std::optional<std::string> base64_decode(std::string_view text);  // strict, with padding
// XML text with the five entities escaped and control characters as references.
std::string xml_escape(std::string_view s);

}  // namespace mr::text
