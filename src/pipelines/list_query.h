// Lists as SQL: which fields of a collection can be filtered and sorted by, and what a ListQuery means for its table.
// Pages are told by the sort value and the row number of the last row, so that rows made meanwhile move nothing.
// Internal to the store and to filter.cpp. Plain values; thread safe.
#pragma once
#include <deque>
#include <functional>

#include "pipelines/store.h"

namespace mr::pipelines {

enum class ColumnType : std::uint8_t { text, integer, time };  // time: milliseconds, compared by whole seconds
struct ListField {
  std::string_view name;    // on the wire
  std::string_view column;  // in the table
  ColumnType type = ColumnType::text;
};
struct Collection {
  std::string_view table;
  std::string_view singular;  // "Run", in errors
  std::span<const ListField> fields;
  bool tags = false;  // "tags.KEY" can be filtered by
};
extern const Collection kExperiments, kPipelines, kVersions, kRuns, kRecurringRuns, kArtifacts, kArtifactUses;
const ListField* find_field(const Collection& c, std::string_view name);

// What a page token holds.
struct PageToken {
  std::string sort_key;
  bool descending = false;
  Value filter;  // filter_document()
  Value value;   // of the last row's sort field
  std::int64_t n = 0;
};
std::string token_text(const PageToken& t);
Result<PageToken> parse_token(std::string_view text);  // invalid_argument: it is none of ours

// The predicates of a query as one document, and back.
Value filter_document(const ListQuery& q);
Result<void> read_filter_document(const Value& document, ListQuery& q);

// SQL that is put together with its arguments.
class SqlText {
 public:
  std::string sql;
  void add(std::string_view s) { sql += s; }
  void text(std::string v) { args_.emplace_back(texts_.emplace_back(std::move(v))); }
  void integer(std::int64_t v) { args_.emplace_back(v); }
  void value(const Value& v);
  void append(const SqlText& other);
  [[nodiscard]] std::span<const sql::Arg> args() const { return args_; }

 private:
  std::deque<std::string> texts_;
  std::vector<sql::Arg> args_;  // view into texts_
};

// " AND …" for each predicate; begins a WHERE that already has a condition.
Result<SqlText> predicates_sql(const Collection& c, const ListQuery& q);
// Whether every predicate is about one of these fields.
bool only_fields(const ListQuery& q, std::initializer_list<std::string_view> names);

// The statement of one page, without what follows it: the rows' columns, n, the sort value. One row more than the page
// has.
Result<SqlText> list_sql(const Collection& collection, const ListQuery& q, std::string_view columns,
                         const SqlText& scope);
// Runs a list. `columns`: what `row` reads, with their `types`; `scope`: a condition of the caller ("ns = ?"), never
// empty. `count`: the statement of the total, when it is cheaper than counting the rows (a SqlText with one integer
// column).
Result<void> run_list(sql::Connection& c, const Collection& collection, const ListQuery& q, std::string_view columns,
                      std::string_view types, const SqlText& scope, const SqlText* count,
                      const std::function<void(const sql::Row&)>& row, std::int64_t& total, std::string& next_token);

template <class T>
Result<Page<T>> list_page(sql::Connection& c, const Collection& collection, const ListQuery& q,
                          std::string_view columns, std::string_view types, const SqlText& scope,
                          const std::function<T(const sql::Row&)>& read, const SqlText* count = nullptr) {
  Page<T> page;
  MR_CHECK(run_list(
      c, collection, q, columns, types, scope, count, [&](const sql::Row& r) { page.items.push_back(read(r)); },
      page.total, page.next_token));
  return page;
}

}  // namespace mr::pipelines
