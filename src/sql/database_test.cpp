#include "sql/database.h"

#include "await.h"
#include "temp_dir.h"

namespace mr::sql {
namespace {

class Db : public ::testing::Test {
 protected:
  Db() { open(); }
  void open() {
    auto d = Database::open_sqlite(dir.file("t.db"));
    if (!d) std::abort();
    db = std::move(*d);
    auto made = db->write_blocking(
        [](Connection& c) { return c.script("CREATE TABLE IF NOT EXISTS t (k TEXT PRIMARY KEY, v INTEGER, d REAL)"); });
    if (!made) std::abort();
  }
  Result<std::int64_t> insert(const std::string& k, std::int64_t v) {
    return db->write_blocking([&](Connection& c) { return c.exec("INSERT INTO t (k, v) VALUES (?, ?)", k, v); });
  }
  std::map<std::string, std::int64_t> rows() {
    auto r = db->read([](Connection& c) -> Result<std::map<std::string, std::int64_t>> {
      std::map<std::string, std::int64_t> out;
      MR_CHECK(c.query("SELECT k, v FROM t", "si", {}, [&](const Row& row) { out[row.text(0)] = row.i64(1); }));
      return out;
    });
    return r ? *r : std::map<std::string, std::int64_t>{{"error", -1}};
  }
  testing::TempDir dir;
  std::unique_ptr<Database> db;
};

TEST_F(Db, ManyWritersShareTheWriterAndLoseNothing) {
  std::vector<std::jthread> threads;
  std::atomic<int> refused = 0;
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 100; ++i)
        if (!insert(fmt::format("{}-{}", t, i), i)) ++refused;
    });
  threads.clear();
  EXPECT_EQ(refused, 0);
  EXPECT_EQ(rows().size(), 800U);
  db.reset();  // closes; a new process would see the same
  open();
  auto after = rows();
  ASSERT_EQ(after.size(), 800U);
  for (int t = 0; t < 8; ++t)
    for (int i = 0; i < 100; ++i) EXPECT_EQ(after[fmt::format("{}-{}", t, i)], i);
}

TEST_F(Db, AFailingJobUndoesOnlyItself) {
  std::vector<std::jthread> threads;
  std::atomic<int> good = 0;
  std::atomic<int> bad = 0;
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 50; ++i) {
        bool fail_this = (i + t) % 3 == 0;
        auto r = db->write_blocking([&](Connection& c) -> Result<int> {
          MR_CHECK(c.exec("INSERT INTO t (k, v) VALUES (?, 1)", fmt::format("a{}-{}", t, i)));
          if (fail_this) return fail(Code::conflict, "changed its mind");
          MR_CHECK(c.exec("INSERT INTO t (k, v) VALUES (?, 2)", fmt::format("b{}-{}", t, i)));
          return 7;
        });
        if (r)
          ++good;
        else if (r.error().code == Code::conflict && fail_this)
          ++bad;
        EXPECT_EQ(r.has_value(), !fail_this);
      }
    });
  threads.clear();
  auto all = rows();
  EXPECT_EQ(good + bad, 400);
  EXPECT_EQ(all.size(), 2 * static_cast<std::size_t>(good));
  for (int t = 0; t < 8; ++t)
    for (int i = 0; i < 50; ++i) EXPECT_EQ(all.contains(fmt::format("a{}-{}", t, i)), (i + t) % 3 != 0);
}

TEST_F(Db, AConstraintIsAlreadyExists) {
  ASSERT_TRUE(insert("same", 1));
  auto r = insert("same", 2);
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code, Code::already_exists);
  EXPECT_EQ(rows()["same"], 1);
  auto broken = db->write_blocking([](Connection& c) { return c.exec("INSERT INTO nowhere VALUES (1)"); });
  ASSERT_FALSE(broken);
  EXPECT_EQ(broken.error().code, Code::internal);
  EXPECT_EQ(broken.error().message.find("nowhere"), std::string::npos);  // the statement is for the log
  EXPECT_NE(broken.error().detail.find("nowhere"), std::string::npos);
  EXPECT_TRUE(insert("next", 3));  // the writer goes on
}

TEST_F(Db, CoroutinesComeBackToTheirLoop) {
  task::Loops loops(2);
  std::atomic<int> wrong = 0;
  std::atomic<int> done = 0;
  std::promise<void> all;
  for (std::size_t l = 0; l < 2; ++l)
    loops.at(l).post([&, l] {
      for (int i = 0; i < 200; ++i)
        task::detach([](Database& d, std::size_t loop, int n, std::atomic<int>& w, std::atomic<int>& done_,
                        std::promise<void>& a) -> task::Task<void> {
          auto* home = task::Loop::current();
          auto r = co_await d.write([&](Connection& c) {
            return c.exec("INSERT INTO t (k, v) VALUES (?, ?)", fmt::format("{}/{}", loop, n), n);
          });
          if (!r || *r != 1 || task::Loop::current() != home) ++w;
          auto seen = co_await d.scan([&](Connection& c) -> Result<bool> {
            bool found = false;
            MR_CHECK(c.query("SELECT 1 FROM t WHERE k = ?", "i", {fmt::format("{}/{}", loop, n)},
                             [&](const Row&) { found = true; }));
            return found;
          });
          if (!seen || !*seen || task::Loop::current() != home) ++w;  // what was answered is there to read
          if (++done_ == 400) a.set_value();
        }(*db, l, i, wrong, done, all));
    });
  all.get_future().wait();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(rows().size(), 400U);
}

