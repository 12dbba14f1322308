// Estimators that are alone in their kind: networks, partial least squares, kernel ridge, isotonic
// regression, dummies.
#include "serving/engines/isotonic.h"
#include "serving/engines/pairwise.h"
#include "serving/engines/rows.h"

namespace mr::serving {

namespace {

// ---- multi-layer perceptrons ----

enum class Activation : std::uint8_t { identity, logistic, tanh, relu, softmax, exponential };

Result<Activation> activation_of(const Build& b, NodeId id, std::string_view attribute) {
  static const std::map<std::string_view, Activation> known{
      {"identity", Activation::identity}, {"logistic", Activation::logistic}, {"tanh", Activation::tanh},
      {"relu", Activation::relu},         {"softmax", Activation::softmax},   {"exp", Activation::exponential}};
  auto name = b.text_or(id, attribute, "");
  auto it = known.find(name);
  if (it == known.end()) return b.bad(id, fmt::format("{} '{}' is not read", attribute, printable(name)));
  return it->second;
}

void activate(Activation how, std::span<double> v) {
  switch (how) {
    case Activation::identity:
      return;
    case Activation::logistic:
      for (double& x : v) x = expit(x);
      return;
    case Activation::tanh:
      for (double& x : v) x = std::tanh(x);
      return;
    case Activation::relu:
      for (double& x : v) x = std::max(x, 0.0);
      return;
    case Activation::exponential:
      for (double& x : v) x = std::exp(x);
      return;
    case Activation::softmax:
      softmax(v);
      return;
  }
}

class Perceptrons : public Estimator {
 public:
  struct Layer {
    Matrix weights;  // inputs x outputs
    std::vector<double> bias;
  };
  std::vector<Layer> layers;
  Activation hidden = Activation::relu;
  Activation last = Activation::identity;
  bool f32 = false;
  bool classifier = false;
  bool multilabel = false;
  Array labels_of;

  [[nodiscard]] std::size_t features() const override { return layers.front().weights.rows; }
  [[nodiscard]] std::size_t outputs() const { return layers.back().bias.size(); }
  [[nodiscard]] bool takes_sparse() const override { return true; }
  [[nodiscard]] const Array* classes() const override { return classifier && !multilabel ? &labels_of : nullptr; }

  [[nodiscard]] Result<Output> predict(const Frame& in) const override {
    MR_TRY(auto out, forward(in));
    const auto k = outputs();
    if (!classifier) {
      auto answer = numbers_of(in.rows, k, std::move(out));
      if (f32 && in.f32) answer.type = DataType::fp32;
      return answer;
    }
    if (multilabel) {
      for (double& v : out) v = v > 0.5 ? 1 : 0;
      auto answer = numbers_of(in.rows, k, std::move(out));
      answer.type = DataType::int64;
      return answer;
    }
    std::vector<std::size_t> best(in.rows);
    for (std::size_t r = 0; r < in.rows; ++r)
      best[r] = k == 1 ? (out[r] > 0.5 ? 1U : 0U) : argmax({out.data() + r * k, k});
    return labels(labels_of, best);
  }
  [[nodiscard]] Result<Frame> predict_proba(const Frame& in) const override {
    if (!classifier) return Estimator::predict_proba(in);
    MR_TRY(auto out, forward(in));
    auto k = outputs();
    if (k == 1 && !multilabel) {
      std::vector<double> two;
      for (double v : out) {
        two.push_back(1 - v);
        two.push_back(v);
      }
      out = std::move(two);
      k = 2;
    }
    auto p = frame_of(in.rows, k, std::move(out));
    p.f32 = f32 && in.f32;
    return p;
  }

