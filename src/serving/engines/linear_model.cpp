#include "serving/engines/linear_model.h"

#include "serving/engines/estimator.h"
#include "serving/engines/rows.h"

namespace mr::serving {

namespace {

const std::set<std::string, std::less<>>& linear_classifiers() {
  static const std::set<std::string, std::less<>> names{
      "LogisticRegression", "LogisticRegressionCV", "SGDClassifier",     "Perceptron",
      "LinearSVC",          "RidgeClassifier",      "RidgeClassifierCV", "PassiveAggressiveClassifier"};
  return names;
}

const std::set<std::string, std::less<>>& linear_regressors() {
  static const std::set<std::string, std::less<>> names{"LinearRegression",
                                                        "Ridge",
                                                        "RidgeCV",
                                                        "Lasso",
                                                        "LassoCV",
                                                        "ElasticNet",
                                                        "ElasticNetCV",
                                                        "MultiTaskLasso",
                                                        "MultiTaskLassoCV",
                                                        "MultiTaskElasticNet",
                                                        "MultiTaskElasticNetCV",
                                                        "Lars",
                                                        "LarsCV",
                                                        "LassoLars",
                                                        "LassoLarsCV",
                                                        "LassoLarsIC",
                                                        "OrthogonalMatchingPursuit",
                                                        "OrthogonalMatchingPursuitCV",
                                                        "SGDRegressor",
                                                        "LinearSVR",
                                                        "HuberRegressor",
                                                        "TheilSenRegressor",
                                                        "QuantileRegressor",
                                                        "BayesianRidge",
                                                        "ARDRegression",
                                                        "PassiveAggressiveRegressor",
                                                        "PoissonRegressor",
                                                        "GammaRegressor",
                                                        "TweedieRegressor"};
  return names;
}

std::unexpected<Error> refuse(std::string what) { return fail(Code::invalid_argument, std::move(what)); }

// An array of finite numbers. A sparse matrix (what sparsify() leaves in coef_) is not one.
Result<Array> finite_array(const Tree& t, NodeId id, std::string_view key, std::string_view name) {
  auto a = t.array_of(t.get(id, key));
  if (!a) return refuse(fmt::format("{} is not fitted, or its {} is not read: {}", name, key, a.error().message));
  if (a->kind == 'U' || a->kind == 'O') return refuse(fmt::format("{} of {} is not made of numbers", key, name));
  for (double v : a->numbers)
    if (!std::isfinite(v)) return refuse(fmt::format("{} of {} is not finite", key, name));
  return a;
}

double number_at(const Tree& t, NodeId id, double fallback) {
  if (t.is_none(id)) return fallback;
  auto a = t.array_of(id);
  return a && a->numbers.size() == 1 ? a->numbers[0] : fallback;
}

// Whether the model's mean is exp(decision).
bool is_exponential(const Tree& t, NodeId id, const std::string& name) {
  if (name == "PoissonRegressor" || name == "GammaRegressor") return true;
  if (name != "TweedieRegressor") return false;
  auto link = t.text_of(t.get(id, "link"));
  return link == "log" || (link != "identity" && number_at(t, t.get(id, "power"), 0) > 0);
}

}  // namespace

bool LinearModel::knows(std::string_view name) {
  return linear_classifiers().contains(name) || linear_regressors().contains(name) || name == "SGDOneClassSVM";
}

const std::vector<std::string>& LinearModel::class_names() {
  static const std::vector<std::string> all = [] {
    std::vector<std::string> v(linear_classifiers().begin(), linear_classifiers().end());
    v.insert(v.end(), linear_regressors().begin(), linear_regressors().end());
    v.emplace_back("SGDOneClassSVM");
    return v;
  }();
  return all;
}

Result<LinearModel> LinearModel::read(const Tree& tree, NodeId id) {
  LinearModel m;
  auto full = tree.class_of(id);
  m.name_ = full.substr(full.rfind('.') + 1);
  const auto& name = m.name_;
  if (!knows(name)) return refuse(fmt::format("'{}' does not predict", full));
  MR_TRY(auto coef, finite_array(tree, id, "coef_", name));
  if (coef.kind != 'f' || coef.shape.empty() || coef.shape.size() > 2)
    return refuse(fmt::format("coef_ of {} has a form that is not read", name));
  m.k_ = coef.shape.size() == 2 ? static_cast<std::size_t>(coef.shape[0]) : 1;
  m.n_ = static_cast<std::size_t>(coef.shape.back());
  if (m.k_ == 0 || m.n_ == 0 || m.k_ > 100000) return refuse(fmt::format("coef_ of {} is empty", name));
  m.coef_f32_ = coef.itemsize == 4;
  m.coef_ = std::move(coef.numbers);
  const bool outlier = name == "SGDOneClassSVM";
  MR_TRY(auto intercept, finite_array(tree, id, outlier ? "offset_" : "intercept_", name));
  m.intercept_ = std::move(intercept.numbers);
  if (m.intercept_.size() == 1 && m.k_ > 1) m.intercept_.assign(m.k_, m.intercept_[0]);
  if (m.intercept_.size() != m.k_) return refuse(fmt::format("intercept_ of {} does not fit its coef_", name));
  if (outlier) {
    for (auto& v : m.intercept_) v = -v;
    if (m.k_ != 1) return refuse(fmt::format("coef_ of {} has more than one row", name));
    m.task_ = Task::outlier;
  } else if (linear_classifiers().contains(name)) {
    m.task_ = Task::classify;
    MR_CHECK(m.read_classes(tree, id));
    m.set_probability(tree, id);
  } else {
    m.exponential_ = is_exponential(tree, id, name);
  }
  return m;
}

Result<> LinearModel::read_classes(const Tree& tree, NodeId id) {
  auto classes_id = tree.get(id, "classes_");
  auto binarizer = tree.get(id, "_label_binarizer");
  if (classes_id == kNoNode) classes_id = tree.get(binarizer, "classes_");  // RidgeClassifier before 1.8
  if (tree.text_of(tree.get(binarizer, "y_type_")).starts_with("multilabel")) {
    task_ = Task::multilabel;
    return {};
  }
  auto classes = tree.array_of(classes_id);
  if (!classes) return refuse(fmt::format("classes_ of {} is not read: {}", name_, classes.error().message));
  classes_ = std::move(*classes);
  if (classes_.size() != (k_ == 1 ? 2 : k_))
    return refuse(fmt::format("{} has {} classes and {} rows of coef_", name_, classes_.size(), k_));
  return {};
}

void LinearModel::set_probability(const Tree& tree, NodeId id) {
  if (name_ == "LogisticRegression" || name_ == "LogisticRegressionCV") {
    auto multi = tree.text_of(tree.get(id, "multi_class"));
    auto solver = tree.text_of(tree.get(id, "solver"));
    bool ovr = multi.empty() ? classes_.size() <= 2
                             : multi == "ovr" || multi == "warn" ||
                                   ((multi == "auto" || multi == "deprecated") &&
                                    (classes_.size() <= 2 || solver == "liblinear"));
    probability_ = ovr ? Probability::logistic_ovr : k_ == 1 ? Probability::binary_softmax : Probability::softmax;
  } else if (name_ == "SGDClassifier" && task_ == Task::classify) {
    auto loss = tree.text_of(tree.get(id, "loss"));
    if (loss == "log" || loss == "log_loss") probability_ = Probability::logistic_ovr;
    if (loss == "modified_huber") probability_ = Probability::modified_huber;
  }
}

std::vector<double> LinearModel::decide(const double* x, std::size_t rows) const {
  std::vector<double> d(rows * k_);
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t c = 0; c < k_; ++c) {
      double sum = 0;
      const double* w = coef_.data() + c * n_;
      const double* row = x + r * n_;
      for (std::size_t i = 0; i < n_; ++i) sum += row[i] * w[i];
      d[r * k_ + c] = sum + intercept_[c];
    }
  return d;
}

