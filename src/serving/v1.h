// The V1 inference protocol of KServe's Python servers: {"instances": …} or {"inputs": …} to {"predictions": …}.
// Thread safe: pure functions over an immutable model.
#pragma once
#include <boost/json/value.hpp>
#include <expected>
#include <string>
#include <string_view>

#include "http/router.h"
#include "serving/repository.h"
#include "serving/v2.h"

namespace mr::serving {

// Runs one request's body through the model; the answer is the JSON text.
std::expected<std::string, Refusal> predict_v1(const Model& model, std::string_view body);

// The same of the rows of one or more requests: the value of "predictions" as JSON text. `by_rows`: whether it may be
// taken apart by rows, as a list of several outputs' arrays may not.
std::expected<std::string, Refusal> predict_rows(const Model& model, const boost::json::array& rows,
                                                 bool* by_rows = nullptr);

// The V1 REST routes: /v1/models, readiness, :predict; and GET / as those servers answer it.
void add_v1_routes(http::Router& router, Repository& repository);

}  // namespace mr::serving
