#include "dashboard/caller.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "core/fd.h"
#include "core/read_file.h"

namespace mr::dashboard {
namespace {

constexpr const char* kTable =
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1 0 100 0 0 10 0\n"
    "   1: 0100007F:C350 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  1000        0 222 1 0 20 4 30 10 "
    "-1\n";
constexpr const char* kTable6 =
    "   0: 00000000000000000000000001000000:C351 00000000000000000000000001000000:1F90 01 00000000:00000000 "
    "00:00000000 00000000     0        0 333 1 0\n"
    "   1: 0000000000000000FFFF00000100007F:C352 0000000000000000FFFF00000100007F:1F90 01 00000000:00000000 "
    "00:00000000 00000000     0        0 444 1 0\n";

TEST(Caller, FindsTheSocketOfTheClient) {
  EXPECT_EQ(socket_inode(kTable, "127.0.0.1", 50000), 222U);
  EXPECT_EQ(socket_inode(kTable, "127.0.0.1", 50001), 0U);
  EXPECT_EQ(socket_inode(kTable, "127.0.0.2", 50000), 0U);
  EXPECT_EQ(socket_inode(kTable6, "::1", 50001), 333U);
  EXPECT_EQ(socket_inode(kTable6, "127.0.0.1", 50002), 444U);
  EXPECT_EQ(socket_inode("no table\n", "127.0.0.1", 50000), 0U);
  EXPECT_EQ(socket_inode(kTable, "no address", 50000), 0U);
}

TEST(Caller, KnowsContainersByTheirGroups) {
  EXPECT_TRUE(in_container("0::/system.slice/docker-0a1b.scope\n"));
  EXPECT_TRUE(in_container("9:memory:/machine.slice/libpod-0a1b.scope\n"));
  EXPECT_FALSE(in_container("0::/user.slice/user-1000.slice/app-flatpak-org.mozilla.firefox-12.scope\n"));
}

TEST(Caller, ThisProgramItselfIsNoPod) {
  Fd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&at), sizeof at), 0);
  ASSERT_EQ(::listen(listener.get(), 1), 0);
  socklen_t size = sizeof at;
  ::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&at), &size);
  Fd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::connect(client.get(), reinterpret_cast<sockaddr*>(&at), sizeof at), 0);
  ::getsockname(client.get(), reinterpret_cast<sockaddr*>(&at), &size);
  Callers callers;
  EXPECT_FALSE(callers.is_pod("127.0.0.1", ntohs(at.sin_port)));
  EXPECT_TRUE(callers.is_pod("127.0.0.9", ntohs(at.sin_port))) << "nobody is at that end";
}

}  // namespace
}  // namespace mr::dashboard
