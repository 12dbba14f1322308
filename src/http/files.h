// Answers made of files: ranges, conditions, content types. Pure functions but for opening the file.
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "http/message.h"

namespace mr::http {

struct ByteRange {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
};
enum class RangeKind { whole, part, unsatisfiable };
// RFC 9110 section 14 for one range over `size` bytes; several ranges, or a malformed one, count as none.
RangeKind parse_range(std::string_view header, std::uint64_t size, ByteRange& out);

// The media type by a file name's ending; application/octet-stream when unknown.
std::string_view content_type_for(std::string_view name);

// Whether a file of this name is worth compressing (text, scripts, vector images; not pictures or archives).
bool packs_well(std::string_view name);

// Content-Disposition with an ASCII fallback and the UTF-8 form (RFC 6266).
std::string attachment(std::string_view file_name);

struct FileMeta {
  std::string content_type;
  std::string etag;  // with quotes
  std::int64_t modified_s = 0;
};
// 200, 206, 304 or 416 for a regular file; honours Range, If-Range, If-None-Match, If-Modified-Since.
Response file_response(const Request& req, Fd fd, std::uint64_t size, const FileMeta& meta);

}  // namespace mr::http
