#include "gateway/hold.h"

#include "time/clock.h"

namespace mr::gateway {

namespace {
constexpr long kLongestHoldMs = 300'000;
}

std::int64_t hold_until(long timeout_ms) {
  auto ms = timeout_ms > 0 ? std::min(timeout_ms, kLongestHoldMs) : kLongestHoldMs;
  return time::mono_ns() + ms * 1'000'000;
}

task::Task<Place> find_place(UnderWay& way, std::function<services::EndpointPtr()> pick, std::int64_t until_ns) {
  Place out;
  way.use.reset();
  auto* meter = way.meter.get();
  const auto limit = meter != nullptr ? meter->limit.load(std::memory_order_relaxed) : 0;
  for (bool held = false;; held = true) {
    const auto turn = meter != nullptr ? meter->turn() : 0;
    if (meter == nullptr || !meter->closed()) {
      auto e = pick();
      if (e && limit == 0) {
        way.use.emplace(e);
        out.endpoint = std::move(e);
        co_return out;
      }
      if (e)
        if (auto use = services::Use::take(e, limit)) {
          way.use.emplace(std::move(*use));
          out.endpoint = std::move(e);
          co_return out;
        }
    }
    if (meter == nullptr) co_return out;
    auto left = (until_ns - time::mono_ns()) / 1'000'000;
    switch (co_await meter->wait(turn, left, held)) {
      case services::Meter::Verdict::again:
        continue;
      case services::Meter::Verdict::full:
        out.why = "too many requests are waiting for this service to start; try again later";
        out.later = true;
        co_return out;
      case services::Meter::Verdict::late:
        out.status = 504;
        out.why = "upstream request timeout";
        co_return out;
      case services::Meter::Verdict::failed:
        out.why = meter->failure();
        co_return out;
    }
  }
}

}  // namespace mr::gateway
