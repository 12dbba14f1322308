#include "crypto/digest.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <zlib.h>
#ifdef __x86_64__
#include <wmmintrin.h>
#endif

#include <array>

namespace mr::crypto {

namespace {
const EVP_MD* md(Algorithm a) {
  // Fetched once: EVP_sha256() style look-ups cost more than hashing a short text in OpenSSL 3.
  static const EVP_MD* md5 = EVP_MD_fetch(nullptr, "MD5", nullptr);
  static const EVP_MD* sha1 = EVP_MD_fetch(nullptr, "SHA1", nullptr);
  static const EVP_MD* sha256 = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  return a == Algorithm::md5 ? md5 : a == Algorithm::sha1 ? sha1 : sha256;
}
}  // namespace

struct Hash::Impl {
  EVP_MD_CTX* ctx = EVP_MD_CTX_new();
  ~Impl() { EVP_MD_CTX_free(ctx); }
};

Hash::Hash(Algorithm a) : impl_(std::make_unique<Impl>()) { EVP_DigestInit_ex(impl_->ctx, md(a), nullptr); }
Hash::~Hash() = default;
Hash::Hash(Hash&&) noexcept = default;
Hash& Hash::operator=(Hash&&) noexcept = default;
void Hash::update(std::string_view b) { EVP_DigestUpdate(impl_->ctx, b.data(), b.size()); }
std::string Hash::finish() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> out{};
  unsigned n = 0;
  EVP_DigestFinal_ex(impl_->ctx, out.data(), &n);
  return {reinterpret_cast<char*>(out.data()), n};
}

std::string digest(Algorithm a, std::string_view b) {
  Hash h(a);
  h.update(b);
  return h.finish();
}

std::string hmac(Algorithm a, std::string_view key, std::string_view b) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> out{};
  unsigned n = 0;
  HMAC(md(a), key.data(), static_cast<int>(key.size()), reinterpret_cast<const unsigned char*>(b.data()), b.size(),
       out.data(), &n);
  return {reinterpret_cast<char*>(out.data()), n};
}

bool equal_constant_time(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

namespace {

std::uint32_t crc32_by_bytes(std::uint32_t seed, std::string_view b) {
  return static_cast<std::uint32_t>(::crc32_z(seed, reinterpret_cast<const Bytef*>(b.data()), b.size()));
}

#ifdef __x86_64__
// x^n modulo the polynomial, as a factor of a carry-less product of reflected numbers.
constexpr std::int64_t power(int n) {
  std::uint32_t c = 0x80000000U;
  for (int i = 0; i < n; ++i) c = (c >> 1) ^ ((c & 1) != 0 ? 0xEDB88320U : 0);
  return static_cast<std::int64_t>(std::uint64_t{c} << 1);
}

// Folds 64 bytes at a time by carry-less products to 16 bytes of the same remainder, and divides only these.
__attribute__((target("pclmul,sse2"))) std::uint32_t crc32_folded(std::uint32_t seed, std::string_view b) {
  auto load = [&](std::size_t at) __attribute__((target("pclmul,sse2"))) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(b.data() + at));
  };
  auto fold = [](__m128i x, __m128i by, __m128i next) __attribute__((target("pclmul,sse2"))) {
    auto low = _mm_clmulepi64_si128(x, by, 0x00);
    auto high = _mm_clmulepi64_si128(x, by, 0x11);
    return _mm_xor_si128(_mm_xor_si128(low, high), next);
  };
  const auto far = _mm_set_epi64x(power(4 * 128 - 32), power(4 * 128 + 32));
  const auto near = _mm_set_epi64x(power(128 - 32), power(128 + 32));
  auto x0 = _mm_xor_si128(load(0), _mm_cvtsi32_si128(static_cast<int>(~seed)));
  auto x1 = load(16), x2 = load(32), x3 = load(48);
  std::size_t at = 64;
  for (; at + 64 <= b.size(); at += 64) {
    x0 = fold(x0, far, load(at));
    x1 = fold(x1, far, load(at + 16));
    x2 = fold(x2, far, load(at + 32));
    x3 = fold(x3, far, load(at + 48));
  }
  auto x = fold(fold(fold(x0, near, x1), near, x2), near, x3);
  for (; at + 16 <= b.size(); at += 16) x = fold(x, near, load(at));
  char rest[16];
  _mm_storeu_si128(reinterpret_cast<__m128i*>(rest), x);
  return crc32_by_bytes(crc32_by_bytes(~0U, {rest, sizeof rest}), b.substr(at));
}
#endif

}  // namespace

std::uint32_t crc32(std::uint32_t seed, std::string_view b) {
#ifdef __x86_64__
  static const bool folds = __builtin_cpu_supports("pclmul") != 0 && __builtin_cpu_supports("sse2") != 0;
  if (folds && b.size() >= 64) return crc32_folded(seed, b);
#endif
  return crc32_by_bytes(seed, b);
}

namespace {
// Slicing-by-8 tables of a reflected CRC of width T.
template <class T>
struct Tables {
  std::array<std::array<T, 256>, 8> t{};
  explicit constexpr Tables(T poly) {
    for (unsigned i = 0; i < 256; ++i) {
      T c = i;
      for (int k = 0; k < 8; ++k) c = (c & 1) != 0 ? (c >> 1) ^ poly : c >> 1;
      t[0][i] = c;
    }
    for (unsigned s = 1; s < 8; ++s)
      for (unsigned i = 0; i < 256; ++i) t[s][i] = (t[s - 1][i] >> 8) ^ t[0][t[s - 1][i] & 255];
  }
};
template <class T>
T run(const Tables<T>& tab, T seed, std::string_view b) {
  T c = ~seed;
  const auto* p = reinterpret_cast<const unsigned char*>(b.data());
  std::size_t n = b.size();
  while (n >= 8) {
    std::uint64_t v = 0;
    __builtin_memcpy(&v, p, 8);
    v ^= c;
    c = tab.t[7][v & 255] ^ tab.t[6][v >> 8 & 255] ^ tab.t[5][v >> 16 & 255] ^ tab.t[4][v >> 24 & 255] ^
        tab.t[3][v >> 32 & 255] ^ tab.t[2][v >> 40 & 255] ^ tab.t[1][v >> 48 & 255] ^ tab.t[0][v >> 56];
    p += 8;
    n -= 8;
  }
  while (n-- > 0) c = (c >> 8) ^ tab.t[0][(c ^ *p++) & 255];
  return ~c;
}
constexpr Tables<std::uint32_t> crc32c_tables(0x82F63B78U);           // Castagnoli, reflected
constexpr Tables<std::uint64_t> crc64_tables(0x9A6C9329AC4BC9B5ULL);  // NVMe (Rocksoft), reflected
}  // namespace

std::uint32_t crc32c(std::uint32_t seed, std::string_view b) { return run(crc32c_tables, seed, b); }
std::uint64_t crc64nvme(std::uint64_t seed, std::string_view b) { return run(crc64_tables, seed, b); }

}  // namespace mr::crypto
