// Tables of comma-separated values as pandas reads them: a header row, quotes, blank lines passed over, the usual texts
// for missing values. Pure functions.
#pragma once
#include <boost/json/value.hpp>
#include <deque>
#include <string_view>

#include "serving/columns.h"

namespace mr::serving {

struct CsvTable {
  Table table;
  std::deque<boost::json::value> cells;  // what the table points to
};
Result<CsvTable> read_csv(std::string_view text);

}  // namespace mr::serving