 private:
  [[nodiscard]] Result<std::vector<double>> forward(const Frame& in) const {
    MR_CHECK(check_numbers(in, features()));
    Rows rows(in);
    std::vector<double> all;
    all.reserve(in.rows * outputs());
    std::vector<double> now;
    std::vector<double> next;
    for (std::size_t r = 0; r < in.rows; ++r) {
      auto x = rows[r];
      now.assign(x.begin(), x.end());
      for (std::size_t l = 0; l < layers.size(); ++l) {
        const auto& layer = layers[l];
        next = layer.bias;
        for (std::size_t i = 0; i < now.size(); ++i) {
          if (now[i] == 0) continue;
          const double* w = layer.weights.data.data() + i * next.size();
          for (std::size_t o = 0; o < next.size(); ++o) next[o] += now[i] * w[o];
        }
        activate(l + 1 == layers.size() ? last : hidden, next);
        std::swap(now, next);
      }
      all.insert(all.end(), now.begin(), now.end());
    }
    return all;
  }
};

Result<EstimatorPtr> make_perceptrons(Build& b, NodeId id, bool classifier) {
  auto e = std::make_unique<Perceptrons>();
  e->classifier = classifier;
  auto weights = b.items(id, "coefs_");
  auto biases = b.items(id, "intercepts_");
  if (weights.empty() || weights.size() != biases.size()) return b.bad(id, "it has no coefs_: is it fitted?");
  for (std::size_t l = 0; l < weights.size(); ++l) {
    Perceptrons::Layer layer;
    MR_TRY(layer.weights, matrix_of(b, weights[l], id, "coefs_"));
    MR_TRY(auto bias, matrix_of(b, biases[l], id, "intercepts_"));
    layer.bias = std::move(bias.data);
    const auto inputs = l == 0 ? layer.weights.rows : e->layers.back().bias.size();
    if (layer.weights.sparse || layer.weights.rows == 0 || layer.weights.columns == 0 || layer.weights.rows != inputs ||
        layer.bias.size() != layer.weights.columns)
      return b.bad(id, "coefs_ and intercepts_ do not fit each other");
    e->layers.push_back(std::move(layer));
  }
  if (auto a = b.tree.array_of(weights[0]); a) e->f32 = a->kind == 'f' && a->itemsize == 4;
  MR_TRY(e->hidden, activation_of(b, id, "activation"));
  MR_TRY(e->last, activation_of(b, id, "out_activation_"));
  if (!classifier) return e;
  e->multilabel = b.tree.text_of(b.tree.get(b.tree.get(id, "_label_binarizer"), "y_type_")).starts_with("multilabel");
  if (e->multilabel) return e;
  MR_TRY(e->labels_of, b.array(id, b.tree.is_none(b.tree.get(id, "classes_")) ? "_classes" : "classes_"));
  if (e->labels_of.size() != (e->outputs() == 1 ? 2 : e->outputs()))
    return b.bad(id, "classes_ does not fit the last layer");
  return e;
}

// ---- partial least squares ----

class LeastSquares : public Estimator {
 public:
  std::vector<double> mean;
  std::vector<double> scale;   // of the features; ones where predict does not divide
  std::vector<double> spread;  // what transform divides by
  Matrix coef;                 // outputs x features
  std::vector<double> intercept;
  Matrix rotations;

