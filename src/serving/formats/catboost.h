// CatBoost's models: the JSON export and the .cbm file (FlatBuffers), of symmetric and other trees over numbers and
// one-hot categories, several classes. Features made of target statistics (CTR), texts or embeddings are refused by
// name. Pure functions.
#pragma once
#include <cstdint>
#include <string_view>

#include "serving/engines/boosters.h"
#include "serving/formats/ubjson.h"

namespace mr::serving {

// What both forms of a file hold.
struct CatboostParts {
  struct FloatFeature {
    std::size_t flat = 0;  // the column
    MissingGoes missing = MissingGoes::left;
    std::vector<double> borders;
  };
  struct CategoryFeature {
    std::size_t flat = 0;
    std::unordered_map<std::int32_t, std::uint32_t> set_of;  // by the hashes that splits ask for
    std::vector<std::int32_t> values;                        // the same in the order of their numbers
  };
  std::vector<FloatFeature> floats;         // by the library's index
  std::vector<CategoryFeature> categories;  // likewise
  std::vector<std::string> names;           // by column, empty where the file has none
  std::vector<SourceTree> trees;            // splits on a category name a set
  std::vector<CategorySet> sets;
  std::vector<std::uint32_t> words;
  std::size_t dimension = 1;
  double scale = 1;
  std::vector<double> bias;
  std::string loss;
  Doc classes;  // class_params
  double threshold = 0.5;

  // A split on a category's hash: a set of its own.
  Result<TreeSplit> category_split(std::size_t index, std::int32_t value);
  Result<TreeSplit> float_split(std::size_t index, double border) const;
};
Result<BoostedModel> make_catboost(CatboostParts parts, std::string_view model_class);

// "CatBoostClassifier" answers labels, "CatBoostRegressor" values, "CatBoost" sums.
Result<BoostedModel> read_catboost(const Doc& document, std::string_view model_class = {});
Result<BoostedModel> read_catboost_binary(std::string_view bytes, std::string_view model_class = {});

}  // namespace mr::serving
