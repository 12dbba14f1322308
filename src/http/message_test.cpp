#include "http/message.h"

#include <zlib.h>

#include <random>

#include "await.h"
#include "http/compress.h"
#include "memory_body.h"

namespace mr::http {
namespace {

std::string noise(std::size_t n) {
  std::mt19937 gen(9);
  std::string s(n, '\0');
  for (char& c : s) c = static_cast<char>(gen());
  return s;
}
std::string zlib_form(std::string_view s) {
  uLongf n = compressBound(s.size());
  std::string out(n, '\0');
  compress(reinterpret_cast<Bytef*>(out.data()), &n, reinterpret_cast<const Bytef*>(s.data()), s.size());
  out.resize(n);
  return out;
}

TEST(Headers, IgnoreCaseAndKeepOrder) {
  Headers h;
  h.add("X-One", "1");
  h.add("x-one", "2");
  h.set("X-ONE", "3");
  h.set("New", "4");
  EXPECT_EQ(h.get("x-One"), "3");
  EXPECT_EQ(h.items().size(), 3U);
  EXPECT_TRUE(h.has("new"));
  EXPECT_FALSE(h.has("ne"));
  EXPECT_EQ(h.get("absent"), "");
}

TEST(Inflater, TakesGzipAndZlibInAnyPieces) {
  const std::string plain = noise(3000) + std::string(20000, 'z');
  for (const auto& packed : {gzip(plain), zlib_form(plain)}) {
    for (std::size_t step : {1UL, 7UL, 1000UL, packed.size()}) {
      Inflater in;
      std::string out;
      for (std::size_t at = 0; at < packed.size(); at += step)
        ASSERT_TRUE(in.feed(std::string_view(packed).substr(at, step), out, 1 << 20));
      EXPECT_TRUE(in.done());
      EXPECT_EQ(out, plain);
    }
  }
}

TEST(Inflater, BoundsWhatItMakes) {
  const std::string bomb = gzip(std::string(50 << 20, '\0'));
  ASSERT_LT(bomb.size(), 300000U);
  Inflater in;
  std::string out;
  auto r = in.feed(bomb, out, 1 << 20);
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code, Code::too_large);
  EXPECT_LE(out.size(), 1U << 20);
  EXPECT_LT(out.capacity(), 4U << 20);
}

TEST(Inflater, RefusesDamage) {
  Inflater garbage;
  std::string out;
  EXPECT_FALSE(garbage.feed("this is not gzip", out, 1000));
  auto packed = gzip("hello hello hello");
  packed[packed.size() - 5] ^= 1;  // the CRC
  Inflater crc;
  EXPECT_FALSE(crc.feed(packed, out, 1000));
  Inflater after;
  EXPECT_FALSE(after.feed(gzip("x") + "tail", out, 1000));
}

struct Sent {
  std::vector<std::string> pieces;
  std::optional<std::uint64_t> length;
  const char* coding = nullptr;
};
Result<std::string> read_with(Sent s, std::size_t limit) {
  testing::MemoryBody body(std::move(s.pieces), s.length);
  Request rq;
  rq.body = &body;
  if (s.coding != nullptr) rq.headers.add("Content-Encoding", s.coding);
  return testing::run_now(read_all(rq, limit));
}

TEST(ReadAll, GathersPlainAndCompressed) {
  EXPECT_EQ(*read_with({{"ab", "c", "def"}, 6}, 6), "abcdef");
  EXPECT_EQ(*read_with({{"ab", "c"}, std::nullopt}, 3), "abc");
  EXPECT_EQ(*read_with({{}, 0}, 0), "");
  EXPECT_EQ(*read_with({{"x"}, 1, "identity"}, 10), "x");
  auto packed = gzip("hello");
  for (const char* coding : {"gzip", "GZIP", "x-gzip"})
    EXPECT_EQ(*read_with({{packed.substr(0, 3), packed.substr(3)}, packed.size(), coding}, 100), "hello");
  EXPECT_EQ(*read_with({{zlib_form("hello")}, std::nullopt, "deflate"}, 100), "hello");
}

TEST(ReadAll, HoldsItsLimit) {
  EXPECT_EQ(read_with({{"never read"}, 11}, 10).error().code, Code::too_large);  // by what is declared
  EXPECT_EQ(read_with({{"12345", "678901"}, std::nullopt}, 10).error().code, Code::too_large);
  auto bomb = gzip(std::string(1 << 20, 'a'));
  EXPECT_EQ(read_with({{bomb}, bomb.size(), "gzip"}, 100000).error().code, Code::too_large);
}

TEST(ReadAll, RefusesWhatItCannotDecode) {
  EXPECT_EQ(read_with({{"x"}, 1, "br"}, 10).error().code, Code::unsupported);
  auto packed = gzip("hello");
  EXPECT_EQ(read_with({{packed.substr(0, packed.size() - 1)}, std::nullopt, "gzip"}, 100).error().code,
            Code::invalid_argument);
  EXPECT_EQ(read_with({{"plain"}, 5, "gzip"}, 100).error().code, Code::invalid_argument);
}

TEST(ReasonPhrase, EveryStatusOfOursHasOne) {
  for (int s : {100, 200, 201, 204, 206, 304, 308, 400, 401, 403, 404, 405, 408, 409,
                411, 412, 413, 414, 415, 416, 417, 422, 431, 500, 501, 503, 505})
    EXPECT_NE(reason_phrase(s), "Unknown") << s;
  EXPECT_EQ(reason_phrase(299), "Unknown");
}

}  // namespace
}  // namespace mr::http
