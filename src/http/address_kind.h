// What an IP address is good for: who lets others name addresses (pipelines by URL) does not follow them everywhere.
// Pure. Source: the IANA registries of special-purpose addresses.
#pragma once
#include <cstdint>
#include <string_view>

namespace mr::http {

enum class AddressKind : std::uint8_t {
  public_net,
  private_net,  // 10/8, 172.16/12, 192.168/16, shared carrier space, fc00::/7
  loopback,
  link_local,  // where clouds keep their machines' credentials (169.254.169.254)
  other,       // multicast, documentation, reserved, no address at all
};
// `ip`: numeric, IPv4 or IPv6, without brackets; a zone ("%eth0") is cut off. IPv6 addresses that stand for an IPv4 one
// are of its kind.
AddressKind address_kind(std::string_view ip);

}  // namespace mr::http
