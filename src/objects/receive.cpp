#include "objects/receive.h"

#include "objects/api.h"
#include "objects/checksum.h"
#include "objects/errors.h"
#include "text/text.h"
#include "time/clock.h"

namespace mr::objects {

namespace {

constexpr std::uint64_t kMaxObject = 5ULL << 40;  // S3's own limit
// A body known to be this small is held in memory: the loop makes no file for it, and the disk pool makes it in one go.
constexpr std::uint64_t kSmall = 64 * 1024;

struct Claims {
  std::string md5;      // raw bytes, empty: none
  Checksum checksum;    // value empty while it is to come in the trailer
  std::string trailer;  // header name, lower case
  bool chunked = false;
  std::uint64_t decoded_length = 0;
};

Result<Claims> read_claims(const http::Request& rq, const Payload& payload, bool checksums = true) {
  Claims c;
  if (rq.headers.has("Content-MD5")) {
    auto md5 = rq.headers.get("Content-MD5");
    auto raw = text::base64_decode(md5);
    if (!raw || raw->size() != 16) return s3_error("InvalidDigest", "The Content-MD5 you specified is not valid.");
    c.md5 = *raw;
  }
  int given = 0;
  for (auto a : {ChecksumAlgorithm::crc32, ChecksumAlgorithm::crc32c, ChecksumAlgorithm::crc64nvme,
                 ChecksumAlgorithm::sha1, ChecksumAlgorithm::sha256}) {
    auto v = rq.headers.get("x-amz-checksum-" + text::lower(checksum_name(a)));
    if (v.empty() || !checksums) continue;
    auto raw = text::base64_decode(v);
    std::size_t want = a == ChecksumAlgorithm::sha256      ? 32
                       : a == ChecksumAlgorithm::sha1      ? 20
                       : a == ChecksumAlgorithm::crc64nvme ? 8
                                                           : 4;
    if (!raw || raw->size() != want)
      return s3_error("InvalidRequest",
                      fmt::format("Value for x-amz-checksum-{} header is invalid.", text::lower(checksum_name(a))));
    c.checksum = {a, std::string(v), false};
    ++given;
  }
  if (given > 1)
    return s3_error("InvalidRequest",
                    "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.");
  using K = Payload::Kind;
  c.chunked = payload.kind == K::chunked_signed || payload.kind == K::chunked_signed_trailer ||
              payload.kind == K::chunked_unsigned_trailer;
  if (c.chunked) {
    auto n = text::to_u64(rq.headers.get("x-amz-decoded-content-length"));
    if (!n) return s3_error("MissingContentLength", "You must provide the x-amz-decoded-content-length HTTP header.");
    c.decoded_length = *n;
    c.trailer = text::lower(text::trim(rq.headers.get("x-amz-trailer")));
    if (!c.trailer.empty() && !c.trailer.starts_with("x-amz-checksum-"))
      return s3_error("InvalidRequest", "The value specified in the x-amz-trailer header is not supported.");
    if (!c.trailer.empty()) {
      auto a = parse_checksum_name(std::string_view(c.trailer).substr(15));
      if (a == ChecksumAlgorithm::none)
        return s3_error("InvalidRequest", "The value specified in the x-amz-trailer header is not supported.");
      c.checksum = {a, "", false};
    }
  }
  auto declared = c.chunked ? std::optional(c.decoded_length) : rq.body->length();
  if (declared && *declared > kMaxObject) return s3_error("EntityTooLarge");
  return c;
}

// Runs a body through its digests and checks all claims at the end.
class Verifier {
 public:
  Verifier(const Payload& payload, Claims claims, ChecksumAlgorithm fallback)
      : payload_(payload),
        claims_(std::move(claims)),
        algorithm_(claims_.checksum.algorithm != ChecksumAlgorithm::none ? claims_.checksum.algorithm : fallback),
        sum_(algorithm_) {
    if (payload.kind == Payload::Kind::hashed) sha_.emplace(crypto::Algorithm::sha256);
  }
  void update(std::string_view b) {
    md5_.update(b);
    if (sha_) sha_->update(b);
    if (algorithm_ != ChecksumAlgorithm::none) sum_.update(b);
  }
  // `trailers` may be nullptr.
  Result<> finish(const std::map<std::string, std::string>* trailers) {
    md5_raw_ = md5_.finish();
    if (!claims_.md5.empty() && claims_.md5 != md5_raw_)
      return s3_error("BadDigest", "The Content-MD5 you specified did not match what we received.");
    if (sha_ && text::hex(sha_->finish()) != payload_.sha256) return s3_error("XAmzContentSHA256Mismatch");
    if (algorithm_ == ChecksumAlgorithm::none) return {};
    checksum_ = {algorithm_, text::base64_encode(sum_.finish()), false};
    std::string claimed = claims_.checksum.value;
    if (!claims_.trailer.empty() && claims_.checksum.algorithm != ChecksumAlgorithm::none) {
      auto it =
          trailers == nullptr ? std::map<std::string, std::string>::const_iterator{} : trailers->find(claims_.trailer);
      if (trailers == nullptr || it == trailers->end())
        return s3_error("MalformedTrailerError", "The trailing header that x-amz-trailer names is missing.");
      claimed = it->second;
    }
    if (!claimed.empty() && claimed != checksum_.value)
      return s3_error("BadDigest", fmt::format("The {} you specified did not match the calculated checksum.",
                                               checksum_name(algorithm_)));
    return {};
  }
  [[nodiscard]] const std::string& md5() const { return md5_raw_; }
  [[nodiscard]] const Checksum& checksum() const { return checksum_; }

