#include "services/address.h"

#include <arpa/inet.h>

namespace mr::services {

namespace {
constexpr std::uint32_t kBase = (127U << 24) | (64U << 16);
constexpr std::uint32_t kSize = 1U << 21;  // the other half of 127.64.0.0/10 is for pods

std::uint64_t mix(std::uint64_t x) {  // the finaliser of SplitMix64
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}
bool usable(std::uint32_t host) {
  auto last = host & 0xff;
  return last != 0 && last != 255;
}
std::string text_of(std::uint32_t host) {
  auto a = kBase + host;
  return fmt::format("{}.{}.{}.{}", a >> 24, (a >> 16) & 0xff, (a >> 8) & 0xff, a & 0xff);
}
}  // namespace

std::string allocate_cluster_ip(const std::set<std::string>& used, std::uint64_t seed) {
  auto x = seed;
  for (int i = 0; i < 64; ++i) {
    x = mix(x);
    auto host = static_cast<std::uint32_t>(x % kSize);
    if (!usable(host)) continue;
    if (auto ip = text_of(host); !used.contains(ip)) return ip;
  }
  auto start = static_cast<std::uint32_t>(x % kSize);
  for (std::uint32_t i = 0; i < kSize; ++i) {
    auto host = (start + i) % kSize;
    if (!usable(host)) continue;
    if (auto ip = text_of(host); !used.contains(ip)) return ip;
  }
  return {};
}

std::uint64_t address_seed(std::string_view a, std::string_view b, std::string_view c) {
  std::uint64_t h = 0xcbf29ce484222325ULL;  // FNV-1a; each text ends with a byte of its own
  for (auto t : {a, b, c}) {
    for (unsigned char ch : t) h = (h ^ ch) * 0x100000001b3ULL;
    h = (h ^ 0xff) * 0x100000001b3ULL;
  }
  return mix(h);
}

bool in_cluster_range(std::string_view ip) {
  in_addr a{};
  if (::inet_pton(AF_INET, std::string(ip).c_str(), &a) != 1) return false;
  auto n = ntohl(a.s_addr);
  return n >= kBase && n - kBase < kSize && usable(n - kBase);
}

}  // namespace mr::services
