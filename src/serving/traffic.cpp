#include "serving/traffic.h"

#include "task/event.h"
#include "time/clock.h"

namespace mr::serving {

// Settled once: by who leaves and hands its place over, or by the timer.
struct ModelTraffic::Waiter {
  task::Loop* loop = nullptr;
  std::coroutine_handle<> handle;
  bool settled = false;  // under mutex_
  Entry entry = Entry::late;
};

task::Task<ModelTraffic::Entry> ModelTraffic::enter(long timeout_ms) {
  if (limits_.concurrency == 0) {
    running_.fetch_add(1, std::memory_order_relaxed);
    co_return Entry::in;
  }
  auto w = std::make_shared<Waiter>();
  {
    std::lock_guard guard(mutex_);
    if (running_ < limits_.concurrency && waiters_ == 0) {
      ++running_;
      co_return Entry::in;
    }
    if (waiters_ >= limits_.queue) co_return Entry::full;
    ++waiters_;
  }
  const auto began = time::mono_ns();
  task::Timer timer;
  struct Awaiter {
    ModelTraffic& t;
    std::shared_ptr<Waiter> w;
    bool await_ready() const { return false; }
    bool await_suspend(std::coroutine_handle<> h) const {
      std::lock_guard guard(t.mutex_);
      if (t.running_ < t.limits_.concurrency) {  // a place became free since
        ++t.running_;
        --t.waiters_;
        w->settled = true;
        w->entry = Entry::in;
        return false;
      }
      w->loop = task::Loop::current();
      w->handle = h;
      t.waiting_.push_back(w);
      return true;
    }
    void await_resume() const {}
  };
  timer.start(timeout_ms > 0 ? timeout_ms : limits_.timeout_ms, [this, w] {
    {
      std::lock_guard guard(mutex_);
      if (w->settled) return;
      w->settled = true;
      --waiters_;
    }
    task::resume_later(w->handle);
  });
  co_await Awaiter{*this, w};
  timer.cancel();
  waited_.fetch_add(1, std::memory_order_relaxed);
  waited_ns_.fetch_add(static_cast<std::uint64_t>(time::mono_ns() - began), std::memory_order_relaxed);
  co_return w->entry;
}

void ModelTraffic::leave() {
  if (limits_.concurrency == 0) {
    running_.fetch_sub(1, std::memory_order_relaxed);
    return;
  }
  std::shared_ptr<Waiter> next;
  {
    std::lock_guard guard(mutex_);
    while (!waiting_.empty() && next == nullptr) {
      auto w = std::move(waiting_.front());
      waiting_.pop_front();
      if (w->settled) continue;
      w->settled = true;
      w->entry = Entry::in;
      --waiters_;
      next = std::move(w);
    }
    if (next == nullptr) {
      --running_;
      return;
    }
  }
  next->loop->post([next] { next->handle.resume(); });
}

void ModelTraffic::engine_ran(std::size_t rows, std::int64_t ns) {
  runs_.fetch_add(1, std::memory_order_relaxed);
  rows_.fetch_add(rows, std::memory_order_relaxed);
  run_ns_.fetch_add(static_cast<std::uint64_t>(ns), std::memory_order_relaxed);
}

void ModelTraffic::ended(bool answered, std::int64_t ns) {
  (answered ? answered_ : refused_).fetch_add(1, std::memory_order_relaxed);
  (answered ? answered_ns_ : refused_ns_).fetch_add(static_cast<std::uint64_t>(ns), std::memory_order_relaxed);
  if (answered) last_ms_.store(static_cast<std::uint64_t>(time::now_ms()), std::memory_order_relaxed);
}

ModelTraffic::Snapshot ModelTraffic::snapshot() const {
  auto get = [](const std::atomic<std::uint64_t>& a) { return a.load(std::memory_order_relaxed); };
  return {get(last_ms_),     get(rows_),    get(runs_),       get(run_ns_), get(answered_),
          get(answered_ns_), get(refused_), get(refused_ns_), get(waited_), get(waited_ns_)};
}

}  // namespace mr::serving
