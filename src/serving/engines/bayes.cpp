// Classifiers by Bayes' rule: naive Bayes of several kinds, linear and quadratic discriminants. All give the joint log
// likelihood of each class; the rest is shared.
#include "serving/engines/matrix.h"
#include "serving/engines/rows.h"

namespace mr::serving {

namespace {

// Whether what the model learnt is in 32-bit floats, so that answers to 32-bit rows are.
bool learnt_f32(const Build& b, NodeId id, std::string_view attribute) {
  auto a = b.tree.array_of(b.tree.get(id, attribute));
  return a && a->kind == 'f' && a->itemsize == 4;
}

class BayesClassifier : public Estimator {
 public:
  Array labels_of;
  std::size_t width = 0;
  bool f32 = false;

  [[nodiscard]] std::size_t features() const override { return width; }
  [[nodiscard]] bool takes_sparse() const override { return true; }
  [[nodiscard]] const Array* classes() const override { return &labels_of; }

  [[nodiscard]] Result<Output> predict(const Frame& in) const override {
    MR_TRY(auto all, likelihoods(in));
    const auto k = labels_of.size();
    std::vector<std::size_t> best(in.rows);
    for (std::size_t r = 0; r < in.rows; ++r) best[r] = argmax({all.data() + r * k, k});
    return labels(labels_of, best);
  }
  [[nodiscard]] Result<Frame> predict_proba(const Frame& in) const override {
    MR_TRY(auto all, likelihoods(in));
    const auto k = labels_of.size();
    for (std::size_t r = 0; r < in.rows; ++r) softmax({all.data() + r * k, k});
    auto out = frame_of(in.rows, k, std::move(all));
    out.f32 = f32 && in.f32;
    return out;
  }

 protected:
  // The log likelihoods of one row, into out.
  virtual Result<> joint(std::span<const double> x, std::span<double> out) const = 0;

  [[nodiscard]] Result<std::vector<double>> likelihoods(const Frame& in) const {
    MR_CHECK(check_numbers(in, width));
    const auto k = labels_of.size();
    std::vector<double> all(in.rows * k);
    Rows rows(in);
    for (std::size_t r = 0; r < in.rows; ++r) MR_CHECK(joint(rows[r], {all.data() + r * k, k}));
    return all;
  }
};

class GaussianBayes : public BayesClassifier {
 public:
  Matrix mean;
  Matrix variance;
  std::vector<double> constant;  // log prior - sum(log(2 pi variance)) / 2

 protected:
  Result<> joint(std::span<const double> x, std::span<double> out) const override {
    for (std::size_t c = 0; c < out.size(); ++c) {
      auto m = mean.row(c);
      auto v = variance.row(c);
      double sum = 0;
      for (std::size_t i = 0; i < x.size(); ++i) sum += (x[i] - m[i]) * (x[i] - m[i]) / v[i];
      out[c] = constant[c] - 0.5 * sum;
    }
    return {};
  }
};

// Likelihoods that are linear in the row, after it is made binary where the model does so.
class LinearBayes : public BayesClassifier {
 public:
  Matrix weights;
  std::vector<double> constant;
  std::optional<double> threshold;

 protected:
  Result<> joint(std::span<const double> x, std::span<double> out) const override {
    std::vector<double> binary;
    if (threshold) {
      for (double v : x) binary.push_back(v > *threshold ? 1 : 0);
      x = binary;
    }
    for (std::size_t c = 0; c < out.size(); ++c) out[c] = dot(x, weights.row(c)) + constant[c];
    return {};
  }
};

class CategoricalBayes : public BayesClassifier {
 public:
  std::vector<Matrix> weights;  // of each feature: classes x categories
  std::vector<double> constant;

