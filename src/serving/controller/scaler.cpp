#include "serving/controller/scaler.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include "text/text.h"

namespace mr::serving {

using kube::Object;

namespace {

constexpr double kUtilization = 0.7;  // of a target that pods are filled to
constexpr double kConcurrencyTarget = 100, kRateTarget = 200;
constexpr int kMostPods = 1000;
constexpr double kPanicShare = 0.1;  // of the window: a burst shows there first
constexpr double kPanicThreshold = 2;

std::optional<double> number(std::string_view t) {
  double v = 0;
  auto [end, ec] = std::from_chars(t.data(), t.data() + t.size(), v);
  if (ec != std::errc() || end != t.data() + t.size() || !std::isfinite(v)) return std::nullopt;
  return v;
}

// "90s", "1m30s", "500ms": a duration as Go writes it.
std::optional<long> duration_ms(std::string_view t) {
  double all = 0;
  if (t.empty()) return std::nullopt;
  while (!t.empty()) {
    double v = 0;
    auto [end, ec] = std::from_chars(t.data(), t.data() + t.size(), v);
    if (ec != std::errc() || v < 0) return std::nullopt;
    t.remove_prefix(static_cast<std::size_t>(end - t.data()));
    double unit = 0;
    for (auto [name, ms] : {std::pair<std::string_view, double>{"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3.6e6}})
      if (unit == 0 && t.starts_with(name)) {
        unit = ms;
        t.remove_prefix(name.size());
      }
    if (unit == 0) return std::nullopt;
    all += v * unit;
  }
  return all > 1e9 ? std::nullopt : std::optional<long>(static_cast<long>(all));
}

// The component's own annotation goes before the InferenceService's. The names were once written minScale.
std::string_view scaling_annotation(const Object& isvc, const Object& spec, std::string_view name,
                                    std::string_view old_name = {}) {
  for (auto n : {name, old_name}) {
    if (n.empty()) continue;
    auto key = fmt::format("autoscaling.knative.dev/{}", n);
    const auto& own = kube::object_at(spec, "annotations");
    if (const auto* v = own.if_contains(key); v != nullptr && v->is_string()) return v->get_string();
    if (auto v = kube::annotation(isvc, key); !v.empty()) return v;
  }
  return {};
}

}  // namespace

ScaleSettings scale_settings(const Object& isvc, const Object& spec, const ScaleDefaults& defaults) {
  ScaleSettings s;
  auto note = [&](std::string text) { s.note += (s.note.empty() ? "" : "; ") + std::move(text); };
  auto says = [&](std::string_view name, std::string_view old_name = {}) {
    return scaling_annotation(isvc, spec, name, old_name);
  };
  auto given = [&](std::string_view field) {
    const auto* v = spec.if_contains(field);
    return v != nullptr && v->is_number();
  };
  auto whole = [&](std::string_view field, std::string_view annotation, std::string_view old_name, int otherwise) {
    auto v = static_cast<double>(otherwise);
    if (given(field)) {
      v = static_cast<double>(kube::int_at(spec, field));
    } else if (auto text = says(annotation, old_name); !text.empty()) {
      if (auto n = number(text))
        v = *n;
      else
        note(fmt::format("annotation {}={} is no number", annotation, text.substr(0, 40)));
    }
    return static_cast<int>(std::clamp(v, 0.0, static_cast<double>(kMostPods)));
  };
  s.min = whole("minReplicas", "min-scale", "minScale", 1);
  s.max = whole("maxReplicas", "max-scale", "maxScale", 0);
  // No bound, in Knative. On one machine more pods than were asked for are of no use.
  if (s.max == 0) s.max = std::max(s.min, 1);
  s.max = std::max({s.max, s.min, 1});
  s.at_once =
      static_cast<std::uint32_t>(std::clamp<std::int64_t>(kube::int_at(spec, "containerConcurrency"), 0, 1'000'000));
  s.activation = std::clamp(whole("", "activation-scale", "", 1), 1, s.max);

  std::string metric(kube::text_at(spec, "scaleMetric"));
  if (metric.empty()) metric = says("metric");
  if (metric == "cpu" || metric == "memory")
    note(fmt::format("scaleMetric {} is not measured here: the number of pods follows the requests under way", metric));
  s.rps = metric == "rps";
  std::optional<double> target;
  if (given("scaleTarget")) {
    target = static_cast<double>(kube::int_at(spec, "scaleTarget"));
  } else if (auto text = says("target"); !text.empty()) {
    target = number(text);
  }
  if (metric == "cpu" || metric == "memory") target.reset();
  if (target && *target <= 0) target.reset();
  double per_pod = target ? *target : s.rps ? kRateTarget : s.at_once > 0 ? s.at_once : kConcurrencyTarget;
  if (!s.rps && s.at_once > 0) per_pod = std::min(per_pod, static_cast<double>(s.at_once));
  auto share = kUtilization;
  if (auto text = says("target-utilization-percentage", "targetUtilizationPercentage"); !text.empty())
    if (auto n = number(text); n && *n >= 1 && *n <= 100) share = *n / 100;
  s.target = std::max(0.01, per_pod * share);

  s.window_ms = defaults.window_ms;
  if (auto text = says("window"); !text.empty()) {
    auto ms = duration_ms(text);
    if (ms && *ms >= 6000 && *ms <= 3'600'000)
      s.window_ms = *ms;
    else
      note(fmt::format("annotation window={} is not a time between 6s and 1h", text.substr(0, 40)));
  }
  s.linger_ms = defaults.grace_ms;
  if (auto text = says("scale-to-zero-pod-retention-period", "scaleToZeroPodRetentionPeriod"); !text.empty()) {
    if (auto ms = duration_ms(text))
      s.linger_ms = std::max(s.linger_ms, *ms);
    else
      note(fmt::format("annotation scale-to-zero-pod-retention-period={} is no time", text.substr(0, 40)));
  }
  return s;
}

void Scaler::count(std::int64_t now_ms, double busy_s, std::uint64_t requests, long window_ms) {
  points_.push_back({now_ms, busy_s, requests});
  // The last one before the window stays: the sum is a difference of two points.
  while (points_.size() > 2 && points_[1].ms <= now_ms - window_ms) points_.pop_front();
}

double Scaler::average(long ms, bool rate) const {
  if (points_.size() < 2) return 0;
  const auto& last = points_.back();
  auto first = points_.begin();
  while (first + 2 != points_.end() && (first + 1)->ms <= last.ms - ms) ++first;
  auto seconds = static_cast<double>(last.ms - first->ms) / 1000;
  if (seconds <= 0) return 0;
  return (rate ? static_cast<double>(last.requests - first->requests) : last.busy_s - first->busy_s) / seconds;
}

int Scaler::wanted(std::int64_t now_ms, const ScaleSettings& s, int ready) {
  auto pods = [&](long ms) {
    auto load = s.rps ? rate(ms) : under_way(ms);
    return static_cast<int>(std::min(std::ceil(load / s.target - 1e-9), static_cast<double>(kMostPods)));
  };
  auto steady = pods(s.window_ms);
  // A burst counts at once; what was added for it stays for a window.
  auto burst = pods(std::max(1L, static_cast<long>(static_cast<double>(s.window_ms) * kPanicShare)));
  if (ready > 0 && burst >= kPanicThreshold * ready) {
    panic_until_ms_ = now_ms + s.window_ms;
    panic_pods_ = std::max(panic_pods_, burst);
  }
  if (now_ms < panic_until_ms_) {
    panic_pods_ = std::max(panic_pods_, burst);
    steady = std::max(steady, panic_pods_);
  } else {
    panic_pods_ = 0;
  }
  steady = std::max(steady, ready / 2);  // half of them go at a time
  return std::clamp(steady, std::max(1, s.min), s.max);
}

}  // namespace mr::serving
