// Requests that wait for pods which come with demand.
#include "services/demand.h"

#include <future>

#include "task/loop.h"

namespace mr::services {
namespace {

using Verdict = Meter::Verdict;

struct Waiting {
  explicit Waiting(task::Loops& loops, std::shared_ptr<Meter> m, long ms = 60'000, bool held = false) {
    loops.at(0).post([this, m, ms, held] { task::detach(run(*this, m, ms, held)); });
  }
  static task::Task<void> run(Waiting& w, std::shared_ptr<Meter> m, long ms, bool held) {
    w.verdict.set_value(co_await m->wait(m->turn(), ms, held));
  }
  Verdict get() { return verdict.get_future().get(); }
  std::promise<Verdict> verdict;
};

void until_waiting(const Meter& m, std::size_t n) {
  while (m.sample().waiting != n) std::this_thread::yield();
}

TEST(Meter, CountsWhatIsUnderWay) {
  auto m = std::make_shared<Meter>(nullptr);
  EXPECT_TRUE(m->close());
  m->open();
  {
    Meter::Ticket a(m);
    Meter::Ticket b(m);
    EXPECT_EQ(m->active(), 2U);
    EXPECT_FALSE(m->close());
    auto moved = std::move(b);
    EXPECT_EQ(m->active(), 2U);
  }
  auto s = m->sample();
  EXPECT_EQ(s.active, 0U);
  EXPECT_EQ(s.requests, 2U);
  EXPECT_GT(s.busy_s, 0);
  EXPECT_TRUE(m->close());
  EXPECT_TRUE(m->closed());
  Meter::Ticket nobody(nullptr);
}

TEST(Meter, WaitersLookAgainWhenSomethingChanges) {
  task::Loops loops(1);
  std::atomic<int> asked = 0;
  auto m = std::make_shared<Meter>([&] { ++asked; }, 2);
  ASSERT_TRUE(m->close());
  Waiting one(loops, m);
  Waiting two(loops, m);
  until_waiting(*m, 2);
  EXPECT_EQ(Waiting(loops, m).get(), Verdict::full);
  Waiting again(loops, m, 60'000, true);  // it has waited before
  until_waiting(*m, 3);
  EXPECT_EQ(asked, 2);
  m->open();
  EXPECT_EQ(one.get(), Verdict::again);
  EXPECT_EQ(two.get(), Verdict::again);
  EXPECT_EQ(again.get(), Verdict::again);
  EXPECT_EQ(m->sample().waiting, 0U);
  EXPECT_EQ(Waiting(loops, m, 1).get(), Verdict::late);
  EXPECT_EQ(m->sample().waiting, 0U);
}

TEST(Meter, AChangeBetweenLookingAndWaitingIsSeen) {
  task::Loops loops(1);
  auto m = std::make_shared<Meter>(nullptr);
  auto turn = m->turn();
  m->wake();
  std::promise<Verdict> got;
  loops.at(0).post([&] {
    task::detach([](std::shared_ptr<Meter> meter, std::uint64_t seen, std::promise<Verdict>& out) -> task::Task<void> {
      out.set_value(co_await meter->wait(seen, 60'000, false));
    }(m, turn, got));
  });
  EXPECT_EQ(got.get_future().get(), Verdict::again);
}

TEST(Meter, AnEndFreesOnePlaceOfALimitedPod) {
  task::Loops loops(1);
  auto m = std::make_shared<Meter>(nullptr);
  m->limit = 1;
  auto ticket = std::make_unique<Meter::Ticket>(m);
  Waiting one(loops, m);
  until_waiting(*m, 1);
  Waiting two(loops, m);
  until_waiting(*m, 2);
  ticket.reset();
  EXPECT_EQ(one.get(), Verdict::again);
  EXPECT_EQ(m->sample().waiting, 1U);
  m->fail("no pod comes");
  EXPECT_EQ(two.get(), Verdict::failed);
  EXPECT_EQ(m->failure(), "no pod comes");
  EXPECT_EQ(Waiting(loops, m).get(), Verdict::failed);
  m->forgive();
  EXPECT_EQ(Waiting(loops, m, 1).get(), Verdict::late);
}

TEST(Demand, FindsWhatIsKept) {
  Demand d;
  EXPECT_EQ(d.find("a", "b"), nullptr);
  auto m = d.keep({"a", "b"}, nullptr);
  EXPECT_EQ(d.keep({"a", "b"}, nullptr), m);
  EXPECT_EQ(d.find("a", "b"), m);
  d.drop({"a", "b"});
  EXPECT_EQ(d.find("a", "b"), nullptr);
  EXPECT_NE(m->failure(), "");
  m->forgive();
  EXPECT_NE(m->failure(), "");
}

}  // namespace
}  // namespace mr::services