 protected:
  Result<> joint(std::span<const double> x, std::span<double> out) const override {
    for (std::size_t i = 0; i < x.size(); ++i) {
      double v = std::trunc(x[i]);
      if (!(v >= 0 && v < static_cast<double>(weights[i].columns)))
        return fail(Code::invalid_argument,
                    fmt::format("column #{} has a category that the model was not fitted with; it knows 0 to {}", i,
                                weights[i].columns - 1));
      for (std::size_t c = 0; c < out.size(); ++c)
        out[c] = (i == 0 ? 0 : out[c]) + weights[i].row(c)[static_cast<std::size_t>(v)];
    }
    for (std::size_t c = 0; c < out.size(); ++c) out[c] += constant[c];
    return {};
  }
};

class QuadraticDiscriminant : public BayesClassifier {
 public:
  struct Class {
    std::vector<double> mean;
    Matrix axes;          // scaled rotations: features x axes
    double constant = 0;  // log prior - sum(log(scalings)) / 2
  };
  std::vector<Class> of;

  [[nodiscard]] Result<Frame> decision_function(const Frame& in) const override {
    MR_TRY(auto all, likelihoods(in));
    if (of.size() != 2) return frame_of(in.rows, of.size(), std::move(all));
    std::vector<double> out(in.rows);
    for (std::size_t r = 0; r < in.rows; ++r) out[r] = all[2 * r + 1] - all[2 * r];
    return frame_of(in.rows, 1, std::move(out));
  }

 protected:
  Result<> joint(std::span<const double> x, std::span<double> out) const override {
    for (std::size_t c = 0; c < out.size(); ++c) {
      const auto& k = of[c];
      std::vector<double> along(k.axes.columns, 0.0);
      for (std::size_t i = 0; i < x.size(); ++i) {
        auto axis = k.axes.row(i);
        for (std::size_t a = 0; a < along.size(); ++a) along[a] += (x[i] - k.mean[i]) * axis[a];
      }
      out[c] = k.constant - 0.5 * dot(along, along);
    }
    return {};
  }
};

class LinearDiscriminant : public Estimator {
 public:
  Array labels_of;
  Matrix coef;
  std::vector<double> intercept;
  std::vector<double> centre;  // subtracted before the projection; may be empty
  Matrix projection;           // features x components; empty: no transform
  std::size_t components = 0;
  bool f32 = false;

  [[nodiscard]] std::size_t features() const override { return coef.columns; }
  [[nodiscard]] const Array* classes() const override { return &labels_of; }

  [[nodiscard]] Result<Frame> decision_function(const Frame& in) const override {
    MR_CHECK(check_numbers(in, features()));
    Rows rows(in);
    std::vector<double> out;
    for (std::size_t r = 0; r < in.rows; ++r)
      for (std::size_t c = 0; c < coef.rows; ++c) out.push_back(dot(rows[r], coef.row(c)) + intercept[c]);
    return typed(frame_of(in.rows, coef.rows, std::move(out)), in);
  }
  [[nodiscard]] Result<Output> predict(const Frame& in) const override {
    MR_TRY(auto d, decision_function(in));
    std::vector<std::size_t> best(in.rows);
    for (std::size_t r = 0; r < in.rows; ++r)
      best[r] = coef.rows == 1 ? (d.data[r] > 0 ? 1U : 0U) : argmax({d.data.data() + r * coef.rows, coef.rows});
    return labels(labels_of, best);
  }
  [[nodiscard]] Result<Frame> predict_proba(const Frame& in) const override {
    MR_TRY(auto d, decision_function(in));
    if (coef.rows == 1) {
      std::vector<double> p;
      for (double v : d.data) {
        p.push_back(1 - expit(v));
        p.push_back(expit(v));
      }
      return typed(frame_of(in.rows, 2, std::move(p)), in);
    }
    for (std::size_t r = 0; r < in.rows; ++r) softmax({d.data.data() + r * coef.rows, coef.rows});
    return d;
  }
  [[nodiscard]] Result<Frame> transform(const Frame& in) const override {
    if (projection.data.empty()) return Estimator::transform(in);
    MR_CHECK(check_numbers(in, features()));
    Rows rows(in);
    std::vector<double> out(in.rows * components, 0.0);
    for (std::size_t r = 0; r < in.rows; ++r) {
      auto x = rows[r];
      for (std::size_t i = 0; i < x.size(); ++i) {
        double v = centre.empty() ? x[i] : x[i] - centre[i];
        for (std::size_t c = 0; c < components; ++c) out[r * components + c] += v * projection.row(i)[c];
      }
    }
    return typed(frame_of(in.rows, components, std::move(out)), in);
  }

