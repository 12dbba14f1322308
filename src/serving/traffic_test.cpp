// Places of a model: given at once, waited for, refused when too many wait, given up after a time.
#include "serving/traffic.h"

#include <future>

#include "task/loop.h"

namespace mr::serving {
namespace {

using Entry = ModelTraffic::Entry;

struct OneLoop {
  task::Loops loops{1};
  // Runs fn on the loop and waits for its answer.
  template <class F>
  auto on(F fn) {
    std::promise<decltype(fn())> p;
    auto f = p.get_future();
    loops.at(0).post([&] { p.set_value(fn()); });
    return f.get();
  }
};

task::Task<void> enter(ModelTraffic& t, std::promise<Entry>& out, Order order) {
  out.set_value(t.try_enter() ? Entry::in : co_await t.enter(order));
}

std::future<Entry> asked(OneLoop& l, ModelTraffic& t, std::promise<Entry>& p, Order order = {}) {
  l.on([&] {
    task::detach(enter(t, p, order));
    return true;
  });
  return p.get_future();
}

TEST(ModelTraffic, WithoutALimitAllEnter) {
  OneLoop l;
  ModelTraffic t;
  std::promise<Entry> a, b;
  EXPECT_EQ(asked(l, t, a).get(), Entry::in);
  EXPECT_EQ(asked(l, t, b).get(), Entry::in);
  EXPECT_EQ(t.running(), 2U);
  t.leave();
  t.leave();
  EXPECT_EQ(t.running(), 0U);
}

TEST(ModelTraffic, OneComputesOneWaitsOneIsRefused) {
  OneLoop l;
  ModelTraffic t({.concurrency = 1, .queue = 1, .timeout_ms = 60'000});
  std::promise<Entry> a, b, c;
  EXPECT_EQ(asked(l, t, a).get(), Entry::in);
  auto second = asked(l, t, b);
  EXPECT_EQ(asked(l, t, c).get(), Entry::full);
  EXPECT_EQ(second.wait_for(std::chrono::seconds(0)), std::future_status::timeout);
  t.leave();
  EXPECT_EQ(second.get(), Entry::in);
  EXPECT_EQ(t.snapshot().waited, 1U);
  t.leave();
  EXPECT_EQ(t.running(), 0U);
}

TEST(ModelTraffic, WhoWaitsTooLongGivesUpItsTurn) {
  OneLoop l;
  ModelTraffic t({.concurrency = 1, .queue = 5, .timeout_ms = 60'000});
  std::promise<Entry> a, b, c;
  EXPECT_EQ(asked(l, t, a).get(), Entry::in);
  auto late = asked(l, t, b, {.timeout_ms = 1});
  EXPECT_EQ(late.get(), Entry::late);
  auto next = asked(l, t, c);
  t.leave();
  EXPECT_EQ(next.get(), Entry::in);
  t.leave();
  EXPECT_EQ(t.running(), 0U);
}

TEST(ModelTraffic, TheUrgentGoFirstAndEqualsInTheirOrder) {
  OneLoop l;
  ModelTraffic t({.concurrency = 1, .queue = 10, .timeout_ms = 60'000});
  std::promise<Entry> busy;
  EXPECT_EQ(asked(l, t, busy).get(), Entry::in);
  // Priorities in the order of coming, and the order in which they get the place.
  const std::vector<int> priorities{8, 0, 4, 1, 2, 1};
  const std::vector<std::size_t> turns{3, 5, 4, 1, 2, 0};
  std::vector<std::promise<Entry>> p(priorities.size());
  std::vector<std::future<Entry>> f;
  for (std::size_t i = 0; i < p.size(); ++i) f.push_back(asked(l, t, p[i], {.priority = priorities[i]}));
  for (std::size_t turn = 0; turn < turns.size(); ++turn) {
    t.leave();
    EXPECT_EQ(f[turns[turn]].get(), Entry::in);
    for (std::size_t later = turn + 1; later < turns.size(); ++later)
      EXPECT_EQ(f[turns[later]].wait_for(std::chrono::seconds(0)), std::future_status::timeout);
  }
  t.leave();
  EXPECT_EQ(t.running(), 0U);
}

TEST(ModelTraffic, AFullQueueMakesRoomForTheMoreUrgentOnly) {
  OneLoop l;
  ModelTraffic t({.concurrency = 1, .queue = 2, .timeout_ms = 60'000});
  std::promise<Entry> busy, a, b, c, d, e;
  EXPECT_EQ(asked(l, t, busy).get(), Entry::in);
  auto first = asked(l, t, a, {.priority = 5});
  auto last = asked(l, t, b, {.priority = 5});
  EXPECT_EQ(asked(l, t, c, {.priority = 5}).get(), Entry::full);
  EXPECT_EQ(asked(l, t, d, {.priority = 8}).get(), Entry::full);
  auto urgent = asked(l, t, e, {.priority = 1});
  EXPECT_EQ(last.get(), Entry::full);  // the last of the least urgent
  t.leave();
  EXPECT_EQ(urgent.get(), Entry::in);
  t.leave();
  EXPECT_EQ(first.get(), Entry::in);
  t.leave();
  EXPECT_EQ(t.running(), 0U);
}

TEST(ModelTraffic, WhoGaveUpLeavesNothingInTheQueue) {
  OneLoop l;
  ModelTraffic t({.concurrency = 1, .queue = 1, .timeout_ms = 60'000});
  std::promise<Entry> busy;
  EXPECT_EQ(asked(l, t, busy).get(), Entry::in);
  for (int i = 0; i < 3; ++i) {  // the one place in the queue is free each time
    std::promise<Entry> p;
    EXPECT_EQ(asked(l, t, p, {.priority = 8, .timeout_ms = 1}).get(), Entry::late);
  }
  // A request's own time shortens the model's and never lengthens it.
  ModelTraffic quick({.concurrency = 1, .queue = 1, .timeout_ms = 1});
  std::promise<Entry> x, y;
  EXPECT_EQ(asked(l, quick, x).get(), Entry::in);
  EXPECT_EQ(asked(l, quick, y, {.timeout_ms = 3'600'000}).get(), Entry::late);
  quick.leave();
  t.leave();
}

}  // namespace
}  // namespace mr::serving
