#include "crypto/random.h"
#include "http/files.h"
#include "objects/api.h"
#include "objects/checksum.h"
#include "objects/request.h"
#include "objects/xml.h"
#include "text/text.h"
#include "time/clock.h"

namespace mr::objects {

using http::Method;

namespace {

constexpr std::uint64_t kMinPart = 5U << 20;

Reply create(Call& c) {
  Upload u;
  u.id = crypto::random_hex(16);
  u.bucket = c.bucket;
  u.key = c.key;
  u.created_ms = time::now_ms();
  MR_CO_TRY(u.metadata, read_metadata(c));
  MR_CO_TRY(u.tags, read_tag_header(c.header("x-amz-tagging")));
  auto name = c.header("x-amz-checksum-algorithm");
  u.algorithm = parse_checksum_name(name);
  if (!name.empty() && u.algorithm == ChecksumAlgorithm::none)
    co_return s3_error("InvalidRequest", "Checksum algorithm provided is unsupported.");
  auto type = c.header("x-amz-checksum-type");
  u.composite = type.empty() ? u.algorithm != ChecksumAlgorithm::crc64nvme && u.algorithm != ChecksumAlgorithm::none
                             : text::iequals(type, "COMPOSITE");
  if (u.composite && u.algorithm == ChecksumAlgorithm::crc64nvme)
    co_return s3_error("InvalidRequest",
                       "The COMPOSITE checksum type cannot be used with the crc64nvme checksum algorithm.");
  if (!u.composite && (u.algorithm == ChecksumAlgorithm::sha1 || u.algorithm == ChecksumAlgorithm::sha256))
    co_return s3_error("InvalidRequest", "The FULL_OBJECT checksum type cannot be used with this checksum algorithm.");
  MR_CO_CHECK(co_await c.store.create_upload(u));
  auto r = xml("InitiateMultipartUploadResult", fmt::format("<Bucket>{}</Bucket><Key>{}</Key><UploadId>{}</UploadId>",
                                                            text::xml_escape(c.bucket), text::xml_escape(c.key), u.id));
  if (u.algorithm != ChecksumAlgorithm::none) {
    r.headers.add("x-amz-checksum-algorithm", std::string(checksum_name(u.algorithm)));
    r.headers.add("x-amz-checksum-type", u.composite ? "COMPOSITE" : "FULL_OBJECT");
  }
  co_return r;
}

Result<int> part_number(const Call& c) {
  auto n = text::to_i64(c.get("partNumber"));
  if (!n || *n < 1 || *n > 10000)
    return s3_error("InvalidArgument", "Part number must be an integer between 1 and 10000, inclusive");
  return static_cast<int>(*n);
}

Reply upload_part(Call& c) {
  MR_CO_TRY(int number, part_number(c));
  MR_CO_TRY(auto u, c.store.upload(c.bucket, c.key, c.get("uploadId")));
  Part p;
  p.number = number;
  if (!c.header("x-amz-copy-source").empty()) {
    MR_CO_TRY(auto from, copy_source(c));
    MR_CO_TRY(auto source, c.store.head(from.first, from.second));
    MR_CO_CHECK(check_copy_conditions(c, source));
    http::ByteRange range{0, source.size};
    if (auto h = c.header("x-amz-copy-source-range"); !h.empty()) {
      auto dash = h.find('-');
      auto first = dash == std::string_view::npos || !h.starts_with("bytes=") ? std::nullopt
                                                                              : text::to_u64(h.substr(6, dash - 6));
      auto last = dash == std::string_view::npos ? std::nullopt : text::to_u64(h.substr(dash + 1));
      if (!first || !last || *last < *first)
        co_return s3_error("InvalidArgument",
                           "The x-amz-copy-source-range value must be of the form bytes=first-last where first and "
                           "last are the zero-based offsets of the first and last bytes to copy");
      if (*first >= source.size) co_return s3_error("InvalidRange");
      if (http::parse_range(h, source.size, range) != http::RangeKind::part)
        co_return s3_error("InvalidArgument",
                           "The x-amz-copy-source-range value must be of the form bytes=first-last where first and "
                           "last are the zero-based offsets of the first and last bytes to copy");
      if (*last >= source.size) co_return s3_error("InvalidRange");
    }
    MR_CO_TRY(auto copied, co_await c.store.copy_blob(source.blob, range.offset, range.length, u.algorithm));
    p.size = copied.size;
    p.etag = copied.etag;
    p.blob = copied.blob;
    p.checksum = copied.checksum;
    p.modified_ms = time::now_ms();
    MR_CO_CHECK(co_await c.store.put_part(c.bucket, c.key, u.id, p));
    co_return xml("CopyPartResult", fmt::format("<LastModified>{}</LastModified><ETag>&quot;{}&quot;</ETag>",
                                                time::iso8601_ms(p.modified_ms), p.etag));
  }
  MR_CO_TRY(auto got, co_await receive(c.store, c.http, c.payload, u.algorithm));
  p.size = got.size;
  p.etag = got.etag;
  p.blob = got.blob;
  p.checksum = got.checksum;
  p.modified_ms = time::now_ms();
  MR_CO_CHECK(co_await c.store.put_part(c.bucket, c.key, u.id, p));
  auto r = empty(200);
  r.headers.add("ETag", "\"" + p.etag + "\"");
  if (p.checksum.algorithm != ChecksumAlgorithm::none)
    r.headers.add("x-amz-checksum-" + text::lower(checksum_name(p.checksum.algorithm)), p.checksum.value);
  co_return r;
}

// The parts that the client names, checked against what was uploaded.
Result<std::vector<Part>> chosen_parts(const Upload& u, const std::vector<Part>& have,
                                       const std::vector<PartClaim>& claims) {
  std::vector<Part> out;
  int last = 0;
  for (const auto& claim : claims) {
    if (claim.number <= last) return s3_error("InvalidPartOrder");
    last = claim.number;
    auto it = std::find_if(have.begin(), have.end(), [&](const Part& p) { return p.number == claim.number; });
    if (it == have.end() || it->etag != claim.etag) return s3_error("InvalidPart");
    if (u.algorithm != ChecksumAlgorithm::none && !claim.checksum.empty() && claim.checksum != it->checksum.value)
      return s3_error("InvalidPart");
    out.push_back(*it);
  }
  if (out.empty()) return s3_error("MalformedXML");
  for (std::size_t i = 0; i + 1 < out.size(); ++i)
    if (out[i].size < kMinPart) return s3_error("EntityTooSmall");
  return out;
}

Result<std::vector<PartClaim>> read_claims(const Upload& u, const std::string& body) {
  pugi::xml_document doc;
  MR_CHECK(parse_xml(doc, body));
  std::vector<PartClaim> out;
  for (auto e : doc.child("CompleteMultipartUpload").children("Part")) {
    auto n = text::to_i64(text::trim(e.child_value("PartNumber")));
    if (!n) return s3_error("MalformedXML");
    PartClaim claim{
        static_cast<int>(std::clamp<std::int64_t>(*n, 0, 10001)), std::string(unquote(e.child_value("ETag"))), {}};
    if (u.algorithm != ChecksumAlgorithm::none)
      claim.checksum = e.child_value(fmt::format("Checksum{}", checksum_name(u.algorithm)).c_str());
    out.push_back(std::move(claim));
  }
  return out;
}

Reply complete(Call& c) {
  // The checksum headers of this request speak of the object, not of the list.
  MR_CO_TRY(auto body, co_await receive_text(c.http, c.payload, 4U << 20, false));
  MR_CO_TRY(auto u, c.store.upload(c.bucket, c.key, c.get("uploadId")));
  MR_CO_TRY(auto claims, read_claims(u, body));
  MR_CO_TRY(auto condition, read_condition(c));
  auto algorithm = u.algorithm == ChecksumAlgorithm::none ? ChecksumAlgorithm::crc64nvme : u.algorithm;
  std::string whole(c.header("x-amz-checksum-" + text::lower(checksum_name(algorithm))));
  MR_CO_TRY(auto o, co_await complete_upload(c.store, u, std::move(claims), condition, whole));
  std::string sum =
      fmt::format("<Checksum{0}>{1}</Checksum{0}><ChecksumType>{2}</ChecksumType>", checksum_name(algorithm),
                  o.checksum.value, o.checksum.composite ? "COMPOSITE" : "FULL_OBJECT");
  co_return xml(
      "CompleteMultipartUploadResult",
      fmt::format("<Location>http://{}/{}/{}</Location><Bucket>{}</Bucket><Key>{}</Key><ETag>&quot;{}&quot;</ETag>{}",
                  text::xml_escape(c.header("Host")), text::xml_escape(c.bucket), text::xml_escape(c.key),
                  text::xml_escape(c.bucket), text::xml_escape(c.key), o.etag, sum));
}

Reply list_parts(Call& c) {
  MR_CO_TRY(auto u, c.store.upload(c.bucket, c.key, c.get("uploadId")));
  MR_CO_TRY(auto all, c.store.parts(u.id));
  auto marker = text::to_i64(c.get("part-number-marker")).value_or(0);
  auto max = std::clamp<std::int64_t>(text::to_i64(c.get("max-parts")).value_or(1000), 0, 1000);
  std::string items;
  std::int64_t n = 0;
  int last = 0;
  bool truncated = false;
  for (const auto& p : all) {
    if (p.number <= marker) continue;
    if (n == max) {
      truncated = true;
      break;
    }
    ++n;
    last = p.number;
    items += fmt::format(
        "<Part><PartNumber>{}</PartNumber><LastModified>{}</LastModified><ETag>&quot;{}&quot;</ETag><Size>{}</Size>",
        p.number, time::iso8601_ms(p.modified_ms), p.etag, p.size);
    if (p.checksum.algorithm != ChecksumAlgorithm::none)
      items += fmt::format("<Checksum{0}>{1}</Checksum{0}>", checksum_name(p.checksum.algorithm), p.checksum.value);
    items += "</Part>";
  }
  std::string out = fmt::format(
      "<Bucket>{}</Bucket><Key>{}</Key><UploadId>{}</UploadId><Initiator>{}</Initiator><Owner>{}</"
      "Owner><StorageClass>STANDARD</StorageClass><PartNumberMarker>{}</PartNumberMarker>",
      text::xml_escape(c.bucket), text::xml_escape(c.key), u.id, kOwner, kOwner, marker);
  if (u.algorithm != ChecksumAlgorithm::none)
    out += fmt::format("<ChecksumAlgorithm>{}</ChecksumAlgorithm><ChecksumType>{}</ChecksumType>",
                       checksum_name(u.algorithm), u.composite ? "COMPOSITE" : "FULL_OBJECT");
  if (truncated) out += fmt::format("<NextPartNumberMarker>{}</NextPartNumberMarker>", last);
  out += fmt::format("<MaxParts>{}</MaxParts><IsTruncated>{}</IsTruncated>{}", max, truncated, items);
  co_return xml("ListPartsResult", out);
}

}  // namespace

task::Task<Result<Object>> complete_upload(Store& store, Upload u, std::vector<PartClaim> claims,
                                           WriteCondition condition, std::string whole) {
  MR_CO_TRY(auto have, store.parts(u.id));
  MR_CO_TRY(auto parts, chosen_parts(u, have, claims));
  bool full = u.algorithm == ChecksumAlgorithm::none || !u.composite;
  auto algorithm = u.algorithm == ChecksumAlgorithm::none ? ChecksumAlgorithm::crc64nvme : u.algorithm;
  MR_CO_TRY(auto o, co_await store.join(parts, full ? algorithm : ChecksumAlgorithm::none));
  std::string md5s;
  std::string sums;
  for (const auto& p : parts) {
    for (std::size_t i = 0; i + 1 < p.etag.size(); i += 2)
      md5s += static_cast<char>(std::stoi(p.etag.substr(i, 2), nullptr, 16));
    sums += text::base64_decode(p.checksum.value).value_or("");
  }
  o.key = u.key;
  o.etag = fmt::format("{}-{}", text::hex(crypto::digest(crypto::Algorithm::md5, md5s)), parts.size());
  if (full)
    o.checksum = {algorithm, text::base64_encode(o.checksum.value), false};
  else
    o.checksum = {algorithm, fmt::format("{}-{}", checksum_of(algorithm, sums), parts.size()), true};
  if (!whole.empty() && full && whole != o.checksum.value) {
    store.discard(o.blob);
    co_return s3_error("BadDigest");
  }
  o.metadata = u.metadata;
  o.tags = u.tags;
  o.modified_ms = time::now_ms();
  MR_CO_CHECK(co_await store.complete(u, o, condition));
  co_return o;
}

Reply serve_multipart(Call& c) {
  switch (c.http.method) {
    case Method::post:
      if (c.has("uploads")) co_return co_await create(c);
      co_return co_await complete(c);
    case Method::put:
      co_return co_await upload_part(c);
    case Method::get:
      co_return co_await list_parts(c);
    case Method::del: {
      MR_CO_TRY(auto u, c.store.upload(c.bucket, c.key, c.get("uploadId")));
      MR_CO_CHECK(co_await c.store.abort(std::move(u)));
      co_return empty(204);
    }
    default:
      co_return s3_error("MethodNotAllowed");
  }
}

}  // namespace mr::objects
