// gzip and deflate over zlib. Objects are not thread safe.
#pragma once
#include <memory>
#include <string>
#include <string_view>

#include "core/error.h"

namespace mr::http {

// Streaming decompression of gzip or zlib data, bounded in its output.
class Inflater {
 public:
  Inflater();
  ~Inflater();
  Inflater(Inflater&&) noexcept;
  // Appends what `piece` decodes to; too_large once `out` would pass `limit`, invalid_argument for broken data.
  Result<void> feed(std::string_view piece, std::string& out, std::size_t limit);
  [[nodiscard]] bool done() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// gzip, by default with the fast level that answers want.
std::string gzip(std::string_view data, int level = 1);

// Whether an Accept-Encoding header takes gzip: "gzip" or "*", unless its weight is 0.
bool accepts_gzip(std::string_view accept_encoding);

}  // namespace mr::http
