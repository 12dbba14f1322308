// The built web pages, compressed and embedded in the program (web/pack.mjs makes the file). Immutable, thread safe.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "core/error.h"
#include "http/message.h"

namespace mr::dashboard {

struct Asset {
  std::string_view type, etag;  // of content; with quotes
  std::string_view packed;      // gzip
  std::size_t size = 0;         // unpacked
};

class Assets {
 public:
  // The texts must outlive the result. An empty pack has no files; a malformed one is an error.
  static Result<Assets> read(std::string_view pack);
  // Those of this program.
  static const Assets& embedded();
  [[nodiscard]] const Asset* find(std::string_view path) const;
  [[nodiscard]] bool empty() const { return files_.empty(); }

 private:
  std::map<std::string_view, Asset> files_;
};

// 200, 304, or 404 for null. `immutable`: its name changes with its content. Headers of security are the caller's.
http::Response asset_response(const http::Request& rq, const Asset* asset, bool immutable);
// The start page, or, where the program was built without the pages, one that says how to get them.
http::Response index_response(const http::Request& rq, const Assets& assets);

}  // namespace mr::dashboard
