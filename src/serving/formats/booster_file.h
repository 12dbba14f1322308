// Model files of the boosting libraries, told apart by their content: XGBoost (JSON, UBJSON), LightGBM (text),
// CatBoost (JSON, .cbm). Pure functions.
#pragma once
#include <string>
#include <string_view>

#include "serving/engines/boosters.h"

namespace mr::serving {

// Whether a file of this name in a bare folder is such a model: KServe's and MLServer's names, and endings that are
// used for nothing else.
bool is_booster_file(std::string_view name);

// `model_class`: the Python class that MLmodel names, or empty.
Result<BoostedModel> read_booster(std::string_view bytes, std::string_view model_class);

}  // namespace mr::serving
