// Rows of the index that store.cpp and store_uploads.cpp share. Internal to objects/.
#pragma once
#include "objects/errors.h"
#include "objects/types.h"
#include "sql/sql.h"

namespace mr::objects {

// The rarely used rest of a row, kept as one JSON text.
struct Info {
  Metadata metadata;
  std::map<std::string, std::string> tags;
  Checksum checksum;
  std::vector<std::uint64_t> parts;
};
std::string to_info(const Metadata& metadata, const std::map<std::string, std::string>& tags, const Checksum& sum,
                    const std::vector<std::uint64_t>& parts);
Info from_info(const std::string& text);

Result<> bucket_exists(sql::Connection& c, const std::string& name);
// Checks a write's condition against the present row and writes the new one; gives the blob that it replaces.
Result<std::string> put_row(sql::Connection& c, const std::string& bucket, const Object& object,
                            const WriteCondition& condition);

// The disk pool's queue is full.
inline std::unexpected<Error> busy() { return s3_error("SlowDown"); }

}  // namespace mr::objects
