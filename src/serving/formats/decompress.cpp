#include <archive.h>
#include <archive_entry.h>
#include <zlib.h>

#include "serving/formats/pickle.h"

namespace mr::serving {

namespace {

// Raw zlib has no magic that libarchive knows.
Result<std::string> inflate_zlib(std::string_view in, std::size_t limit) {
  z_stream z{};
  inflateInit(&z);
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(in.data()));
  z.avail_in = static_cast<uInt>(in.size());
  std::string out;
  std::array<char, 65536> buf;
  int r = Z_OK;
  while (r == Z_OK) {
    z.next_out = reinterpret_cast<Bytef*>(buf.data());
    z.avail_out = buf.size();
    r = inflate(&z, Z_NO_FLUSH);
    out.append(buf.data(), buf.size() - z.avail_out);
    if (out.size() > limit) {
      inflateEnd(&z);
      return fail(Code::too_large, fmt::format("the file is larger than {} MiB when unpacked", limit >> 20));
    }
    if (r == Z_BUF_ERROR || (r == Z_OK && z.avail_in == 0 && z.avail_out != 0)) break;
  }
  inflateEnd(&z);
  if (r != Z_STREAM_END) return fail(Code::invalid_argument, "the compressed file is cut short or damaged");
  return out;
}

Result<std::string> with_libarchive(std::string_view in, std::size_t limit) {
  struct Closer {
    archive* a = archive_read_new();
    ~Closer() { archive_read_free(a); }
  } c;
  archive_read_support_filter_gzip(c.a);
  archive_read_support_filter_bzip2(c.a);
  archive_read_support_filter_xz(c.a);
  archive_read_support_filter_lzma(c.a);
  archive_read_support_filter_lz4(c.a);
  archive_read_support_format_raw(c.a);
  archive_entry* entry = nullptr;
  if (archive_read_open_memory(c.a, in.data(), in.size()) != ARCHIVE_OK ||
      archive_read_next_header(c.a, &entry) != ARCHIVE_OK)
    return fail(Code::invalid_argument, "the compressed file is cut short or damaged");
  std::string out;
  std::vector<char> buf(65536);
  for (;;) {
    auto n = archive_read_data(c.a, buf.data(), buf.size());
    if (n < 0) return fail(Code::invalid_argument, "the compressed file is cut short or damaged");
    if (n == 0) return out;
    out.append(buf.data(), static_cast<std::size_t>(n));
    if (out.size() > limit)
      return fail(Code::too_large, fmt::format("the file is larger than {} MiB when unpacked", limit >> 20));
  }
}

}  // namespace

namespace {

enum class Packing : std::uint8_t { none, zlib, other };

Packing packing_of(std::string_view b) {
  auto starts = [&](std::string_view magic) { return b.starts_with(magic); };
  if (b.size() > 2 && b[0] == 0x78 &&
      (static_cast<unsigned char>(b[0]) * 256U + static_cast<unsigned char>(b[1])) % 31 == 0)
    return Packing::zlib;
  if (starts("\x1f\x8b") || starts("BZh") ||
      starts(std::string_view("\xFD"
                              "7zXZ\0",
                              6)) ||
      starts(std::string_view("\x5D\0\0", 3)) || starts("\x04\x22\x4D\x18"))
    return Packing::other;
  return Packing::none;
}

}  // namespace

Result<std::string> decompress(std::string_view b, std::size_t limit) {
  if (b.size() > limit) return fail(Code::too_large, fmt::format("the file is larger than {} MiB", limit >> 20));
  auto packing = packing_of(b);
  return packing == Packing::none   ? std::string(b)
         : packing == Packing::zlib ? inflate_zlib(b, limit)
                                    : with_libarchive(b, limit);
}

Result<Source> unpacked(Source source, const ReadLimits& limits) {
  if (source.bytes.size() > limits.max_bytes)
    return fail(Code::too_large, fmt::format("the file is larger than {} MiB", limits.max_bytes >> 20));
  if (packing_of(source.bytes) == Packing::none) return source;
  MR_TRY(auto plain, decompress(source.bytes, limits.unpacked(source.bytes.size())));
  auto owner = std::make_shared<const std::string>(std::move(plain));
  return Source{owner, *owner};
}

}  // namespace mr::serving
