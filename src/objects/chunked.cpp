#include "objects/chunked.h"

#include "crypto/digest.h"
#include "objects/errors.h"
#include "text/text.h"

namespace mr::objects {

namespace {
constexpr std::size_t kMaxLine = 4096;
constexpr std::size_t kMaxTrailers = 16;
constexpr std::uint64_t kMaxChunk = 1ULL << 40;
}  // namespace

struct ChunkedReader::Impl {
  http::BodyReader& inner;
  Payload payload;
  std::uint64_t decoded;
  std::string_view buffer;  // what the inner reader gave and is not used yet
  std::uint64_t left_in_chunk = 0;
  std::uint64_t seen = 0;
  bool in_chunk = false;
  bool done = false;
  bool pending_crlf = false;  // after a chunk's data
  std::string signature;      // of the chunk under way
  std::string previous;
  std::optional<crypto::Hash> hash;
  std::map<std::string, std::string> trailers;

  [[nodiscard]] bool chunk_signed() const {
    return payload.kind == Payload::Kind::chunked_signed || payload.kind == Payload::Kind::chunked_signed_trailer;
  }

  task::Task<Result<bool>> more() {  // false at the end of the inner body
    if (!buffer.empty()) co_return true;
    MR_CO_TRY(buffer, co_await inner.read());
    co_return !buffer.empty();
  }
  // A line without its CRLF.
  task::Task<Result<std::string>> line() {
    std::string out;
    for (;;) {
      MR_CO_TRY(bool any, co_await more());
      if (!any) co_return s3_error("IncompleteBody");
      auto nl = buffer.find('\n');
      out.append(buffer.substr(0, nl));
      if (out.size() > kMaxLine) co_return s3_error("InvalidRequest", "A chunk header is too long.");
      if (nl == std::string_view::npos) {
        buffer = {};
        continue;
      }
      buffer.remove_prefix(nl + 1);
      if (out.ends_with('\r')) out.pop_back();
      co_return out;
    }
  }
  Result<> check_chunk() {
    if (!chunk_signed()) return {};
    auto expected = chunk_signature(payload, previous, text::hex(hash->finish()));
    if (!crypto::equal_constant_time(expected, signature)) return s3_error("SignatureDoesNotMatch");
    previous = signature;
    return {};
  }
  task::Task<Result<>> start_chunk() {
    if (pending_crlf) {
      MR_CO_TRY(std::string blank, co_await line());
      if (!blank.empty()) co_return s3_error("InvalidRequest", "A chunk is longer than its size says.");
      pending_crlf = false;
    }
    MR_CO_TRY(std::string head, co_await line());
    std::string_view h = head;
    auto semi = h.find(';');
    auto size_text = text::trim(h.substr(0, semi));
    std::uint64_t size = 0;
    auto [end, ec] = std::from_chars(size_text.data(), size_text.data() + size_text.size(), size, 16);
    if (size_text.empty() || ec != std::errc{} || end != size_text.data() + size_text.size() || size > kMaxChunk)
      co_return s3_error("InvalidRequest", "A chunk size is malformed.");
    signature.clear();
    while (semi != std::string_view::npos) {
      h.remove_prefix(semi + 1);
      semi = h.find(';');
      auto ext = text::trim(h.substr(0, semi));
      if (ext.starts_with("chunk-signature=")) signature = ext.substr(16);
    }
    if (chunk_signed()) {
      if (signature.empty()) co_return s3_error("SignatureDoesNotMatch", "A chunk has no signature.");
      hash.emplace(crypto::Algorithm::sha256);
    }
    left_in_chunk = size;
    in_chunk = true;
    co_return Result<>{};
  }
  task::Task<Result<>> finish() {
    MR_CO_CHECK(check_chunk());
    std::string canonical;
    std::string trailer_sig;
    for (;;) {
      MR_CO_TRY(bool any, co_await more());
      if (!any) break;  // some clients end without the last empty line
      MR_CO_TRY(std::string l, co_await line());
      if (l.empty()) {
        // minio-go ends the value with a line feed and adds CRLF: one empty line before the signature.
        if (payload.kind == Payload::Kind::chunked_signed_trailer && trailer_sig.empty() && !trailers.empty()) continue;
        break;
      }
      auto colon = l.find(':');
      if (colon == std::string::npos || trailers.size() == kMaxTrailers) co_return s3_error("MalformedTrailerError");
      auto name = text::lower(text::trim(std::string_view(l).substr(0, colon)));
      auto value = std::string(text::trim(std::string_view(l).substr(colon + 1)));
      if (name == "x-amz-trailer-signature") {
        trailer_sig = value;
        continue;
      }
      canonical.append(name).append(":").append(value).append("\n");
      trailers[name] = value;
    }
    if (payload.kind == Payload::Kind::chunked_signed_trailer) {
      auto expected =
          trailer_signature(payload, previous, text::hex(crypto::digest(crypto::Algorithm::sha256, canonical)));
      if (!crypto::equal_constant_time(expected, trailer_sig)) co_return s3_error("SignatureDoesNotMatch");
    }
    if (seen != decoded) co_return s3_error("IncompleteBody");
    // What follows is outside the framing; a well-behaved client sends nothing.
    for (;;) {
      MR_CO_TRY(bool any, co_await more());
      if (!any) break;
      MR_CO_TRY(std::string rest, co_await line());
      if (!rest.empty()) co_return s3_error("InvalidRequest", "There is data after the last chunk.");
    }
    done = true;
    co_return Result<>{};
  }
};

ChunkedReader::ChunkedReader(http::BodyReader& inner, Payload payload, std::uint64_t decoded)
    : impl_(std::make_unique<Impl>(inner, std::move(payload), decoded)) {
  impl_->previous = impl_->payload.seed_signature;
}
ChunkedReader::~ChunkedReader() = default;
std::optional<std::uint64_t> ChunkedReader::length() const { return impl_->decoded; }
const std::map<std::string, std::string>& ChunkedReader::trailers() const { return impl_->trailers; }

task::Task<Result<std::string_view>> ChunkedReader::read() {
  auto& s = *impl_;
  for (;;) {
    if (s.done) co_return std::string_view{};
    if (!s.in_chunk) {
      MR_CO_CHECK(co_await s.start_chunk());
      if (s.left_in_chunk == 0) {
        s.in_chunk = false;
        MR_CO_CHECK(co_await s.finish());
        continue;
      }
    }
    MR_CO_TRY(bool any, co_await s.more());
    if (!any) co_return s3_error("IncompleteBody");
    auto piece =
        s.buffer.substr(0, static_cast<std::size_t>(std::min<std::uint64_t>(s.left_in_chunk, s.buffer.size())));
    s.buffer.remove_prefix(piece.size());
    s.left_in_chunk -= piece.size();
    s.seen += piece.size();
    if (s.seen > s.decoded)
      co_return s3_error("IncompleteBody", "The body is longer than x-amz-decoded-content-length.");
    if (s.hash) s.hash->update(piece);
    if (s.left_in_chunk == 0) {
      s.in_chunk = false;
      MR_CO_CHECK(s.check_chunk());
      s.hash.reset();
      // Its CRLF is read when the next chunk starts: reading now would invalidate the piece.
      s.pending_crlf = true;
    }
    co_return piece;
  }
}

}  // namespace mr::objects