 private:
  [[nodiscard]] Frame typed(Frame f, const Frame& in) const {
    f.f32 = f32 && in.f32;
    return f;
  }
};

Result<> read_bayes_classes(const Build& b, NodeId id, Array& into, std::size_t rows) {
  MR_TRY(into, b.array(id, "classes_"));
  if (into.size() == 0 || into.size() != rows) return b.bad(id, "classes_ does not fit the other attributes");
  return {};
}

Result<EstimatorPtr> make_gaussian(Build& b, NodeId id) {
  auto e = std::make_unique<GaussianBayes>();
  MR_TRY(e->mean, read_dense(b, id, "theta_"));
  MR_TRY(e->variance, read_dense(b, id, b.tree.is_none(b.tree.get(id, "var_")) ? "sigma_" : "var_"));
  MR_TRY(auto prior, b.numbers(id, "class_prior_"));
  MR_CHECK(read_bayes_classes(b, id, e->labels_of, e->mean.rows));
  e->width = e->mean.columns;
  e->f32 = learnt_f32(b, id, "theta_") && learnt_f32(b, id, "var_");
  if (e->width == 0 || e->variance.rows != e->mean.rows || e->variance.columns != e->width ||
      prior.size() != e->mean.rows)
    return b.bad(id, "theta_, var_ and class_prior_ do not fit each other");
  for (std::size_t c = 0; c < prior.size(); ++c) {
    double sum = 0;
    for (double v : e->variance.row(c)) sum += std::log(2 * std::numbers::pi * v);
    e->constant.push_back(std::log(prior[c]) - 0.5 * sum);
  }
  return e;
}

enum class Discrete : std::uint8_t { multinomial, complement, bernoulli };

Result<EstimatorPtr> make_discrete(Build& b, NodeId id, Discrete kind) {
  auto e = std::make_unique<LinearBayes>();
  MR_TRY(e->weights, read_dense(b, id, "feature_log_prob_"));
  MR_TRY(e->constant, b.numbers(id, "class_log_prior_"));
  MR_CHECK(read_bayes_classes(b, id, e->labels_of, e->weights.rows));
  e->width = e->weights.columns;
  if (e->width == 0 || e->constant.size() != e->weights.rows)
    return b.bad(id, "feature_log_prob_ and class_log_prior_ do not fit each other");
  if (kind == Discrete::complement && e->labels_of.size() > 1) e->constant.assign(e->constant.size(), 0.0);
  if (kind == Discrete::bernoulli) {
    if (!b.tree.is_none(b.tree.get(id, "binarize"))) e->threshold = b.number_or(id, "binarize", 0);
    for (std::size_t c = 0; c < e->weights.rows; ++c)
      for (std::size_t i = 0; i < e->width; ++i) {
        double& w = e->weights.data[c * e->width + i];
        double without = std::log(1 - std::exp(w));
        w -= without;
        e->constant[c] += without;
      }
  }
  return e;
}

Result<EstimatorPtr> make_categorical(Build& b, NodeId id) {
  auto e = std::make_unique<CategoricalBayes>();
  MR_TRY(e->constant, b.numbers(id, "class_log_prior_"));
  MR_CHECK(read_bayes_classes(b, id, e->labels_of, e->constant.size()));
  for (auto item : b.items(id, "feature_log_prob_")) {
    MR_TRY(auto m, matrix_of(b, item, id, "feature_log_prob_"));
    if (m.sparse || m.rows != e->constant.size() || m.columns == 0)
      return b.bad(id, "feature_log_prob_ does not fit the classes");
    e->weights.push_back(std::move(m));
  }
  e->width = e->weights.size();
  if (e->width == 0) return b.bad(id, "it has no feature_log_prob_: is it fitted?");
  return e;
}

Result<EstimatorPtr> make_quadratic(Build& b, NodeId id) {
  auto e = std::make_unique<QuadraticDiscriminant>();
  MR_TRY(auto means, read_dense(b, id, "means_"));
  MR_TRY(auto prior, b.numbers(id, "priors_"));
  MR_CHECK(read_bayes_classes(b, id, e->labels_of, means.rows));
  auto rotations = b.items(id, "rotations_");
  auto scalings = b.items(id, "scalings_");
  if (means.columns == 0 || prior.size() != means.rows || rotations.size() != means.rows ||
      scalings.size() != means.rows)
    return b.bad(id, "means_, priors_, rotations_ and scalings_ do not fit each other");
  e->width = means.columns;
  for (std::size_t c = 0; c < means.rows; ++c) {
    QuadraticDiscriminant::Class k;
    MR_TRY(k.axes, matrix_of(b, rotations[c], id, "rotations_"));
    MR_TRY(auto scale, matrix_of(b, scalings[c], id, "scalings_"));
    if (k.axes.sparse || scale.sparse || k.axes.rows != e->width || scale.data.size() != k.axes.columns)
      return b.bad(id, "rotations_ and scalings_ do not fit each other");
    k.mean.assign(means.row(c).begin(), means.row(c).end());
    k.constant = std::log(prior[c]);
    for (std::size_t a = 0; a < scale.data.size(); ++a) {
      k.constant -= 0.5 * std::log(scale.data[a]);
      for (std::size_t i = 0; i < e->width; ++i) k.axes.data[i * k.axes.columns + a] /= std::sqrt(scale.data[a]);
    }
    e->of.push_back(std::move(k));
  }
  return e;
}

Result<EstimatorPtr> make_discriminant(Build& b, NodeId id) {
  auto e = std::make_unique<LinearDiscriminant>();
  MR_TRY(e->coef, read_dense(b, id, "coef_"));
  MR_TRY(e->intercept, b.numbers(id, "intercept_"));
  MR_TRY(e->labels_of, b.array(id, "classes_"));
  const auto k = e->coef.rows;
  if (e->coef.columns == 0 || k == 0 || e->intercept.size() != k || e->labels_of.size() != (k == 1 ? 2 : k))
    return b.bad(id, "coef_, intercept_ and classes_ do not fit each other");
  e->f32 = learnt_f32(b, id, "coef_");
  auto solver = b.text_or(id, "solver", "svd");
  if (solver == "lsqr" || b.tree.is_none(b.tree.get(id, "scalings_"))) return e;
  MR_TRY(e->projection, read_dense(b, id, "scalings_"));
  if (solver == "svd") {
    MR_TRY(e->centre, b.numbers(id, "xbar_"));
  }
  e->components = std::min(e->projection.columns,
                           static_cast<std::size_t>(std::clamp(b.number_or(id, "_max_components", 1e6), 0.0, 1e6)));
  if (e->projection.rows != e->coef.columns || (!e->centre.empty() && e->centre.size() != e->coef.columns))
    return b.bad(id, "scalings_ or xbar_ does not fit coef_");
  return e;
}

}  // namespace

void add_bayes(Makers& makers) {
  makers["sklearn*GaussianNB"] = make_gaussian;
  makers["sklearn*MultinomialNB"] = [](Build& b, NodeId id) { return make_discrete(b, id, Discrete::multinomial); };
  makers["sklearn*ComplementNB"] = [](Build& b, NodeId id) { return make_discrete(b, id, Discrete::complement); };
  makers["sklearn*BernoulliNB"] = [](Build& b, NodeId id) { return make_discrete(b, id, Discrete::bernoulli); };
  makers["sklearn*CategoricalNB"] = make_categorical;
  makers["sklearn*LinearDiscriminantAnalysis"] = make_discriminant;
  makers["sklearn*QuadraticDiscriminantAnalysis"] = make_quadratic;
}

}  // namespace mr::serving
