#include "kube/controllers/requests.h"

#include <gtest/gtest.h>

#include "json/parse.h"

namespace mr::kube {
namespace {

Object object(std::string_view text) { return json::parse(text)->get_object(); }

Amounts requests(std::string_view spec) { return pod_requests(object(fmt::format(R"({{"spec":{}}})", spec))); }

TEST(PodRequests, ContainersAddUpAndALimitStandsForItsRequest) {
  auto a = requests(R"({"containers":[
    {"image":"x","resources":{"requests":{"cpu":"250m","memory":"1Gi"}}},
    {"image":"y","resources":{"limits":{"cpu":1,"nvidia.com/gpu":"2"},"requests":{"memory":"512Mi"}}}]})");
  EXPECT_EQ(a["cpu"], 1250);
  EXPECT_EQ(a["memory"], 1536LL * 1024 * 1024 * 1000);
  EXPECT_EQ(a["nvidia.com/gpu"], 2000);
}

TEST(PodRequests, InitContainersRunOneAfterTheOtherBesideTheirSidecars) {
  auto a = requests(R"({"initContainers":[
    {"image":"a","resources":{"requests":{"cpu":"3"}}},
    {"image":"s","restartPolicy":"Always","resources":{"requests":{"cpu":"1"}}},
    {"image":"b","resources":{"requests":{"cpu":"4"}}}],
    "containers":[{"image":"c","resources":{"requests":{"cpu":"2"}}}],"overhead":{"cpu":"100m"}})");
  EXPECT_EQ(a["cpu"], 5100);
}

TEST(PodRequests, PartsOfThisProgramNeedNothing) {
  EXPECT_TRUE(requests(R"({"containers":[
    {"image":"millrace/predictor","resources":{"requests":{"cpu":"1","memory":"2Gi"}}}]})")
                  .empty());
}

TEST(PodRequests, WhatIsBeyondAllNumbersStaysBelowThem) {
  auto a = requests(R"({"containers":[
    {"image":"x","resources":{"requests":{"memory":"9E"}}},{"image":"y","resources":{"requests":{"memory":"9E"}}}]})");
  EXPECT_GT(a["memory"], 0);
}

TEST(Ledger, GivesWhatIsLeftAndTakesItBack) {
  auto node = object(R"({"status":{"allocatable":{"cpu":"2","memory":"1Gi"}}})");
  Ledger l;
  Amounts one{{"cpu", 1500}, {"memory", 1000}};
  EXPECT_TRUE(l.lacking(one, node).empty());
  l.take("a", one);
  l.take("a", one);  // the same pod, seen again
  EXPECT_EQ(l.lacking(one, node), std::vector<std::string>{"Insufficient cpu"});
  EXPECT_TRUE(l.lacking({{"cpu", 500}}, node).empty());
  EXPECT_TRUE(l.release("a"));
  EXPECT_FALSE(l.release("a"));
  EXPECT_TRUE(l.lacking(one, node).empty());
}

TEST(Ledger, NamesAllThatIsMissing) {
  auto node = object(R"({"status":{"allocatable":{"cpu":"2","memory":"1Gi"}}})");
  Amounts much{{"memory", 2LL * 1024 * 1024 * 1024 * 1000}, {"cpu", 3000}, {"nvidia.com/gpu", 1000}, {"none", 0}};
  EXPECT_EQ(Ledger{}.lacking(much, node),
            (std::vector<std::string>{"Insufficient cpu", "Insufficient memory", "Insufficient nvidia.com/gpu"}));
  EXPECT_TRUE(Ledger{}.lacking(much, object("{}")).empty());
}

}  // namespace
}  // namespace mr::kube
