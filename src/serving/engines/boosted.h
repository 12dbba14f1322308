// Sums over ensembles of decision trees: the kernel behind XGBoost, LightGBM and CatBoost models.
//
// Every threshold of a feature gets a rank when the model is loaded, and a row's values become ranks before any tree is
// looked at: 16-bit integers whatever the format compared (float32 with <, double with <=), with missing values ranked
// so that they go where the split sends them. Trees of up to 128 leaves are then evaluated without a branch for 32 rows
// at a time; larger trees, and lone rows, walk compact nodes, several at once. Sums are made in the order of the trees
// and in the precision of the original, so answers do not differ from its answers by more than its own functions do.
//
// Ownership: an Ensemble owns all it needs. Immutable and thread safe once built. build() checks everything that a
// model file says (indices, cycles, sizes), so sums need no checks.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "core/error.h"
#include "serving/types.h"

namespace mr::serving {

// Where a value that is missing (NaN) goes.
enum class MissingGoes : std::uint8_t { left, right, as_zero };

constexpr std::uint32_t kNoSet = UINT32_MAX;

// The instructions that rows are evaluated with; those that the processor lacks stand for the next simpler ones.
enum class KernelLevel : std::uint8_t { plain, avx2, avx512 };

struct TreeSplit {
  std::uint32_t feature = 0;
  std::int32_t left = 0;  // a split of the same tree, or ~leaf
  std::int32_t right = 0;
  double threshold = 0;
  std::uint32_t set = kNoSet;  // instead of a threshold: an index into sets
  MissingGoes missing = MissingGoes::left;
  bool zero_is_missing = false;  // |x| <= 1e-35 is missing, too
};

// Categories, as bits in words[begin, begin + count).
struct CategorySet {
  std::uint32_t feature = 0;
  std::size_t begin = 0;
  std::size_t count = 0;
  bool inside_left = false;  // a category of the set goes left, all others right; or the other way round
  bool missing_left = false;
  bool negative_inside = false;  // (-1, 0) is category 0, as a conversion to int gives it
};

// constant + sum of coefficients * values; where one of the values is NaN, the leaf's plain value.
struct LinearLeaf {
  double constant = 0;
  std::vector<std::uint32_t> features;
  std::vector<double> coefficients;
};

struct SourceTree {
  std::vector<TreeSplit> splits;   // the first is the root; none: the only leaf is the answer
  std::vector<double> leaves;      // EnsembleSource::width values each
  std::uint32_t group = 0;         // which sum it goes to, where width is 1
  bool oblivious = false;          // splits are levels: the first gives bit 0 of the leaf's index, right is 1
  std::vector<LinearLeaf> linear;  // empty, or one a leaf
};

struct EnsembleSource {
  std::size_t features = 0;
  std::size_t groups = 1;        // sums a row
  std::size_t width = 1;         // values a leaf: 1, or as many as groups
  bool round_values = false;     // to float32, before they are compared
  bool equal_goes_left = false;  // x <= threshold goes left; otherwise x < threshold
  bool float_sums = false;       // sums are made in float32
  bool tiny_is_zero = false;     // |x| <= 1e-35 is 0
  std::vector<double> start;     // what the sums start from; empty: 0
  std::vector<SourceTree> trees;
  std::vector<CategorySet> sets;
  std::vector<std::uint32_t> words;
};

class Ensemble {
 public:
  static Result<Ensemble> build(EnsembleSource source);

  // Dense rows of `features` values; out: rows x groups.
  void sum(const double* rows, std::size_t count, double* out, KernelLevel most = KernelLevel::avx512) const;

  [[nodiscard]] std::size_t features() const { return features_; }
  [[nodiscard]] std::size_t groups() const { return groups_; }
  [[nodiscard]] std::size_t trees() const { return trees_.size(); }
  [[nodiscard]] std::size_t bytes() const;  // of memory

 private:
  struct Slot {  // a feature, one way of treating missing values, and at most 32,766 thresholds
    std::uint32_t feature = 0;
    std::uint32_t begin = 0;
    std::uint32_t count = 0;
    std::int16_t missing_code = 0;
    bool zero_is_missing = false;
  };
  struct Node {  // right when the rank is above `code`; a leaf is its own child, with a code that no rank exceeds
    std::uint16_t slot = 0;  // with the highest bit: a set, numbered by the other bits and `code`
    std::int16_t code = 0;
    std::uint32_t child = 0;  // the right child follows the left one
  };
  struct Step {  // of a tree evaluated whole: operands below 256 are nodes of the tree, others results of earlier steps
    std::uint16_t slot = 0;
    std::int16_t code = 0;
    std::uint16_t left = 0;
    std::uint16_t right = 0;
  };
  enum class Form : std::uint8_t { walk, whole, oblivious };
  struct Tree {
    std::uint32_t base = 0;  // of its nodes, and of their values (oblivious: of its leaves' values)
    std::uint32_t depth = 0;
    std::uint32_t steps = 0;  // the first in steps_
    std::uint32_t count = 0;  // of steps, or of levels
    std::uint32_t group = 0;
    Form form = Form::walk;
  };
  template <class T>
  struct Work;
  class Builder;

  template <class T>
  [[nodiscard]] const std::vector<T>& values() const;
  [[nodiscard]] std::int16_t rank(const Slot& slot, double value) const;
  [[nodiscard]] bool goes_right(const CategorySet& set, double value) const;
  [[nodiscard]] double prepared(double value) const;
  template <class T>
  void sum_as(const double* rows, std::size_t count, double* out, KernelLevel most) const;
  template <class T>
  void one_row(const double* row, std::int16_t* codes, std::uint32_t* at, T* out) const;
  template <class T, bool sets>
  void walk_trees(const double* row, const std::int16_t* codes, std::uint32_t* at) const;
  void encode(const double* rows, std::size_t count, std::int16_t* codes) const;
  void walk_lanes(const Tree& tree, const std::int16_t* codes, std::uint32_t* at) const;
  template <class T>
  void add(const Tree& tree, std::size_t node, const double* row, T* out) const;

  std::size_t features_ = 0;
  std::size_t groups_ = 1;
  std::size_t width_ = 1;
  bool round_ = false;
  bool equal_left_ = false;
  bool float_sums_ = false;
  bool tiny_is_zero_ = false;
  bool lanes_ = false;  // whether rows are taken 32 at a time
  std::vector<double> start_;
  std::vector<Slot> slots_;
  std::vector<double> thresholds_;
  std::vector<CategorySet> sets_;
  std::vector<std::uint32_t> words_;
  std::vector<Node> nodes_;
  std::vector<Step> steps_;
  std::vector<Tree> trees_;
  std::vector<std::uint32_t> by_depth_;  // trees that are walked, shallow ones first
  std::vector<float> floats_;            // values of leaves, by node
  std::vector<double> doubles_;
  std::vector<std::int32_t> linear_of_;  // by node: an index into linear_, or -1; empty when no tree is linear
  std::vector<LinearLeaf> linear_;
};

}  // namespace mr::serving
