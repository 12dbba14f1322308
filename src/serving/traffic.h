// One model's traffic: how many requests it computes at once and how many may wait, and what became of them.
// Thread safe; enter() is awaited on a loop and resumes there.
#pragma once
#include <atomic>
#include <coroutine>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>

#include "task/task.h"

namespace mr::serving {

struct Limits {
  std::size_t concurrency = 0;  // requests computed at once; 0: any number
  std::size_t queue = 100;      // requests that may wait for that; more are refused
  long timeout_ms = 60'000;     // a request waits no longer
};

class ModelTraffic {
 public:
  explicit ModelTraffic(Limits limits = {}) : limits_(limits) {}

  enum class Entry : std::uint8_t { in, full, late };
  // Waits for a place, first come, first served. After `in`, leave() must follow. `timeout_ms`: 0 is the model's own.
  task::Task<Entry> enter(long timeout_ms = 0);
  void leave();

  void engine_ran(std::size_t rows, std::int64_t ns);
  void ended(bool answered, std::int64_t ns);  // a whole request

  struct Snapshot {
    std::uint64_t last_ms = 0;  // since the epoch, of the last answer
    std::uint64_t rows = 0, runs = 0, run_ns = 0;
    std::uint64_t answered = 0, answered_ns = 0, refused = 0, refused_ns = 0;
    std::uint64_t waited = 0, waited_ns = 0;
  };
  [[nodiscard]] Snapshot snapshot() const;
  [[nodiscard]] const Limits& limits() const { return limits_; }
  // Under way now.
  [[nodiscard]] std::size_t running() const { return running_.load(std::memory_order_relaxed); }

 private:
  struct Waiter;
  Limits limits_;
  std::atomic<std::size_t> running_ = 0;
  std::atomic<std::uint64_t> last_ms_ = 0, rows_ = 0, runs_ = 0, run_ns_ = 0, answered_ = 0, answered_ns_ = 0,
                             refused_ = 0, refused_ns_ = 0, waited_ = 0, waited_ns_ = 0;
  std::mutex mutex_;                             // of what follows, where there is a limit
  std::deque<std::shared_ptr<Waiter>> waiting_;  // those that gave up stay until their turn
  std::size_t waiters_ = 0;                      // that have not given up
};

// leave() at the end of a scope.
class Place {
 public:
  explicit Place(std::shared_ptr<ModelTraffic> t) : t_(std::move(t)) {}
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;
  ~Place() { t_->leave(); }

 private:
  std::shared_ptr<ModelTraffic> t_;
};

}  // namespace mr::serving
