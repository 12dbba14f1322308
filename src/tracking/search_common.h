// What the search_*.cpp share: operators, values and their error texts, conditions as SQL. Internal to the tracking
// room.
#pragma once
#include <functional>
#include <set>
#include <string>

#include "tracking/errors.h"
#include "tracking/filter.h"
#include "tracking/search.h"

namespace mr::tracking {

extern const std::set<std::string> kNumericOps;
extern const std::set<std::string> kTextOps;
extern const std::set<std::string> kListOps;

bool is_null_op(const Comparison& c);
// "Invalid comparator …": the closing quote is missing in some of the real server's texts.
std::unexpected<Error> bad_op(const Comparison& c, const std::set<std::string>& ops, bool close);
// Appends "column OP ?" with its argument.
void compare(SqlText& out, const std::string& column, const Comparison& c);
Result<double> number(const Comparison& c);                   // a metric's value
Result<std::int64_t> integer_attribute(const Comparison& c);  // a time's value
Result<> list_value(const Comparison& c);
Result<> text_value(const Comparison& c, std::string_view what, bool example);
// "{'a', 'b'}"
std::string attribute_keys(std::initializer_list<const char*> keys);
// Appends " AND [NOT ]EXISTS (… x.key = ? …)" over a table of keys and values.
void exists_row(SqlText& out, std::string_view table, std::string_view owner, const std::string& key,
                const std::function<void(SqlText&)>& condition, bool negate = false);
void no_condition(SqlText& out);
std::unexpected<Error> duplicate_order(const std::vector<std::string>& order_by);

}  // namespace mr::tracking
