// DecisionTree*, ExtraTree*, RandomForest*, ExtraTrees*, IsolationForest.
#include <cmath>
#include <numbers>

#include "serving/engines/boosting.h"
#include "serving/engines/rows.h"
#include "serving/engines/sk_tree.h"
#include "serving/engines/transform.h"

namespace mr::serving {

namespace {

// A tree, or the mean of many. The sums are predictions or, of a classifier, shares of classes.
class TreeMean : public Estimator {
 public:
  Forest forest;
  double divisor = 1;
  bool classifier = false;
  SkClasses labels_of;    // of each output
  std::size_t block = 1;  // sums of an output

  std::size_t features() const override { return forest.shape().features; }
  bool takes_sparse() const override { return true; }
  const Array* classes() const override {
    return classifier && labels_of.outputs.size() == 1 ? labels_of.outputs.data() : nullptr;
  }

  Result<Output> predict(const Frame& in) const override {
    MR_TRY(auto sums, mean(in));
    if (!classifier) return numbers_of(in.rows, forest.shape().outputs, std::move(sums));
    const auto outputs = labels_of.outputs.size();
    if (outputs == 1) {
      std::vector<std::size_t> best(in.rows);
      for (std::size_t r = 0; r < in.rows; ++r) best[r] = argmax({sums.data() + r * block, block});
      return labels(labels_of.outputs[0], best);
    }
    auto out = labels(labels_of.outputs[0], {});
    out.rows = in.rows;
    out.width = outputs;
    for (std::size_t r = 0; r < in.rows; ++r)
      for (std::size_t k = 0; k < outputs; ++k) {
        const auto& c = labels_of.outputs[k];
        auto best = argmax({sums.data() + (r * outputs + k) * block, c.size()});
        if (out.type == DataType::bytes)
          out.texts.push_back(c.texts[best]);
        else
          out.numbers.push_back(c.numbers[best]);
      }
    return out;
  }

  Result<Frame> predict_proba(const Frame& in) const override {
    if (!classifier) return Estimator::predict_proba(in);
    if (labels_of.outputs.size() != 1)
      return fail(Code::unimplemented,
                  fmt::format("predict_proba of {} with several outputs has no answer here", name));
    MR_TRY(auto sums, mean(in));
    return frame_of(in.rows, block, std::move(sums));
  }
  Result<std::vector<Frame>> shares_of_outputs(const Frame& in) const override {
    const auto outputs = labels_of.outputs.size();
    if (!classifier || outputs == 1) return Estimator::shares_of_outputs(in);
    MR_TRY(auto sums, mean(in));
    std::vector<Frame> out;
    for (std::size_t k = 0; k < outputs; ++k) {
      const auto n = labels_of.outputs[k].size();
      std::vector<double> shares;
      shares.reserve(in.rows * n);
      for (std::size_t r = 0; r < in.rows; ++r) {
        auto from = sums.begin() + static_cast<std::ptrdiff_t>((r * outputs + k) * block);
        shares.insert(shares.end(), from, from + static_cast<std::ptrdiff_t>(n));
      }
      out.push_back(frame_of(in.rows, n, std::move(shares)));
    }
    return out;
  }

