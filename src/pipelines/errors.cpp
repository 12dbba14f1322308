#include "pipelines/errors.h"

#include "json/writer.h"
#include "log/log.h"

namespace mr::pipelines {

namespace {

struct WireCode {
  Code code;
  int rpc, status;
  std::string_view kind;  // how the real server begins such an error
};
constexpr WireCode wire_codes[] = {
    {Code::invalid_argument, 3, 400, "Invalid input error"},
    {Code::not_found, 5, 404, "ResourceNotFoundError"},
    {Code::already_exists, 6, 409, "Already exist error"},
    {Code::failed_precondition, 9, 400, "FailedPreconditionError"},
    {Code::conflict, 10, 409, "BadRequestError"},
    {Code::permission_denied, 7, 403, "PermissionDenied"},
    {Code::unauthenticated, 16, 401, "Unauthenticated"},
    {Code::resource_exhausted, 8, 429, ""},
    {Code::too_large, 3, 413, ""},
    {Code::unsupported, 3, 415, ""},
    {Code::unimplemented, 12, 501, ""},
    {Code::unavailable, 14, 503, "ServiceUnavailable"},
    {Code::deadline_exceeded, 4, 504, ""},
    {Code::cancelled, 1, 499, ""},
    {Code::data_loss, 15, 500, "InternalServerError"},
    {Code::internal, 13, 500, "InternalServerError"},
};

const WireCode& wire_code(Code code) {
  for (const auto& w : wire_codes)
    if (w.code == code) return w;
  return wire_codes[std::size(wire_codes) - 1];
}

void finish_response(http::Response& r, const Error& e) {
  if (r.status >= 500)
    log::error("pipelines request failed", {{"code", code_name(e.code)}, {"message", e.message}, {"detail", e.detail}});
  if (r.status == 503 || r.status == 429) r.headers.add("Retry-After", "1");
}

}  // namespace

int wire_code_of(Code code) { return wire_code(code).rpc; }

http::Response error_response(const Error& e, std::string_view context) {
  const auto& wire = wire_code(e.code);
  const bool gateway = e.reason == "gateway";
  std::string message;
  if (!gateway) {
    if (!context.empty()) message = fmt::format("{}: ", context);
    if (!wire.kind.empty()) message += fmt::format("{}: ", wire.kind);
  }
  message += e.message;
  std::string body;
  json::Writer w(body);
  w.begin_object();
  w.field("error", message);
  w.field("code", wire.rpc);
  w.field("message", message);
  w.key("details");
  w.begin_array();
  if (!gateway) {
    w.begin_object();
    w.field("@type", "type.googleapis.com/google.rpc.Status");
    w.field("code", wire.rpc);
    w.field("message", e.message);
    w.end_object();
  }
  w.end_array();
  w.end_object();
  auto r = http::Response::json(wire.status, std::move(body));
  finish_response(r, e);
  return r;
}

http::Response upload_error_response(const Error& e, std::string_view context) {
  const auto text = fmt::format("{}: {}", context, e.message);
  std::string body;
  json::Writer w(body);
  w.begin_object();
  w.field("error_message", text);
  w.field("error_details", text);
  w.end_object();
  auto r = http::Response::json(wire_code(e.code).status, std::move(body));
  finish_response(r, e);
  return r;
}

}  // namespace mr::pipelines
