#include "serving/formats/booster_file.h"

#include "serving/formats/catboost.h"
#include "serving/formats/lightgbm.h"
#include "serving/formats/ubjson.h"
#include "serving/formats/xgboost.h"

namespace mr::serving {

bool is_booster_file(std::string_view name) {
  for (std::string_view known : {"model.json", "model.txt", "model.xgb"})
    if (name == known) return true;
  for (std::string_view ending : {".bst", ".ubj", ".lgb", ".cb", ".cbm"})
    if (name.ends_with(ending)) return true;
  return false;
}

Result<BoostedModel> read_booster(std::string_view bytes, std::string_view model_class) {
  if (bytes.starts_with("tree\n") || bytes.starts_with("tree\r\n")) return read_lightgbm(bytes, model_class);
  if (bytes.starts_with("CBM1")) return read_catboost_binary(bytes, model_class);
  if (!bytes.starts_with('{'))
    return fail(
        Code::unimplemented,
        "the file is neither LightGBM's model text nor XGBoost's JSON or UBJSON. XGBoost's "
        "old binary format is not read, as XGBoost itself has not since 3.1: load the model with an older XGBoost "
        "and save it as model.ubj or model.json");
  MR_TRY(auto doc, read_document(bytes));
  if (doc.find("features_info") != nullptr) return read_catboost(doc, model_class);
  return read_xgboost(doc, model_class);
}

}  // namespace mr::serving
