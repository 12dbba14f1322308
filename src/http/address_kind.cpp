#include "http/address_kind.h"

#include <arpa/inet.h>

#include <array>
#include <cstring>
#include <string>

namespace mr::http {

namespace {

AddressKind kind_of_v4(std::uint32_t a) {
  struct Range {
    std::uint32_t base;
    int bits;
    AddressKind kind;
  };
  using enum AddressKind;
  static constexpr Range kRanges[] = {
      {0x00000000, 8, other},    {0x0a000000, 8, private_net}, {0x64400000, 10, private_net},
      {0x7f000000, 8, loopback}, {0xa9fe0000, 16, link_local}, {0xac100000, 12, private_net},
      {0xc0000000, 24, other},   {0xc0000200, 24, other},      {0xc0a80000, 16, private_net},
      {0xc6120000, 15, other},   {0xc6336400, 24, other},      {0xcb007100, 24, other},
      {0xe0000000, 3, other},  // multicast and what is reserved above it
  };
  for (const auto& r : kRanges)
    if ((a ^ r.base) >> (32 - r.bits) == 0) return r.kind;
  return public_net;
}

std::uint32_t number_at(const unsigned char* b) {
  return std::uint32_t{b[0]} << 24 | std::uint32_t{b[1]} << 16 | std::uint32_t{b[2]} << 8 | std::uint32_t{b[3]};
}

}  // namespace

AddressKind address_kind(std::string_view ip) {
  const std::string text(ip.substr(0, ip.find('%')));
  in_addr v4{};
  if (::inet_pton(AF_INET, text.c_str(), &v4) == 1) return kind_of_v4(ntohl(v4.s_addr));
  in6_addr v6{};
  if (::inet_pton(AF_INET6, text.c_str(), &v6) != 1) return AddressKind::other;
  const unsigned char* b = v6.s6_addr;
  static constexpr std::array<unsigned char, 12> kMapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, kZero{},
      kNat64{0, 0x64, 0xff, 0x9b};
  for (const auto* prefix : {&kMapped, &kNat64})
    if (std::memcmp(b, prefix->data(), 12) == 0) return kind_of_v4(number_at(b + 12));
  if (b[0] == 0x20 && b[1] == 0x02) return kind_of_v4(number_at(b + 2));  // 6to4
  if (std::memcmp(b, kZero.data(), 12) == 0) return number_at(b + 12) == 1 ? AddressKind::loopback : AddressKind::other;
  if ((b[0] & 0xfe) == 0xfc) return AddressKind::private_net;
  if (b[0] == 0xfe && (b[1] & 0xc0) == 0x80) return AddressKind::link_local;
  if (b[0] == 0x20 && b[1] == 0x01 && b[2] == 0x0d && b[3] == 0xb8) return AddressKind::other;
  return (b[0] & 0xe0) == 0x20 ? AddressKind::public_net : AddressKind::other;
}

}  // namespace mr::http
