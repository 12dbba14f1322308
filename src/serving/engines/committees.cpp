// AdaBoost* and Bagging*. Where all members are trees, which they mostly are, they become one Forest whose leaves hold
// what each member contributes; otherwise the members are asked one after the other.
#include <cmath>
#include <limits>
#include <numeric>

#include "serving/engines/boosting.h"
#include "serving/engines/rows.h"
#include "serving/engines/sk_tree.h"

namespace mr::serving {

namespace {

// The members of a committee: a forest, or estimators.
struct Members {
  std::optional<Forest> forest;
  std::vector<EstimatorPtr> estimators;
  std::vector<std::vector<std::size_t>> columns;  // of each estimator; empty: all
  [[nodiscard]] bool takes_sparse() const {
    if (forest) return true;
    return std::all_of(estimators.begin(), estimators.end(), [](const auto& e) { return e->takes_sparse(); });
  }
  [[nodiscard]] Frame view(const Frame& in, std::size_t i) const {
    return i < columns.size() && !columns[i].empty() ? select_columns(in, columns[i]) : in;
  }
};

bool are_trees(const Build& b, const std::vector<NodeId>& ids) {
  return std::all_of(ids.begin(), ids.end(), [&](NodeId id) {
    auto name = b.short_class(id);
    return name.starts_with("DecisionTree") || name.starts_with("ExtraTree");
  });
}

Result<std::vector<NodeId>> members_of(const Build& b, NodeId id) {
  auto cells = b.tree.cells(b.tree.get(id, "estimators_"));
  if (!cells || cells->empty()) return b.bad(id, "it has no estimators: is it fitted?");
  return std::move(*cells);
}

// Where each class of a member stands among `classes` numbers.
Result<std::vector<std::size_t>> places(const Build& b, NodeId id, const Array& own, const Array& all) {
  std::vector<std::size_t> out;
  const bool texts = all.kind == 'U' || all.kind == 'O';
  if (texts != (own.kind == 'U' || own.kind == 'O')) return b.bad(id, "a member has classes of another type");
  for (std::size_t i = 0; i < own.size(); ++i) {
    std::size_t at = 0;
    while (at < all.size() && !(texts ? own.texts[i] == all.texts[at] : own.numbers[i] == all.numbers[at])) ++at;
    if (at == all.size()) return b.bad(id, "a member has a class that the whole does not have");
    out.push_back(at);
  }
  return out;
}

// A tree's shares of classes, which are counts in older versions.
void to_shares(std::span<const double> values, bool counts, std::vector<double>& out) {
  out.assign(values.begin(), values.end());
  if (!counts) return;
  double sum = std::accumulate(out.begin(), out.end(), 0.0);
  if (sum != 0)
    for (auto& v : out) v /= sum;
}

// ---- AdaBoost ----

class AdaBoostClassifier : public Estimator {
 public:
  Members members;
  Array labels_of;
  std::vector<double> weights;
  double total = 1;
  bool by_shares = false;    // SAMME.R
  bool others_lose = false;  // SAMME since 1.3: classes not chosen lose weight
  std::size_t columns = 0;

  std::size_t features() const override { return columns; }
  bool takes_sparse() const override { return members.takes_sparse(); }
  const Array* classes() const override { return &labels_of; }

  // What a member adds for one row: from its shares of all classes, or from the class that it chose.
  void vote_shares(std::span<const double> shares, std::span<double> out) const {
    const auto k = static_cast<double>(shares.size());
    double sum = 0;
    for (std::size_t c = 0; c < shares.size(); ++c)
      sum += out[c] = std::log(std::max(shares[c], std::numeric_limits<double>::epsilon()));
    for (std::size_t c = 0; c < shares.size(); ++c) out[c] = (k - 1) * (out[c] - 1.0 / k * sum);
  }
  void vote_class(std::size_t chosen, double weight, std::span<double> out) const {
    const auto k = static_cast<double>(out.size());
    for (auto& v : out) v = others_lose ? -1.0 / (k - 1) * weight : 0.0;
    out[chosen] = weight;
  }

