// One S3 request being answered: bucket, key, sub-resources, the verified payload. Internal to objects/.
#pragma once
#include <map>
#include <string>

#include "objects/errors.h"
#include "objects/receive.h"
#include "objects/signature.h"
#include "objects/store.h"

namespace mr::objects {

struct Call {
  http::Request& http;
  Store& store;
  Payload payload;
  std::string bucket;
  std::string key;
  std::map<std::string, std::string> query;  // decoded, last of a name wins

  [[nodiscard]] bool has(const char* name) const { return query.contains(name); }
  [[nodiscard]] std::string get(const char* name) const {
    auto it = query.find(name);
    return it == query.end() ? std::string() : it->second;
  }
  [[nodiscard]] std::string_view header(std::string_view name) const { return http.headers.get(name); }
};

using Reply = task::Task<Result<http::Response>>;

Reply serve_root(Call& c);       // routes_buckets.cpp
Reply serve_bucket(Call& c);     // routes_buckets.cpp
Reply serve_object(Call& c);     // routes_objects.cpp
Reply serve_multipart(Call& c);  // routes_multipart.cpp: uploads, uploadId, partNumber

// Shared by the routes.
http::Response xml(std::string_view root, std::string_view inner);  // 200 with the S3 namespace
http::Response empty(int status);
inline constexpr std::string_view kOwner = "<ID>millrace</ID><DisplayName>millrace</DisplayName>";
// Headers of a request that become an object's metadata; MetadataTooLarge past 2 KiB of user metadata.
Result<Metadata> read_metadata(const Call& c);
Result<std::map<std::string, std::string>> read_tag_header(std::string_view header);
Result<WriteCondition> read_condition(const Call& c);
std::string_view unquote(std::string_view etag);
// "/bucket/key" of x-amz-copy-source, decoded.
Result<std::pair<std::string, std::string>> copy_source(const Call& c);
// The x-amz-copy-source-if-* conditions against the source.
Result<> check_copy_conditions(const Call& c, const Object& source);
void add_checksum_header(http::Response& r, const Checksum& sum);
Result<> check_key(const std::string& key);

}  // namespace mr::objects