TEST_F(Db, ReadsSeeOneSnapshot) {
  ASSERT_TRUE(insert("x", 1));
  auto r = db->read([&](Connection& c) -> Result<std::pair<int, int>> {
    auto count = [&]() -> Result<int> {
      int n = 0;
      MR_CHECK(c.query("SELECT COUNT(*) FROM t", "i", {}, [&](const Row& row) { n = static_cast<int>(row.i64(0)); }));
      return n;
    };
    MR_TRY(int before, count());
    std::jthread([&] { EXPECT_TRUE(insert("y", 2)); }).join();
    MR_TRY(int after, count());
    return std::pair{before, after};
  });
  ASSERT_TRUE(r);
  EXPECT_EQ(r->first, 1);
  EXPECT_EQ(r->second, 1);
  EXPECT_EQ(rows().size(), 2U);
}

TEST_F(Db, ValuesComeBackAsTheyWent) {
  const std::string odd = "it's \"q\" ? \n \xC3\xBC";
  ASSERT_TRUE(db->write_blocking([&](Connection& c) -> Result<> {
    MR_CHECK(c.exec("INSERT INTO t (k, v, d) VALUES (?, ?, ?)", odd, INT64_MIN, 0.1));
    MR_CHECK(c.exec("INSERT INTO t (k, v, d) VALUES (?, ?, ?)", "null", nullptr, std::optional<double>()));
    MR_CHECK(c.exec("INSERT INTO t (k, v, d) VALUES ('?', 1, ?)", 5e-324));  // a '?' inside quotes is no placeholder
    return {};
  }));
  auto r = db->read([&](Connection& c) -> Result<> {
    int n = 0;
    MR_CHECK(c.query("SELECT v, d FROM t WHERE k = ?", "id", {odd}, [&](const Row& row) {
      ++n;
      EXPECT_EQ(row.i64(0), INT64_MIN);
      EXPECT_EQ(row.real(1), 0.1);
    }));
    MR_CHECK(c.query("SELECT v, d FROM t WHERE k = 'null'", "id", {}, [&](const Row& row) {
      ++n;
      EXPECT_TRUE(row.null(0));
      EXPECT_EQ(row.opt_i64(0), std::nullopt);
      EXPECT_EQ(row.i64(0), 0);
    }));
    MR_CHECK(c.query("SELECT d FROM t WHERE k = '?'", "d", {}, [&](const Row& row) {
      ++n;
      EXPECT_EQ(row.real(0), 5e-324);
    }));
    EXPECT_EQ(n, 3);
    return {};
  });
  EXPECT_TRUE(r);
}

TEST_F(Db, LikeIsCaseSensitive) {
  ASSERT_TRUE(insert("Abc", 1));
  auto count = [&](const char* pattern) {
    auto r = db->read([&](Connection& c) -> Result<int> {
      int n = 0;
      MR_CHECK(c.query("SELECT 1 FROM t WHERE k LIKE ?", "i", {pattern}, [&](const Row&) { ++n; }));
      return n;
    });
    return r ? *r : -1;
  };
  EXPECT_EQ(count("A%"), 1);
  EXPECT_EQ(count("a%"), 0);
}

TEST_F(Db, AStoppedDatabaseRefuses) {
  db->stop();
  auto r = insert("late", 1);
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code, Code::unavailable);
}

TEST(Sqlite, SyncsFullyAndKeepsALogAhead) {
  testing::TempDir dir;
  auto c = Connection::open_sqlite(dir.file("p.db"), false);
  ASSERT_TRUE(c);
  std::string mode;
  std::int64_t sync = -1;
  std::int64_t keys = -1;
  ASSERT_TRUE((*c)->query("PRAGMA journal_mode", "s", {}, [&](const Row& r) { mode = r.text(0); }));
  ASSERT_TRUE((*c)->query("PRAGMA synchronous", "i", {}, [&](const Row& r) { sync = r.i64(0); }));
  ASSERT_TRUE((*c)->query("PRAGMA foreign_keys", "i", {}, [&](const Row& r) { keys = r.i64(0); }));
  EXPECT_EQ(mode, "wal");
  EXPECT_EQ(sync, 2);
  EXPECT_EQ(keys, 1);
  EXPECT_FALSE(Connection::open_sqlite(dir.file("absent/p.db"), false));
}

}  // namespace
}  // namespace mr::sql