  Result<Frame> decision_function(const Frame& in) const override {
    const auto k = labels_of.size();
    std::vector<double> sums(in.rows * k, 0.0);
    if (members.forest) {
      MR_CHECK(members.forest->sum(in, sums));
    } else {
      MR_CHECK(check_numbers(in, columns));
      MR_CHECK(ask(in, sums));
    }
    for (auto& v : sums) v /= total;
    if (k > 2) return frame_of(in.rows, k, std::move(sums));
    std::vector<double> out(in.rows);
    for (std::size_t r = 0; r < in.rows; ++r) out[r] = -sums[2 * r] + sums[2 * r + 1];
    return frame_of(in.rows, 1, std::move(out));
  }
  Result<Output> predict(const Frame& in) const override {
    MR_TRY(auto f, decision_function(in));
    std::vector<std::size_t> best(in.rows);
    for (std::size_t r = 0; r < in.rows; ++r)
      best[r] = f.columns == 1 ? (f.data[r] > 0 ? 1 : 0) : argmax({f.data.data() + r * f.columns, f.columns});
    return labels(labels_of, best);
  }
  Result<Frame> predict_proba(const Frame& in) const override {
    MR_TRY(auto f, decision_function(in));
    const auto k = labels_of.size();
    std::vector<double> out(in.rows * k);
    for (std::size_t r = 0; r < in.rows; ++r) {
      std::span<double> row{out.data() + r * k, k};
      for (std::size_t c = 0; c < k; ++c)
        row[c] = k == 2 ? (c == 0 ? -f.data[r] : f.data[r]) / 2 : f.data[r * k + c] / (static_cast<double>(k) - 1);
      softmax(row);
    }
    return frame_of(in.rows, k, std::move(out));
  }

 private:
  Result<> ask(const Frame& in, std::vector<double>& sums) const {
    const auto k = labels_of.size();
    std::vector<double> vote(k);
    for (std::size_t i = 0; i < members.estimators.size(); ++i) {
      const auto& e = *members.estimators[i];
      if (by_shares) {
        MR_TRY(auto shares, e.predict_proba(in));
        if (shares.columns != k) return fail(Code::invalid_argument, "a member gives another number of classes");
        for (std::size_t r = 0; r < in.rows; ++r) {
          vote_shares({shares.data.data() + r * k, k}, vote);
          for (std::size_t c = 0; c < k; ++c) sums[r * k + c] += vote[c];
        }
        continue;
      }
      MR_TRY(auto chosen, e.predict(in));
      for (std::size_t r = 0; r < in.rows; ++r) {
        std::size_t at = 0;
        while (at < k && !(chosen.type == DataType::bytes ? labels_of.texts[at] == chosen.texts[r]
                                                          : labels_of.numbers[at] == chosen.numbers[r]))
          ++at;
        if (at == k) return fail(Code::invalid_argument, "a member answers a class that is not known");
        vote_class(at, weights[i], vote);
        for (std::size_t c = 0; c < k; ++c) sums[r * k + c] += vote[c];
      }
    }
    return {};
  }
};

Result<EstimatorPtr> make_ada_classifier(Build& b, NodeId id) {
  auto made = std::make_unique<AdaBoostClassifier>();
  MR_TRY(auto ids, members_of(b, id));
  MR_TRY(made->labels_of, b.array(id, "classes_"));
  MR_TRY(made->weights, b.numbers(id, "estimator_weights_"));
  const auto k = made->labels_of.size();
  if (k < 2) return b.bad(id, "it has fewer than two classes");
  if (made->weights.size() < ids.size()) return b.bad(id, "its estimator_weights_ do not fit its estimators");
  made->total = std::accumulate(made->weights.begin(), made->weights.end(), 0.0);
  const int version = b.version_of(id);
  made->by_shares = b.text_or(id, "algorithm", "") == "SAMME.R";
  made->others_lose = version >= 1003;
  if (!are_trees(b, ids)) {
    for (auto member : ids) {
      MR_TRY(auto e, b.estimator(member));
      if (e->classes() == nullptr) return b.bad(id, "a member is no classifier");
      MR_TRY(auto place, places(b, id, *e->classes(), made->labels_of));
      if (place.size() != k) return b.bad(id, "a member has other classes");
      made->columns = std::max(made->columns, e->features());
      made->members.estimators.push_back(std::move(e));
    }
    MR_TRY(made->columns, features_of(b, id, made->columns));
    return made;
  }
  MR_TRY(SkTrees all, sk_trees(b, ids));
  ForestShape shape;
  MR_TRY(shape.features, features_of(b, id, all.trees[0].features));
  made->columns = shape.features;
  shape.outputs = shape.width = k;
  shape.max_nodes = all.max_nodes;
  shape.all_nodes = all.all_nodes;
  ForestBuilder forest(shape);
  TreeReader reader;
  std::vector<double> shares;
  std::vector<double> aligned(k);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    MR_TRY(auto own, b.array(ids[i], "classes_"));
    MR_TRY(auto place, places(b, id, own, made->labels_of));
    if (all.trees[i].outputs != 1 || all.trees[i].classes != place.size())
      return b.bad(id, "a member's classes do not fit its tree");
    auto leaf = [&](std::size_t, std::span<const double> values, std::span<double> out) {
      if (!made->by_shares) return made->vote_class(place[argmax(values)], made->weights[i], out);
      to_shares(values, version < 1004, shares);
      std::fill(aligned.begin(), aligned.end(), 0.0);
      for (std::size_t c = 0; c < place.size(); ++c) aligned[place[c]] = shares[c];
      made->vote_shares(aligned, out);
    };
    MR_CHECK(reader.add(b, all.trees[i], {}, forest, k, 0, leaf));
  }
  made->members.forest = forest.finish();
  b.memory += made->members.forest->bytes();
  return made;
}

// The prediction in the middle of the members' weights.
class AdaBoostRegressor : public Estimator {
 public:
  Members members;
  std::vector<double> weights;
  std::size_t columns = 0;

