#include "http/files.h"
#include "objects/request.h"
#include "objects/xml.h"
#include "text/text.h"
#include "time/clock.h"

namespace mr::objects {

using http::Method;

namespace {

std::string etag_header(const std::string& etag) { return "\"" + etag + "\""; }

// GET and HEAD conditions with AWS's precedence: If-Match beats If-Unmodified-Since, If-None-Match beats
// If-Modified-Since.
Result<> check_conditions(const Call& c, const Object& o) {
  auto modified = o.modified_ms / 1000;
  auto listed = [&](std::string_view list) {
    for (auto e : text::split(list, ','))
      if (text::trim(e) == "*" || unquote(e) == o.etag) return true;
    return false;
  };
  if (auto v = c.header("If-Match"); !v.empty()) {
    if (!listed(v)) return s3_error("PreconditionFailed");
  } else if (auto since = c.header("If-Unmodified-Since"); !since.empty()) {
    auto t = time::parse_http_date(std::string(since));
    if (t >= 0 && modified > t) return s3_error("PreconditionFailed");
  }
  if (auto v = c.header("If-None-Match"); !v.empty()) {
    if (listed(v)) return s3_error("NotModified");
  } else if (auto since = c.header("If-Modified-Since"); !since.empty()) {
    auto t = time::parse_http_date(std::string(since));
    if (t >= 0 && modified <= t) return s3_error("NotModified");
  }
  return {};
}

void add_object_headers(http::Response& r, const Call& c, const Object& o) {
  static const std::map<std::string, std::string> overrides{{"content-type", "response-content-type"},
                                                            {"cache-control", "response-cache-control"},
                                                            {"content-disposition", "response-content-disposition"},
                                                            {"content-encoding", "response-content-encoding"},
                                                            {"content-language", "response-content-language"},
                                                            {"expires", "response-expires"}};
  Metadata m = o.metadata;
  if (!m.contains("content-type")) m["content-type"] = "binary/octet-stream";
  for (const auto& [header, query] : overrides)
    if (c.has(query.c_str())) m[header] = c.get(query.c_str());
  for (const auto& [k, v] : m)
    r.headers.add(k == "content-type" ? "Content-Type" : k == "content-encoding" ? "Content-Encoding" : k, v);
  r.headers.add("ETag", etag_header(o.etag));
  r.headers.add("Last-Modified", time::http_date(o.modified_ms / 1000));
  r.headers.add("Accept-Ranges", "bytes");
  if (!o.tags.empty()) r.headers.add("x-amz-tagging-count", std::to_string(o.tags.size()));
}

Reply get_object(Call& c) {
  MR_CO_TRY(auto o, c.store.head(c.bucket, c.key));
  if (auto v = c.get("versionId"); !v.empty() && v != "null") co_return s3_error("NoSuchVersion");
  if (auto checked = check_conditions(c, o); !checked) {
    if (checked.error().reason != "NotModified") co_return std::unexpected(checked.error());
    auto r = empty(304);
    r.headers.add("ETag", etag_header(o.etag));
    r.headers.add("Last-Modified", time::http_date(o.modified_ms / 1000));
    co_return r;
  }
  http::Response r;
  http::ByteRange range{0, o.size};
  bool part = false;
  if (c.has("partNumber")) {
    if (!c.header("Range").empty())
      co_return s3_error("InvalidRequest", "Cannot specify both Range header and partNumber query parameter");
    auto n = text::to_i64(c.get("partNumber"));
    auto count = std::max<std::size_t>(1, o.parts.size());
    if (!n || *n < 1)
      co_return s3_error("InvalidArgument", "Part number must be an integer between 1 and 10000, inclusive");
    if (static_cast<std::size_t>(*n) > count) co_return s3_error("InvalidRange");
    if (!o.parts.empty()) {
      for (std::int64_t i = 0; i + 1 < *n; ++i) range.offset += o.parts[static_cast<std::size_t>(i)];
      range.length = o.parts[static_cast<std::size_t>(*n - 1)];
      r.headers.add("x-amz-mp-parts-count", std::to_string(o.parts.size()));
    }
    part = true;
  } else {
    auto kind = http::parse_range(c.header("Range"), o.size, range);
    if (kind == http::RangeKind::unsatisfiable) {
      auto e = s3_error("InvalidRange");
      e.error().detail = std::to_string(o.size);
      co_return e;
    }
    part = kind == http::RangeKind::part;
  }
  if (part && o.size > 0) {
    r.status = 206;
    r.headers.add("Content-Range",
                  fmt::format("bytes {}-{}/{}", range.offset, range.offset + range.length - 1, o.size));
  }
  add_object_headers(r, c, o);
  // A part must not carry the whole object's checksum: clients would verify the part against it.
  if (text::iequals(c.header("x-amz-checksum-mode"), "ENABLED") && r.status == 200) add_checksum_header(r, o.checksum);
  if (c.http.method == Method::head) {
    r.headers.add("Content-Length", std::to_string(range.length));
    co_return r;
  }
  MR_CO_TRY(Fd fd, c.store.open_blob(o.blob));
  r.body = http::FileBody{std::move(fd), range.offset, range.length};
  co_return r;
}

Reply put_object(Call& c) {
  MR_CO_CHECK(c.store.require_bucket(c.bucket));
  if (!c.http.body->length() && c.header("x-amz-decoded-content-length").empty() &&
      c.header("Transfer-Encoding").empty())
    co_return s3_error("MissingContentLength");
  Object o;
  o.key = c.key;
  MR_CO_TRY(o.metadata, read_metadata(c));
  MR_CO_TRY(o.tags, read_tag_header(c.header("x-amz-tagging")));
  MR_CO_TRY(auto condition, read_condition(c));
  auto sse = c.header("x-amz-server-side-encryption-customer-algorithm");
  if (!sse.empty()) co_return s3_error("NotImplemented", "Encryption with customer keys is not supported.");
  auto named = parse_checksum_name(c.header("x-amz-sdk-checksum-algorithm"));
  if (!c.header("x-amz-sdk-checksum-algorithm").empty() && named == ChecksumAlgorithm::none)
    co_return s3_error("InvalidRequest", "The algorithm of x-amz-sdk-checksum-algorithm is not supported.");
  MR_CO_TRY(auto got, co_await receive(c.store, c.http, c.payload,
                                       named == ChecksumAlgorithm::none ? ChecksumAlgorithm::crc64nvme : named));
  o.size = got.size;
  o.etag = got.etag;
  o.blob = got.blob;
  o.checksum = got.checksum;
  o.modified_ms = time::now_ms();
  MR_CO_CHECK(co_await c.store.put(c.bucket, o, condition));
  auto r = empty(200);
  r.headers.add("ETag", etag_header(o.etag));
  if (auto applied = o.metadata.find("x-amz-server-side-encryption"); applied != o.metadata.end())
    r.headers.add(applied->first, applied->second);
  add_checksum_header(r, o.checksum);
  co_return r;
}

Reply copy_object(Call& c) {
  MR_CO_TRY(auto from, copy_source(c));
  MR_CO_TRY(auto source, c.store.head(from.first, from.second));
  MR_CO_CHECK(c.store.require_bucket(c.bucket));
  MR_CO_CHECK(check_copy_conditions(c, source));
  auto directive = c.header("x-amz-metadata-directive");
  bool replace = text::iequals(directive, "REPLACE");
  if (!directive.empty() && !replace && !text::iequals(directive, "COPY"))
    co_return s3_error("InvalidArgument", "Unknown metadata directive.");
  bool self = from.first == c.bucket && from.second == c.key;
  if (self && !replace)
    co_return s3_error("InvalidRequest",
                       "This copy request is illegal because it is trying to copy an object to itself without changing "
                       "the object's metadata, storage class, website redirect location or encryption attributes.");
  Object o = source;
  o.key = c.key;
  o.parts.clear();
  if (replace) {
    MR_CO_TRY(o.metadata, read_metadata(c));
  }
  auto tagging_directive = c.header("x-amz-tagging-directive");
  if (!tagging_directive.empty() && !text::iequals(tagging_directive, "REPLACE") &&
      !text::iequals(tagging_directive, "COPY"))
    co_return s3_error("InvalidArgument", "Unknown tagging directive.");
  if (text::iequals(tagging_directive, "REPLACE")) {
    MR_CO_TRY(o.tags, read_tag_header(c.header("x-amz-tagging")));
  }
  MR_CO_TRY(auto condition, read_condition(c));
  auto wanted = parse_checksum_name(c.header("x-amz-checksum-algorithm"));
  auto algorithm = wanted != ChecksumAlgorithm::none ? wanted
                   : source.checksum.composite || source.checksum.algorithm == ChecksumAlgorithm::none
                       ? ChecksumAlgorithm::crc64nvme
                       : source.checksum.algorithm;
  MR_CO_TRY(auto copied, co_await c.store.copy_blob(source.blob, 0, source.size, algorithm));
  o.blob = copied.blob;
  o.etag = copied.etag;  // of the whole bytes, even when the source was uploaded in parts
  o.checksum = copied.checksum;
  o.modified_ms = time::now_ms();
  MR_CO_CHECK(co_await c.store.put(c.bucket, o, condition));
  std::string sum = fmt::format("<Checksum{0}>{1}</Checksum{0}><ChecksumType>FULL_OBJECT</ChecksumType>",
                                checksum_name(o.checksum.algorithm), o.checksum.value);
  co_return xml("CopyObjectResult", fmt::format("<LastModified>{}</LastModified><ETag>&quot;{}&quot;</ETag>{}",
                                                time::iso8601_ms(o.modified_ms), o.etag, sum));
}

Reply tagging(Call& c) {
  if (c.http.method == Method::get) {
    MR_CO_TRY(auto o, c.store.head(c.bucket, c.key));
    std::string set;
    for (const auto& [k, v] : o.tags)
      set += fmt::format("<Tag><Key>{}</Key><Value>{}</Value></Tag>", text::xml_escape(k), text::xml_escape(v));
    co_return xml("Tagging", fmt::format("<TagSet>{}</TagSet>", set));
  }
  if (c.http.method == Method::del) {
    MR_CO_CHECK(co_await c.store.set_tags(c.bucket, c.key, {}));
    co_return empty(204);
  }
  MR_CO_TRY(auto body, co_await receive_text(c.http, c.payload, 64 << 10));
  pugi::xml_document doc;
  MR_CO_CHECK(parse_xml(doc, body));
  auto set = doc.child("Tagging").child("TagSet");
  if (!set) co_return s3_error("MalformedXML");
  std::map<std::string, std::string> tags;
  for (auto t : set.children("Tag")) {
    std::string k = xml_text(t.child("Key"));
    std::string v = xml_text(t.child("Value"));
    if (k.empty() || text::utf8_length(k) > 128)
      co_return s3_error("InvalidTag", "The TagKey you have provided is invalid");
    if (text::utf8_length(v) > 256) co_return s3_error("InvalidTag", "The TagValue you have provided is invalid");
    if (!tags.emplace(k, v).second) co_return s3_error("InvalidTag", "Cannot provide multiple Tags with the same key");
  }
  if (tags.size() > 10) co_return s3_error("InvalidTag", "Object tags cannot be greater than 10");
  MR_CO_CHECK(co_await c.store.set_tags(c.bucket, c.key, std::move(tags)));
  co_return empty(200);
}

}  // namespace

Reply serve_object(Call& c) {
  if (c.has("tagging")) co_return co_await tagging(c);
  if (c.has("acl")) {
    if (c.http.method != Method::get) co_return s3_error("NotImplemented");
    MR_CO_CHECK(c.store.head(c.bucket, c.key));
    co_return xml(
        "AccessControlPolicy",
        fmt::format(
            "<Owner>{0}</Owner><AccessControlList><Grant><Grantee "
            "xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" "
            "xsi:type=\"CanonicalUser\">{0}</Grantee><Permission>FULL_CONTROL</Permission></Grant></AccessControlList>",
            kOwner));
  }
  for (const char* name : {"retention", "legal-hold", "torrent", "restore", "select", "attributes"})
    if (c.has(name)) co_return s3_error("NotImplemented");
  switch (c.http.method) {
    case Method::get:
    case Method::head:
      co_return co_await get_object(c);
    case Method::put:
      if (!c.header("x-amz-copy-source").empty()) co_return co_await copy_object(c);
      co_return co_await put_object(c);
    case Method::del: {
      if (auto v = c.get("versionId"); !v.empty() && v != "null") co_return s3_error("NoSuchVersion");
      MR_CO_CHECK(co_await c.store.remove(c.bucket, c.key, std::string(unquote(c.header("If-Match")))));
      co_return empty(204);
    }
    default:
      co_return s3_error("MethodNotAllowed");
  }
}

}  // namespace mr::objects
