// Schedules over the real store and service, with a clock that the tests move and crashes between any two steps.
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <random>
#include <set>
#include <thread>

#include "await.h"
#include "pipelines/schedules.h"
#include "temp_dir.h"
#include "time/clock.h"

namespace mr::pipelines {
namespace {

constexpr std::int64_t kMinuteMs = 60'000, kHourMs = 60 * kMinuteMs, kDayMs = 24 * kHourMs;

std::int64_t clock_at(std::string_view text) { return *time::parse_rfc3339_ns(text) / 1'000'000; }

// Runs that go on until a test ends them.
class HeldRuns final : public Runs {
 public:
  void start(const std::string& run_id) override { started.push_back(run_id); }
  task::Task<Result<>> terminate(std::string) override { co_return Result<>{}; }
  task::Task<Result<>> retry(std::string) override { co_return Result<>{}; }
  task::Task<Result<std::vector<NodeView>>> nodes(std::string) override { co_return std::vector<NodeView>{}; }
  task::Task<Result<http::Response>> log(std::string, std::string, bool) override {
    co_return fail(Code::not_found, "no log");
  }
  std::vector<std::string> started;
};

class SchedulesRestartTest : public ::testing::Test {
 protected:
  SchedulesRestartTest() { open(); }
  ~SchedulesRestartTest() override { close(); }

  void open() {
    auto s = Store::open(dir.file("pipelines.db"));
    if (!s) std::abort();
    store = std::move(*s);
    ServiceOptions options;
    options.now_ms = [this] { return now.load(); };
    service = std::make_unique<Service>(*store, runs, options);
    schedules = std::make_unique<Schedules>(*service, options.now_ms, "Europe/Berlin");
  }
  void close() {
    schedules.reset();
    service.reset();
    if (store) store->stop();
    store.reset();
  }
  void crash() {
    close();
    open();
  }
  template <class T>
  T wait(task::Task<T> t) {
    return mr::testing::await_on(loops, std::move(t));
  }

  static Value spec(std::string_view name = "scheduled") {
    auto step = Object{{"executorLabel", "exec-step"}};
    auto task = Object{{"componentRef", Object{{"name", "comp-step"}}}};
    auto inputs = Object{{"parameters", Object{{"text", Object{{"parameterType", "STRING"}, {"isOptional", true}}}}}};
    auto container = Object{{"image", "busybox"}, {"command", Array{"true"}}};
    return Object{{"pipelineInfo", Object{{"name", name}}},
                  {"schemaVersion", "2.1.0"},
                  {"root", Object{{"inputDefinitions", inputs}, {"dag", Object{{"tasks", Object{{"step", task}}}}}}},
                  {"components", Object{{"comp-step", step}}},
                  {"deploymentSpec", Object{{"executors", Object{{"exec-step", Object{{"container", container}}}}}}}};
  }
  RecurringRun make(RecurringRun r) {
    r.ns = "kubeflow";
    r.experiment_id = wait(store->default_experiment("kubeflow")).value().id;
    r.created_ms = r.updated_ms = now;
    if (r.pipeline_id.empty()) r.spec = spec();
    auto made = wait(store->create_recurring(std::move(r))).value();
    schedules->changed();
    return made;
  }
  static RecurringRun hourly(std::string name) {
    RecurringRun r;
    r.name = std::move(name);
    r.kind = TriggerKind::cron;
    r.cron = "0 0 * * * *";
    return r;
  }
  std::optional<std::int64_t> step() { return wait(schedules->step()); }
  // Ends what was started; answers how many there were.
  std::size_t finish_all() {
    auto ids = std::exchange(runs.started, {});
    for (const auto& id : ids)
      EXPECT_TRUE(wait(store->append(id, {}, State::succeeded, now, std::nullopt, {{now, State::succeeded, {}}})));
    return ids.size();
  }
  std::vector<pipelines::Run> made() {
    ListQuery q;
    q.page_size = 200;
    std::vector<pipelines::Run> out;
    do {
      auto page = store->runs(q);
      EXPECT_TRUE(page) << page.error().message;
      std::ranges::move(page->items, std::back_inserter(out));
      q.page_token = page->next_token;
    } while (!q.page_token.empty());
    std::ranges::sort(out, {}, [](const pipelines::Run& r) { return std::pair(r.scheduled_ms, r.name); });
    return out;
  }
  // Moves the clock to `until`, looking as often as the schedules themselves ask for, at least hourly.
  void live(std::int64_t until, std::int64_t most = kHourMs) {
    while (now < until) {
      step();
      finish_all();
      now = std::min(until, now + most);
    }
    step();
    finish_all();
  }

