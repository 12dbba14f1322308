#include "task/pool.h"

#include <pthread.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

namespace mr::task {

struct Pool::Impl {
  std::mutex mutex;
  std::condition_variable wake;
  std::deque<std::move_only_function<void()>> queue;
  std::size_t capacity = 0;
  bool stopping = false;
  std::vector<std::thread> threads;

  void work() {
    for (;;) {
      std::unique_lock lock(mutex);
      wake.wait(lock, [&] { return stopping || !queue.empty(); });
      if (queue.empty()) return;
      auto fn = std::move(queue.front());
      queue.pop_front();
      lock.unlock();
      fn();
    }
  }
};

Pool::Pool(const std::string& name, unsigned threads, std::size_t capacity) : impl_(std::make_unique<Impl>()) {
  impl_->capacity = capacity;
  for (unsigned i = 0; i < threads; ++i) {
    impl_->threads.emplace_back([p = impl_.get(), name] {
      pthread_setname_np(pthread_self(), name.substr(0, 15).c_str());
      p->work();
    });
  }
}
Pool::~Pool() { stop(); }

bool Pool::submit(std::move_only_function<void()> fn) {
  {
    std::lock_guard lock(impl_->mutex);
    if (impl_->stopping || impl_->queue.size() >= impl_->capacity) return false;
    impl_->queue.push_back(std::move(fn));
  }
  impl_->wake.notify_one();
  return true;
}

Pool& disk_pool() {
  static Pool pool("mr-disk", 16, 16384);
  return pool;
}

void Pool::stop() {
  {
    std::lock_guard lock(impl_->mutex);
    impl_->stopping = true;
  }
  impl_->wake.notify_all();
  for (auto& t : impl_->threads)
    if (t.joinable()) t.join();
}

}  // namespace mr::task
