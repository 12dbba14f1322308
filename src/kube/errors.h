// Kubernetes errors: an Error's reason is the StatusReason; its code the HTTP status. One table both ways.
// Pure functions.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "kube/object.h"

namespace mr::kube {

// One cause of an Invalid answer. `reason`: FieldValueRequired, FieldValueInvalid, FieldValueNotSupported,
// FieldValueDuplicate, FieldValueForbidden, FieldValueTooLong, FieldValueTooMany, FieldValueTypeInvalid,
// FieldValueNotFound.
struct FieldError {
  std::string reason, field, message;  // message as in details.causes: `Required value: …`, `Invalid value: "x": …`
};
// Constructors with the real server's wording. `value` is rendered as the real server renders it (texts quoted,
// numbers and objects as JSON).
FieldError required(std::string field, std::string_view what = {});
FieldError invalid(std::string field, const Value& value, std::string_view what);
FieldError not_supported(std::string field, const Value& value, std::vector<std::string> allowed);
FieldError duplicate(std::string field, const Value& value);
FieldError forbidden(std::string field, std::string_view what);
FieldError too_long(std::string field, std::size_t limit);
FieldError too_many(std::string field, std::size_t count, std::size_t limit);
FieldError type_invalid(std::string field, const Value& value, std::string_view what);
FieldError not_found_value(std::string field, const Value& value);
FieldError internal_fault(std::string field, std::string_view what);
// A text in quotes with the escapes of the real server's `%q`; a value as its errors show it.
std::string in_quotes(std::string_view text);
std::string rendered(const Value& value);

// An error as the API answers it. `details` may be empty.
struct ApiError {
  int code = 500;
  std::string reason, message;
  Object details;
  bool show_details = false;  // also when empty, as the real server does for 405, 406 and 415
};
ApiError not_found(std::string_view group, std::string_view plural, std::string_view name);
ApiError already_exists(std::string_view group, std::string_view plural, std::string_view name);
ApiError conflict(std::string_view group, std::string_view plural, std::string_view name, std::string_view why);
ApiError invalid_object(std::string_view group, std::string_view kind, std::string_view name,
                        const std::vector<FieldError>& faults);
ApiError bad_request(std::string message);
ApiError forbidden_request(std::string_view user, std::string_view verb, std::string_view group,
                           std::string_view plural, std::string_view subresource, std::string_view ns,
                           std::string_view name, std::string_view why = {});
ApiError unauthorized();
ApiError expired(std::string message);
ApiError method_not_allowed(std::string_view group, std::string_view plural);
ApiError unsupported_media_type(std::string message);
ApiError internal_error(std::string message);
ApiError make_error(int code, std::string reason, std::string message);

// The Status document; the way back from one (a remote server's answer); an ApiError as an Error and back.
Object status_of(const ApiError& e);
ApiError error_of_status(const Object& status, int http_status);
Error to_error(const ApiError& e);  // Error::detail carries the Status text, so that nothing is lost
ApiError to_api_error(const Error& e);

}  // namespace mr::kube