  [[nodiscard]] std::size_t features() const override { return coef.columns; }
  [[nodiscard]] Result<Output> predict(const Frame& in) const override {
    MR_CHECK(check_numbers(in, features()));
    Rows rows(in);
    std::vector<double> out;
    std::vector<double> x(features());
    for (std::size_t r = 0; r < in.rows; ++r) {
      auto row = rows[r];
      for (std::size_t i = 0; i < x.size(); ++i) x[i] = (row[i] - mean[i]) / scale[i];
      for (std::size_t o = 0; o < coef.rows; ++o) out.push_back(dot(x, coef.row(o)) + intercept[o]);
    }
    return numbers_of(in.rows, coef.rows, std::move(out));
  }
  [[nodiscard]] Result<Frame> transform(const Frame& in) const override {
    MR_CHECK(check_numbers(in, features()));
    Rows rows(in);
    const auto k = rotations.columns;
    std::vector<double> out(in.rows * k, 0.0);
    for (std::size_t r = 0; r < in.rows; ++r) {
      auto row = rows[r];
      for (std::size_t i = 0; i < row.size(); ++i)
        for (std::size_t c = 0; c < k; ++c) out[r * k + c] += (row[i] - mean[i]) / spread[i] * rotations.row(i)[c];
    }
    return frame_of(in.rows, k, std::move(out));
  }
};

Matrix transposed(const Matrix& m) {
  Matrix t;
  t.rows = m.columns;
  t.columns = m.rows;
  t.data.resize(m.data.size());
  for (std::size_t r = 0; r < m.rows; ++r)
    for (std::size_t c = 0; c < m.columns; ++c) t.data[c * t.columns + r] = m.data[r * m.columns + c];
  return t;
}

Result<EstimatorPtr> make_least_squares(Build& b, NodeId id) {
  auto e = std::make_unique<LeastSquares>();
  const auto version = b.version_of(id);
  auto either = [&](const char* now, const char* before) {
    return b.numbers(id, b.tree.is_none(b.tree.get(id, now)) ? before : now);
  };
  MR_TRY(e->mean, either("_x_mean", "x_mean_"));
  MR_TRY(e->spread, either("_x_std", "x_std_"));
  const bool own = b.tree.is_none(b.tree.get(id, "coef_"));  // 1.1 and 1.2 keep it under another name
  MR_TRY(e->coef, read_dense(b, id, own ? "_coef_" : "coef_"));
  MR_TRY(e->rotations, read_dense(b, id, "x_rotations_"));
  if (version < 1003 && !own) e->coef = transposed(e->coef);
  const auto n = e->mean.size();
  MR_TRY(e->intercept, b.numbers(id, !b.tree.is_none(b.tree.get(id, "intercept_")) ? "intercept_"
                                     : b.tree.is_none(b.tree.get(id, "_y_mean"))   ? "y_mean_"
                                                                                   : "_y_mean"));
  e->scale = version < 1005 ? e->spread : std::vector<double>(n, 1.0);
  if (n == 0 || e->coef.columns != n || e->spread.size() != n || e->intercept.size() != e->coef.rows ||
      e->rotations.rows != n)
    return b.bad(id, "coef_, its means and its rotations do not fit each other");
  return e;
}

// ---- kernel ridge ----

class KernelRegression : public Estimator {
 public:
  Kernel kernel;
  Matrix fitted;
  Matrix dual;  // rows of fitted x outputs

  [[nodiscard]] std::size_t features() const override { return fitted.columns; }
  [[nodiscard]] bool takes_sparse() const override { return true; }
  [[nodiscard]] Result<Output> predict(const Frame& in) const override {
    MR_CHECK(check_numbers(in, features()));
    Rows rows(in);
    std::vector<double> out(in.rows * dual.columns, 0.0);
    for (std::size_t r = 0; r < in.rows; ++r) {
      auto x = rows[r];
      double squares = dot(x, x);
      for (std::size_t f = 0; f < fitted.rows; ++f) {
        double k = kernel(x, squares, fitted, f);
        for (std::size_t o = 0; o < dual.columns; ++o) out[r * dual.columns + o] += k * dual.row(f)[o];
      }
    }
    return numbers_of(in.rows, dual.columns, std::move(out));
  }
};

Result<EstimatorPtr> make_kernel_ridge(Build& b, NodeId id) {
  auto e = std::make_unique<KernelRegression>();
  MR_TRY(e->kernel.kind, kernel_kind(b, id));
  MR_TRY(e->fitted, read_matrix(b, id, "X_fit_"));
  MR_TRY(e->dual, read_dense(b, id, "dual_coef_"));
  if (e->fitted.columns == 0 || e->dual.columns == 0 || e->dual.rows != e->fitted.rows)
    return b.bad(id, "X_fit_ and dual_coef_ do not fit each other");
  e->kernel.gamma = b.number_or(id, "gamma", 1 / static_cast<double>(e->fitted.columns));
  e->kernel.coef0 = b.number_or(id, "coef0", 1);
  e->kernel.degree = b.number_or(id, "degree", 3);
  return e;
}

// ---- isotonic regression ----

class IsotonicEstimator : public Estimator {
 public:
  explicit IsotonicEstimator(Isotonic i) : isotonic_(std::move(i)) {}
  [[nodiscard]] std::size_t features() const override { return 1; }
  [[nodiscard]] Result<Output> predict(const Frame& in) const override {
    MR_TRY(auto out, values(in));
    auto answer = numbers_of(in.rows, 1, std::move(out));
    if (in.f32) answer.type = DataType::fp32;
    return answer;
  }
  [[nodiscard]] Result<Frame> transform(const Frame& in) const override {
    MR_TRY(auto out, values(in));
    auto f = frame_of(in.rows, 1, std::move(out));
    f.f32 = in.f32;
    return f;
  }

