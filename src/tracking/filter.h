// The search grammar of MLflow: a filter is comparisons joined by AND; an order_by entry is a key and a direction.
// This file knows the grammar only; which keys, operators and values a search takes stands in search_*.cpp. Pure
// functions.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"

namespace mr::tracking {

struct Comparison {
  enum class Kind : std::uint8_t { number, string, word, list, none };
  std::string type;  // before the first dot, as written; empty for a bare key
  std::string key;   // unquoted
  bool key_quoted = false;
  std::string op;       // upper case: "=", "!=", "LIKE", "IN", "NOT IN", "IS NULL", …
  std::string op_text;  // as written
  Kind kind = Kind::none;
  std::string raw;                // the value as written, with its quotes
  std::string value;              // a string's content, or a number's text
  std::vector<std::string> list;  // of IN
  bool bad_list = false;          // a list with something else than strings
};

// `quote_clauses`: error texts name unexpected tokens in quotes (runs do, the others do not).
Result<std::vector<Comparison>> parse_filter(std::string_view filter, bool quote_clauses);

struct OrderKey {
  std::string type;
  std::string key;
  bool key_quoted = false;
  bool ascending = true;
};
Result<OrderKey> parse_order_by(std::string_view clause);

}  // namespace mr::tracking
