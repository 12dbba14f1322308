#include "serving/engines/category_hash.h"

#include <bit>
#include <cstring>
#include <utility>

namespace mr::serving {

namespace {

using U64 = std::uint64_t;

// The four odd constants that the hash is defined with.
constexpr U64 kC0 = 0xc3a5c85c97cb3127;
constexpr U64 kC1 = 0xb492b66fbe98f273;
constexpr U64 kC2 = 0x9ae16a3b2f90404f;
constexpr U64 kC3 = 0xc949d7c7509e6557;

class CategoryText {
 public:
  explicit CategoryText(std::string_view t) : t_(t), n_(t.size()) {}

  [[nodiscard]] U64 hash() const {
    if (n_ == 0) return kC2;
    if (n_ < 4) return tiny();
    if (n_ <= 8) return pair(n_ + (U64{word32(0)} << 3), word32(n_ - 4));
    if (n_ <= 16) {
      U64 last = word(n_ - 8);
      return pair(word(0), std::rotr(last + n_, static_cast<int>(n_))) ^ last;
    }
    if (n_ <= 32) return two_quarters();
    return n_ <= 64 ? two_halves() : blocks();
  }

 private:
  [[nodiscard]] U64 word(std::size_t at) const {
    U64 v = 0;
    std::memcpy(&v, t_.data() + at, sizeof v);
    return v;
  }
  [[nodiscard]] std::uint32_t word32(std::size_t at) const {
    std::uint32_t v = 0;
    std::memcpy(&v, t_.data() + at, sizeof v);
    return v;
  }
  static U64 fold(U64 v) { return v ^ (v >> 47); }
  static U64 pair(U64 low, U64 high) {
    constexpr U64 m = 0x9ddfea08eb382d69;
    return fold((high ^ fold((low ^ high) * m)) * m) * m;
  }

  [[nodiscard]] U64 tiny() const {
    auto byte = [&](std::size_t i) { return static_cast<std::uint32_t>(static_cast<unsigned char>(t_[i])); };
    std::uint32_t front = byte(0) + (byte(n_ / 2) << 8);
    std::uint32_t back = static_cast<std::uint32_t>(n_) + (byte(n_ - 1) << 2);
    return fold((front * kC2) ^ (back * kC3)) * kC2;
  }
  [[nodiscard]] U64 two_quarters() const {
    U64 a = word(0) * kC1;
    U64 b = word(8);
    U64 c = word(n_ - 8) * kC2;
    return pair(std::rotr(a - b, 43) + std::rotr(c, 30) + word(n_ - 16) * kC0, a + std::rotr(b ^ kC3, 20) - c + n_);
  }
  // Sums over 32 bytes: `first` begins them, `z` is their last word.
  [[nodiscard]] std::pair<U64, U64> half(U64 first, U64 z, std::size_t second, std::size_t third) const {
    U64 a = first;
    U64 b = std::rotr(a + z, 52);
    U64 c = std::rotr(a, 37);
    a += word(second);
    c += std::rotr(a, 7);
    a += word(third);
    return {a + z, b + std::rotr(a, 31) + c};
  }
  [[nodiscard]] U64 two_halves() const {
    auto [f1, s1] = half(word(0) + (n_ + word(n_ - 16)) * kC0, word(24), 8, 16);
    auto [f2, s2] = half(word(16) + word(n_ - 32), word(n_ - 8), n_ - 24, n_ - 16);
    return fold(fold((f1 + s2) * kC2 + (f2 + s1) * kC0) * kC0 + s1) * kC2;
  }

  // Two running sums over the 32 bytes at `at`.
  [[nodiscard]] std::pair<U64, U64> weak(std::size_t at, U64 a, U64 b) const {
    a += word(at);
    b = std::rotr(b + a + word(at + 24), 21);
    U64 before = a;
    a += word(at + 8) + word(at + 16);
    return {a + word(at + 24), b + std::rotr(a, 44) + before};
  }
  [[nodiscard]] U64 blocks() const {
    U64 x = word(0);
    U64 y = word(n_ - 16) ^ kC1;
    U64 z = word(n_ - 56) ^ kC0;
    auto v = weak(n_ - 64, n_, y);
    auto w = weak(n_ - 32, n_ * kC1, kC0);
    z += fold(v.second) * kC1;
    x = std::rotr(z + x, 39) * kC1;
    y = std::rotr(y, 33) * kC1;
    for (std::size_t at = 0; at < ((n_ - 1) & ~std::size_t{63}); at += 64) {
      x = std::rotr(x + y + v.first + word(at + 16), 37) * kC1 ^ w.second;
      y = std::rotr(y + v.second + word(at + 48), 42) * kC1 ^ v.first;
      z = std::rotr(z ^ w.first, 33);
      v = weak(at, v.second * kC1, x + w.first);
      w = weak(at + 32, z + w.second, y);
      std::swap(x, z);
    }
    return pair(pair(v.first, w.first) + fold(y) * kC1 + z, pair(v.second, w.second) + x);
  }

  std::string_view t_;
  std::size_t n_;
};

}  // namespace

std::int32_t category_hash(std::string_view text) {
  return static_cast<std::int32_t>(static_cast<std::uint32_t>(CategoryText(text).hash()));
}

}  // namespace mr::serving
