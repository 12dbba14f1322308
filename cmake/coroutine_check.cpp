// Exit status 0 when the compiler builds and destroys a lambda temporary inside co_await exactly once.
#include <coroutine>
#include <exception>
#include <memory>

namespace {

int alive = 0;

struct Tracker {
  Tracker() { ++alive; }
  Tracker(const Tracker&) { ++alive; }
  ~Tracker() { --alive; }
};

struct Task {
  struct promise_type {
    Task get_return_object() { return {}; }
    std::suspend_never initial_suspend() { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { std::terminate(); }
  };
};

template <class F>
struct Awaiter {
  F callable;
  bool await_ready() { return false; }
  bool await_suspend(std::coroutine_handle<>) { callable(); return false; }
  void await_resume() {}
};

template <class F>
Awaiter<F> run(F f) { return Awaiter<F>{f}; }

Task program(std::shared_ptr<int> value) {
  Tracker tracker;
  co_await run([value, tracker] { ++*value; });
  co_await run([tracker, value] { ++*value; });
}

}  // namespace

int main() {
  auto value = std::make_shared<int>(0);
  program(value);
  return alive == 0 && *value == 2 && value.use_count() == 1 ? 0 : 1;
}