 private:
  const Payload& payload_;
  Claims claims_;
  ChecksumAlgorithm algorithm_;
  crypto::Hash md5_{crypto::Algorithm::md5};
  std::optional<crypto::Hash> sha_;
  ChecksumRun sum_;
  std::string md5_raw_;
  Checksum checksum_;
};

}  // namespace

task::Task<Result<Received>> receive(Store& store, http::Request& rq, const Payload& payload,
                                     ChecksumAlgorithm fallback) {
  MR_CO_TRY(Claims claims, read_claims(rq, payload));
  std::optional<ChunkedReader> chunked;
  if (claims.chunked) chunked.emplace(*rq.body, payload, claims.decoded_length);
  http::BodyReader& body = chunked ? static_cast<http::BodyReader&>(*chunked) : *rq.body;
  auto declared = claims.chunked ? std::optional(claims.decoded_length) : rq.body->length();
  Verifier verifier(payload, std::move(claims), fallback);
  auto trailers = [&] { return chunked ? &chunked->trailers() : nullptr; };
  auto received = [&](std::uint64_t size) {
    Received out;
    out.size = size;
    out.etag = text::hex(verifier.md5());
    out.checksum = verifier.checksum();
    return out;
  };
  if (declared && *declared <= kSmall) {
    std::string bytes;
    bytes.reserve(*declared);
    for (;;) {
      MR_CO_TRY(auto piece, co_await body.read());
      if (piece.empty()) break;
      verifier.update(piece);
      bytes += piece;
    }
    MR_CO_CHECK(verifier.finish(trailers()));
    auto out = received(bytes.size());
    MR_CO_TRY(out.blob, co_await store.keep_bytes(bytes));
    co_return out;
  }
  MR_CO_TRY(DurableFile file, store.temporary());
  for (;;) {
    MR_CO_TRY(auto piece, co_await body.read());
    if (piece.empty()) break;
    verifier.update(piece);
    if (file.size() + piece.size() > kMaxObject) co_return s3_error("EntityTooLarge");
    MR_CO_CHECK(file.append(piece));
  }
  MR_CO_CHECK(verifier.finish(trailers()));
  auto out = received(file.size());
  MR_CO_TRY(out.blob, co_await store.keep(file));
  co_return out;
}

task::Task<Result<std::string>> receive_text(http::Request& rq, const Payload& payload, std::size_t limit,
                                             bool checksums) {
  MR_CO_TRY(Claims claims, read_claims(rq, payload, checksums));
  std::optional<ChunkedReader> chunked;
  if (claims.chunked) chunked.emplace(*rq.body, payload, claims.decoded_length);
  http::BodyReader& body = chunked ? static_cast<http::BodyReader&>(*chunked) : *rq.body;
  Verifier verifier(payload, std::move(claims), ChecksumAlgorithm::none);
  std::string out;
  for (;;) {
    MR_CO_TRY(auto piece, co_await body.read());
    if (piece.empty()) break;
    if (out.size() + piece.size() > limit) co_return s3_error("MalformedXML", "The request body is too large.");
    verifier.update(piece);
    out += piece;
  }
  MR_CO_CHECK(verifier.finish(chunked ? &chunked->trailers() : nullptr));
  co_return out;
}

task::Task<Result<>> put_stream(Store& store, std::string bucket, std::string key, http::BodyReader& body) {
  MR_CO_TRY(DurableFile file, store.temporary());
  crypto::Hash md5(crypto::Algorithm::md5);
  ChecksumRun sum(ChecksumAlgorithm::crc64nvme);
  for (;;) {
    MR_CO_TRY(auto piece, co_await body.read());
    if (piece.empty()) break;
    md5.update(piece);
    sum.update(piece);
    MR_CO_CHECK(file.append(piece));
  }
  Object o;
  o.checksum = {ChecksumAlgorithm::crc64nvme, text::base64_encode(sum.finish()), false};
  o.key = key;
  o.size = file.size();
  o.etag = text::hex(md5.finish());
  o.modified_ms = time::now_ms();
  o.metadata["content-type"] = "application/octet-stream";
  MR_CO_TRY(o.blob, co_await store.keep(file));
  co_return co_await store.put(bucket, std::move(o), {});
}

task::Task<Result<>> adopt_file(Store& store, std::string bucket, std::string key, std::string path) {
  MR_CO_CHECK(store.require_bucket(bucket));
  MR_CO_TRY(auto o, co_await store.adopt(path));
  o.key = std::move(key);
  o.metadata["content-type"] = "application/octet-stream";
  co_return co_await store.put(std::move(bucket), std::move(o), {});
}

}  // namespace mr::objects
