// Random ids. Thread safe.
#pragma once
#include <cstdint>
#include <string>

namespace mr::crypto {

std::string random_bytes(std::size_t n);    // from the system's generator
std::string random_hex(std::size_t bytes);  // 2*bytes hex digits
std::string uuid4();                        // 8-4-4-4-12
std::uint64_t random_u64();                 // fast, seeded from the system's generator; not for secrets

}  // namespace mr::crypto
