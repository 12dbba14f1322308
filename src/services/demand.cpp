#include "services/demand.h"

#include "task/event.h"
#include "time/clock.h"

namespace mr::services {

// Settled once: by a change or by its timer.
struct Meter::Waiter {
  task::Loop* loop = nullptr;
  std::coroutine_handle<> handle;
  bool settled = false;  // under mutex_
  Verdict verdict = Verdict::late;
};

Meter::Meter(std::function<void()> on_demand, std::size_t most_held)
    : on_demand_(std::move(on_demand)), most_held_(most_held), settled_ns_(time::mono_ns()), idle_since_(settled_ns_) {}

Meter::Ticket::Ticket(std::shared_ptr<Meter> m) : meter_(std::move(m)) {
  if (!meter_) return;
  std::lock_guard guard(meter_->mutex_);
  meter_->settle(time::mono_ns());
  ++meter_->active_;
  ++meter_->requests_;
}
Meter::Ticket::~Ticket() {
  if (meter_) meter_->leave();
}

void Meter::settle(std::int64_t now) const {
  busy_s_ += static_cast<double>(active_) * static_cast<double>(now - settled_ns_) / 1e9;
  settled_ns_ = now;
}

void Meter::leave() {
  {
    std::lock_guard guard(mutex_);
    auto now = time::mono_ns();
    settle(now);
    --active_;
    idle_since_ = now;
  }
  // A place of a pod may be free, by its own limit or by a rule for its Service.
  release(false, Verdict::again);
}

void Meter::release(bool all, Verdict verdict) {
  std::deque<std::shared_ptr<Waiter>> now;
  {
    std::lock_guard guard(mutex_);
    turn_.fetch_add(1, std::memory_order_acq_rel);
    while (!waiting_.empty() && (all || now.empty())) {
      auto w = std::move(waiting_.front());
      waiting_.pop_front();
      w->settled = true;
      w->verdict = verdict;
      --held_;
      now.push_back(std::move(w));
    }
  }
  for (auto& w : now) w->loop->post([w] { w->handle.resume(); });
}

task::Task<Meter::Verdict> Meter::wait(std::uint64_t turn, long ms, bool held) {
  auto self = shared_from_this();
  {
    std::lock_guard guard(mutex_);
    if (failed_) co_return Verdict::failed;
    if (!held && held_ >= most_held_) co_return Verdict::full;
  }
  if (!held && on_demand_) on_demand_();
  if (ms <= 0) co_return Verdict::late;
  auto w = std::make_shared<Waiter>();
  struct Awaiter {
    Meter& m;
    std::shared_ptr<Waiter> w;
    std::uint64_t turn;
    bool await_ready() const { return false; }
    bool await_suspend(std::coroutine_handle<> h) const {
      std::lock_guard guard(m.mutex_);
      if (m.failed_ || m.turn_.load(std::memory_order_relaxed) != turn) {
        w->settled = true;
        w->verdict = m.failed_ ? Verdict::failed : Verdict::again;
        return false;
      }
      w->loop = task::Loop::current();
      w->handle = h;
      m.waiting_.push_back(w);
      ++m.held_;
      return true;
    }
    void await_resume() const {}
  };
  task::Timer timer;
  timer.start(ms, [self, w] {
    {
      std::lock_guard guard(self->mutex_);
      if (w->settled || !w->handle) return;
      w->settled = true;
      --self->held_;
      std::erase(self->waiting_, w);
    }
    task::resume_later(w->handle);
  });
  co_await Awaiter{*this, w, turn};
  timer.cancel();
  co_return w->verdict;
}

std::string Meter::failure() const {
  std::lock_guard guard(mutex_);
  return failure_;
}

bool Meter::close() {
  std::lock_guard guard(mutex_);
  if (active_ != 0) return false;
  closed_.store(true, std::memory_order_release);
  return true;
}
void Meter::open() {
  forgive();
  if (closed_.exchange(false, std::memory_order_acq_rel)) release(true, Verdict::again);
}
void Meter::wake() { release(true, Verdict::again); }
void Meter::fail(std::string why) {
  {
    std::lock_guard guard(mutex_);
    if (failed_ && failure_ == why) return;
    failed_ = true;
    failure_ = std::move(why);
  }
  release(true, Verdict::failed);
}
void Meter::end(std::string why) {
  {
    std::lock_guard guard(mutex_);
    ended_ = true;
  }
  fail(std::move(why));
}
void Meter::forgive() {
  std::lock_guard guard(mutex_);
  if (ended_) return;
  failed_ = false;
  failure_.clear();
}

Meter::Sample Meter::sample() const {
  std::lock_guard guard(mutex_);
  settle(time::mono_ns());
  return {busy_s_, requests_, idle_since_, active_, held_};
}
std::size_t Meter::active() const {
  std::lock_guard guard(mutex_);
  return active_;
}

std::shared_ptr<Meter> Demand::find(std::string_view ns, std::string_view service) const {
  auto map = map_.load();
  if (map->empty()) return nullptr;
  auto it = map->find({std::string(ns), std::string(service)});
  return it == map->end() ? nullptr : it->second;
}

std::shared_ptr<Meter> Demand::keep(const kube::Key& service, std::function<void()> on_demand) {
  std::lock_guard guard(writing_);
  auto map = map_.load();
  if (auto it = map->find(service); it != map->end()) return it->second;
  auto next = std::make_shared<Map>(*map);
  auto meter = std::make_shared<Meter>(std::move(on_demand));
  next->emplace(service, meter);
  map_.store(std::move(next));
  return meter;
}

void Demand::drop(const kube::Key& service) {
  std::shared_ptr<Meter> meter;
  {
    std::lock_guard guard(writing_);
    auto map = map_.load();
    auto it = map->find(service);
    if (it == map->end()) return;
    meter = it->second;
    auto next = std::make_shared<Map>(*map);
    next->erase(service);
    map_.store(std::move(next));
  }
  meter->end("the service is no longer there");
}

void Demand::stop() {
  std::lock_guard guard(writing_);
  for (const auto& [_, meter] : *map_.load()) meter->end("the platform is stopping");
}

}  // namespace mr::services
