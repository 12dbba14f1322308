#include "log/log.h"
#include "objects/api.h"
#include "objects/request.h"
#include "text/text.h"
#include "text/uri.h"
#include "time/clock.h"

namespace mr::objects {

http::Response xml(std::string_view root, std::string_view inner) {
  return http::Response::text(200,
                              fmt::format("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{0} "
                                          "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{1}</{0}>",
                                          root, inner),
                              "application/xml");
}
http::Response empty(int status) {
  http::Response r;
  r.status = status;
  return r;
}

std::string_view unquote(std::string_view e) {
  e = text::trim(e);
  if (e.size() >= 2 && e.front() == '"' && e.back() == '"') return e.substr(1, e.size() - 2);
  return e;
}

Result<> check_key(const std::string& key) {
  if (key.size() > 1024) return s3_error("KeyTooLongError");
  if (!text::utf8_valid(key) || key.find('\0') != std::string::npos)
    return s3_error("InvalidArgument", "The key must be valid UTF-8 without a zero byte.");
  return {};
}

Result<Metadata> read_metadata(const Call& c) {
  Metadata m;
  std::size_t user = 0;
  for (const auto& [n, v] : c.http.headers.items()) {
    auto name = text::lower(n);
    if (name.starts_with("x-amz-meta-")) {
      user += name.size() - 11 + v.size();
      auto& slot = m[name];
      slot += (slot.empty() ? "" : ",") + std::string(v);
      continue;
    }
    if (name == "content-type" || name == "cache-control" || name == "content-disposition" ||
        name == "content-language" || name == "expires" || name == "x-amz-website-redirect-location")
      m[name] = v;
    if (name == "x-amz-server-side-encryption") m[name] = v;
    if (name == "x-amz-storage-class" && v != "STANDARD") m[name] = v;
    if (name == "content-encoding") {  // aws-chunked is framing, not a property of the object
      std::string rest;
      for (auto part : text::split(v, ','))
        if (!text::iequals(text::trim(part), "aws-chunked"))
          rest += (rest.empty() ? "" : ",") + std::string(text::trim(part));
      if (!rest.empty()) m[name] = rest;
    }
  }
  if (user > 2048) return s3_error("MetadataTooLarge");
  return m;
}

Result<std::map<std::string, std::string>> read_tag_header(std::string_view header) {
  std::map<std::string, std::string> tags;
  if (header.empty()) return tags;
  for (auto& [k, v] : text::parse_query(header)) {
    if (k.empty() || text::utf8_length(k) > 128 || text::utf8_length(v) > 256)
      return s3_error("InvalidTag", "The tag key or value is too long or empty.");
    if (!tags.emplace(k, v).second) return s3_error("InvalidTag", "Cannot provide multiple Tags with the same key");
  }
  if (tags.size() > 10) return s3_error("InvalidTag", "Object tags cannot be greater than 10");
  return tags;
}

Result<WriteCondition> read_condition(const Call& c) {
  WriteCondition w;
  if (auto v = c.header("If-None-Match"); !v.empty()) {
    if (text::trim(v) != "*") return s3_error("NotImplemented", "If-None-Match of a write takes * only.");
    w.if_absent = true;
  }
  w.if_match = unquote(c.header("If-Match"));
  return w;
}

Result<std::pair<std::string, std::string>> copy_source(const Call& c) {
  std::string_view raw = c.header("x-amz-copy-source");
  raw = raw.substr(0, raw.find("?versionId="));
  auto decoded = text::percent_decode(raw).value_or(std::string(raw));
  if (decoded.starts_with('/')) decoded.erase(0, 1);
  auto slash = decoded.find('/');
  if (slash == std::string::npos || slash == 0 || slash + 1 == decoded.size())
    return s3_error("InvalidArgument", "Copy Source must mention the source bucket and key: sourcebucket/sourcekey");
  return std::pair(decoded.substr(0, slash), decoded.substr(slash + 1));
}

Result<> check_copy_conditions(const Call& c, const Object& source) {
  auto modified = source.modified_ms / 1000;
  bool match_held = false;
  if (auto v = c.header("x-amz-copy-source-if-match"); !v.empty()) {
    if (unquote(v) != source.etag) return s3_error("PreconditionFailed");
    match_held = true;
  }
  if (auto v = c.header("x-amz-copy-source-if-none-match"); !v.empty() && unquote(v) == source.etag)
    return s3_error("PreconditionFailed");
  if (auto v = c.header("x-amz-copy-source-if-unmodified-since"); !v.empty() && !match_held) {
    auto t = time::parse_http_date(std::string(v));
    if (t >= 0 && modified > t) return s3_error("PreconditionFailed");
  }
  if (auto v = c.header("x-amz-copy-source-if-modified-since"); !v.empty()) {
    auto t = time::parse_http_date(std::string(v));
    if (t >= 0 && modified <= t) return s3_error("PreconditionFailed");
  }
  return {};
}

void add_checksum_header(http::Response& r, const Checksum& sum) {
  if (sum.algorithm == ChecksumAlgorithm::none || sum.value.empty()) return;
  r.headers.add("x-amz-checksum-" + text::lower(checksum_name(sum.algorithm)), sum.value);
  r.headers.add("x-amz-checksum-type", sum.composite ? "COMPOSITE" : "FULL_OBJECT");
}

namespace {

bool bucket_name_ok(std::string_view b) {
  if (b.size() < 3 || b.size() > 63) return false;
  auto edge = [](char ch) { return (ch >= 'a' && ch <= 'z') || (ch >= '0' && ch <= '9'); };
  if (!edge(b.front()) || !edge(b.back())) return false;
  bool digits_only = true;
  for (std::size_t i = 0; i < b.size(); ++i) {
    char ch = b[i];
    if (!edge(ch) && ch != '-' && ch != '.') return false;
    if (ch == '.' && b[i - 1] == '.') return false;
    if ((ch < '0' || ch > '9') && ch != '.') digits_only = false;
  }
  return !(digits_only && std::count(b.begin(), b.end(), '.') == 3);  // not the form of an IPv4 address
}

task::Task<Result<http::Response>> dispatch(http::Request& rq, Store& store, const Credentials& cred) {
  Call c{rq, store, {}, {}, {}, {}};
  for (auto part : text::split(rq.query, '&')) {
    if (part.empty()) continue;
    auto eq = part.find('=');
    auto decode = [](std::string_view s) {
      std::string plus(s);
      for (char& ch : plus)
        if (ch == '+') ch = ' ';
      return text::percent_decode(plus).value_or(plus);
    };
    c.query[decode(part.substr(0, eq))] = eq == std::string_view::npos ? std::string() : decode(part.substr(eq + 1));
  }
  MR_CO_TRY(c.payload, verify(rq, cred, time::now_ms() / 1000));
  if (rq.path.empty() || rq.path == "/") co_return co_await serve_root(c);
  auto path = rq.path.substr(1);
  auto slash = path.find('/');
  auto bucket = text::percent_decode(path.substr(0, slash));
  auto key =
      slash == std::string_view::npos ? std::optional<std::string>("") : text::percent_decode(path.substr(slash + 1));
  if (!bucket || !key) co_return s3_error("InvalidArgument", "The path has a malformed percent escape.");
  c.bucket = *bucket;
  c.key = *key;
  if (!bucket_name_ok(c.bucket)) {
    // An impossible name of an existing request is simply not there; making one is refused.
    if (rq.method == http::Method::put && c.key.empty()) co_return s3_error("InvalidBucketName");
    co_return s3_error(rq.method == http::Method::get || rq.method == http::Method::head ||
                               rq.method == http::Method::del
                           ? "NoSuchBucket"
                           : "InvalidBucketName");
  }
  if (auto owner = c.header("x-amz-expected-bucket-owner"); !owner.empty() && owner != "millrace")
    co_return s3_error("AccessDenied");
  if (auto sse = c.header("x-amz-server-side-encryption"); !sse.empty() && sse != "AES256")
    co_return s3_error("NotImplemented", "Of the server-side encryptions only AES256 is understood.");
  if (c.key.empty()) co_return co_await serve_bucket(c);
  MR_CO_CHECK(check_key(c.key));
  if (c.has("uploads") || c.has("uploadId")) co_return co_await serve_multipart(c);
  co_return co_await serve_object(c);
}

}  // namespace

namespace {

// The error document names the bucket or the key that is not there.
http::Response refuse(const Error& e, const http::Request& rq) {
  auto path = rq.path.empty() ? rq.path : rq.path.substr(1);
  auto slash = path.find('/');
  auto bucket = text::percent_decode(path.substr(0, slash)).value_or("");
  auto key =
      slash == std::string_view::npos ? std::string() : text::percent_decode(path.substr(slash + 1)).value_or("");
  bool names_key = e.reason == "NoSuchKey";
  bool names_bucket =
      e.reason.starts_with("NoSuchBucket") || e.reason.starts_with("Bucket") || e.reason == "InvalidBucketName";
  return error_response(e, rq.path, rq.id, names_bucket || names_key ? bucket : "", names_key ? key : "");
}

}  // namespace

http::Handler make_handler(Store& store, Credentials credentials) {
  return [&store, cred = std::move(credentials)](http::Request& rq) -> task::Task<http::Response> {
    if (rq.path.starts_with("/minio/health/") && (rq.method == http::Method::get || rq.method == http::Method::head))
      co_return empty(200);
    auto r = co_await dispatch(rq, store, cred);
    auto res = r ? std::move(*r) : refuse(r.error(), rq);
    if (!r && res.status == 416 && rq.headers.has("Range")) {
      // The size goes with the refusal, so that a client can ask again.
      if (!r.error().detail.empty()) res.headers.add("Content-Range", "bytes */" + r.error().detail);
    }
    res.headers.add("x-amz-request-id", rq.id);
    res.headers.add("x-amz-id-2", "millrace");
    res.headers.add("Server", "Millrace");
    res.headers.add("Date", time::http_date(time::now_ms() / 1000));
    co_return res;
  };
}

}  // namespace mr::objects
