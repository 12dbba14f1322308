// Some of the columns: which ones is worked out at load from scores, variances or the importances of a model within.
#include "serving/engines/sk_tree.h"
#include "serving/engines/transform.h"
#include "text/text.h"

namespace mr::serving {

namespace {

using Mask = std::vector<bool>;

// Passes the chosen columns. RFE's model, which predicts on them, may stand behind.
class Selector : public ColumnsTransform {
 public:
  std::vector<std::size_t> chosen;
  EstimatorPtr model;

  [[nodiscard]] bool takes_sparse() const override { return true; }
  [[nodiscard]] const Array* classes() const override { return model ? model->classes() : nullptr; }
  [[nodiscard]] Result<Frame> transform(const Frame& in) const override {
    if (!in.sparse) return ColumnsTransform::transform(in);
    if (in.columns != n_)
      return fail(Code::invalid_argument,
                  fmt::format("the input has {} columns; the model was fitted with {}", in.columns, n_));
    return select_columns(in, chosen);
  }
  [[nodiscard]] Result<Output> predict(const Frame& in) const override {
    if (!model) return Estimator::predict(in);
    return behind<Output>(in, [&](const Frame& f) { return model->predict(f); });
  }
  [[nodiscard]] Result<Frame> predict_proba(const Frame& in) const override {
    if (!model) return Estimator::predict_proba(in);
    return behind<Frame>(in, [&](const Frame& f) { return model->predict_proba(f); });
  }
  [[nodiscard]] Result<std::vector<Frame>> shares_of_outputs(const Frame& in) const override {
    if (!model) return Estimator::shares_of_outputs(in);
    return behind<std::vector<Frame>>(in, [&](const Frame& f) { return model->shares_of_outputs(f); });
  }
  [[nodiscard]] Result<Frame> decision_function(const Frame& in) const override {
    if (!model) return Estimator::decision_function(in);
    return behind<Frame>(in, [&](const Frame& f) { return model->decision_function(f); });
  }

 protected:
  [[nodiscard]] Result<Frame> run(const Frame& in, std::span<const std::size_t> columns) const override {
    std::vector<std::size_t> places;
    places.reserve(chosen.size());
    for (auto c : chosen) places.push_back(columns[c]);
    return select_columns(in, places);
  }

