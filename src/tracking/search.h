// From a filter and an order_by to SQL, one function a kind of thing searched. The grammar is filter.h's. Pure
// functions.
#pragma once
#include <string>
#include <vector>

#include "sql/sql.h"
#include "tracking/types.h"

namespace mr::tracking {

// SQL with its arguments, which it owns.
struct SqlText {
  std::string sql;
  std::vector<std::variant<std::int64_t, double, std::string>> args;
  void add(std::string_view text) { sql += text; }
  template <class T>
  void arg(T v) {
    args.emplace_back(std::move(v));
  }
  void append(const SqlText& o) {
    sql += o.sql;
    args.insert(args.end(), o.args.begin(), o.args.end());
  }
  [[nodiscard]] std::vector<sql::Arg> bound() const;
};

// Each gives "<conditions> ORDER BY …" to stand after "SELECT … FROM <table> r/e/m/v WHERE ", with the joins that
// ordering needs in `joins`.
struct SearchSql {
  SqlText joins;
  SqlText where;  // starts with " AND …" or is empty
  std::string order;
};
Result<SearchSql> run_search(std::string_view filter, const std::vector<std::string>& order_by);  // runs r
// Runs by a value that they share: "SELECT <value>, COUNT(*), MAX(r.start_time)<columns> FROM runs r<joins> WHERE
// …<where> GROUP BY <value> ORDER BY <order>"; four columns a metric: count, mean, smallest, largest. Not a part of
// MLflow's API.
struct GroupSql {
  std::string value;
  std::string columns;
  SqlText joins;
  SqlText where;
  std::string order;
};
Result<GroupSql> run_groups(std::string_view filter, std::string_view group_by, const std::vector<std::string>& metrics,
                            std::string_view order_by);
Result<SearchSql> experiment_search(std::string_view filter,
                                    const std::vector<std::string>& order_by);  // experiments e
Result<SearchSql> registered_model_search(std::string_view filter,
                                          const std::vector<std::string>& order_by);  // registered_models m
Result<SearchSql> model_version_search(std::string_view filter,
                                       const std::vector<std::string>& order_by);  // model_versions v

struct ModelOrder {
  std::string field;
  bool ascending = true;
  std::string dataset_name;
  std::string dataset_digest;
};
struct ModelDataset {
  std::string name;
  std::optional<std::string> digest;
};
Result<SearchSql> logged_model_search(std::string_view filter, const std::vector<ModelDataset>& datasets,
                                      const std::vector<ModelOrder>& order_by);  // logged_models l

}  // namespace mr::tracking
