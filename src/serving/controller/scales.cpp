#include "serving/controller/scales.h"

#include <algorithm>
#include <set>

#include "task/loop.h"
#include "time/clock.h"

namespace mr::serving {

using kube::Key;

struct Scales::Impl : std::enable_shared_from_this<Scales::Impl> {
  Impl(kube::Manager& m, services::Demand& d, ScaleDefaults defs, std::function<void(Key)> on_change,
       std::function<bool(const Key&)> is_connected)
      : manager(m), demand(d), defaults(defs), changed(std::move(on_change)), connected(std::move(is_connected)) {}
  kube::Manager& manager;
  services::Demand& demand;
  ScaleDefaults defaults;
  std::function<void(Key)> changed;
  std::function<bool(const Key&)> connected;

  struct State {
    Key isvc;
    std::shared_ptr<services::Meter> meter;
    ScaleSettings settings;
    Scaler scaler;
    int wanted = 1, ready = 0;
    bool may_sleep = false;        // it has shown that it can serve
    std::int64_t ready_since = 0;  // of the monotonic clock
  };
  std::map<Key, State> states;

  // A request found no pod.
  void asked(const Key& revision) {
    auto it = states.find(revision);
    if (it == states.end() || it->second.wanted > 0) return;
    it->second.wanted = it->second.settings.activation;
    changed(it->second.isvc);
  }

  State& state_of(const Key& isvc, const Key& key, const Revision& r, const ScaleSettings& s) {
    auto [it, made] = states.try_emplace(key);
    auto& st = it->second;
    if (!made) return st;
    st.isvc = isvc;
    st.meter = demand.keep(key, [weak = weak_from_this(), loop = &manager.loop(), key] {
      loop->post([weak, key] {
        if (auto self = weak.lock()) self->asked(key);
      });
    });
    st.ready_since = time::mono_ns();
    auto now = static_cast<int>(kube::int_at(*r.deployment, "spec.replicas", 1));
    st.wanted = now == 0 && r.on_demand && s.min == 0 && st.meter->close() ? 0 : std::max(now, 1);
    return st;
  }

  int replicas(const Key& isvc, const Revision& r, const ScaleSettings& s) {
    auto& st = state_of(isvc, {isvc.ns, r.name}, r, s);
    st.settings = s;
    if (st.meter->limit.exchange(s.at_once) != s.at_once) st.meter->wake();
    if (r.ready_pods > 0 && st.ready == 0) st.ready_since = time::mono_ns();
    st.ready = r.ready_pods;
    st.may_sleep = r.ready_pods > 0 || r.on_demand;
    if (st.wanted == 0 && (s.min > 0 || st.meter->active() > 0)) st.wanted = std::max(s.min, s.activation);
    if (st.wanted > 0) st.wanted = std::clamp(st.wanted, std::max(1, s.min), s.max);
    if (st.wanted > 0 && r.ready_pods > 0 && kube::int_at(*r.deployment, "spec.replicas", 1) > 0)
      st.meter->open();
    else if (st.wanted > 0 && r.ready_pods == 0 && r.failure)
      // What another image says at its end is for its owner, not for who asks it.
      st.meter->fail(r.builtin && !r.failure->message.empty() ? r.failure->message : r.failure->reason);
    else
      st.meter->forgive();
    return st.wanted;
  }

  void look() {
    const auto now = time::mono_ns();
    std::set<Key> other;
    for (auto& [key, st] : states) {
      auto seen = st.meter->sample();
      st.scaler.count(now / 1'000'000, seen.busy_s, seen.requests, st.settings.window_ms);
      if (st.wanted == 0) continue;
      const auto& s = st.settings;
      auto idle_ms = (now - std::max(seen.idle_since, st.ready_since)) / 1'000'000;
      if (s.min == 0 && seen.active == 0 && st.may_sleep && idle_ms >= s.window_ms + s.linger_ms) {
        if ((connected && connected(key)) || !st.meter->close()) continue;
        st.wanted = 0;
        st.meter->forgive();
        other.insert(st.isvc);
        continue;
      }
      // Nothing can be said of load per pod before there is one.
      if (s.max <= 1 || st.ready == 0) continue;
      auto pods = st.scaler.wanted(now / 1'000'000, s, st.ready);
      if (pods == st.wanted) continue;
      st.wanted = pods;
      other.insert(st.isvc);
    }
    for (const auto& isvc : other) changed(isvc);
  }

  static task::Task<void> keep_looking(std::weak_ptr<Impl> weak, long every_ms) {
    for (;;) {
      co_await task::sleep_ms(every_ms);
      auto self = weak.lock();
      if (!self) co_return;
      self->look();
    }
  }
};

Scales::Scales(kube::Manager& manager, services::Demand& demand, ScaleDefaults defaults,
               std::function<void(Key)> changed, std::function<bool(const Key&)> connected)
    : impl_(std::make_shared<Impl>(manager, demand, defaults, std::move(changed), std::move(connected))) {
  auto every = std::clamp(defaults.window_ms / 10, 100L, 2000L);
  manager.loop().post([weak = std::weak_ptr<Impl>(impl_), every] { task::detach(Impl::keep_looking(weak, every)); });
}
Scales::~Scales() = default;

int Scales::replicas(const Key& isvc, const Revision& r, const ScaleSettings& s) { return impl_->replicas(isvc, r, s); }
bool Scales::knows(const Key& revision) const { return impl_->states.contains(revision); }
bool Scales::busy(const Key& revision) const {
  auto it = impl_->states.find(revision);
  return it != impl_->states.end() && it->second.meter->active() > 0;
}
void Scales::forget(const Key& revision) {
  auto it = impl_->states.find(revision);
  if (it == impl_->states.end()) return;
  // Requests that hold the meter may still find a pod.
  it->second.meter->open();
  impl_->states.erase(it);
  impl_->demand.drop(revision);
}
void Scales::forget_all(const Key& isvc) {
  for (auto it = impl_->states.begin(); it != impl_->states.end();) {
    if (it->second.isvc != isvc) {
      ++it;
      continue;
    }
    impl_->demand.drop(it->first);
    it = impl_->states.erase(it);
  }
}

}  // namespace mr::serving
