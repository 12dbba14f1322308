// scikit-learn's Tree objects: from the bytes of a model file to nodes that a ForestBuilder takes. Building is single
// threaded; a TreeReader serves one model.
#pragma once
#include <span>
#include <vector>

#include "serving/engines/estimator.h"
#include "serving/engines/forest.h"

namespace mr::serving {

// The tree_ of one fitted DecisionTree or ExtraTree.
struct SkTree {
  NodeId owner = kNoNode;
  Buffer nodes;   // of structures
  Buffer values;  // (node, output, class) as doubles
  std::size_t features = 0;
  std::size_t outputs = 1;
  std::size_t classes = 1;  // the most of any output
  [[nodiscard]] std::size_t count() const { return nodes.count(); }
  // Values of one node: outputs x classes.
  void values_of(std::size_t node, double* out) const;
};
// Checks that arrays and sizes fit each other. Errors name the class.
Result<SkTree> sk_tree(const Build& b, NodeId estimator);
// The estimators of an ensemble as trees, with sizes for a Forest. `attribute` is "estimators_". Errors: one is no
// tree.
struct SkTrees {
  std::vector<SkTree> trees;
  std::size_t max_nodes = 0;
  std::size_t all_nodes = 0;
};
Result<SkTrees> sk_trees(const Build& b, const std::vector<NodeId>& estimators);

// Whether the estimator at `id`, a tree, takes NaN when it predicts, in the version that wrote it.
bool takes_missing(const Build& b, NodeId id);

// An integer of one structure of a buffer: of a field that is_whole(); a double of an 8-byte one.
inline bool is_whole(const Dtype::Field* f) {
  return f != nullptr && (f->kind == 'i' || f->kind == 'u' || f->kind == 'b');
}
std::int64_t integer_field(const Buffer& structures, const Dtype::Field& field, std::size_t index);
double double_field(const Buffer& structures, const Dtype::Field& field, std::size_t index);

// Nodes of trees, in buffers that are used again.
class TreeReader {
 public:
  // What becomes of one leaf: (node of the file, its values, out: shape.width values).
  using Leaf = std::function<void(std::size_t node, std::span<const double> values, std::span<double> out)>;
  // Adds a tree. `features`: for each feature of the tree the column of the row; empty: the same. `leaf` empty: the
  // values as they are.
  Result<> add(const Build& b, const SkTree& tree, std::span<const std::uint32_t> features, ForestBuilder& forest,
               std::size_t width, std::size_t slot, const Leaf& leaf = {});
  // Of the tree added last: how many nodes a path to this node has, it and the root included.
  [[nodiscard]] std::span<const std::uint32_t> depths() const { return depths_; }
  bool want_depths = false;

 private:
  std::vector<ForestNode> nodes_;
  std::vector<double> leaves_;
  std::vector<double> values_;
  std::vector<std::uint32_t> depths_;
};

// Labels of a classifier with one output or several.
struct SkClasses {
  std::vector<Array> outputs;  // classes_ of each
  std::size_t widest = 0;
};
Result<SkClasses> sk_classes(const Build& b, NodeId id, std::size_t outputs);
// Column numbers of estimators_features_: one list an estimator; empty lists where all columns are used in order.
Result<std::vector<std::vector<std::uint32_t>>> feature_lists(const Build& b, NodeId id, std::size_t estimators,
                                                              std::size_t features);
// n_features_in_ (or what older versions have instead).
Result<std::size_t> features_of(const Build& b, NodeId id, std::size_t fallback);

}  // namespace mr::serving
