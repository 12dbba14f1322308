// Time as types. Thread safe.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mr::time {

// Wall clock, milliseconds since 1970 UTC.
std::int64_t now_ms();
// Monotonic clock, nanoseconds; for durations.
std::int64_t mono_ns();
// "Wed, 25 Nov 2026 12:30:49 GMT"
std::string http_date(std::int64_t unix_seconds);
// "2026-11-25T12:30:49Z"
std::string rfc3339_s(std::int64_t unix_seconds);
// Parses the three HTTP date forms' preferred one; -1 when it is not one.
std::int64_t parse_http_date(const std::string& text);
// "2026-11-25T12:30:49.123Z"
std::string iso8601_ms(std::int64_t unix_ms);
// "20261125T123049Z" -> unix seconds, -1 when it is not one.
std::int64_t parse_amz_date(const std::string& text);

// RFC 3339 ("2026-11-25T12:30:49.5+01:00") -> nanoseconds since 1970, or nullopt.
std::optional<std::int64_t> parse_rfc3339_ns(std::string_view text);

}  // namespace mr::time
