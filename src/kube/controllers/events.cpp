#include <limits>

#include "kube/controllers/controllers.h"
#include "task/event.h"
#include "time/clock.h"

namespace mr::kube {

namespace {

constexpr std::size_t kEventsAtOnce = 1000;
constexpr long kEventLookMs = 60'000, kNextEventsMs = 1000;

// When it was last told. An event without any time counts as new: nobody can say that it is old.
std::int64_t told_ms(const Object& e) {
  std::int64_t last = 0;
  for (const auto* path : {"lastTimestamp", "eventTime", "series.lastObservedTime", "metadata.creationTimestamp"})
    if (auto ns = time::parse_rfc3339_ns(text_at(e, path))) last = std::max(last, *ns / 1'000'000);
  return last == 0 ? std::numeric_limits<std::int64_t>::max() : last;
}

}  // namespace

std::vector<ObjectPtr> expired_events(std::vector<ObjectPtr> all, std::int64_t now_ms, std::int64_t ttl_ms,
                                      std::size_t most) {
  std::vector<std::pair<std::int64_t, ObjectPtr>> by_age;
  by_age.reserve(all.size());
  for (auto& e : all) {
    const auto told = told_ms(*e);
    by_age.emplace_back(told, std::move(e));
  }
  std::ranges::sort(by_age, {}, [](const auto& p) { return p.first; });
  const auto surplus = by_age.size() > most ? by_age.size() - most : 0;
  std::vector<ObjectPtr> out;
  for (std::size_t i = 0; i < by_age.size(); ++i)
    if (i < surplus || by_age[i].first < now_ms - ttl_ms)
      out.push_back(std::move(by_age[i].second));
    else
      break;
  return out;
}

void add_event_expiry(Manager& m, Api& api, std::int64_t ttl_ms, std::size_t most) {
  auto& q = m.controller(
      "events",
      [&api, ttl_ms, most](Key) -> task::Task<Result<Again>> {
        auto old = expired_events(api.store().list("events", {}).items, time::now_ms(), ttl_ms, most);
        const bool more = old.size() > kEventsAtOnce;
        if (more) old.resize(kEventsAtOnce);
        task::Group group;  // one commit takes many
        for (auto& e : old)
          group.spawn([](Store& store, ObjectPtr event) -> task::Task<void> {
            // One that was told again meanwhile stays.
            (void)co_await store.remove("events", key_of(*event), Object(*event), resource_version_of(*event));
          }(api.store(), std::move(e)));
        co_await group.join();
        co_return Again{more ? kNextEventsMs : kEventLookMs};
      },
      1);
  q.add({"", "all"});
}

}  // namespace mr::kube
