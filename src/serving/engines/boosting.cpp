// GradientBoosting* and HistGradientBoosting*: sums of trees behind a start value and a link.
#include "serving/engines/boosting.h"

#include <cmath>
#include <limits>

#include "serving/engines/rows.h"
#include "serving/engines/sk_tree.h"

namespace mr::serving {

namespace {

// What the sums of a classifier or regressor mean.
enum class Link : std::uint8_t { identity, exponential, logistic, half_logistic, softmax };

// Common to both: raw sums to answers.
class Boosted : public Estimator {
 public:
  Forest forest;
  Link link = Link::identity;
  Array labels_of;              // of a classifier
  bool zero_is_second = false;  // two classes: a sum of 0 is the second one
  std::vector<double> start;    // of each sum

  std::size_t features() const override { return forest.shape().features; }
  const Array* classes() const override { return labels_of.size() == 0 ? nullptr : &labels_of; }

  Result<Output> predict(const Frame& in) const override {
    MR_TRY(auto sums, raw(in));
    const auto width = forest.shape().outputs;
    if (classes() == nullptr) {
      if (link == Link::exponential)
        for (auto& v : sums) v = std::exp(v);
      return numbers_of(in.rows, 1, std::move(sums));
    }
    std::vector<std::size_t> best(in.rows);
    for (std::size_t r = 0; r < in.rows; ++r) {
      if (width > 1)
        best[r] = argmax({sums.data() + r * width, width});
      else
        best[r] = sums[r] > 0 || (zero_is_second && sums[r] == 0) ? 1 : 0;
    }
    return labels(labels_of, best);
  }
  Result<Frame> predict_proba(const Frame& in) const override {
    if (classes() == nullptr) return Estimator::predict_proba(in);
    MR_TRY(auto sums, raw(in));
    const auto width = forest.shape().outputs;
    if (width > 1) {
      for (std::size_t r = 0; r < in.rows; ++r) softmax({sums.data() + r * width, width});
      return frame_of(in.rows, width, std::move(sums));
    }
    std::vector<double> out(in.rows * 2);
    for (std::size_t r = 0; r < in.rows; ++r) {
      out[2 * r + 1] = expit(link == Link::half_logistic ? 2 * sums[r] : sums[r]);
      out[2 * r] = 1 - out[2 * r + 1];
    }
    return frame_of(in.rows, 2, std::move(out));
  }
  Result<Frame> decision_function(const Frame& in) const override {
    if (classes() == nullptr) return Estimator::decision_function(in);
    MR_TRY(auto sums, raw(in));
    return frame_of(in.rows, forest.shape().outputs, std::move(sums));
  }

 protected:
  virtual Result<std::vector<double>> raw(const Frame& in) const {
    const auto width = forest.shape().outputs;
    std::vector<double> sums(in.rows * width);
    for (std::size_t i = 0; i < sums.size(); ++i) sums[i] = start[i % width];
    MR_CHECK(forest.sum(in, sums));
    return sums;
  }
};

// The number of sums a row, from the classes; checks that they are a classifier's.
Result<std::size_t> sums_of(const Build& b, NodeId id, Boosted& made, bool classifier) {
  if (!classifier) return std::size_t{1};
  MR_TRY(made.labels_of, b.array(id, "classes_"));
  const auto n = made.labels_of.size();
  if (n < 2) return b.bad(id, "it has fewer than two classes");
  return n == 2 ? std::size_t{1} : n;
}

// ---- GradientBoosting* ----

class GradientBoosting : public Boosted {
 public:
  EstimatorPtr init;     // what the sums start from, where that is not a constant
  double clip = 0;       // shares stay this far from 0 and 1
  bool centred = false;  // several classes: log shares less their mean

  bool takes_sparse() const override { return init == nullptr || init->takes_sparse(); }

  // Shares of classes to what the sums start from.
  std::vector<double> start_of(std::vector<double> shares, std::size_t classes) const {
    for (auto& p : shares) p = std::clamp(p, clip, 1 - clip);
    if (link != Link::softmax) {
      std::vector<double> out(shares.size() / classes);
      for (std::size_t r = 0; r < out.size(); ++r) {
        auto p = shares[r * classes + 1];
        out[r] = std::log(p / (1 - p)) * (link == Link::half_logistic ? 0.5 : 1.0);
      }
      return out;
    }
    for (std::size_t r = 0; r < shares.size(); r += classes) {
      double mean = 0;
      for (std::size_t k = 0; k < classes; ++k) mean += shares[r + k] = std::log(shares[r + k]);
      mean = centred ? mean / static_cast<double>(classes) : 0;
      for (std::size_t k = 0; k < classes; ++k) shares[r + k] -= mean;
    }
    return shares;
  }

