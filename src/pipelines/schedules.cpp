#include "pipelines/schedules.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <future>
#include <map>
#include <mutex>

#include "crypto/random.h"
#include "log/log.h"
#include "pipelines/cron.h"
#include "task/event.h"

namespace mr::pipelines {
namespace {

constexpr std::int64_t kTickMs = 1000;           // the longest sleep: the wall clock may be set
constexpr std::int64_t kReloadMs = 60'000;       // a row that changed without a word is seen after this
constexpr std::int64_t kMaxBackoffMs = 60'000;   // between tries of a schedule that cannot make its run
constexpr std::int64_t kMaxConcurrencyCap = 10;  // as the original clamps it

// A schedule's trigger: its times, with no memory of which have had their run.
class Times {
 public:
  static Result<Times> of(const RecurringRun& r, std::string_view zone) {
    Times t(r);
    if (r.kind == TriggerKind::cron) {
      MR_TRY(auto cron, Cron::parse(r.cron, zone));
      t.cron_ = std::move(cron);
    }
    return t;
  }
  // The first time after `after_ms`, within start and end.
  [[nodiscard]] std::optional<std::int64_t> after(std::int64_t after_ms) const {
    std::optional<std::int64_t> t;
    switch (kind_) {
      case TriggerKind::none:
        if (after_ms < created_) t = created_;
        break;
      case TriggerKind::cron:
        t = cron_->next(std::max(after_ms, start_ - 1));
        break;
      case TriggerKind::periodic: {
        const auto steps = after_ms < origin_ ? 0 : (after_ms - origin_) / interval_ + 1;
        t = origin_ + steps * interval_;
        break;
      }
    }
    if (t && end_ != 0 && *t > end_) return std::nullopt;
    return t;
  }

 private:
  explicit Times(const RecurringRun& r) : kind_(r.kind), created_(r.created_ms), start_(r.start_ms), end_(r.end_ms) {
    interval_ = std::max<std::int64_t>(r.interval_s, 1) * 1000;
    // A start that is to come is a time itself; else the first time is one interval after the start or the creation.
    if (r.last_ms != 0)
      origin_ = r.last_ms;
    else if (start_ > created_)
      origin_ = start_;
    else
      origin_ = (start_ != 0 ? start_ : created_) + interval_;
  }

  TriggerKind kind_;
  std::int64_t created_, start_, end_, interval_ = 0, origin_ = 0;
  std::optional<Cron> cron_;
};

// Times up to this one have had their run, or shall have none.
std::int64_t done_until(const RecurringRun& r) {
  // updated_ms moves when a schedule is enabled or disabled: what it missed in between is not made up for.
  const auto since = r.updated_ms > r.created_ms ? r.updated_ms : 0;
  if (r.kind == TriggerKind::none) return r.last_ms != 0 ? std::max(r.last_ms, r.created_ms) : r.created_ms - 1;
  // A start in the past asks for the times since then.
  const auto first = r.start_ms != 0 ? r.start_ms - 1 : r.created_ms;
  return std::max(r.last_ms != 0 ? r.last_ms : first, since);
}

// The last time that is not after `now_ms`, given that there is one after `from_ms`. By bisection, since a schedule of
// every second that slept for a year has thirty million of them.
std::int64_t latest(const Times& times, std::int64_t from_ms, std::int64_t now_ms) {
  auto passed = [&](std::int64_t ms) {
    const auto t = times.after(ms);
    return t && *t <= now_ms;
  };
  auto low = from_ms, high = now_ms;  // passed(low), !passed(high)
  while (high - low > 1) {
    const auto middle = low + (high - low) / 2;
    (passed(middle) ? low : high) = middle;
  }
  return *times.after(low);
}

}  // namespace

Result<std::optional<std::int64_t>> next_time(const RecurringRun& r, std::string_view zone) {
  MR_TRY(const auto times, Times::of(r, zone));
  return times.after(done_until(r));
}

Result<std::vector<std::int64_t>> next_times(const RecurringRun& r, std::int64_t now_ms, std::string_view zone,
                                             std::size_t most) {
  MR_TRY(const auto times, Times::of(r, zone));
  std::vector<std::int64_t> out;
  for (auto t = times.after(std::max(done_until(r), now_ms)); t && out.size() < most; t = times.after(*t))
    out.push_back(*t);
  return out;
}

Result<std::vector<Due>> due(const RecurringRun& r, std::int64_t now_ms, std::int64_t active_runs,
                             std::string_view zone) {
  std::vector<Due> out;
  auto slots = std::clamp<std::int64_t>(r.max_concurrency, 1, kMaxConcurrencyCap) - active_runs;
  if (!r.enabled || slots <= 0) return out;
  MR_TRY(const auto times, Times::of(r, zone));
  const auto from = done_until(r);
  auto next = times.after(from);
  if (!next || *next > now_ms) return out;
  if (r.no_catchup) {
    out.push_back({latest(times, from, now_ms), r.next_index});
    return out;
  }
  for (auto index = r.next_index; next && *next <= now_ms && slots > 0; --slots, ++index) {
    out.push_back({*next, index});
    next = times.after(*next);
  }
  return out;
}

struct Schedules::Impl {
  // A schedule as last read, with what does not outlive a restart.
  struct Entry {
    RecurringRun row;
    std::optional<std::int64_t> next;
    std::int64_t not_before_ms = 0;  // after a failed try
    int failures = 0;
  };

  Impl(Service& s, std::function<std::int64_t()> now, std::string z)
      : service(s), now_ms(std::move(now)), zone(std::move(z)) {}

  Service& service;
  std::function<std::int64_t()> now_ms;
  const std::string zone;
  std::atomic<bool> dirty = true, stopping = false;
  std::atomic<task::Loop*> loop = nullptr;  // none: not started, or stopped
  mutable std::mutex mutex;
  std::map<std::string, Error> errors;  // by recurring run; guarded by mutex

