// Pickle (protocols 2 to 5) and joblib files to an inert tree. The reader imports nothing and calls nothing; the first
// opcode or name that it does not know ends it with a refusal that says which. Pure function.
#pragma once
#include <string_view>

#include "serving/formats/tree.h"

namespace mr::serving {

// `bytes` may be compressed as joblib does (zlib, gzip, bz2, xz, lzma, lz4).
Result<Tree> read_pickle(std::string_view bytes, const ReadLimits& limits = {});
// Without a copy: the tree keeps the source alive and shows parts of it.
Result<Tree> read_pickle(Source source, const ReadLimits& limits = {});

// The stream inside a compressed file, or the bytes themselves; too_large past `limit`.
Result<std::string> decompress(std::string_view bytes, std::size_t limit);
// The same without a copy of what is not compressed.
Result<Source> unpacked(Source source, const ReadLimits& limits);

}  // namespace mr::serving
