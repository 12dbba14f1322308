#include "kube/convert.h"

#include <gtest/gtest.h>

#include "json/parse.h"

namespace mr::kube {
namespace {

TEST(Convert, AutoscalersBetweenTheirTwoForms) {
  const Kinds kinds;
  const auto hpa = kinds.find("autoscaling", "v2", "horizontalpodautoscalers");
  auto o = json::parse(R"({"apiVersion":"autoscaling/v1","metadata":{"name":"h"},
      "spec":{"maxReplicas":3,"targetCPUUtilizationPercentage":80}})")
               ->as_object();
  const auto v1 = o;
  convert(*hpa, "v1", "v2", o);
  EXPECT_EQ(
      json::serialize(o),
      R"({"apiVersion":"autoscaling/v2","metadata":{"name":"h"},"spec":{"maxReplicas":3,"metrics":[{"type":"Resource",)"
      R"("resource":{"name":"cpu","target":{"averageUtilization":80,"type":"Utilization"}}}]}})");
  convert(*hpa, "v2", "v1", o);
  EXPECT_EQ(o, v1);
}

TEST(Convert, KeepsWhatTheOldFormHasNoPlaceFor) {
  const Kinds kinds;
  const auto hpa = kinds.find("autoscaling", "v2", "horizontalpodautoscalers");
  const auto v2 = json::parse(R"({"apiVersion":"autoscaling/v2","metadata":{"name":"h"},"spec":{"maxReplicas":3,
      "metrics":[{"type":"Resource","resource":{"name":"cpu","target":{"averageUtilization":80,"type":"Utilization"}}},
                 {"type":"Pods","pods":{"metric":{"name":"rps"},"target":{"type":"AverageValue","averageValue":"5"}}}],
      "behavior":{"scaleDown":{"selectPolicy":"Max"}}},
      "status":{"conditions":[{"type":"AbleToScale","status":"True"}]}})")
                      ->as_object();
  auto o = v2;
  convert(*hpa, "v2", "v1", o);
  EXPECT_FALSE(at(o, "spec.metrics"));
  EXPECT_EQ(int_at(o, "spec.targetCPUUtilizationPercentage"), 80);
  convert(*hpa, "v1", "v2", o);
  EXPECT_EQ(o, v2);
}

TEST(Convert, CustomKindsChangeTheirApiVersionAlone) {
  const Kinds kinds;
  const auto vs = kinds.by_kind("networking.istio.io", "VirtualService");
  auto o = json::parse(R"({"apiVersion":"networking.istio.io/v1","spec":{"hosts":["a"]}})")->as_object();
  convert(*vs, "v1", "v1beta1", o);
  EXPECT_EQ(json::serialize(o), R"({"apiVersion":"networking.istio.io/v1beta1","spec":{"hosts":["a"]}})");
}

}  // namespace
}  // namespace mr::kube
