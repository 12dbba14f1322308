#include "http/heads.h"

#include "http/compress.h"
#include "text/text.h"

namespace mr::http {

std::optional<Refusal> read_head_of(const Parser& p, std::size_t target_limit, Request& req, bool& wants_continue) {
  req.method = to_method(p.verb);
  req.method_text = p.view(p.method);
  req.target = p.view(p.target);
  if (req.target.size() > target_limit) return Refusal{414, "The request target is longer than the limit"};
  // Absolute form, as proxies send it: scheme and authority are not ours to judge.
  if (req.target.starts_with("http://") || req.target.starts_with("https://")) {
    auto slash = req.target.find('/', 8);
    req.target = slash == std::string_view::npos ? std::string_view("/") : req.target.substr(slash);
  }
  auto q = req.target.find('?');
  req.path = req.target.substr(0, q);
  req.query = q == std::string_view::npos ? std::string_view{} : req.target.substr(q + 1);
  bool expect_bad = false;
  bool coding_bad = false;
  int hosts = 0;
  req.headers.reserve(p.fields.size());
  for (const auto& [n, v] : p.fields) {
    auto name = p.view(n);
    auto value = p.view(v);
    req.headers.add(name, value);
    switch (name.size()) {
      case 4:
        if (text::iequals(name, "Host")) ++hosts;
        break;
      case 17:
        // Any other coding would leave the end of the body to a guess.
        if (text::iequals(name, "Transfer-Encoding") && !text::iequals(text::trim(value), "chunked")) coding_bad = true;
        break;
      case 6:
        if (text::iequals(name, "Expect")) {
          if (text::iequals(value, "100-continue"))
            wants_continue = true;
          else
            expect_bad = true;
        }
        break;
      case 12:
        if (text::iequals(name, "X-Request-Id") && value.size() <= 128) req.id = value;
        break;
      default:
        break;
    }
  }
  bool http11 = p.http_version >= 11;
  if (!http11) wants_continue = false;
  if (coding_bad || (!http11 && req.headers.has("Transfer-Encoding")))
    return Refusal{coding_bad ? 501 : 400, "Of the transfer codings only chunked is understood, in HTTP/1.1"};
  if (hosts > 1 || (hosts == 0 && http11)) return Refusal{400, "A request needs exactly one Host header"};
  if (expect_bad) return Refusal{417, "Only Expect: 100-continue is understood"};
  return std::nullopt;
}

namespace {
bool compressible(std::string_view type) {
  return type.starts_with("application/json") || type.starts_with("text/") ||
         type.starts_with("application/javascript") || type.starts_with("image/svg") ||
         type.starts_with("application/xml");
}

}  // namespace

void compress_answer(const Request& req, Response& res) {
  auto* text_body = std::get_if<std::string>(&res.body);
  if (text_body != nullptr && text_body->size() >= 500 && !res.headers.has("Content-Encoding") &&
      compressible(res.headers.get("Content-Type"))) {
    if (accepts_gzip(req.headers.get("Accept-Encoding"))) {
      *text_body = gzip(*text_body);
      res.headers.add("Content-Encoding", "gzip");
    }
    res.headers.add("Vary", "Accept-Encoding");
  }
}

bool append_head_of(std::string& out, const Request& req, const Response& res, bool http10, bool& keep) {
  bool bodiless = res.status == 204 || res.status == 304 || res.status < 200;
  const auto* text_body = std::get_if<std::string>(&res.body);
  const auto* file = std::get_if<FileBody>(&res.body);
  bool stream = std::holds_alternative<StreamBody>(res.body);
  char status_line[64];
  auto r =
      fmt::format_to_n(status_line, sizeof status_line, "HTTP/1.1 {} {}\r\n", res.status, reason_phrase(res.status));
  out.append(status_line, r.size);
  for (const auto& [n, v] : res.headers.items()) {
    out += n;
    out += ": ";
    // A line break in a value would end the header: nothing of ours has one, a client's text might.
    for (char c : v) out += c == '\r' || c == '\n' ? ' ' : c;
    out += "\r\n";
  }
  out += res.raw_headers;
  out += "X-Request-Id: ";
  for (char c : req.id) out += c == '\r' || c == '\n' ? ' ' : c;
  out += "\r\n";
  bool chunked = false;
  if (!bodiless && !res.upgrade && !res.headers.has("Content-Length")) {
    if (stream) {
      chunked = !http10;
      if (chunked)
        out += "Transfer-Encoding: chunked\r\n";
      else
        keep = false;
    } else {
      char buf[48];
      auto n = fmt::format_to_n(buf, sizeof buf, "Content-Length: {}\r\n",
                                text_body != nullptr ? text_body->size() : file->length);
      out.append(buf, n.size);
    }
  }
  return chunked;
}

}  // namespace mr::http
