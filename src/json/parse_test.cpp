#include "json/parse.h"

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
  for (const char* bad : {"", " ", "{", "[1,2", "{\"a\":}", "{'a':1}", "[1] x", "nul", "\"\\x\"", "[1,]", "NaNx", "{\"a\":NaN", "01"}) EXPECT_FALSE(parse(bad)) << bad;
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
