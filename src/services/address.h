// Cluster IPs: which loopback address a Service gets. Pure functions.
#pragma once
#include <cstdint>
#include <set>
#include <string>
#include <string_view>

namespace mr::services {

// All cluster IPs lie in it: loopback, and apart from what people use by hand. Pods have 127.96.0.0/11.
inline constexpr std::string_view kClusterRange = "127.64.0.0/11";

// A free address of the range for `seed`: the same seed gets the same address unless it is taken, so that a Service
// keeps its address over a new start, and two platforms on one machine with other seeds seldom meet. Never one that
// ends in .0 or .255. Empty when all are used.
std::string allocate_cluster_ip(const std::set<std::string>& used, std::uint64_t seed);
// A seed of texts: the data folder, the namespace and the name.
std::uint64_t address_seed(std::string_view a, std::string_view b = {}, std::string_view c = {});
// Whether it is an address that allocate_cluster_ip could give.
bool in_cluster_range(std::string_view ip);

}  // namespace mr::services
