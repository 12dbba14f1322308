// Running digests of a body as S3 wants them. Not thread safe.
#pragma once
#include <optional>

#include "core/error.h"
#include "crypto/digest.h"
#include "objects/types.h"

namespace mr::objects {

class ChecksumRun {
 public:
  explicit ChecksumRun(ChecksumAlgorithm a);
  void update(std::string_view bytes);
  std::string finish();  // raw bytes, big-endian for the CRCs

 private:
  ChecksumAlgorithm algorithm_;
  std::uint64_t crc_ = 0;
  std::optional<crypto::Hash> hash_;
};

// Digest of raw bytes of `a`, base64.
std::string checksum_of(ChecksumAlgorithm a, std::string_view bytes);

}  // namespace mr::objects
