// How many pods a load asks for.
#include "serving/controller/scaler.h"

#include "json/parse.h"

namespace mr::serving {
namespace {

kube::Object parsed(std::string_view text) {
  auto v = json::parse(text);
  EXPECT_TRUE(v && v->is_object()) << text;
  return v && v->is_object() ? v->get_object() : kube::Object{};
}
ScaleSettings settings(std::string_view spec, std::string_view annotations = "{}") {
  return scale_settings(parsed(fmt::format(R"({{"metadata":{{"annotations":{}}}}})", annotations)), parsed(spec), {});
}

TEST(ScaleSettings, AreKnativesDefaultsButForTheMost) {
  auto s = settings("{}");
  EXPECT_EQ(s.min, 1);
  EXPECT_EQ(s.max, 1);
  EXPECT_FALSE(s.metered());
  EXPECT_DOUBLE_EQ(s.target, 70);
  EXPECT_EQ(s.window_ms, 60'000);
  EXPECT_EQ(s.linger_ms, 30'000);
  EXPECT_TRUE(settings(R"({"minReplicas":0})").metered());
  EXPECT_EQ(settings(R"({"minReplicas":0})").max, 1);
  EXPECT_EQ(settings(R"({"minReplicas":3,"maxReplicas":2})").max, 3);
}

TEST(ScaleSettings, TargetsAreFilledToAShare) {
  EXPECT_DOUBLE_EQ(settings(R"({"scaleTarget":10})").target, 7);
  EXPECT_DOUBLE_EQ(settings(R"({"scaleMetric":"rps"})").target, 140);
  EXPECT_DOUBLE_EQ(settings(R"({"containerConcurrency":10})").target, 7);
  // What a pod does not take at once is no target.
  EXPECT_DOUBLE_EQ(settings(R"({"containerConcurrency":10,"scaleTarget":50})").target, 7);
  EXPECT_DOUBLE_EQ(
      settings(R"({"scaleTarget":10})", R"({"autoscaling.knative.dev/target-utilization-percentage":"100"})").target,
      10);
  auto cpu = settings(R"({"scaleMetric":"cpu","scaleTarget":80})");
  EXPECT_DOUBLE_EQ(cpu.target, 70);
  EXPECT_NE(cpu.note, "");
}

TEST(ScaleSettings, AnnotationsSayWhatTheSpecDoesNot) {
  auto s = settings("{}", R"({"autoscaling.knative.dev/min-scale":"0","autoscaling.knative.dev/maxScale":"4",
    "autoscaling.knative.dev/target":"2","autoscaling.knative.dev/metric":"rps","autoscaling.knative.dev/window":"1m30s",
    "autoscaling.knative.dev/scale-to-zero-pod-retention-period":"2m"})");
  EXPECT_EQ(s.min, 0);
  EXPECT_EQ(s.max, 4);
  EXPECT_TRUE(s.rps);
  EXPECT_DOUBLE_EQ(s.target, 1.4);
  EXPECT_EQ(s.window_ms, 90'000);
  EXPECT_EQ(s.linger_ms, 120'000);
  EXPECT_EQ(s.note, "");
  EXPECT_EQ(settings(R"({"minReplicas":2})", R"({"autoscaling.knative.dev/min-scale":"0"})").min, 2);
  EXPECT_EQ(settings(R"({"annotations":{"autoscaling.knative.dev/min-scale":"3"}})",
                     R"({"autoscaling.knative.dev/min-scale":"0"})")
                .min,
            3);
  for (const char* window : {"5s", "2h", "soon", "60", "-1s", "1e300h"}) {
    auto bad = settings("{}", fmt::format(R"({{"autoscaling.knative.dev/window":"{}"}})", window));
    EXPECT_EQ(bad.window_ms, 60'000) << window;
    EXPECT_NE(bad.note, "") << window;
  }
  EXPECT_EQ(settings("{}", R"({"autoscaling.knative.dev/max-scale":"nan"})").max, 1);
}

// Counts each second for `seconds` with so many requests under way, and so many coming a second.
struct Load {
  Scaler scaler;
  std::int64_t ms = 0;
  double busy = 0;
  std::uint64_t requests = 0;
  void run(int seconds, double under_way, std::uint64_t rate = 0) {
    for (int i = 0; i < seconds; ++i) {
      scaler.count(ms, busy, requests, 60'000);
      ms += 1000;
      busy += under_way;
      requests += rate;
    }
    scaler.count(ms, busy, requests, 60'000);
  }
};

TEST(Scaler, FollowsTheAverageOfTheWindow) {
  auto s = settings(R"({"maxReplicas":10,"scaleTarget":10})");  // 7 a pod
  Load load;
  EXPECT_EQ(load.scaler.wanted(0, s, 1), 1);
  load.run(60, 7);
  EXPECT_EQ(load.scaler.wanted(load.ms, s, 1), 1);
  load.run(60, 10);
  EXPECT_EQ(load.scaler.wanted(load.ms, s, 2), 2);
  load.run(60, 0);
  EXPECT_EQ(load.scaler.wanted(load.ms, s, 2), 1);
}

TEST(Scaler, ABurstCountsAtOnceAndItsPodsStayForAWindow) {
  auto s = settings(R"({"maxReplicas":5,"scaleTarget":10})");
  Load load;
  load.run(60, 0);
  load.run(6, 28);
  EXPECT_EQ(load.scaler.wanted(load.ms, s, 1), 4);
  load.run(30, 0);
  EXPECT_EQ(load.scaler.wanted(load.ms, s, 4), 4);
  load.run(60, 0);
  EXPECT_EQ(load.scaler.wanted(load.ms, s, 4), 2);  // half of them at a time
  EXPECT_EQ(load.scaler.wanted(load.ms, s, 2), 1);
  load.run(6, 1000);
  EXPECT_EQ(load.scaler.wanted(load.ms, s, 1), 5);  // and never more than allowed
}

TEST(Scaler, CountsRequestsASecondWhereTheTargetSaysSo) {
  auto s = settings(R"({"maxReplicas":9,"scaleMetric":"rps","scaleTarget":10})");
  Load load;
  load.run(60, 0.1, 20);
  EXPECT_DOUBLE_EQ(load.scaler.rate(60'000), 20);
  EXPECT_EQ(load.scaler.wanted(load.ms, s, 2), 3);
}

}  // namespace
}  // namespace mr::serving
