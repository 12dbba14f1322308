// XGBoost's model files, JSON and UBJSON, of 1.0 and later: gbtree, dart and gblinear with every objective that XGBoost
// has, several classes or targets, leaves of vectors, categories. Pure function.
#pragma once
#include <string_view>

#include "serving/engines/boosters.h"
#include "serving/formats/ubjson.h"

namespace mr::serving {

// The Python class that reads the file decides what predict means: of its name, "Booster" answers values,
// "...Classifier" labels; all but Booster stop at the best iteration. Empty: the class that the file itself names, or
// Booster.
Result<BoostedModel> read_xgboost(const Doc& document, std::string_view model_class = {});

}  // namespace mr::serving
