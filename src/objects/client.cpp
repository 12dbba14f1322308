#include "objects/client.h"

#include <pugixml.hpp>
#include <sstream>

#include "crypto/digest.h"
#include "text/text.h"
#include "text/uri.h"
#include "time/clock.h"

namespace mr::objects {

namespace {
std::string object_path(const std::string& bucket, const std::string& key) {
  return "/" + text::percent_encode(bucket) + "/" + text::percent_encode(key, "/");
}
}  // namespace

// `path` is encoded; `query` is encoded and sorted.
Result<http::ClientResponse> Client::send(http::Method method, const std::string& path, const std::string& query,
                                          std::string_view body, std::function<bool(std::string_view)> sink,
                                          const std::vector<std::pair<std::string, std::string>>& more) {
  auto sha = text::hex(crypto::digest(crypto::Algorithm::sha256, body));
  auto u = text::parse_uri(endpoint_);
  if (u.authority.empty())
    return fail(Code::invalid_argument, fmt::format("the S3 endpoint '{}' is not a URL", endpoint_));
  auto iso = time::iso8601_ms(time::now_ms());
  std::string date = fmt::format("{}{}{}T{}{}{}Z", iso.substr(0, 4), iso.substr(5, 2), iso.substr(8, 2),
                                 iso.substr(11, 2), iso.substr(14, 2), iso.substr(17, 2));
  std::string day = date.substr(0, 8);
  auto scope = fmt::format("{}/{}/s3/aws4_request", day, credentials_.region);
  std::string canonical = fmt::format(
      "{}\n{}\n{}\nhost:{}\nx-amz-content-sha256:{}\nx-amz-date:{}\n\nhost;x-amz-content-sha256;x-amz-date\n{}",
      http::method_name(method), path, query, u.authority, sha, date, sha);
  auto hmac = [](const std::string& k, std::string_view d) { return crypto::hmac(crypto::Algorithm::sha256, k, d); };
  std::string to_sign = fmt::format("AWS4-HMAC-SHA256\n{}\n{}\n{}", date, scope,
                                    text::hex(crypto::digest(crypto::Algorithm::sha256, canonical)));
  auto key = hmac(hmac(hmac(hmac("AWS4" + credentials_.secret_key, day), credentials_.region), "s3"), "aws4_request");
  http::ClientRequest rq;
  rq.method = method;
  rq.body = body;
  rq.url = fmt::format("{}://{}{}{}{}", u.scheme, u.authority, path, query.empty() ? "" : "?", query);
  rq.headers.add("x-amz-date", date);
  rq.headers.add("x-amz-content-sha256", sha);
  rq.headers.add(
      "Authorization",
      fmt::format("AWS4-HMAC-SHA256 Credential={}/{}, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature={}",
                  credentials_.access_key, scope, text::hex(hmac(key, to_sign))));
  for (const auto& [n, v] : more) rq.headers.add(n, v);
  rq.sink = std::move(sink);
  MR_TRY(auto res, http_.send(rq));
  if (res.status / 100 == 2) return res;
  pugi::xml_document doc;
  doc.load_buffer(res.body.data(), res.body.size());
  std::string code = doc.child("Error").child_value("Code");
  auto kind = res.status == 404   ? Code::not_found
              : res.status == 403 ? Code::permission_denied
              : res.status == 412 ? Code::conflict
                                  : Code::unavailable;
  return fail(kind, fmt::format("{} answered {}{}{}: {}", endpoint_, res.status, code.empty() ? "" : " ", code,
                                text::percent_decode(path).value_or(path)));
}

Result<std::vector<Client::Entry>> Client::list(const std::string& bucket, const std::string& prefix,
                                                const std::string& delimiter) {
  std::vector<Entry> found;
  std::string token;
  for (int page = 0; page < 1000; ++page) {
    std::string query = token.empty() ? "" : "continuation-token=" + text::percent_encode(token) + "&";
    if (!delimiter.empty()) query += "delimiter=" + text::percent_encode(delimiter) + "&";
    query += "encoding-type=url&list-type=2&prefix=" + text::percent_encode(prefix);
    MR_TRY(auto res, send(http::Method::get, "/" + text::percent_encode(bucket), query, {}, {}));
    pugi::xml_document doc;
    if (!doc.load_buffer(res.body.data(), res.body.size()))
      return fail(Code::data_loss, fmt::format("{} answered with malformed XML", endpoint_));
    auto root = doc.child("ListBucketResult");
    for (auto c : root.children("Contents"))
      found.push_back({text::percent_decode(c.child_value("Key")).value_or(""),
                       text::to_u64(c.child_value("Size")).value_or(0), false, c.child_value("ETag")});
    for (auto c : root.children("CommonPrefixes"))
      found.push_back({text::percent_decode(c.child_value("Prefix")).value_or(""), 0, true, {}});
    if (!text::iequals(root.child_value("IsTruncated"), "true")) break;
    token = root.child_value("NextContinuationToken");
  }
  return found;
}

Result<> Client::put(const std::string& bucket, const std::string& key, std::string_view bytes) {
  MR_TRY(auto res, send(http::Method::put, object_path(bucket, key), "", bytes, {}));
  return {};
}

Result<> Client::remove(const std::string& bucket, const std::string& key) {
  MR_TRY(auto res, send(http::Method::del, object_path(bucket, key), "", {}, {}));
  return {};
}

Result<> Client::get(const std::string& bucket, const std::string& key,
                     const std::function<bool(std::string_view)>& sink) {
  MR_TRY(auto res, send(http::Method::get, object_path(bucket, key), "", {}, sink));
  return {};
}

Result<Client::Meta> Client::head(const std::string& bucket, const std::string& key) {
  MR_TRY(auto res, send(http::Method::head, object_path(bucket, key), "", {}, {}));
  auto size = text::to_u64(res.headers.get("Content-Length"));
  if (!size) return fail(Code::data_loss, fmt::format("{} did not say how large {} is", endpoint_, key));
  return Meta{*size, std::string(res.headers.get("ETag")),
              time::parse_http_date(std::string(res.headers.get("Last-Modified")))};
}

Result<std::string> Client::get_range(const std::string& bucket, const std::string& key, std::uint64_t offset,
                                      std::uint64_t length, const std::string& etag) {
  std::vector<std::pair<std::string, std::string>> more{
      {"Range", fmt::format("bytes={}-{}", offset, offset + length - 1)}};
  if (!etag.empty()) more.emplace_back("If-Match", etag);
  MR_TRY(auto res, send(http::Method::get, object_path(bucket, key), "", {}, {}, more));
  // A server that knows no ranges sends the whole: right only when that is what was asked for.
  if (res.body.size() != length || (res.status != 206 && offset != 0))
    return fail(Code::data_loss,
                fmt::format("{} sent {} bytes of {} where {} were asked for", endpoint_, res.body.size(), key, length));
  return std::move(res.body);
}

Result<std::string> Client::create_upload(const std::string& bucket, const std::string& key) {
  MR_TRY(auto res, send(http::Method::post, object_path(bucket, key), "uploads=", {}, {},
                        {{"Content-Type", "application/octet-stream"}}));
  pugi::xml_document doc;
  doc.load_buffer(res.body.data(), res.body.size());
  std::string id = doc.child("InitiateMultipartUploadResult").child_value("UploadId");
  if (id.empty()) return fail(Code::data_loss, fmt::format("{} began an upload without an id", endpoint_));
  return id;
}

Result<std::string> Client::put_part(const std::string& bucket, const std::string& key, const std::string& upload_id,
                                     int number, std::string_view bytes) {
  MR_TRY(auto res, send(http::Method::put, object_path(bucket, key),
                        fmt::format("partNumber={}&uploadId={}", number, text::percent_encode(upload_id)), bytes, {}));
  return std::string(res.headers.get("ETag"));
}

Result<> Client::complete_upload(const std::string& bucket, const std::string& key, const std::string& upload_id,
                                 const std::vector<Part>& parts) {
  pugi::xml_document list;
  auto root = list.append_child("CompleteMultipartUpload");
  for (const auto& p : parts) {
    auto part = root.append_child("Part");
    part.append_child("PartNumber").text().set(p.number);
    part.append_child("ETag").text().set(p.etag.c_str());
  }
  std::ostringstream body;
  list.save(body, "", pugi::format_raw | pugi::format_no_declaration);
  MR_TRY(auto res, send(http::Method::post, object_path(bucket, key), "uploadId=" + text::percent_encode(upload_id),
                        body.str(), {}));
  // The status goes out before the parts are joined: a failure shows in the body alone.
  pugi::xml_document doc;
  doc.load_buffer(res.body.data(), res.body.size());
  if (auto error = doc.child("Error"))
    return fail(Code::unavailable,
                fmt::format("{} could not complete the upload of {}: {}", endpoint_, key, error.child_value("Code")));
  return {};
}

Result<> Client::abort_upload(const std::string& bucket, const std::string& key, const std::string& upload_id) {
  MR_TRY(auto res,
         send(http::Method::del, object_path(bucket, key), "uploadId=" + text::percent_encode(upload_id), {}, {}));
  return {};
}

}  // namespace mr::objects
