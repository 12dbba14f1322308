#include "crypto/random.h"

#include <openssl/rand.h>

#include <random>

#include "core/error.h"

namespace mr::crypto {

std::string random_bytes(std::size_t n) {
  std::string out(n, '\0');
  if (RAND_bytes(reinterpret_cast<unsigned char*>(out.data()), static_cast<int>(n)) != 1) std::abort();
  return out;
}

std::uint64_t random_u64() {
  thread_local std::mt19937_64 gen = [] {
    std::random_device rd;
    std::seed_seq seq{rd(), rd(), rd(), rd(), rd(), rd(), rd(), rd()};
    return std::mt19937_64(seq);
  }();
  return gen();
}

namespace {
void put_hex(char* out, std::uint64_t v, int digits) {
  static const char* abc = "0123456789abcdef";
  for (int i = digits - 1; i >= 0; --i, v >>= 4) out[i] = abc[v & 15];
}
}  // namespace

std::string random_hex(std::size_t bytes) {
  std::string out(bytes * 2, '0');
  for (std::size_t at = 0; at < out.size(); at += 16)
    put_hex(out.data() + at, random_u64(), static_cast<int>(std::min<std::size_t>(16, out.size() - at)));
  return out;
}

std::string uuid4() {
  std::uint64_t a = (random_u64() & ~0xF000ULL) | 0x4000ULL;
  std::uint64_t b = (random_u64() & ~(3ULL << 62)) | (2ULL << 62);
  std::string out(36, '-');
  put_hex(out.data(), a >> 32, 8);
  put_hex(out.data() + 9, a >> 16 & 0xFFFF, 4);
  put_hex(out.data() + 14, a & 0xFFFF, 4);
  put_hex(out.data() + 19, b >> 48, 4);
  put_hex(out.data() + 24, b & 0xFFFFFFFFFFFFULL, 12);
  return out;
}

}  // namespace mr::crypto