  std::size_t features() const override { return columns; }
  bool takes_sparse() const override { return members.takes_sparse(); }

  Result<Output> predict(const Frame& in) const override {
    std::vector<double> out;
    out.reserve(in.rows);
    if (!members.forest) {
      MR_CHECK(check_numbers(in, columns));
      const auto n = weights.size();
      std::vector<double> all(in.rows * n);
      for (std::size_t i = 0; i < n; ++i) {
        MR_TRY(auto one, members.estimators[i]->predict(in));
        if (one.numbers.size() != in.rows) return fail(Code::invalid_argument, "a member gives several outputs");
        for (std::size_t r = 0; r < in.rows; ++r) all[r * n + i] = one.numbers[r];
      }
      middles(all, out);
      return numbers_of(in.rows, 1, std::move(out));
    }
    // Part by part, since every member's answer is held for a while.
    std::vector<double> all;
    for (std::size_t first = 0; first < in.rows || first == 0; first += kPart) {
      const auto last = std::min(in.rows, first + kPart);
      all.assign((last - first) * weights.size(), 0.0);
      MR_CHECK(members.forest->sum(in, first, last, all));
      middles(all, out);
    }
    return numbers_of(in.rows, 1, std::move(out));
  }

 private:
  static constexpr std::size_t kPart = 256;

  void middles(const std::vector<double>& all, std::vector<double>& out) const {
    const auto n = weights.size();
    std::vector<std::size_t> order(n);
    std::vector<double> reached(n);
    for (const double* row = all.data(); row != all.data() + all.size(); row += n) {
      std::iota(order.begin(), order.end(), std::size_t{0});
      std::sort(order.begin(), order.end(),
                [&](auto a, auto c) { return row[a] < row[c] || (row[a] == row[c] && a < c); });
      double sum = 0;
      for (std::size_t i = 0; i < n; ++i) reached[i] = sum += weights[order[i]];
      std::size_t at = 0;
      while (at + 1 < n && reached[at] < 0.5 * sum) ++at;
      out.push_back(row[order[at]]);
    }
  }
};

Result<EstimatorPtr> make_ada_regressor(Build& b, NodeId id) {
  auto made = std::make_unique<AdaBoostRegressor>();
  MR_TRY(auto ids, members_of(b, id));
  MR_TRY(made->weights, b.numbers(id, "estimator_weights_"));
  if (made->weights.size() < ids.size()) return b.bad(id, "its estimator_weights_ do not fit its estimators");
  made->weights.resize(ids.size());
  if (!are_trees(b, ids)) {
    for (auto member : ids) {
      MR_TRY(auto e, b.estimator(member));
      made->columns = std::max(made->columns, e->features());
      made->members.estimators.push_back(std::move(e));
    }
    MR_TRY(made->columns, features_of(b, id, made->columns));
    return made;
  }
  MR_TRY(SkTrees all, sk_trees(b, ids));
  ForestShape shape;
  MR_TRY(shape.features, features_of(b, id, all.trees[0].features));
  made->columns = shape.features;
  shape.outputs = ids.size();  // each tree has its own, since the middle is looked for, not the sum
  shape.max_nodes = all.max_nodes;
  shape.all_nodes = all.all_nodes;
  ForestBuilder forest(shape);
  TreeReader reader;
  for (std::size_t i = 0; i < ids.size(); ++i) MR_CHECK(reader.add(b, all.trees[i], {}, forest, 1, i));
  made->members.forest = forest.finish();
  b.memory += made->members.forest->bytes();
  return made;
}

// ---- Bagging ----

class Bagging : public Estimator {
 public:
  Members members;
  bool classifier = false;
  Array labels_of;
  std::vector<std::vector<std::size_t>> place;  // of each estimator's classes
  std::size_t count = 1;
  std::size_t width = 1;  // of a regressor: outputs
  std::size_t columns = 0;

