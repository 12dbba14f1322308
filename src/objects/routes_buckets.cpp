#include "objects/request.h"
#include "objects/xml.h"
#include "text/text.h"
#include "text/uri.h"
#include "time/clock.h"

namespace mr::objects {

using http::Method;

namespace {

// Keys of answers are encoded when the client asks for it, as XML 1.0 cannot carry every byte.
struct Encoder {
  bool url = false;
  std::string operator()(std::string_view s) const { return url ? text::percent_encode(s, "/") : text::xml_escape(s); }
};

Result<std::size_t> number(const Call& c, const char* name, std::size_t fallback, std::size_t cap) {
  if (!c.has(name) || c.get(name).empty()) return fallback;
  auto v = text::to_i64(c.get(name));
  if (!v || *v < 0 || *v > INT32_MAX)
    return s3_error("InvalidArgument", fmt::format("Provided {} not an integer or within integer range", name));
  return std::min<std::size_t>(static_cast<std::size_t>(*v), cap);
}

Result<Encoder> encoder(const Call& c) {
  if (!c.has("encoding-type")) return Encoder{};
  if (!text::iequals(c.get("encoding-type"), "url"))
    return s3_error("InvalidArgument", "Invalid Encoding Method specified in Request");
  return Encoder{true};
}

void contents(std::string& out, const Object& o, const Encoder& enc, bool owner) {
  out += fmt::format("<Contents><Key>{}</Key><LastModified>{}</LastModified><ETag>&quot;{}&quot;</ETag>", enc(o.key),
                     time::iso8601_ms(o.modified_ms), o.etag);
  if (o.checksum.algorithm != ChecksumAlgorithm::none && !o.checksum.value.empty())
    out += fmt::format("<ChecksumAlgorithm>{}</ChecksumAlgorithm><ChecksumType>{}</ChecksumType>",
                       checksum_name(o.checksum.algorithm), o.checksum.composite ? "COMPOSITE" : "FULL_OBJECT");
  out += fmt::format("<Size>{}</Size>", o.size);
  if (owner) out += fmt::format("<Owner>{}</Owner>", kOwner);
  out += "<StorageClass>STANDARD</StorageClass></Contents>";
}

Result<http::Response> list_objects(Call& c, bool v2) {
  ListQuery q;
  q.prefix = c.get("prefix");
  q.delimiter = c.get("delimiter");
  MR_TRY(q.max_keys, number(c, "max-keys", 1000, 1000));
  MR_TRY(auto enc, encoder(c));
  std::string token = c.get("continuation-token");
  if (v2) {
    q.after = c.get("start-after");
    if (c.has("continuation-token")) {
      auto raw = text::base64_decode(token);
      if (raw && !raw->starts_with("key:")) raw.reset();
      if (token.empty() || !raw) return s3_error("InvalidArgument", "The continuation token provided is incorrect");
      q.after = raw->substr(4);
    }
  } else {
    q.after = c.get("marker");
  }
  MR_TRY(auto listing, c.store.list(c.bucket, q));
  std::string out = fmt::format("<Name>{}</Name><Prefix>{}</Prefix>", text::xml_escape(c.bucket), enc(q.prefix));
  if (!q.delimiter.empty()) out += fmt::format("<Delimiter>{}</Delimiter>", enc(q.delimiter));
  out += fmt::format("<MaxKeys>{}</MaxKeys>", q.max_keys);
  if (enc.url) out += "<EncodingType>url</EncodingType>";
  out += fmt::format("<IsTruncated>{}</IsTruncated>", listing.truncated);
  if (v2) {
    out += fmt::format("<KeyCount>{}</KeyCount>", listing.objects.size() + listing.prefixes.size());
    if (!token.empty()) out += fmt::format("<ContinuationToken>{}</ContinuationToken>", text::xml_escape(token));
    if (c.has("start-after")) out += fmt::format("<StartAfter>{}</StartAfter>", enc(c.get("start-after")));
    if (listing.truncated)
      out +=
          fmt::format("<NextContinuationToken>{}</NextContinuationToken>", text::base64_encode("key:" + listing.last));
  } else {
    out += fmt::format("<Marker>{}</Marker>", enc(q.after));
    if (listing.truncated && !q.delimiter.empty()) out += fmt::format("<NextMarker>{}</NextMarker>", enc(listing.last));
  }
  bool owner = !v2 || c.get("fetch-owner") == "true";
  for (const auto& o : listing.objects) contents(out, o, enc, owner);
  for (const auto& p : listing.prefixes)
    out += fmt::format("<CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>", enc(p));
  return xml("ListBucketResult", out);
}

// Versioning is off: every object is its own latest version, with the id null.
Result<http::Response> list_versions(Call& c) {
  ListQuery q;
  q.prefix = c.get("prefix");
  q.delimiter = c.get("delimiter");
  q.after = c.get("key-marker");
  MR_TRY(q.max_keys, number(c, "max-keys", 1000, 1000));
  MR_TRY(auto enc, encoder(c));
  MR_TRY(auto listing, c.store.list(c.bucket, q));
  std::string out = fmt::format("<Name>{}</Name><Prefix>{}</Prefix><KeyMarker>{}</KeyMarker><VersionIdMarker/>",
                                text::xml_escape(c.bucket), enc(q.prefix), enc(q.after));
  if (!q.delimiter.empty()) out += fmt::format("<Delimiter>{}</Delimiter>", enc(q.delimiter));
  out += fmt::format("<MaxKeys>{}</MaxKeys>", q.max_keys);
  if (enc.url) out += "<EncodingType>url</EncodingType>";
  out += fmt::format("<IsTruncated>{}</IsTruncated>", listing.truncated);
  if (listing.truncated)
    out += fmt::format("<NextKeyMarker>{}</NextKeyMarker><NextVersionIdMarker>null</NextVersionIdMarker>",
                       enc(listing.last));
  for (const auto& o : listing.objects)
    out += fmt::format(
        "<Version><Key>{}</Key><VersionId>null</VersionId><IsLatest>true</IsLatest><LastModified>{}</"
        "LastModified><ETag>&quot;{}&quot;</ETag><Size>{}</Size><Owner>{}</Owner><StorageClass>STANDARD</"
        "StorageClass></Version>",
        enc(o.key), time::iso8601_ms(o.modified_ms), o.etag, o.size, kOwner);
  for (const auto& p : listing.prefixes)
    out += fmt::format("<CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>", enc(p));
  return xml("ListVersionsResult", out);
}

Result<http::Response> list_uploads(Call& c) {
  MR_TRY(auto enc, encoder(c));
  MR_TRY(auto max, number(c, "max-uploads", 1000, 1000));
  auto prefix = c.get("prefix");
  auto key_marker = c.get("key-marker");
  auto id_marker = c.get("upload-id-marker");
  MR_TRY(auto all, c.store.uploads(c.bucket, prefix));
  std::string items;
  std::string prefixes;
  std::string last_prefix;
  auto delimiter = c.get("delimiter");
  std::size_t n = 0;
  bool truncated = false;
  std::string last_key;
  std::string last_id;
  for (const auto& u : all) {
    if (auto at = delimiter.empty() ? std::string::npos : u.key.find(delimiter, prefix.size());
        at != std::string::npos) {
      auto common = u.key.substr(0, at + delimiter.size());
      if (common == last_prefix || (!key_marker.empty() && common <= key_marker)) continue;
      if (n == max) {
        truncated = true;
        break;
      }
      ++n;
      last_prefix = last_key = common;
      prefixes += fmt::format("<CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>", enc(common));
      continue;
    }
    if (!key_marker.empty() &&
        (u.key < key_marker || (u.key == key_marker && (id_marker.empty() || u.id <= id_marker))))
      continue;
    if (n == max) {
      truncated = true;
      break;
    }
    ++n;
    last_key = u.key;
    last_id = u.id;
    items += fmt::format(
        "<Upload><Key>{}</Key><UploadId>{}</UploadId><Initiator>{}</Initiator><Owner>{}</Owner><StorageClass>STANDARD</"
        "StorageClass><Initiated>{}</Initiated></Upload>",
        enc(u.key), u.id, kOwner, kOwner, time::iso8601_ms(u.created_ms));
  }
  std::string out = fmt::format("<Bucket>{}</Bucket><KeyMarker>{}</KeyMarker><UploadIdMarker>{}</UploadIdMarker>",
                                text::xml_escape(c.bucket), enc(key_marker), text::xml_escape(id_marker));
  if (truncated)
    out += fmt::format("<NextKeyMarker>{}</NextKeyMarker><NextUploadIdMarker>{}</NextUploadIdMarker>", enc(last_key),
                       last_id);
  out += fmt::format("<Prefix>{}</Prefix><MaxUploads>{}</MaxUploads><IsTruncated>{}</IsTruncated>{}{}", enc(prefix),
                     max, truncated, items, prefixes);
  if (!delimiter.empty()) out += fmt::format("<Delimiter>{}</Delimiter>", enc(delimiter));
  if (enc.url) out += "<EncodingType>url</EncodingType>";
  return xml("ListMultipartUploadsResult", out);
}

Reply delete_many(Call& c) {
  bool bound = !c.header("Content-MD5").empty();
  for (const char* sum : {"x-amz-checksum-crc32", "x-amz-checksum-crc32c", "x-amz-checksum-crc64nvme",
                          "x-amz-checksum-sha1", "x-amz-checksum-sha256", "x-amz-trailer"})
    bound = bound || !c.header(sum).empty();
  if (!bound)
    co_return s3_error("InvalidRequest", "Missing required header for this request: Content-MD5 OR x-amz-checksum-*");
  MR_CO_TRY(auto body, co_await receive_text(c.http, c.payload, 4U << 20));
  pugi::xml_document doc;
  MR_CO_CHECK(parse_xml(doc, body));
  auto root = doc.child("Delete");
  if (!root) co_return s3_error("MalformedXML");
  bool quiet = text::iequals(root.child_value("Quiet"), "true");
  std::vector<std::string> keys;
  std::set<std::string> null_versions;
  std::vector<std::pair<std::string, std::string>> refused;
  std::size_t n = 0;
  for (auto o : root.children("Object")) {
    if (++n > 1000) co_return s3_error("MalformedXML");
    std::string key = xml_text(o.child("Key"));
    std::string version = xml_text(o.child("VersionId"));
    if (key.empty()) co_return s3_error("MalformedXML");
    if (!version.empty() && version != "null")
      refused.emplace_back(key, "NoSuchVersion");
    else {
      if (!version.empty()) null_versions.insert(key);
      keys.push_back(std::move(key));
    }
  }
  if (n == 0) co_return s3_error("MalformedXML");
  MR_CO_CHECK(co_await c.store.remove_all(c.bucket, keys));
  std::string out;
  if (!quiet)
    for (const auto& k : keys)
      out += fmt::format("<Deleted><Key>{}</Key>{}</Deleted>", text::xml_escape(k),
                         null_versions.contains(k) ? "<VersionId>null</VersionId>" : "");
  for (const auto& [k, code] : refused)
    out += fmt::format(
        "<Error><Key>{}</Key><Code>{}</Code><Message>The specified version does not exist.</Message></Error>",
        text::xml_escape(k), code);
  co_return xml("DeleteResult", out);
}

Reply create_bucket(Call& c) {
  MR_CO_TRY(auto body, co_await receive_text(c.http, c.payload, 64 << 10));
  if (!body.empty()) {
    pugi::xml_document doc;
    MR_CO_CHECK(parse_xml(doc, body));
    if (!doc.child("CreateBucketConfiguration")) co_return s3_error("MalformedXML");
  }
  // Making one's own bucket again is fine, as in us-east-1.
  MR_CO_CHECK(co_await c.store.create_bucket(c.bucket));
  auto r = empty(200);
  r.headers.add("Location", "/" + c.bucket);
  co_return r;
}

}  // namespace

Reply serve_root(Call& c) {
  if (c.http.method != Method::get && c.http.method != Method::head) co_return s3_error("MethodNotAllowed");
  MR_CO_TRY(auto buckets, c.store.buckets());
  std::string out = fmt::format("<Owner>{}</Owner><Buckets>", kOwner);
  for (const auto& b : buckets)
    out += fmt::format("<Bucket><Name>{}</Name><CreationDate>{}</CreationDate></Bucket>", text::xml_escape(b.name),
                       time::iso8601_ms(b.created_ms));
  co_return xml("ListAllMyBucketsResult", out + "</Buckets>");
}

Reply serve_bucket(Call& c) {
  // Settings that this store does not have: writing them is refused, reading gives what a bucket without them gives.
  static const std::map<std::string, std::string_view> absent{
      {"policy", "NoSuchBucketPolicy"},
      {"policyStatus", "NoSuchBucketPolicy"},
      {"cors", "NoSuchCORSConfiguration"},
      {"lifecycle", "NoSuchLifecycleConfiguration"},
      {"object-lock", "ObjectLockConfigurationNotFoundError"},
      {"tagging", "NoSuchTagSet"},
      {"encryption", "ServerSideEncryptionConfigurationNotFoundError"}};
  const auto method = c.http.method;
  // A sub-resource must never be taken for the bucket itself: a read of one that is not here is refused by its name,
  // and a write with anything in its query that is not known.
  static const std::set<std::string, std::less<>> not_here{
      "analytics", "inventory",           "metrics", "ownershipControls", "publicAccessBlock", "replication",
      "website",   "intelligent-tiering", "session", "metadataTable"};
  for (const auto& [name, value] : c.query) {
    if (name.starts_with("X-Amz-") || name.starts_with("x-amz-") || absent.contains(name)) continue;
    bool signature = name == "x-id" || name == "AWSAccessKeyId" || name == "Signature" || name == "Expires";
    bool fits = method == Method::get || method == Method::head ? !not_here.contains(name)
                : method == Method::post                        ? name == "delete" || signature
                                                                : signature;
    if (!fits) co_return s3_error("NotImplemented");
  }
  if (method == Method::get || method == Method::head) {
    for (const auto& [name, code] : absent)
      if (c.has(name.c_str())) {
        MR_CO_CHECK(c.store.require_bucket(c.bucket));
        co_return s3_error(code);
      }
  }
  switch (method) {
    case Method::get:
      if (c.has("location")) {
        MR_CO_CHECK(c.store.require_bucket(c.bucket));
        co_return xml("LocationConstraint", "");
      }
      if (c.has("versioning")) {
        MR_CO_CHECK(c.store.require_bucket(c.bucket));
        co_return xml("VersioningConfiguration", "");
      }
      if (c.has("acl")) {
        MR_CO_CHECK(c.store.require_bucket(c.bucket));
        co_return xml("AccessControlPolicy",
                      fmt::format("<Owner>{0}</Owner><AccessControlList><Grant><Grantee "
                                  "xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" "
                                  "xsi:type=\"CanonicalUser\">{0}</Grantee><Permission>FULL_CONTROL</Permission></"
                                  "Grant></AccessControlList>",
                                  kOwner));
      }
      for (const char* name : {"notification", "logging", "requestPayment", "accelerate"})
        if (c.has(name)) {
          MR_CO_CHECK(c.store.require_bucket(c.bucket));
          co_return xml(std::string_view(name) == "notification" ? "NotificationConfiguration"
                        : std::string_view(name) == "logging"    ? "BucketLoggingStatus"
                        : std::string_view(name) == "accelerate" ? "AccelerateConfiguration"
                                                                 : "RequestPaymentConfiguration",
                        std::string_view(name) == "requestPayment" ? "<Payer>BucketOwner</Payer>" : "");
        }
      if (c.has("versions")) co_return list_versions(c);
      if (c.has("uploads")) co_return list_uploads(c);
      co_return list_objects(c, c.get("list-type") == "2");
    case Method::head: {
      MR_CO_CHECK(c.store.require_bucket(c.bucket));
      auto r = empty(200);
      r.headers.add("x-amz-bucket-region", "us-east-1");
      co_return r;
    }
    case Method::put:
      for (const auto& [name, code] : absent)
        if (c.has(name.c_str())) co_return s3_error("NotImplemented");
      co_return co_await create_bucket(c);
    case Method::del:
      for (const auto& [name, code] : absent)
        if (c.has(name.c_str())) {
          MR_CO_CHECK(c.store.require_bucket(c.bucket));
          co_return empty(204);  // there is nothing to remove
        }
      MR_CO_CHECK(co_await c.store.delete_bucket(c.bucket));
      co_return empty(204);
    case Method::post:
      if (c.has("delete")) co_return co_await delete_many(c);
      co_return s3_error("NotImplemented", "Form uploads are not supported; use PUT or a presigned URL.");
    default:
      co_return s3_error("MethodNotAllowed");
  }
}

}  // namespace mr::objects
