// skops files (a zip of schema.json and .npy members) to the same inert tree as pickles. Pure function.
#pragma once
#include <string_view>

#include "serving/formats/tree.h"

namespace mr::serving {

Result<Tree> read_skops(std::string_view bytes, const ReadLimits& limits = {});

// One .npy file.
Result<Array> read_npy(std::string_view bytes);

}  // namespace mr::serving
