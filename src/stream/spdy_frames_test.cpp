#include "stream/spdy_frames.h"

#include <zlib.h>

#include "text/text.h"

namespace mr::stream {
namespace {

// Feeds `bytes` in pieces of `size`; a line a frame.
std::string decode(std::string_view bytes, std::size_t size, SpdyDecoder::Limits limits = {}) {
  SpdyDecoder d(limits);
  std::string out;
  while (!bytes.empty()) {
    auto piece = bytes.substr(0, size);
    bytes.remove_prefix(piece.size());
    for (;;) {
      auto f = d.next(piece);
      if (!f) return out + "error: " + f.error().message;
      if (!*f) break;
      out += fmt::format("{} {} {} {}", static_cast<int>((*f)->type), (*f)->stream, (*f)->flags, (*f)->value);
      for (const auto& [n, v] : (*f)->headers) out += fmt::format(" {}={}", n, v);
      for (auto [id, v] : (*f)->settings) out += fmt::format(" {}:{}", id, v);
      out += fmt::format(" {}\n", (*f)->data);
    }
  }
  return out;
}

TEST(SpdyFrames, TheDictionaryIsTheOneOfTheSpecification) {
  const auto& d = spdy_dictionary();
  EXPECT_EQ(d.size(), 1423U);
  // Its Adler-32, by which zlib streams name it.
  EXPECT_EQ(::adler32(::adler32(0, nullptr, 0), reinterpret_cast<const Bytef*>(d.data()), static_cast<uInt>(d.size())),
            0xE3C6A7C2U);
}

TEST(SpdyFrames, DecodesWhatItEncoded) {
  SpdyEncoder e;
  std::string wire = e.syn_stream(1, {{"streamtype", "data"}, {"port", "80"}}, false);
  wire += e.syn_reply(1, {}, true);
  wire += e.syn_stream(3, {{"streamtype", "data"}, {"port", "80"}}, true);
  wire += SpdyEncoder::rst_stream(3, SpdyStatus::cancel);
  wire += SpdyEncoder::settings(kSpdyInitialWindow, 70000);
  wire += SpdyEncoder::ping(9);
  wire += SpdyEncoder::window_update(1, 1000);
  wire += SpdyEncoder::goaway(3);
  SpdyEncoder::data(wire, 5, "", true);
  std::string expected =
      "1 1 0 0 streamtype=data port=80 \n2 1 1 0 \n1 3 1 0 streamtype=data port=80 \n3 3 0 5 \n4 0 0 0 7:70000 \n"
      "6 0 0 9 \n9 1 0 1000 \n7 3 0 0 \n32 5 1 0 \n";
  for (std::size_t size : {std::size_t{1}, std::size_t{7}, wire.size()})
    EXPECT_EQ(decode(wire, size), expected) << size;
}

TEST(SpdyFrames, HandsDataOnAsItComes) {
  std::string wire;
  SpdyEncoder::data(wire, 1, "abcdef", true);
  EXPECT_EQ(decode(wire, 10), "32 1 0 0 ab\n32 1 1 0 cdef\n");  // the end is marked on the last piece only
}

TEST(SpdyFrames, PassesOverUnknownFramesAndReadsOn) {
  std::string wire("\x80\x03\x00\x0B\x00\x00\x00\x03xyz", 11);
  wire += SpdyEncoder::ping(1);
  EXPECT_EQ(decode(wire, 3), "33 0 0 0 \n6 0 0 1 \n");
}

TEST(SpdyFrames, RefusesMalformedFrames) {
  auto control = [](int type, std::string_view body) {
    std::string out("\x80\x03\x00", 3);
    out += static_cast<char>(type);
    out.append(3, '\0');  // no flags, and a length below 256
    out += static_cast<char>(body.size());
    return out + std::string(body);
  };
  EXPECT_EQ(decode(control(6, {"\0\0\0\1", 4}), 99), "6 0 0 1 \n");
  for (const auto& bad : {
           control(6, "12345"), control(3, "1234"), control(9, "123456789"), control(7, ""), control(4, "12"),
           control(4, {"\0\0\0\2\0\0\0\1\0\0\0\1", 12}), control(1, "123"), control(2, "12"), control(8, ""),
           control(3, {"\0\0\0\0\0\0\0\1", 8}),                  // on stream 0
           control(1, {"\0\0\0\1\0\0\0\0\0\0not zlib", 18}),     // header block
           std::string("\x80\x02\x00\x06\0\0\0\4\0\0\0\1", 12),  // version 2
           std::string("\0\0\0\0\0\0\0\1x", 9),                  // data on stream 0
       })
    EXPECT_TRUE(decode(bad, 99).starts_with("error: SPDY: ")) << text::hex(bad);
}

TEST(SpdyFrames, BoundsWhatAPeerMayMakeUsKeep) {
  SpdyEncoder e;
  SpdyHeaders many(200, {"n", "v"});
  EXPECT_EQ(decode(e.syn_stream(1, many, false), 9999), "error: SPDY: too many headers");
  SpdyEncoder f;  // 1 MB of the same letter is a few hundred bytes on the wire
  auto bomb = f.syn_stream(1, {{"n", std::string(1 << 20, 'a')}}, false);
  EXPECT_LT(bomb.size(), 8192U);
  EXPECT_EQ(decode(bomb, 9999), "error: SPDY: a header block is larger than the limit");
  std::string huge("\x80\x03\x00\x01\x00\xFF\xFF\xFF", 8);
  EXPECT_EQ(decode(huge, 8), "error: SPDY: a control frame is larger than the limit");
}

}  // namespace
}  // namespace mr::stream