 private:
  [[nodiscard]] Result<std::vector<double>> values(const Frame& in) const {
    MR_CHECK(check_numbers(in, 1));
    std::vector<double> out;
    for (double v : in.data) {
      MR_TRY(double y, isotonic_.at(v));
      out.push_back(y);
    }
    return out;
  }
  Isotonic isotonic_;
};

// ---- dummies ----

class Dummy : public Estimator {
 public:
  Array labels_of;               // of a classifier
  std::vector<double> constant;  // probabilities, or what a regressor answers
  std::size_t answer = 0;        // the class
  bool classifier = false;

  [[nodiscard]] std::size_t features() const override { return 0; }
  [[nodiscard]] bool takes_sparse() const override { return true; }
  [[nodiscard]] const Array* classes() const override { return classifier ? &labels_of : nullptr; }
  [[nodiscard]] Result<Output> predict(const Frame& in) const override {
    if (classifier) return labels(labels_of, std::vector<std::size_t>(in.rows, answer));
    return numbers_of(in.rows, constant.size(), repeated(in.rows));
  }
  [[nodiscard]] Result<Frame> predict_proba(const Frame& in) const override {
    if (!classifier) return Estimator::predict_proba(in);
    return frame_of(in.rows, constant.size(), repeated(in.rows));
  }

 private:
  [[nodiscard]] std::vector<double> repeated(std::size_t rows) const {
    std::vector<double> out;
    for (std::size_t r = 0; r < rows; ++r) out.insert(out.end(), constant.begin(), constant.end());
    return out;
  }
};

Result<EstimatorPtr> make_dummy_classifier(Build& b, NodeId id) {
  auto e = std::make_unique<Dummy>();
  e->classifier = true;
  MR_TRY(e->labels_of, b.array(id, "classes_"));
  MR_TRY(e->constant, b.numbers(id, "class_prior_"));
  const auto k = e->labels_of.size();
  if (k == 0 || e->constant.size() != k) return b.bad(id, "classes_ and class_prior_ do not fit each other");
  e->answer = argmax(e->constant);
  auto strategy = b.text_or(id, b.tree.is_none(b.tree.get(id, "_strategy")) ? "strategy" : "_strategy", "prior");
  if (strategy == "constant") {
    auto value = b.tree.get(id, "constant");
    auto a = b.tree.array_of(value);
    for (std::size_t i = 0; i < k; ++i)
      if (e->labels_of.texts.empty() ? a && a->numbers.size() == 1 && a->numbers[0] == e->labels_of.numbers[i]
                                     : (b.tree.text_of(value) == e->labels_of.texts[i] ||
                                        (a && a->texts.size() == 1 && a->texts[0] == e->labels_of.texts[i])))
        e->answer = i;
  } else if (strategy != "prior" && strategy != "most_frequent") {
    return fail(Code::unimplemented,
                fmt::format("DummyClassifier with the random strategy '{}' is not read natively", printable(strategy)));
  }
  if (strategy != "prior") {
    e->constant.assign(k, 0.0);
    e->constant[e->answer] = 1;
  }
  return e;
}

Result<EstimatorPtr> make_dummy_regressor(Build& b, NodeId id) {
  auto e = std::make_unique<Dummy>();
  MR_TRY(e->constant, b.numbers(id, "constant_"));
  if (e->constant.empty()) return b.bad(id, "constant_ is empty");
  return e;
}

}  // namespace

void add_others(Makers& makers) {
  makers["sklearn*MLPClassifier"] = [](Build& b, NodeId id) { return make_perceptrons(b, id, true); };
  makers["sklearn*MLPRegressor"] = [](Build& b, NodeId id) { return make_perceptrons(b, id, false); };
  makers["sklearn*PLSRegression"] = make_least_squares;
  makers["sklearn*PLSCanonical"] = make_least_squares;
  makers["sklearn*CCA"] = make_least_squares;
  makers["sklearn*KernelRidge"] = make_kernel_ridge;
  makers["sklearn*DummyClassifier"] = make_dummy_classifier;
  makers["sklearn*DummyRegressor"] = make_dummy_regressor;
  makers["sklearn*IsotonicRegression"] = [](Build& b, NodeId id) -> Result<EstimatorPtr> {
    MR_TRY(auto isotonic, Isotonic::read(b, id));
    return std::make_unique<IsotonicEstimator>(std::move(isotonic));
  };
}

}  // namespace mr::serving