  std::size_t features() const override { return columns; }
  bool takes_sparse() const override { return members.takes_sparse(); }
  const Array* classes() const override { return classifier ? &labels_of : nullptr; }

  Result<Output> predict(const Frame& in) const override {
    if (classifier) {
      MR_TRY(auto f, predict_proba(in));
      std::vector<std::size_t> best(in.rows);
      for (std::size_t r = 0; r < in.rows; ++r) best[r] = argmax({f.data.data() + r * f.columns, f.columns});
      return labels(labels_of, best);
    }
    std::vector<double> sums(in.rows * width, 0.0);
    std::size_t outputs = width;
    if (members.forest) {
      MR_CHECK(members.forest->sum(in, sums));
    } else {
      for (std::size_t i = 0; i < count; ++i) {
        MR_TRY(auto one, members.estimators[i]->predict(members.view(in, i)));
        if (i == 0) sums.assign(one.numbers.size(), 0.0);
        if (one.numbers.size() != sums.size()) return fail(Code::invalid_argument, "members give different outputs");
        outputs = one.width;
        for (std::size_t k = 0; k < sums.size(); ++k) sums[k] += one.numbers[k];
      }
    }
    for (auto& v : sums) v /= static_cast<double>(count);
    return numbers_of(in.rows, outputs, std::move(sums));
  }

  Result<Frame> predict_proba(const Frame& in) const override {
    if (!classifier) return Estimator::predict_proba(in);
    const auto k = labels_of.size();
    std::vector<double> sums(in.rows * k, 0.0);
    if (members.forest) {
      MR_CHECK(members.forest->sum(in, sums));
    } else {
      for (std::size_t i = 0; i < count; ++i) MR_CHECK(ask(in, i, sums));
    }
    for (auto& v : sums) v /= static_cast<double>(count);
    return frame_of(in.rows, k, std::move(sums));
  }

  Result<Frame> decision_function(const Frame& in) const override {
    if (!classifier || members.forest) return Estimator::decision_function(in);
    Frame out;
    for (std::size_t i = 0; i < count; ++i) {
      MR_TRY(auto one, members.estimators[i]->decision_function(members.view(in, i)));
      if (i == 0) {
        out = std::move(one);
        continue;
      }
      if (one.data.size() != out.data.size()) return fail(Code::invalid_argument, "members give different outputs");
      for (std::size_t k = 0; k < out.data.size(); ++k) out.data[k] += one.data[k];
    }
    for (auto& v : out.data) v /= static_cast<double>(count);
    return out;
  }

