#include "json/parse.h"

#include <random>

namespace mr::json {
namespace {

TEST(Parse, ReadsPythonsLiteralsAsTexts) {
  auto v = parse(R"({"a": NaN, "b": [-Infinity, Infinity], "text": "NaN, \"Infinity\" inside", "NaN": 1})");
  ASSERT_TRUE(v);
  EXPECT_EQ(string_or_empty(*v, "a"), "NaN");
  EXPECT_EQ(serialize(*find(*v, "b")), R"(["-Infinity","Infinity"])");
  EXPECT_EQ(string_or_empty(*v, "text"), "NaN, \"Infinity\" inside");
  EXPECT_EQ(find(*v, "NaN")->get_int64(), 1);
}

TEST(Parse, RefusesWhatIsNoDocument) {
  for (const char* bad :
       {"", " ", "{", "[1,2", "{\"a\":}", "{'a':1}", "[1] x", "nul", "\"\\x\"", "[1,]", "NaNx", "{\"a\":NaN", "01"})
    EXPECT_FALSE(parse(bad)) << bad;
}

TEST(Parse, ReadsNumbersToTheLastBit) {
  std::mt19937_64 gen(2);
  for (int i = 0; i < 20000; ++i) {
    double v = static_cast<double>(gen() % 100000) / 1000 + static_cast<double>(gen() % 100) / 7;
    auto doc = parse(fmt::format("[{}]", v));
    ASSERT_TRUE(doc);
    ASSERT_EQ(doc->get_array()[0].to_number<double>(), v) << fmt::format("{}", v);
  }
  for (const char* text : {"1.1400000000000001", "5e-324", "1.7976931348623157e308", "0.1",
                           "123456789012345678901234567890", "2.2250738585072014e-308"}) {
    auto doc = parse(text);
    ASSERT_TRUE(doc) << text;
    EXPECT_EQ(doc->to_number<double>(), std::strtod(text, nullptr)) << text;
  }
}

TEST(Parse, BoundsDepth) {
  auto nested = [](std::size_t n) { return std::string(n, '[') + std::string(n, ']'); };
  EXPECT_TRUE(parse(nested(64)));
  EXPECT_FALSE(parse(nested(65)));
  EXPECT_FALSE(parse(nested(1000000)));
  EXPECT_TRUE(parse(nested(500), 512));
}

TEST(Access, ToleratesWhatIsNotThere) {
  auto v = parse(R"({"s":"x","n":1})");
  EXPECT_EQ(find(*v, "absent"), nullptr);
  EXPECT_EQ(string_or_empty(*v, "n"), "");
  EXPECT_EQ(string_or_empty(*v, "absent"), "");
  EXPECT_EQ(find(*parse("[1]"), "s"), nullptr);
}

}  // namespace
}  // namespace mr::json
