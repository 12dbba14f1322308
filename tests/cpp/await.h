// Running tasks from tests and fuzz targets: on a real loop, or on the spot when nothing in them can suspend.
#pragma once
#include <cstdlib>
#include <future>
#include <optional>

#include "task/loop.h"
#include "task/task.h"

namespace mr::testing {

// Runs `t` on the first loop and waits for its value.
template <class T>
T await_on(task::Loops& loops, task::Task<T> t) {
  std::promise<T> done;
  auto value = done.get_future();
  loops.at(0).post([&] {
    task::detach([](task::Task<T> inner, std::promise<T>& p) -> task::Task<void> { p.set_value(co_await inner); }(
                                                                 std::move(t), done));
  });
  return value.get();
}

// Runs `t` on this thread. It must end without waiting for anything: a test that hangs is worse than one that stops.
template <class T>
T run_now(task::Task<T> t) {
  std::optional<T> out;
  task::detach([](task::Task<T> inner, std::optional<T>& o) -> task::Task<void> { o.emplace(co_await inner); }(
                                                                std::move(t), out));
  if (!out) std::abort();
  return std::move(*out);
}

}  // namespace mr::testing
