#include "pipelines/cron.h"

#include <gtest/gtest.h>

#include "pipelines/cron_zone.h"
#include "time/clock.h"

namespace mr::pipelines {
namespace {

std::int64_t ms(std::string_view rfc3339) {
  auto ns = time::parse_rfc3339_ns(rfc3339);
  EXPECT_TRUE(ns) << rfc3339;
  return ns.value_or(0) / 1'000'000;
}

// The next times after `after`, as UTC, joined by spaces; "-": none.
std::string next(std::string_view cron, std::string_view after, int count = 1, std::string_view zone = "UTC") {
  auto c = Cron::parse(cron, zone);
  if (!c) return "! " + c.error().message;
  std::string out;
  auto at = ms(after);
  for (int i = 0; i < count; ++i) {
    auto n = c->next(at);
    if (!out.empty()) out += ' ';
    if (!n) return out + "-";
    EXPECT_GT(*n, at);
    EXPECT_EQ(*n % 1000, 0);
    out += time::rfc3339_s(*n / 1000);
    at = *n;
  }
  return out;
}

TEST(Cron, Fields) {
  struct {
    std::string_view cron, after, want;
  } const cases[] = {
      {"* * * * * *", "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z"},
      {"* * * * * *", "2026-01-01T00:00:00.999Z", "2026-01-01T00:00:01Z"},
      {"0 * * * * *", "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"},
      {"0 30 1 * * *", "2026-01-01T00:00:00Z", "2026-01-01T01:30:00Z"},
      {"0 30 1 * * *", "2026-01-01T01:30:00Z", "2026-01-02T01:30:00Z"},
      {"0 30 1 * * *", "2026-01-01T01:29:59Z", "2026-01-01T01:30:00Z"},
      {"*/5 * * * * *", "2026-01-01T00:00:57Z", "2026-01-01T00:01:00Z"},
      {"0 0/15 * * * *", "2026-01-01T00:16:00Z", "2026-01-01T00:30:00Z"},
      {"0 5/20 * * * *", "2026-01-01T00:26:00Z", "2026-01-01T00:45:00Z"},
      {"0 20-35/15 * * * *", "2026-01-01T00:21:00Z", "2026-01-01T00:35:00Z"},
      {"15,30,45 * * * * *", "2026-01-01T00:00:30Z", "2026-01-01T00:00:45Z"},
      {"59 59 23 31 12 *", "2026-06-01T00:00:00Z", "2026-12-31T23:59:59Z"},
      {"59 59 23 31 dec ?", "2026-12-31T23:59:59Z", "2027-12-31T23:59:59Z"},
      {"0 0 0 1 Jan-Mar/2 *", "2026-01-02T00:00:00Z", "2026-03-01T00:00:00Z"},
      {"0 0 0 * * MON", "2026-01-01T00:00:00Z", "2026-01-05T00:00:00Z"},
      {"0 0 0 ? * sat,Sun", "2026-01-04T00:00:00Z", "2026-01-10T00:00:00Z"},
      {"0 0 12 * * 1-5", "2026-01-02T12:00:00Z", "2026-01-05T12:00:00Z"},
      {"0 0 12 ? * 0", "2026-01-01T00:00:00Z", "2026-01-04T12:00:00Z"},
      // Either day when both are given, both days otherwise; a step leaves a star a star.
      {"0 0 0 13 * FRI", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"},
      {"0 0 0 13 * FRI", "2026-01-10T00:00:00Z", "2026-01-13T00:00:00Z"},
      {"0 0 0 1,15 * ?", "2026-01-02T00:00:00Z", "2026-01-15T00:00:00Z"},
      {"0 0 0 */2 * MON", "2026-01-01T00:00:00Z", "2026-01-05T00:00:00Z"},
      {"0 0 0 */2 * MON", "2026-01-05T00:00:00Z", "2026-01-19T00:00:00Z"},
      {"1-3,2-5,4 0 0 1 1 *", "2026-01-01T00:00:03Z", "2026-01-01T00:00:04Z"},
      {"1,,2 0 0 1 1 *", "2026-01-01T00:00:01Z", "2026-01-01T00:00:02Z"},
      {"*/100 0 * * * *", "2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z"},
      {"0 0 0 31 * *", "2026-01-31T00:00:00Z", "2026-03-31T00:00:00Z"},
      {"  0\t30  1 * *   * ", "2026-01-01T00:00:00Z", "2026-01-01T01:30:00Z"},
      {"@yearly", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"},
      {"@annually", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"},
      {"@monthly", "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"},
      {"@weekly", "2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z"},
      {"@daily", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"},
      {"@midnight", "2026-01-01T00:00:01Z", "2026-01-02T00:00:00Z"},
      {"@hourly", "2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z"},
      {"@every 1h30m", "2026-01-01T00:00:00.5Z", "2026-01-01T01:30:00Z"},
      {"@every 90s", "2026-01-01T00:00:00Z", "2026-01-01T00:01:30Z"},
      {"@every 1.5h", "2026-01-01T00:00:00Z", "2026-01-01T01:30:00Z"},
      {"@every 2500ms", "2026-01-01T00:00:00Z", "2026-01-01T00:00:02Z"},
      {"@every 1ms", "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z"},
      {"@every 168h", "2026-01-01T00:00:00Z", "2026-01-08T00:00:00Z"},
      {"0 0 0 1 1 *", "1969-06-01T00:00:00Z", "1970-01-01T00:00:00Z"},
      {"30 * * * * *", "1969-12-31T23:59:59.500Z", "1970-01-01T00:00:30Z"},
      // leap days
      {"0 0 0 29 2 *", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"},
      {"0 0 0 29 feb ?", "2096-03-01T00:00:00Z", "2104-02-29T00:00:00Z"},
      // days that never come
      {"0 0 0 30 2 ?", "2026-01-01T00:00:00Z", "-"},
      {"0 0 0 31 4,6,9,11 ?", "2026-01-01T00:00:00Z", "-"},
  };
  for (const auto& c : cases) EXPECT_EQ(next(c.cron, c.after), c.want) << c.cron << " after " << c.after;
  EXPECT_EQ(next("0 0 0,12 * * *", "2026-01-01T00:00:00Z", 3),
            "2026-01-01T12:00:00Z 2026-01-02T00:00:00Z 2026-01-02T12:00:00Z");
}

// What the clock shows twice fires twice, what it skips does not fire.
TEST(Cron, Zones) {
  // Berlin: 29 March 2026 02:00 -> 03:00, 25 October 2026 03:00 -> 02:00.
  EXPECT_EQ(next("0 30 2 * * *", "2026-03-27T12:00:00Z", 3, "Europe/Berlin"),
            "2026-03-28T01:30:00Z 2026-03-30T00:30:00Z 2026-03-31T00:30:00Z");
  EXPECT_EQ(next("0 0 3 * * *", "2026-03-28T12:00:00Z", 2, "Europe/Berlin"),
            "2026-03-29T01:00:00Z 2026-03-30T01:00:00Z");
  EXPECT_EQ(next("0 0 * * * *", "2026-03-28T23:30:00Z", 3, "Europe/Berlin"),
            "2026-03-29T00:00:00Z 2026-03-29T01:00:00Z 2026-03-29T02:00:00Z");
  EXPECT_EQ(next("0 30 2 * * *", "2026-10-24T12:00:00Z", 3, "Europe/Berlin"),
            "2026-10-25T00:30:00Z 2026-10-25T01:30:00Z 2026-10-26T01:30:00Z");
  EXPECT_EQ(next("0 0 * * * *", "2026-10-24T23:30:00Z", 4, "Europe/Berlin"),
            "2026-10-25T00:00:00Z 2026-10-25T01:00:00Z 2026-10-25T02:00:00Z 2026-10-25T03:00:00Z");
  EXPECT_EQ(next("0 0 9 * * *", "2026-10-24T12:00:00Z", 2, "Europe/Berlin"),
            "2026-10-25T08:00:00Z 2026-10-26T08:00:00Z");
  // New York: 8 March 2026 02:00 -> 03:00, 1 November 2026 02:00 -> 01:00.
  EXPECT_EQ(next("0 30 2 8 Mar ?", "2026-03-08T00:00:00-05:00", 1, "America/New_York"), "2027-03-08T07:30:00Z");
  EXPECT_EQ(next("0 0 2 * * ?", "2026-03-08T00:00:00-05:00", 1, "America/New_York"), "2026-03-09T06:00:00Z");
  EXPECT_EQ(next("0 0 1 * * ?", "2026-10-31T12:00:00-04:00", 3, "America/New_York"),
            "2026-11-01T05:00:00Z 2026-11-01T06:00:00Z 2026-11-02T06:00:00Z");
  EXPECT_EQ(next("0 30 1 1 Nov ?", "2026-11-01T01:45:00-04:00", 1, "America/New_York"), "2026-11-01T06:30:00Z");
  // A change at midnight, and one of half an hour.
  EXPECT_EQ(next("0 0 0 * * *", "2018-11-03T12:00:00Z", 2, "America/Sao_Paulo"),
            "2018-11-05T02:00:00Z 2018-11-06T02:00:00Z");
  EXPECT_EQ(next("0 15 2 * * *", "2026-10-03T00:00:00Z", 2, "Australia/Lord_Howe"),
            "2026-10-04T15:15:00Z 2026-10-05T15:15:00Z");
  // Long after the last change that the database records.
  EXPECT_EQ(next("0 0 12 1 7 *", "2090-01-01T00:00:00Z", 1, "Europe/Berlin"), "2090-07-01T10:00:00Z");
  EXPECT_EQ(next("0 0 12 1 1 *", "2090-01-02T00:00:00Z", 1, "Europe/Berlin"), "2091-01-01T11:00:00Z");
  // And before the first.
  EXPECT_EQ(next("0 0 12 * * *", "1800-01-01T00:00:00Z", 1, "Europe/Berlin"), "1800-01-01T11:06:32Z");
  EXPECT_EQ(next("0 0 5 * * *", "2026-01-01T00:00:00Z", 1, "Asia/Kolkata"), "2026-01-01T23:30:00Z");
  EXPECT_EQ(next("TZ=Asia/Tokyo 0 0 5 * * *", "2026-01-01T00:00:00Z", 1, "Europe/Berlin"), "2026-01-01T20:00:00Z");
  EXPECT_EQ(next("CRON_TZ=Asia/Tokyo @daily", "2026-01-01T00:00:00Z"), "2026-01-01T15:00:00Z");
  // @every counts seconds, whatever the clock shows.
  EXPECT_EQ(next("@every 1h", "2026-03-29T00:30:00Z", 2, "Europe/Berlin"), "2026-03-29T01:30:00Z 2026-03-29T02:30:00Z");
}

TEST(Cron, Refused) {
  const std::pair<std::string_view, std::string_view> cases[] = {
      {"", "Empty spec string"},
      {"1 * * ", "Expected 5 to 6 fields, found 3: 1 * * "},
      {"* * * * * * *", "Expected 5 to 6 fields, found 7: * * * * * * *"},
      {" ", "Expected 5 to 6 fields, found 0:  "},
      {"60 * * * * *", "End of range (60) above maximum (59): 60"},
      {"0 0 24 * * *", "End of range (24) above maximum (23): 24"},
      {"0 0 0 0 * *", "Beginning of range (0) below minimum (1): 0"},
      {"0 0 0 32 * *", "End of range (32) above maximum (31): 32"},
      {"0 0 0 * 13 *", "End of range (13) above maximum (12): 13"},
      {"0 0 0 * * 7", "End of range (7) above maximum (6): 7"},
      {"5-3 * * * * *", "Beginning of range (5) beyond end of range (3): 5-3"},
      {"1-2-3 * * * * *", "Too many hyphens: 1-2-3"},
      {"1/2/3 * * * * *", "Too many slashes: 1/2/3"},
      {"*/0 * * * * *", "Step of range should be a positive number: */0"},
      {"*/-1 * * * * *", "Negative number (-1) not allowed: -1"},
      {"x * * * * *", "Failed to parse int from x: strconv.Atoi: parsing \"x\": invalid syntax"},
      {"-5 * * * * *", "Failed to parse int from : strconv.Atoi: parsing \"\": invalid syntax"},
      {"99999999999999999999 * * * * *",
       "Failed to parse int from 99999999999999999999: strconv.Atoi: parsing \"99999999999999999999\": invalid syntax"},
      {"jan * * * * *", "Failed to parse int from jan: strconv.Atoi: parsing \"jan\": invalid syntax"},
      {", * * * * *", "Empty field: ,"},
      {"@unknown", "Unrecognized descriptor: @unknown"},
      {"@every", "Unrecognized descriptor: @every"},
      {"@every x", "Failed to parse duration @every x: time: invalid duration \"x\""},
      {"@every 5", "Failed to parse duration @every 5: time: missing unit in duration \"5\""},
      {"@every 5y", "Failed to parse duration @every 5y: time: unknown unit in duration \"5y\""},
      {"@every -1h", "Failed to parse duration @every -1h: time: invalid duration \"-1h\""},
      {"@every 1.2.3s", "Failed to parse duration @every 1.2.3s: time: invalid duration \"1.2.3s\""},
      {"@every 9999999999h", "Failed to parse duration @every 9999999999h: time: invalid duration \"9999999999h\""},
      {"@every ", "Failed to parse duration @every : time: invalid duration \"\""},
  };
  for (const auto& [in, want] : cases) {
    auto c = Cron::parse(in);
    ASSERT_FALSE(c) << in;
    EXPECT_EQ(c.error().code, Code::invalid_argument);
    EXPECT_EQ(c.error().message, want);
  }
  EXPECT_FALSE(Cron::parse(std::string(2000, '*')));
  for (std::string_view zone :
       {"Mars/Olympus", "../../../etc/passwd", "/etc/localtime", "Europe", "tzdata.zi", "Europe//Berlin", "a b", "."}) {
    auto c = Cron::parse("@daily", zone);
    ASSERT_FALSE(c) << zone;
    EXPECT_TRUE(c.error().message.starts_with("unknown time zone ")) << c.error().message;
  }
  EXPECT_FALSE(Cron::parse("TZ=Mars/Olympus @daily"));
  EXPECT_FALSE(Cron::parse("TZ=UTC"));
}

TEST(Cron, Warnings) {
  auto warning = [](std::string_view text) { return Cron::parse(text).value().warning(); };
  EXPECT_EQ(warning("0 30 1 * * *"), "");
  EXPECT_EQ(warning("@daily"), "");
  EXPECT_EQ(warning("@every 1h"), "");
  EXPECT_EQ(warning("*/10 * * * * *"), "");
  EXPECT_EQ(warning("30 1 * * *"),
            "\"30 1 * * *\" has five fields, which are read as second, minute, hour, day of the month and month; if "
            "the first was meant to "
            "be the minute, write \"0 30 1 * * *\"");
  EXPECT_EQ(warning("*/5 * * * * *"), "\"*/5 * * * * *\" fires 12 times a minute");
  EXPECT_EQ(warning("@every 2s"), "\"@every 2s\" fires 30 times a minute");
  // Five fields: the second second of the first minute of each hour.
  EXPECT_EQ(next("30 1 * * *", "2026-01-01T00:00:00Z"), "2026-01-01T00:01:30Z");
}

TEST(Cron, FarTimes) {
  auto c = Cron::parse("* * * * * *").value();
  EXPECT_EQ(c.next(INT64_MAX), std::nullopt);
  EXPECT_TRUE(c.next(INT64_MIN));
  EXPECT_EQ(Cron::parse("@every 1h")->next(INT64_MAX), std::nullopt);
}

TEST(CronZone, Rules) {
  auto offset = [](std::string_view rule, std::string_view at) -> std::int64_t {
    auto z = TimeZone::from_rule(rule);
    return z ? (*z)->at(ms(at) / 1000).offset : -1;
  };
  EXPECT_EQ(offset("UTC0", "2026-01-01T00:00:00Z"), 0);
  EXPECT_EQ(offset("<+0330>-3:30", "2026-01-01T00:00:00Z"), 12600);
  EXPECT_EQ(offset("CET-1CEST,M3.5.0,M10.5.0/3", "2026-03-29T00:59:59Z"), 3600);
  EXPECT_EQ(offset("CET-1CEST,M3.5.0,M10.5.0/3", "2026-03-29T01:00:00Z"), 7200);
  EXPECT_EQ(offset("CET-1CEST,M3.5.0,M10.5.0/3", "2026-10-25T00:59:59Z"), 7200);
  EXPECT_EQ(offset("CET-1CEST,M3.5.0,M10.5.0/3", "2026-10-25T01:00:00Z"), 3600);
  EXPECT_EQ(offset("CET-1CEST,M3.5.0,M10.5.0/3", "2026-12-31T23:59:59Z"), 3600);
  // south of the equator
  EXPECT_EQ(offset("NZST-12NZDT,M9.5.0,M4.1.0/3", "2026-01-01T00:00:00Z"), 46800);
  EXPECT_EQ(offset("NZST-12NZDT,M9.5.0,M4.1.0/3", "2026-07-01T00:00:00Z"), 43200);
  EXPECT_EQ(offset("AAA3BBB,J60/0,300/-1:30", "2028-03-01T02:59:59Z"), -10800);
  EXPECT_EQ(offset("AAA3BBB,J60/0,300/-1:30", "2028-03-01T03:00:00Z"), -7200);
  EXPECT_EQ(offset("EST5EDT4:30,M3.2.0,M11.1.0", "2026-07-01T00:00:00Z"), -16200);
  for (std::string_view bad : {"", "AB1", "ABC", "ABC25", "ABC1DEF", "ABC1DEF,M3.5.0", "ABC1DEF,M13.5.0,M10.5.0",
                               "ABC1DEF,M3.6.0,M10.5.0", "ABC1DEF,M3.5.7,M10.5.0", "ABC1DEF,J0,J1", "ABC1DEF,366,1",
                               "ABC1DEF,M3.5.0,M10.5.0x", "<A1", "ABC1:60", "ABC1DEF,M3.5.0/168,M10.5.0"})
    EXPECT_FALSE(TimeZone::from_rule(bad)) << bad;
}

TEST(CronZone, Files) {
  auto u32 = [](std::uint32_t v) {
    std::string s(4, '\0');
    for (int i = 3; i >= 0; --i, v >>= 8) s[static_cast<std::size_t>(i)] = static_cast<char>(v);
    return s;
  };
  auto header = [&](char version, std::uint32_t changes, std::uint32_t types, std::uint32_t leaps = 0) {
    return std::string("TZif") + version + std::string(15, '\0') + u32(0) + u32(0) + u32(leaps) + u32(changes) +
           u32(types) + u32(0);
  };
  auto type = [&](std::int32_t offset) { return u32(static_cast<std::uint32_t>(offset)) + std::string(2, '\0'); };
  // Version 1: two types, changes at 1000 and 2000 seconds.
  const auto body = u32(1000) + u32(2000) + std::string("\1\0", 2) + type(-3600) + type(7200);
  auto z = TimeZone::parse(header('\0', 2, 2) + body);
  ASSERT_TRUE(z) << z.error().message;
  EXPECT_EQ((*z)->at(999).offset, -3600);
  EXPECT_EQ((*z)->at(999).until, 1000);
  EXPECT_EQ((*z)->at(1000).offset, 7200);
  EXPECT_EQ((*z)->at(1999).until, 2000);
  EXPECT_EQ((*z)->at(2000).offset, -3600);
  EXPECT_EQ((*z)->at(2000).until, INT64_MAX);
  // Version 2: the second body counts, then its rule.
  const auto empty = header('2', 0, 0);
  z = TimeZone::parse(empty + header('2', 0, 1) + type(60) + "\nABC-1\n");
  ASSERT_TRUE(z) << z.error().message;
  EXPECT_EQ((*z)->at(0).offset, 3600);
  const std::string bad[] = {
      "",
      "TZif",
      header('\0', 0, 0),
      header('\0', 2, 2) + body.substr(1),
      header('\0', 0xFFFFFFFF, 0xFFFFFFFF),
      header('\0', 2, 2) + u32(2000) + u32(1000) + std::string("\1\0", 2) + type(0) + type(0),
      header('\0', 1, 1) + u32(1000) + std::string("\1", 1) + type(0),
      header('\0', 0, 1) + type(1'000'000),
      header('\0', 0, 1, 1) + type(0) + std::string(8, '\0'),
      empty,
      empty + header('2', 0, 1) + type(0),
      empty + header('2', 0, 1) + type(0) + "\nABC\n",
  };
  for (const auto& b : bad) EXPECT_FALSE(TimeZone::parse(b)) << b.size();
}

}  // namespace
}  // namespace mr::pipelines
