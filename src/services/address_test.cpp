#include "services/address.h"

namespace mr::services {
namespace {

TEST(ClusterAddress, IsInTheRangeStableAndNeverAnEdge) {
  std::set<std::string> used;
  for (int i = 0; i < 5000; ++i) {
    auto seed = address_seed("data", "ns", std::to_string(i));
    auto ip = allocate_cluster_ip(used, seed);
    EXPECT_TRUE(in_cluster_range(ip)) << ip;
    EXPECT_FALSE(ip.ends_with(".0") || ip.ends_with(".255")) << ip;
    EXPECT_EQ(allocate_cluster_ip(used, seed), ip);
    EXPECT_TRUE(used.insert(ip).second);
  }
}

TEST(ClusterAddress, ATakenOneGivesAnother) {
  auto seed = address_seed("a", "b", "c");
  auto first = allocate_cluster_ip({}, seed);
  auto second = allocate_cluster_ip({first}, seed);
  EXPECT_NE(first, second);
  EXPECT_TRUE(in_cluster_range(second));
}

TEST(ClusterAddress, SeedsKeepTheBordersOfTheirTexts) {
  EXPECT_NE(address_seed("ab", "c"), address_seed("a", "bc"));
  EXPECT_NE(address_seed("a"), address_seed("", "a"));
}

TEST(ClusterAddress, RangeEnds) {
  for (const char* ip : {"127.64.0.1", "127.95.255.254", "127.70.7.9"}) EXPECT_TRUE(in_cluster_range(ip)) << ip;
  for (const char* ip :
       {"127.0.0.1", "127.63.255.254", "127.96.0.1", "127.64.0.0", "127.64.3.255", "10.0.0.1", "x", ""})
    EXPECT_FALSE(in_cluster_range(ip)) << ip;
}

}  // namespace
}  // namespace mr::services
