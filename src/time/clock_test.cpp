#include "time/clock.h"

namespace mr::time {
namespace {

TEST(Dates, GoOutAndComeBack) {
  EXPECT_EQ(http_date(0), "Thu, 01 Jan 1970 00:00:00 GMT");
  EXPECT_EQ(http_date(784111777), "Sun, 06 Nov 1994 08:49:37 GMT");  // RFC 9110's example
  EXPECT_EQ(parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT"), 784111777);
  for (std::int64_t t : {0LL, 951782400LL, 1709164800LL, 4102444799LL}) EXPECT_EQ(parse_http_date(http_date(t)), t);
  for (const char* bad :
       {"", "yesterday", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994 08:49:37 GMT+1", "1994-11-06"})
    EXPECT_EQ(parse_http_date(bad), -1) << bad;
  EXPECT_EQ(iso8601_ms(784111777123), "1994-11-06T08:49:37.123Z");
  EXPECT_EQ(parse_amz_date("19941106T084937Z"), 784111777);
  for (const char* bad : {"", "19941106T084937", "1994-11-06T08:49Z", "19941306T084937Z", "19941106T084937Zx"})
    EXPECT_EQ(parse_amz_date(bad), -1) << bad;
}

}  // namespace
}  // namespace mr::time
