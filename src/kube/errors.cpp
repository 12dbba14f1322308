#include "kube/errors.h"

#include <boost/json/array.hpp>

#include "json/parse.h"

namespace mr::kube {

namespace {

FieldError fault(std::string_view reason, std::string_view title, std::string field, const Value* value,
                 std::string_view what) {
  FieldError e{.reason = std::string(reason), .field = std::move(field), .message = std::string(title)};
  if (value != nullptr) e.message += ": " + rendered(*value);
  if (!what.empty()) (e.message += ": ") += what;
  return e;
}

std::string qualified(std::string_view group, std::string_view plural) {
  std::string out(plural);
  if (!group.empty()) (out += '.') += group;
  return out;
}

Object details_of(std::string_view group, std::string_view kind, std::string_view name) {
  Object d;
  if (!name.empty()) d["name"] = name;
  if (!group.empty()) d["group"] = group;
  if (!kind.empty()) d["kind"] = kind;
  return d;
}

struct Row {
  int http;
  Code code;
  std::string_view reason;
};
// The first row of a neutral code is its way out; the first of an HTTP status its reason when a server gave none.
constexpr Row table[] = {
    {400, Code::invalid_argument, "BadRequest"},
    {401, Code::unauthenticated, "Unauthorized"},
    {403, Code::permission_denied, "Forbidden"},
    {404, Code::not_found, "NotFound"},
    {405, Code::unimplemented, "MethodNotAllowed"},
    {406, Code::unsupported, "NotAcceptable"},
    {409, Code::conflict, "Conflict"},
    {409, Code::already_exists, "AlreadyExists"},
    {410, Code::failed_precondition, "Expired"},
    {410, Code::failed_precondition, "Gone"},
    {413, Code::too_large, "RequestEntityTooLarge"},
    {415, Code::unsupported, "UnsupportedMediaType"},
    {422, Code::invalid_argument, "Invalid"},
    {429, Code::resource_exhausted, "TooManyRequests"},
    {500, Code::internal, "InternalError"},
    {500, Code::data_loss, "InternalError"},
    {503, Code::unavailable, "ServiceUnavailable"},
    {504, Code::deadline_exceeded, "Timeout"},
    {504, Code::cancelled, "Timeout"},
};

Code neutral_code(int http, std::string_view reason) {
  for (const auto& r : table)
    if (r.reason == reason) return r.code;
  for (const auto& r : table)
    if (r.http == http) return r.code;
  return http >= 400 && http < 500 ? Code::invalid_argument : Code::internal;
}

std::string go_number(double d) {
  if (std::isnan(d)) return "NaN";
  if (std::isinf(d)) return d > 0 ? "+Inf" : "-Inf";
  char buf[64];
  auto a = std::abs(d);
  bool plain = a == 0 || (a >= 1e-4 && a < 1e21);
  auto end = std::to_chars(buf, buf + sizeof buf, d, plain ? std::chars_format::fixed : std::chars_format::scientific);
  return {buf, end.ptr};
}

}  // namespace

std::string in_quotes(std::string_view s) {
  std::string out = "\"";
  for (std::size_t i = 0; i < s.size(); ++i) {
    auto c = static_cast<unsigned char>(s[i]);
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\a':
        out += "\\a";
        break;
      case '\b':
        out += "\\b";
        break;
      case '\f':
        out += "\\f";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      case '\v':
        out += "\\v";
        break;
      default:
        if (c < 0x20 || c == 0x7f)
          out += fmt::format("\\x{:02x}", c);
        else
          out += static_cast<char>(c);
    }
  }
  return out += '"';
}

std::string rendered(const Value& v) {
  switch (v.kind()) {
    case boost::json::kind::null:
      return "null";
    case boost::json::kind::string:
      return in_quotes(std::string_view(v.get_string()));
    case boost::json::kind::double_:
      return go_number(v.get_double());
    default:
      return json::serialize(v);
  }
}

FieldError required(std::string field, std::string_view what) {
  return fault("FieldValueRequired", "Required value", std::move(field), nullptr, what);
}
FieldError invalid(std::string field, const Value& value, std::string_view what) {
  return fault("FieldValueInvalid", "Invalid value", std::move(field), &value, what);
}
FieldError not_supported(std::string field, const Value& value, std::vector<std::string> allowed) {
  std::string what;
  for (const auto& a : allowed) {
    what += what.empty() ? "supported values: " : ", ";
    what += in_quotes(a);
  }
  return fault("FieldValueNotSupported", "Unsupported value", std::move(field), &value, what);
}
FieldError duplicate(std::string field, const Value& value) {
  return fault("FieldValueDuplicate", "Duplicate value", std::move(field), &value, {});
}
FieldError forbidden(std::string field, std::string_view what) {
  return fault("FieldValueForbidden", "Forbidden", std::move(field), nullptr, what);
}
FieldError too_long(std::string field, std::size_t limit) {
  return fault("FieldValueTooLong", "Too long", std::move(field), nullptr,
               fmt::format("may not be more than {} bytes", limit));
}
FieldError too_many(std::string field, std::size_t count, std::size_t limit) {
  Value v = static_cast<std::int64_t>(count);
  return fault("FieldValueTooMany", "Too many", std::move(field), &v, fmt::format("must have at most {} items", limit));
}
FieldError type_invalid(std::string field, const Value& value, std::string_view what) {
  return fault("FieldValueTypeInvalid", "Invalid value", std::move(field), &value, what);
}
FieldError not_found_value(std::string field, const Value& value) {
  return fault("FieldValueNotFound", "Not found", std::move(field), &value, {});
}
FieldError internal_fault(std::string field, std::string_view what) {
  return fault("InternalError", "Internal error", std::move(field), nullptr, what);
}

