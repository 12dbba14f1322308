#include "kube/store.h"

#include <atomic>
#include <thread>

#include "await.h"
#include "temp_dir.h"

namespace mr::kube {
namespace {

class KubeStoreTest : public ::testing::Test {
 protected:
  KubeStoreTest() { open(); }
  ~KubeStoreTest() override { close(); }
  void open() {
    auto d = sql::Database::open_sqlite(dir.file("kube.db"));
    if (!d) std::abort();
    db = std::move(*d);
    auto s = Store::open(*db);
    if (!s) std::abort();
    store = std::move(*s);
  }
  void close() {
    if (store) store->stop();
    store.reset();
    if (db) db->stop();
    db.reset();
  }
  template <class T>
  T wait(task::Task<T> t) {
    return testing::await_on(loops, std::move(t));
  }
  static Object pod(std::string_view name, std::string_view owner = {}) {
    Object o = make_object("v1", "Pod", "ns", name);
    metadata(o)["uid"] = fmt::format("uid-{}", name);
    if (!owner.empty()) metadata(o)["ownerReferences"] = Array{Object{{"uid", owner}}};
    return o;
  }
  Result<ObjectPtr> put(std::string_view name, std::uint64_t expected = Store::kMustNotExist,
                        std::string_view owner = {}) {
    return wait(store->put("pods", {"ns", std::string(name)}, pod(name, owner), expected));
  }

