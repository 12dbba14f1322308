#include "text/text.h"
#include "tracking/search_common.h"
#include "tracking/validate.h"

namespace mr::tracking {

using Kind = Comparison::Kind;

Result<SearchSql> experiment_search(std::string_view filter, const std::vector<std::string>& order_by) {
  SearchSql out;
  auto& w = out.where;
  auto type_of = [](const std::string& t) -> std::string {
    return t.empty() || t == "attribute" || t == "attributes" ? "attribute" : t == "tag" || t == "tags" ? "tag" : "";
  };
  auto bad_type = [](const std::string& t) {
    return invalid(
        fmt::format("Invalid entity type '{}'. Valid entity types are ('attribute', 'attributes', 'tag', 'tags')", t));
  };
  static const std::set<std::string> keys{"name", "experiment_id", "creation_time", "last_update_time"};
  auto bad_key = [](const std::string& k) {
    return invalid(fmt::format("Invalid attribute key '{}' specified. Valid keys are '{}'", k,
                               attribute_keys({"name", "creation_time", "last_update_time", "experiment_id"})));
  };
  MR_TRY(auto comparisons, parse_filter(filter, false));
  for (const auto& c : comparisons) {
    auto type = type_of(c.type);
    if (type.empty()) return bad_type(c.type);
    if (type == "tag") {
      if (is_null_op(c)) {
        exists_row(w, "experiment_tags", "x.experiment_id = e.experiment_id", c.key, no_condition, c.op == "IS NULL");
        continue;
      }
      MR_CHECK(text_value(c, "tag", true));
      if (!kTextOps.contains(c.op)) return invalid(fmt::format("Invalid comparator for tag: {}", c.op_text));
      exists_row(w, "experiment_tags", "x.experiment_id = e.experiment_id", c.key, [&](SqlText& s) {
        s.add(" AND ");
        compare(s, "x.value", c);
      });
      continue;
    }
    if (!keys.contains(c.key)) return bad_key(c.key);
    if (is_null_op(c))
      return invalid(fmt::format("IS NULL / IS NOT NULL is only supported for tags, not for attribute '{}'", c.key));
    if (c.key == "creation_time" || c.key == "last_update_time") {
      MR_TRY(std::int64_t v, integer_attribute(c));
      if (!kNumericOps.contains(c.op)) return invalid(fmt::format("Invalid comparator for attribute: {}", c.op_text));
      w.add(fmt::format(" AND e.{} {} ?", c.key, c.op));
      w.arg(v);
      continue;
    }
    if (c.key == "experiment_id") {
      if (c.kind == Kind::list) {
        MR_CHECK(list_value(c));
      } else {
        MR_CHECK(text_value(c, "attributes", false));
      }
      if (c.op != "=" && c.op != "!=" && c.op != "IN" && c.op != "NOT IN")
        return invalid(fmt::format("Invalid comparator for experiment_id: {}", c.op_text));
      auto ids = c.kind == Kind::list ? c.list : std::vector<std::string>{c.value};
      w.add(fmt::format(" AND e.experiment_id {} (", c.op == "=" || c.op == "IN" ? "IN" : "NOT IN"));
      for (std::size_t i = 0; i < ids.size(); ++i) {
        MR_TRY(std::int64_t id, parse_experiment_id(ids[i]));
        w.add(i > 0 ? ",?" : "?");
        w.arg(id);
      }
      w.add(")");
      continue;
    }
    if (c.kind == Kind::list)
      return invalid("Only ['experiment_id'] attributes support comparison with a list of quoted string values.");
    MR_CHECK(text_value(c, "attributes", false));
    if (!kTextOps.contains(c.op)) return bad_op(c, kTextOps, true);
    w.add(" AND ");
    compare(w, "e.name", c);
  }
  bool by_id = false;
  for (const auto& clause : order_by) {
    MR_TRY(OrderKey k, parse_order_by(clause));
    auto type = type_of(k.type);
    if (type.empty()) return bad_type(k.type);
    if (type == "tag") return invalid("Invalid order_by entity: tag");
    if (!keys.contains(k.key)) return bad_key(k.key);
    by_id = by_id || k.key == "experiment_id";
    out.order += fmt::format("e.{}{}, ", k.key, k.ascending ? "" : " DESC");
  }
  if (order_by.empty())
    out.order = "e.creation_time DESC, e.experiment_id";
  else if (by_id)
    out.order.resize(out.order.size() - 2);
  else
    out.order += "e.experiment_id DESC";
  return out;
}

}  // namespace mr::tracking
