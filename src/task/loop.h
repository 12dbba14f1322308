// A Loop is one thread with one io_context; Loops owns all of a process's loops, one a core.
// Thread safety: post() may be called from any thread; everything else from the owner.
#pragma once
#include <coroutine>
#include <functional>
#include <memory>
#include <vector>

namespace boost::asio {
class io_context;
}

namespace mr::task {

class Loop {
 public:
  Loop();
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  // Runs fn on this loop's thread, later.
  void post(std::move_only_function<void()> fn);
  boost::asio::io_context& context();
  // The loop whose thread this is, or nullptr.
  static Loop* current();
  // Runs until stop(); called by the thread that becomes this loop.
  void run();
  void stop();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

class Loops {
 public:
  // Starts `count` threads.
  explicit Loops(unsigned count);
  ~Loops();
  // Stops and joins every loop. Idempotent.
  void stop();
  [[nodiscard]] std::size_t size() const;
  Loop& at(std::size_t i);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// co_await sleep_ms(n): resumes on the current loop after n milliseconds.
struct Sleep {
  long ms;
  bool await_ready() const noexcept { return ms <= 0; }
  void await_suspend(std::coroutine_handle<> h) const;
  void await_resume() const noexcept {}
};
inline Sleep sleep_ms(long ms) { return {ms}; }

// co_await Hop{loop}: goes on on that loop, at once when it is the current one.
struct Hop {
  Loop& to;
  bool await_ready() const { return Loop::current() == &to; }
  void await_suspend(std::coroutine_handle<> h) const {
    to.post([h] { h.resume(); });
  }
  void await_resume() const {}
};

}  // namespace mr::task
