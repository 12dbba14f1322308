// A Database: one writer thread with group commit, a read connection for each thread that asks, and a pool for scans.
// write(): many requests share one transaction and one fsync; each has its own SAVEPOINT, so that one failure undoes
// only itself. A write that was answered is on disk. Thread safe.
#pragma once
#include <coroutine>
#include <future>
#include <memory>
#include <optional>
#include <string>

#include "sql/sql.h"
#include "task/loop.h"
#include "task/pool.h"
#include "task/task.h"

namespace mr::sql {

// A unit of work for the writer. It lives in the frame of the coroutine that waits for it.
class Job {
 public:
  virtual ~Job() = default;
  virtual bool run(Connection& c) = 0;  // false: roll back this job
  virtual void refuse(Error e) = 0;     // the commit failed, or the queue is full
  task::Loop* loop = nullptr;           // where to resume; nullptr: call done() on the writer's thread
  std::coroutine_handle<> waiter;
  virtual void done() {}
};

class Database {
 public:
  static Result<std::unique_ptr<Database>> open_sqlite(const std::string& path);
  ~Database();
  // Finishes queued writes and closes.
  void stop();

  // Runs f on this thread's own read connection, inside one snapshot. Short reads only.
  template <class F>
  std::invoke_result_t<F, Connection&> read(F f) {
    auto c = reader();
    if (!c) return std::unexpected(c.error());
    MR_CHECK((*c)->exec("BEGIN"));
    auto r = f(**c);
    (void)(*c)->exec("COMMIT");
    return r;
  }
  // The same on the scan pool, for reads that may take long; resumes on the caller's loop.
  template <class F>
  task::Task<std::invoke_result_t<F, Connection&>> scan(F f) {
    auto r = co_await task::run_on(scans(), [this, &f] { return read(std::move(f)); });
    if (!r) co_return fail(Code::unavailable, "too many searches are waiting; try again later");
    co_return std::move(*r);
  }
  // Runs f on the writer; the answer comes after the commit.
  template <class F>
  task::Task<std::invoke_result_t<F, Connection&>> write(F f) {
    using R = std::invoke_result_t<F, Connection&>;
    struct Awaiter : Job {
      Database& db;
      F fn;
      std::optional<R> result;
      Awaiter(Database& d, F g) : db(d), fn(std::move(g)) {}
      bool await_ready() { return false; }
      bool await_suspend(std::coroutine_handle<> h) {
        loop = task::Loop::current();
        waiter = h;
        return db.submit(*this);
      }
      R await_resume() { return std::move(*result); }
      bool run(Connection& c) override {
        result.emplace(fn(c));
        return result->has_value();
      }
      void refuse(Error e) override { result.emplace(std::unexpected(std::move(e))); }
    };
    Awaiter a(*this, std::move(f));
    co_return co_await a;
  }
  // For threads that are not loops: blocks until committed.
  template <class F>
  std::invoke_result_t<F, Connection&> write_blocking(F f) {
    using R = std::invoke_result_t<F, Connection&>;
    struct Blocking : Job {
      F fn;
      std::optional<R> result;
      std::promise<void> ready;
      explicit Blocking(F g) : fn(std::move(g)) {}
      bool run(Connection& c) override {
        result.emplace(fn(c));
        return result->has_value();
      }
      void refuse(Error e) override { result.emplace(std::unexpected(std::move(e))); }
      void done() override { ready.set_value(); }
    };
    Blocking b(std::move(f));
    if (submit(b)) b.ready.get_future().wait();
    return std::move(*b.result);
  }

 private:
  struct Impl;
  explicit Database(std::unique_ptr<Impl> impl);
  Result<Connection*> reader();
  task::Pool& scans();
  // False: refused at once (the job's refuse() was called).
  bool submit(Job& job);
  std::unique_ptr<Impl> impl_;
};

}  // namespace mr::sql