 private:
  Result<> ask(const Frame& in, std::size_t i, std::vector<double>& sums) const {
    const auto k = labels_of.size();
    const auto& e = *members.estimators[i];
    const auto view = members.view(in, i);
    auto shares = e.predict_proba(view);
    if (!shares && shares.error().code != Code::unimplemented) return std::unexpected(shares.error());
    if (shares) {
      if (shares->columns != place[i].size()) return fail(Code::invalid_argument, "a member has other classes");
      for (std::size_t r = 0; r < in.rows; ++r)
        for (std::size_t c = 0; c < shares->columns; ++c)
          sums[r * k + place[i][c]] += shares->data[r * shares->columns + c];
      return {};
    }
    // Members that know no shares vote; their answers are the numbers of classes.
    MR_TRY(auto chosen, e.predict(view));
    for (std::size_t r = 0; r < in.rows; ++r) {
      double c = chosen.numbers.size() == in.rows ? chosen.numbers[r] : -1;
      if (!(c >= 0) || c >= static_cast<double>(k)) return fail(Code::invalid_argument, "a member has other classes");
      sums[r * k + static_cast<std::size_t>(c)] += 1;
    }
    return {};
  }
};

// A member's classes are numbers of the whole's.
Result<std::vector<std::size_t>> numbered(const Build& b, NodeId id, const Array& own, std::size_t classes) {
  std::vector<std::size_t> out;
  for (double v : own.numbers) {
    if (!(v >= 0) || v >= static_cast<double>(classes) || v != std::floor(v))
      return b.bad(id, "a member has a class that the whole does not have");
    out.push_back(static_cast<std::size_t>(v));
  }
  if (out.empty()) return b.bad(id, "a member has no classes");
  return out;
}

Result<EstimatorPtr> make_bagging(Build& b, NodeId id, bool classifier) {
  auto made = std::make_unique<Bagging>();
  made->classifier = classifier;
  MR_TRY(auto ids, members_of(b, id));
  made->count = ids.size();
  std::size_t k = 1;
  if (classifier) {
    MR_TRY(made->labels_of, b.array(id, "classes_"));
    k = made->labels_of.size();
    if (k == 0) return b.bad(id, "it has no classes");
  }
  if (!are_trees(b, ids)) {
    std::size_t widest = 0;
    for (auto member : ids) {
      MR_TRY(auto e, b.estimator(member));
      widest = std::max(widest, e->features());
      if (classifier) {
        if (e->classes() == nullptr) return b.bad(id, "a member is no classifier");
        MR_TRY(auto place, numbered(b, id, *e->classes(), k));
        made->place.push_back(std::move(place));
      }
      made->members.estimators.push_back(std::move(e));
    }
    MR_TRY(made->columns, features_of(b, id, widest));
    MR_TRY(auto lists, feature_lists(b, id, ids.size(), made->columns));
    for (const auto& list : lists) made->members.columns.emplace_back(list.begin(), list.end());
    return made;
  }
  MR_TRY(SkTrees all, sk_trees(b, ids));
  ForestShape shape;
  MR_TRY(shape.features, features_of(b, id, all.trees[0].features));
  made->columns = shape.features;
  MR_TRY(auto lists, feature_lists(b, id, ids.size(), shape.features));
  if (!classifier) k = all.trees[0].outputs;
  made->width = shape.outputs = shape.width = k;
  shape.max_nodes = all.max_nodes;
  shape.all_nodes = all.all_nodes;
  shape.missing = takes_missing(b, ids[0]);
  ForestBuilder forest(shape);
  TreeReader reader;
  const bool counts = b.version_of(id) < 1004;
  std::vector<double> shares;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const auto& tree = all.trees[i];
    std::vector<std::size_t> place;
    if (classifier) {
      MR_TRY(auto own, b.array(ids[i], "classes_"));
      MR_TRY(place, numbered(b, id, own, k));
      if (tree.outputs != 1 || tree.classes != place.size()) return b.bad(id, "a member's classes do not fit its tree");
    } else if (tree.outputs != k || tree.classes != 1) {
      return b.bad(id, "its trees have different outputs");
    }
    TreeReader::Leaf leaf;
    if (classifier)
      leaf = [&](std::size_t, std::span<const double> values, std::span<double> out) {
        to_shares(values, counts, shares);
        for (std::size_t c = 0; c < place.size(); ++c) out[place[c]] = shares[c];
      };
    MR_CHECK(reader.add(b, tree, lists[i], forest, k, 0, leaf));
  }
  made->members.forest = forest.finish();
  b.memory += made->members.forest->bytes();
  return made;
}

}  // namespace

void add_committees(Makers& makers) {
  makers["sklearn*AdaBoostClassifier"] = make_ada_classifier;
  makers["sklearn*AdaBoostRegressor"] = make_ada_regressor;
  makers["sklearn*BaggingClassifier"] = [](Build& b, NodeId id) { return make_bagging(b, id, true); };
  makers["sklearn*BaggingRegressor"] = [](Build& b, NodeId id) { return make_bagging(b, id, false); };
}

}  // namespace mr::serving
