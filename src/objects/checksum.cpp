#include "objects/checksum.h"

#include "text/text.h"

namespace mr::objects {

std::string_view checksum_name(ChecksumAlgorithm a) {
  switch (a) {
    case ChecksumAlgorithm::none:
      return "";
    case ChecksumAlgorithm::crc32:
      return "CRC32";
    case ChecksumAlgorithm::crc32c:
      return "CRC32C";
    case ChecksumAlgorithm::crc64nvme:
      return "CRC64NVME";
    case ChecksumAlgorithm::sha1:
      return "SHA1";
    case ChecksumAlgorithm::sha256:
      return "SHA256";
  }
  return "";
}

ChecksumAlgorithm parse_checksum_name(std::string_view n) {
  for (auto a : {ChecksumAlgorithm::crc32, ChecksumAlgorithm::crc32c, ChecksumAlgorithm::crc64nvme,
                 ChecksumAlgorithm::sha1, ChecksumAlgorithm::sha256})
    if (text::iequals(n, checksum_name(a))) return a;
  return ChecksumAlgorithm::none;
}

ChecksumRun::ChecksumRun(ChecksumAlgorithm a) : algorithm_(a) {
  if (a == ChecksumAlgorithm::sha1) hash_.emplace(crypto::Algorithm::sha1);
  if (a == ChecksumAlgorithm::sha256) hash_.emplace(crypto::Algorithm::sha256);
}

void ChecksumRun::update(std::string_view b) {
  switch (algorithm_) {
    case ChecksumAlgorithm::none:
      break;
    case ChecksumAlgorithm::crc32:
      crc_ = crypto::crc32(static_cast<std::uint32_t>(crc_), b);
      break;
    case ChecksumAlgorithm::crc32c:
      crc_ = crypto::crc32c(static_cast<std::uint32_t>(crc_), b);
      break;
    case ChecksumAlgorithm::crc64nvme:
      crc_ = crypto::crc64nvme(crc_, b);
      break;
    case ChecksumAlgorithm::sha1:
    case ChecksumAlgorithm::sha256:
      hash_->update(b);
      break;
  }
}

std::string ChecksumRun::finish() {
  if (hash_) return hash_->finish();
  int bytes = algorithm_ == ChecksumAlgorithm::crc64nvme ? 8 : 4;
  std::string out;
  for (int i = bytes - 1; i >= 0; --i) out += static_cast<char>(crc_ >> (8 * i) & 255);
  return out;
}

std::string checksum_of(ChecksumAlgorithm a, std::string_view bytes) {
  ChecksumRun r(a);
  r.update(bytes);
  return text::base64_encode(r.finish());
}

}  // namespace mr::objects