 private:
  template <class T, class Call>
  Result<T> behind(const Frame& in, Call call) const {
    MR_TRY(auto part, transform(in));
    if (part.sparse && !model->takes_sparse()) {
      MR_TRY(part, dense(std::move(part)));
    }
    auto out = call(part);
    if (!out) return std::unexpected(renumbered(std::move(out).error(), chosen));
    return out;
  }
};

Result<EstimatorPtr> selector(const Mask& mask) {
  auto s = std::make_unique<Selector>();
  for (std::size_t i = 0; i < mask.size(); ++i)
    if (mask[i]) s->chosen.push_back(i);
  s->set_features(mask.size());
  return s;
}

// --- by scores ---

Result<std::vector<double>> score_values(const Build& b, NodeId id, std::string_view attribute) {
  MR_TRY(auto a, b.array(id, attribute));
  if (a.numbers.empty() || a.numbers.size() > kMaxColumns)
    return b.bad(id, fmt::format("{} is no list of numbers", attribute));
  return std::move(a.numbers);
}

// NaN counts as the worst score.
std::vector<double> without_nan(std::vector<double> scores) {
  for (auto& v : scores)
    if (std::isnan(v)) v = std::numeric_limits<double>::lowest();
  return scores;
}

// Places of `scores` from the lowest, equal ones in order.
std::vector<std::size_t> ascending(const std::vector<double>& scores) {
  std::vector<std::pair<double, std::size_t>> order;
  for (std::size_t i = 0; i < scores.size(); ++i) order.emplace_back(scores[i], i);
  std::ranges::sort(order);
  std::vector<std::size_t> out;
  for (const auto& [v, i] : order) out.push_back(i);
  return out;
}

// numpy.percentile: linear between the two nearest.
double percentile(std::vector<double> v, double p) {
  std::ranges::sort(v);
  const double at = p / 100 * static_cast<double>(v.size() - 1);
  const auto low = static_cast<std::size_t>(std::floor(at));
  const auto high = std::min(low + 1, v.size() - 1);
  const double t = at - static_cast<double>(low);
  const double step = v[high] - v[low];
  // From the nearer end, as numpy interpolates.
  return t >= 0.5 ? v[high] - step * (1 - t) : v[low] + step * t;
}

Result<EstimatorPtr> best_scores(const Build& b, NodeId id, NodeId parameter) {
  MR_TRY(auto scores, score_values(b, id, "scores_"));
  Mask mask(scores.size(), false);
  if (b.tree.text_of(parameter) == "all") {
    mask.assign(scores.size(), true);
  } else {
    auto k = b.tree.array_of(parameter);
    if (!k || k->numbers.size() != 1 || k->numbers[0] < 0) return b.bad(id, "its number of features is not read");
    auto order = ascending(without_nan(std::move(scores)));
    const auto keep = static_cast<std::size_t>(std::min(k->numbers[0], static_cast<double>(order.size())));
    for (std::size_t i = order.size() - keep; i < order.size(); ++i) mask[order[i]] = true;
  }
  return selector(mask);
}

Result<EstimatorPtr> best_share(const Build& b, NodeId id, double share) {
  MR_TRY(auto given, score_values(b, id, "scores_"));
  if (!(share >= 0 && share <= 100)) return b.bad(id, "its percentile is out of range");
  Mask mask(given.size(), share == 100);
  if (share == 0 || share == 100) return selector(mask);
  auto scores = without_nan(std::move(given));
  const double threshold = percentile(scores, 100 - share);
  std::int64_t left = static_cast<std::int64_t>(static_cast<double>(scores.size()) * share / 100);
  for (std::size_t i = 0; i < scores.size(); ++i)
    if (scores[i] > threshold) {
      mask[i] = true;
      --left;
    }
  // A slice with a negative end leaves that many off.
  std::vector<std::size_t> ties;
  for (std::size_t i = 0; i < scores.size(); ++i)
    if (scores[i] == threshold) ties.push_back(i);
  if (left < 0) left = std::max<std::int64_t>(0, static_cast<std::int64_t>(ties.size()) + left);
  for (std::size_t i = 0; i < ties.size() && static_cast<std::int64_t>(i) < left; ++i) mask[ties[i]] = true;
  return selector(mask);
}

enum class Rate : std::uint8_t { fpr, fdr, fwe };

Result<EstimatorPtr> by_rate(const Build& b, NodeId id, double alpha, Rate rate) {
  MR_TRY(auto p, score_values(b, id, "pvalues_"));
  Mask mask(p.size(), false);
  const auto n = static_cast<double>(p.size());
  double limit = alpha;
  if (rate == Rate::fwe) limit = alpha / n;
  if (rate == Rate::fdr) {
    std::vector<double> sorted;
    for (double v : p)
      if (!std::isnan(v)) sorted.push_back(v);
    std::ranges::sort(sorted);
    limit = -1;
    for (std::size_t i = 0; i < sorted.size(); ++i)
      if (sorted[i] <= alpha / n * static_cast<double>(i + 1)) limit = std::max(limit, sorted[i]);
  }
  for (std::size_t i = 0; i < p.size(); ++i) mask[i] = rate == Rate::fdr ? p[i] <= limit && limit >= 0 : p[i] < limit;
  return selector(mask);
}

Result<EstimatorPtr> make_generic(Build& b, NodeId id) {
  auto mode = b.text_or(id, "mode", "percentile");
  auto parameter = b.tree.get(id, "param");
  if (mode == "k_best") return best_scores(b, id, parameter);
  const double p = b.number_or(id, "param", 1e-5);
  if (mode == "percentile") return best_share(b, id, p);
  if (mode == "fpr") return by_rate(b, id, p, Rate::fpr);
  if (mode == "fdr") return by_rate(b, id, p, Rate::fdr);
  if (mode == "fwe") return by_rate(b, id, p, Rate::fwe);
  return b.bad(id, fmt::format("mode '{}' is not read", printable(mode)));
}

Result<EstimatorPtr> make_variance(Build& b, NodeId id) {
  MR_TRY(auto v, score_values(b, id, "variances_"));
  const double threshold = b.number_or(id, "threshold", 0);
  Mask mask(v.size());
  for (std::size_t i = 0; i < v.size(); ++i) mask[i] = v[i] > threshold;
  return selector(mask);
}

Result<Mask> support_of(const Build& b, NodeId id) {
  MR_TRY(auto v, score_values(b, id, "support_"));
  Mask mask(v.size());
  for (std::size_t i = 0; i < v.size(); ++i) mask[i] = v[i] != 0;
  return mask;
}

Result<EstimatorPtr> make_support(Build& b, NodeId id) {
  MR_TRY(auto mask, support_of(b, id));
  return selector(mask);
}

Result<EstimatorPtr> make_rfe(Build& b, NodeId id) {
  MR_TRY(auto mask, support_of(b, id));
  MR_TRY(auto made, selector(mask));
  // Its model is of use when it is the last step; where it cannot be read, the selection still can.
  if (auto model = b.estimator(b.tree.get(id, "estimator_")))
    if (auto* s = static_cast<Selector*>(made.get()); (*model)->features() == s->chosen.size())
      s->model = std::move(*model);
  return made;
}

// --- SelectFromModel ---

// How much less impure a tree's splits make its samples, summed by feature.
Result<std::vector<double>> tree_importances(const Build& b, const SkTree& t, bool shares) {
  const auto& d = t.nodes.dtype;
  const auto* left = d.field("left_child");
  const auto* right = d.field("right_child");
  const auto* feature = d.field("feature");
  const auto* impurity = d.field("impurity");
  const auto* weight = d.field("weighted_n_node_samples");
  if (left == nullptr || right == nullptr || feature == nullptr || impurity == nullptr || weight == nullptr)
    return b.bad(t.owner, "its nodes lack a field");
  std::vector<double> out(t.features, 0.0);
  const auto count = t.count();
  auto lost = [&](std::size_t i) { return double_field(t.nodes, *weight, i) * double_field(t.nodes, *impurity, i); };
  for (std::size_t i = 0; i < count; ++i) {
    const auto l = integer_field(t.nodes, *left, i);
    const auto r = integer_field(t.nodes, *right, i);
    const auto f = integer_field(t.nodes, *feature, i);
    if (l < 0) continue;
    if (static_cast<std::size_t>(l) >= count || r < 0 || static_cast<std::size_t>(r) >= count || f < 0 ||
        static_cast<std::size_t>(f) >= out.size())
      return b.bad(t.owner, "its nodes point nowhere");
    out[static_cast<std::size_t>(f)] += lost(i) - lost(static_cast<std::size_t>(l)) - lost(static_cast<std::size_t>(r));
  }
  if (count > 0)
    for (auto& v : out) v /= double_field(t.nodes, *weight, 0);
  if (!shares) return out;
  double sum = 0;
  for (double v : out) sum += v;
  if (sum > 0)
    for (auto& v : out) v /= sum;
  return out;
}

// feature_importances_ of a tree or of an ensemble of trees.
Result<std::vector<double>> importances_of_trees(const Build& b, NodeId id) {
  const auto cls = b.short_class(id);
  if (cls.starts_with("DecisionTree") || cls.starts_with("ExtraTree")) {
    if (!cls.starts_with("ExtraTrees")) {
      MR_TRY(auto t, sk_tree(b, id));
      return tree_importances(b, t, true);
    }
  }
  const bool boosted = cls.starts_with("GradientBoosting");
  if (!boosted && !cls.starts_with("RandomForest") && !cls.starts_with("ExtraTrees"))
    return fail(Code::unimplemented, fmt::format("the importances of {} are not read natively", cls));
  auto trees = b.tree.cells(b.tree.get(id, "estimators_"));
  if (!trees) return b.bad(id, "it has no estimators_: is it fitted?");
  std::vector<double> sum;
  std::size_t used = 0;
  for (auto each : *trees) {
    MR_TRY(auto t, sk_tree(b, each));
    if (t.count() <= 1) continue;
    MR_TRY(auto one, tree_importances(b, t, !boosted));
    if (sum.empty()) sum.assign(one.size(), 0.0);
    if (one.size() != sum.size()) return b.bad(id, "its trees differ in their features");
    for (std::size_t i = 0; i < one.size(); ++i) sum[i] += one[i];
    ++used;
  }
  if (used == 0) return b.bad(id, "none of its trees splits");
  double all = 0;
  for (auto& v : sum) all += v /= static_cast<double>(used);
  if (all != 0)
    for (auto& v : sum) v /= all;
  return sum;
}

Result<std::vector<double>> importances_of(const Build& b, NodeId id, double order) {
  if (b.tree.is_none(b.tree.get(id, "coef_"))) return importances_of_trees(b, id);
  MR_TRY(auto coef, b.array(id, "coef_"));
  if (coef.shape.empty() || coef.shape.size() > 2 || coef.numbers.empty()) return b.bad(id, "coef_ is not read");
  if (coef.shape.size() == 1) {
    for (auto& v : coef.numbers) v = std::fabs(v);
    return std::move(coef.numbers);
  }
  const auto n = static_cast<std::size_t>(coef.shape[1]);
  std::vector<double> out(n, 0.0);
  for (std::size_t i = 0; i < coef.numbers.size(); ++i) {
    const double v = std::fabs(coef.numbers[i]);
    auto& to = out[i % n];
    to = std::isinf(order) ? std::max(to, v) : order == 1 ? to + v : to + std::pow(v, order);
  }
  if (!std::isinf(order) && order != 1)
    for (auto& v : out) v = std::pow(v, 1 / order);
  return out;
}

double median(std::vector<double> v) {
  std::ranges::sort(v);
  const auto n = v.size();
  return n % 2 == 1 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

Result<double> threshold_of(const Build& b, NodeId id, NodeId model, const std::vector<double>& scores) {
  auto at = b.tree.get(id, "threshold");
  std::string text = b.tree.text_of(at);
  if (b.tree.is_none(at)) {
    const auto cls = b.short_class(model);
    const double ratio = b.number_or(model, cls.ends_with("CV") ? "l1_ratio_" : "l1_ratio", 0);
    const bool sparse = b.text_or(model, "penalty", "") == "l1" || cls.find("Lasso") != std::string::npos ||
                        ((cls == "ElasticNet" || cls == "ElasticNetCV" ||
                          (cls.starts_with("LogisticRegression") && b.version_of(id) >= 1008)) &&
                         std::fabs(ratio - 1) <= 1e-5);
    if (sparse) return 1e-5;
    text = "mean";
  } else if (text.empty()) {
    MR_TRY(auto one, values_of(b, id, "threshold", 1));
    return one[0];
  }
  double scale = 1;
  std::string_view what = text;
  if (auto star = what.find('*'); star != std::string_view::npos) {
    auto number = text::to_double(text::trim(what.substr(0, star)));
    if (!number) return b.bad(id, "its threshold is not read");
    scale = *number;
    what = text::trim(what.substr(star + 1));
  }
  if (what == "median") return scale * median(scores);
  if (what != "mean") return b.bad(id, "its threshold is not read");
  double sum = 0;
  for (double v : scores) sum += v;
  return scale * (sum / static_cast<double>(scores.size()));
}

Result<EstimatorPtr> make_from_model(Build& b, NodeId id) {
  auto model = b.tree.get(id, "estimator_");
  if (b.tree.is_none(model)) model = b.tree.get(id, "estimator");
  if (b.text_or(id, "importance_getter", "auto") != "auto")
    return fail(Code::unimplemented, "SelectFromModel with an importance_getter of one's own is not read natively");
  MR_TRY(auto scores, importances_of(b, model, b.number_or(id, "norm_order", 1)));
  MR_TRY(auto threshold, threshold_of(b, id, model, scores));
  Mask mask(scores.size(), true);
  if (!b.tree.is_none(b.tree.get(id, "max_features"))) {
    const double most = b.number_or(id, "max_features_", b.number_or(id, "max_features", -1));
    if (!(most >= 0)) return b.bad(id, "its max_features is not read");
    auto negative = scores;
    for (auto& v : negative) v = -v;
    auto order = ascending(negative);
    mask.assign(scores.size(), false);
    for (std::size_t i = 0; i < order.size() && static_cast<double>(i) < most; ++i) mask[order[i]] = true;
  }
  for (std::size_t i = 0; i < scores.size(); ++i)
    if (scores[i] < threshold) mask[i] = false;
  return selector(mask);
}

}  // namespace

void add_selectors(Makers& m) {
  m["sklearn*SelectKBest"] = [](Build& b, NodeId id) { return best_scores(b, id, b.tree.get(id, "k")); };
  m["sklearn*SelectPercentile"] = [](Build& b, NodeId id) {
    return best_share(b, id, b.number_or(id, "percentile", 10));
  };
  m["sklearn*SelectFpr"] = [](Build& b, NodeId id) {
    return by_rate(b, id, b.number_or(id, "alpha", 0.05), Rate::fpr);
  };
  m["sklearn*SelectFdr"] = [](Build& b, NodeId id) {
    return by_rate(b, id, b.number_or(id, "alpha", 0.05), Rate::fdr);
  };
  m["sklearn*SelectFwe"] = [](Build& b, NodeId id) {
    return by_rate(b, id, b.number_or(id, "alpha", 0.05), Rate::fwe);
  };
  m["sklearn*GenericUnivariateSelect"] = make_generic;
  m["sklearn*VarianceThreshold"] = make_variance;
  m["sklearn*SequentialFeatureSelector"] = make_support;
  m["sklearn*RFE"] = make_rfe;
  m["sklearn*RFECV"] = make_rfe;
  m["sklearn*SelectFromModel"] = make_from_model;
}

}  // namespace mr::serving
