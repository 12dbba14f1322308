// The part of GraphQL that MLflow's web UI speaks: queries with variables, aliases, fragments and __typename over a
// ready-made document. Bounded in depth and size. Pure functions.
#pragma once
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <functional>
#include <string>
#include <string_view>

#include "core/error.h"

namespace mr::tracking {

// Resolves one root field: its arguments (variables filled in) to a document whose objects carry "__typename".
using GraphqlResolver =
    std::function<Result<boost::json::value>(std::string_view field, const boost::json::object& arguments)>;

// Runs a query; the answer's text {"data": …, "errors": …}. Errors: the query is malformed.
Result<std::string> run_graphql(std::string_view query, const boost::json::object& variables,
                                std::string_view operation, const GraphqlResolver& resolve);

}  // namespace mr::tracking
