// Texts of runs that a schedule makes: macros in names and parameters, and times in Go's layouts.
#include <array>
#include <chrono>

#include "pipelines/schedules.h"

namespace mr::pipelines {
namespace {

constexpr std::string_view kDefaultLayout = "20060102150405";
constexpr std::array<std::string_view, 12> kLongMonths = {"January",   "February", "March",    "April",
                                                          "May",       "June",     "July",     "August",
                                                          "September", "October",  "November", "December"};
constexpr std::array<std::string_view, 7> kLongDays = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                                       "Thursday", "Friday", "Saturday"};

// A moment in UTC, taken apart.
struct Moment {
  explicit Moment(std::int64_t ms) {
    using namespace std::chrono;
    const sys_time<milliseconds> t{milliseconds(ms)};
    const auto day_start = floor<days>(t);
    const year_month_day date(day_start);
    year = static_cast<int>(date.year());
    month = static_cast<unsigned>(date.month());
    day = static_cast<unsigned>(date.day());
    year_day = static_cast<unsigned>((day_start - sys_days(date.year() / January / 1)).count()) + 1;
    week_day = weekday(day_start).c_encoding();
    const hh_mm_ss clock(t - day_start);
    hour = static_cast<unsigned>(clock.hours().count());
    minute = static_cast<unsigned>(clock.minutes().count());
    second = static_cast<unsigned>(clock.seconds().count());
    millisecond = static_cast<unsigned>(clock.subseconds().count());
  }
  [[nodiscard]] unsigned hour12() const { return hour % 12 == 0 ? 12 : hour % 12; }

  int year = 0;
  unsigned month = 0, day = 0, year_day = 0, week_day = 0, hour = 0, minute = 0, second = 0, millisecond = 0;
};

bool lower_follows(std::string_view s) { return !s.empty() && s[0] >= 'a' && s[0] <= 'z'; }
bool digit(char c) { return c >= '0' && c <= '9'; }

// ".000" prints so many digits of the second, ".999" without trailing zeros. 0: `s` begins with no such element.
std::size_t go_fraction(std::string_view s, unsigned millisecond, std::string& out) {
  if (s.size() < 2 || (s[0] != '.' && s[0] != ',') || (s[1] != '0' && s[1] != '9')) return 0;
  std::size_t n = 1;
  while (n < s.size() && s[n] == s[1]) ++n;
  if (n < s.size() && digit(s[n])) return 0;
  auto digits = fmt::format("{:03}", millisecond);
  digits.resize(n - 1, '0');
  if (s[1] == '9') digits.erase(digits.find_last_not_of('0') + 1);
  if (!digits.empty()) out += s[0] + digits;
  return n;
}

// Prints the element of a layout that `s` begins with; answers its length, 0 when it begins with none.
std::size_t go_element(std::string_view s, const Moment& m, std::string& out) {
  struct Fixed {
    std::string_view text;
    std::string (*print)(const Moment&);
  };
  // The longer of two that begin alike stands first.
  static constexpr std::array kFixed = {
      Fixed{"January", [](const Moment& x) { return std::string(kLongMonths.at(x.month - 1)); }},
      Fixed{"Monday", [](const Moment& x) { return std::string(kLongDays.at(x.week_day)); }},
      Fixed{"MST", [](const Moment&) { return std::string("UTC"); }},
      Fixed{"2006", [](const Moment& x) { return fmt::format("{:04}", x.year); }},
      Fixed{"__2", [](const Moment& x) { return fmt::format("{:3}", x.year_day); }},
      Fixed{"002", [](const Moment& x) { return fmt::format("{:03}", x.year_day); }},
      Fixed{"01", [](const Moment& x) { return fmt::format("{:02}", x.month); }},
      Fixed{"02", [](const Moment& x) { return fmt::format("{:02}", x.day); }},
      Fixed{"03", [](const Moment& x) { return fmt::format("{:02}", x.hour12()); }},
      Fixed{"04", [](const Moment& x) { return fmt::format("{:02}", x.minute); }},
      Fixed{"05", [](const Moment& x) { return fmt::format("{:02}", x.second); }},
      Fixed{"06", [](const Moment& x) { return fmt::format("{:02}", x.year % 100); }},
      Fixed{"15", [](const Moment& x) { return fmt::format("{:02}", x.hour); }},
      Fixed{"_2", [](const Moment& x) { return fmt::format("{:2}", x.day); }},
      Fixed{"PM", [](const Moment& x) { return std::string(x.hour < 12 ? "AM" : "PM"); }},
      Fixed{"pm", [](const Moment& x) { return std::string(x.hour < 12 ? "am" : "pm"); }},
      Fixed{"1", [](const Moment& x) { return std::to_string(x.month); }},
      Fixed{"2", [](const Moment& x) { return std::to_string(x.day); }},
      Fixed{"3", [](const Moment& x) { return std::to_string(x.hour12()); }},
      Fixed{"4", [](const Moment& x) { return std::to_string(x.minute); }},
      Fixed{"5", [](const Moment& x) { return std::to_string(x.second); }},
      Fixed{"-07:00:00", [](const Moment&) { return std::string("+00:00:00"); }},
      Fixed{"-070000", [](const Moment&) { return std::string("+000000"); }},
      Fixed{"-07:00", [](const Moment&) { return std::string("+00:00"); }},
      Fixed{"-0700", [](const Moment&) { return std::string("+0000"); }},
      Fixed{"-07", [](const Moment&) { return std::string("+00"); }},
      Fixed{"Z07:00:00", [](const Moment&) { return std::string("Z"); }},
      Fixed{"Z070000", [](const Moment&) { return std::string("Z"); }},
      Fixed{"Z07:00", [](const Moment&) { return std::string("Z"); }},
      Fixed{"Z0700", [](const Moment&) { return std::string("Z"); }},
      Fixed{"Z07", [](const Moment&) { return std::string("Z"); }},
  };
  for (const auto& f : kFixed) {
    if (!s.starts_with(f.text)) continue;
    out += f.print(m);
    return f.text.size();
  }
  if (s.starts_with("Jan") && !lower_follows(s.substr(3))) {
    out += kLongMonths.at(m.month - 1).substr(0, 3);
    return 3;
  }
  if (s.starts_with("Mon") && !lower_follows(s.substr(3))) {
    out += kLongDays.at(m.week_day).substr(0, 3);
    return 3;
  }
  return go_fraction(s, m.millisecond, out);
}

Value expand_value(const Value& v, const MacroValues& m) {
  if (const auto* s = v.if_string()) return Value(expand_macros(std::string_view(*s), m));
  if (const auto* a = v.if_array()) {
    Array out;
    out.reserve(a->size());
    for (const auto& x : *a) out.push_back(expand_value(x, m));
    return out;
  }
  if (const auto* o = v.if_object()) {
    Object out;
    for (const auto& [k, x] : *o) out[k] = expand_value(x, m);
    return out;
  }
  return v;
}

}  // namespace

