#include "http/message.h"

#include "http/compress.h"
#include "text/text.h"

namespace mr::http {

std::string_view method_name(Method m) {
  switch (m) {
    case Method::get:
      return "GET";
    case Method::head:
      return "HEAD";
    case Method::post:
      return "POST";
    case Method::put:
      return "PUT";
    case Method::patch:
      return "PATCH";
    case Method::del:
      return "DELETE";
    case Method::options:
      return "OPTIONS";
    case Method::other:
      return "OTHER";
  }
  return "OTHER";
}

template <class S>
std::string_view BasicHeaders<S>::get(std::string_view name) const {
  for (const auto& [n, v] : items_)
    if (text::iequals(n, name)) return v;
  return {};
}
template <class S>
bool BasicHeaders<S>::has(std::string_view name) const {
  for (const auto& [n, v] : items_)
    if (text::iequals(n, name)) return true;
  return false;
}
template <class S>
void BasicHeaders<S>::set(std::string_view name, S value) {
  for (auto& [n, v] : items_)
    if (text::iequals(n, name)) {
      v = std::move(value);
      return;
    }
  items_.emplace_back(S(name), std::move(value));
}
template class BasicHeaders<std::string>;
template class BasicHeaders<std::string_view>;

Response Response::text(int status, std::string body, std::string_view content_type) {
  Response r;
  r.status = status;
  r.headers.add("Content-Type", std::string(content_type));
  r.body = std::move(body);
  return r;
}

task::Task<Result<std::string>> read_all(Request& request, std::size_t limit) {
  auto too_large = [&] {
    return fail(Code::too_large, fmt::format("The request body is larger than the limit of {} bytes", limit));
  };
  std::string_view coding = request.headers.get("Content-Encoding");
  bool plain = coding.empty() || text::iequals(coding, "identity");
  auto declared = request.body->length();
  if (declared && *declared > limit) co_return too_large();
  std::optional<Inflater> inflater;
  if (!plain) {
    if (!text::iequals(coding, "gzip") && !text::iequals(coding, "x-gzip") && !text::iequals(coding, "deflate"))
      co_return fail(Code::unsupported,
                     fmt::format("Content-Encoding '{}' is not supported; send gzip, deflate or identity",
                                 std::string(coding.substr(0, 32))));
    inflater.emplace();
  }
  std::string out;
  if (plain && declared) out.reserve(*declared);
  for (;;) {
    MR_CO_TRY(std::string_view piece, co_await request.body->read());
    if (piece.empty()) break;
    if (inflater) {
      if (auto r = inflater->feed(piece, out, limit); !r) co_return std::unexpected(r.error());
    } else {
      if (out.size() + piece.size() > limit) co_return too_large();
      out.append(piece);
    }
  }
  if (inflater && !inflater->done()) co_return fail(Code::invalid_argument, "The compressed request body is cut short");
  co_return out;
}

std::string_view reason_phrase(int s) {
  switch (s) {
    case 100:
      return "Continue";
    case 101:
      return "Switching Protocols";
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 202:
      return "Accepted";
    case 204:
      return "No Content";
    case 206:
      return "Partial Content";
    case 301:
      return "Moved Permanently";
    case 302:
      return "Found";
    case 304:
      return "Not Modified";
    case 307:
      return "Temporary Redirect";
    case 308:
      return "Permanent Redirect";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 411:
      return "Length Required";
    case 412:
      return "Precondition Failed";
    case 413:
      return "Payload Too Large";
    case 414:
      return "URI Too Long";
    case 415:
      return "Unsupported Media Type";
    case 416:
      return "Range Not Satisfiable";
    case 417:
      return "Expectation Failed";
    case 422:
      return "Unprocessable Entity";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 499:
      return "Client Closed Request";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 502:
      return "Bad Gateway";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "Unknown";
  }
}

}  // namespace mr::http
