#include "pipelines/cron.h"

#include <bit>
#include <chrono>

#include "pipelines/cron_zone.h"
#include "text/text.h"

namespace mr::pipelines {

namespace {

namespace ch = std::chrono;

constexpr std::int64_t kDay = 86400;
constexpr int kYearsAhead = 8;  // as far apart as two leap days can be
// What is asked about: the years 1 to 9999.
constexpr std::int64_t kEarliest = -62135596800;
constexpr std::int64_t kLatest = 253402300799;

struct FieldBounds {
  int least, most;
  std::span<const std::string_view> names;  // of the values from `least` on
};
constexpr std::array<std::string_view, 12> kMonths = {"jan", "feb", "mar", "apr", "may", "jun",
                                                      "jul", "aug", "sep", "oct", "nov", "dec"};
constexpr std::array<std::string_view, 7> kWeekdays = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};
constexpr FieldBounds kSixty{0, 59, {}};
constexpr FieldBounds kHours{0, 23, {}};
constexpr FieldBounds kDays{1, 31, {}};
constexpr FieldBounds kMonth{1, 12, kMonths};
constexpr FieldBounds kWeekday{0, 6, kWeekdays};

std::unexpected<Error> bad_cron(std::string why) { return fail(Code::invalid_argument, std::move(why)); }

Result<std::int64_t> cron_number(std::string_view s) {
  auto digits = s;
  if (digits.size() > 1 && digits[0] == '+' && digits[1] != '-') digits.remove_prefix(1);
  auto n = text::to_i64(digits);
  if (!n)
    return bad_cron(fmt::format("Failed to parse int from {}: strconv.Atoi: parsing \"{}\": invalid syntax", s, s));
  if (*n < 0) return bad_cron(fmt::format("Negative number ({}) not allowed: {}", *n, s));
  return *n;
}
Result<std::int64_t> cron_value(std::string_view s, const FieldBounds& b) {
  const auto lower = text::lower(s);
  for (std::size_t i = 0; i < b.names.size(); ++i)
    if (lower == b.names[i]) return b.least + static_cast<std::int64_t>(i);
  return cron_number(s);
}

// One part of a field: number | number "-" number [ "/" number ]; sets `any` for `*` and `?`.
Result<std::uint64_t> cron_range(std::string_view part, const FieldBounds& b, bool& any) {
  const auto range_and_step = text::split(part, '/');
  const auto ends = text::split(range_and_step[0], '-');
  std::int64_t start = b.least;
  std::int64_t end = b.most;
  std::int64_t step = 1;
  if (ends[0] == "*" || ends[0] == "?") {
    any = true;
  } else {
    if (ends.size() > 2) return bad_cron(fmt::format("Too many hyphens: {}", part));
    MR_TRY(start, cron_value(ends[0], b));
    end = start;
    if (ends.size() == 2) {
      MR_TRY(end, cron_value(ends[1], b));
    }
  }
  if (range_and_step.size() > 2) return bad_cron(fmt::format("Too many slashes: {}", part));
  if (range_and_step.size() == 2) {
    MR_TRY(step, cron_number(range_and_step[1]));
    if (ends.size() == 1) end = b.most;  // "N/step" goes on to the end
  }
  if (start < b.least)
    return bad_cron(fmt::format("Beginning of range ({}) below minimum ({}): {}", start, b.least, part));
  if (end > b.most) return bad_cron(fmt::format("End of range ({}) above maximum ({}): {}", end, b.most, part));
  if (start > end)
    return bad_cron(fmt::format("Beginning of range ({}) beyond end of range ({}): {}", start, end, part));
  if (step == 0) return bad_cron(fmt::format("Step of range should be a positive number: {}", part));
  std::uint64_t bits = 0;
  for (auto i = start; i <= end; i += std::min(step, std::int64_t{64})) bits |= std::uint64_t{1} << i;
  return bits;
}

Result<std::uint64_t> cron_field(std::string_view field, const FieldBounds& b, bool& any) {
  std::uint64_t bits = 0;
  for (auto part : text::split(field, ',')) {
    if (part.empty()) continue;
    MR_TRY(const auto more, cron_range(part, b, any));
    bits |= more;
  }
  if (bits == 0) return bad_cron(fmt::format("Empty field: {}", field));
  return bits;
}

// "1h30m" as Go writes durations, in whole seconds, a second at least.
Result<std::int64_t> cron_duration(std::string_view text) {
  auto bad = [&](std::string_view why) -> std::unexpected<Error> {
    return bad_cron(fmt::format("Failed to parse duration @every {}: time: {} \"{}\"", text, why, text));
  };
  auto rest = text;
  if (rest.starts_with('+')) rest.remove_prefix(1);
  if (rest.empty()) return bad("invalid duration");
  double total = 0;
  while (!rest.empty()) {
    std::size_t n = 0;
    while (n < rest.size() && ((rest[n] >= '0' && rest[n] <= '9') || rest[n] == '.')) ++n;
    double value = 0;
    auto [end, ec] = std::from_chars(rest.data(), rest.data() + n, value);
    if (n == 0 || ec != std::errc{} || end != rest.data() + n) return bad("invalid duration");
    rest.remove_prefix(n);
    static constexpr std::pair<std::string_view, double> kUnits[] = {
        {"ns", 1e-9}, {"us", 1e-6}, {"µs", 1e-6}, {"μs", 1e-6}, {"ms", 1e-3}, {"s", 1}, {"m", 60}, {"h", 3600}};
    n = 0;
    while (n < rest.size() && rest[n] != '.' && (rest[n] < '0' || rest[n] > '9')) ++n;
    const auto unit = std::ranges::find(kUnits, rest.substr(0, n), &std::pair<std::string_view, double>::first);
    if (unit == std::end(kUnits)) return bad(n == 0 ? "missing unit in duration" : "unknown unit in duration");
    total += value * unit->second;
    rest.remove_prefix(n);
  }
  if (total > 290.0 * 365 * kDay) return bad("invalid duration");  // more than Go's nanoseconds hold
  return std::max<std::int64_t>(1, static_cast<std::int64_t>(total + 1e-9));
}

struct Descriptor {
  std::string_view name, fields;
};
constexpr Descriptor kDescriptors[] = {
    {"@yearly", "0 0 0 1 1 *"}, {"@annually", "0 0 0 1 1 *"}, {"@monthly", "0 0 0 1 * *"}, {"@weekly", "0 0 0 * * 0"},
    {"@daily", "0 0 0 * * *"},  {"@midnight", "0 0 0 * * *"}, {"@hourly", "0 0 * * * *"},
};

// The first value of `bits` that is `from` or more; -1: none.
int next_bit(std::uint64_t bits, int from) {
  if (from > 63) return -1;
  const auto rest = bits & (~std::uint64_t{0} << from);
  return rest == 0 ? -1 : std::countr_zero(rest);
}

// The first second of a day that matches and is `from` or more; -1: none.
std::int64_t next_of_day(std::uint64_t hours, std::uint64_t minutes, std::uint64_t seconds, std::int64_t from) {
  auto h = static_cast<int>(from / 3600);
  auto m = static_cast<int>(from / 60 % 60);
  auto s = static_cast<int>(from % 60);
  const int hour = next_bit(hours, h);
  if (hour < 0) return -1;
  if (hour > h) m = s = 0;
  int minute = next_bit(minutes, m);
  if (minute > m) s = 0;
  int second = minute < 0 ? -1 : next_bit(seconds, s);
  if (minute >= 0 && second < 0) {
    minute = next_bit(minutes, minute + 1);
    second = next_bit(seconds, 0);
  }
  if (minute >= 0) return hour * 3600 + minute * 60 + second;
  const int later = next_bit(hours, hour + 1);
  if (later < 0) return -1;
  return later * 3600 + next_bit(minutes, 0) * 60 + next_bit(seconds, 0);
}

}  // namespace

