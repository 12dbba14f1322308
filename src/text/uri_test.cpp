#include "text/uri.h"

#include <random>

namespace mr::text {
namespace {

TEST(SafeRelativePath, TakesWhatStaysBelowTheRoot) {
  const std::pair<std::string, std::string> good[] = {{"a", "a"},
                                                      {"a/b/c.txt", "a/b/c.txt"},
                                                      {"a/b/", "a/b"},
                                                      {"a..b", "a..b"},
                                                      {"..a/b..", "..a/b.."},
                                                      {"...", "..."},
                                                      {".hidden/x", ".hidden/x"},
                                                      {"with blank/x", "with blank/x"},
                                                      {"%2e%2e", "%2e%2e"},
                                                      {"\xC3\xBC/\xE4\xB8\xAD", "\xC3\xBC/\xE4\xB8\xAD"},
                                                      {"1:x", "1:x"},
                                                      {std::string(255, 'n'), std::string(255, 'n')}};
  for (const auto& [in, out] : good) {
    auto r = safe_relative_path(in);
    ASSERT_TRUE(r) << in;
    EXPECT_EQ(*r, out);
  }
}

TEST(SafeRelativePath, RefusesWhatCouldLeaveIt) {
  const std::string bad[] = {"",
                             "/",
                             "/etc/passwd",
                             "//x",
                             "..",
                             "../x",
                             "a/..",
                             "a/../b",
                             "a/b/../../..",
                             ".",
                             "./a",
                             "a/.",
                             "a/./b",
                             "a//b",
                             "a//",
                             "a\\b",
                             "..\\x",
                             std::string("a\0b", 3),
                             std::string("\0", 1),
                             "C:/windows",
                             "c:x",
                             "z:",
                             std::string(256, 'n'),
                             "a/" + std::string(256, 'n'),
                             std::string(4097, 'a')};
  for (const auto& in : bad) {
    auto r = safe_relative_path(in);
    ASSERT_FALSE(r) << in;
    EXPECT_EQ(r.error().code, Code::invalid_argument);
    EXPECT_EQ(r.error().message, "Invalid path");
  }
}

TEST(PercentDecode, DecodesOnceAndRefusesBrokenEscapes) {
  EXPECT_EQ(percent_decode("a%20b"), "a b");
  EXPECT_EQ(percent_decode("%41%62"), "Ab");
  EXPECT_EQ(percent_decode("%c3%BC"), "\xC3\xBC");
  EXPECT_EQ(percent_decode("a+b"), "a+b");
  EXPECT_EQ(percent_decode("%252e%252e"), "%2e%2e");
  EXPECT_EQ(percent_decode("%00"), std::string(1, '\0'));
  EXPECT_EQ(percent_decode(""), "");
  for (const char* bad : {"%", "a%", "%4", "a%4", "%zz", "%4g", "%%41", "% 41"})
    EXPECT_EQ(percent_decode(bad), std::nullopt) << bad;
}

TEST(PercentEncode, IsUndoneByDecode) {
  std::mt19937 gen(7);
  for (int i = 0; i < 2000; ++i) {
    std::string s(gen() % 40, '\0');
    for (char& c : s) c = static_cast<char>(gen());
    auto e = percent_encode(s);
    EXPECT_EQ(e.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~%"),
              std::string::npos)
        << e;
    EXPECT_EQ(percent_decode(e), s);
  }
  EXPECT_EQ(percent_encode("a/b c~d", "/"), "a/b%20c~d");
  EXPECT_EQ(percent_encode("a/b"), "a%2Fb");
}

TEST(ParseQuery, FollowsFormRules) {
  auto q = parse_query("a=1&b=&c&&a=2&=x&d=%zz&e=a+b%2B&f=x=y");
  QueryPairs want{{"a", "1"}, {"b", ""}, {"c", ""}, {"a", "2"}, {"", "x"}, {"d", "%zz"}, {"e", "a b+"}, {"f", "x=y"}};
  EXPECT_EQ(q, want);
  EXPECT_TRUE(parse_query("").empty());
}

TEST(ParseUri, SplitsWhatModelsAndArtifactsUse) {
  struct Case {
    const char* in;
    Uri want;
  };
  const Case cases[] = {{"models:/bank/3", {"models", "", "/bank/3", "", ""}},
                        {"models:/bank@champion", {"models", "", "/bank@champion", "", ""}},
                        {"runs:/0f3/model", {"runs", "", "/0f3/model", "", ""}},
                        {"S3://bucket/k/x?versionId=1", {"s3", "bucket", "/k/x", "versionId=1", ""}},
                        {"s3://bucket", {"s3", "bucket", "", "", ""}},
                        {"file:///srv/x", {"file", "", "/srv/x", "", ""}},
                        {"mlflow-artifacts:/0/r/artifacts", {"mlflow-artifacts", "", "/0/r/artifacts", "", ""}},
                        {"mlflow-artifacts://host:5000/a", {"mlflow-artifacts", "host:5000", "/a", "", ""}},
                        {"http://h:80/p?q=1#f", {"http", "h:80", "/p", "q=1", "f"}},
                        {"/plain/pa?th", {"", "", "/plain/pa?th", "", ""}},
                        {"relative/x:y", {"", "", "relative/x:y", "", ""}},
                        {"c:\\x", {"", "", "c:\\x", "", ""}},
                        {"", {}}};
  for (const auto& c : cases) {
    auto u = parse_uri(c.in);
    EXPECT_EQ(u.scheme, c.want.scheme) << c.in;
    EXPECT_EQ(u.authority, c.want.authority) << c.in;
    EXPECT_EQ(u.path, c.want.path) << c.in;
    EXPECT_EQ(u.query, c.want.query) << c.in;
    EXPECT_EQ(u.fragment, c.want.fragment) << c.in;
  }
}

}  // namespace
}  // namespace mr::text
