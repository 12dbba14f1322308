// What coroutines of one loop wait on each other with: an event, a mutex, a group of tasks, a timer. Not thread safe:
// everything happens on the loop they are used on. Who waits is resumed from the loop, never from inside set().
#pragma once
#include <coroutine>
#include <deque>
#include <functional>
#include <memory>
#include <utility>

#include "task/loop.h"
#include "task/task.h"

namespace mr::task {

// Resumes `h` from the current loop, or at once where there is none (tests).
inline void resume_later(std::coroutine_handle<> h) {
  if (auto* loop = Loop::current())
    loop->post([h] { h.resume(); });
  else
    h.resume();
}

// Remembers one set() until one wait() takes it. At most one waiter at a time.
class Event {
 public:
  void set() {
    if (waiter_)
      resume_later(std::exchange(waiter_, {}));
    else
      set_ = true;
  }
  auto wait() {
    struct Awaiter {
      Event& e;
      bool await_ready() const noexcept { return std::exchange(e.set_, false); }
      void await_suspend(std::coroutine_handle<> h) const noexcept { e.waiter_ = h; }
      void await_resume() const noexcept {}
    };
    return Awaiter{*this};
  }

 private:
  bool set_ = false;
  std::coroutine_handle<> waiter_;
};

// First come, first served.
class Mutex {
 public:
  class Guard {
   public:
    explicit Guard(Mutex& m) : m_(&m) {}
    Guard(Guard&& o) noexcept : m_(std::exchange(o.m_, nullptr)) {}
    Guard& operator=(Guard&&) = delete;
    ~Guard() {
      if (m_ != nullptr) m_->unlock();
    }

   private:
    Mutex* m_;
  };
  // auto guard = co_await mutex.lock();
  auto lock() {
    struct Awaiter {
      Mutex& m;
      bool await_ready() const noexcept { return !std::exchange(m.held_, true); }
      void await_suspend(std::coroutine_handle<> h) const { m.waiting_.push_back(h); }
      Guard await_resume() const noexcept { return Guard(m); }
    };
    return Awaiter{*this};
  }

 private:
  void unlock() {
    if (waiting_.empty()) {
      held_ = false;
      return;
    }
    auto h = waiting_.front();  // stays held: handed over
    waiting_.pop_front();
    resume_later(h);
  }
  bool held_ = false;
  std::deque<std::coroutine_handle<>> waiting_;
};

// Tasks that run beside their owner, who joins them before it goes.
class Group {
 public:
  void spawn(Task<void> t) {
    ++running_;
    detach([](Group& g, Task<void> owned) -> Task<void> {
      co_await owned;
      if (--g.running_ == 0) g.idle_.set();
    }(*this, std::move(t)));
  }
  [[nodiscard]] std::size_t running() const { return running_; }
  // Returns when none runs.
  Task<void> join() {
    while (running_ > 0) co_await idle_.wait();
  }

 private:
  std::size_t running_ = 0;
  Event idle_;
};

// Calls `fn` on the current loop after `ms`, unless cancelled or destroyed before.
class Timer {
 public:
  Timer();
  ~Timer();
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  void start(long ms, std::move_only_function<void()> fn);
  void cancel();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace mr::task
