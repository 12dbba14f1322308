// Protobuf's wire form: what is written is read, and broken bytes end the reading.
#include "grpc/wire.h"

#include <cmath>

namespace mr::grpc {
namespace {

TEST(GrpcWire, WritesAndReads) {
  std::string out;
  Writer w(out);
  w.varint(1, 300);
  w.bytes(2, "text");
  w.fp64(3, -1.5);
  w.packed_varint(4, std::vector<std::int64_t>{-1, 0, 7});
  w.packed_fp32(5, {0.5, -2});
  w.packed_fp64(6, {0.1, 1e300});
  EXPECT_EQ(out.substr(0, 9), std::string("\x08\xAC\x02\x12\x04text", 9));
  Reader r(out);
  std::vector<std::int64_t> whole;
  std::vector<double> floats, doubles;
  while (r.next()) switch (r.field()) {
      case 1:
        EXPECT_EQ(r.varint(), 300U);
        break;
      case 2:
        EXPECT_EQ(r.bytes(), "text");
        break;
      case 3:
        EXPECT_EQ(r.fp64(), -1.5);
        break;
      case 4:
        r.repeated_varint(whole, 10);
        break;
      case 5:
        r.repeated_fp32(floats, 10);
        break;
      default:
        r.repeated_fp64(doubles, 10);
    }
  EXPECT_TRUE(r.ok());
  EXPECT_EQ(whole, (std::vector<std::int64_t>{-1, 0, 7}));
  EXPECT_EQ(floats, (std::vector<double>{0.5, -2}));
  EXPECT_EQ(doubles, (std::vector<double>{0.1, 1e300}));
}

TEST(GrpcWire, SingleValuesOfARepeatedField) {
  std::string out;
  Writer w(out);
  w.varint(1, 5);
  w.varint(1, 6);
  Reader r(out);
  std::vector<std::int64_t> v;
  while (r.next()) r.repeated_varint(v, 10);
  EXPECT_TRUE(r.ok());
  EXPECT_EQ(v, (std::vector<std::int64_t>{5, 6}));
}

TEST(GrpcWire, RefusesWhatIsBroken) {
  for (std::string_view bytes :
       {std::string_view("\x08", 1), std::string_view("\x08\xFF", 2),
        std::string_view("\x12\x05"
                         "ab",
                         4),
        std::string_view("\x09\x01", 2), std::string_view("\x0B\x0C", 2), std::string_view("\x00\x01", 2),
        std::string_view("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01", 11)}) {
    Reader r(bytes);
    while (r.next()) {
    }
    EXPECT_FALSE(r.ok());
  }
  Reader wrong(std::string_view("\x08\x01", 2));
  ASSERT_TRUE(wrong.next());
  EXPECT_EQ(wrong.bytes(), "");
  EXPECT_FALSE(wrong.ok());
  std::string many;
  Writer(many).packed_varint(1, std::vector<std::int64_t>(11, 1));
  Reader r(many);
  std::vector<std::int64_t> v;
  ASSERT_TRUE(r.next());
  r.repeated_varint(v, 10);
  EXPECT_FALSE(r.ok());
}

}  // namespace
}  // namespace mr::grpc
