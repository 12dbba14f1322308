// MLflow's error codes and bodies. Error.reason holds the error_code; an empty one is derived from Error.code.
#pragma once
#include <string>

#include "core/error.h"
#include "http/message.h"

namespace mr::tracking {

inline std::unexpected<Error> invalid(std::string message) {
  return fail(Code::invalid_argument, std::move(message), "INVALID_PARAMETER_VALUE");
}
inline std::unexpected<Error> missing(std::string message) {
  return fail(Code::not_found, std::move(message), "RESOURCE_DOES_NOT_EXIST");
}
inline std::unexpected<Error> exists(std::string message) {
  return fail(Code::already_exists, std::move(message), "RESOURCE_ALREADY_EXISTS");
}
inline std::unexpected<Error> bad_request(std::string message) {
  return fail(Code::invalid_argument, std::move(message), "BAD_REQUEST");
}
inline std::unexpected<Error> invalid_state(std::string message) {
  return fail(Code::internal, std::move(message), "INVALID_STATE");
}

// "Missing value for required parameter 'p'. See the API docs …"
std::unexpected<Error> missing_parameter(std::string_view path);

// {"error_code", "message", …} with the status that MLflow gives for the code.
http::Response error_response(const Error& error);

}  // namespace mr::tracking
