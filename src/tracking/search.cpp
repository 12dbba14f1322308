#include "tracking/search.h"

#include "text/text.h"
#include "tracking/errors.h"
#include "tracking/filter.h"
#include "tracking/validate.h"

namespace mr::tracking {

std::vector<sql::Arg> SqlText::bound() const {
  std::vector<sql::Arg> out;
  out.reserve(args.size());
  for (const auto& a : args) std::visit([&](const auto& v) { out.emplace_back(v); }, a);
  return out;
}

namespace {

using Kind = Comparison::Kind;
const std::set<std::string> kNumericOps{"<", "<=", ">", ">=", "=", "!="};
const std::set<std::string> kTextOps{"=", "!=", "LIKE", "ILIKE"};
const std::set<std::string> kListOps{"=", "!=", "LIKE", "ILIKE", "IN", "NOT IN"};

std::string python_set(const std::set<std::string>& s) {
  std::string out = "{";
  for (const auto& e : s) out += (out.size() > 1 ? ", " : "") + python_repr(e);
  return out + "}";
}

bool is_null_op(const Comparison& c) { return c.op == "IS NULL" || c.op == "IS NOT NULL"; }

std::unexpected<Error> bad_op(const Comparison& c, const std::set<std::string>& ops, bool close) {
  return invalid(fmt::format("Invalid comparator '{}' not one of '{}{}", c.op_text, python_set(ops), close ? "'" : ""));
}

// column OP ?: LIKE is case-sensitive by the connection's pragma, ILIKE folds both sides.
void compare(SqlText& out, const std::string& column, const Comparison& c) {
  if (c.op == "IN" || c.op == "NOT IN") {
    out.add(fmt::format("{} {} (", column, c.op));
    for (std::size_t i = 0; i < c.list.size(); ++i) {
      out.add(i > 0 ? ",?" : "?");
      out.arg(c.list[i]);
    }
    out.add(")");
    return;
  }
  if (c.op == "ILIKE") out.add(fmt::format("LOWER({}) LIKE LOWER(?)", column));
  else out.add(fmt::format("{} {} ?", column, c.op));
  out.arg(c.value);
}

Result<double> number(const Comparison& c) {
  auto digits = c.value.ends_with('.') ? c.value + "0" : c.value;
  auto d = text::to_double(digits);
  if (!d && c.kind == Kind::number && digits.find_first_not_of("0123456789.eE+-") == std::string::npos) {  // beyond a double's range
    char* end = nullptr;
    double v = std::strtod(digits.c_str(), &end);
    if (*end == 0) d = v;
  }
  if (c.kind != Kind::number || !d) return invalid(fmt::format("Expected numeric value type for metric. Found {}", c.raw));
  return *d;
}

Result<std::int64_t> integer_attribute(const Comparison& c) {
  if (c.kind != Kind::number) return invalid(fmt::format("Expected numeric value type for numeric attribute: {}. Found {}", c.key, c.raw));
  if (auto i = text::to_i64(c.value)) return *i;
  if (auto d = text::to_double(c.value); d && *d == std::floor(*d) && std::fabs(*d) < 9e18) return static_cast<std::int64_t>(*d);
  return invalid(fmt::format("Invalid value for numeric attribute '{}': {}", c.key, python_repr(c.value)));
}

Result<> list_value(const Comparison& c) {
  if (c.bad_list) return invalid(fmt::format("While parsing a list in the query, expected string value, punctuation, or whitespace, but got different type in list: {}", c.raw.find(',') == std::string::npos && c.raw.ends_with(')') ? c.raw.substr(0, c.raw.size() - 1) + ",)" : c.raw));
  if (c.list.empty()) return invalid("While parsing a list in the query, expected a non-empty list of string values, but got empty list");
  return {};
}

Result<> text_value(const Comparison& c, std::string_view what, bool example) {
  if (c.kind == Kind::string) return {};
  if (c.kind == Kind::word && text::upper(c.value) != "NULL")
    return invalid(fmt::format("Parameter value is either not quoted or unidentified quote types used for string value {}. Use either single or double quotes.", c.raw));
  return invalid(fmt::format("Expected a quoted string value for {}{}. Got value {}", what, example ? " (e.g. 'my-value')" : "", c.raw));
}

std::string attribute_keys(std::initializer_list<const char*> keys) {
  std::string out = "{";
  for (const auto* k : keys) out += (out.size() > 1 ? ", '" : "'") + std::string(k) + "'";
  return out + "}";
}

// "(key = ? AND value OP ?)" conditions on a key-value table.
void exists(SqlText& out, std::string_view table, std::string_view owner, const std::string& key, const std::function<void(SqlText&)>& condition, bool negate = false) {
  out.add(fmt::format(" AND {}EXISTS (SELECT 1 FROM {} x WHERE {} AND x.key = ?", negate ? "NOT " : "", table, owner));
  out.arg(key);
  condition(out);
  out.add(")");
}

void no_condition(SqlText&) {}

// ---- runs ----

const std::map<std::string, std::string, std::less<>> kRunColumns{
    {"artifact_uri", "artifact_uri"}, {"end_time", "end_time"}, {"run_id", "run_uuid"}, {"run_name", "name"}, {"start_time", "start_time"},
    {"status", "status"}, {"user_id", "user_id"}, {"created", "start_time"}, {"Created", "start_time"}};

std::string run_type(const std::string& t) {
  static const std::map<std::string, std::string, std::less<>> names{
      {"metric", "metric"}, {"metrics", "metric"}, {"parameter", "parameter"}, {"parameters", "parameter"}, {"param", "parameter"}, {"params", "parameter"},
      {"tag", "tag"}, {"tags", "tag"}, {"attribute", "attribute"}, {"attributes", "attribute"}, {"attr", "attribute"}, {"run", "attribute"}, {"", "attribute"},
      {"dataset", "dataset"}, {"datasets", "dataset"}};
  auto it = names.find(t);
  return it == names.end() ? "" : it->second;
}

std::unexpected<Error> bad_run_type(const std::string& t) {
  return invalid(fmt::format("Invalid entity type '{}'. Valid values are ['metric', 'parameter', 'tag', 'attribute', 'dataset']", t));
}

std::string run_attribute(const Comparison& c) {
  if (c.key == "run name" || c.key == "Run name" || c.key == "Run Name") return "run_name";
  if (c.key == "created" || c.key == "Created") return "start_time";
  return kRunColumns.contains(c.key) ? c.key : "";
}

std::unexpected<Error> bad_run_attribute(const std::string& key) {
  return invalid(fmt::format("Invalid attribute key '{}' specified. Valid keys are '{}'", key,
                             attribute_keys({"artifact_uri", "end_time", "run_id", "run_name", "start_time", "status", "user_id", "created", "Created", "run name", "Run name", "Run Name"})));
}

Result<> run_condition(const Comparison& c, SqlText& out) {
  const std::string type = run_type(c.type);
  if (type.empty()) return bad_run_type(c.type);
  if (is_null_op(c) && type != "tag" && type != "parameter")
    return invalid(fmt::format("IS NULL / IS NOT NULL is only supported for tags and params, not for '{}' '{}'", type, c.key));
  if (type == "metric") {
    MR_TRY(double v, number(c));
    if (!kNumericOps.contains(c.op)) return bad_op(c, kNumericOps, false);
    // NaN is stored as 0 and marked: it differs from every number and matches nothing else.
    exists(out, "latest_metrics", "x.run_uuid = r.run_uuid", c.key, [&](SqlText& s) {
      s.add(c.op == "!=" ? " AND (x.value != ? OR x.is_nan = 1)" : fmt::format(" AND x.value {} ? AND x.is_nan = 0", c.op));
      s.arg(v);
    });
    return {};
  }
  if (type == "parameter" || type == "tag") {
    const char* table = type == "tag" ? "tags" : "params";
    if (is_null_op(c)) {
      exists(out, table, "x.run_uuid = r.run_uuid", c.key, no_condition, c.op == "IS NULL");
      return {};
    }
    MR_CHECK(text_value(c, type, true));
    if (!kTextOps.contains(c.op)) {
      auto ops = kTextOps;
      ops.insert({"IS NULL", "IS NOT NULL"});
      return bad_op(c, ops, type == "parameter");
    }
    exists(out, table, "x.run_uuid = r.run_uuid", c.key, [&](SqlText& s) {
      s.add(" AND ");
      compare(s, "x.value", c);
    });
    return {};
  }
  if (type == "dataset") {
    if (c.key != "name" && c.key != "digest" && c.key != "context")
      return invalid(fmt::format("Invalid dataset key '{}' specified. Valid keys are '{{'context', 'digest', 'name'}}'", c.key));
    if (c.kind == Kind::list) {
      MR_CHECK(list_value(c));
    } else {
      MR_CHECK(text_value(c, "dataset attributes", false));
    }
    if (!kListOps.contains(c.op)) return bad_op(c, kListOps, false);
    if (c.key == "context") {
      out.add(" AND EXISTS (SELECT 1 FROM inputs i JOIN input_tags t ON t.input_uuid = i.input_uuid WHERE i.destination_id = r.run_uuid AND t.name = 'mlflow.data.context' AND ");
      compare(out, "t.value", c);
    } else {
      out.add(" AND EXISTS (SELECT 1 FROM inputs i JOIN datasets d ON d.dataset_uuid = i.source_id WHERE i.destination_id = r.run_uuid AND ");
      compare(out, "d." + c.key, c);
    }
    out.add(")");
    return {};
  }
  const std::string attribute = run_attribute(c);
  if (attribute.empty()) return bad_run_attribute(c.key);
  if (attribute == "start_time" || attribute == "end_time") {
    if (c.kind != Kind::number) return invalid(fmt::format("Expected numeric value type for numeric attribute: {}. Found {}", c.key, c.raw));
    MR_TRY(double v, number(c));
    if (!kNumericOps.contains(c.op)) return bad_op(c, kListOps, false);
    out.add(fmt::format(" AND r.{} {} ?", attribute, c.op));
    if (v == std::floor(v) && std::fabs(v) < 9e15) out.arg(static_cast<std::int64_t>(v));
    else out.arg(v);
    return {};
  }
  if (c.kind == Kind::list) {
    if (attribute != "run_id") return invalid("Only ['run_id'] attributes support comparison with a list of quoted string values.");
    MR_CHECK(list_value(c));
  } else {
    MR_CHECK(text_value(c, "attributes", false));
  }
  if (!kListOps.contains(c.op)) return bad_op(c, kListOps, true);
  if ((c.op == "IN" || c.op == "NOT IN") != (c.kind == Kind::list)) return bad_op(c, kListOps, true);
  if (attribute == "run_name") {  // the name lives in the tag as well, and the tag is what searches see
    Comparison tag = c;
    exists(out, "tags", "x.run_uuid = r.run_uuid", "mlflow.runName", [&](SqlText& s) {
      s.add(" AND ");
      compare(s, "x.value", tag);
    });
    return {};
  }
  out.add(" AND ");
  compare(out, "r." + kRunColumns.at(attribute), c);
  return {};
}

std::unexpected<Error> duplicate_order(const std::vector<std::string>& order_by) {
  std::string list;
  for (const auto& o : order_by) list += (list.empty() ? "" : ", ") + python_repr(o);
  return invalid(fmt::format("`order_by` contains duplicate fields: [{}]", list));
}

}  // namespace

Result<SearchSql> run_search(std::string_view filter, const std::vector<std::string>& order_by) {
  SearchSql out;
  MR_TRY(auto comparisons, parse_filter(filter, true));
  for (const auto& c : comparisons) MR_CHECK(run_condition(c, out.where));
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
    auto alias = fmt::format("o{}", n++);
    out.joins.add(fmt::format(" LEFT JOIN {0} {1} ON {1}.run_uuid = r.run_uuid AND {1}.key = ?", type == "metric" ? "latest_metrics" : type == "tag" ? "tags" : "params", alias));
    out.joins.arg(key);
    if (type == "metric") out.order += fmt::format("CASE WHEN {0}.is_nan = 1 THEN 1 WHEN {0}.value IS NULL THEN 2 ELSE 0 END, {0}.value{1}, ", alias, direction);
    else out.order += fmt::format("CASE WHEN {0}.value IS NULL THEN 1 ELSE 0 END, {0}.value{1}, ", alias, direction);
  }
  if (!by_start) out.order += "r.start_time DESC, ";
  out.order += "r.run_uuid";
  return out;
}

