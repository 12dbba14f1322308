// One model's traffic: how many requests it computes at once and how many may wait, and what became of them. Who waits
// goes by priority, and among equals by who came first; when too many wait, the last of the least urgent is refused in
// favour of a more urgent one. Thread safe; enter() is awaited on a loop and resumes there.
#pragma once
#include <array>
#include <atomic>
#include <coroutine>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>

#include "metrics/metrics.h"
#include "serving/order.h"
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

  // Prometheus series of the model with these labels, from now on. Once, before its first request.
  void measure(const metrics::Labels& labels);

  enum class Entry : std::uint8_t { in, full, late };
  // A place at once, where one is free and nobody waits. After true, leave() must follow.
  bool try_enter();
  // Waits for a place. After `in`, leave() must follow. An order's time counts only below the model's own.
  task::Task<Entry> enter(Order order = {});
  void leave();
  // A request of a model without a limit goes to another process, where it may wait.
  void to_worker() const;

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
  using WaiterPtr = std::shared_ptr<Waiter>;
  struct Meters;
  bool place_or_queue(const WaiterPtr& w, WaiterPtr& displaced);  // under mutex_
  void set_waiting(std::size_t n);                                // likewise

  Limits limits_;
  std::shared_ptr<const Meters> meters_;
  std::atomic<std::size_t> running_ = 0;
  std::atomic<std::uint64_t> last_ms_ = 0, rows_ = 0, runs_ = 0, run_ns_ = 0, answered_ = 0, answered_ns_ = 0,
                             refused_ = 0, refused_ns_ = 0, waited_ = 0, waited_ns_ = 0;
  std::mutex mutex_;  // of what follows, where there is a limit
  std::array<std::deque<WaiterPtr>, kPriorities> waiting_;
  std::size_t waiters_ = 0;
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
