#include "text/text.h"
#include "tracking/search_common.h"
#include "tracking/validate.h"

namespace mr::tracking {

using Kind = Comparison::Kind;

namespace {

const std::set<std::string> kModelColumns{"model_id",
                                          "experiment_id",
                                          "name",
                                          "artifact_location",
                                          "model_type",
                                          "source_run_id",
                                          "status",
                                          "status_message",
                                          "lifecycle_stage",
                                          "creation_timestamp_ms",
                                          "last_updated_timestamp_ms"};

std::string model_column(const std::string& key) {
  if (key == "creation_time" || key == "creation_timestamp") return "creation_timestamp_ms";
  if (key == "last_updated_timestamp") return "last_updated_timestamp_ms";
  return key;
}

// The latest value of a metric of model l on the given datasets, as a scalar subquery without its closing parenthesis'
// limits.
void latest_model_metric(SqlText& s, const std::string& name, const std::vector<ModelDataset>& datasets) {
  s.add("(SELECT x.metric_value FROM logged_model_metrics x WHERE x.model_id = l.model_id AND x.metric_name = ?");
  s.arg(name);
  if (!datasets.empty()) {
    s.add(" AND (");
    for (std::size_t i = 0; i < datasets.size(); ++i) {
      s.add(i > 0 ? " OR (x.dataset_name = ?" : "(x.dataset_name = ?");
      s.arg(datasets[i].name);
      if (datasets[i].digest) {
        s.add(" AND x.dataset_digest = ?");
        s.arg(*datasets[i].digest);
      }
      s.add(")");
    }
    s.add(")");
  }
  s.add(" ORDER BY x.metric_step DESC, x.metric_timestamp_ms DESC, x.metric_value DESC LIMIT 1)");
}

}  // namespace

Result<SearchSql> logged_model_search(std::string_view filter, const std::vector<ModelDataset>& datasets,
                                      const std::vector<ModelOrder>& order_by) {
  SearchSql out;
  auto& w = out.where;
  auto parsed = parse_filter(filter, false);
  if (!filter.empty() && text::trim(filter).empty())
    return invalid(fmt::format("Invalid filter string: {}. Expected a single SQL expression.", python_repr(filter)));
  if (!parsed)
    return invalid(
        fmt::format("Invalid filter string: {}. Expected a list of comparisons separated by 'AND' (e.g. 'metrics.loss "
                    "> 0.1 AND params.lr = 0.01').",
                    python_repr(filter)));
  bool metric_condition = false;
  for (auto& c : *parsed) {
    if (is_null_op(c))
      return invalid(fmt::format("Invalid comparison: {} {}. Expected a comparison with 3 tokens.", c.key, c.op));
    bool bare = c.type.empty();
    if (!bare && c.type != "attributes" && c.type != "metrics" && c.type != "params" && c.type != "tags")
      return invalid(fmt::format(
          "Invalid entity type: '{}'. Expected one of ['attributes', 'metrics', 'params', 'tags'].", c.type));
    std::string type = bare ? "attributes" : c.type;
    if (bare) c.key = model_column(c.key);
    bool numeric = type == "metrics" ||
                   (type == "attributes" && (c.key == "creation_timestamp_ms" || c.key == "last_updated_timestamp_ms"));
    if (!(numeric ? kNumericOps : kListOps).contains(c.op))
      return invalid(
          fmt::format("Invalid comparison operator for {}.{}: '{}'. Expected one of {}.", type, c.key, c.op_text,
                      numeric ? "('<', '<=', '>', '>=', '=', '!=')" : "('=', '!=', 'LIKE', 'ILIKE', 'IN', 'NOT IN')"));
    if (c.kind == Kind::list) MR_CHECK(list_value(c));
    if (c.kind == Kind::list && numeric)
      return invalid(fmt::format("Invalid comparison operator for {}.{}: '{}'.", type, c.key, c.op_text));
    if (numeric) {
      auto v = text::to_double(c.value);
      if (!v || c.kind != Kind::number)
        return invalid(fmt::format("could not convert string to float: {}", python_repr(c.raw)));
      w.add(" AND ");
      if (type == "metrics") {
        metric_condition = true;
        latest_model_metric(w, c.key, datasets);
      } else {
        w.add("l." + c.key);
      }
      w.add(fmt::format(" {} ?", c.op));
      w.arg(*v);
      continue;
    }
    if (type == "params" || type == "tags") {
      bool param = type == "params";
      w.add(fmt::format(" AND EXISTS (SELECT 1 FROM {} x WHERE x.model_id = l.model_id AND x.{} = ? AND ",
                        param ? "logged_model_params" : "logged_model_tags", param ? "param_key" : "tag_key"));
      w.arg(c.key);
      compare(w, param ? "x.param_value" : "x.tag_value", c);
      w.add(")");
      continue;
    }
    if (!kModelColumns.contains(c.key))
      return invalid(
          fmt::format("Invalid attribute '{}' in the filter. Expected one of the fields of a logged model.", c.key));
    if (c.key == "status") {
      static const std::map<std::string, std::int64_t> states{
          {"UNSPECIFIED", 0}, {"PENDING", 1}, {"READY", 2}, {"FAILED", 3}};
      if (c.op == "LIKE" || c.op == "ILIKE")
        return invalid(fmt::format("Invalid comparison operator for status: {}", c.op_text));
      auto wanted = c.kind == Kind::list ? c.list : std::vector<std::string>{c.value};
      w.add(fmt::format(" AND l.status {} (", c.op == "=" || c.op == "IN" ? "IN" : "NOT IN"));
      for (std::size_t i = 0; i < wanted.size(); ++i) {
        auto it = states.find(wanted[i]);
        if (it == states.end())
          return invalid(fmt::format("Unknown model status in filter: {}", python_repr(wanted[i])));
        w.add(i > 0 ? ",?" : "?");
        w.arg(it->second);
      }
      w.add(")");
      continue;
    }
    w.add(" AND ");
    compare(w, c.key == "experiment_id" ? "CAST(l.experiment_id AS TEXT)" : "l." + c.key, c);
  }
  for (const auto& d : datasets)
    if (d.name.empty()) return invalid("`dataset_name` in the `datasets` clause must be specified.");
  if (!datasets.empty() && !metric_condition) {
    w.add(" AND EXISTS (SELECT 1 FROM logged_model_metrics x WHERE x.model_id = l.model_id AND (");
    for (std::size_t i = 0; i < datasets.size(); ++i) {
      w.add(i > 0 ? " OR (x.dataset_name = ?" : "(x.dataset_name = ?");
      w.arg(datasets[i].name);
      if (datasets[i].digest) {
        w.add(" AND x.dataset_digest = ?");
        w.arg(*datasets[i].digest);
      }
      w.add(")");
    }
    w.add("))");
  }
  bool by_creation = false;
  int n = 0;
  for (const auto& o : order_by) {
    const char* direction = o.ascending ? "" : " DESC";
    auto dot = o.field.find('.');
    if (dot == std::string::npos) {
      auto column = model_column(o.field);
      if (!kModelColumns.contains(column)) return invalid(fmt::format("Invalid order by field name: {}", o.field));
      by_creation = by_creation || column == "creation_timestamp_ms";
      out.order += fmt::format("CASE WHEN l.{0} IS NULL THEN 1 ELSE 0 END, l.{0}{1}, ", column, direction);
      continue;
    }
    if (o.field.substr(0, dot) != "metrics")
      return invalid(fmt::format("Invalid order by field name: {}. Only metrics are supported.", o.field));
    auto scope = datasets;
    if (!o.dataset_name.empty())
      scope = {{o.dataset_name, o.dataset_digest.empty() ? std::nullopt : std::optional(o.dataset_digest)}};
    auto alias = fmt::format("o{}", n++);
    // A joined one-column subquery a model, so that the sort key is computed once.
    out.joins.add(" LEFT JOIN (SELECT l.model_id AS id, ");
    latest_model_metric(out.joins, o.field.substr(dot + 1), scope);
    out.joins.add(fmt::format(" AS v FROM logged_models l) {0} ON {0}.id = l.model_id", alias));
    out.order += fmt::format("CASE WHEN {0}.v IS NULL THEN 1 ELSE 0 END, {0}.v{1}, ", alias, direction);
  }
  if (!by_creation) out.order += "l.creation_timestamp_ms DESC, ";
  out.order += "l.model_id";
  return out;
}

}  // namespace mr::tracking
