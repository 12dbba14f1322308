#include "json/writer.h"

#include <random>

#include "json/parse.h"
#include "text/text.h"

namespace mr::json {
namespace {

std::string shown(double v) {
  std::string out;
  append_double(out, v);
  return out;
}
std::string shown_text(std::string_view s) {
  std::string out;
  append_string(out, s);
  return out;
}

TEST(AppendDouble, WritesWhatPythonsReprWrites) {
  const std::pair<double, const char*> cases[] = {{0.0, "0.0"},
                                                  {-0.0, "-0.0"},
                                                  {1.0, "1.0"},
                                                  {-1.5, "-1.5"},
                                                  {0.1, "0.1"},
                                                  {1.0 / 3, "0.3333333333333333"},
                                                  {2.0 / 3, "0.6666666666666666"},
                                                  {100.0, "100.0"},
                                                  {123456789.125, "123456789.125"},
                                                  {1e15, "1000000000000000.0"},
                                                  {9999999999999998.0, "9999999999999998.0"},
                                                  {9007199254740993.0, "9007199254740992.0"},
                                                  {1e16, "1e+16"},
                                                  {1.2345e17, "1.2345e+17"},
                                                  {1e22, "1e+22"},
                                                  {1e100, "1e+100"},
                                                  {-2.5e-300, "-2.5e-300"},
                                                  {1e-4, "0.0001"},
                                                  {1.2345e-4, "0.00012345"},
                                                  {9.999e-5, "9.999e-05"},
                                                  {1e-5, "1e-05"},
                                                  {3e-10, "3e-10"},
                                                  {5e-324, "5e-324"},
                                                  {2.2250738585072014e-308, "2.2250738585072014e-308"},
                                                  {1.7976931348623157e308, "1.7976931348623157e+308"}};
  for (auto [v, text] : cases) EXPECT_EQ(shown(v), text);
}

TEST(AppendDouble, ReadsBackToTheSameBits) {
  std::mt19937_64 gen(11);
  for (int i = 0; i < 100000; ++i) {
    std::uint64_t bits = gen();
    double v = 0;
    std::memcpy(&v, &bits, 8);
    if (!std::isfinite(v)) continue;
    auto t = shown(v);
    EXPECT_EQ(std::strtod(t.c_str(), nullptr), v) << t;
    EXPECT_NE(t.find_first_of(".e"), std::string::npos) << t;
  }
}

TEST(AppendString, Escapes) {
  EXPECT_EQ(shown_text("plain"), "\"plain\"");
  EXPECT_EQ(shown_text("a\"b\\c/d"), R"("a\"b\\c/d")");
  EXPECT_EQ(shown_text("\b\f\n\r\t"), R"("\b\f\n\r\t")");
  EXPECT_EQ(shown_text(std::string_view("\0\x1f\x7f", 3)), "\"\\u0000\\u001f\x7f\"");
  EXPECT_EQ(shown_text("\xC3\xBC\xF0\x9F\x98\x80"), "\"\xC3\xBC\xF0\x9F\x98\x80\"");
}

TEST(AppendString, InvalidBytesBecomeTheReplacementCharacter) {
  EXPECT_EQ(shown_text("a\xFF!"), "\"a\xEF\xBF\xBD!\"");
  EXPECT_EQ(shown_text("\x80"), "\"\xEF\xBF\xBD\"");
  EXPECT_EQ(shown_text("\xC3"), "\"\xEF\xBF\xBD\"");
  // Overlong forms, surrogates and code points past the last: no JSON reader has to take them.
  for (const char* bad : {"\xC0\xAF", "\xE0\x80\x80", "\xED\xA0\x80", "\xF0\x80\x80\x80", "\xF4\x90\x80\x80"})
    EXPECT_TRUE(text::utf8_valid(shown_text(bad))) << text::hex(bad);
}

TEST(AppendString, AnyBytesGiveValidJson) {
  std::mt19937 gen(5);
  for (int i = 0; i < 20000; ++i) {
    std::string s(gen() % 12, '\0');
    for (char& c : s) c = static_cast<char>(gen() % 3 == 0 ? gen() : 0xE0 + gen() % 32);
    auto q = shown_text(s);
    ASSERT_TRUE(text::utf8_valid(q)) << text::hex(s);
    auto back = parse(q);
    ASSERT_TRUE(back) << text::hex(s);
    if (text::utf8_valid(s)) {
      EXPECT_EQ(std::string(back->get_string()), s);
    }
  }
}

TEST(Writer, PutsCommasAndIndentation) {
  std::string out;
  Writer w(out);
  w.begin_object();
  w.field("s", "x");
  w.field("i", 42);
  w.field("b", true);
  w.field("d", 1.0);
  w.key("list");
  w.begin_array();
  w.integer(1);
  w.null();
  w.begin_object();
  w.end_object();
  w.begin_array();
  w.end_array();
  w.raw("[2]");
  w.end_array();
  w.end_object();
  EXPECT_EQ(out, R"({"s":"x","i":42,"b":true,"d":1.0,"list":[1,null,{},[],[2]]})");

  std::string pretty;
  Writer p(pretty, 2);
  p.begin_object();
  p.field("a", std::int64_t{INT64_MIN});
  p.key("l");
  p.begin_array();
  p.string("x");
  p.string("y");
  p.end_array();
  p.key("empty");
  p.begin_object();
  p.end_object();
  p.end_object();
  EXPECT_EQ(pretty, "{\n  \"a\": -9223372036854775808,\n  \"l\": [\n    \"x\",\n    \"y\"\n  ],\n  \"empty\": {}\n}");
}

}  // namespace
}  // namespace mr::json
