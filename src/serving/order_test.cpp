// What requests say of their turn: RFC 9218's header, Triton's parameters.
#include "serving/order.h"

#include <gtest/gtest.h>

namespace mr::serving {
namespace {

TEST(Order, TheHeadersUrgency) {
  EXPECT_EQ(order_of("", "").priority, 0);
  EXPECT_EQ(order_of("u=0", "").priority, 1);
  EXPECT_EQ(order_of("i, u=7", "").priority, 8);
  EXPECT_EQ(order_of("u=3;x=1", "").priority, kUsualPriority);
  for (const char* other : {"u=8", "u=-1", "u=10", "u", "high", "u=a"})
    EXPECT_EQ(order_of(other, "").priority, 0) << other;
}

TEST(Order, TritonsParametersGoFirst) {
  auto o = order_of("u=5", R"({"parameters":{"priority":2,"timeout":1500},"inputs":[]})");
  EXPECT_EQ(o.priority, 2);
  EXPECT_EQ(o.timeout_ms, 2);
  EXPECT_EQ(order_of("", R"({"inputs":[],"parameters":{"priority":8}})").priority, 8);
  EXPECT_EQ(order_of("", R"({"priority":3})").priority, 3);
  EXPECT_EQ(order_of("", R"({"inputs":[{"name":"priority","parameters":{"priority":1}}]})").priority, 0);
}

TEST(Order, WhatIsNoLevelSaysNothing) {
  for (const char* said : {"0", "9", "-1", "1.5", "\"1\"", "null", "18446744073709551615"})
    EXPECT_EQ(order_of("", std::string(R"({"parameters":{"priority":)") + said + "}}").priority, 0) << said;
  EXPECT_EQ(order_of("", R"({"parameters":{"timeout":18446744073709551615}})").timeout_ms, 86'400'000);
  EXPECT_EQ(order_of("", R"({"parameters":{"timeout":0}})").timeout_ms, 0);
  EXPECT_EQ(order_of("", R"({"parameters":{"priority":1)").priority, 0);
  EXPECT_EQ(order_of("", R"(["priority"])").priority, 0);
}

}  // namespace
}  // namespace mr::serving
