#include "text/text.h"
#include "tracking/search_common.h"
#include "tracking/validate.h"

namespace mr::tracking {

using Kind = Comparison::Kind;

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
  exists_row(w, table, owner, c.key, [&](SqlText& s) {
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
    if (c.key != "name" || c.key_quoted)
      return invalid(fmt::format("Invalid attribute key '{}' specified. Valid keys are '{{'name'}}'",
                                 c.key_quoted ? "`" + c.key + "`" : c.key));
    if (c.kind == Kind::list) {
      MR_CHECK(list_value(c));
    } else if (c.kind == Kind::word) {
      return invalid(
          fmt::format("Parameter value is either not quoted or unidentified quote types used for string value {}. Use "
                      "either single or double quotes.",
                      c.raw));
    } else if (c.kind != Kind::string) {
      return invalid(fmt::format(
          "Expected a quoted string value or a list of quoted string values for attributes. Got value {}", c.raw));
    }
    if (!kListOps.contains(c.op)) return invalid(fmt::format("Invalid comparator for attribute: {}", c.op_text));
    w.add(" AND ");
    compare(w, "m.name", c);
  }
  if (!prompts)
    w.add(fmt::format(
        " AND NOT EXISTS (SELECT 1 FROM registered_model_tags x WHERE {} AND x.key = '{}' AND x.value = 'true')", owner,
        kPromptTag));
  std::set<std::string> seen;
  for (const auto& clause : order_by) {
    auto words = text::trim(clause);
    MR_TRY(OrderKey k,
           parse_order_by(words.starts_with("timestamp") ? "last_updated_" + std::string(words) : std::string(words)));
    std::string column = k.key == "name" ? "m.name" : k.key == "last_updated_timestamp" ? "m.last_updated_time" : "";
    if (column.empty() || !k.type.empty() || k.key_quoted)
      return invalid(fmt::format("Invalid order by key '{}' specified. Valid keys are '{{'name', 'timestamp'}}'",
                                 k.type.empty() ? k.key : k.type + "." + k.key));
    if (!seen.insert(column).second) return duplicate_order(order_by);
    out.order += fmt::format("{}{}, ", column, k.ascending ? "" : " DESC");
  }
  if (seen.contains("m.name"))
    out.order.resize(out.order.size() - 2);
  else
    out.order += "m.name";
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
      if (!kNumericOps.contains(c.op))
        return invalid(fmt::format("Invalid comparator for attribute version_number: {}", c.op_text));
      if (!v) return invalid(fmt::format("Invalid value for numeric attribute 'version_number': {}", c.raw));
      w.add(fmt::format(" AND v.version {} ?", c.op));
      w.arg(*v);
      continue;
    }
    std::string column = c.key == "name"          ? "v.name"
                         : c.key == "run_id"      ? "v.run_id"
                         : c.key == "source_path" ? "v.source"
                                                  : "";
    if (column.empty())
      return invalid(fmt::format("Invalid attribute key '{}' specified. Valid keys are '{}'", c.key,
                                 attribute_keys({"name", "version_number", "run_id", "source_path"})));
    if (c.kind == Kind::list) {
      if (c.key == "source_path")
        return invalid("Only ['name', 'run_id'] attributes support comparison with a list of quoted string values.");
      MR_CHECK(list_value(c));
    } else if (c.kind == Kind::number) {
      return invalid(
          "Only the '{'version_number', 'last_updated_timestamp', 'creation_timestamp'}' attributes support comparison "
          "with numeric values.");
    } else {
      MR_CHECK(text_value(c, "attributes", false));
    }
    if (!(c.key == "source_path" ? kTextOps : kListOps).contains(c.op))
      return invalid(fmt::format("Invalid comparator for attribute: {}", c.op_text));
    w.add(" AND ");
    compare(w, column, c);
  }
  if (!prompts)
    w.add(
        fmt::format(" AND NOT EXISTS (SELECT 1 FROM model_version_tags x WHERE x.name = v.name AND x.workspace = "
                    "v.workspace AND x.key = '{}' AND x.value = 'true')",
                    kPromptTag));
  std::set<std::string> seen;
  static const std::map<std::string, std::string> columns{{"name", "v.name"},
                                                          {"version_number", "v.version"},
                                                          {"creation_timestamp", "v.creation_time"},
                                                          {"last_updated_timestamp", "v.last_updated_time"}};
  for (const auto& clause : order_by) {
    MR_TRY(OrderKey k, parse_order_by(clause));
    auto it = columns.find(k.key);
    if (k.type == "tag" || k.type == "tags")
      return invalid(
          fmt::format("Invalid order by key '{}' specified. Valid keys are {{'name', 'version_number', "
                      "'creation_timestamp', 'last_updated_timestamp'}}",
                      k.key));
    if (it == columns.end() || (!k.type.empty() && k.type != "attribute"))
      return invalid(
          fmt::format("Invalid attribute key '{}' specified. Valid keys are '{}'", k.key,
                      attribute_keys({"name", "version_number", "creation_timestamp", "last_updated_timestamp"})));
    if (!seen.insert(it->second).second) return duplicate_order(order_by);
    out.order += fmt::format("{}{}, ", it->second, k.ascending ? "" : " DESC");
  }
  if (order_by.empty()) out.order = "v.last_updated_time DESC, ";
  if (!seen.contains("v.name")) out.order += "v.name, ";
  if (!seen.contains("v.version")) out.order += "v.version DESC, ";
  out.order.resize(out.order.size() - 2);
  return out;
}

}  // namespace mr::tracking
