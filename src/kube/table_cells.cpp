#include "kube/table_cells.h"

#include "time/clock.h"

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
  auto ns = time::parse_rfc3339_ns(t);
  if (!ns) return std::nullopt;
  return *ns / 1'000'000;
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
