#include "time/clock.h"

#include <fmt/format.h>

#include <chrono>
#include <ctime>

namespace mr::time {

std::int64_t now_ms() {
  using namespace std::chrono;
  return duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count();
}
std::int64_t mono_ns() {
  using namespace std::chrono;
  return duration_cast<nanoseconds>(steady_clock::now().time_since_epoch()).count();
}
std::string http_date(std::int64_t s) {
  std::time_t t = s;
  std::tm tm{};
  gmtime_r(&t, &tm);
  static const char* days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static const char* months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  return fmt::format("{}, {:02} {} {} {:02}:{:02}:{:02} GMT", days[tm.tm_wday], tm.tm_mday, months[tm.tm_mon],
                     tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
}
std::int64_t parse_http_date(const std::string& text) {
  std::tm tm{};
  const char* end = strptime(text.c_str(), "%a, %d %b %Y %H:%M:%S GMT", &tm);
  if (end == nullptr || *end != '\0') return -1;
  return timegm(&tm);
}
std::string rfc3339_s(std::int64_t unix_seconds) {
  auto text = iso8601_ms(unix_seconds * 1000);
  return text.substr(0, text.size() - 5) + "Z";
}

std::string iso8601_ms(std::int64_t ms) {
  std::time_t t = ms / 1000;
  std::tm tm{};
  gmtime_r(&t, &tm);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
                     tm.tm_hour, tm.tm_min, tm.tm_sec, ms % 1000);
}
std::int64_t parse_amz_date(const std::string& text) {
  if (text.size() != 16) return -1;
  std::tm tm{};
  const char* end = strptime(text.c_str(), "%Y%m%dT%H%M%SZ", &tm);
  if (end == nullptr || *end != '\0') return -1;
  return timegm(&tm);
}

std::optional<std::int64_t> parse_rfc3339_ns(std::string_view t) {
  // `n` digits from `at`, or -1.
  auto digits = [&](std::size_t at, std::size_t n) -> int {
    if (at + n > t.size()) return -1;
    int v = 0;
    for (char c : t.substr(at, n)) {
      if (c < '0' || c > '9') return -1;
      v = v * 10 + (c - '0');
    }
    return v;
  };
  const int y = digits(0, 4), mo = digits(5, 2), d = digits(8, 2), h = digits(11, 2), mi = digits(14, 2),
            s = digits(17, 2);
  if (t.size() < 20 || std::min({y, mo, d, h, mi, s}) < 0 || t[4] != '-' || t[7] != '-' ||
      (t[10] != 'T' && t[10] != 't') || t[13] != ':' || t[16] != ':')
    return std::nullopt;
  using namespace std::chrono;
  const year_month_day date{year(y), month(static_cast<unsigned>(mo)), day(static_cast<unsigned>(d))};
  if (!date.ok() || h > 23 || mi > 59 || s > 60) return std::nullopt;
  std::int64_t ns = 0;
  std::size_t at = 19;
  if (t[at] == '.') {
    std::int64_t unit = 100'000'000;
    for (++at; at < t.size() && t[at] >= '0' && t[at] <= '9'; ++at, unit /= 10) ns += (t[at] - '0') * unit;
    if (at == t.size()) return std::nullopt;
  }
  std::int64_t offset = 0;
  if (t[at] == '+' || t[at] == '-') {
    const int oh = digits(at + 1, 2), om = digits(at + 4, 2);
    if (oh < 0 || om < 0 || t.size() != at + 6 || t[at + 3] != ':') return std::nullopt;
    offset = (oh * 3600 + om * 60) * (t[at] == '+' ? 1 : -1);
  } else if ((t[at] != 'Z' && t[at] != 'z') || at + 1 != t.size()) {
    return std::nullopt;
  }
  // Nanoseconds reach from 1677 to 2262; what lies beyond is as far as can be said.
  constexpr std::int64_t kFarthest = 9'223'372'035;
  const std::int64_t seconds =
      sys_days(date).time_since_epoch().count() * std::int64_t{86400} + h * 3600 + mi * 60 + s - offset;
  return std::clamp(seconds, -kFarthest, kFarthest) * 1'000'000'000 + ns;
}

}  // namespace mr::time
