#include "tracking/errors.h"

#include "json/writer.h"
#include "log/log.h"

namespace mr::tracking {

std::unexpected<Error> missing_parameter(std::string_view path) {
  return invalid(fmt::format(
      "Missing value for required parameter '{}'. See the API docs for more information about request parameters.",
      path));
}

namespace {

struct Row {
  std::string_view code;
  int status;
  std::string_view sqlstate;
  std::string_view error_class;
};
constexpr Row rows[] = {
    {"INVALID_PARAMETER_VALUE", 400, "KAM00", "INVALID_PARAMETER_VALUE"},
    {"BAD_REQUEST", 400, "KAM00", "INVALID_PARAMETER_VALUE"},
    {"RESOURCE_ALREADY_EXISTS", 400, "KAM00", "RESOURCE_ALREADY_EXISTS"},
    {"RESOURCE_DOES_NOT_EXIST", 404, "KAM00", "RESOURCE_NOT_FOUND"},
    {"NOT_FOUND", 404, "KAM00", "RESOURCE_NOT_FOUND"},
    {"ENDPOINT_NOT_FOUND", 404, "KAM00", "RESOURCE_NOT_FOUND"},
    {"PERMISSION_DENIED", 403, "KAM00", "PERMISSION_DENIED"},
    {"INTERNAL_ERROR", 500, "XXM00", "CLIENT_INTERNAL_ERROR"},
    {"INVALID_STATE", 500, "XXM00", "CLIENT_INTERNAL_ERROR"},
    {"TEMPORARILY_UNAVAILABLE", 503, "XXM00", "CLIENT_INTERNAL_ERROR"},
    {"RESOURCE_CONFLICT", 409, "", ""},
    {"RESOURCE_EXHAUSTED", 429, "", ""},
    {"UNAUTHENTICATED", 401, "", ""},
    {"NOT_IMPLEMENTED", 501, "", ""},
    {"CANCELLED", 499, "", ""},
    {"DEADLINE_EXCEEDED", 504, "", ""},
};

std::string_view default_reason(Code c) {
  switch (c) {
    case Code::invalid_argument:
    case Code::too_large:
    case Code::unsupported:
    case Code::failed_precondition:
      return "INVALID_PARAMETER_VALUE";
    case Code::not_found:
      return "RESOURCE_DOES_NOT_EXIST";
    case Code::already_exists:
      return "RESOURCE_ALREADY_EXISTS";
    case Code::conflict:
      return "RESOURCE_CONFLICT";
    case Code::permission_denied:
      return "PERMISSION_DENIED";
    case Code::unauthenticated:
      return "UNAUTHENTICATED";
    case Code::resource_exhausted:
      return "RESOURCE_EXHAUSTED";
    case Code::unimplemented:
      return "NOT_IMPLEMENTED";
    case Code::unavailable:
      return "TEMPORARILY_UNAVAILABLE";
    case Code::deadline_exceeded:
      return "DEADLINE_EXCEEDED";
    case Code::cancelled:
      return "CANCELLED";
    case Code::data_loss:
    case Code::internal:
      return "INTERNAL_ERROR";
  }
  return "INTERNAL_ERROR";
}

}  // namespace

http::Response error_response(const Error& e) {
  std::string_view reason =
      e.reason.empty() || e.reason == "CONSTRAINT" ? default_reason(e.code) : std::string_view(e.reason);
  Row row{reason, 500, "", ""};
  for (const auto& r : rows)
    if (r.code == reason) row = r;
  // The media type and size of a body are told by the status that HTTP has for them.
  if (e.reason.empty() && e.code == Code::too_large) row.status = 413;
  if (e.reason.empty() && e.code == Code::unsupported) row.status = 415;
  if (row.status >= 500)
    log::error("request failed", {{"error_code", reason}, {"message", e.message}, {"detail", e.detail}});
  std::string body;
  json::Writer w(body);
  w.begin_object();
  w.field("error_code", reason);
  w.field("message", e.message);
  if (!row.sqlstate.empty()) {
    w.field("sqlstate", row.sqlstate);
    w.field("error_class", row.error_class);
  }
  w.end_object();
  auto res = http::Response::json(row.status, std::move(body));
  if (row.status == 503 || row.status == 429) res.headers.add("Retry-After", "1");
  return res;
}

}  // namespace mr::tracking
