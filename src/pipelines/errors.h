// Errors as the pipelines API shows them: google.rpc.Status with the older gateway's "error" beside it, and the form of
// the upload endpoints. Pure functions.
#pragma once
#include <string>
#include <string_view>

#include "core/error.h"
#include "http/message.h"

namespace mr::pipelines {

inline std::unexpected<Error> invalid(std::string message) { return fail(Code::invalid_argument, std::move(message)); }

// The number of google.rpc.Code.
int wire_code_of(Code code);
// {"error", "code", "message", "details"}. `context` says what could not be done ("Failed to fetch experiment"); the
// details hold the error without it. An error with reason "gateway" was found before any rule was asked: no context, no
// details.
http::Response error_response(const Error& e, std::string_view context = {});
// {"error_message", "error_details"}
http::Response upload_error_response(const Error& e, std::string_view context);

}  // namespace mr::pipelines
