// MLflow's rules for names, values and lengths, with its error texts. Pure functions.
#pragma once
#include <string>
#include <string_view>

#include "tracking/errors.h"
#include "tracking/types.h"

namespace mr::tracking {

constexpr std::size_t kMaxParamValue = 6000;
constexpr std::size_t kMaxTagValue = 8000;

// A Python repr of a text, as error messages quote it.
std::string python_repr(std::string_view s);
// "Invalid value <json> for parameter 'p' supplied: why"
std::unexpected<Error> invalid_value(std::string_view value, std::string_view parameter, std::string_view why);

Result<> check_name(std::string_view name, std::string_view parameter);                  // metric, param and tag keys
Result<> check_length(std::string_view text, std::string_view what, std::size_t limit);  // code points
Result<> check_metric(Metric& metric, double raw_value,
                      std::string_view prefix);                  // also stores NaN and infinities as MLflow does
Result<> check_param(KeyValue& param, std::string_view prefix);  // truncates the value
Result<> check_run_tag(KeyValue& tag, std::string_view prefix);  // truncates the value
Result<> check_experiment_tag(const KeyValue& tag);
Result<> check_experiment_name(std::string_view name);
Result<std::int64_t> parse_experiment_id(std::string_view text);
Result<> check_run_id_format(std::string_view id);
Result<std::string> check_artifact_location(std::string location);  // made absolute when it is a relative path
Result<> check_model_name(std::string_view name, std::string_view field = "name");
Result<> check_alias(std::string_view alias);
Result<std::int64_t> parse_model_version(std::string_view text);
Result<> check_logged_model_name(std::string_view name);

// "adjective-noun-123", at most 20 characters.
std::string generate_name();
// Adds path parts to a URI before its query.
std::string join_uri(std::string_view root, std::string_view tail);

// {"offset": N} in base64, and back.
std::string page_token(std::int64_t offset);
Result<std::int64_t> parse_page_token(std::string_view token);

}  // namespace mr::tracking
