#include "http/compress.h"

#include <zlib.h>

#include <array>

#include "text/text.h"

namespace mr::http {

struct Inflater::Impl {
  z_stream z{};
  bool done = false;
  Impl() { inflateInit2(&z, 15 + 32); }  // +32: gzip or zlib header, found by itself
  ~Impl() { inflateEnd(&z); }
};

Inflater::Inflater() : impl_(std::make_unique<Impl>()) {}
Inflater::~Inflater() = default;
Inflater::Inflater(Inflater&&) noexcept = default;
bool Inflater::done() const { return impl_->done; }

Result<void> Inflater::feed(std::string_view piece, std::string& out, std::size_t limit) {
  auto& z = impl_->z;
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(piece.data()));
  z.avail_in = static_cast<uInt>(piece.size());
  std::array<char, 16384> buf;
  while (z.avail_in > 0) {
    if (impl_->done) {  // a gzip file may have several members
      if (z.next_in[0] != 0x1F || inflateReset(&z) != Z_OK)
        return fail(Code::invalid_argument, "The request body has data after its gzip stream");
      impl_->done = false;
    }
    z.next_out = reinterpret_cast<Bytef*>(buf.data());
    z.avail_out = buf.size();
    int r = inflate(&z, Z_NO_FLUSH);
    if (r != Z_OK && r != Z_STREAM_END && r != Z_BUF_ERROR)
      return fail(Code::invalid_argument, "The request body is not valid gzip data");
    std::size_t n = buf.size() - z.avail_out;
    if (out.size() + n > limit) return fail(Code::too_large, "The decompressed request body is larger than the limit");
    out.append(buf.data(), n);
    if (r == Z_STREAM_END) impl_->done = true;
    if (r == Z_BUF_ERROR && n == 0) break;
  }
  return {};
}

std::string gzip(std::string_view data, int level) {
  z_stream z{};
  deflateInit2(&z, level, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&z, data.size()), '\0');
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(data.data()));
  z.avail_in = static_cast<uInt>(data.size());
  z.next_out = reinterpret_cast<Bytef*>(out.data());
  z.avail_out = static_cast<uInt>(out.size());
  deflate(&z, Z_FINISH);
  out.resize(z.total_out);
  deflateEnd(&z);
  return out;
}

bool accepts_gzip(std::string_view list) {
  for (auto part : text::split(list, ',')) {
    auto semi = part.find(';');
    auto coding = text::trim(part.substr(0, semi));
    if (!text::iequals(coding, "gzip") && coding != "*") continue;
    if (semi == std::string_view::npos) return true;
    auto weight = text::trim(part.substr(semi + 1));
    auto q = weight.starts_with("q=") || weight.starts_with("Q=") ? text::to_double(weight.substr(2))
                                                                  : std::optional<double>(1);
    return q.value_or(1) > 0;
  }
  return false;
}

}  // namespace mr::http