  mr::testing::TempDir dir;
  task::Loops loops{1};
  std::atomic<std::int64_t> now = clock_at("2026-03-27T00:10:00Z");
  HeldRuns runs;
  std::unique_ptr<Store> store;
  std::unique_ptr<Service> service;
  std::unique_ptr<Schedules> schedules;
};

TEST_F(SchedulesRestartTest, AWeekWithCrashesBetweenAnyTwoStepsMakesEachTimeOnce) {
  make(hourly("hours"));
  auto night = hourly("night [[Index]]");
  night.cron = "0 30 2 * * *";  // the clock of Berlin jumps over it on the 29th
  make(night);
  auto periodic = hourly("periodic");
  periodic.kind = TriggerKind::periodic;
  periodic.cron.clear();
  periodic.interval_s = 7200;
  make(periodic);
  std::mt19937 random(7);  // NOLINT(cert-msc51-cpp): the same week each time
  const auto end = now + 7 * kDayMs;
  while (now < end) {
    step();
    if (random() % 3 == 0) crash();
    finish_all();
    if (random() % 3 == 0) crash();
    now += static_cast<std::int64_t>(random() % 90) * kMinuteMs;
  }
  now = end;
  for (int i = 0; i < 200; ++i) {  // catches up with what max_concurrency held back
    step();
    finish_all();
  }
  std::map<std::string, std::vector<std::int64_t>> times;
  std::set<std::string> names;
  for (const auto& r : made()) {
    times[r.name.substr(0, 5)].push_back(r.scheduled_ms);
    EXPECT_TRUE(names.insert(r.name).second) << r.name;
  }
  ASSERT_EQ(times["hours"].size(), 168U);
  for (std::size_t i = 0; i < 168; ++i)
    EXPECT_EQ(times["hours"][i], clock_at("2026-03-27T01:00:00Z") + static_cast<std::int64_t>(i) * kHourMs);
  EXPECT_EQ(times["perio"].size(), 84U);
  EXPECT_EQ(times["night"].size(), 6U);
  EXPECT_TRUE(names.contains("night 2-20260328013000"));
  EXPECT_TRUE(names.contains("night 3-20260330003000"));
  EXPECT_TRUE(names.contains("night 6-20260402003000"));
}

TEST_F(SchedulesRestartTest, CatchingUpAfterALongStopAndNotCatchingUp) {
  auto all = hourly("all");
  all.max_concurrency = 10;
  make(all);
  auto latest = hourly("latest");
  latest.no_catchup = true;
  make(latest);
  close();
  now += 2 * kDayMs;
  open();
  step();
  EXPECT_EQ(made().size(), 11U);
  for (int i = 0; i < 10; ++i) {
    finish_all();
    step();
  }
  std::map<std::string, int> of;
  for (const auto& r : made()) ++of[r.name.substr(0, 3)];
  EXPECT_EQ(of["all"], 48);
  EXPECT_EQ(of["lat"], 1);
}

TEST_F(SchedulesRestartTest, NeverMoreAtOnceThanMaxConcurrency) {
  auto r = hourly("two");
  r.max_concurrency = 2;
  const auto id = make(r).id;
  now += 5 * kHourMs;
  for (int i = 0; i < 5; ++i) {
    step();
    EXPECT_LE(store->active_runs_of(id).value(), 2);
    if (i == 2) crash();
  }
  EXPECT_EQ(made().size(), 2U);
  finish_all();
  step();
  EXPECT_EQ(made().size(), 4U);
}

TEST_F(SchedulesRestartTest, EnablingAfterALongPauseReplaysNothing) {
  auto r = hourly("paused");
  r.max_concurrency = 10;
  const auto id = make(r).id;
  live(now + 3 * kHourMs);
  EXPECT_EQ(made().size(), 3U);
  ASSERT_TRUE(wait(store->set_recurring_enabled(id, false, now)));
  schedules->changed();
  live(now + 30 * kDayMs, kDayMs);
  EXPECT_EQ(made().size(), 3U);
  ASSERT_TRUE(wait(store->set_recurring_enabled(id, true, now)));
  schedules->changed();
  step();
  EXPECT_EQ(made().size(), 3U);
  crash();
  live(now + kHourMs);
  const auto runs_made = made();
  ASSERT_EQ(runs_made.size(), 4U);
  EXPECT_EQ(runs_made.back().scheduled_ms, clock_at("2026-04-26T04:00:00Z"));
}

TEST_F(SchedulesRestartTest, WhatCannotBeMadeIsSaidAndStopsNoOther) {
  auto gone = hourly("gone");
  gone.pipeline_id = "no-such-pipeline";
  const auto gone_id = make(gone).id;
  auto unfit = hourly("unfit");
  unfit.parameters = Object{{"no_such_input", "x"}};
  const auto unfit_id = make(unfit).id;
  const auto good_id = make(hourly("good")).id;
  live(now + 2 * kHourMs);
  EXPECT_EQ(made().size(), 2U);
  EXPECT_TRUE(schedules->error(gone_id));
  ASSERT_TRUE(schedules->error(unfit_id));
  EXPECT_NE(schedules->error(unfit_id)->message.find("no_such_input"), std::string::npos);
  EXPECT_FALSE(schedules->error(good_id));
  ASSERT_TRUE(wait(store->delete_recurring(gone_id)));
  schedules->changed();
  step();
  EXPECT_FALSE(schedules->error(gone_id));
}

TEST_F(SchedulesRestartTest, APipelineWithoutAVersionMeansTheLatestAtEachTime) {
  Pipeline p;
  p.name = "moving";
  p.ns = "kubeflow";
  Version first;
  first.name = "v1";
  first.spec = spec("first");
  first.created_ms = now;
  p.created_ms = now;
  const auto pipeline = wait(store->create_pipeline(p, first)).value();
  auto r = hourly("moving");
  r.pipeline_id = pipeline.id;
  r.parameters = Object{{"text", "[[ScheduledTime.15:04]]"}};
  make(r);
  live(now + kHourMs);
  Version second = first;
  second.id.clear();
  second.pipeline_id = pipeline.id;
  second.name = "v2";
  second.spec = spec("second");
  second.created_ms = now;
  ASSERT_TRUE(wait(store->create_version(second)));
  live(now + kHourMs);
  const auto all = made();
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0].pipeline_name, "first");
  EXPECT_EQ(all[1].pipeline_name, "second");
  EXPECT_NE(all[0].version_id, all[1].version_id);
  EXPECT_EQ(store->run(all[1].id)->parameters, (Object{{"text", "02:00"}}));
}

TEST_F(SchedulesRestartTest, TheLoopWakesForChangesAndStops) {
  auto r = hourly("every second");
  r.cron = "* * * * * *";
  make(r);
  now += 1500;
  schedules->start(loops.at(0));
  schedules->changed();
  while (made().empty()) std::this_thread::yield();
  schedules->stop();
  EXPECT_EQ(made().size(), 1U);
}

}  // namespace
}  // namespace mr::pipelines
