#include "tracking/search_common.h"

namespace mr::tracking {

namespace {

constexpr std::size_t kMostMetrics = 12;  // of which a group tells what they came to: each is a join
// Infinities are stored as the largest number: they are smallest and largest values, and in no mean.
std::string finite(const std::string& alias) {
  return fmt::format("{0}.value > -1.7e308 AND {0}.value < 1.7e308", alias);
}

std::unexpected<Error> bad_group(std::string_view text) {
  return invalid(fmt::format(
      "Invalid group_by '{}'. Runs are grouped by params.KEY, tags.KEY, attributes.status or attributes.user_id",
      text));
}

}  // namespace

Result<GroupSql> run_groups(std::string_view filter, std::string_view group_by, const std::vector<std::string>& metrics,
                            std::string_view order_by) {
  GroupSql out;
  MR_TRY(auto search, run_search(filter, {}));
  out.joins = std::move(search.joins);
  out.where = std::move(search.where);
  auto by = parse_order_by(group_by);
  if (!by || by->key.empty()) return bad_group(group_by);
  if (by->type == "params" || by->type == "tags") {
    out.value = "g.value";
    out.joins.add(fmt::format(" LEFT JOIN {} g ON g.run_uuid = r.run_uuid AND g.key = ?", by->type));
    out.joins.arg(by->key);
  } else if (by->type == "attributes" && (by->key == "status" || by->key == "user_id")) {
    out.value = "r." + by->key;
  } else {
    return bad_group(group_by);
  }
  if (metrics.size() > kMostMetrics) return invalid(fmt::format("metrics takes at most {} keys", kMostMetrics));
  for (std::size_t i = 0; i < metrics.size(); ++i) {
    auto alias = fmt::format("m{}", i);
    out.joins.add(fmt::format(
        " LEFT JOIN latest_metrics {0} ON {0}.run_uuid = r.run_uuid AND {0}.key = ? AND {0}.is_nan = 0", alias));
    out.joins.arg(metrics[i]);
    out.columns +=
        fmt::format(", COUNT({0}.value), AVG(CASE WHEN {1} THEN {0}.value END), MIN({0}.value), MAX({0}.value)", alias,
                    finite(alias));
  }
  OrderKey order{.type = "", .key = "count", .ascending = false};
  if (!order_by.empty()) {
    MR_TRY(order, parse_order_by(order_by));
  }
  const char* direction = order.ascending ? "" : " DESC";
  const std::string last = fmt::format("CASE WHEN {0} IS NULL THEN 1 ELSE 0 END, {0}", out.value);
  if (order.type == "metrics") {
    auto it = std::ranges::find(metrics, order.key);
    if (it == metrics.end()) return invalid("order_by names a metric that is not among 'metrics'");
    auto alias = fmt::format("m{}", it - metrics.begin());
    auto mean = fmt::format("AVG(CASE WHEN {} THEN {}.value END)", finite(alias), alias);
    out.order = fmt::format("CASE WHEN {0} IS NULL THEN 1 ELSE 0 END, {0}{1}, {2}", mean, direction, last);
  } else if (!order.type.empty()) {
    return invalid("order_by takes count, value, start_time or metrics.KEY");
  } else if (order.key == "count") {
    out.order = fmt::format("COUNT(*){}, {}", direction, last);
  } else if (order.key == "start_time") {
    out.order = fmt::format("MAX(r.start_time){}, {}", direction, last);
  } else if (order.key == "value") {
    // Numbers by their size, and texts, which all count as 0 then, by their letters.
    out.order =
        fmt::format("CASE WHEN {0} IS NULL THEN 1 ELSE 0 END, CAST({0} AS REAL){1}, {0}{1}", out.value, direction);
  } else {
    return invalid("order_by takes count, value, start_time or metrics.KEY");
  }
  return out;
}

}  // namespace mr::tracking
