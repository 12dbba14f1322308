// Digests, HMAC and checksums over OpenSSL and zlib. Hash objects are not thread safe; free functions are.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace mr::crypto {

enum class Algorithm { md5, sha1, sha256 };

// Incremental digest.
class Hash {
 public:
  explicit Hash(Algorithm a);
  ~Hash();
  Hash(Hash&&) noexcept;
  Hash& operator=(Hash&&) noexcept;
  void update(std::string_view bytes);
  std::string finish();  // raw bytes; call once

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

std::string digest(Algorithm a, std::string_view bytes);
std::string hmac(Algorithm a, std::string_view key, std::string_view bytes);
// Equal without a data-dependent time.
bool equal_constant_time(std::string_view a, std::string_view b);

// Checksums as S3 names them; values are continued from `seed` (0 to start).
std::uint32_t crc32(std::uint32_t seed, std::string_view bytes);
std::uint32_t crc32c(std::uint32_t seed, std::string_view bytes);
std::uint64_t crc64nvme(std::uint64_t seed, std::string_view bytes);

}  // namespace mr::crypto
