// Waiting for a task from a thread that is no loop: a worker thread, or the main one. On a loop it would never end.
#pragma once
#include <functional>
#include <future>

#include "task/loop.h"
#include "task/task.h"

namespace mr::task {

// Runs the task that `make` gives on `loop`; its result.
template <class T>
T wait_on(Loop& loop, std::function<Task<T>()> make) {
  std::promise<T> promise;
  loop.post([&] {
    detach(
        [](std::function<Task<T>()> m, std::promise<T>& p) -> Task<void> { p.set_value(co_await m()); }(make, promise));
  });
  return promise.get_future().get();
}

}  // namespace mr::task