std::vector<double> LinearModel::decide(const Frame& in) const {
  if (!in.sparse) return decide(in.data.data(), in.rows);
  std::vector<double> d(in.rows * k_);
  for (std::size_t r = 0; r < in.rows; ++r)
    for (std::size_t c = 0; c < k_; ++c) {
      double sum = 0;
      for (auto at = in.starts[r]; at < in.starts[r + 1]; ++at) sum += in.values[at] * coef_[c * n_ + in.indices[at]];
      d[r * k_ + c] = sum + intercept_[c];
    }
  return d;
}

Output LinearModel::predict(std::vector<double> decisions, std::size_t rows, bool f32) const {
  Output out;
  out.rows = rows;
  switch (task_) {
    case Task::regress:
      if (exponential_)
        for (auto& v : decisions) v = std::exp(v);
      out.type = f32 && coef_f32_ ? DataType::fp32 : DataType::fp64;
      out.width = k_;
      break;
    case Task::outlier:
      for (auto& v : decisions) v = v >= 0 ? 1 : -1;
      out.type = DataType::int32;
      break;
    case Task::multilabel:
      for (auto& v : decisions) v = v > 0 ? 1 : 0;
      out.type = DataType::int64;
      out.width = k_;
      break;
    case Task::classify: {
      std::vector<std::size_t> best(rows);
      for (std::size_t r = 0; r < rows; ++r)  // of two classes the second wins strictly: a tie is the first
        best[r] = k_ == 1 ? (decisions[r] > 0 ? 1U : 0U) : argmax({decisions.data() + r * k_, k_});
      return labels(classes_, best);
    }
  }
  out.numbers = std::move(decisions);
  return out;
}

std::vector<double> LinearModel::probabilities(const std::vector<double>& decisions, std::size_t rows) const {
  auto width = std::max<std::size_t>(2, classes_.size());
  std::vector<double> p(rows * width);
  for (std::size_t r = 0; r < rows; ++r) probabilities_of(decisions.data() + r * k_, p.data() + r * width, width);
  return p;
}

void LinearModel::probabilities_of(const double* d, double* p, std::size_t width) const {
  switch (probability_) {
    case Probability::softmax:
      std::copy(d, d + k_, p);
      softmax({p, k_});
      return;
    case Probability::binary_softmax:  // softmax of (-d, d)
      p[1] = expit(2 * d[0]);
      p[0] = expit(-2 * d[0]);
      return;
    case Probability::modified_huber:
    case Probability::logistic_ovr:
    case Probability::none:
      break;
  }
  auto one = [&](double v) {
    return probability_ == Probability::modified_huber ? (std::clamp(v, -1.0, 1.0) + 1) / 2 : expit(v);
  };
  if (k_ == 1) {
    p[1] = one(d[0]);
    p[0] = 1 - p[1];
    return;
  }
  double sum = 0;
  for (std::size_t c = 0; c < k_; ++c) sum += p[c] = one(d[c]);
  for (std::size_t c = 0; c < k_; ++c) p[c] = sum == 0 ? 1.0 / static_cast<double>(width) : p[c] / sum;
}

}  // namespace mr::serving
