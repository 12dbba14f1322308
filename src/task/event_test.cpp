#include "task/event.h"

#include "await.h"

namespace mr::task {
namespace {

using testing::await_on;

TEST(Event, RemembersOneSet) {
  Loops loops(1);
  auto t = []() -> Task<int> {
    Event e;
    int n = 0;
    e.set();
    e.set();
    co_await e.wait();  // at once
    Group g;
    g.spawn([](Event& ev, int& count) -> Task<void> {
      co_await ev.wait();
      ++count;
    }(e, n));
    co_await sleep_ms(1);
    if (n != 0) co_return -1;  // the second set was not a second event
    e.set();
    co_await g.join();
    co_return n;
  };
  EXPECT_EQ(await_on(loops, t()), 1);
}

TEST(Mutex, LetsInOneAtATimeInOrder) {
  Loops loops(1);
  auto t = []() -> Task<std::string> {
    Mutex m;
    Group g;
    std::string seen;
    for (char c : std::string_view("abcde"))
      g.spawn([](Mutex& mutex, std::string& out, char name) -> Task<void> {
        auto guard = co_await mutex.lock();
        out += name;
        co_await sleep_ms(1);
        out += name;
      }(m, seen, c));
    co_await g.join();
    auto guard = co_await m.lock();  // free again
    co_return seen;
  };
  EXPECT_EQ(await_on(loops, t()), "aabbccddee");
}

TEST(Group, JoinsWhatIsSpawnedMeanwhile) {
  Loops loops(1);
  auto t = []() -> Task<int> {
    Group g;
    int n = 0;
    g.spawn([](Group& group, int& count) -> Task<void> {
      co_await sleep_ms(1);
      group.spawn([](int& c) -> Task<void> {
        co_await sleep_ms(1);
        ++c;
      }(count));
      ++count;
    }(g, n));
    co_await g.join();
    co_await g.join();  // nothing runs: at once
    co_return n;
  };
  EXPECT_EQ(await_on(loops, t()), 2);
}

TEST(Timer, FiresUnlessCancelled) {
  Loops loops(1);
  auto t = []() -> Task<std::string> {
    std::string fired;
    Timer a, b, c;
    a.start(1, [&] { fired += 'a'; });
    b.start(1, [&] { fired += 'b'; });
    b.cancel();
    c.start(1, [&] { fired += 'x'; });
    c.start(2, [&] { fired += 'c'; });  // the first is forgotten
    {
      Timer d;
      d.start(1, [&] { fired += 'd'; });
    }
    co_await sleep_ms(30);
    co_return fired;
  };
  EXPECT_EQ(await_on(loops, t()), "ac");
}

}  // namespace
}  // namespace mr::task
