#include "serving/engines/sk_tree.h"

#include <cmath>
#include <cstring>

namespace mr::serving {

namespace {

std::uint64_t load_bits(const char* p, int size, bool swap) {
  auto load = [p]<class T>(T v) {
    std::memcpy(&v, p, sizeof v);
    return static_cast<std::uint64_t>(v);
  };
  auto v = size == 8   ? load(std::uint64_t{})
           : size == 4 ? load(std::uint32_t{})
           : size == 2 ? load(std::uint16_t{})
                       : load(std::uint8_t{});
  return swap ? __builtin_bswap64(v) >> (64 - 8 * size) : v;
}

// An integer or a flag of a structure.
std::int64_t load_integer(const char* item, const Dtype::Field& f) {
  auto v = load_bits(item + f.offset, f.itemsize, f.swap);
  if (f.kind != 'i') return static_cast<std::int64_t>(v);
  const int unused = 64 - 8 * f.itemsize;
  return static_cast<std::int64_t>(v << unused) >> unused;
}

double load_double(const char* item, const Dtype::Field& f) {
  auto v = load_bits(item + f.offset, 8, f.swap);
  double d = 0;
  std::memcpy(&d, &v, 8);
  return d;
}

bool is_double(const Dtype::Field* f) { return f != nullptr && f->kind == 'f' && f->itemsize == 8; }

constexpr std::size_t kMostNodes = std::size_t{1} << 30;

}  // namespace

std::int64_t integer_field(const Buffer& structures, const Dtype::Field& field, std::size_t index) {
  return load_integer(structures.bytes.data() + index * static_cast<std::size_t>(structures.dtype.itemsize), field);
}

double double_field(const Buffer& structures, const Dtype::Field& field, std::size_t index) {
  return load_double(structures.bytes.data() + index * static_cast<std::size_t>(structures.dtype.itemsize), field);
}

void SkTree::values_of(std::size_t node, double* out) const {
  const std::size_t n = outputs * classes;
  const char* from = values.bytes.data() + node * n * 8;
  std::memcpy(out, from, n * 8);
  if (values.dtype.swap)
    for (std::size_t i = 0; i < n; ++i) {
      auto v = load_bits(from + i * 8, 8, true);
      std::memcpy(out + i, &v, 8);
    }
}

Result<SkTree> sk_tree(const Build& b, NodeId estimator) {
  const auto& t = b.tree;
  SkTree out;
  out.owner = estimator;
  auto id = t.get(estimator, "tree_");
  if (t.is_none(id)) return b.bad(estimator, "it has no tree_: is it fitted?");
  if (t.class_of(id) != "sklearn.tree._tree.Tree") return b.bad(estimator, "its tree_ is not a Tree");
  auto nodes = t.buffer_of(t.get(id, "nodes"));
  if (!nodes) return b.bad(estimator, fmt::format("nodes of its tree: {}", nodes.error().message));
  auto values = t.buffer_of(t.get(id, "values"));
  if (!values) return b.bad(estimator, fmt::format("values of its tree: {}", values.error().message));
  out.nodes = std::move(*nodes);
  out.values = std::move(*values);
  const auto& shape = out.values.shape;
  if (out.nodes.dtype.kind != 'V' || out.nodes.count() == 0 || out.nodes.count() > kMostNodes)
    return b.bad(estimator, "the nodes of its tree are not read");
  if (out.values.dtype.kind != 'f' || out.values.dtype.itemsize != 8 || out.values.fortran || shape.size() != 3 ||
      static_cast<std::size_t>(shape[0]) != out.count() || shape[1] < 1 || shape[2] < 1)
    return b.bad(estimator, "the values of its tree do not fit its nodes");
  out.outputs = static_cast<std::size_t>(shape[1]);
  out.classes = static_cast<std::size_t>(shape[2]);
  for (const char* name : {"left_child", "right_child", "feature", "n_node_samples"})
    if (!is_whole(out.nodes.dtype.field(name))) return b.bad(estimator, fmt::format("its tree has no {}", name));
  if (!is_double(out.nodes.dtype.field("threshold"))) return b.bad(estimator, "its tree has no threshold");
  const auto& arguments = t.at(id).items;
  if (!arguments.empty() && t.at(arguments[0]).kind == NodeKind::integer && t.at(arguments[0]).integer >= 0)
    out.features = static_cast<std::size_t>(t.at(arguments[0]).integer);
  return out;
}

Result<SkTrees> sk_trees(const Build& b, const std::vector<NodeId>& estimators) {
  SkTrees out;
  out.trees.reserve(estimators.size());
  for (auto id : estimators) {
    MR_TRY(SkTree tree, sk_tree(b, id));
    out.max_nodes = std::max(out.max_nodes, tree.count());
    out.all_nodes += tree.count();
    // Many estimators may name one tree; what they cost together is bounded by the file.
    auto cost = tree.count() * 2 * sizeof(double);
    if (cost > b.tree.decode_left) return fail(Code::too_large, "the file's trees are used more often than is read");
    b.tree.decode_left -= cost;
    out.trees.push_back(std::move(tree));
  }
  return out;
}

bool takes_missing(const Build& b, NodeId id) {
  const int version = b.version_of(id);
  if (version < 1003) return false;
  auto name = b.short_class(id);
  auto splitter = b.text_or(id, "splitter", name.starts_with("Extra") ? "random" : "best");
  if (splitter != "best" && version < 1006) return false;
  if (version < 1009 && b.text_or(id, "criterion", "") == "absolute_error") return false;
  return version >= 1008 || b.tree.is_none(b.tree.get(id, "monotonic_cst"));
}

Result<> TreeReader::add(const Build& b, const SkTree& tree, std::span<const std::uint32_t> features,
                         ForestBuilder& forest, std::size_t width, std::size_t slot, const Leaf& leaf) {
  const auto& type = tree.nodes.dtype;
  const auto& left = *type.field("left_child");
  const auto& right = *type.field("right_child");
  const auto& feature = *type.field("feature");
  const auto& threshold = *type.field("threshold");
  const auto* missing = type.field("missing_go_to_left");
  if (missing != nullptr && !is_whole(missing)) missing = nullptr;
  const auto count = static_cast<std::int64_t>(tree.count());
  const auto own = tree.outputs * tree.classes;
  if (!leaf && own != width) return b.bad(tree.owner, "the values of its tree do not fit the model");
  if (width > own) {  // more than the file holds itself
    auto cost = (tree.count() / 2 + 1) * width * sizeof(double);
    if (cost > b.tree.decode_left) return fail(Code::too_large, "the model's classes need more memory than is given");
    b.tree.decode_left -= cost;
  }
  nodes_.assign(tree.count(), {});
  leaves_.clear();
  values_.resize(own);
  if (want_depths) depths_.assign(tree.count(), 0);
  if (want_depths) depths_[0] = 1;
  std::uint32_t next = 0;
  const char* item = tree.nodes.bytes.data();
  for (std::int64_t i = 0; i < count; ++i, item += type.itemsize) {
    auto& n = nodes_[static_cast<std::size_t>(i)];
    auto l = load_integer(item, left);
    auto r = load_integer(item, right);
    if (l < 0) {
      n.right = next++;
      tree.values_of(static_cast<std::size_t>(i), values_.data());
      auto at = leaves_.size();
      leaves_.resize(at + width);
      if (leaf)
        leaf(static_cast<std::size_t>(i), values_, {leaves_.data() + at, width});
      else
        std::copy(values_.begin(), values_.end(), leaves_.begin() + static_cast<std::ptrdiff_t>(at));
      continue;
    }
    // Children come after their parent, in every version; so there are no cycles.
    if (l <= i || r <= i || l >= count || r >= count)
      return b.bad(tree.owner, "a node of its tree has a child that is out of range");
    auto f = load_integer(item, feature);
    if (f < 0 || (!features.empty() && static_cast<std::size_t>(f) >= features.size()) || f > INT32_MAX)
      return b.bad(tree.owner, "a node of its tree asks for a feature that the model does not have");
    n.left = static_cast<std::uint32_t>(l);
    n.right = static_cast<std::uint32_t>(r);
    n.feature = features.empty() ? static_cast<std::uint32_t>(f) : features[static_cast<std::size_t>(f)];
    n.threshold = load_double(item, threshold);
    n.missing_left = missing != nullptr && load_integer(item, *missing) != 0;
    if (want_depths) depths_[n.left] = depths_[n.right] = depths_[static_cast<std::size_t>(i)] + 1;
  }
  if (auto added = forest.add(nodes_, leaves_, slot); !added) return b.bad(tree.owner, added.error().message);
  return {};
}

Result<SkClasses> sk_classes(const Build& b, NodeId id, std::size_t outputs) {
  SkClasses out;
  if (outputs == 1) {
    MR_TRY(auto a, b.array(id, "classes_"));
    out.outputs.push_back(std::move(a));
  } else {
    auto all = b.tree.cells(b.tree.get(id, "classes_"));
    if (!all || all->size() != outputs) return b.bad(id, "its classes_ do not fit its outputs");
    for (auto cell : *all) {
      auto a = b.tree.array_of(cell);
      if (!a) return b.bad(id, fmt::format("classes_: {}", a.error().message));
      out.outputs.push_back(std::move(*a));
    }
  }
  for (const auto& a : out.outputs) {
    if (a.size() == 0) return b.bad(id, "it has no classes");
    bool texts = a.kind == 'U' || a.kind == 'O';
    if (texts != (out.outputs[0].kind == 'U' || out.outputs[0].kind == 'O'))
      return b.bad(id, "its outputs have classes of different types");
    out.widest = std::max(out.widest, a.size());
  }
  return out;
}

Result<std::vector<std::vector<std::uint32_t>>> feature_lists(const Build& b, NodeId id, std::size_t estimators,
                                                              std::size_t features) {
  std::vector<std::vector<std::uint32_t>> out(estimators);
  auto list = b.tree.get(id, "estimators_features_");
  if (b.tree.is_none(list)) return out;
  auto cells = b.tree.cells(list);
  if (!cells || cells->size() != estimators) return b.bad(id, "its estimators_features_ do not fit its estimators");
  for (std::size_t i = 0; i < estimators; ++i) {
    auto a = b.tree.array_of((*cells)[i]);
    if (!a || (a->kind != 'i' && a->kind != 'u')) return b.bad(id, "its estimators_features_ are not read");
    bool plain = a->numbers.size() == features;
    for (std::size_t k = 0; k < a->numbers.size(); ++k) {
      double v = a->numbers[k];
      if (!(v >= 0) || v >= static_cast<double>(features))
        return b.bad(id, "its estimators_features_ name a column that is not there");
      plain = plain && v == static_cast<double>(k);
      out[i].push_back(static_cast<std::uint32_t>(v));
    }
    if (out[i].empty()) return b.bad(id, "an estimator has no features");
    if (plain) out[i].clear();
  }
  return out;
}

Result<std::size_t> features_of(const Build& b, NodeId id, std::size_t fallback) {
  double n = b.number_or(id, "n_features_in_", 0);
  if (n == 0) n = static_cast<double>(fallback);
  if (!(n >= 1) || n > 1e8 || n != std::floor(n)) return b.bad(id, "it does not say how many features it has");
  return static_cast<std::size_t>(n);
}

}  // namespace mr::serving