  testing::TempDir dir;
  task::Loops loops{1};
  std::unique_ptr<sql::Database> db;
  std::unique_ptr<Store> store;
};

TEST_F(KubeStoreTest, WritesCountOneRevisionAndSurviveAnOpening) {
  auto a = put("a");
  auto b = put("b");
  ASSERT_TRUE(a && b);
  EXPECT_EQ(resource_version_of(**b), resource_version_of(**a) + 1);
  close();
  open();
  EXPECT_EQ(store->revision(), 2U);
  auto again = store->get("pods", {"ns", "a"});
  ASSERT_TRUE(again);
  EXPECT_EQ(resource_version_of(*again), resource_version_of(**a));
  // Revisions go on from where they were, even after deletions.
  ASSERT_TRUE(wait(store->remove("pods", {"ns", "b"}, pod("b"), 2)));
  close();
  open();
  EXPECT_EQ(store->revision(), 3U);
}

TEST_F(KubeStoreTest, PreconditionsHold) {
  auto a = put("a");
  ASSERT_TRUE(a);
  EXPECT_EQ(put("a").error().reason, "AlreadyExists");
  EXPECT_EQ(put("a", 99).error().reason, "Conflict");
  EXPECT_EQ(put("x", 1).error().reason, "NotFound");
  auto next = put("a", resource_version_of(**a));
  ASSERT_TRUE(next);
  EXPECT_EQ(wait(store->remove("pods", {"ns", "a"}, pod("a"), resource_version_of(**a))).error().reason, "Conflict");
  EXPECT_TRUE(wait(store->remove("pods", {"ns", "a"}, pod("a"), resource_version_of(**next))));
  EXPECT_FALSE(store->get("pods", {"ns", "a"}));
}

TEST_F(KubeStoreTest, ChangesReplayWhatFollowsARevision) {
  (void)put("a");
  auto b = put("b");
  (void)put("b", resource_version_of(**b));
  auto c = store->changes("pods", 1, 10);
  ASSERT_EQ(c.items.size(), 2U);
  EXPECT_EQ(c.items[0]->type, ChangeType::added);
  EXPECT_EQ(c.items[1]->type, ChangeType::modified);
  EXPECT_TRUE(c.items[1]->before);
  EXPECT_EQ(c.revision, 3U);
  auto first = store->changes("pods", 0, 1);
  EXPECT_EQ(first.items.size(), 1U);
  EXPECT_EQ(first.revision, 1U) << "complete only up to what was given";
  EXPECT_FALSE(store->changes("pods", 3, 10).expired);
  // A new process has no history: older positions have expired, today's has not.
  close();
  open();
  EXPECT_TRUE(store->changes("pods", 1, 10).expired);
  EXPECT_FALSE(store->changes("pods", 3, 10).expired);
  EXPECT_TRUE(store->changes("configmaps", 2, 10).expired);
}

TEST_F(KubeStoreTest, TheHistoryIsBoundedByItsText) {
  std::vector<std::uint64_t> revisions;
  std::uint64_t last = 0;
  for (int i = 0; i < 160; ++i) {
    auto o = pod("large");
    o["text"] = std::string(64 << 10, 'x');
    auto done = wait(store->put("pods", {"ns", "large"}, std::move(o), last));
    ASSERT_TRUE(done);
    last = resource_version_of(**done);
    revisions.push_back(last);
  }
  // 10 MiB were written: the first changes are not known any more, the last 128 are in any case.
  EXPECT_TRUE(store->changes("pods", 0, 10).expired);
  EXPECT_TRUE(store->changes("pods", revisions[10], 10).expired);
  auto known = store->changes("pods", revisions[159 - 128], 1000);
  EXPECT_FALSE(known.expired);
  EXPECT_EQ(known.items.size(), 128U);
  // Small ones are known for longer.
  for (int i = 0; i < 140; ++i) ASSERT_TRUE(put(fmt::format("small-{}", i)));
  EXPECT_FALSE(store->changes("pods", revisions[159], 1000).expired);
}

TEST_F(KubeStoreTest, AListAtARevisionIsTheStateOfThen) {
  (void)put("a");
  auto b = put("b");
  auto then = store->revision();
  (void)put("c");
  (void)wait(store->remove("pods", {"ns", "a"}, pod("a"), 1));
  (void)put("b", resource_version_of(**b));
  auto page = store->list("pods", "", then);
  ASSERT_FALSE(page.expired);
  ASSERT_EQ(page.items.size(), 2U);
  EXPECT_EQ(name_of(*page.items[0]), "a");
  EXPECT_EQ(resource_version_of(*page.items[1]), 2U);
  EXPECT_EQ(store->list("pods", "").items.size(), 2U);
  EXPECT_TRUE(store->list("pods", "other").items.empty());
}

TEST_F(KubeStoreTest, AWaitEndsWithAChangeOrItsTime) {
  (void)put("a");
  auto waiter = [&](std::uint64_t after, long ms) -> task::Task<std::uint64_t> {
    co_await store->wait("pods", after, ms);
    co_return store->revision();
  };
  EXPECT_EQ(wait(waiter(1, 30)), 1U);
  EXPECT_EQ(wait(waiter(0, 60'000)), 1U) << "a change that is there already is not waited for";
  std::thread writer([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    auto p = std::make_shared<std::promise<void>>();
    loops.at(0).post([this, p] {
      task::detach([](Store& s, std::shared_ptr<std::promise<void>> done) -> task::Task<void> {
        (void)co_await s.put("pods", {"ns", "b"}, pod("b"), Store::kMustNotExist);
        done->set_value();
      }(*store, p));
    });
    p->get_future().wait();
  });
  EXPECT_EQ(wait(waiter(1, 60'000)), 2U);
  writer.join();
}

TEST_F(KubeStoreTest, OwnersAreIndexed) {
  (void)put("owner");
  (void)put("child", Store::kMustNotExist, "uid-owner");
  ASSERT_EQ(store->owned_by("uid-owner").size(), 1U);
  EXPECT_EQ(store->owned_by("uid-owner")[0].second.name, "child");
  EXPECT_TRUE(store->has_uid("uid-owner"));
  (void)wait(store->remove("pods", {"ns", "owner"}, pod("owner"), 1));
  EXPECT_FALSE(store->has_uid("uid-owner"));
  close();
  open();
  EXPECT_EQ(store->owned_by("uid-owner").size(), 1U);
}

TEST_F(KubeStoreTest, TheHookMayBeTakenAwayWhileCommitsRun) {
  for (int round = 0; round < 20; ++round) {
    auto told = std::make_unique<std::atomic<int>>(0);
    store->on_commit([t = told.get()](const std::string&, const ChangePtr&) {
      ++*t;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    });
    std::jthread writer([&, round] {
      for (int i = 0; i < 5; ++i) ASSERT_TRUE(put(fmt::format("p-{}-{}", round, i)));
    });
    while (*told == 0) std::this_thread::yield();
    store->on_commit(nullptr);
    told.reset();  // a call from here on would touch freed memory
  }
}

TEST_F(KubeStoreTest, ManyWritersLoseNothing) {
  task::Loops more{2};
  constexpr int kWriters = 8;
  constexpr int kEach = 50;
  std::vector<std::future<int>> done;
  std::vector<std::shared_ptr<std::promise<int>>> promises;
  for (int w = 0; w < kWriters; ++w) {
    auto p = std::make_shared<std::promise<int>>();
    done.push_back(p->get_future());
    more.at(static_cast<std::size_t>(w % 2)).post([this, w, p] {
      task::detach([](Store& s, int writer, std::shared_ptr<std::promise<int>> out) -> task::Task<void> {
        int ok = 0;
        for (int i = 0; i < kEach; ++i) {
          auto name = fmt::format("{}-{}", writer, i);
          auto made = co_await s.put("pods", {"ns", name}, pod(name), Store::kMustNotExist);
          if (made) ++ok;
        }
        out->set_value(ok);
      }(*store, w, p));
    });
  }
  int total = 0;
  for (auto& d : done) total += d.get();
  EXPECT_EQ(total, kWriters * kEach);
  EXPECT_EQ(store->count("pods"), static_cast<std::size_t>(total));
  auto c = store->changes("pods", 0, 10000);
  ASSERT_EQ(c.items.size(), static_cast<std::size_t>(total));
  for (std::size_t i = 1; i < c.items.size(); ++i) EXPECT_EQ(c.items[i]->revision, c.items[i - 1]->revision + 1);
}

}  // namespace
}  // namespace mr::kube
