#include "tracking/search_common.h"

#include "text/text.h"
#include "tracking/validate.h"

namespace mr::tracking {

using Kind = Comparison::Kind;

std::vector<sql::Arg> SqlText::bound() const {
  std::vector<sql::Arg> out;
  out.reserve(args.size());
  for (const auto& a : args) std::visit([&](const auto& v) { out.emplace_back(v); }, a);
  return out;
}

const std::set<std::string> kNumericOps{"<", "<=", ">", ">=", "=", "!="};
const std::set<std::string> kTextOps{"=", "!=", "LIKE", "ILIKE"};
const std::set<std::string> kListOps{"=", "!=", "LIKE", "ILIKE", "IN", "NOT IN"};

static std::string python_set(const std::set<std::string>& s) {
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
  if (c.op == "ILIKE")
    out.add(fmt::format("LOWER({}) LIKE LOWER(?)", column));
  else
    out.add(fmt::format("{} {} ?", column, c.op));
  out.arg(c.value);
}

Result<double> number(const Comparison& c) {
  auto digits = c.value.ends_with('.') ? c.value + "0" : c.value;
  auto d = text::to_double(digits);
  if (!d && c.kind == Kind::number &&
      digits.find_first_not_of("0123456789.eE+-") == std::string::npos) {  // beyond a double's range
    char* end = nullptr;
    double v = std::strtod(digits.c_str(), &end);
    if (*end == 0) d = v;
  }
  if (c.kind != Kind::number || !d)
    return invalid(fmt::format("Expected numeric value type for metric. Found {}", c.raw));
  return *d;
}

Result<std::int64_t> integer_attribute(const Comparison& c) {
  if (c.kind != Kind::number)
    return invalid(fmt::format("Expected numeric value type for numeric attribute: {}. Found {}", c.key, c.raw));
  if (auto i = text::to_i64(c.value)) return *i;
  if (auto d = text::to_double(c.value); d && *d == std::floor(*d) && std::fabs(*d) < 9e18)
    return static_cast<std::int64_t>(*d);
  return invalid(fmt::format("Invalid value for numeric attribute '{}': {}", c.key, python_repr(c.value)));
}

Result<> list_value(const Comparison& c) {
  if (c.bad_list)
    return invalid(fmt::format(
        "While parsing a list in the query, expected string value, punctuation, or whitespace, but got different type "
        "in list: {}",
        c.raw.find(',') == std::string::npos && c.raw.ends_with(')') ? c.raw.substr(0, c.raw.size() - 1) + ",)"
                                                                     : c.raw));
  if (c.list.empty())
    return invalid("While parsing a list in the query, expected a non-empty list of string values, but got empty list");
  return {};
}

Result<> text_value(const Comparison& c, std::string_view what, bool example) {
  if (c.kind == Kind::string) return {};
  if (c.kind == Kind::word && text::upper(c.value) != "NULL")
    return invalid(
        fmt::format("Parameter value is either not quoted or unidentified quote types used for string value {}. Use "
                    "either single or double quotes.",
                    c.raw));
  return invalid(fmt::format("Expected a quoted string value for {}{}. Got value {}", what,
                             example ? " (e.g. 'my-value')" : "", c.raw));
}

std::string attribute_keys(std::initializer_list<const char*> keys) {
  std::string out = "{";
  for (const auto* k : keys) out += (out.size() > 1 ? ", '" : "'") + std::string(k) + "'";
  return out + "}";
}

// "(key = ? AND value OP ?)" conditions on a key-value table.
void exists_row(SqlText& out, std::string_view table, std::string_view owner, const std::string& key,
                const std::function<void(SqlText&)>& condition, bool negate) {
  out.add(fmt::format(" AND {}EXISTS (SELECT 1 FROM {} x WHERE {} AND x.key = ?", negate ? "NOT " : "", table, owner));
  out.arg(key);
  condition(out);
  out.add(")");
}

void no_condition(SqlText&) {}

std::unexpected<Error> duplicate_order(const std::vector<std::string>& order_by) {
  std::string list;
  for (const auto& o : order_by) list += (list.empty() ? "" : ", ") + python_repr(o);
  return invalid(fmt::format("`order_by` contains duplicate fields: [{}]", list));
}

}  // namespace mr::tracking