Result<Cron> Cron::parse(std::string_view text, std::string_view zone) {
  for (std::string_view prefix : {"TZ=", "CRON_TZ="}) {
    if (!text.starts_with(prefix)) continue;
    const auto end = text.find(' ');
    zone = text.substr(prefix.size(), end - std::min(end, prefix.size()));
    text = end == std::string_view::npos ? std::string_view{} : text::trim(text.substr(end));
    break;
  }
  MR_TRY(auto z, TimeZone::load(zone));
  return parse(text, std::move(z));
}

Result<Cron> Cron::parse(std::string_view text, std::shared_ptr<const TimeZone> zone) {
  if (text.size() > 1024) return bad_cron(fmt::format("a schedule of {} bytes; at most 1024 are read", text.size()));
  Cron c;
  c.zone_ = std::move(zone);
  if (text.empty()) return bad_cron("Empty spec string");
  const auto whole = text;
  if (text.starts_with('@')) {
    constexpr std::string_view kEvery = "@every ";
    if (text.starts_with(kEvery)) {
      MR_TRY(c.every_s_, cron_duration(text.substr(kEvery.size())));
      if (c.every_s_ < 10) c.warning_ = fmt::format("\"{}\" fires {} times a minute", whole, 60 / c.every_s_);
      return c;
    }
    const auto d = std::ranges::find(kDescriptors, text, &Descriptor::name);
    if (d == std::end(kDescriptors)) return bad_cron(fmt::format("Unrecognized descriptor: {}", text));
    text = d->fields;
  }
  std::vector<std::string_view> parts;
  for (std::size_t at = 0; at < text.size();) {
    constexpr std::string_view kSpace = " \t\n\v\f\r";
    const auto begin = text.find_first_not_of(kSpace, at);
    if (begin == std::string_view::npos) break;
    at = std::min(text.find_first_of(kSpace, begin), text.size());
    parts.push_back(text.substr(begin, at - begin));
  }
  if (parts.size() < 5 || parts.size() > 6)
    return bad_cron(fmt::format("Expected 5 to 6 fields, found {}: {}", parts.size(), text));
  auto& f = c.fields_;
  bool any = false;
  MR_TRY(f.second, cron_field(parts[0], kSixty, any));
  MR_TRY(f.minute, cron_field(parts[1], kSixty, any));
  MR_TRY(f.hour, cron_field(parts[2], kHours, any));
  MR_TRY(f.day, cron_field(parts[3], kDays, f.any_day));
  MR_TRY(f.month, cron_field(parts[4], kMonth, any));
  MR_TRY(f.weekday, cron_field(parts.size() == 6 ? parts[5] : "*", kWeekday, f.any_weekday));
  if (parts.size() == 5)
    c.warning_ = fmt::format(
        "\"{}\" has five fields, which are read as second, minute, hour, day of the month and month; if the first was "
        "meant to be "
        "the minute, write \"0 {}\"",
        whole, whole);
  if (const int times = std::popcount(f.second); times > 6) {
    if (!c.warning_.empty()) c.warning_ += "; ";
    c.warning_ += fmt::format("\"{}\" fires {} times a minute", whole, times);
  }
  return c;
}

