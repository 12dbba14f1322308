#include "crypto/digest.h"

#include <random>
#include <set>

#include "crypto/random.h"
#include "text/text.h"

namespace mr::crypto {
namespace {

constexpr std::string_view kCheck = "123456789";  // the customary input of CRC check values

TEST(Checksums, HaveTheirCheckValues) {
  EXPECT_EQ(crc32(0, kCheck), 0xCBF43926U);
  EXPECT_EQ(crc32c(0, kCheck), 0xE3069283U);
  EXPECT_EQ(crc64nvme(0, kCheck), 0xAE8B14860A799888ULL);
  EXPECT_EQ(crc32(0, ""), 0U);
  EXPECT_EQ(crc32c(0, ""), 0U);
  EXPECT_EQ(crc64nvme(0, ""), 0U);
  // RFC 3720, B.4: 32 zero bytes and 32 bytes of ones.
  EXPECT_EQ(crc32c(0, std::string(32, '\0')), 0x8A9136AAU);
  EXPECT_EQ(crc32c(0, std::string(32, '\xFF')), 0x62A8AB43U);
}

TEST(Checksums, Crc32OfAnyLengthIsThatOfItsBytes) {
  std::mt19937 gen(2);
  std::string s(1100, '\0');
  for (char& c : s) c = static_cast<char>(gen());
  std::uint32_t one_by_one = 0x12345678U;
  for (std::size_t n = 0; n < s.size(); ++n) {
    EXPECT_EQ(crc32(0x12345678U, std::string_view(s).substr(0, n)), one_by_one) << n;
    one_by_one = crc32(one_by_one, std::string_view(s).substr(n, 1));
  }
}

TEST(Checksums, ContinueOverAnyCut) {
  std::mt19937 gen(1);
  for (int i = 0; i < 300; ++i) {
    std::string s(gen() % 200, '\0');
    for (char& c : s) c = static_cast<char>(gen());
    std::size_t cut = s.empty() ? 0 : gen() % s.size();
    std::string_view a = std::string_view(s).substr(0, cut);
    std::string_view b = std::string_view(s).substr(cut);
    EXPECT_EQ(crc32(crc32(0, a), b), crc32(0, s));
    EXPECT_EQ(crc32c(crc32c(0, a), b), crc32c(0, s));
    EXPECT_EQ(crc64nvme(crc64nvme(0, a), b), crc64nvme(0, s));
    Hash h(Algorithm::sha256);
    h.update(a);
    h.update(b);
    EXPECT_EQ(h.finish(), digest(Algorithm::sha256, s));
  }
}

TEST(Digests, KnownAnswers) {
  EXPECT_EQ(text::hex(digest(Algorithm::md5, "")), "d41d8cd98f00b204e9800998ecf8427e");
  EXPECT_EQ(text::hex(digest(Algorithm::md5, "abc")), "900150983cd24fb0d6963f7d28e17f72");
  EXPECT_EQ(text::hex(digest(Algorithm::sha1, "abc")), "a9993e364706816aba3e25717850c26c9cd0d89d");
  EXPECT_EQ(text::hex(digest(Algorithm::sha256, "")),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(text::hex(digest(Algorithm::sha256, "abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Hmac, KnownAnswers) {
  // RFC 4231, cases 1, 2 and 6 (a key longer than a block); RFC 2202, case 2.
  EXPECT_EQ(text::hex(hmac(Algorithm::sha256, std::string(20, '\x0b'), "Hi There")),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  EXPECT_EQ(text::hex(hmac(Algorithm::sha256, "Jefe", "what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  EXPECT_EQ(text::hex(hmac(Algorithm::sha256, std::string(131, '\xaa'),
                           "Test Using Larger Than Block-Size Key - Hash Key First")),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
  EXPECT_EQ(text::hex(hmac(Algorithm::sha1, "Jefe", "what do ya want for nothing?")),
            "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
}

TEST(EqualConstantTime, IsEquality) {
  EXPECT_TRUE(equal_constant_time("abc", "abc"));
  EXPECT_TRUE(equal_constant_time("", ""));
  EXPECT_FALSE(equal_constant_time("abc", "abd"));
  EXPECT_FALSE(equal_constant_time("abc", "ab"));
}

TEST(Random, IdsHaveTheirFormAndDiffer) {
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) {
    auto u = uuid4();
    ASSERT_EQ(u.size(), 36U);
    for (std::size_t k = 0; k < u.size(); ++k) {
      if (k == 8 || k == 13 || k == 18 || k == 23)
        EXPECT_EQ(u[k], '-');
      else
        EXPECT_NE(std::string_view("0123456789abcdef").find(u[k]), std::string_view::npos);
    }
    EXPECT_EQ(u[14], '4');
    EXPECT_NE(std::string_view("89ab").find(u[19]), std::string_view::npos);
    EXPECT_TRUE(seen.insert(u).second);
    auto h = random_hex(static_cast<std::size_t>(i % 20));
    EXPECT_EQ(h.size(), static_cast<std::size_t>(i % 20 * 2));
  }
}

}  // namespace
}  // namespace mr::crypto