std::string format_go_time(std::int64_t ms, std::string_view layout) {
  const Moment m(ms);
  std::string out;
  while (!layout.empty()) {
    // An underscore before a year is one; elsewhere "_2" is a padded day.
    auto n = layout.starts_with("_2006") ? 0 : go_element(layout, m, out);
    if (n == 0) {
      out += layout[0];
      n = 1;
    }
    layout.remove_prefix(n);
  }
  return out;
}

std::string expand_macros(std::string_view text, const MacroValues& v) {
  auto value_of = [&](std::string_view name) -> std::optional<std::string> {
    auto time = [&](std::string_view macro, std::int64_t ms) -> std::optional<std::string> {
      if (name == macro) return format_go_time(ms, kDefaultLayout);
      if (name.starts_with(macro) && name[macro.size()] == '.')
        return format_go_time(ms, name.substr(macro.size() + 1));
      return std::nullopt;
    };
    if (auto t = time("ScheduledTime", v.scheduled_ms)) return t;
    if (auto t = time("CurrentTime", v.current_ms)) return t;
    if (name == "Index") return std::to_string(v.index);
    if (name == "RunUUID") return v.run_id;
    return std::nullopt;
  };
  std::string out;
  for (;;) {
    const auto open = text.find("[[");
    const auto close = open == std::string_view::npos ? open : text.find("]]", open + 2);
    if (close == std::string_view::npos) return out += text;
    out += text.substr(0, open);
    if (auto value = value_of(text.substr(open + 2, close - open - 2))) {
      out += *value;
      text.remove_prefix(close + 2);
    } else {
      // Perhaps a macro begins inside: "[[[[Index]]".
      out += "[";
      text.remove_prefix(open + 1);
    }
  }
}

Run scheduled_run(const RecurringRun& r, const Due& d, std::int64_t now_ms, std::string run_id) {
  const MacroValues m{.scheduled_ms = d.scheduled_ms, .current_ms = now_ms, .index = d.index, .run_id = run_id};
  Run run;
  run.id = std::move(run_id);
  run.name = fmt::format("{}-{}", expand_macros(r.name, m), format_go_time(d.scheduled_ms, kDefaultLayout));
  run.recurring_run_id = r.id;
  run.scheduled_ms = d.scheduled_ms;
  run.description = r.description;
  run.ns = r.ns;
  run.experiment_id = r.experiment_id;
  run.service_account = r.service_account;
  run.pipeline_id = r.pipeline_id;
  run.version_id = r.version_id;
  run.spec = r.spec;
  for (const auto& [name, value] : r.parameters) run.parameters[name] = expand_value(value, m);
  run.pipeline_root = expand_macros(r.pipeline_root, m);
  run.plugins_input = r.plugins_input;
  return run;
}

}  // namespace mr::pipelines
