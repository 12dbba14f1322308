#include "objects/client.h"

#include <pugixml.hpp>

#include "crypto/digest.h"
#include "text/text.h"
#include "text/uri.h"
#include "time/clock.h"

namespace mr::objects {

// `path` is encoded; `query` is encoded and sorted.
Result<http::ClientResponse> Client::send(http::Method method, const std::string& path, const std::string& query,
                                          std::string_view body, std::function<bool(std::string_view)> sink) {
  auto sha = text::hex(crypto::digest(crypto::Algorithm::sha256, body));
  auto u = text::parse_uri(endpoint_);
  if (u.authority.empty())
    return fail(Code::invalid_argument, fmt::format("the S3 endpoint '{}' is not a URL", endpoint_));
  auto iso = time::iso8601_ms(time::now_ms());
  std::string date = fmt::format("{}{}{}T{}{}{}Z", iso.substr(0, 4), iso.substr(5, 2), iso.substr(8, 2),
                                 iso.substr(11, 2), iso.substr(14, 2), iso.substr(17, 2));
  std::string day = date.substr(0, 8);
  std::string scope = day + "/us-east-1/s3/aws4_request";
  std::string canonical = fmt::format(
      "{}\n{}\n{}\nhost:{}\nx-amz-content-sha256:{}\nx-amz-date:{}\n\nhost;x-amz-content-sha256;x-amz-date\n{}",
      http::method_name(method), path, query, u.authority, sha, date, sha);
  auto hmac = [](const std::string& k, std::string_view d) { return crypto::hmac(crypto::Algorithm::sha256, k, d); };
  std::string to_sign = fmt::format("AWS4-HMAC-SHA256\n{}\n{}\n{}", date, scope,
                                    text::hex(crypto::digest(crypto::Algorithm::sha256, canonical)));
  auto key = hmac(hmac(hmac(hmac("AWS4" + credentials_.secret_key, day), "us-east-1"), "s3"), "aws4_request");
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
  rq.sink = std::move(sink);
  MR_TRY(auto res, http_.send(rq));
  if (res.status / 100 == 2) return res;
  pugi::xml_document doc;
  doc.load_buffer(res.body.data(), res.body.size());
  std::string code = doc.child("Error").child_value("Code");
  auto kind = res.status == 404 ? Code::not_found : res.status == 403 ? Code::permission_denied : Code::unavailable;
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
                       text::to_u64(c.child_value("Size")).value_or(0), false});
    for (auto c : root.children("CommonPrefixes"))
      found.push_back({text::percent_decode(c.child_value("Prefix")).value_or(""), 0, true});
    if (!text::iequals(root.child_value("IsTruncated"), "true")) break;
    token = root.child_value("NextContinuationToken");
  }
  return found;
}

Result<> Client::put(const std::string& bucket, const std::string& key, std::string_view bytes) {
  MR_TRY(auto res, send(http::Method::put, "/" + text::percent_encode(bucket) + "/" + text::percent_encode(key, "/"),
                        "", bytes, {}));
  return {};
}

Result<> Client::remove(const std::string& bucket, const std::string& key) {
  MR_TRY(auto res, send(http::Method::del, "/" + text::percent_encode(bucket) + "/" + text::percent_encode(key, "/"),
                        "", {}, {}));
  return {};
}

Result<> Client::get(const std::string& bucket, const std::string& key,
                     const std::function<bool(std::string_view)>& sink) {
  MR_TRY(auto res, send(http::Method::get, "/" + text::percent_encode(bucket) + "/" + text::percent_encode(key, "/"),
                        "", {}, sink));
  return {};
}

}  // namespace mr::objects