  // Of the loop.
  std::map<std::string, Entry> entries;
  std::int64_t loaded_ms = 0;
  task::Event wake;
  std::promise<void> ended;

  void look_ahead(Entry& e) {
    auto next = next_time(e.row, zone);
    e.next = next ? *next : std::nullopt;
    if (!next) remember(e.row.id, next.error());
  }

  void remember(const std::string& id, std::optional<Error> error) {
    const std::lock_guard lock(mutex);
    if (!error) {
      errors.erase(id);
      return;
    }
    auto& known = errors[id];
    if (known.message != error->message)
      log::warn("a recurring run cannot make its next run", {{"recurring_run", id}, {"error", error->message}});
    known = std::move(*error);
  }

  void load(std::int64_t now) {
    auto rows = service.store().enabled_recurring();
    if (!rows) {
      log::error("recurring runs cannot be read", {{"error", rows.error().message}, {"detail", rows.error().detail}});
      dirty = true;
      return;
    }
    std::map<std::string, Entry> fresh;
    for (auto& row : *rows) {
      Entry e{.row = std::move(row)};
      if (auto old = entries.find(e.row.id); old != entries.end() && old->second.row.updated_ms == e.row.updated_ms) {
        e.not_before_ms = old->second.not_before_ms;
        e.failures = old->second.failures;
      }
      look_ahead(e);
      fresh.emplace(e.row.id, std::move(e));
    }
    entries = std::move(fresh);
    loaded_ms = now;
    const std::lock_guard lock(mutex);
    std::erase_if(errors, [&](const auto& e) { return !entries.contains(e.first); });
  }

  // Makes what `e` owes. False: the schedule is gone or disabled.
  task::Task<bool> serve(Entry& e, std::int64_t now) {
    // The row may have changed since it was read, by who disables it or takes it away.
    auto row = service.store().recurring(e.row.id);
    if (!row || !row->enabled) co_return !row && row.error().code != Code::not_found;
    e.row = std::move(*row);
    auto active = service.store().active_runs_of(e.row.id);
    auto owed = active ? due(e.row, now, *active, zone) : Result<std::vector<Due>>(std::unexpected(active.error()));
    std::optional<Error> error;
    if (!owed) error = owed.error();
    for (std::size_t i = 0; owed && i < owed->size() && !stopping && !error; ++i) {
      const auto& d = (*owed)[i];
      auto made = co_await service.submit(scheduled_run(e.row, d, now, crypto::uuid4()));
      if (!made) {
        error = made.error();
        break;
      }
      e.row.last_ms = d.scheduled_ms;
      e.row.next_index = d.index + 1;
    }
    if (error) {
      e.not_before_ms = now + std::min<std::int64_t>(kMaxBackoffMs, kTickMs << std::min(e.failures, 6));
      ++e.failures;
    } else {
      e.not_before_ms = 0;
      e.failures = 0;
    }
    remember(e.row.id, error);
    if (!error) look_ahead(e);
    co_return true;
  }

  task::Task<void> run() {
    while (!stopping) {
      const auto next = co_await step();
      if (stopping) break;
      task::Timer timer;
      if (next)
        timer.start(static_cast<long>(std::clamp<std::int64_t>(*next - now_ms(), 1, kTickMs)), [this] { wake.set(); });
      co_await wake.wait();
    }
    ended.set_value();
  }

  task::Task<std::optional<std::int64_t>> step() {
    const auto now = now_ms();
    if (dirty.exchange(false) || now - loaded_ms >= kReloadMs || now < loaded_ms) load(now);
    for (auto it = entries.begin(); it != entries.end() && !stopping;) {
      auto& e = it->second;
      const bool ready = e.next && *e.next <= now && e.not_before_ms <= now;
      if (ready && !co_await serve(e, now)) {
        it = entries.erase(it);
        continue;
      }
      ++it;
    }
    std::optional<std::int64_t> soonest;
    for (const auto& [id, e] : entries) {
      if (!e.next) continue;
      // What is due and was not made waits for a free place.
      const auto at = *e.next <= now ? now + kTickMs : *e.next;
      soonest = std::min(soonest.value_or(now + kTickMs), at);
    }
    if (dirty) soonest = soonest ? std::min(*soonest, now + kTickMs) : now + kTickMs;
    co_return soonest;
  }
};

Schedules::Schedules(Service& service, std::function<std::int64_t()> now_ms, std::string zone)
    : impl_(std::make_shared<Impl>(service, std::move(now_ms), std::move(zone))) {}
Schedules::~Schedules() { stop(); }

void Schedules::start(task::Loop& loop) {
  impl_->loop = &loop;
  auto held = [](std::shared_ptr<Impl> i) -> task::Task<void> { co_await i->run(); };
  loop.post([i = impl_, held] { task::detach(held(i)); });
}

void Schedules::stop() {
  auto* loop = impl_->loop.exchange(nullptr);
  if (loop == nullptr) return;
  impl_->stopping = true;
  loop->post([i = impl_] { i->wake.set(); });
  impl_->ended.get_future().wait();
}

void Schedules::changed() {
  impl_->dirty = true;
  if (auto* loop = impl_->loop.load()) loop->post([i = impl_] { i->wake.set(); });
}

std::optional<Error> Schedules::error(const std::string& recurring_id) const {
  const std::lock_guard lock(impl_->mutex);
  const auto found = impl_->errors.find(recurring_id);
  return found == impl_->errors.end() ? std::nullopt : std::optional(found->second);
}

task::Task<std::optional<std::int64_t>> Schedules::step() { return impl_->step(); }

}  // namespace mr::pipelines
