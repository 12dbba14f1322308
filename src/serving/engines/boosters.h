// Models of XGBoost, LightGBM and CatBoost, whichever file they came from: sums over trees (or a linear booster's
// weights), and what the library makes of a sum. Ownership: a model owns all it needs. Immutable and thread safe.
#pragma once
#include <limits>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "serving/engines/boosted.h"
#include "serving/engines/estimator.h"

namespace mr::serving {

// From the sums of a row to the library's answer.
enum class Link : std::uint8_t {
  identity,
  sigmoid,        // 1 / (1 + exp(-scale x)), each
  hinge,          // x > 0
  exponential,    // exp(x)
  softmax,        // over all
  arg_max,        // the number of the largest, one value
  signed_square,  // sign(x) x^2
  log_exp,        // log(1 + exp(x))
};

// What a classifier's predict() answers.
enum class LabelRule : std::uint8_t {
  none,            // no classifier: the values
  over_half,       // the second class where the value is above 0.5
  over_margin,     // the second class where the sum is above `cut`
  largest,         // of the values, the first of equals
  largest_margin,  // of the sums, likewise
  largest_pair,    // of 1 - value and value
  each,            // several outputs, each 1 where it is above 0.5
  as_integer,      // the value is the label already
};

struct BoostedModel {
  std::string library;  // "XGBoost"
  std::string kind;     // of estimator or booster, as its library names it
  std::size_t features = 0;
  std::vector<std::string> names;  // or empty
  Ensemble trees;
  std::vector<float> weights;  // of a linear booster instead of trees: features x groups, then the biases
  std::vector<double> bases;   // a linear booster's start values
  std::size_t groups = 1;
  Link link = Link::identity;
  double scale = 1;
  double divide = 1;  // the sums, before the link
  double multiply = 1;
  std::vector<double> add;     // to the multiplied sums; empty: nothing
  bool float_results = false;  // computed and answered in float32
  bool refuse_infinite = false;
  double missing = std::numeric_limits<double>::quiet_NaN();  // a further value that stands for a missing one
  bool absent_is_missing = false;                             // a cell that a sparse row leaves out is NaN, not 0
  LabelRule labels = LabelRule::none;
  double cut = 0;
  bool decides = false;  // its class has a decision_function; votes and calibrators choose by that
  Array classes;         // empty: 0, 1, 2, ...
  // Columns that take texts, by index: the number that stands for each. An unknown text is missing.
  std::unordered_map<std::size_t, std::unordered_map<std::string, double>> categories;

  // Columns of categories that the model knows by the hash of their text alone, and the number that stands for each.
  std::unordered_map<std::size_t, std::unordered_map<std::int32_t, double>> hashes;

  // Sums of each row (rows x groups) after multiply and add, and what the link makes of them.
  [[nodiscard]] Result<std::vector<double>> margins(const Frame& in) const;
  void apply_link(std::vector<double>& values) const;
  [[nodiscard]] std::size_t bytes() const;  // of memory, about
  [[nodiscard]] std::size_t width() const { return link == Link::arg_max ? 1 : groups; }
};

// The model as an estimator: predict gives labels or values, predict_proba a classifier's probabilities,
// decision_function the sums, where the class has one.
EstimatorPtr make_boosted_estimator(BoostedModel model);
// As an engine of its own, which answers with the estimator's predict.
std::unique_ptr<Engine> make_boosted_engine(BoostedModel model);

}  // namespace mr::serving
