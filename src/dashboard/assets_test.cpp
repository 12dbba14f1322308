#include "dashboard/assets.h"

#include "http/compress.h"

namespace mr::dashboard {
namespace {

std::string pack_of(const std::vector<std::pair<std::string, std::string>>& files) {
  std::string head = "millrace-web 1\n", body;
  for (const auto& [name, text] : files) {
    auto packed = http::gzip(text, 9);
    head += fmt::format("{}\ttext/html\t\"tag-{}\"\t{}\t{}\n", name, name, text.size(), packed.size());
    body += packed;
  }
  return head + "\n" + body;
}

http::Request request(std::string_view name, std::string_view value) {
  http::Request rq;
  if (!name.empty()) rq.headers.add(name, value);
  return rq;
}

TEST(DashboardAssets, ReadsWhatWasPacked) {
  auto pack = pack_of({{"index.html", "<h1>Home</h1>"}, {"assets/a.js", std::string(5000, 'x')}});
  auto assets = Assets::read(pack);
  ASSERT_TRUE(assets.has_value());
  ASSERT_NE(assets->find("assets/a.js"), nullptr);
  EXPECT_EQ(assets->find("assets/a.js")->size, 5000U);
  EXPECT_EQ(assets->find("assets/../index.html"), nullptr);

  auto packed = asset_response(request("Accept-Encoding", "gzip"), assets->find("index.html"), true);
  EXPECT_EQ(packed.headers.get("Content-Encoding"), "gzip");
  EXPECT_EQ(packed.headers.get("Cache-Control"), "public, max-age=31536000, immutable");
  auto plain = asset_response(request("", ""), assets->find("index.html"), false);
  EXPECT_EQ(std::get<std::string>(plain.body), "<h1>Home</h1>");
  EXPECT_EQ(plain.headers.get("Cache-Control"), "no-cache");
  EXPECT_FALSE(plain.headers.has("Content-Encoding"));
}

TEST(DashboardAssets, WhatTheBrowserHasIsNotSentAgain) {
  auto pack = pack_of({{"index.html", "<h1>Home</h1>"}});
  auto assets = Assets::read(pack);
  ASSERT_TRUE(assets.has_value());
  for (const char* known : {R"("tag-index.html")", R"("x", W/"tag-index.html")", "*"}) {
    auto res = index_response(request("If-None-Match", known), *assets);
    EXPECT_EQ(res.status, 304) << known;
    EXPECT_EQ(std::get<std::string>(res.body), "");
  }
  EXPECT_EQ(index_response(request("If-None-Match", "\"other\""), *assets).status, 200);
}

TEST(DashboardAssets, WithoutPagesItSaysHowToGetThem) {
  auto none = Assets::read("");
  ASSERT_TRUE(none.has_value());
  EXPECT_TRUE(none->empty());
  auto res = index_response(request("", ""), *none);
  EXPECT_EQ(res.status, 200);
  EXPECT_NE(std::get<std::string>(res.body).find("-DMILLRACE_WEB=ON"), std::string::npos);
  EXPECT_EQ(asset_response(request("", ""), nullptr, true).status, 404);
}

TEST(DashboardAssets, AMalformedPackIsAnError) {
  auto good = pack_of({{"index.html", "x"}});
  EXPECT_FALSE(Assets::read(good.substr(0, good.size() - 1)).has_value());
  EXPECT_FALSE(Assets::read(good + "more").has_value());
  EXPECT_FALSE(Assets::read("millrace-web 1\n").has_value());
  EXPECT_FALSE(Assets::read("millrace-web 1\na\tb\n\n").has_value());
  EXPECT_FALSE(Assets::read("millrace-web 1\na\tb\tc\t9999999999\t1\n\nx").has_value());
  EXPECT_FALSE(Assets::read("something else").has_value());
}

}  // namespace
}  // namespace mr::dashboard
