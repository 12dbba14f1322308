// Sums over decision trees as scikit-learn grows them: deep trees of splits x <= threshold, each leaf with one number
// or a vector of them (the shares of the classes). The kernel behind engines/trees.cpp.
//
// Values and thresholds become integers of the same order (their keys), so that a compare is one instruction whatever
// the value. Nodes are 8 bytes where that holds a model exactly, else 16, and stand level by level with the two
// children of a node side by side, so a step is two loads, a compare and an add, without a branch. Eight rows walk one
// tree together, or one row eight trees. Trees are added to the sums one after the other, in their order, so that the
// sums are those of the original to the last bit.
//
// A Forest owns all it needs; immutable and thread safe once built. ForestBuilder checks every index and that the nodes
// are a tree, so sums need no checks.
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/error.h"
#include "serving/types.h"

namespace mr::serving {

// A node as a model file has it; children are indices among the nodes of the tree.
struct ForestNode {
  double threshold = 0;     // x <= threshold goes left
  std::uint32_t left = 0;   // 0: a leaf, since the root is nobody's child
  std::uint32_t right = 0;  // of a leaf: its index among the tree's leaf values
  std::uint32_t feature = 0;
  bool missing_left = false;  // where NaN goes
  std::int32_t set = -1;      // instead of the threshold: an index into the sets of the builder
};

// Categories 0 to 255 as bits. In `left`: goes left; else in `known`: right; else as missing.
struct ForestSet {
  std::array<std::uint32_t, 8> left{};
  std::array<std::uint32_t, 8> known{};
};

struct ForestShape {
  std::size_t features = 0;   // columns of a row
  std::size_t outputs = 1;    // sums a row
  std::size_t width = 1;      // values of a leaf; 1, or as many as outputs
  std::size_t max_nodes = 0;  // no tree has more
  std::size_t all_nodes = 0;  // of all trees together, about
  bool floats = true;         // values are rounded to float32 before they are compared
  bool missing = false;       // NaN is taken
  bool infinite = false;      // and infinities
};

class Forest {
 public:
  // Adds to `out` (rows x outputs) what each row's leaves say. Dense or sparse frames. Errors: another width, texts,
  // values that are not taken.
  [[nodiscard]] Result<> sum(const Frame& in, std::vector<double>& out) const;
  // The same for rows [first, last) of the frame; `out` is of these.
  [[nodiscard]] Result<> sum(const Frame& in, std::size_t first, std::size_t last, std::vector<double>& out) const;
  [[nodiscard]] const ForestShape& shape() const { return shape_; }
  [[nodiscard]] std::size_t trees() const { return trees_.size(); }
  [[nodiscard]] std::size_t bytes() const;  // of memory

 private:
  friend class ForestBuilder;
  struct Node {            // 8 bytes: link holds feature, the flag for NaN and the left child
    std::int32_t key = 0;  // of the threshold as float32; of a leaf below all keys: the index of its values
    std::uint32_t link = 0;
  };
  struct WideNode {
    std::int64_t key = 0;  // of the threshold as a double; of a leaf or a set below all keys: an index
    std::uint32_t feature = 0;
    std::uint32_t child = 0;
  };
  struct Tree {
    std::size_t base = 0;      // of its nodes; the root is node 1 of the tree
    std::uint32_t levels = 0;  // above the first leaf: steps that need no look whether they were the last
    std::uint32_t slot = 0;    // the output that a single value is added to
  };
  template <int feature_bits, bool missing>
  struct Packed;
  template <bool sets, bool missing>
  struct Wide;

  template <class Layout, class WithMissing>
  Result<> run(const Frame& in, std::size_t first, std::size_t last, double* out) const;
  template <class Layout, class Key>
  void block(const Key* lanes, std::size_t rows, double* out) const;
  template <class Layout, class Key>
  void one(const Key* row, double* out) const;
  void add(const Tree& tree, std::size_t leaf, double* out) const;

  enum class Form : std::uint8_t { small, medium, wide };
  ForestShape shape_;
  Form form_ = Form::small;
  std::vector<Node> nodes_;
  std::vector<WideNode> wide_;
  std::vector<Tree> trees_;
  std::vector<double> values_;
  std::vector<ForestSet> sets_;
};

class ForestBuilder {
 public:
  explicit ForestBuilder(const ForestShape& shape);
  // The index of a set.
  std::int32_t add_set(const ForestSet& set);
  // nodes[0] is the root. Errors: an index out of range, a node with two parents (and so every cycle), a threshold that
  // is NaN, too many nodes. Nodes that the root does not reach are left out.
  Result<> add(std::span<const ForestNode> nodes, std::span<const double> leaves, std::size_t slot = 0);
  Forest finish();

 private:
  Result<std::uint32_t> leaf_values(std::span<const double> values);

  Forest f_;
  std::vector<std::uint32_t> order_;
  std::vector<std::uint8_t> seen_;
  std::unordered_multimap<std::uint64_t, std::uint32_t> known_;  // vectors of leaves by their hash
};

}  // namespace mr::serving
