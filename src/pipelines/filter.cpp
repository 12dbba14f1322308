#include "pipelines/filter.h"

#include "json/parse.h"
#include "pipelines/errors.h"
#include "pipelines/messages.h"
#include "text/text.h"

namespace mr::pipelines {

namespace {

constexpr std::size_t filter_limit = 64U << 10;
constexpr std::size_t predicate_limit = 100, value_limit = 1000;
constexpr std::int64_t default_page = 20, largest_page = 200;

std::unexpected<Error> unreadable_filter(std::string_view text, std::string_view why) {
  return invalid(fmt::format("failed to parse valid filter from \"{}\": {}", text::utf8_prefix(text, 300), why));
}

Predicate::Op operation_of(std::string_view name) {
  using Op = Predicate::Op;
  static constexpr std::pair<std::string_view, Op> ops[] = {{"EQUALS", Op::equals},
                                                            {"NOT_EQUALS", Op::not_equals},
                                                            {"GREATER_THAN", Op::greater},
                                                            {"GREATER_THAN_EQUALS", Op::greater_equals},
                                                            {"LESS_THAN", Op::less},
                                                            {"LESS_THAN_EQUALS", Op::less_equals},
                                                            {"IN", Op::in},
                                                            {"IS_SUBSTRING", Op::substring}};
  for (const auto& [text, op] : ops)
    if (text == name) return op;
  return Op::equals;
}

// A whole number is an amount of seconds where the field is a time.
Value scalar(const ListField* field, const Value& v) {
  if (field == nullptr || field->type != ColumnType::time || !v.is_int64()) return v;
  return Value(std::clamp<std::int64_t>(v.get_int64(), -1'000'000'000'000, 1'000'000'000'000) * 1000);
}

Result<Predicate> read_one_predicate(const Object& m, const Collection& collection) {
  Predicate p;
  p.key = text_of(m, "key");
  const auto operation = text_of(m, "operation");
  if (operation.empty() || operation == "OPERATION_UNSPECIFIED")
    return invalid(
        fmt::format("invalid predicate operation: {}", operation.empty() ? "OPERATION_UNSPECIFIED" : operation));
  p.op = operation_of(operation);
  const bool tag = collection.tags && p.key.starts_with("tags.");
  const auto* field = find_field(collection, p.key);
  bool several = false, given = false;
  for (const auto* name : {"int_values", "long_values", "string_values"})
    if (const auto* list = message_of(m, name)) {
      several = given = true;
      if (const auto* values = list->if_contains("values"); values != nullptr && values->is_array())
        for (const auto& v : values->get_array()) p.values.push_back(scalar(field, v));
    }
  for (const auto* name : {"int_value", "long_value", "string_value"})
    if (const auto* v = m.if_contains(name)) {
      given = true;
      p.values.push_back(scalar(field, *v));
    }
  if (const auto* v = m.if_contains("timestamp_value")) {
    given = true;
    p.values.push_back(*v);
  }
  if (p.key.empty())
    return invalid(fmt::format("Predicate key cannot be empty for operation {} and value {}", operation,
                               p.values.empty() ? std::string("<nil>") : json::serialize(p.values[0])));
  if (!given) return invalid(fmt::format("unknown predicate value for key \"{}\"", p.key));
  if (p.values.size() > value_limit) return invalid(fmt::format("a predicate has at most {} values", value_limit));
  if (p.op == Predicate::Op::in && !several) return invalid("cannot use IN operator with scalar type");
  if (p.op != Predicate::Op::in && several)
    return invalid(fmt::format("cannot use scalar operator {} on array type", operation));
  if (p.op == Predicate::Op::substring && !p.values[0].is_string())
    return invalid("cannot use non string value type with operator IS_SUBSTRING");
  if (field == nullptr && !tag)
    return invalid(fmt::format("no support for filtering on unrecognized field \"{}\"", p.key));
  return p;
}

Result<std::vector<Predicate>> read_predicates(const Object& m, const Collection& collection) {
  std::vector<Predicate> out;
  const auto* list = m.if_contains("predicates");
  if (list == nullptr || !list->is_array()) return out;
  if (list->get_array().size() > predicate_limit)
    return invalid(fmt::format("a filter has at most {} predicates", predicate_limit));
  for (const auto& v : list->get_array()) {
    MR_TRY(auto p, read_one_predicate(v.get_object(), collection));
    out.push_back(std::move(p));
  }
  return out;
}

}  // namespace

std::string_view parameter(const text::QueryPairs& query, std::string_view name) {
  for (const auto& [key, value] : query)
    if (key == name && !value.empty()) return value;
  return {};
}

Result<void> read_filter(std::string_view text, const Collection& collection, ListQuery& q) {
  if (text.empty()) return {};
  if (text.size() > filter_limit) return invalid(fmt::format("a filter has at most {} bytes", filter_limit));
  std::string plain(text);
  if (!text::trim(plain).starts_with('{')) {
    // Browsers encode it twice.
    std::string spaced = plain;
    std::ranges::replace(spaced, '+', ' ');
    auto decoded = text::percent_decode(spaced);
    if (!decoded) return unreadable_filter(text, "invalid URL escape");
    plain = std::move(*decoded);
  }
  auto m = read_message(plain, wire::kFilter);
  if (!m) return unreadable_filter(text, m.error().message);
  MR_TRY(q.all_of, read_predicates(*m, collection));
  if (const auto* groups = m->if_contains("any_of"); groups != nullptr && groups->is_array()) {
    if (groups->get_array().size() > predicate_limit)
      return invalid(fmt::format("a filter has at most {} groups", predicate_limit));
    for (const auto& g : groups->get_array()) {
      MR_TRY(auto group, read_predicates(g.get_object(), collection));
      if (group.empty()) return invalid("a group of any_of needs a predicate");
      q.any_of.push_back(std::move(group));
    }
  }
  return {};
}

Result<void> read_sort(std::string_view text, const Collection& collection, ListQuery& q) {
  const auto lower = text::lower(text);
  std::vector<std::string_view> words;
  for (auto w : text::split(lower, ' '))
    if (!w.empty()) words.push_back(w);
  if (words.size() > 2 || (words.size() == 2 && words[1] != "asc" && words[1] != "desc"))
    return invalid(
        fmt::format("Received invalid sort by format \"{}\". Supported format: \"field_name\", \"field_name desc\", or "
                    "\"field_name asc\"",
                    text));
  if (words.empty()) return {};
  const auto* field = find_field(collection, words[0]);
  if (field == nullptr)
    return invalid(fmt::format("Invalid sorting field: \"{}\" on listable type {}", words[0], collection.singular));
  q.sort_key = words[0];
  q.descending = words.size() == 2 && words[1] == "desc";
  return {};
}

Result<ListQuery> read_list_query(const text::QueryPairs& query, const Collection& collection) {
  ListQuery q;
  q.page_size = default_page;
  if (auto size = parameter(query, "page_size"); !size.empty()) {
    auto n = text::to_i64(size);
    if (!n || *n > INT32_MAX || *n < INT32_MIN)
      return fail(
          Code::invalid_argument,
          fmt::format("type mismatch, parameter: page_size, error: strconv.ParseInt: parsing \"{}\": invalid syntax",
                      size),
          "gateway");
    if (*n < 0) return invalid(fmt::format("The page size should be greater than 0. Got {}", *n));
    if (*n > 0) q.page_size = std::min(*n, largest_page);
  }
  const auto sort = parameter(query, "sort_by"), filter = parameter(query, "filter");
  q.page_token = parameter(query, "page_token");
  MR_CHECK(read_sort(sort, collection, q));
  MR_CHECK(read_filter(filter, collection, q));
  if (q.page_token.empty() || !sort.empty() || !filter.empty()) return q;
  // The token alone goes on with what it was made for.
  MR_TRY(auto token, parse_token(q.page_token));
  q.sort_key = token.sort_key;
  q.descending = token.descending;
  MR_CHECK(read_filter_document(token.filter, q));
  return q;
}

}  // namespace mr::pipelines
