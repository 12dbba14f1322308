#include "text/text.h"

#include <random>

namespace mr::text {
namespace {

TEST(Numbers, AreWholeTextsOrNothing) {
  EXPECT_EQ(to_i64("-9223372036854775808"), INT64_MIN);
  EXPECT_EQ(to_i64("9223372036854775807"), INT64_MAX);
  EXPECT_EQ(to_u64("18446744073709551615"), UINT64_MAX);
  EXPECT_EQ(to_double("1e-3"), 1e-3);
  for (const char* bad : {"", " 1", "1 ", "+1", "1x", "0x1", "1.0", "9223372036854775808", "--1", "1_0"})
    EXPECT_EQ(to_i64(bad), std::nullopt) << bad;
  for (const char* bad : {"-1", "18446744073709551616", ""}) EXPECT_EQ(to_u64(bad), std::nullopt) << bad;
  for (const char* bad : {"", "1e", "1.0.0", " 1.0", "one"}) EXPECT_EQ(to_double(bad), std::nullopt) << bad;
}

TEST(Utf8, CountsCodePointsAndInvalidBytes) {
  EXPECT_EQ(utf8_length("abc"), 3U);
  EXPECT_EQ(utf8_length("\xC3\xBC\xE4\xB8\xAD\xF0\x9F\x98\x80"), 3U);
  EXPECT_EQ(utf8_length("a\xFF\xC3"), 3U);
  EXPECT_EQ(utf8_prefix("\xC3\xBC\xE4\xB8\xAD!", 2), "\xC3\xBC\xE4\xB8\xAD");
  EXPECT_EQ(utf8_prefix("ab", 5), "ab");
  EXPECT_EQ(utf8_prefix("ab", 0), "");
  EXPECT_TRUE(utf8_valid("\xF0\x9F\x98\x80 ok"));
  // Overlong, surrogate, beyond U+10FFFF, lone continuation, cut short.
  for (const char* bad :
       {"\xC0\x80", "\xE0\x80\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\x80", "\xE4\xB8", "\xF8\x88\x80\x80\x80"})
    EXPECT_FALSE(utf8_valid(bad));
}

TEST(Base64, MatchesTheStandardsExamples) {
  const std::pair<const char*, const char*> cases[] = {{"", ""},
                                                       {"f", "Zg=="},
                                                       {"fo", "Zm8="},
                                                       {"foo", "Zm9v"},
                                                       {"foob", "Zm9vYg=="},
                                                       {"fooba", "Zm9vYmE="},
                                                       {"foobar", "Zm9vYmFy"}};
  for (auto [plain, coded] : cases) {
    EXPECT_EQ(base64_encode(plain), coded);
    EXPECT_EQ(base64_decode(coded), plain);
  }
  for (const char* bad : {"Zg", "Zg=", "=", "====", "Zg==Zg==", "Z===", "Zm9v!", "Zm 9v", "Zm9v\n", "Zm-_"})
    EXPECT_EQ(base64_decode(bad), std::nullopt) << bad;
  std::mt19937 gen(3);
  for (int i = 0; i < 500; ++i) {
    std::string s(gen() % 50, '\0');
    for (char& c : s) c = static_cast<char>(gen());
    EXPECT_EQ(base64_decode(base64_encode(s)), s);
  }
}

TEST(Lists, TokensIgnoreCaseBlanksAndParameters) {
  EXPECT_TRUE(icontains_token("gzip, deflate", "GZIP"));
  EXPECT_TRUE(icontains_token("a;q=0.5 , b", "a"));
  EXPECT_FALSE(icontains_token("xgzip", "gzip"));
  EXPECT_FALSE(icontains_token("", "gzip"));
}

TEST(Text, SmallHelpers) {
  EXPECT_EQ(lower("AbC-\xC3\x9C"), "abc-\xC3\x9C");  // ASCII only
  EXPECT_EQ(upper("aZ9"), "AZ9");
  EXPECT_TRUE(iequals("Content-Type", "content-type"));
  EXPECT_FALSE(iequals("a", "ab"));
  EXPECT_EQ(trim(" \t a b \r\n"), "a b");
  EXPECT_EQ(trim("  "), "");
  EXPECT_EQ(split("a,,b,", ','), (std::vector<std::string_view>{"a", "", "b", ""}));
  EXPECT_EQ(split("", ','), (std::vector<std::string_view>{""}));
  EXPECT_EQ(hex(std::string_view("\x00\xff\x1a", 3)), "00ff1a");
  EXPECT_EQ(xml_escape("<a b=\"c\">'&\x01\n"), "&lt;a b=&quot;c&quot;&gt;&apos;&amp;&#x1;&#xA;");
  EXPECT_EQ(xml_escape("\xC3\xBC\xFF<\xED\xA0\x80"), "\xC3\xBC\xEF\xBF\xBD&lt;\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");
}

}  // namespace
}  // namespace mr::text
