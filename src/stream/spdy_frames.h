// The frames of SPDY/3.1 as bytes: a decoder that is fed pieces of any size, and an encoder. Both keep the state of the
// header compression, so one of each belongs to one connection. Not thread safe.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/error.h"

namespace mr::stream {

using SpdyHeaders = std::vector<std::pair<std::string, std::string>>;  // names in lower case

enum class SpdyType : std::uint8_t {
  syn_stream = 1,
  syn_reply = 2,
  rst_stream = 3,
  settings = 4,
  ping = 6,
  goaway = 7,
  headers = 8,
  window_update = 9,
  data = 32,     // not a control frame: the number is ours
  ignored = 33,  // a control frame of a type that SPDY says to pass over
};
enum class SpdyStatus : std::uint32_t {
  protocol_error = 1,
  invalid_stream = 2,
  refused_stream = 3,
  cancel = 5,
  internal_error = 6,
  flow_control_error = 7,
  stream_in_use = 8,
  stream_already_closed = 9,
};
constexpr std::uint8_t kSpdyFin = 1;             // flag of SYN_STREAM, SYN_REPLY, HEADERS and DATA
constexpr std::uint32_t kSpdyInitialWindow = 7;  // id of a setting
constexpr std::int64_t kSpdyDefaultWindow = 64 * 1024;

struct SpdyFrame {
  SpdyType type = SpdyType::ignored;
  std::uint8_t flags = 0;  // of a DATA frame that comes in pieces: only on the last
  std::uint32_t stream = 0;
  std::uint32_t value = 0;  // RST_STREAM and GOAWAY: status; PING: id; WINDOW_UPDATE: delta
  SpdyHeaders headers;
  std::vector<std::pair<std::uint32_t, std::uint32_t>> settings;
  std::string_view data;  // a piece of a DATA frame; points into what was fed
};

class SpdyDecoder {
 public:
  struct Limits {
    std::size_t frame = 64 * 1024;    // a control frame; DATA is handed on in pieces
    std::size_t headers = 32 * 1024;  // a header block, unpacked
    std::size_t fields = 128;
  };
  SpdyDecoder() : SpdyDecoder(Limits{}) {}
  explicit SpdyDecoder(Limits limits);
  ~SpdyDecoder();
  // Takes the next frame, or piece of DATA, off the front of `in`; nullopt when more bytes are needed. An error ends
  // the connection: invalid_argument (malformed), too_large.
  Result<std::optional<SpdyFrame>> next(std::string_view& in);

 private:
  Result<SpdyFrame> control_frame();
  Result<SpdyHeaders> header_block(std::string_view packed);
  struct Inflate;
  Limits limits_;
  std::unique_ptr<Inflate> inflate_;
  std::string held_;             // of a head or control frame that came in parts
  std::uint32_t data_left_ = 0;  // of the present DATA frame
  std::uint32_t data_stream_ = 0;
  std::uint8_t data_flags_ = 0;
};

class SpdyEncoder {
 public:
  SpdyEncoder();
  ~SpdyEncoder();
  std::string syn_stream(std::uint32_t stream, const SpdyHeaders& headers, bool fin);
  std::string syn_reply(std::uint32_t stream, const SpdyHeaders& headers, bool fin);
  static void data(std::string& out, std::uint32_t stream, std::string_view bytes, bool fin);
  static std::string rst_stream(std::uint32_t stream, SpdyStatus status);
  static std::string ping(std::uint32_t id);
  static std::string goaway(std::uint32_t last_good_stream);
  static std::string window_update(std::uint32_t stream, std::uint32_t delta);
  static std::string settings(std::uint32_t id, std::uint32_t value);

 private:
  std::string pack(const SpdyHeaders& headers);
  struct Deflate;
  std::unique_ptr<Deflate> deflate_;
};

// What both ends preset the header compression with.
const std::string& spdy_dictionary();

}  // namespace mr::stream