bool Cron::day_matches(std::int64_t day) const {
  const ch::sys_days d{ch::days(day)};
  const ch::year_month_day ymd(d);
  auto has = [](std::uint64_t bits, unsigned i) { return (bits >> i & 1) != 0; };
  if (!has(fields_.month, static_cast<unsigned>(ymd.month()))) return false;
  const bool by_day = has(fields_.day, static_cast<unsigned>(ymd.day()));
  const bool by_weekday = has(fields_.weekday, ch::weekday(d).c_encoding());
  return fields_.any_day || fields_.any_weekday ? by_day && by_weekday : by_day || by_weekday;
}

std::optional<std::int64_t> Cron::next(std::int64_t after_ms) const {
  auto now = after_ms / 1000 - (after_ms % 1000 < 0 ? 1 : 0);  // whole seconds, downwards
  if (now >= kLatest) return std::nullopt;
  now = std::max(now, kEarliest);
  if (every_s_ != 0) return (now + every_s_) * 1000;

  auto at = now + 1;
  // The last local day that is looked at, counted from the first.
  std::optional<std::int64_t> last_day;
  for (;;) {
    const auto span = zone_->at(at);
    const auto local = at + span.offset;
    const auto local_end = span.until == INT64_MAX ? INT64_MAX : span.until + span.offset;
    auto day = local / kDay - (local % kDay < 0 ? 1 : 0);
    auto from = local - day * kDay;
    if (!last_day) {
      const auto year = ch::year_month_day(ch::sys_days(ch::days(day))).year();
      last_day = ch::sys_days((year + ch::years(kYearsAhead)) / ch::December / 31).time_since_epoch().count();
    }
    for (; day * kDay < local_end; ++day, from = 0) {
      if (day > *last_day) return std::nullopt;
      if (!day_matches(day)) continue;
      const auto second = next_of_day(fields_.hour, fields_.minute, fields_.second, from);
      if (second < 0) continue;
      const auto found = day * kDay + second;
      if (found >= local_end) break;  // shown in another span, or never
      return (found - span.offset) * 1000;
    }
    at = span.until;
  }
}

}  // namespace mr::pipelines
