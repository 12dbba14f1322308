#include "grpc/wire.h"

#include <bit>
#include <cstring>

namespace mr::grpc {

static_assert(std::endian::native == std::endian::little, "fixed fields are little-endian");

std::uint64_t Reader::take_varint() {
  std::uint64_t v = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    if (rest_.empty()) break;
    auto b = static_cast<std::uint8_t>(rest_.front());
    rest_.remove_prefix(1);
    v |= static_cast<std::uint64_t>(b & 0x7F) << shift;
    if (b < 0x80) return v;
  }
  ok_ = false;
  return 0;
}

bool Reader::next() {
  if (!ok_ || rest_.empty()) return false;
  auto key = take_varint();
  if (!ok_) return false;
  type_ = static_cast<std::uint8_t>(key & 7);
  field_ = static_cast<std::uint32_t>(key >> 3);
  auto fixed = [&](std::size_t n) {
    if (rest_.size() < n) {
      ok_ = false;
      return;
    }
    number_ = 0;
    std::memcpy(&number_, rest_.data(), n);
    rest_.remove_prefix(n);
  };
  switch (type_) {
    case kVarint:
      number_ = take_varint();
      break;
    case kFixed64:
      fixed(8);
      break;
    case kFixed32:
      fixed(4);
      break;
    case kBytes: {
      auto n = take_varint();
      if (!ok_ || n > rest_.size()) {
        ok_ = false;
        break;
      }
      value_ = rest_.substr(0, n);
      rest_.remove_prefix(n);
      break;
    }
    default:  // groups, which nothing here has
      ok_ = false;
  }
  if (field_ == 0 || key >> 32 != 0) ok_ = false;
  return ok_;
}

std::uint64_t Reader::varint() {
  if (type_ == kVarint) return number_;
  ok_ = false;
  return 0;
}
float Reader::fp32() {
  if (type_ != kFixed32) {
    ok_ = false;
    return 0;
  }
  return std::bit_cast<float>(static_cast<std::uint32_t>(number_));
}
double Reader::fp64() {
  if (type_ != kFixed64) {
    ok_ = false;
    return 0;
  }
  return std::bit_cast<double>(number_);
}
std::string_view Reader::bytes() {
  if (type_ == kBytes) return value_;
  ok_ = false;
  return {};
}

void Reader::repeated_fp32(std::vector<double>& out, std::size_t limit) {
  if (type_ != kBytes) {
    append(out, static_cast<double>(fp32()), limit);
    return;
  }
  if (value_.size() % 4 != 0 || out.size() + value_.size() / 4 > limit) {
    ok_ = false;
    return;
  }
  for (std::size_t i = 0; i < value_.size(); i += 4) {
    float v = 0;
    std::memcpy(&v, value_.data() + i, 4);
    out.push_back(static_cast<double>(v));
  }
}
void Reader::repeated_fp64(std::vector<double>& out, std::size_t limit) {
  if (type_ != kBytes) {
    append(out, fp64(), limit);
    return;
  }
  if (value_.size() % 8 != 0 || out.size() + value_.size() / 8 > limit) {
    ok_ = false;
    return;
  }
  auto at = out.size();
  out.resize(at + value_.size() / 8);
  if (!value_.empty()) std::memcpy(out.data() + at, value_.data(), value_.size());
}

void Writer::put_varint(std::string& out, std::uint64_t v) {
  while (v >= 0x80) {
    out += static_cast<char>(v | 0x80);
    v >>= 7;
  }
  out += static_cast<char>(v);
}
void Writer::varint(std::uint32_t field, std::uint64_t v) {
  put_varint(out_, std::uint64_t{field} << 3);
  put_varint(out_, v);
}
void Writer::bytes(std::uint32_t field, std::string_view v) {
  put_varint(out_, std::uint64_t{field} << 3 | 2);
  put_varint(out_, v.size());
  out_ += v;
}
void Writer::fp64(std::uint32_t field, double v) {
  put_varint(out_, std::uint64_t{field} << 3 | 1);
  out_.append(reinterpret_cast<const char*>(&v), sizeof v);
}
void Writer::packed_fp32(std::uint32_t field, const std::vector<double>& values) {
  if (values.empty()) return;
  std::string body;
  body.reserve(values.size() * 4);
  for (double d : values) {
    auto v = static_cast<float>(d);
    body.append(reinterpret_cast<const char*>(&v), sizeof v);
  }
  bytes(field, body);
}
void Writer::packed_fp64(std::uint32_t field, const std::vector<double>& values) {
  if (values.empty()) return;
  bytes(field, {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(double)});
}

}  // namespace mr::grpc
