// The object store's nouns, as S3 names them. Plain values.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace mr::objects {

enum class ChecksumAlgorithm : std::uint8_t { none, crc32, crc32c, crc64nvme, sha1, sha256 };
// "CRC32", …; and back, any case. The header's name is x-amz-checksum-<lower case>.
std::string_view checksum_name(ChecksumAlgorithm a);
ChecksumAlgorithm parse_checksum_name(std::string_view name);

struct Checksum {
  ChecksumAlgorithm algorithm = ChecksumAlgorithm::none;
  std::string value;       // base64, with "-N" for a composite
  bool composite = false;  // of parts
};

using Metadata = std::map<std::string, std::string>;  // lower-case header names: content-type, x-amz-meta-*, …

struct Object {
  std::string key;
  std::uint64_t size = 0;
  std::string etag;  // without quotes
  std::string blob;  // name of the file that holds the bytes
  std::int64_t modified_ms = 0;
  Metadata metadata;
  Checksum checksum;
  std::vector<std::uint64_t> parts;  // sizes, for a multipart object
  std::map<std::string, std::string> tags;
};

struct Bucket {
  std::string name;
  std::int64_t created_ms = 0;
};

struct Upload {
  std::string id;
  std::string bucket;
  std::string key;
  std::int64_t created_ms = 0;
  Metadata metadata;
  std::map<std::string, std::string> tags;
  ChecksumAlgorithm algorithm = ChecksumAlgorithm::none;
  bool composite = true;
};

struct Part {
  int number = 0;
  std::uint64_t size = 0;
  std::string etag;
  std::string blob;
  Checksum checksum;
  std::int64_t modified_ms = 0;
};

// Conditions of a write, checked in the same transaction that makes it.
struct WriteCondition {
  bool if_absent = false;  // If-None-Match: *
  std::string if_match;    // ETag without quotes, or "*"
};

struct ListQuery {
  std::string prefix;
  std::string delimiter;
  std::string after;  // keys after this one only
  std::size_t max_keys = 1000;
};
struct Listing {
  std::vector<Object> objects;
  std::vector<std::string> prefixes;
  bool truncated = false;
  std::string last;  // the last key or prefix given, to go on after
};

}  // namespace mr::objects
