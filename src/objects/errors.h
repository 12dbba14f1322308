// S3 errors: Error.reason holds the S3 code. Pure functions.
#pragma once
#include <string>

#include "core/error.h"
#include "http/message.h"

namespace mr::objects {

// An error with an S3 code and its usual text.
std::unexpected<Error> s3_error(std::string_view code, std::string message = {});
// <Error> XML with the code's status. `resource` is the request's path; bucket and key are named when they are known.
http::Response error_response(const Error& error, std::string_view resource, std::string_view request_id,
                              std::string_view bucket = {}, std::string_view key = {});

}  // namespace mr::objects