 private:
  Result<std::vector<double>> mean(const Frame& in) const {
    std::vector<double> sums(in.rows * forest.shape().outputs, 0.0);
    MR_CHECK(forest.sum(in, sums));
    if (divisor != 1)
      for (auto& v : sums) v /= divisor;
    return sums;
  }
};

Result<EstimatorPtr> make_trees(const Build& b, NodeId id, const std::vector<NodeId>& estimators, bool mean) {
  if (estimators.empty()) return b.bad(id, "it has no estimators");
  MR_TRY(SkTrees all, sk_trees(b, estimators));
  auto made = std::make_unique<TreeMean>();
  auto name = b.short_class(id);
  made->classifier = name.ends_with("Classifier");
  const auto& first = all.trees[0];
  ForestShape shape;
  MR_TRY(shape.features, features_of(b, id, first.features));
  shape.max_nodes = all.max_nodes;
  shape.all_nodes = all.all_nodes;
  shape.missing = takes_missing(b, estimators[0]) && (!mean || b.version_of(id) >= 1004);
  if (made->classifier) {
    MR_TRY(made->labels_of, sk_classes(b, id, first.outputs));
    made->block = made->labels_of.widest;
    if (made->block != first.classes) return b.bad(id, "its classes_ do not fit its trees");
  }
  shape.outputs = shape.width = first.outputs * first.classes;
  if (made->classifier && shape.width == 1) made->block = 1;
  ForestBuilder forest(shape);
  TreeReader reader;
  // Until 1.3 trees held counts, and shares were made of them.
  const int version = b.version_of(id);
  const bool shares = made->classifier && version < 1004;
  const auto block = first.classes;
  TreeReader::Leaf leaf;
  if (shares)
    leaf = [block, version](std::size_t, std::span<const double> values, std::span<double> out) {
      for (std::size_t at = 0; at < values.size(); at += block) {
        double sum = 0;
        for (std::size_t k = 0; k < block; ++k) sum += values[at + k];
        if (sum == 0 || (version == 0 && std::abs(sum - 1) < 1e-6)) sum = 1;
        for (std::size_t k = 0; k < block; ++k) out[at + k] = values[at + k] / sum;
      }
    };
  for (const auto& tree : all.trees) {
    if (tree.outputs != first.outputs || tree.classes != first.classes)
      return b.bad(id, "its trees have different outputs");
    MR_CHECK(reader.add(b, tree, {}, forest, shape.width, 0, leaf));
  }
  made->forest = forest.finish();
  b.memory += made->forest.bytes();
  if (mean) made->divisor = static_cast<double>(estimators.size());
  return made;
}

// The mean depth of a leaf, against that of a search tree: 1 is an inlier, -1 an outlier.
class IsolationTrees : public Estimator {
 public:
  Forest forest;
  double denominator = 1;
  double offset = 0;

  std::size_t features() const override { return forest.shape().features; }
  bool takes_sparse() const override { return true; }

  Result<Frame> decision_function(const Frame& in) const override {
    std::vector<double> depths(in.rows, 0.0);
    MR_CHECK(forest.sum(in, depths));
    for (auto& d : depths) d = -std::exp2(denominator == 0 ? -1.0 : -(d / denominator)) - offset;
    return frame_of(in.rows, 1, std::move(depths));
  }
  Result<Output> predict(const Frame& in) const override {
    MR_TRY(auto f, decision_function(in));
    for (auto& v : f.data) v = v < 0 ? -1 : 1;
    auto out = numbers_of(in.rows, 1, std::move(f.data));
    out.type = DataType::int64;
    return out;
  }
};

// The mean path length of a search tree of n samples.
double mean_path(double n) {
  if (n <= 1) return 0;
  if (n == 2) return 1;
  return 2.0 * (std::log(n - 1.0) + std::numbers::egamma) - 2.0 * (n - 1.0) / n;
}

Result<EstimatorPtr> make_isolation(const Build& b, NodeId id) {
  auto cells = b.tree.cells(b.tree.get(id, "estimators_"));
  if (!cells || cells->empty()) return b.bad(id, "it has no estimators");
  MR_TRY(SkTrees all, sk_trees(b, *cells));
  auto made = std::make_unique<IsolationTrees>();
  ForestShape shape;
  MR_TRY(shape.features, features_of(b, id, all.trees[0].features));
  MR_TRY(auto lists, feature_lists(b, id, cells->size(), shape.features));
  shape.max_nodes = all.max_nodes;
  shape.all_nodes = all.all_nodes;
  shape.missing = shape.infinite = b.version_of(id) >= 1006;
  double samples = b.number_or(id, "_max_samples", b.number_or(id, "max_samples_", 0));
  if (!(samples >= 1)) return b.bad(id, "it does not say how many samples a tree has");
  MR_TRY(made->offset, b.number(id, "offset_"));
  made->denominator = static_cast<double>(cells->size()) * mean_path(samples);
  ForestBuilder forest(shape);
  TreeReader reader;
  reader.want_depths = true;
  for (std::size_t i = 0; i < all.trees.size(); ++i) {
    const auto& tree = all.trees[i];
    const auto& counts = *tree.nodes.dtype.field("n_node_samples");
    auto leaf = [&](std::size_t node, std::span<const double>, std::span<double> out) {
      auto n = integer_field(tree.nodes, counts, node);
      out[0] = static_cast<double>(reader.depths()[node]) + mean_path(static_cast<double>(n)) - 1.0;
    };
    MR_CHECK(reader.add(b, tree, lists[i], forest, 1, 0, leaf));
  }
  made->forest = forest.finish();
  b.memory += made->forest.bytes();
  return made;
}

// RandomTreesEmbedding: for each tree a 1 in the column of the leaf that the row falls into.
class LeafPlaces : public Estimator {
 public:
  Forest forest;  // an output a tree: the column of its leaf
  std::size_t columns = 0;

