#include "serving/traffic.h"

#include <algorithm>

#include "task/event.h"
#include "time/clock.h"

namespace mr::serving {

// Settled once: by who leaves and hands its place over, by a more urgent one, or by the timer. It stands in its queue
// until then.
struct ModelTraffic::Waiter {
  task::Loop* loop = nullptr;
  std::coroutine_handle<> handle;
  std::size_t level = 0;
  bool settled = false;  // under mutex_
  bool queued = false;   // it has waited
  Entry entry = Entry::late;
};

struct ModelTraffic::Meters {
  metrics::Histogram in_flight, wait, batch;
  metrics::Gauge waiting;
  metrics::Counter full, late;
};

void ModelTraffic::measure(const metrics::Labels& labels) {
  if (meters_) return;  // it is read again
  auto refused = [&](const char* why) {
    auto with = labels;
    with.emplace_back("reason", why);
    return metrics::counter("millrace_model_refused_total", "Requests that got no place at their model.", with);
  };
  meters_ = std::make_shared<const Meters>(Meters{
      // MLServer's name.
      metrics::count_histogram(
          "parallel_request_queue",
          "Requests under way and waiting when one more comes to a model with a limit or a worker.", labels),
      metrics::duration_histogram("millrace_model_queue_wait_seconds", "Time that requests wait for their model.",
                                  labels),
      metrics::count_histogram("millrace_model_batch_rows", "Rows that a model computes at once.", labels),
      metrics::gauge("millrace_model_queue_length", "Requests that wait for their model.", labels), refused("full"),
      refused("timeout")});
}

bool ModelTraffic::try_enter() {
  if (limits_.concurrency == 0) {
    running_.fetch_add(1, std::memory_order_relaxed);
    return true;
  }
  std::lock_guard guard(mutex_);
  if (meters_) meters_->in_flight.observe(static_cast<double>(running_ + waiters_));
  if (running_ >= limits_.concurrency || waiters_ > 0) return false;
  ++running_;
  return true;
}

// Replicas of a model in one process share its series, so that the gauge moves by what changed.
void ModelTraffic::set_waiting(std::size_t n) {
  if (meters_) meters_->waiting.add(static_cast<double>(n) - static_cast<double>(waiters_));
  waiters_ = n;
}

// True: it stands in the queue. False: it is settled. `displaced`: who has to go for it.
bool ModelTraffic::place_or_queue(const WaiterPtr& w, WaiterPtr& displaced) {
  if (running_ < limits_.concurrency) {  // a place became free since; nobody waits then
    ++running_;
    w->settled = true;
    w->entry = Entry::in;
    return false;
  }
  if (waiters_ >= limits_.queue) {
    auto least = waiting_.size();
    while (least > w->level + 1 && waiting_[least - 1].empty()) --least;
    if (least == w->level + 1) {
      w->settled = true;
      w->entry = Entry::full;
      return false;
    }
    auto& queue = waiting_[least - 1];
    displaced = std::move(queue.back());
    queue.pop_back();
    displaced->settled = true;
    displaced->entry = Entry::full;
    set_waiting(waiters_ - 1);
  }
  w->queued = true;
  waiting_[w->level].push_back(w);
  set_waiting(waiters_ + 1);
  return true;
}

task::Task<ModelTraffic::Entry> ModelTraffic::enter(Order order) {
  if (limits_.concurrency == 0) {
    running_.fetch_add(1, std::memory_order_relaxed);
    co_return Entry::in;
  }
  const auto began = time::mono_ns();
  auto w = std::make_shared<Waiter>();
  w->level = static_cast<std::size_t>((order.priority == 0 ? kUsualPriority : order.priority) - 1);
  struct Awaiter {
    ModelTraffic& t;
    WaiterPtr w;
    bool await_ready() const { return false; }
    bool await_suspend(std::coroutine_handle<> h) const {
      WaiterPtr displaced;
      w->loop = task::Loop::current();
      w->handle = h;
      bool queued = false;
      {
        std::lock_guard guard(t.mutex_);
        queued = t.place_or_queue(w, displaced);
      }
      if (displaced) displaced->loop->post([displaced] { displaced->handle.resume(); });
      return queued;
    }
    void await_resume() const {}
  };
  task::Timer timer;
  timer.start(order.timeout_ms > 0 ? std::min(order.timeout_ms, limits_.timeout_ms) : limits_.timeout_ms, [this, w] {
    {
      std::lock_guard guard(mutex_);
      if (w->settled) return;
      w->settled = true;
      auto& queue = waiting_[w->level];
      queue.erase(std::find(queue.begin(), queue.end(), w));
      set_waiting(waiters_ - 1);
    }
    task::resume_later(w->handle);
  });
  co_await Awaiter{*this, w};
  timer.cancel();
  if (w->queued) {
    const auto ns = time::mono_ns() - began;
    waited_.fetch_add(1, std::memory_order_relaxed);
    waited_ns_.fetch_add(static_cast<std::uint64_t>(ns), std::memory_order_relaxed);
    if (meters_) meters_->wait.observe(static_cast<double>(ns) / 1e9);
  }
  if (meters_) {
    if (w->entry == Entry::full) meters_->full.add();
    if (w->entry == Entry::late) meters_->late.add();
  }
  co_return w->entry;
}

void ModelTraffic::leave() {
  if (limits_.concurrency == 0) {
    running_.fetch_sub(1, std::memory_order_relaxed);
    return;
  }
  WaiterPtr next;
  {
    std::lock_guard guard(mutex_);
    for (auto& queue : waiting_) {
      if (queue.empty()) continue;
      next = std::move(queue.front());
      queue.pop_front();
      break;
    }
    if (next == nullptr) {
      --running_;
      return;
    }
    next->settled = true;
    next->entry = Entry::in;
    set_waiting(waiters_ - 1);
  }
  next->loop->post([next] { next->handle.resume(); });
}

void ModelTraffic::to_worker() const {
  if (meters_ && limits_.concurrency == 0) meters_->in_flight.observe(static_cast<double>(running()) - 1);
}

void ModelTraffic::engine_ran(std::size_t rows, std::int64_t ns) {
  runs_.fetch_add(1, std::memory_order_relaxed);
  rows_.fetch_add(rows, std::memory_order_relaxed);
  run_ns_.fetch_add(static_cast<std::uint64_t>(ns), std::memory_order_relaxed);
  if (meters_) meters_->batch.observe(static_cast<double>(rows));
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
