// The rules for what a model version may name as its source, so that a registered model cannot point at files that its
// author has no right to. Reads the database; pure otherwise.
#pragma once
#include "sql/sql.h"
#include "tracking/store.h"

namespace mr::tracking {

struct SourceRequest {
  bool run_id_given = false;
  bool model_id_given = false;
};
// Checks v.source and completes v (models:/name@alias becomes models:/name/N, run_id comes from what is named).
Result<> check_source(sql::Connection& c, store::NewVersion& v, SourceRequest given);

}  // namespace mr::tracking
