// MLflow's scoring protocol, as `mlflow models serve` speaks it: POST /invocations, GET /ping, /health and /version.
// Thread safe: pure functions over an immutable model.
#pragma once
#include <string>
#include <string_view>

#include "http/router.h"
#include "serving/repository.h"

namespace mr::serving {

struct Scored {
  int status = 200;
  std::string body;
  std::string_view content_type = "application/json";
};
// One request to the model: JSON (dataframe_split, dataframe_records, instances, inputs; params) or CSV. An empty
// content type is JSON. The answer is {"predictions": …}, a refusal has MLflow's error_code and message.
Scored score(const Model& model, std::string_view content_type, std::string_view body);

// The routes; they belong to the model that was loaded last, as in MLServer.
void add_scoring_routes(http::Router& router, Repository& repository);

}  // namespace mr::serving