 protected:
  Result<std::vector<double>> raw(const Frame& in) const override {
    if (init == nullptr) return Boosted::raw(in);
    // The estimator that comes first sees the values as the trees do.
    Frame rounded = in;
    for (auto& v : rounded.data) v = static_cast<double>(static_cast<float>(v));
    for (auto& v : rounded.values) v = static_cast<double>(static_cast<float>(v));
    rounded.f32 = true;
    rounded.names.clear();
    const auto width = forest.shape().outputs;
    std::vector<double> sums;
    if (classes() == nullptr) {
      MR_TRY(auto out, init->predict(rounded));
      sums = std::move(out.numbers);
    } else {
      MR_TRY(auto out, init->predict_proba(rounded));
      if (out.columns != labels_of.size()) return fail(Code::invalid_argument, "the init estimator has other classes");
      sums = start_of(std::move(out.data), out.columns);
    }
    if (sums.size() != in.rows * width)
      return fail(Code::invalid_argument, "the init estimator gives another number of values");
    MR_CHECK(forest.sum(in, sums));
    return sums;
  }
};

Result<> read_init(Build& b, NodeId id, GradientBoosting& made, std::size_t width) {
  const auto& t = b.tree;
  auto init = t.get(id, "init_");
  made.start.assign(width, 0.0);
  if (t.is_none(init)) return b.bad(id, "it has no init_: is it fitted?");
  if (t.text_of(init) == "zero") return {};
  auto name = b.short_class(init);
  auto strategy = b.text_or(init, "strategy", "prior");
  if (name == "DummyRegressor" && made.classes() == nullptr) {
    MR_TRY(made.start[0], b.number(init, "constant_"));
    return {};
  }
  if (name == "DummyClassifier" && strategy == "prior" && made.classes() != nullptr) {
    MR_TRY(auto shares, b.numbers(init, "class_prior_"));
    if (shares.size() != made.labels_of.size()) return b.bad(id, "its init_ has other classes");
    const auto classes = shares.size();
    made.start = made.start_of(std::move(shares), classes);
    return {};
  }
  MR_TRY(made.init, b.estimator(init));
  return {};
}

Result<EstimatorPtr> make_gradient_boosting(Build& b, NodeId id, bool classifier) {
  auto cells = b.tree.cells(b.tree.get(id, "estimators_"));
  if (!cells || cells->empty()) return b.bad(id, "it has no estimators: is it fitted?");
  const int version = b.version_of(id);
  auto made = std::make_unique<GradientBoosting>();
  MR_TRY(auto width, sums_of(b, id, *made, classifier));
  if (cells->size() % width != 0) return b.bad(id, "its estimators do not fit its classes");
  auto loss = b.text_or(id, "loss", "");
  if (classifier)
    made->link = loss == "exponential" ? Link::half_logistic : width == 1 ? Link::logistic : Link::softmax;
  made->zero_is_second = version >= 1004 || loss == "exponential";
  made->centred = version >= 1004;
  made->clip = version >= 1008 ? std::numeric_limits<double>::epsilon()
                               : static_cast<double>(std::numeric_limits<float>::epsilon());
  MR_TRY(SkTrees all, sk_trees(b, *cells));
  ForestShape shape;
  MR_TRY(shape.features, features_of(b, id, all.trees[0].features));
  shape.outputs = width;
  shape.max_nodes = all.max_nodes;
  shape.all_nodes = all.all_nodes;
  MR_CHECK(read_init(b, id, *made, width));
  MR_TRY(double rate, b.number(id, "learning_rate"));
  ForestBuilder forest(shape);
  TreeReader reader;
  auto leaf = [rate](std::size_t, std::span<const double> values, std::span<double> out) { out[0] = rate * values[0]; };
  for (std::size_t i = 0; i < all.trees.size(); ++i) {
    if (all.trees[i].outputs * all.trees[i].classes != 1) return b.bad(id, "one of its trees has several outputs");
    MR_CHECK(reader.add(b, all.trees[i], {}, forest, 1, i % width, leaf));
  }
  made->forest = forest.finish();
  b.memory += made->forest.bytes();
  return made;
}

// ---- HistGradientBoosting* ----

// The categories of one column as the encoder in front of the trees numbers them.
struct Codes {
  std::unordered_map<std::string, double> texts;
  std::unordered_map<double, double> numbers;
};

class HistBoosting : public Boosted {
 public:
  // Where the trees see other columns than the request has: column i of the trees is source[i], by codes if it has any.
  std::vector<std::size_t> source;
  std::vector<Codes> codes;  // of the first columns
  std::size_t columns = 0;

