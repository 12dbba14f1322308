// skops files (a zip of schema.json and .npy members) to the same inert tree as pickles. Pure function.
#pragma once
#include <string_view>

#include "serving/formats/tree.h"

namespace mr::serving {

Result<Tree> read_skops(std::string_view bytes, const ReadLimits& limits = {});
// Without a copy: the tree keeps the source alive and shows parts of it.
Result<Tree> read_skops(Source source, const ReadLimits& limits = {});

// One .npy file; without decoding it, too: `bytes` must outlive the buffer.
Result<Buffer> npy_buffer(std::string_view bytes);
Result<Array> read_npy(std::string_view bytes);

}  // namespace mr::serving
