#include "objects/signature.h"

#include "crypto/digest.h"
#include "objects/errors.h"
#include "text/text.h"
#include "text/uri.h"
#include "time/clock.h"

namespace mr::objects {

namespace {

using crypto::Algorithm;
constexpr std::string_view kEmptySha = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
constexpr std::int64_t kMaxSkew = 15 * 60;

std::string hmac256(std::string_view key, std::string_view data) { return crypto::hmac(Algorithm::sha256, key, data); }

std::string signing_key(const std::string& secret, std::string_view date, std::string_view region,
                        std::string_view service) {
  return hmac256(hmac256(hmac256(hmac256("AWS4" + secret, date), region), service), "aws4_request");
}

// Signing keys live a day; four HMACs a request are worth keeping.
const std::string& cached_key(const std::string& secret, std::string_view date, std::string_view region,
                              std::string_view service) {
  thread_local std::string id;
  thread_local std::string key;
  std::string wanted = fmt::format("{}|{}|{}|{}", date, region, service, secret);
  if (wanted != id) {
    key = signing_key(secret, date, region, service);
    id = std::move(wanted);
  }
  return key;
}

// Query pairs decoded by URI rules ('+' is a plus: signers write spaces as %20).
std::vector<std::pair<std::string, std::string>> query_pairs(std::string_view query) {
  std::vector<std::pair<std::string, std::string>> out;
  for (auto part : text::split(query, '&')) {
    if (part.empty()) continue;
    auto eq = part.find('=');
    auto decode = [](std::string_view s) { return text::percent_decode(s).value_or(std::string(s)); };
    out.emplace_back(decode(part.substr(0, eq)),
                     eq == std::string_view::npos ? std::string() : decode(part.substr(eq + 1)));
  }
  return out;
}

std::string canonical_uri(std::string_view raw) {
  auto d = text::percent_decode(raw);
  return text::percent_encode(d ? *d : std::string(raw), "/");
}

std::string canonical_query(const std::vector<std::pair<std::string, std::string>>& pairs, std::string_view leave_out) {
  std::vector<std::pair<std::string, std::string>> encoded;
  for (const auto& [k, v] : pairs)
    if (k != leave_out) encoded.emplace_back(text::percent_encode(k), text::percent_encode(v));
  std::sort(encoded.begin(), encoded.end());
  std::string out;
  for (const auto& [k, v] : encoded) out.append(out.empty() ? "" : "&").append(k).append("=").append(v);
  return out;
}

// Trimmed, inner runs of blanks folded to one.
std::string canonical_value(std::string_view v) {
  std::string out;
  for (char c : text::trim(v)) {
    if (c == ' ' && out.ends_with(' ')) continue;
    out += c;
  }
  return out;
}

Result<std::string> canonical_headers(const http::Request& rq, std::string_view signed_headers) {
  std::string out;
  auto is_signed = [&](std::string_view name) {
    for (auto s : text::split(signed_headers, ';'))
      if (text::iequals(s, name)) return true;
    return false;
  };
  // A header that changes what is done must be under the signature.
  if (!is_signed("host")) return s3_error("SignatureDoesNotMatch", "The host header must be signed.");
  for (const auto& [n, v] : rq.headers.items())
    if (n.size() > 6 && text::iequals(n.substr(0, 6), "x-amz-") && !text::iequals(n, "x-amz-content-sha256") &&
        !is_signed(n))
      return s3_error("AccessDenied", fmt::format("There were headers present in the request which were not signed: {}",
                                                  n.substr(0, 100)));
  for (auto name : text::split(signed_headers, ';')) {
    std::string value;
    bool found = false;
    for (const auto& [n, v] : rq.headers.items()) {
      if (!text::iequals(n, name)) continue;
      value += (found ? "," : "") + canonical_value(v);
      found = true;
    }
    if (!found)
      return s3_error("SignatureDoesNotMatch",
                      fmt::format("The signed header '{}' is not in the request.", name.substr(0, 100)));
    out += fmt::format("{}:{}\n", name, value);
  }
  return out;
}

struct Scope {
  std::string access_key, date, region, service;
  std::string text;  // date/region/service/aws4_request
};
Result<Scope> parse_credential(std::string_view c, std::string_view error_code) {
  auto parts = text::split(c, '/');
  if (parts.size() < 5 || parts.back() != "aws4_request")
    return s3_error(error_code, "The credential must have the form KEY/DATE/REGION/s3/aws4_request.");
  std::size_t n = parts.size();
  Scope s;
  for (std::size_t i = 0; i + 4 < n; ++i) s.access_key += (i > 0 ? "/" : "") + std::string(parts[i]);
  s.date = parts[n - 4];
  s.region = parts[n - 3];
  s.service = parts[n - 2];
  if (s.service != "s3") return s3_error(error_code, "The service of the credential must be s3.");
  s.text = fmt::format("{}/{}/{}/aws4_request", s.date, s.region, s.service);
  return s;
}

Result<Payload> payload_kind(std::string_view sha) {
  Payload p;
  using K = Payload::Kind;
  if (sha.empty() || sha == "UNSIGNED-PAYLOAD")
    p.kind = K::unsigned_body;
  else if (sha == "STREAMING-AWS4-HMAC-SHA256-PAYLOAD")
    p.kind = K::chunked_signed;
  else if (sha == "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER")
    p.kind = K::chunked_signed_trailer;
  else if (sha == "STREAMING-UNSIGNED-PAYLOAD-TRAILER")
    p.kind = K::chunked_unsigned_trailer;
  else if (sha.size() == 64 && sha.find_first_not_of("0123456789abcdef") == std::string_view::npos) {
    p.kind = K::hashed;
    p.sha256 = sha;
  } else {
    return s3_error("InvalidArgument",
                    "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-… or a valid sha256 value.");
  }
  return p;
}

Result<Payload> finish(const http::Request& rq, const Credentials& cred, const Scope& scope, std::string_view date,
                       std::string_view signed_headers, std::string_view query_without, std::string_view payload_hash,
                       std::string_view signature) {
  if (scope.access_key != cred.access_key) return s3_error("InvalidAccessKeyId");
  MR_TRY(auto headers, canonical_headers(rq, signed_headers));
  auto pairs = query_pairs(rq.query);
  std::string canonical = fmt::format("{}\n{}\n{}\n{}\n{}\n{}", rq.method_text, canonical_uri(rq.path),
                                      canonical_query(pairs, query_without), headers, signed_headers, payload_hash);
  std::string to_sign = fmt::format("AWS4-HMAC-SHA256\n{}\n{}\n{}", date, scope.text,
                                    text::hex(crypto::digest(Algorithm::sha256, canonical)));
  const auto& key = cached_key(cred.secret_key, scope.date, scope.region, scope.service);
  if (!crypto::equal_constant_time(text::hex(hmac256(key, to_sign)), signature))
    return s3_error("SignatureDoesNotMatch");
  MR_TRY(Payload p, payload_kind(payload_hash));
  p.signing_key = key;
  p.scope = scope.text;
  p.date = date;
  p.seed_signature = signature;
  return p;
}

Result<Payload> verify_header(const http::Request& rq, std::string_view auth, const Credentials& cred,
                              std::int64_t now) {
  constexpr std::string_view scheme = "AWS4-HMAC-SHA256";
  if (!auth.starts_with(scheme)) return s3_error("InvalidArgument", "Unsupported Authorization Type");
  std::string_view credential;
  std::string_view signed_headers;
  std::string_view signature;
  for (auto part : text::split(auth.substr(scheme.size()), ',')) {
    part = text::trim(part);
    if (part.starts_with("Credential="))
      credential = part.substr(11);
    else if (part.starts_with("SignedHeaders="))
      signed_headers = part.substr(14);
    else if (part.starts_with("Signature="))
      signature = part.substr(10);
  }
  if (credential.empty() || signed_headers.empty() || signature.empty())
    return s3_error("AuthorizationHeaderMalformed");
  MR_TRY(Scope scope, parse_credential(credential, "AuthorizationHeaderMalformed"));
  std::string date(rq.headers.get("x-amz-date"));
  std::int64_t at = time::parse_amz_date(date);
  if (at < 0) {
    at = time::parse_http_date(std::string(rq.headers.get("Date")));
    if (at < 0) return s3_error("AccessDenied", "AWS authentication requires a valid Date or x-amz-date header");
    auto iso = time::iso8601_ms(at * 1000);
    date = fmt::format("{}{}{}T{}{}{}Z", iso.substr(0, 4), iso.substr(5, 2), iso.substr(8, 2), iso.substr(11, 2),
                       iso.substr(14, 2), iso.substr(17, 2));
  }
  if (std::abs(now - at) > kMaxSkew) return s3_error("RequestTimeTooSkewed");
  if (!date.starts_with(scope.date))
    return s3_error("AuthorizationHeaderMalformed",
                    "The date of the credential does not match the date of the request.");
  auto sha = rq.headers.get("x-amz-content-sha256");
  if (sha.empty()) return s3_error("InvalidRequest", "Missing required header for this request: x-amz-content-sha256");
  return finish(rq, cred, scope, date, signed_headers, "", sha, signature);
}

Result<Payload> verify_query(const http::Request& rq, const Credentials& cred, std::int64_t now) {
  std::map<std::string, std::string> q;
  for (auto& [k, v] : query_pairs(rq.query)) q[k] = v;
  if (q["X-Amz-Algorithm"] != "AWS4-HMAC-SHA256")
    return s3_error("AuthorizationQueryParametersError", "X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\"");
  for (const char* name : {"X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders", "X-Amz-Signature"})
    if (q[name].empty())
      return s3_error("AuthorizationQueryParametersError",
                      fmt::format("Query-string authentication version 4 requires the {} parameter.", name));
  MR_TRY(Scope scope, parse_credential(q["X-Amz-Credential"], "AuthorizationQueryParametersError"));
  auto at = time::parse_amz_date(q["X-Amz-Date"]);
  auto expires = text::to_i64(q["X-Amz-Expires"]);
  if (at < 0)
    return s3_error("AuthorizationQueryParametersError",
                    "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"");
  if (!expires || *expires < 0)
    return s3_error("AuthorizationQueryParametersError", "X-Amz-Expires should be a number of seconds");
  if (*expires > 604800)
    return s3_error("AuthorizationQueryParametersError",
                    "X-Amz-Expires must be less than a week (in seconds) that is 604800");
  if (at - now > kMaxSkew) return s3_error("AccessDenied", "Request is not valid yet");
  if (now > at + *expires) return s3_error("AccessDenied", "Request has expired");
  auto sha = q.contains("X-Amz-Content-Sha256") ? q["X-Amz-Content-Sha256"]
                                                : std::string(rq.headers.get("x-amz-content-sha256"));
  return finish(rq, cred, scope, q["X-Amz-Date"], q["X-Amz-SignedHeaders"], "X-Amz-Signature",
                sha.empty() ? "UNSIGNED-PAYLOAD" : sha, q["X-Amz-Signature"]);
}

// Version 2 query form, which boto3 still makes for presigned URLs by default.
Result<Payload> verify_v2_query(const http::Request& rq, const Credentials& cred, std::int64_t now) {
  static const std::set<std::string> sub{"acl",
                                         "cors",
                                         "delete",
                                         "lifecycle",
                                         "location",
                                         "logging",
                                         "notification",
                                         "partNumber",
                                         "policy",
                                         "requestPayment",
                                         "response-cache-control",
                                         "response-content-disposition",
                                         "response-content-encoding",
                                         "response-content-language",
                                         "response-content-type",
                                         "response-expires",
                                         "restore",
                                         "tagging",
                                         "torrent",
                                         "uploadId",
                                         "uploads",
                                         "versionId",
                                         "versioning",
                                         "versions",
                                         "website"};
  std::string key_id;
  std::string signature;
  std::string expires;
  std::map<std::string, std::string> resources;
  for (auto& [k, v] : query_pairs(rq.query)) {
    if (k == "AWSAccessKeyId")
      key_id = v;
    else if (k == "Signature")
      signature = v;
    else if (k == "Expires")
      expires = v;
    else if (sub.contains(k))
      resources[k] = v;
  }
  if (signature.empty())
    return s3_error("AccessDenied",
                    "Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters");
  if (key_id != cred.access_key) return s3_error("InvalidAccessKeyId");
  auto until = text::to_i64(expires);
  if (!until) return s3_error("AccessDenied", "Invalid date (should be seconds since epoch): " + expires.substr(0, 40));
  if (now > *until) return s3_error("AccessDenied", "Request has expired");
  std::map<std::string, std::string> amz;
  for (const auto& [n, v] : rq.headers.items()) {
    auto name = text::lower(n);
    if (name.starts_with("x-amz-")) amz[name] += (amz[name].empty() ? "" : ",") + std::string(text::trim(v));
  }
  std::string resource(rq.path);
  if (resource.size() > 1 && resource.find('/', 1) == std::string::npos)
    resource += '/';  // a bare bucket is signed with a slash
  bool first = true;
  for (const auto& [k, v] : resources) {
    resource += (first ? "?" : "&") + k + (v.empty() ? "" : "=" + v);
    first = false;
  }
  std::string to_sign = fmt::format("{}\n{}\n{}\n{}\n", rq.method_text, rq.headers.get("Content-MD5"),
                                    rq.headers.get("Content-Type"), expires);
  for (const auto& [k, v] : amz) to_sign += fmt::format("{}:{}\n", k, v);
  to_sign += resource;
  if (!crypto::equal_constant_time(text::base64_encode(crypto::hmac(Algorithm::sha1, cred.secret_key, to_sign)),
                                   signature))
    return s3_error("SignatureDoesNotMatch");
  return payload_kind(rq.headers.get("x-amz-content-sha256"));
}

}  // namespace

Result<Payload> verify(const http::Request& rq, const Credentials& cred, std::int64_t now_s) {
  auto auth = rq.headers.get("Authorization");
  bool in_query = rq.query.find("X-Amz-Algorithm=") != std::string_view::npos ||
                  rq.query.find("AWSAccessKeyId=") != std::string_view::npos;
  if (!auth.empty() && in_query)
    return s3_error("InvalidArgument",
                    "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string "
                    "parameter or the Authorization header should be specified");
  if (!auth.empty()) return verify_header(rq, auth, cred, now_s);
  if (rq.query.find("X-Amz-Algorithm=") != std::string_view::npos) return verify_query(rq, cred, now_s);
  if (rq.query.find("AWSAccessKeyId=") != std::string_view::npos) return verify_v2_query(rq, cred, now_s);
  return s3_error("AccessDenied");
}

std::string presign(const Credentials& cred, std::string_view method, const std::string& endpoint,
                    const std::string& bucket, const std::string& key,
                    std::vector<std::pair<std::string, std::string>> query, std::int64_t now_s, int expires_s) {
  auto iso = time::iso8601_ms(now_s * 1000);
  std::string date = fmt::format("{}{}{}T{}{}{}Z", iso.substr(0, 4), iso.substr(5, 2), iso.substr(8, 2),
                                 iso.substr(11, 2), iso.substr(14, 2), iso.substr(17, 2));
  std::string day = date.substr(0, 8);
  auto scope = fmt::format("{}/{}/s3/aws4_request", day, cred.region);
  query.emplace_back("X-Amz-Algorithm", "AWS4-HMAC-SHA256");
  query.emplace_back("X-Amz-Credential", cred.access_key + "/" + scope);
  query.emplace_back("X-Amz-Date", date);
  query.emplace_back("X-Amz-Expires", std::to_string(expires_s));
  query.emplace_back("X-Amz-SignedHeaders", "host");
  // Without a bucket: the service itself, as for the list of buckets.
  auto path =
      bucket.empty() ? std::string("/") : "/" + text::percent_encode(bucket) + "/" + text::percent_encode(key, "/");
  auto canonical_q = canonical_query(query, "");
  auto canonical = fmt::format("{}\n{}\n{}\nhost:{}\n\nhost\nUNSIGNED-PAYLOAD", method, path, canonical_q,
                               text::parse_uri(endpoint).authority);
  auto to_sign =
      fmt::format("AWS4-HMAC-SHA256\n{}\n{}\n{}", date, scope, text::hex(crypto::digest(Algorithm::sha256, canonical)));
  auto signature = text::hex(hmac256(signing_key(cred.secret_key, day, cred.region, "s3"), to_sign));
  return fmt::format("{}{}?{}&X-Amz-Signature={}", endpoint, path, canonical_q, signature);
}

std::string chunk_signature(const Payload& p, const std::string& previous, const std::string& sha) {
  return text::hex(hmac256(p.signing_key, fmt::format("AWS4-HMAC-SHA256-PAYLOAD\n{}\n{}\n{}\n{}\n{}", p.date, p.scope,
                                                      previous, kEmptySha, sha)));
}
std::string trailer_signature(const Payload& p, const std::string& previous, const std::string& sha) {
  return text::hex(
      hmac256(p.signing_key, fmt::format("AWS4-HMAC-SHA256-TRAILER\n{}\n{}\n{}\n{}", p.date, p.scope, previous, sha)));
}

}  // namespace mr::objects
