#include "node/log_file.h"

#include <gtest/gtest.h>

#include "crypto/random.h"
#include "time/clock.h"

namespace mr::node {
namespace {

class LogFile : public ::testing::Test {
 protected:
  void SetUp() override { folder_ = std::filesystem::temp_directory_path() / ("mr-log-" + crypto::random_hex(6)); }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  // All of the log, read as `kubectl logs` reads it.
  std::string all(kube::LogOptions options = {}) {
    auto body = read_log(folder_, 0, options, nullptr);
    if (!body) return "error: " + body.error().message;
    std::string out;
    task::detach([](http::StreamBody& from, std::string& to) -> task::Task<void> {
      for (;;) {
        auto piece = co_await from();
        if (!piece || piece->empty()) co_return;
        to += *piece;
      }
    }(*body, out));
    return out;
  }
  std::unique_ptr<LogWriter> writer(std::size_t limit = kLogFileLimit) {
    auto w = LogWriter::open(folder_, 0, nullptr, limit);
    return w ? std::move(*w) : nullptr;
  }
  std::string folder_;
};

TEST_F(LogFile, LinesComeBackAsTheyWere) {
  auto w = writer();
  w->append("stdout", "one\ntw");
  w->append("stderr", "oops\n");
  w->append("stdout", "o\n\nno end");
  w->finish();
  EXPECT_EQ(all(), "one\noops\ntwo\n\nno end");
}

TEST_F(LogFile, AVeryLongLineIsOneLine) {
  auto w = writer();
  std::string line(100'000, 'x');
  w->append("stdout", line + "\nshort\n");
  w->finish();
  EXPECT_EQ(all(), line + "\nshort\n");
}

TEST_F(LogFile, TailCountsLines) {
  auto w = writer();
  for (int i = 0; i < 5000; ++i) w->append("stdout", fmt::format("line {}\n", i));
  w->finish();
  kube::LogOptions o;
  o.tail_lines = 3;
  EXPECT_EQ(all(o), "line 4997\nline 4998\nline 4999\n");
  o.tail_lines = 0;
  EXPECT_EQ(all(o), "");
  o.tail_lines = 100'000;
  EXPECT_EQ(all(o).size(), all().size());
}

TEST_F(LogFile, TailReachesIntoRotatedFiles) {
  auto w = writer(4096);
  for (int i = 0; i < 200; ++i) w->append("stdout", fmt::format("line {}\n", i));
  w->finish();
  kube::LogOptions o;
  o.tail_lines = 150;
  auto text = all(o);
  EXPECT_TRUE(text.starts_with("line 50\n")) << text.substr(0, 40);
  EXPECT_TRUE(text.ends_with("line 199\n"));
}

TEST_F(LogFile, RotationKeepsTheNewest) {
  auto w = writer(1024);
  for (int i = 0; i < 1000; ++i) w->append("stdout", fmt::format("line {}\n", i));
  w->finish();
  auto text = all();
  EXPECT_TRUE(text.ends_with("line 999\n"));
  EXPECT_FALSE(text.contains("line 0\n"));
  std::size_t files = 0;
  for ([[maybe_unused]] const auto& f : std::filesystem::directory_iterator(folder_)) ++files;
  EXPECT_EQ(files, static_cast<std::size_t>(kLogFiles));
}

TEST_F(LogFile, LimitCutsBytes) {
  auto w = writer();
  w->append("stdout", "0123456789\n0123456789\n");
  w->finish();
  kube::LogOptions o;
  o.limit_bytes = 13;
  EXPECT_EQ(all(o), "0123456789\n01");
}

TEST_F(LogFile, TimestampsStandBeforeEachLine) {
  auto w = writer();
  w->append("stdout", "a\nb\n");
  w->finish();
  kube::LogOptions o;
  o.timestamps = true;
  auto text = all(o);
  auto space = text.find(' ');
  ASSERT_NE(space, std::string::npos);
  EXPECT_TRUE(time::parse_rfc3339_ns(text.substr(0, space)));
  EXPECT_EQ(text.substr(space, 3), " a\n");
}

TEST_F(LogFile, SinceLeavesOutWhatIsOlder) {
  auto w = writer();
  w->append("stdout", "a\n");
  w->finish();
  kube::LogOptions o;
  o.since_time = "2999-01-01T00:00:00Z";
  EXPECT_EQ(all(o), "");
  o.since_time = "1999-01-01T00:00:00+01:00";
  EXPECT_EQ(all(o), "a\n");
  o.since_time = "yesterday";
  EXPECT_TRUE(all(o).starts_with("error: "));
}

TEST(NanoText, IsReadBack) {
  std::int64_t t = 1'764'000'000'123'456'789;
  EXPECT_EQ(time::parse_rfc3339_ns(nano_text(t)), t);
  EXPECT_EQ(time::parse_rfc3339_ns("2026-11-25T12:30:49Z"), time::parse_rfc3339_ns("2026-11-25T13:30:49+01:00"));
  for (auto bad : {"", "2026-11-25", "2026-11-25T12:30:49", "2026-11-25T12:30:4xZ", "2026-11-25T12:30:49.5"})
    EXPECT_FALSE(time::parse_rfc3339_ns(bad)) << bad;
}

}  // namespace
}  // namespace mr::node