  std::size_t features() const override { return columns; }

 protected:
  Result<std::vector<double>> raw(const Frame& in) const override {
    if (source.empty()) return Boosted::raw(in);
    if (in.rows == 0 || in.columns != columns)
      return fail(Code::invalid_argument,
                  fmt::format("the input has {} columns; the model was fitted with {}", in.columns, columns));
    auto encoded = frame_of(in.rows, source.size(), std::vector<double>(in.rows * source.size()));
    for (std::size_t c = 0; c < source.size(); ++c) {
      auto texts = in.texts.find(source[c]);
      if (c >= codes.size() && texts != in.texts.end())
        return fail(Code::invalid_argument,
                    fmt::format("column #{} holds texts, and this model takes numbers", source[c]));
      for (std::size_t r = 0; r < in.rows; ++r) {
        double v = in.data[r * columns + source[c]];
        if (c < codes.size()) v = code_of(codes[c], v, texts == in.texts.end() ? nullptr : &texts->second, r);
        encoded.data[r * source.size() + c] = v;
      }
    }
    return Boosted::raw(encoded);
  }

 private:
  static double code_of(const Codes& codes, double v, const TextColumn* texts, std::size_t row) {
    if (texts != nullptr) {
      if (row < texts->missing.size() && texts->missing[row] != 0) return NAN;
      auto it = codes.texts.find(texts->values[row]);
      return it == codes.texts.end() ? NAN : it->second;
    }
    auto it = codes.numbers.find(v);
    return it == codes.numbers.end() ? NAN : it->second;
  }
};

Result<> read_codes(const Build& b, NodeId id, NodeId encoder, const std::vector<bool>& categorical,
                    HistBoosting& made) {
  const auto& t = b.tree;
  auto lists = t.cells(t.get(encoder, "categories_"));
  for (std::size_t c = 0; c < categorical.size(); ++c)
    if (categorical[c]) made.source.push_back(c);
  if (!lists || lists->size() != made.source.size()) return b.bad(id, "its encoder does not fit its categories");
  for (auto list : *lists) {
    Codes codes;
    if (auto a = t.array_of(list)) {
      for (std::size_t i = 0; i < a->size(); ++i)
        if (a->kind == 'U' || a->kind == 'O')
          codes.texts.emplace(a->texts[i], static_cast<double>(i));
        else if (!std::isnan(a->numbers[i]))
          codes.numbers.emplace(a->numbers[i], static_cast<double>(i));
    } else if (auto cells = t.cells(list)) {
      for (std::size_t i = 0; i < cells->size(); ++i) {
        const auto& cell = t.at((*cells)[i]);
        if (cell.kind == NodeKind::text) {
          codes.texts.emplace(cell.text, static_cast<double>(i));
        } else if (auto n = t.array_of((*cells)[i]); n && n->numbers.size() == 1 && !std::isnan(n->numbers[0])) {
          codes.numbers.emplace(n->numbers[0], static_cast<double>(i));
        }
      }
    } else {
      return b.bad(id, "the categories of its encoder are not read");
    }
    made.codes.push_back(std::move(codes));
  }
  for (std::size_t c = 0; c < categorical.size(); ++c)
    if (!categorical[c]) made.source.push_back(c);
  return {};
}

// 8 words of 32 bits.
Result<std::array<std::uint32_t, 8>> bitset(const Buffer& sets, std::size_t index) {
  std::array<std::uint32_t, 8> out{};
  const Dtype::Field word{"", 'u', 4, sets.dtype.swap, 0};
  if (sets.dtype.kind != 'u' || sets.dtype.itemsize != 4 || sets.fortran || (index + 1) * 8 > sets.count())
    return fail(Code::invalid_argument, "its sets of categories are not read");
  for (std::size_t i = 0; i < 8; ++i) out[i] = static_cast<std::uint32_t>(integer_field(sets, word, index * 8 + i));
  return out;
}

struct HistFields {
  const Dtype::Field *value, *feature, *threshold, *missing, *left, *right, *leaf, *categorical, *set;
};

Result<HistFields> hist_fields(const Build& b, NodeId id, const Buffer& nodes) {
  const auto& d = nodes.dtype;
  HistFields f{d.field("value"),     d.field("feature_idx"), d.field("num_threshold"), d.field("missing_go_to_left"),
               d.field("left"),      d.field("right"),       d.field("is_leaf"),       d.field("is_categorical"),
               d.field("bitset_idx")};
  if (f.threshold == nullptr) f.threshold = d.field("threshold");
  for (const auto* whole : {f.feature, f.missing, f.left, f.right, f.leaf})
    if (!is_whole(whole)) return b.bad(id, "the nodes of its trees are not read");
  for (const auto* real : {f.value, f.threshold})
    if (real == nullptr || real->kind != 'f' || real->itemsize != 8)
      return b.bad(id, "the nodes of its trees are not read");
  if (f.categorical != nullptr && (!is_whole(f.categorical) || !is_whole(f.set)))
    return b.bad(id, "the nodes of its trees are not read");
  return f;
}

Result<> add_hist_tree(const Build& b, NodeId id, NodeId predictor,
                       const std::vector<std::array<std::uint32_t, 8>>& known, std::size_t slot,
                       std::vector<ForestNode>& nodes, std::vector<double>& leaves, ForestBuilder& forest) {
  const auto& t = b.tree;
  MR_TRY(Buffer items, t.buffer_of(t.get(predictor, "nodes")));
  MR_TRY(HistFields f, hist_fields(b, id, items));
  auto sets = t.buffer_of(t.get(predictor, "raw_left_cat_bitsets"));
  nodes.assign(items.count(), {});
  leaves.clear();
  for (std::size_t i = 0; i < items.count(); ++i) {
    auto get = [&](const Dtype::Field* field) { return integer_field(items, *field, i); };
    auto& n = nodes[i];
    if (get(f.leaf) != 0) {
      n.right = static_cast<std::uint32_t>(leaves.size());
      leaves.push_back(double_field(items, *f.value, i));
      continue;
    }
    auto l = get(f.left);
    auto r = get(f.right);
    auto feature = get(f.feature);
    const auto count = static_cast<std::int64_t>(items.count());
    if (l <= 0 || r <= 0 || l >= count || r >= count || feature < 0 || feature >= 1 << 30)
      return b.bad(id, "a node of its trees has a child or a feature that is out of range");
    n.left = static_cast<std::uint32_t>(l);
    n.right = static_cast<std::uint32_t>(r);
    n.feature = static_cast<std::uint32_t>(feature);
    n.threshold = double_field(items, *f.threshold, i);
    n.missing_left = get(f.missing) != 0;
    if (f.categorical != nullptr && get(f.categorical) != 0) {
      if (!sets) return b.bad(id, "its trees have no sets of categories");
      if (n.feature >= known.size()) return b.bad(id, "its trees ask for categories that it does not have");
      ForestSet set;
      auto index = get(f.set);
      auto words = bitset(*sets, static_cast<std::size_t>(index < 0 ? UINT32_MAX : index));
      if (!words) return b.bad(id, words.error().message);
      set.left = *words;
      set.known = known[n.feature];
      n.set = forest.add_set(set);
    }
  }
  if (auto added = forest.add(nodes, leaves, slot); !added) return b.bad(id, added.error().message);
  return {};
}

// Categories that training has seen, by the trees' feature: what _bin_mapper calls the thresholds of a category.
std::vector<std::array<std::uint32_t, 8>> known_categories(const Build& b, NodeId id, std::size_t features) {
  const auto& t = b.tree;
  std::vector<std::array<std::uint32_t, 8>> out(features);
  auto mapper = t.get(id, "_bin_mapper");
  auto lists = t.cells(t.get(mapper, "bin_thresholds_"));
  auto which = t.array_of(t.get(mapper, "is_categorical_"));
  if (!lists || !which) return out;
  for (std::size_t c = 0; c < features && c < lists->size() && c < which->numbers.size(); ++c) {
    if (which->numbers[c] == 0) continue;
    auto values = t.array_of((*lists)[c]);
    if (!values) continue;
    for (double v : values->numbers)
      if (v >= 0 && v < 256) out[c][static_cast<std::size_t>(v) / 32] |= 1U << (static_cast<unsigned>(v) % 32);
  }
  return out;
}

Result<EstimatorPtr> make_hist_boosting(Build& b, NodeId id, bool classifier) {
  const auto& t = b.tree;
  auto iterations = t.cells(t.get(id, "_predictors"));
  if (!iterations) return b.bad(id, "it has no _predictors: is it fitted?");
  auto made = std::make_unique<HistBoosting>();
  MR_TRY(auto width, sums_of(b, id, *made, classifier));
  auto loss = b.text_or(id, "loss", "");
  made->link = !classifier  ? (loss == "poisson" || loss == "gamma" ? Link::exponential : Link::identity)
               : width == 1 ? Link::logistic
                            : Link::softmax;
  MR_TRY(made->start, b.numbers(id, "_baseline_prediction"));
  if (made->start.size() == 1) made->start.assign(width, made->start[0]);
  if (made->start.size() != width) return b.bad(id, "its _baseline_prediction does not fit its classes");
  ForestShape shape;
  MR_TRY(shape.features, features_of(b, id, static_cast<std::size_t>(b.number_or(id, "_n_features", 0))));
  made->columns = shape.features;
  shape.outputs = width;
  shape.floats = false;
  shape.missing = shape.infinite = true;
  std::vector<NodeId> predictors;
  for (auto iteration : *iterations) {
    auto trees = t.cells(iteration);
    if (!trees || trees->size() != width) return b.bad(id, "its trees do not fit its classes");
    for (auto p : *trees) {
      auto nodes = t.buffer_of(t.get(p, "nodes"));
      if (!nodes) return b.bad(id, fmt::format("the nodes of a tree: {}", nodes.error().message));
      if (nodes->dtype.kind != 'V') return b.bad(id, "the nodes of its trees are not read");
      shape.max_nodes = std::max(shape.max_nodes, nodes->count());
      shape.all_nodes += nodes->count();
      auto cost = nodes->count() * 4 * sizeof(double);
      if (cost > t.decode_left) return fail(Code::too_large, "the file's trees are used more often than is read");
      t.decode_left -= cost;
      predictors.push_back(p);
    }
  }
  // Until 1.3 categories came as their codes; since then an encoder stands in front of the trees.
  if (auto before = t.get(id, "_preprocessor"); !t.is_none(before)) {
    MR_TRY(auto mask, b.array(id, "is_categorical_"));
    if (mask.numbers.size() != shape.features) return b.bad(id, "its is_categorical_ does not fit its features");
    std::vector<bool> categorical;
    for (double v : mask.numbers) categorical.push_back(v != 0);
    NodeId encoder = kNoNode;
    if (auto steps = t.cells(t.get(before, "transformers_")))
      for (auto step : *steps)
        if (auto parts = t.cells(step); parts && parts->size() == 3 && t.text_of((*parts)[0]) == "encoder")
          encoder = (*parts)[1];
    if (encoder == kNoNode || b.short_class(encoder) != "OrdinalEncoder")
      return b.bad(id, "its _preprocessor is not read");
    MR_CHECK(read_codes(b, id, encoder, categorical, *made));
  }
  auto known = known_categories(b, id, shape.features);
  ForestBuilder forest(shape);
  std::vector<ForestNode> nodes;
  std::vector<double> leaves;
  for (std::size_t i = 0; i < predictors.size(); ++i)
    MR_CHECK(add_hist_tree(b, id, predictors[i], known, i % width, nodes, leaves, forest));
  made->forest = forest.finish();
  b.memory += made->forest.bytes();
  return made;
}

}  // namespace

void add_boosting(Makers& makers) {
  for (bool classifier : {false, true}) {
    auto kind = classifier ? "Classifier" : "Regressor";
    makers[fmt::format("sklearn*GradientBoosting{}", kind)] = [classifier](Build& b, NodeId id) {
      return make_gradient_boosting(b, id, classifier);
    };
    makers[fmt::format("sklearn*HistGradientBoosting{}", kind)] = [classifier](Build& b, NodeId id) {
      return make_hist_boosting(b, id, classifier);
    };
  }
}

}  // namespace mr::serving
