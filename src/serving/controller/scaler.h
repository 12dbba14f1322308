// How many pods a revision should have for what is asked of it, by the rules of Knative's autoscaler. Pure: times come
// from the caller. Not thread safe.
#pragma once
#include <cstdint>
#include <deque>
#include <string>

#include "kube/object.h"

namespace mr::serving {

struct ScaleDefaults {
  long window_ms = 60'000;  // over which load is averaged
  long grace_ms = 30'000;   // further idle time before the last pod goes
};

struct ScaleSettings {
  int min = 1, max = 1;
  bool rps = false;           // the target is requests a second, not requests under way
  double target = 70;         // of one pod
  int activation = 1;         // pods that a revision without any starts with
  std::uint32_t at_once = 0;  // requests that one pod may have; 0: any number
  long window_ms = 60'000;    // the time over which load is averaged
  long linger_ms = 30'000;    // further idle time before the last pod goes
  std::string note;           // what of the spec has no effect here
  // Whether somebody has to count requests.
  [[nodiscard]] bool metered() const { return min == 0 || max > min || at_once > 0; }
};
// From a component's spec and the annotations autoscaling.knative.dev/* of it and of the InferenceService.
ScaleSettings scale_settings(const kube::Object& isvc, const kube::Object& spec, const ScaleDefaults& defaults);

// One revision's load.
class Scaler {
 public:
  // What was counted up to `now_ms`: requests under way integrated over time, and requests that came.
  void count(std::int64_t now_ms, double busy_s, std::uint64_t requests, long window_ms);
  // Pods for that load, at least one and within the bounds of `s`; `ready`: how many there are.
  int wanted(std::int64_t now_ms, const ScaleSettings& s, int ready);
  // The averages over `ms` until the last count.
  [[nodiscard]] double under_way(long ms) const { return average(ms, false); }
  [[nodiscard]] double rate(long ms) const { return average(ms, true); }

 private:
  struct Point {
    std::int64_t ms;
    double busy_s;
    std::uint64_t requests;
  };
  [[nodiscard]] double average(long ms, bool rate) const;
  std::deque<Point> points_;  // of the window, oldest first
  std::int64_t panic_until_ms_ = 0;
  int panic_pods_ = 0;
};

}  // namespace mr::serving
