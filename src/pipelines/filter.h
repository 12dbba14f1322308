// What a list request asks for: filter, sort_by, page_size and page_token of its query string, checked against the
// fields of the collection. Pure functions.
//
// filter is JSON, plain or percent-encoded once more: {"predicates": [{"operation": "EQUALS" or its number, "key":
// field, "string_value" | "int_value" | "long_value" | "timestamp_value" | "string_values" | …: value}]}; all
// predicates hold. "any_of": [{"predicates": […]}, …] is ours: of the predicates of each group at least one holds.
#pragma once
#include "pipelines/list_query.h"
#include "text/uri.h"

namespace mr::pipelines {

// The value of a parameter; empty: absent, as clients mean it.
std::string_view parameter(const text::QueryPairs& query, std::string_view name);

// namespace and ids of parents are left to the caller. A page_token brings its own sort and filter when the request has
// none. Errors: invalid_argument in the real server's words.
Result<ListQuery> read_list_query(const text::QueryPairs& query, const Collection& collection);

// The two halves, for tests and fuzzing.
Result<void> read_filter(std::string_view text, const Collection& collection, ListQuery& q);
Result<void> read_sort(std::string_view text, const Collection& collection, ListQuery& q);

}  // namespace mr::pipelines
