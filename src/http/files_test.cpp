#include "http/files.h"

#include <fcntl.h>

#include <fstream>

#include "temp_dir.h"

namespace mr::http {
namespace {

TEST(ParseRange, ReadsOneRange) {
  struct Case {
    const char* header;
    std::uint64_t size;
    RangeKind kind;
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
  };
  using enum RangeKind;
  const Case cases[] = {
      {"bytes=0-9", 100, part, 0, 10},
      {"bytes=0-0", 100, part, 0, 1},
      {"bytes=99-99", 100, part, 99, 1},
      {"bytes=50-", 100, part, 50, 50},
      {"bytes=0-", 100, part, 0, 100},
      {"bytes=90-500", 100, part, 90, 10},
      {"bytes=-10", 100, part, 90, 10},
      {"bytes=-500", 100, part, 0, 100},
      {"bytes=0-18446744073709551615", 100, part, 0, 100},
      {"bytes=100-", 100, unsatisfiable},
      {"bytes=100-200", 100, unsatisfiable},
      {"bytes=-0", 100, unsatisfiable},
      {"bytes=0-", 0, unsatisfiable},
      // Malformed, other units and several ranges: the header counts as absent.
      {"", 100, whole},
      {"bytes=", 100, whole},
      {"bytes=-", 100, whole},
      {"bytes=5", 100, whole},
      {"bytes=9-5", 100, whole},
      {"bytes=a-b", 100, whole},
      {"bytes=1-b", 100, whole},
      {"bytes=--5", 100, whole},
      {"bytes=0-1,5-6", 100, whole},
      {"bytes=18446744073709551616-", 100, whole},
      {"items=0-5", 100, whole},
      {"bytes 0-5", 100, whole},
  };
  for (const auto& c : cases) {
    ByteRange r;
    EXPECT_EQ(parse_range(c.header, c.size, r), c.kind) << c.header;
    if (c.kind == part) {
      EXPECT_EQ(r.offset, c.offset) << c.header;
      EXPECT_EQ(r.length, c.length) << c.header;
    }
  }
}

class FileResponse : public ::testing::Test {
 protected:
  FileResponse() { std::ofstream(dir.file("f")) << "0123456789"; }
  Response get(std::initializer_list<std::pair<const char*, const char*>> headers) {
    Request rq;
    for (auto [n, v] : headers) rq.headers.add(n, v);
    return file_response(rq, Fd(::open(dir.file("f").c_str(), O_RDONLY)), 10, {"text/plain", "\"tag\"", 784111777});
  }
  testing::TempDir dir;
};

TEST_F(FileResponse, WholePartAndRefusal) {
  auto r = get({});
  EXPECT_EQ(r.status, 200);
  EXPECT_EQ(r.headers.get("etag"), "\"tag\"");
  EXPECT_EQ(r.headers.get("accept-ranges"), "bytes");
  EXPECT_EQ(std::get<FileBody>(r.body).length, 10U);
  r = get({{"Range", "bytes=2-4"}});
  EXPECT_EQ(r.status, 206);
  EXPECT_EQ(r.headers.get("content-range"), "bytes 2-4/10");
  EXPECT_EQ(std::get<FileBody>(r.body).offset, 2U);
  EXPECT_EQ(std::get<FileBody>(r.body).length, 3U);
  r = get({{"Range", "bytes=10-"}});
  EXPECT_EQ(r.status, 416);
  EXPECT_EQ(r.headers.get("content-range"), "bytes */10");
}

TEST_F(FileResponse, Conditions) {
  EXPECT_EQ(get({{"If-None-Match", "\"other\", \"tag\""}}).status, 304);
  EXPECT_EQ(get({{"If-None-Match", "*"}}).status, 304);
  EXPECT_EQ(get({{"If-None-Match", "\"other\""}, {"If-Modified-Since", "Sun, 06 Nov 1994 08:49:37 GMT"}}).status,
            200);  // the tag decides
  EXPECT_EQ(get({{"If-Modified-Since", "Sun, 06 Nov 1994 08:49:37 GMT"}}).status, 304);
  EXPECT_EQ(get({{"If-Modified-Since", "Sun, 06 Nov 1994 08:49:36 GMT"}}).status, 200);
  EXPECT_EQ(get({{"If-Modified-Since", "not a date"}}).status, 200);
  EXPECT_EQ(get({{"Range", "bytes=0-1"}, {"If-Range", "\"tag\""}}).status, 206);
  EXPECT_EQ(get({{"Range", "bytes=0-1"}, {"If-Range", "\"other\""}}).status, 200);
}

TEST(ContentType, FollowsTheEnding) {
  EXPECT_EQ(content_type_for("a/b.JSON"), "application/json");
  EXPECT_EQ(content_type_for("MLmodel"), "text/plain; charset=utf-8");
  EXPECT_EQ(content_type_for("x/MLmodel"), "text/plain; charset=utf-8");
  EXPECT_EQ(content_type_for("a.csv/noending"), "application/octet-stream");
  EXPECT_EQ(content_type_for("model.unknown"), "application/octet-stream");
  EXPECT_EQ(content_type_for(""), "application/octet-stream");
}

TEST(Attachment, CannotBreakOutOfTheHeader) {
  EXPECT_EQ(attachment("model.pkl"), "attachment; filename=model.pkl");
  EXPECT_EQ(attachment("my model.pkl"), "attachment; filename=\"my model.pkl\"");
  auto hostile = attachment("a\"b\r\nX: y");
  EXPECT_EQ(hostile.find_first_of("\r\n"), std::string::npos);
  EXPECT_TRUE(hostile.ends_with("; filename*=UTF-8''a%22b%0D%0AX%3A%20y")) << hostile;
  auto umlaut = attachment("\xC3\xBC.txt");
  EXPECT_TRUE(umlaut.ends_with("; filename*=UTF-8''%C3%BC.txt")) << umlaut;
  for (char c : umlaut) EXPECT_LT(static_cast<unsigned char>(c), 0x80);  // older clients read the ASCII form
}

}  // namespace
}  // namespace mr::http
