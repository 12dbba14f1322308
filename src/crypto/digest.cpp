#include "crypto/digest.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <zlib.h>

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

std::uint32_t crc32(std::uint32_t seed, std::string_view b) {
  return static_cast<std::uint32_t>(::crc32_z(seed, reinterpret_cast<const Bytef*>(b.data()), b.size()));
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
