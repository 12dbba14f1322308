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

task::Task<void> enter(ModelTraffic& t, std::promise<Entry>& out, long timeout_ms) {
  out.set_value(co_await t.enter(timeout_ms));
}

std::future<Entry> asked(OneLoop& l, ModelTraffic& t, std::promise<Entry>& p, long timeout_ms = 0) {
  l.on([&] {
    task::detach(enter(t, p, timeout_ms));
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
  auto late = asked(l, t, b, 1);
  EXPECT_EQ(late.get(), Entry::late);
  auto next = asked(l, t, c);
  t.leave();
  EXPECT_EQ(next.get(), Entry::in);
  t.leave();
  EXPECT_EQ(t.running(), 0U);
}

}  // namespace
}  // namespace mr::serving
