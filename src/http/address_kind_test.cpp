#include "http/address_kind.h"

#include <gtest/gtest.h>

namespace mr::http {
namespace {

TEST(AddressKind, TellsWhereAnAddressLeads) {
  using enum AddressKind;
  for (auto ip :
       {"1.1.1.1", "8.8.8.8", "172.32.0.1", "192.169.0.1", "100.128.0.1", "2606:4700::1111", "64:ff9b::808:808"})
    EXPECT_EQ(address_kind(ip), public_net) << ip;
  for (auto ip : {"10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "fd00::1", "::ffff:10.0.0.1",
                  "64:ff9b::a00:1", "2002:a00:1::"})
    EXPECT_EQ(address_kind(ip), private_net) << ip;
  for (auto ip : {"127.0.0.1", "127.64.0.9", "::1", "::ffff:127.0.0.1"}) EXPECT_EQ(address_kind(ip), loopback) << ip;
  for (auto ip : {"169.254.169.254", "fe80::1", "fe80::1%eth0", "::ffff:169.254.169.254"})
    EXPECT_EQ(address_kind(ip), link_local) << ip;
  for (auto ip : {"0.0.0.0", "224.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "::", "ff02::1", "2001:db8::1",
                  "", "localhost", "1.2.3"})
    EXPECT_EQ(address_kind(ip), other) << ip;
}

}  // namespace
}  // namespace mr::http
