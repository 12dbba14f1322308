#include "text/text.h"
#include "tracking/search_common.h"
#include "tracking/validate.h"

namespace mr::tracking {

using Kind = Comparison::Kind;

namespace {

const std::map<std::string, std::string, std::less<>> kRunColumns{
    {"artifact_uri", "artifact_uri"}, {"end_time", "end_time"}, {"run_id", "run_uuid"}, {"run_name", "name"},
    {"start_time", "start_time"},     {"status", "status"},     {"user_id", "user_id"}, {"created", "start_time"},
    {"Created", "start_time"}};

std::string run_type(const std::string& t) {
  static const std::map<std::string, std::string, std::less<>> names{{"metric", "metric"},
                                                                     {"metrics", "metric"},
                                                                     {"parameter", "parameter"},
                                                                     {"parameters", "parameter"},
                                                                     {"param", "parameter"},
                                                                     {"params", "parameter"},
                                                                     {"tag", "tag"},
                                                                     {"tags", "tag"},
                                                                     {"attribute", "attribute"},
                                                                     {"attributes", "attribute"},
                                                                     {"attr", "attribute"},
                                                                     {"run", "attribute"},
                                                                     {"", "attribute"},
                                                                     {"dataset", "dataset"},
                                                                     {"datasets", "dataset"}};
  auto it = names.find(t);
  return it == names.end() ? "" : it->second;
}

std::unexpected<Error> bad_run_type(const std::string& t) {
  return invalid(fmt::format(
      "Invalid entity type '{}'. Valid values are ['metric', 'parameter', 'tag', 'attribute', 'dataset']", t));
}

std::string run_attribute(const Comparison& c) {
  if (c.key == "run name" || c.key == "Run name" || c.key == "Run Name") return "run_name";
  if (c.key == "created" || c.key == "Created") return "start_time";
  return kRunColumns.contains(c.key) ? c.key : "";
}

std::unexpected<Error> bad_run_attribute(const std::string& key) {
  return invalid(fmt::format("Invalid attribute key '{}' specified. Valid keys are '{}'", key,
                             attribute_keys({"artifact_uri", "end_time", "run_id", "run_name", "start_time", "status",
                                             "user_id", "created", "Created", "run name", "Run name", "Run Name"})));
}

constexpr std::size_t kJoins = 8;  // SQLite joins at most 64 tables, and plans the slower the more there are

// The rows that a run must have, as joins in place of EXISTS: a search that orders by what it filters reads it once. A
// run has a key once, so that no run comes twice.
struct Required {
  std::map<std::pair<std::string, std::string>, std::string> aliases;  // of a table and a key
  SqlText equal;                                                       // equalities of texts: they leave the fewest
  SqlText others;
};
void required_row(SearchSql& out, Required& required, const std::string& table, const std::string& key, bool equality,
                  const std::function<void(SqlText&, const std::string& row)>& condition) {
  if (required.aliases.size() == kJoins || required.aliases.contains({table, key})) {
    exists_row(out.where, table, "x.run_uuid = r.run_uuid", key, [&](SqlText& s) { condition(s, "x"); });
    return;
  }
  auto alias = fmt::format("f{}", required.aliases.size());
  required.aliases[{table, key}] = alias;
  auto& join = equality ? required.equal : required.others;
  // CROSS tells SQLite to keep the order: without statistics it takes a key for rare, and starts at all its rows.
  join.add(fmt::format(" CROSS JOIN {0} {1} ON {1}.run_uuid = r.run_uuid AND {1}.key = ?", table, alias));
  join.arg(key);
  condition(join, alias);
}

Result<> run_condition(const Comparison& c, SearchSql& search, Required& required) {
  SqlText& out = search.where;
  const std::string type = run_type(c.type);
  if (type.empty()) return bad_run_type(c.type);
  if (is_null_op(c) && type != "tag" && type != "parameter")
    return invalid(
        fmt::format("IS NULL / IS NOT NULL is only supported for tags and params, not for '{}' '{}'", type, c.key));
  if (type == "metric") {
    MR_TRY(double v, number(c));
    if (!kNumericOps.contains(c.op)) return bad_op(c, kNumericOps, false);
    // NaN is stored as 0 and marked: it differs from every number and matches nothing else.
    required_row(search, required, "latest_metrics", c.key, false, [&](SqlText& s, const std::string& x) {
      s.add(c.op == "!=" ? fmt::format(" AND ({0}.value != ? OR {0}.is_nan = 1)", x)
                         : fmt::format(" AND {0}.value {1} ? AND {0}.is_nan = 0", x, c.op));
      s.arg(v);
    });
    return {};
  }
  if (type == "parameter" || type == "tag") {
    const char* table = type == "tag" ? "tags" : "params";
    if (is_null_op(c)) {
      exists_row(out, table, "x.run_uuid = r.run_uuid", c.key, no_condition, c.op == "IS NULL");
      return {};
    }
    MR_CHECK(text_value(c, type, true));
    if (!kTextOps.contains(c.op)) {
      auto ops = kTextOps;
      ops.insert({"IS NULL", "IS NOT NULL"});
      return bad_op(c, ops, type == "parameter");
    }
    required_row(search, required, table, c.key, c.op == "=", [&](SqlText& s, const std::string& x) {
      s.add(" AND ");
      compare(s, x + ".value", c);
    });
    return {};
  }
  if (type == "dataset") {
    if (c.key != "name" && c.key != "digest" && c.key != "context")
      return invalid(
          fmt::format("Invalid dataset key '{}' specified. Valid keys are '{{'context', 'digest', 'name'}}'", c.key));
    if (c.kind == Kind::list) {
      MR_CHECK(list_value(c));
    } else {
      MR_CHECK(text_value(c, "dataset attributes", false));
    }
    if (!kListOps.contains(c.op)) return bad_op(c, kListOps, false);
    if (c.key == "context") {
      out.add(
          " AND EXISTS (SELECT 1 FROM inputs i JOIN input_tags t ON t.input_uuid = i.input_uuid WHERE i.destination_id "
          "= r.run_uuid AND t.name = 'mlflow.data.context' AND ");
      compare(out, "t.value", c);
    } else {
      out.add(
          " AND EXISTS (SELECT 1 FROM inputs i JOIN datasets d ON d.dataset_uuid = i.source_id WHERE i.destination_id "
          "= r.run_uuid AND ");
      compare(out, "d." + c.key, c);
    }
    out.add(")");
    return {};
  }
  const std::string attribute = run_attribute(c);
  if (attribute.empty()) return bad_run_attribute(c.key);
  if (attribute == "start_time" || attribute == "end_time") {
    if (c.kind != Kind::number)
      return invalid(fmt::format("Expected numeric value type for numeric attribute: {}. Found {}", c.key, c.raw));
    MR_TRY(double v, number(c));
    if (!kNumericOps.contains(c.op)) return bad_op(c, kListOps, false);
    out.add(fmt::format(" AND r.{} {} ?", attribute, c.op));
    if (v == std::floor(v) && std::fabs(v) < 9e15)
      out.arg(static_cast<std::int64_t>(v));
    else
      out.arg(v);
    return {};
  }
  if (c.kind == Kind::list) {
    if (attribute != "run_id")
      return invalid("Only ['run_id'] attributes support comparison with a list of quoted string values.");
    MR_CHECK(list_value(c));
  } else {
    MR_CHECK(text_value(c, "attributes", false));
  }
  if (!kListOps.contains(c.op)) return bad_op(c, kListOps, true);
  if ((c.op == "IN" || c.op == "NOT IN") != (c.kind == Kind::list)) return bad_op(c, kListOps, true);
  if (attribute == "run_name") {  // the name lives in the tag as well, and the tag is what searches see
    required_row(search, required, "tags", "mlflow.runName", c.op == "=", [&](SqlText& s, const std::string& x) {
      s.add(" AND ");
      compare(s, x + ".value", c);
    });
    return {};
  }
  out.add(" AND ");
  compare(out, "r." + kRunColumns.at(attribute), c);
  return {};
}

}  // namespace

Result<SearchSql> run_search(std::string_view filter, const std::vector<std::string>& order_by) {
  SearchSql out;
  MR_TRY(auto comparisons, parse_filter(filter, true));
  Required required;
  for (const auto& c : comparisons) MR_CHECK(run_condition(c, out, required));
  out.joins.append(required.equal);
  out.joins.append(required.others);
  std::set<std::pair<std::string, std::string>> seen;
  bool by_start = false;
  int n = 0;
  if (order_by.size() > 20) return invalid("order_by takes at most 20 keys");
  for (const auto& clause : order_by) {
    MR_TRY(OrderKey k, parse_order_by(clause));
    auto type = run_type(k.type);
    if (type.empty()) return bad_run_type(k.type);
    const char* direction = k.ascending ? "" : " DESC";
    std::string key = k.key == "created" || k.key == "Created" ? "start_time" : k.key;
    if (type == "dataset") return invalid("Invalid identifier type 'dataset'");
    if (type == "attribute" && !kRunColumns.contains(k.key)) return bad_run_attribute(k.key);
    if (!seen.emplace(type, key).second) return duplicate_order(order_by);
    if (type == "attribute") {
      auto column = "r." + kRunColumns.at(key);
      by_start = by_start || key == "start_time";
      out.order += fmt::format("CASE WHEN {0} IS NULL THEN 1 ELSE 0 END, {0}{1}, ", column, direction);
      continue;
    }
    std::string table = type == "metric" ? "latest_metrics" : type == "tag" ? "tags" : "params";
    auto filtered = required.aliases.find({table, key});
    auto alias = filtered != required.aliases.end() ? filtered->second : fmt::format("o{}", n++);
    if (filtered == required.aliases.end()) {
      out.joins.add(fmt::format(" LEFT JOIN {0} {1} ON {1}.run_uuid = r.run_uuid AND {1}.key = ?", table, alias));
      out.joins.arg(key);
    }
    if (type == "metric")
      out.order += fmt::format(
          "CASE WHEN {0}.is_nan = 1 THEN 1 WHEN {0}.value IS NULL THEN 2 ELSE 0 END, {0}.value{1}, ", alias, direction);
    else
      out.order += fmt::format("CASE WHEN {0}.value IS NULL THEN 1 ELSE 0 END, {0}.value{1}, ", alias, direction);
  }
  if (!by_start) out.order += "r.start_time DESC, ";
  out.order += "r.run_uuid";
  return out;
}

}  // namespace mr::tracking