  std::size_t features() const override { return forest.shape().features; }
  bool takes_sparse() const override { return true; }

  Result<Frame> transform(const Frame& in) const override {
    const auto trees = forest.shape().outputs;
    if (in.rows > kMaxCells / trees) return fail(Code::too_large, "the rows give more numbers than are made");
    std::vector<double> places(in.rows * trees, 0.0);
    MR_CHECK(forest.sum(in, places));
    Frame out;
    out.rows = in.rows;
    out.columns = columns;
    out.sparse = true;
    out.starts.push_back(0);
    for (std::size_t i = 0; i < places.size(); ++i) {
      out.indices.push_back(static_cast<std::uint32_t>(places[i]));
      out.values.push_back(1);
      if ((i + 1) % trees == 0) out.starts.push_back(i + 1);
    }
    return out;
  }
};

Result<EstimatorPtr> make_places(const Build& b, NodeId id) {
  auto cells = b.tree.cells(b.tree.get(id, "estimators_"));
  if (!cells || cells->empty()) return b.bad(id, "it has no estimators: is it fitted?");
  MR_TRY(SkTrees all, sk_trees(b, *cells));
  auto categories = b.tree.cells(b.tree.get(b.tree.get(id, "one_hot_encoder_"), "categories_"));
  if (!categories || categories->size() != cells->size())
    return b.bad(id, "its one_hot_encoder_ does not fit its trees");
  auto made = std::make_unique<LeafPlaces>();
  ForestShape shape;
  MR_TRY(shape.features, features_of(b, id, all.trees[0].features));
  shape.max_nodes = all.max_nodes;
  shape.all_nodes = all.all_nodes;
  shape.missing = takes_missing(b, (*cells)[0]);
  shape.outputs = all.trees.size();
  ForestBuilder forest(shape);
  TreeReader reader;
  for (std::size_t i = 0; i < all.trees.size(); ++i) {
    auto known = b.tree.array_of((*categories)[i]);
    if (!known || known->kind == 'U' || known->kind == 'O')
      return b.bad(id, "its one_hot_encoder_ knows no numbers of leaves");
    std::map<double, std::size_t> column;
    for (double v : known->numbers) {
      if (!std::isfinite(v)) return b.bad(id, "its one_hot_encoder_ knows no numbers of leaves");
      column.emplace(v, made->columns++);
    }
    bool found = true;
    auto leaf = [&](std::size_t node, std::span<const double>, std::span<double> out) {
      auto at = column.find(static_cast<double>(node));
      found = found && at != column.end();
      out[0] = at == column.end() ? 0 : static_cast<double>(at->second);
    };
    MR_CHECK(reader.add(b, all.trees[i], {}, forest, 1, i, leaf));
    if (!found) return b.bad(id, "a leaf of its trees has no column");
  }
  if (made->columns == 0 || made->columns > UINT32_MAX) return b.bad(id, "it has more columns than are read");
  made->forest = forest.finish();
  b.memory += made->forest.bytes();
  return made;
}

}  // namespace

void add_trees(Makers& makers) {
  for (const char* name :
       {"DecisionTreeClassifier", "DecisionTreeRegressor", "ExtraTreeClassifier", "ExtraTreeRegressor"})
    makers[fmt::format("sklearn*{}", name)] = [](Build& b, NodeId id) { return make_trees(b, id, {id}, false); };
  for (const char* name :
       {"RandomForestClassifier", "RandomForestRegressor", "ExtraTreesClassifier", "ExtraTreesRegressor"})
    makers[fmt::format("sklearn*{}", name)] = [](Build& b, NodeId id) -> Result<EstimatorPtr> {
      auto cells = b.tree.cells(b.tree.get(id, "estimators_"));
      if (!cells) return b.bad(id, "it has no estimators: is it fitted?");
      return make_trees(b, id, *cells, true);
    };
  makers["sklearn*RandomTreesEmbedding"] = [](Build& b, NodeId id) { return make_places(b, id); };
  makers["sklearn*IsolationForest"] = [](Build& b, NodeId id) { return make_isolation(b, id); };
  add_boosting(makers);
  add_committees(makers);
}

}  // namespace mr::serving
