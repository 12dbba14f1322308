#include "kube/table_cells.h"

#include "text/text.h"

namespace mr::kube::table {

namespace {

constexpr std::int64_t minute = 60, hour = 3600, day = 86400;

struct Unit {
  char big, small;
};
// "5d3h", or "5d" when nothing is left over.
std::string two(std::int64_t big, std::int64_t small, Unit u) {
  return small == 0 ? fmt::format("{}{}", big, u.big) : fmt::format("{}{}{}{}", big, u.big, small, u.small);
}

std::optional<int> digits(std::string_view text, std::size_t at, std::size_t count) {
  if (at + count > text.size()) return std::nullopt;
  int n = 0;
  for (std::size_t i = at; i < at + count; ++i) {
    if (text[i] < '0' || text[i] > '9') return std::nullopt;
    n = n * 10 + (text[i] - '0');
  }
  return n;
}

}  // namespace

std::string human_duration(std::int64_t seconds) {
  const auto s = seconds;
  if (s < -1) return "<invalid>";
  if (s < 0) return "0s";
  if (s < 2 * minute) return fmt::format("{}s", s);
  if (s < 10 * minute) return two(s / minute, s % minute, {'m', 's'});
  if (s < 3 * hour) return fmt::format("{}m", s / minute);
  if (s < 8 * hour) return two(s / hour, s / minute % 60, {'h', 'm'});
  if (s < 2 * day) return fmt::format("{}h", s / hour);
  if (s < 8 * day) return two(s / day, s / hour % 24, {'d', 'h'});
  if (s < 2 * 365 * day) return fmt::format("{}d", s / day);
  if (s < 8 * 365 * day) return two(s / day / 365, s / day % 365, {'y', 'd'});
  return fmt::format("{}y", s / day / 365);
}

std::optional<std::int64_t> parse_time(std::string_view t) {
  const auto y = digits(t, 0, 4), mo = digits(t, 5, 2), d = digits(t, 8, 2);
  const auto h = digits(t, 11, 2), mi = digits(t, 14, 2), s = digits(t, 17, 2);
  if (!y || !mo || !d || !h || !mi || !s || t[4] != '-' || t[7] != '-' || (t[10] != 'T' && t[10] != 't') ||
      t[13] != ':' || t[16] != ':')
    return std::nullopt;
  using namespace std::chrono;
  const year_month_day date{year(*y), month(static_cast<unsigned>(*mo)), std::chrono::day(static_cast<unsigned>(*d))};
  if (!date.ok() || *h > 23 || *mi > 59 || *s > 60) return std::nullopt;
  std::int64_t ms = sys_days(date).time_since_epoch().count() * day * 1000 + (*h * hour + *mi * minute + *s) * 1000;
  std::size_t at = 19;
  if (at < t.size() && t[at] == '.') {
    int scale = 100;
    for (++at; at < t.size() && t[at] >= '0' && t[at] <= '9'; ++at, scale /= 10) ms += (t[at] - '0') * scale;
  }
  if (at >= t.size()) return std::nullopt;
  if ((t[at] == 'Z' || t[at] == 'z') && at + 1 == t.size()) return ms;
  const auto oh = digits(t, at + 1, 2), om = digits(t, at + 4, 2);
  if ((t[at] != '+' && t[at] != '-') || !oh || !om || t[at + 3] != ':' || at + 6 != t.size()) return std::nullopt;
  const auto offset = (*oh * hour + *om * minute) * 1000;
  return t[at] == '+' ? ms - offset : ms + offset;
}

std::string age_of(std::string_view text, std::int64_t now_ms) {
  const auto t = parse_time(text);
  if (!t) return "<unknown>";
  const auto ms = now_ms - *t;
  // Whole seconds, cut off towards zero, as Go's durations are.
  return human_duration(ms / 1000);
}

std::string joined(const std::vector<std::string>& parts, std::string_view separator) {
  return fmt::format("{}", fmt::join(parts, separator));
}

std::string format_labels(const Object& labels) {
  std::vector<std::string> parts;
  for (const auto& [k, v] : labels)
    if (v.is_string()) parts.push_back(fmt::format("{}={}", std::string_view(k), std::string_view(v.get_string())));
  if (parts.empty()) return "<none>";
  std::ranges::sort(parts);
  return joined(parts);
}

std::string selector_text(const Value* selector) {
  if (!selector || !selector->is_object()) return {};
  const auto& s = selector->get_object();
  std::vector<std::pair<std::string, std::string>> parts;  // by key
  for (const auto& [k, v] : object_at(s, "matchLabels"))
    if (v.is_string())
      parts.emplace_back(k, fmt::format("{}={}", std::string_view(k), std::string_view(v.get_string())));
  for (const auto& e : array_at(s, "matchExpressions")) {
    if (!e.is_object()) continue;
    const auto& o = e.get_object();
    const auto key = text_at(o, "key"), op = text_at(o, "operator");
    std::vector<std::string> values;
    for (const auto& v : array_at(o, "values"))
      if (v.is_string()) values.emplace_back(v.get_string());
    std::ranges::sort(values);
    if (op == "In")
      parts.emplace_back(key, fmt::format("{} in ({})", key, joined(values)));
    else if (op == "NotIn")
      parts.emplace_back(key, fmt::format("{} notin ({})", key, joined(values)));
    else if (op == "DoesNotExist")
      parts.emplace_back(key, fmt::format("!{}", key));
    else
      parts.emplace_back(key, std::string(key));
  }
  std::ranges::sort(parts, {}, [](const auto& p) -> const std::string& { return p.first; });
  std::string out;
  for (const auto& [k, text] : parts) out.append(out.empty() ? "" : ",").append(text);
  return out;
}

Cell find_cell(std::string_view name) {
  for (const auto find : {find_pod_cell, find_workload_cell, find_object_cell})
    if (const auto cell = find(name)) return cell;
  return nullptr;
}

}  // namespace mr::kube::table
