#include "pipelines/cron_zone.h"

#include <fcntl.h>

#include <chrono>

#include "core/fd.h"
#include "text/text.h"

namespace mr::pipelines {

namespace {

constexpr std::int64_t kNever = INT64_MAX;
constexpr std::int64_t kSecondsOfDay = 86400;
constexpr std::size_t kLargestZoneFile = std::size_t{256} << 10;

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Big-endian, two's complement.
std::int64_t big_endian(std::string_view bytes) {
  std::uint64_t v = bytes.size() < 8 && (bytes[0] & 0x80) != 0 ? ~std::uint64_t{0} : 0;
  for (char c : bytes) v = v << 8 | static_cast<unsigned char>(c);
  return static_cast<std::int64_t>(v);
}

std::unexpected<Error> bad_zone(std::string_view why) {
  return fail(Code::invalid_argument, fmt::format("a time zone file is damaged: {}", why));
}

// A relative name that stays inside the database.
bool safe_zone_name(std::string_view name) {
  if (name.empty() || name.size() > 128 || name.front() == '/' || name.back() == '/') return false;
  for (auto part : text::split(name, '/'))
    if (part.empty() || part == "." || part == "..") return false;
  return std::ranges::all_of(name, [](char c) {
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '-' || c == '+' ||
           c == '/';
  });
}

std::optional<std::string> read_zone_file(const std::string& path) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  if (!fd) return std::nullopt;
  std::string out;
  std::array<char, 8192> buf;
  for (;;) {
    const auto n = ::read(fd.get(), buf.data(), buf.size());
    if (n < 0 || out.size() > kLargestZoneFile) return std::nullopt;
    if (n == 0) return out;
    out.append(buf.data(), static_cast<std::size_t>(n));
  }
}

struct ZoneHeader {
  std::uint64_t utc, standard, leaps, changes, types, letters;

  [[nodiscard]] std::uint64_t body(std::uint64_t time_size) const {
    return changes * (time_size + 1) + types * 6 + letters + leaps * (time_size + 4) + standard + utc;
  }
};
std::optional<ZoneHeader> zone_header(std::string_view b) {
  if (b.size() < 44 || !b.starts_with("TZif")) return std::nullopt;
  auto count = [&](std::size_t i) {
    return static_cast<std::uint64_t>(big_endian(b.substr(20 + 4 * i, 4)) & 0xFFFFFFFF);
  };
  return ZoneHeader{count(0), count(1), count(2), count(3), count(4), count(5)};
}

}  // namespace

class TimeZone::RuleParser {
 public:
  explicit RuleParser(std::string_view text) : rest_(text) {}

  std::optional<Rule> run() {
    Rule r;
    if (!name() || !offset(r.standard)) return std::nullopt;
    r.standard = -r.standard;  // POSIX counts west
    if (rest_.empty()) return r;
    if (!name()) return std::nullopt;
    r.has_summer = true;
    r.summer = r.standard + 3600;
    if (!rest_.empty() && rest_.front() != ',') {
      if (!offset(r.summer)) return std::nullopt;
      r.summer = -r.summer;
    }
    if (!accept(',') || !day(r.start) || !accept(',') || !day(r.end) || !rest_.empty()) return std::nullopt;
    return r;
  }

 private:
  bool accept(char c) {
    if (!rest_.starts_with(c)) return false;
    rest_.remove_prefix(1);
    return true;
  }
  bool number(int least, int most, int& out) {
    std::size_t n = 0;
    out = 0;
    while (n < rest_.size() && n < 4 && is_digit(rest_[n])) out = out * 10 + (rest_[n++] - '0');
    rest_.remove_prefix(n);
    return n > 0 && out >= least && out <= most;
  }
  bool name() {
    std::size_t n = 0;
    if (rest_.starts_with('<')) {
      n = rest_.find('>');
      if (n == std::string_view::npos) return false;
      rest_.remove_prefix(n + 1);
      return n >= 4;
    }
    while (n < rest_.size() && ((rest_[n] >= 'a' && rest_[n] <= 'z') || (rest_[n] >= 'A' && rest_[n] <= 'Z'))) ++n;
    rest_.remove_prefix(n);
    return n >= 3;
  }
  // [+-]hh[:mm[:ss]]
  bool span(int most_hours, std::int64_t& out) {
    const bool negative = accept('-');
    if (!negative) accept('+');
    int hours = 0;
    int minutes = 0;
    int seconds = 0;
    if (!number(0, most_hours, hours)) return false;
    if (accept(':')) {
      if (!number(0, 59, minutes)) return false;
      if (accept(':') && !number(0, 59, seconds)) return false;
    }
    out = std::int64_t{hours} * 3600 + minutes * 60 + seconds;
    if (negative) out = -out;
    return true;
  }
  bool offset(std::int64_t& out) { return span(24, out); }
  bool day(Day& d) {
    if (accept('M')) {
      d.form = Day::Form::month_week;
      if (!number(1, 12, d.month) || !accept('.') || !number(1, 5, d.week) || !accept('.') || !number(0, 6, d.day))
        return false;
    } else if (accept('J')) {
      d.form = Day::Form::julian;
      if (!number(1, 365, d.day)) return false;
    } else {
      d.form = Day::Form::ordinal;
      if (!number(0, 365, d.day)) return false;
    }
    return !accept('/') || span(167, d.time);
  }

  std::string_view rest_;
};

