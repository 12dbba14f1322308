#include "pipelines/schedules.h"

#include <set>

#include "await.h"
#include "temp_dir.h"
#include "time/clock.h"

namespace mr::pipelines {
namespace {

constexpr std::int64_t kSecond = 1000, kMinute = 60 * kSecond, kHour = 60 * kMinute, kDay = 24 * kHour;

std::int64_t at(std::string_view text) { return *time::parse_rfc3339_ns(text) / 1'000'000; }
std::string shown(std::int64_t ms) { return format_go_time(ms, "2006-01-02T15:04:05Z"); }

RecurringRun cron(std::string text, std::string_view created = "2026-03-01T00:00:00Z") {
  RecurringRun r;
  r.id = r.name = "nightly";
  r.kind = TriggerKind::cron;
  r.cron = std::move(text);
  r.created_ms = r.updated_ms = at(created);
  return r;
}
RecurringRun every(std::int64_t seconds, std::string_view created = "2026-03-01T00:00:00Z") {
  auto r = cron("", created);
  r.kind = TriggerKind::periodic;
  r.interval_s = seconds;
  return r;
}

// The times that a schedule gets while the clock goes from its creation to `until` in steps, nothing running meanwhile.
std::vector<std::string> fired(RecurringRun r, std::string_view until, std::int64_t step = kMinute,
                               std::string_view zone = "UTC") {
  std::vector<std::string> out;
  for (auto now = r.created_ms; now <= at(until); now += step) {
    auto owed = due(r, now, 0, zone);
    EXPECT_TRUE(owed) << owed.error().message;
    for (const auto& d : owed.value_or(std::vector<Due>{})) {
      out.push_back(shown(d.scheduled_ms));
      EXPECT_EQ(d.index, r.next_index);
      r.last_ms = d.scheduled_ms;
      r.next_index = d.index + 1;
    }
  }
  return out;
}
using Times = std::vector<std::string>;

TEST(Schedules, AWeekOfHoursFiresEachHourOnce) {
  const auto times = fired(cron("0 0 * * * *"), "2026-03-08T00:00:00Z", 7 * kMinute + 13 * kSecond);
  ASSERT_EQ(times.size(), 167U);  // the last one is seen by no step
  EXPECT_EQ(times.front(), "2026-03-01T01:00:00Z");
  EXPECT_EQ(std::set(times.begin(), times.end()).size(), times.size());
}

TEST(Schedules, CronFollowsTheZonesClockWhenItChanges) {
  // In Berlin 02:30 is not shown on 29 March 2026 and shown twice on 25 October.
  EXPECT_EQ(fired(cron("0 30 2 * * *", "2026-03-27T12:00:00Z"), "2026-03-31T12:00:00Z", kMinute, "Europe/Berlin"),
            (Times{"2026-03-28T01:30:00Z", "2026-03-30T00:30:00Z", "2026-03-31T00:30:00Z"}));
  EXPECT_EQ(fired(cron("0 30 2 * * *", "2026-10-23T12:00:00Z"), "2026-10-26T12:00:00Z", kMinute, "Europe/Berlin"),
            (Times{"2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-26T01:30:00Z"}));
}

TEST(Schedules, PeriodicTimesCountFromCreationOrAStart) {
  EXPECT_EQ(fired(every(1800), "2026-03-01T01:59:00Z"),
            (Times{"2026-03-01T00:30:00Z", "2026-03-01T01:00:00Z", "2026-03-01T01:30:00Z"}));
  auto later = every(3600);
  later.start_ms = at("2026-03-01T04:20:00Z");
  later.end_ms = at("2026-03-01T06:20:00Z");
  EXPECT_EQ(fired(later, "2026-03-02T00:00:00Z"),
            (Times{"2026-03-01T04:20:00Z", "2026-03-01T05:20:00Z", "2026-03-01T06:20:00Z"}));
}

TEST(Schedules, TheTimesToComeAreTold) {
  auto told = [](const RecurringRun& r, std::string_view now, std::size_t most) {
    std::vector<std::string> out;
    for (auto t : next_times(r, at(now), "UTC", most).value_or(std::vector<std::int64_t>{})) out.push_back(shown(t));
    return out;
  };
  EXPECT_EQ(told(cron("0 30 1 * * *"), "2026-03-05T02:00:00Z", 2),
            (Times{"2026-03-06T01:30:00Z", "2026-03-07T01:30:00Z"}));
  auto r = every(3600);
  r.last_ms = at("2026-03-01T07:00:00Z");
  r.end_ms = at("2026-03-01T09:30:00Z");
  EXPECT_EQ(told(r, "2026-03-01T07:10:00Z", 5), (Times{"2026-03-01T08:00:00Z", "2026-03-01T09:00:00Z"}));
  EXPECT_FALSE(next_times(cron("no cron"), at("2026-03-05T02:00:00Z"), "UTC", 2));
}

TEST(Schedules, StartAndEndBoundACronSchedule) {
  auto r = cron("0 0 12 * * *");
  r.start_ms = at("2026-03-03T12:00:00Z");
  r.end_ms = at("2026-03-05T11:59:59Z");
  EXPECT_EQ(fired(r, "2026-03-10T00:00:00Z", kHour), (Times{"2026-03-03T12:00:00Z", "2026-03-04T12:00:00Z"}));
  r.last_ms = at("2026-03-04T12:00:00Z");
  EXPECT_EQ(next_time(r, "UTC").value(), std::nullopt);
}

TEST(Schedules, AStartInThePastIsCaughtUpWithOnlyWhenAsked) {
  auto r = cron("0 0 12 * * *", "2026-03-10T13:00:00Z");
  r.start_ms = at("2026-03-08T00:00:00Z");
  EXPECT_EQ(fired(r, "2026-03-11T00:00:00Z"),
            (Times{"2026-03-08T12:00:00Z", "2026-03-09T12:00:00Z", "2026-03-10T12:00:00Z"}));
  r.no_catchup = true;
  EXPECT_EQ(fired(r, "2026-03-11T00:00:00Z"), (Times{"2026-03-10T12:00:00Z"}));
}

TEST(Schedules, CatchingUpMakesEveryMissedTimeInOrderAndOthersTheLatestAlone) {
  auto r = cron("0 0 * * * *");
  r.max_concurrency = 3;
  const auto now = at("2026-03-01T05:10:00Z");
  auto owed = due(r, now, 0, "UTC").value();
  ASSERT_EQ(owed.size(), 3U);
  EXPECT_EQ(shown(owed[0].scheduled_ms), "2026-03-01T01:00:00Z");
  EXPECT_EQ(shown(owed[2].scheduled_ms), "2026-03-01T03:00:00Z");
  EXPECT_EQ(owed[2].index, 3);
  r.no_catchup = true;
  owed = due(r, now, 0, "UTC").value();
  ASSERT_EQ(owed.size(), 1U);
  EXPECT_EQ(shown(owed[0].scheduled_ms), "2026-03-01T05:00:00Z");
  EXPECT_EQ(owed[0].index, 1);
}

TEST(Schedules, TheLatestOfAYearOfSecondsIsFoundAtOnce) {
  auto r = cron("* * * * * *", "2025-03-01T00:00:00Z");
  r.no_catchup = true;
  EXPECT_EQ(shown(due(r, at("2026-03-01T00:00:00.7Z"), 0, "UTC").value().at(0).scheduled_ms), "2026-03-01T00:00:00Z");
  auto p = every(1, "2025-03-01T00:00:00Z");
  p.no_catchup = true;
  EXPECT_EQ(shown(due(p, at("2026-03-01T00:00:00.7Z"), 0, "UTC").value().at(0).scheduled_ms), "2026-03-01T00:00:00Z");
}

TEST(Schedules, NeverMoreThanMaxConcurrencyBesideWhatRuns) {
  auto r = every(60);
  r.max_concurrency = 2;
  const auto now = r.created_ms + kHour;
  EXPECT_EQ(due(r, now, 0, "UTC").value().size(), 2U);
  EXPECT_EQ(due(r, now, 1, "UTC").value().size(), 1U);
  EXPECT_EQ(due(r, now, 2, "UTC").value().size(), 0U);
  EXPECT_EQ(due(r, now, 7, "UTC").value().size(), 0U);
  r.max_concurrency = 0;  // as one
  EXPECT_EQ(due(r, now, 0, "UTC").value().size(), 1U);
  r.max_concurrency = 1000;  // as ten
  EXPECT_EQ(due(r, now, 0, "UTC").value().size(), 10U);
}

TEST(Schedules, WhatWasMissedWhileDisabledIsNotMadeUpFor) {
  for (auto r : {cron("0 0 * * * *"), every(3600)}) {
    r.max_concurrency = 10;
    r.last_ms = r.created_ms + 2 * kHour;
    r.enabled = false;
    EXPECT_TRUE(due(r, r.created_ms + 30 * kDay, 0, "UTC").value().empty());
    r.enabled = true;
    r.updated_ms = r.created_ms + 30 * kDay + 10 * kMinute;  // what enabling writes
    EXPECT_TRUE(due(r, r.updated_ms, 0, "UTC").value().empty());
    EXPECT_EQ(shown(next_time(r, "UTC").value().value()), "2026-03-31T01:00:00Z");
    EXPECT_EQ(due(r, r.updated_ms + kHour, 0, "UTC").value().size(), 1U);
  }
}

TEST(Schedules, AScheduleWithoutATriggerRunsOnce) {
  auto r = cron("");
  r.kind = TriggerKind::none;
  EXPECT_EQ(due(r, r.created_ms, 0, "UTC").value().size(), 1U);
  r.last_ms = r.created_ms;
  EXPECT_TRUE(due(r, r.created_ms + kDay, 0, "UTC").value().empty());
}

TEST(Schedules, ATextThatIsNoScheduleIsAnError) {
  EXPECT_FALSE(due(cron("not a cron"), at("2026-04-01T00:00:00Z"), 0, "UTC"));
  EXPECT_FALSE(next_time(cron("0 0 * * * *"), "Nowhere/City"));
  EXPECT_EQ(next_time(cron("0 0 0 30 2 *"), "UTC").value(), std::nullopt);
}

TEST(Schedules, MacrosTakeGoLayouts) {
  const MacroValues m{.scheduled_ms = at("2026-03-05T07:08:09Z"),
                      .current_ms = at("2026-11-25T19:00:01.250Z"),
                      .index = 7,
                      .run_id = "id"};
  EXPECT_EQ(expand_macros("a [[ScheduledTime]] [[CurrentTime]] [[Index]] [[RunUUID]]", m),
            "a 20260305070809 20261125190001 7 id");
  EXPECT_EQ(expand_macros("[[ScheduledTime.15-04-05]]", m), "07-08-09");
  EXPECT_EQ(expand_macros("[[CurrentTime.Mon Jan _2 3:04:05.000 PM 2006]]", m), "Wed Nov 25 7:00:01.250 PM 2026");
  EXPECT_EQ(expand_macros("[[CurrentTime.January Monday 01/02/06 Z07:00 -0700 MST]]", m),
            "November Wednesday 11/25/26 Z +0000 UTC");
  EXPECT_EQ(expand_macros("[[ScheduledTime._2006_2|002|.999]]", m), "_2026 5|064|");
  EXPECT_EQ(expand_macros("[[Other]] [[Index [[[[Index]]", m), "[[Other]] [[Index [[7");
  EXPECT_EQ(expand_macros("[[]] ]] [[", m), "[[]] ]] [[");
}

TEST(Schedules, ARunIsNamedByItsTimeAndItsParametersAreExpanded) {
  auto r = cron("0 0 * * * *");
  r.parameters = Object{{"day", "[[ScheduledTime.2006-01-02]]"}, {"n", 3}, {"deep", Object{{"l", Array{"[[Index]]"}}}}};
  const auto run = scheduled_run(r, {at("2026-03-05T07:00:00Z"), 4}, at("2026-03-05T07:00:02Z"), "some-id");
  EXPECT_EQ(run.name, "nightly-20260305070000");
  EXPECT_EQ(run.recurring_run_id, "nightly");
  EXPECT_EQ(run.scheduled_ms, at("2026-03-05T07:00:00Z"));
  EXPECT_EQ(run.parameters, (Object{{"day", "2026-03-05"}, {"n", 3}, {"deep", Object{{"l", Array{"4"}}}}}));
}

}  // namespace
}  // namespace mr::pipelines
