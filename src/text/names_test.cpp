#include "text/names.h"

#include <gtest/gtest.h>

namespace mr::text {
namespace {

TEST(Names, TurnIntoEachOther) {
  for (auto [snake, camel] : {std::pair{"run_id", "runId"}, {"name", "name"}, {"a_b_c", "aBC"}, {"", ""}}) {
    EXPECT_EQ(camel_case(snake), camel);
    EXPECT_EQ(snake_case(camel), snake);
  }
  EXPECT_EQ(camel_case("sha_256_sum"), "sha256Sum");
  EXPECT_EQ(camel_case("_a"), "A");
  EXPECT_EQ(snake_case("maxHTTPBody"), "max_h_t_t_p_body");
}

}  // namespace
}  // namespace mr::text
