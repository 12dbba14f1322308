#include "stream/spdy_frames.h"

#include <zlib.h>

#include "text/text.h"

namespace mr::stream {

namespace {

void put(std::string& out, std::uint32_t v, int bytes = 4) {
  for (int i = bytes - 1; i >= 0; --i) out += static_cast<char>(v >> (8 * i) & 0xFF);
}
std::uint32_t get(std::string_view s, std::size_t at, int bytes = 4) {
  std::uint32_t v = 0;
  for (int i = 0; i < bytes; ++i) v = v << 8 | static_cast<unsigned char>(s[at + static_cast<std::size_t>(i)]);
  return v;
}
constexpr std::uint32_t kStreamMask = 0x7FFFFFFF;

std::string control(SpdyType type, std::uint8_t flags, std::string_view payload) {
  std::string out;
  out.reserve(8 + payload.size());
  put(out, 0x80030000U | static_cast<std::uint32_t>(type));
  put(out, flags, 1);
  put(out, static_cast<std::uint32_t>(payload.size()), 3);
  out += payload;
  return out;
}

std::unexpected<Error> malformed(std::string_view what) {
  return fail(Code::invalid_argument, fmt::format("SPDY: {}", what));
}

}  // namespace

// The bytes are given by the specification (SPDY/3, section 2.6.10.1): words with their length, then a run of text.
const std::string& spdy_dictionary() {
  static const std::string all = [] {
    constexpr std::string_view words =
        "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age "
        "allow authorization cache-control connection content-base content-encoding content-language content-length "
        "content-location content-md5 content-range content-type date etag expect expires from host if-match "
        "if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma "
        "proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade "
        "user-agent vary via warning www-authenticate method get status 200_OK version HTTP/1.1 url public set-cookie "
        "keep-alive origin";
    std::string out;
    for (auto word : text::split(words, ' ')) {
      put(out, static_cast<std::uint32_t>(word.size()));
      out += word == "200_OK" ? "200 OK" : word;
    }
    out +=
        "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
        "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized"
        "403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
        "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
        "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,"
        "text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";
    return out;
  }();
  return all;
}

struct SpdyDecoder::Inflate {
  z_stream z{};
  bool ok = ::inflateInit(&z) == Z_OK;
  ~Inflate() { ::inflateEnd(&z); }
};

SpdyDecoder::SpdyDecoder(Limits limits) : limits_(limits), inflate_(std::make_unique<Inflate>()) {}
SpdyDecoder::~SpdyDecoder() = default;

Result<std::optional<SpdyFrame>> SpdyDecoder::next(std::string_view& in) {
  auto gather = [&](std::size_t n) {
    auto take = std::min(n - std::min(n, held_.size()), in.size());
    held_.append(in.substr(0, take));
    in.remove_prefix(take);
    return held_.size() >= n;
  };
  if (data_left_ > 0) {
    if (in.empty()) return std::nullopt;
    auto take = std::min<std::size_t>(data_left_, in.size());
    SpdyFrame f{.type = SpdyType::data, .stream = data_stream_, .data = in.substr(0, take)};
    in.remove_prefix(take);
    data_left_ -= static_cast<std::uint32_t>(take);
    if (data_left_ == 0) f.flags = data_flags_;
    return f;
  }
  if (!gather(8)) return std::nullopt;
  std::uint32_t size = get(held_, 5, 3);
  auto flags = static_cast<std::uint8_t>(held_[4]);
  if ((held_[0] & 0x80) == 0) {
    data_stream_ = get(held_, 0);
    data_flags_ = flags;
    held_.clear();
    if (data_stream_ == 0) return malformed("data on stream 0");
    if (size == 0) return SpdyFrame{.type = SpdyType::data, .flags = flags, .stream = data_stream_};
    data_left_ = size;
    return next(in);
  }
  if (size > limits_.frame) return fail(Code::too_large, "SPDY: a control frame is larger than the limit");
  if (!gather(8 + size)) return std::nullopt;
  auto f = control_frame();
  held_.clear();
  if (!f) return std::unexpected(f.error());
  return std::move(*f);
}

Result<SpdyFrame> SpdyDecoder::control_frame() {
  if ((get(held_, 0, 2) & 0x7FFF) != 3) return malformed("not version 3");
  auto type = get(held_, 2, 2);
  auto body = std::string_view(held_).substr(8);
  SpdyFrame f{.flags = static_cast<std::uint8_t>(held_[4])};
  auto need = [&](std::size_t n) { return body.size() >= n; };
  switch (type) {
    case 1:
      if (!need(10)) return malformed("SYN_STREAM is too short");
      f.stream = get(body, 0) & kStreamMask;
      {
        MR_TRY(f.headers, header_block(body.substr(10)));
      }
      break;
    case 2:
    case 8:
      if (!need(4)) return malformed("SYN_REPLY or HEADERS is too short");
      f.stream = get(body, 0) & kStreamMask;
      {
        MR_TRY(f.headers, header_block(body.substr(4)));
      }
      break;
    case 3:
    case 9:
      if (body.size() != 8) return malformed("RST_STREAM or WINDOW_UPDATE has the wrong size");
      f.stream = get(body, 0) & kStreamMask;
      f.value = get(body, 4) & (type == 9 ? kStreamMask : 0xFFFFFFFF);
      break;
    case 4: {
      if (!need(4)) return malformed("SETTINGS is too short");
      auto count = get(body, 0);
      if (body.size() - 4 != std::uint64_t{count} * 8) return malformed("SETTINGS has the wrong size");
      for (std::size_t at = 4; at < body.size(); at += 8)
        f.settings.emplace_back(get(body, at) & 0xFFFFFF, get(body, at + 4));
      break;
    }
    case 6:
      if (body.size() != 4) return malformed("PING has the wrong size");
      f.value = get(body, 0);
      break;
    case 7:
      if (body.size() != 8) return malformed("GOAWAY has the wrong size");
      f.stream = get(body, 0) & kStreamMask;
      f.value = get(body, 4);
      break;
    default:
      f.type = SpdyType::ignored;
      return f;
  }
  if (f.stream == 0 && (type <= 3 || type == 8)) return malformed("a frame needs a stream");
  f.type = static_cast<SpdyType>(type);
  return f;
}

Result<SpdyHeaders> SpdyDecoder::header_block(std::string_view packed) {
  auto& z = inflate_->z;
  std::string plain(limits_.headers + 1, '\0');  // one more: to see that the limit was passed
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
  z.avail_in = static_cast<uInt>(packed.size());
  z.next_out = reinterpret_cast<Bytef*>(plain.data());
  z.avail_out = static_cast<uInt>(plain.size());
  while (z.avail_in > 0 && z.avail_out > 0) {
    int r = ::inflate(&z, Z_SYNC_FLUSH);
    if (r == Z_NEED_DICT) {
      const auto& d = spdy_dictionary();
      r = ::inflateSetDictionary(&z, reinterpret_cast<const Bytef*>(d.data()), static_cast<uInt>(d.size()));
    }
    if (r != Z_OK) return malformed("a header block is not compressed as it must be");
  }
  if (z.avail_out == 0) return fail(Code::too_large, "SPDY: a header block is larger than the limit");
  plain.resize(plain.size() - z.avail_out);

  std::size_t at = 0;
  auto number = [&]() -> std::optional<std::uint32_t> {
    if (plain.size() - at < 4) return std::nullopt;
    at += 4;
    return get(plain, at - 4);
  };
  auto text = [&]() -> std::optional<std::string> {
    auto n = number();
    if (!n || plain.size() - at < *n) return std::nullopt;
    at += *n;
    return plain.substr(at - *n, *n);
  };
  auto count = number();
  if (!count) return malformed("a header block is too short");
  if (*count > limits_.fields) return fail(Code::too_large, "SPDY: too many headers");
  SpdyHeaders out;
  for (std::uint32_t i = 0; i < *count; ++i) {
    auto name = text();
    auto value = name ? text() : std::nullopt;
    if (!value || name->empty()) return malformed("a header block is cut short");
    out.emplace_back(text::lower(*name), std::move(*value));
  }
  if (at != plain.size()) return malformed("a header block has something behind it");
  return out;
}

struct SpdyEncoder::Deflate {
  z_stream z{};
  Deflate() {
    ::deflateInit(&z, Z_BEST_COMPRESSION);
    const auto& d = spdy_dictionary();
    ::deflateSetDictionary(&z, reinterpret_cast<const Bytef*>(d.data()), static_cast<uInt>(d.size()));
  }
  ~Deflate() { ::deflateEnd(&z); }
};

SpdyEncoder::SpdyEncoder() : deflate_(std::make_unique<Deflate>()) {}
SpdyEncoder::~SpdyEncoder() = default;

std::string SpdyEncoder::pack(const SpdyHeaders& headers) {
  std::string plain;
  put(plain, static_cast<std::uint32_t>(headers.size()));
  for (const auto& [n, v] : headers) {
    put(plain, static_cast<std::uint32_t>(n.size()));
    plain += n;
    put(plain, static_cast<std::uint32_t>(v.size()));
    plain += v;
  }
  auto& z = deflate_->z;
  std::string out(::deflateBound(&z, plain.size()) + 64, '\0');
  z.next_in = reinterpret_cast<Bytef*>(plain.data());
  z.avail_in = static_cast<uInt>(plain.size());
  z.next_out = reinterpret_cast<Bytef*>(out.data());
  z.avail_out = static_cast<uInt>(out.size());
  ::deflate(&z, Z_SYNC_FLUSH);
  out.resize(out.size() - z.avail_out);
  return out;
}

std::string SpdyEncoder::syn_stream(std::uint32_t stream, const SpdyHeaders& headers, bool fin) {
  std::string body;
  put(body, stream);
  put(body, 0);     // no associated stream
  put(body, 0, 2);  // priority and slot
  body += pack(headers);
  return control(SpdyType::syn_stream, fin ? kSpdyFin : 0, body);
}
std::string SpdyEncoder::syn_reply(std::uint32_t stream, const SpdyHeaders& headers, bool fin) {
  std::string body;
  put(body, stream);
  body += pack(headers);
  return control(SpdyType::syn_reply, fin ? kSpdyFin : 0, body);
}
void SpdyEncoder::data(std::string& out, std::uint32_t stream, std::string_view bytes, bool fin) {
  put(out, stream & kStreamMask);
  put(out, fin ? kSpdyFin : 0, 1);
  put(out, static_cast<std::uint32_t>(bytes.size()), 3);
  out += bytes;
}

namespace {
std::string two(SpdyType type, std::uint32_t a, std::uint32_t b) {
  std::string body;
  put(body, a);
  put(body, b);
  return control(type, 0, body);
}
}  // namespace

std::string SpdyEncoder::rst_stream(std::uint32_t stream, SpdyStatus status) {
  return two(SpdyType::rst_stream, stream, static_cast<std::uint32_t>(status));
}
std::string SpdyEncoder::ping(std::uint32_t id) {
  std::string body;
  put(body, id);
  return control(SpdyType::ping, 0, body);
}
std::string SpdyEncoder::goaway(std::uint32_t last) { return two(SpdyType::goaway, last, 0); }
std::string SpdyEncoder::window_update(std::uint32_t stream, std::uint32_t delta) {
  return two(SpdyType::window_update, stream, delta);
}
std::string SpdyEncoder::settings(std::uint32_t id, std::uint32_t value) {
  std::string body;
  put(body, 1);
  put(body, id);
  put(body, value);
  return control(SpdyType::settings, 0, body);
}

}  // namespace mr::stream