// ---- experiments ----

Result<SearchSql> experiment_search(std::string_view filter, const std::vector<std::string>& order_by) {
  SearchSql out;
  auto& w = out.where;
  auto type_of = [](const std::string& t) -> std::string { return t.empty() || t == "attribute" || t == "attributes" ? "attribute" : t == "tag" || t == "tags" ? "tag" : ""; };
  auto bad_type = [](const std::string& t) { return invalid(fmt::format("Invalid entity type '{}'. Valid entity types are ('attribute', 'attributes', 'tag', 'tags')", t)); };
  static const std::set<std::string> keys{"name", "experiment_id", "creation_time", "last_update_time"};
  auto bad_key = [](const std::string& k) {
    return invalid(fmt::format("Invalid attribute key '{}' specified. Valid keys are '{}'", k, attribute_keys({"name", "creation_time", "last_update_time", "experiment_id"})));
  };
  MR_TRY(auto comparisons, parse_filter(filter, false));
  for (const auto& c : comparisons) {
    auto type = type_of(c.type);
    if (type.empty()) return bad_type(c.type);
    if (type == "tag") {
      if (is_null_op(c)) {
        exists(w, "experiment_tags", "x.experiment_id = e.experiment_id", c.key, no_condition, c.op == "IS NULL");
        continue;
      }
      MR_CHECK(text_value(c, "tag", true));
      if (!kTextOps.contains(c.op)) return invalid(fmt::format("Invalid comparator for tag: {}", c.op_text));
      exists(w, "experiment_tags", "x.experiment_id = e.experiment_id", c.key, [&](SqlText& s) {
        s.add(" AND ");
        compare(s, "x.value", c);
      });
      continue;
    }
    if (!keys.contains(c.key)) return bad_key(c.key);
    if (is_null_op(c)) return invalid(fmt::format("IS NULL / IS NOT NULL is only supported for tags, not for attribute '{}'", c.key));
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
      if (c.op != "=" && c.op != "!=" && c.op != "IN" && c.op != "NOT IN") return invalid(fmt::format("Invalid comparator for experiment_id: {}", c.op_text));
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
    if (c.kind == Kind::list) return invalid("Only ['experiment_id'] attributes support comparison with a list of quoted string values.");
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
  if (order_by.empty()) out.order = "e.creation_time DESC, e.experiment_id";
  else if (by_id) out.order.resize(out.order.size() - 2);
  else out.order += "e.experiment_id DESC";
  return out;
}

// ---- registry ----

namespace {

constexpr std::string_view kPromptTag = "mlflow.prompt.is_prompt";

// Whether the search asks for prompts: its first condition on the prompt tag is = 'true' or != 'false'.
bool asks_for_prompts(const std::vector<Comparison>& all) {
  for (const auto& c : all)
    if ((c.type == "tag" || c.type == "tags") && c.key == kPromptTag)
      return (c.op == "=" && text::lower(c.value) == "true") || (c.op == "!=" && text::lower(c.value) == "false");
  return false;
}

Result<bool> registry_tag(const Comparison& c) {
  if (c.type == "tag" || c.type == "tags") return true;
  if (c.type.empty() || c.type == "attribute") return false;
  return invalid(fmt::format("Invalid entity type '{}'. Valid entity types are ('attribute', 'tag', 'tags')", c.type));
}

Result<> registry_tag_condition(const Comparison& c, SqlText& w, std::string_view table, std::string_view owner) {
  MR_CHECK(text_value(c, "tag", true));
  if (!kTextOps.contains(c.op)) return invalid(fmt::format("Invalid comparator for tag: {}", c.op_text));
  exists(w, table, owner, c.key, [&](SqlText& s) {
    s.add(" AND ");
    compare(s, "x.value", c);
  });
  return {};
}

}  // namespace

Result<SearchSql> registered_model_search(std::string_view filter, const std::vector<std::string>& order_by) {
  SearchSql out;
  auto& w = out.where;
  constexpr std::string_view owner = "x.name = m.name AND x.workspace = m.workspace";
  MR_TRY(auto comparisons, parse_filter(filter, false));
  bool prompts = asks_for_prompts(comparisons);
  for (const auto& c : comparisons) {
    MR_TRY(bool tag, registry_tag(c));
    if (is_null_op(c)) return invalid("IS NULL / IS NOT NULL is not supported for registered model search.");
    if (tag) {
      if (c.key == kPromptTag && !prompts) continue;
      MR_CHECK(registry_tag_condition(c, w, "registered_model_tags", owner));
      continue;
    }
    if (c.key != "name" || c.key_quoted) return invalid(fmt::format("Invalid attribute key '{}' specified. Valid keys are '{{'name'}}'", c.key_quoted ? "`" + c.key + "`" : c.key));
    if (c.kind == Kind::list) {
      MR_CHECK(list_value(c));
    } else if (c.kind == Kind::word) {
      return invalid(fmt::format("Parameter value is either not quoted or unidentified quote types used for string value {}. Use either single or double quotes.", c.raw));
    } else if (c.kind != Kind::string) {
      return invalid(fmt::format("Expected a quoted string value or a list of quoted string values for attributes. Got value {}", c.raw));
    }
    if (!kListOps.contains(c.op)) return invalid(fmt::format("Invalid comparator for attribute: {}", c.op_text));
    w.add(" AND ");
    compare(w, "m.name", c);
  }
  if (!prompts)
    w.add(fmt::format(" AND NOT EXISTS (SELECT 1 FROM registered_model_tags x WHERE {} AND x.key = '{}' AND x.value = 'true')", owner, kPromptTag));
  std::set<std::string> seen;
  for (const auto& clause : order_by) {
    auto words = text::trim(clause);
    MR_TRY(OrderKey k, parse_order_by(words.starts_with("timestamp") ? "last_updated_" + std::string(words) : std::string(words)));
    std::string column = k.key == "name" ? "m.name" : k.key == "last_updated_timestamp" ? "m.last_updated_time" : "";
    if (column.empty() || !k.type.empty() || k.key_quoted)
      return invalid(fmt::format("Invalid order by key '{}' specified. Valid keys are '{{'name', 'timestamp'}}'", k.type.empty() ? k.key : k.type + "." + k.key));
    if (!seen.insert(column).second) return duplicate_order(order_by);
    out.order += fmt::format("{}{}, ", column, k.ascending ? "" : " DESC");
  }
  if (seen.contains("m.name")) out.order.resize(out.order.size() - 2);
  else out.order += "m.name";
  return out;
}

Result<SearchSql> model_version_search(std::string_view filter, const std::vector<std::string>& order_by) {
  SearchSql out;
  auto& w = out.where;
  constexpr std::string_view owner = "x.name = v.name AND x.version = v.version AND x.workspace = v.workspace";
  MR_TRY(auto comparisons, parse_filter(filter, false));
  bool prompts = asks_for_prompts(comparisons);
  for (const auto& c : comparisons) {
    MR_TRY(bool tag, registry_tag(c));
    if (is_null_op(c)) return invalid("IS NULL / IS NOT NULL is not supported for model version search.");
    if (tag) {
      if (c.key == kPromptTag && !prompts) continue;
      MR_CHECK(registry_tag_condition(c, w, "model_version_tags", owner));
      continue;
    }
    if (c.key == "version_number") {
      auto v = text::to_i64(c.value);
      if (!kNumericOps.contains(c.op)) return invalid(fmt::format("Invalid comparator for attribute version_number: {}", c.op_text));
      if (!v) return invalid(fmt::format("Invalid value for numeric attribute 'version_number': {}", c.raw));
      w.add(fmt::format(" AND v.version {} ?", c.op));
      w.arg(*v);
      continue;
    }
    std::string column = c.key == "name" ? "v.name" : c.key == "run_id" ? "v.run_id" : c.key == "source_path" ? "v.source" : "";
    if (column.empty())
      return invalid(fmt::format("Invalid attribute key '{}' specified. Valid keys are '{}'", c.key, attribute_keys({"name", "version_number", "run_id", "source_path"})));
    if (c.kind == Kind::list) {
      if (c.key == "source_path") return invalid("Only ['name', 'run_id'] attributes support comparison with a list of quoted string values.");
      MR_CHECK(list_value(c));
    } else if (c.kind == Kind::number) {
      return invalid("Only the '{'version_number', 'last_updated_timestamp', 'creation_timestamp'}' attributes support comparison with numeric values.");
    } else {
      MR_CHECK(text_value(c, "attributes", false));
    }
    if (!(c.key == "source_path" ? kTextOps : kListOps).contains(c.op)) return invalid(fmt::format("Invalid comparator for attribute: {}", c.op_text));
    w.add(" AND ");
    compare(w, column, c);
  }
  if (!prompts)
    w.add(fmt::format(" AND NOT EXISTS (SELECT 1 FROM model_version_tags x WHERE x.name = v.name AND x.workspace = v.workspace AND x.key = '{}' AND x.value = 'true')", kPromptTag));
  std::set<std::string> seen;
  static const std::map<std::string, std::string> columns{
      {"name", "v.name"}, {"version_number", "v.version"}, {"creation_timestamp", "v.creation_time"}, {"last_updated_timestamp", "v.last_updated_time"}};
  for (const auto& clause : order_by) {
    MR_TRY(OrderKey k, parse_order_by(clause));
    auto it = columns.find(k.key);
    if (k.type == "tag" || k.type == "tags") return invalid(fmt::format("Invalid order by key '{}' specified. Valid keys are {{'name', 'version_number', 'creation_timestamp', 'last_updated_timestamp'}}", k.key));
    if (it == columns.end() || (!k.type.empty() && k.type != "attribute"))
      return invalid(fmt::format("Invalid attribute key '{}' specified. Valid keys are '{}'", k.key, attribute_keys({"name", "version_number", "creation_timestamp", "last_updated_timestamp"})));
    if (!seen.insert(it->second).second) return duplicate_order(order_by);
    out.order += fmt::format("{}{}, ", it->second, k.ascending ? "" : " DESC");
  }
  if (order_by.empty()) out.order = "v.last_updated_time DESC, ";
  if (!seen.contains("v.name")) out.order += "v.name, ";
  if (!seen.contains("v.version")) out.order += "v.version DESC, ";
  out.order.resize(out.order.size() - 2);
  return out;
}

// ---- logged models ----

namespace {

const std::set<std::string> kModelColumns{"model_id", "experiment_id", "name", "artifact_location", "model_type", "source_run_id", "status",
                                          "status_message", "lifecycle_stage", "creation_timestamp_ms", "last_updated_timestamp_ms"};

std::string model_column(const std::string& key) {
  if (key == "creation_time" || key == "creation_timestamp") return "creation_timestamp_ms";
  if (key == "last_updated_timestamp") return "last_updated_timestamp_ms";
  return key;
}

// The latest value of a metric of model l on the given datasets, as a scalar subquery without its closing parenthesis' limits.
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

Result<SearchSql> logged_model_search(std::string_view filter, const std::vector<ModelDataset>& datasets, const std::vector<ModelOrder>& order_by) {
  SearchSql out;
  auto& w = out.where;
  auto parsed = parse_filter(filter, false);
  if (!filter.empty() && text::trim(filter).empty()) return invalid(fmt::format("Invalid filter string: {}. Expected a single SQL expression.", python_repr(filter)));
  if (!parsed)
    return invalid(fmt::format("Invalid filter string: {}. Expected a list of comparisons separated by 'AND' (e.g. 'metrics.loss > 0.1 AND params.lr = 0.01').", python_repr(filter)));
  bool metric_condition = false;
  for (auto& c : *parsed) {
    if (is_null_op(c)) return invalid(fmt::format("Invalid comparison: {} {}. Expected a comparison with 3 tokens.", c.key, c.op));
    bool bare = c.type.empty();
    if (!bare && c.type != "attributes" && c.type != "metrics" && c.type != "params" && c.type != "tags")
      return invalid(fmt::format("Invalid entity type: '{}'. Expected one of ['attributes', 'metrics', 'params', 'tags'].", c.type));
    std::string type = bare ? "attributes" : c.type;
    if (bare) c.key = model_column(c.key);
    bool numeric = type == "metrics" || (type == "attributes" && (c.key == "creation_timestamp_ms" || c.key == "last_updated_timestamp_ms"));
    if (!(numeric ? kNumericOps : kListOps).contains(c.op))
      return invalid(fmt::format("Invalid comparison operator for {}.{}: '{}'. Expected one of {}.", type, c.key, c.op_text,
                                 numeric ? "('<', '<=', '>', '>=', '=', '!=')" : "('=', '!=', 'LIKE', 'ILIKE', 'IN', 'NOT IN')"));
    if (c.kind == Kind::list) MR_CHECK(list_value(c));
    if (c.kind == Kind::list && numeric) return invalid(fmt::format("Invalid comparison operator for {}.{}: '{}'.", type, c.key, c.op_text));
    if (numeric) {
      auto v = text::to_double(c.value);
      if (!v || c.kind != Kind::number) return invalid(fmt::format("could not convert string to float: {}", python_repr(c.raw)));
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
      w.add(fmt::format(" AND EXISTS (SELECT 1 FROM {} x WHERE x.model_id = l.model_id AND x.{} = ? AND ", param ? "logged_model_params" : "logged_model_tags", param ? "param_key" : "tag_key"));
      w.arg(c.key);
      compare(w, param ? "x.param_value" : "x.tag_value", c);
      w.add(")");
      continue;
    }
    if (!kModelColumns.contains(c.key)) return invalid(fmt::format("Invalid attribute '{}' in the filter. Expected one of the fields of a logged model.", c.key));
    if (c.key == "status") {
      static const std::map<std::string, std::int64_t> states{{"UNSPECIFIED", 0}, {"PENDING", 1}, {"READY", 2}, {"FAILED", 3}};
      if (c.op == "LIKE" || c.op == "ILIKE") return invalid(fmt::format("Invalid comparison operator for status: {}", c.op_text));
      auto wanted = c.kind == Kind::list ? c.list : std::vector<std::string>{c.value};
      w.add(fmt::format(" AND l.status {} (", c.op == "=" || c.op == "IN" ? "IN" : "NOT IN"));
      for (std::size_t i = 0; i < wanted.size(); ++i) {
        auto it = states.find(wanted[i]);
        if (it == states.end()) return invalid(fmt::format("Unknown model status in filter: {}", python_repr(wanted[i])));
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
    if (o.field.substr(0, dot) != "metrics") return invalid(fmt::format("Invalid order by field name: {}. Only metrics are supported.", o.field));
    auto scope = datasets;
    if (!o.dataset_name.empty()) scope = {{o.dataset_name, o.dataset_digest.empty() ? std::nullopt : std::optional(o.dataset_digest)}};
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
