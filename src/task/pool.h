// A fixed set of worker threads with a bounded queue, for work that blocks or takes longer than a loop may.
// Thread safe. co_await run_on(pool, fn) runs fn there and resumes on the loop that asked.
#pragma once
#include <coroutine>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "task/loop.h"
#include "task/task.h"

namespace mr::task {

class Pool {
 public:
  // `name` shows in thread lists; `capacity` bounds the queue.
  Pool(const std::string& name, unsigned threads, std::size_t capacity);
  ~Pool();
  // False when the queue is full: the caller answers 503.
  [[nodiscard]] bool submit(std::move_only_function<void()> fn);
  // Finishes what is queued, then joins.
  void stop();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The process's pool for disk work that blocks (fsync, rename, folder walks).
Pool& disk_pool();

// Runs fn() on the pool; the answer is nullopt when the pool's queue is full.
template <class F>
auto run_on(Pool& pool, F fn) -> Task<std::optional<std::invoke_result_t<F>>> {
  using R = std::invoke_result_t<F>;
  struct Awaiter {
    Pool& pool;
    F fn;
    std::optional<R> result;
    bool await_ready() { return false; }
    bool await_suspend(std::coroutine_handle<> h) {
      Loop* loop = Loop::current();
      return pool.submit([this, h, loop] {
        result.emplace(fn());
        loop->post([h] { h.resume(); });
      });
    }
    std::optional<R> await_resume() { return std::move(result); }
  };
  Awaiter a{pool, std::move(fn), std::nullopt};
  co_return co_await a;
}

}  // namespace mr::task
