// LightGBM's model text, versions v2 to v4: every objective, random forests, categories, linear trees. Pure function.
#pragma once
#include <string_view>

#include "serving/engines/boosters.h"

namespace mr::serving {

// "LGBMClassifier" answers labels 0, 1, ... (whoever knows the classes replaces them), all others values. With
// `iterations` above 0 only that many are used.
Result<BoostedModel> read_lightgbm(std::string_view text, std::string_view model_class = {},
                                   std::int64_t iterations = 0);

}  // namespace mr::serving