std::int64_t TimeZone::moment(int year, const Day& d, std::int64_t offset) {
  namespace ch = std::chrono;
  ch::sys_days day;
  const ch::year y(year);
  switch (d.form) {
    case Day::Form::month_week: {
      const ch::month m(static_cast<unsigned>(d.month));
      const ch::weekday w(static_cast<unsigned>(d.day));
      day = d.week == 5 ? ch::sys_days(y / m / w[ch::last]) : ch::sys_days(y / m / w[static_cast<unsigned>(d.week)]);
      break;
    }
    case Day::Form::julian: {  // 29 February is not counted
      const int leap = y.is_leap() && d.day >= 60 ? 1 : 0;
      day = ch::sys_days(y / ch::January / 1) + ch::days(d.day - 1 + leap);
      break;
    }
    case Day::Form::ordinal:
      day = ch::sys_days(y / ch::January / 1) + ch::days(d.day);
      break;
  }
  return std::int64_t{day.time_since_epoch().count()} * kSecondsOfDay + d.time - offset;
}

TimeZone::Span TimeZone::by_rule(const Rule& r, std::int64_t at) {
  if (!r.has_summer) return {.offset = r.standard, .until = kNever};
  const auto days = std::chrono::floor<std::chrono::days>(std::chrono::sys_seconds(std::chrono::seconds(at)));
  const int year = static_cast<int>(std::chrono::year_month_day(days).year());
  std::array<std::pair<std::int64_t, std::int64_t>, 10> changes;  // moment, offset from then on
  std::size_t n = 0;
  for (int y = year - 2; y <= year + 2; ++y) {
    changes[n++] = {moment(y, r.start, r.standard), r.summer};
    changes[n++] = {moment(y, r.end, r.summer), r.standard};
  }
  std::ranges::sort(changes);
  Span out{.offset = r.standard, .until = kNever};
  for (const auto& [when, offset] : changes) {
    if (when > at) {
      out.until = when;
      break;
    }
    out.offset = offset;
  }
  return out;
}

TimeZone::Span TimeZone::at(std::int64_t at) const {
  const auto next = std::ranges::upper_bound(changes_, at);
  const auto i = static_cast<std::size_t>(next - changes_.begin());
  if (i == changes_.size() && rule_) return by_rule(*rule_, at);
  return {.offset = i == 0 ? first_ : offsets_[i - 1], .until = next == changes_.end() ? kNever : *next};
}

Result<std::shared_ptr<const TimeZone>> TimeZone::from_rule(std::string_view rule) {
  auto r = RuleParser(rule).run();
  if (!r) return bad_zone("its rule is not understood");
  auto z = std::make_shared<TimeZone>();
  z->rule_ = *r;
  z->first_ = r->standard;
  return z;
}

Result<std::shared_ptr<const TimeZone>> TimeZone::parse(std::string_view bytes) {
  auto header = zone_header(bytes);
  if (!header) return bad_zone("it does not begin as one");
  std::size_t time_size = 4;
  std::size_t start = 44;
  if (bytes[4] >= '2') {  // the first body is for old readers
    const auto skip = 44 + header->body(4);
    if (skip > bytes.size()) return bad_zone("it is cut off");
    bytes.remove_prefix(skip);
    header = zone_header(bytes);
    if (!header) return bad_zone("its second part is missing");
    time_size = 8;
  }
  const auto& h = *header;
  if (start + h.body(time_size) > bytes.size()) return bad_zone("it is cut off");
  if (h.types == 0) return bad_zone("it has no types");
  if (h.leaps != 0) return bad_zone("it counts leap seconds");
  const auto indices = bytes.substr(start + h.changes * time_size, h.changes);
  const auto types = bytes.substr(start + h.changes * (time_size + 1), h.types * 6);
  auto offset = [&](std::size_t type) { return big_endian(types.substr(type * 6, 4)); };
  for (std::size_t t = 0; t < h.types; ++t)
    if (std::abs(offset(t)) > 26 * 3600) return bad_zone("an offset is out of range");

  auto z = std::make_shared<TimeZone>();
  z->first_ = offset(0);
  for (std::size_t i = 0; i < h.changes; ++i) {
    const auto type = static_cast<unsigned char>(indices[i]);
    const auto when = big_endian(bytes.substr(start + i * time_size, time_size));
    if (type >= h.types) return bad_zone("a change has no type");
    if (!z->changes_.empty() && when <= z->changes_.back()) return bad_zone("its changes are out of order");
    z->changes_.push_back(when);
    z->offsets_.push_back(offset(type));
  }
  if (time_size == 8) {
    auto footer = bytes.substr(start + h.body(time_size));
    if (!footer.starts_with('\n')) return bad_zone("its rule is missing");
    footer.remove_prefix(1);
    footer = footer.substr(0, footer.find('\n'));
    if (!footer.empty()) {
      z->rule_ = RuleParser(footer).run();
      if (!z->rule_) return bad_zone("its rule is not understood");
    }
  }
  return z;
}

Result<std::shared_ptr<const TimeZone>> TimeZone::load(std::string_view name) {
  for (std::string_view utc : {"", "UTC", "Etc/UTC", "GMT", "Etc/GMT", "Z"})
    if (name == utc) return from_rule("UTC0");
  auto unknown = [&](std::string_view why) -> std::unexpected<Error> {
    return fail(Code::invalid_argument, fmt::format("unknown time zone {}{}", text::utf8_prefix(name, 64), why));
  };
  if (!safe_zone_name(name)) return unknown("");
  for (std::string_view folder : {"/usr/share/zoneinfo/", "/usr/lib/zoneinfo/"}) {
    auto bytes = read_zone_file(std::string(folder) + std::string(name));
    if (!bytes || !bytes->starts_with("TZif")) continue;
    auto z = parse(*bytes);
    if (!z) return unknown(": " + z.error().message);
    return z;
  }
  std::error_code ec;
  return unknown(
      std::filesystem::exists("/usr/share/zoneinfo", ec) ? "" : ": this machine has no tz database (package tzdata)");
}

}  // namespace mr::pipelines
