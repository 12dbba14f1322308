// How much is asked of Services whose pods come and go with demand, and the requests that wait for one of their pods.
// The front door counts and waits here; who scales reads the counts, takes pods away and says when there are some.
// Ownership: whoever enters a Meter keeps it alive. Thread safe; wait() is awaited on a loop and resumes there.
#pragma once
#include <atomic>
#include <coroutine>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "kube/object.h"
#include "task/task.h"

namespace mr::services {

class Meter : public std::enable_shared_from_this<Meter> {
 public:
  // `on_demand` is called on any loop when a request finds no pod.
  explicit Meter(std::function<void()> on_demand, std::size_t most_held = 1000);

  // One request, from its arrival to the last byte of its answer.
  class Ticket {
   public:
    explicit Ticket(std::shared_ptr<Meter> m);
    Ticket(Ticket&& o) noexcept : meter_(std::move(o.meter_)) {}
    Ticket& operator=(Ticket&&) = delete;
    ~Ticket();

   private:
    std::shared_ptr<Meter> meter_;
  };

  // What wait() came to; again: look once more.
  enum class Verdict : std::uint8_t { again, full, late, failed };
  // Changes when there is reason to look again: taken before looking, it is what wait() waits to change.
  [[nodiscard]] std::uint64_t turn() const { return turn_.load(std::memory_order_acquire); }
  // At most `ms`. `held`: this request has waited before and keeps its place among those that may.
  task::Task<Verdict> wait(std::uint64_t turn, long ms, bool held);
  [[nodiscard]] std::string failure() const;

  // Pods are about to be taken away: true when nothing is under way, and then requests wait until open().
  bool close();
  void open();
  [[nodiscard]] bool closed() const { return closed_.load(std::memory_order_acquire); }
  // Those who wait look again.
  void wake();
  // No pod will come: those who wait are told, and those that come are until open() or forgive().
  void fail(std::string why);
  void forgive();
  // The same for good.
  void end(std::string why);

  // Requests that one pod may have at once; 0: any number.
  std::atomic<std::uint32_t> limit{0};

  struct Sample {
    double busy_s = 0;            // requests under way, integrated over all time so far
    std::uint64_t requests = 0;   // that came
    std::int64_t idle_since = 0;  // when the last one ended; of use while none is active
    std::size_t active = 0, waiting = 0;
  };
  [[nodiscard]] Sample sample() const;
  [[nodiscard]] std::size_t active() const;

 private:
  struct Waiter;
  void leave();
  void settle(std::int64_t now) const;  // under mutex_
  void release(bool all, Verdict verdict);

  std::function<void()> on_demand_;
  const std::size_t most_held_;
  std::atomic<std::uint64_t> turn_{0};
  std::atomic<bool> closed_{false};
  mutable std::mutex mutex_;  // of what follows
  mutable double busy_s_ = 0;
  mutable std::int64_t settled_ns_ = 0;
  std::uint64_t requests_ = 0;
  std::int64_t idle_since_ = 0;
  std::size_t active_ = 0;
  std::deque<std::shared_ptr<Waiter>> waiting_;
  std::size_t held_ = 0;
  bool failed_ = false, ended_ = false;
  std::string failure_;
};

class Demand {
 public:
  using Map = std::map<kube::Key, std::shared_ptr<Meter>>;
  // Null: this Service's pods do not depend on demand.
  [[nodiscard]] std::shared_ptr<Meter> find(std::string_view ns, std::string_view service) const;
  // The Service's meter, made with `on_demand` where there is none.
  std::shared_ptr<Meter> keep(const kube::Key& service, std::function<void()> on_demand);
  void drop(const kube::Key& service);
  // Nobody waits any longer.
  void stop();

 private:
  std::mutex writing_;
  std::atomic<std::shared_ptr<const Map>> map_{std::make_shared<const Map>()};
};

}  // namespace mr::services