ApiError not_found(std::string_view group, std::string_view plural, std::string_view name) {
  return {404, "NotFound", fmt::format("{} {} not found", qualified(group, plural), in_quotes(name)),
          details_of(group, plural, name)};
}
ApiError already_exists(std::string_view group, std::string_view plural, std::string_view name) {
  return {409, "AlreadyExists", fmt::format("{} {} already exists", qualified(group, plural), in_quotes(name)),
          details_of(group, plural, name)};
}
ApiError conflict(std::string_view group, std::string_view plural, std::string_view name, std::string_view why) {
  return {409, "Conflict",
          fmt::format("Operation cannot be fulfilled on {} {}: {}", qualified(group, plural), in_quotes(name), why),
          details_of(group, plural, name)};
}

ApiError invalid_object(std::string_view group, std::string_view kind, std::string_view name,
                        const std::vector<FieldError>& faults) {
  ApiError e{422, "Invalid", fmt::format("{} {} is invalid", qualified(group, kind), in_quotes(name)),
             details_of(group, kind, name)};
  if (faults.empty()) return e;
  Array causes;
  std::vector<std::string> texts;  // each text once, as the real server's aggregate does
  for (const auto& f : faults) {
    causes.push_back(Object{{"reason", f.reason}, {"message", f.message}, {"field", f.field}});
    auto text = f.field + ": " + f.message;
    if (std::ranges::find(texts, text) == texts.end()) texts.push_back(std::move(text));
  }
  e.message += ": ";
  e.message += texts.size() == 1 ? texts[0] : fmt::format("[{}]", fmt::join(texts, ", "));
  e.details["causes"] = std::move(causes);
  return e;
}

ApiError bad_request(std::string message) { return {400, "BadRequest", std::move(message), {}}; }

ApiError forbidden_request(std::string_view user, std::string_view verb, std::string_view group,
                           std::string_view plural, std::string_view subresource, std::string_view ns,
                           std::string_view name, std::string_view why) {
  auto text = qualified(group, plural);
  if (!name.empty()) (text += ' ') += in_quotes(name);
  auto resource = std::string(plural);
  if (!subresource.empty()) (resource += '/') += subresource;
  text += fmt::format(" is forbidden: User {} cannot {} resource {} in API group {}", in_quotes(user), verb,
                      in_quotes(resource), in_quotes(group));
  text += ns.empty() ? " at the cluster scope" : fmt::format(" in the namespace {}", in_quotes(ns));
  if (!why.empty()) (text += ": ") += why;
  return {403, "Forbidden", std::move(text), details_of(group, plural, name)};
}

ApiError unauthorized() { return {401, "Unauthorized", "Unauthorized", {}}; }
ApiError expired(std::string message) { return {410, "Expired", std::move(message), {}}; }
ApiError method_not_allowed(std::string_view group, std::string_view plural) {
  return {405, "MethodNotAllowed", "the server does not allow this method on the requested resource",
          details_of(group, plural, {}), true};
}
ApiError unsupported_media_type(std::string message) {
  return {415, "UnsupportedMediaType", std::move(message), {}, true};
}
ApiError internal_error(std::string message) {
  Object d;
  d["causes"] = Array{Object{{"message", message}}};
  return {500, "InternalError", "Internal error occurred: " + message, std::move(d)};
}
ApiError make_error(int code, std::string reason, std::string message) {
  return {code, std::move(reason), std::move(message), {}};
}

Object status_of(const ApiError& e) {
  Object s;
  s["kind"] = "Status";
  s["apiVersion"] = "v1";
  s["metadata"].emplace_object();
  s["status"] = "Failure";
  s["message"] = e.message;
  if (!e.reason.empty()) s["reason"] = e.reason;
  if (!e.details.empty() || e.show_details) s["details"] = e.details;
  s["code"] = e.code;
  return s;
}

ApiError error_of_status(const Object& status, int http_status) {
  ApiError e;
  e.code = static_cast<int>(int_at(status, "code", http_status));
  if (e.code < 400 || e.code > 599) e.code = http_status >= 400 ? http_status : 500;
  e.reason = text_at(status, "reason");
  if (e.reason.empty())
    for (const auto& r : table)
      if (r.http == e.code) {
        e.reason = r.reason;
        break;
      }
  e.message = text_at(status, "message", "the server answered with an error that has no message");
  e.details = object_at(status, "details");
  return e;
}

Error to_error(const ApiError& e) {
  return {.code = neutral_code(e.code, e.reason),
          .message = e.message,
          .reason = e.reason,
          .detail = json::serialize(status_of(e))};
}

ApiError to_api_error(const Error& e) {
  if (e.detail.starts_with(R"({"kind":"Status")"))
    if (auto v = json::parse(e.detail); v && v->is_object()) return error_of_status(v->get_object(), 500);
  for (const auto& r : table)
    if (!e.reason.empty() && r.reason == e.reason) return {r.http, e.reason, e.message, {}};
  for (const auto& r : table)
    if (r.code == e.code) return {r.http, std::string(r.reason), e.message, {}};
  return {500, "InternalError", e.message, {}};
}

}  // namespace mr::kube
