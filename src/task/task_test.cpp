#include "task/task.h"

#include "await.h"
#include "task/loop.h"
#include "task/pool.h"

namespace mr::task {
namespace {

Task<int> value(int v) { co_return v; }
Task<int> sum(int n) {
  int total = 0;
  for (int i = 0; i < n; ++i) total += co_await value(i);
  co_return total;
}
Task<int> deep(int n) {
  if (n == 0) co_return 0;
  co_return 1 + co_await deep(n - 1);
}

TEST(Task, StartsWhenAwaitedAndGivesItsValue) {
  bool started = false;
  auto t = [](bool& s) -> Task<int> {
    s = true;
    co_return 7;
  }(started);
  EXPECT_FALSE(started);
  EXPECT_EQ(testing::run_now(std::move(t)), 7);
  EXPECT_TRUE(started);
}

TEST(Task, NestsWithoutGrowingTheStack) {
  EXPECT_EQ(testing::run_now(sum(60000)), 1799970000);
  EXPECT_EQ(testing::run_now(deep(1000)), 1000);
}

TEST(Task, DestroysItsFrameOnce) {
  auto alive = std::make_shared<int>(1);
  std::weak_ptr<int> watch = alive;
  {
    auto never_run = [](std::shared_ptr<int> p) -> Task<int> { co_return *p; }(std::move(alive));
    auto moved = std::move(never_run);
    EXPECT_FALSE(watch.expired());
  }
  EXPECT_TRUE(watch.expired());
}

TEST(Loop, ComesBackToItsThreadAfterThePool) {
  Loops loops(2);
  Pool pool("test", 2, 100);
  auto moved_only = testing::await_on(loops, [](Pool& p) -> Task<bool> {
    auto* home = Loop::current();
    auto here = std::this_thread::get_id();
    auto there = co_await run_on(p, [] { return std::this_thread::get_id(); });
    co_return home != nullptr&& Loop::current() == home&& std::this_thread::get_id() == here&& there && *there != here;
  }(pool));
  EXPECT_TRUE(moved_only);
}

TEST(Loop, SleepsInOrder) {
  Loops loops(1);
  std::vector<int> order;
  std::promise<void> done;
  loops.at(0).post([&] {
    for (int ms : {30, 10, 20})
      detach([](int m, std::vector<int>& o, std::promise<void>& d) -> Task<void> {
        co_await sleep_ms(m);
        o.push_back(m);
        if (o.size() == 3) d.set_value();
      }(ms, order, done));
  });
  done.get_future().wait();
  EXPECT_EQ(order, (std::vector<int>{10, 20, 30}));
}

TEST(Pool, RunsEverythingBeforeItStops) {
  std::atomic<int> ran = 0;
  Pool pool("test", 3, 1000);
  for (int i = 0; i < 500; ++i) ASSERT_TRUE(pool.submit([&] { ++ran; }));
  pool.stop();
  EXPECT_EQ(ran, 500);
  EXPECT_FALSE(pool.submit([&] { ++ran; }));
  EXPECT_EQ(ran, 500);
}

TEST(Pool, RefusesWhenItsQueueIsFull) {
  Loops loops(1);
  Pool pool("test", 1, 2);
  std::promise<void> gate;
  auto open = gate.get_future().share();
  std::promise<void> busy;
  ASSERT_TRUE(pool.submit([&, open] {
    busy.set_value();
    open.wait();
  }));
  busy.get_future().wait();
  EXPECT_TRUE(pool.submit([] {}));
  EXPECT_TRUE(pool.submit([] {}));
  EXPECT_FALSE(pool.submit([] {}));
  // The coroutine form says so instead of waiting.
  EXPECT_FALSE(testing::await_on(loops, run_on(pool, [] { return 1; })));
  gate.set_value();
  pool.stop();
}

}  // namespace
}  // namespace mr::task
