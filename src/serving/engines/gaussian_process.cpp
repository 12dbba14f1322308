// Gaussian processes: the mean of a regressor, the classes and probabilities of a classifier (by Laplace's
// approximation), over scikit-learn's kernels.
#include <numbers>

#include "serving/engines/matrix.h"
#include "serving/engines/rows.h"

namespace mr::serving {

namespace {

// A kernel and those within it, in one list; each comes after its parts.
class ProcessKernel {
 public:
  enum class Kind : std::uint8_t {
    constant,
    white,
    rbf,
    exponential,
    matern3,
    matern5,
    rational,
    periodic,
    dot_product,
    sum,
    product,
    power
  };
  struct Node {
    Kind kind = Kind::constant;
    double a = 1;                // its value, alpha, periodicity, sigma_0 or exponent
    std::vector<double> length;  // one for all columns, or one for each
    std::size_t first = 0;
    std::size_t second = 0;
  };
  std::vector<Node> nodes;

  // `same`: the covariance of a row with itself, to which noise adds. `scratch` is used again from call to call.
  double operator()(std::span<const double> x, std::span<const double> y, bool same,
                    std::vector<double>& scratch) const {
    scratch.resize(nodes.size());
    for (std::size_t i = 0; i < nodes.size(); ++i) scratch[i] = value(nodes[i], x, y, same, scratch);
    return scratch.back();
  }

  Result<std::size_t> add(const Build& b, NodeId owner, NodeId id, std::size_t features, int depth = 0);

 private:
  static double square(const Node& n, std::span<const double> x, std::span<const double> y) {
    double sum = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double length = n.length.size() == 1 ? n.length[0] : n.length[i];
      const double v = x[i] / length - y[i] / length;
      sum += v * v;
    }
    return sum;
  }
  static double plain_square(std::span<const double> x, std::span<const double> y) {
    double sum = 0;
    for (std::size_t i = 0; i < x.size(); ++i) sum += (x[i] - y[i]) * (x[i] - y[i]);
    return sum;
  }
  static double value(const Node& n, std::span<const double> x, std::span<const double> y, bool same,
                      const std::vector<double>& made) {
    switch (n.kind) {
      case Kind::constant:
        return n.a;
      case Kind::white:
        return same ? n.a : 0;
      case Kind::rbf:
        return std::exp(-0.5 * square(n, x, y));
      case Kind::exponential:
        return std::exp(-std::sqrt(square(n, x, y)));
      case Kind::matern3: {
        const double d = std::sqrt(square(n, x, y)) * std::numbers::sqrt3;
        return (1 + d) * std::exp(-d);
      }
      case Kind::matern5: {
        const double d = std::sqrt(square(n, x, y)) * std::sqrt(5.0);
        return (1 + d + d * d / 3.0) * std::exp(-d);
      }
      case Kind::rational:
        return std::pow(1 + plain_square(x, y) / (2 * n.a * n.length[0] * n.length[0]), -n.a);
      case Kind::periodic: {
        const double s = std::sin(std::numbers::pi / n.a * std::sqrt(plain_square(x, y))) / n.length[0];
        return std::exp(-2 * s * s);
      }
      case Kind::dot_product:
        return dot(x, y) + n.a * n.a;
      case Kind::sum:
        return made[n.first] + made[n.second];
      case Kind::product:
        return made[n.first] * made[n.second];
      case Kind::power:
        return std::pow(made[n.first], n.a);
    }
    return 0;
  }
};

Result<std::size_t> ProcessKernel::add(const Build& b, NodeId owner, NodeId id, std::size_t features, int depth) {
  if (depth > 32 || nodes.size() > 1000) return b.bad(owner, "its kernel is nested too deep");
  auto full = b.tree.class_of(id);
  auto name = b.short_class(id);
  if (!full.starts_with("sklearn.gaussian_process.kernels."))
    return fail(Code::unimplemented,
                fmt::format("{}: a kernel of another library is not read natively", b.short_class(owner)));
  Node n;
  if (name == "Sum" || name == "Product") {
    MR_TRY(n.first, add(b, owner, b.tree.get(id, "k1"), features, depth + 1));
    MR_TRY(n.second, add(b, owner, b.tree.get(id, "k2"), features, depth + 1));
    n.kind = name == "Sum" ? Kind::sum : Kind::product;
  } else if (name == "Exponentiation") {
    MR_TRY(n.first, add(b, owner, b.tree.get(id, "kernel"), features, depth + 1));
    MR_TRY(n.a, b.number(id, "exponent"));
    n.kind = Kind::power;
  } else if (name == "ConstantKernel" || name == "WhiteKernel") {
    MR_TRY(n.a, b.number(id, name == "WhiteKernel" ? "noise_level" : "constant_value"));
    n.kind = name == "WhiteKernel" ? Kind::white : Kind::constant;
  } else if (name == "DotProduct") {
    MR_TRY(n.a, b.number(id, "sigma_0"));
    n.kind = Kind::dot_product;
  } else if (name == "RBF" || name == "Matern" || name == "RationalQuadratic" || name == "ExpSineSquared") {
    MR_TRY(n.length, b.numbers(id, "length_scale"));
    const bool one = name == "RationalQuadratic" || name == "ExpSineSquared";
    if (n.length.size() != 1 && (one || n.length.size() != features))
      return b.bad(owner, "length_scale of its kernel does not fit");
    n.kind = Kind::rbf;
    if (name == "RationalQuadratic" || name == "ExpSineSquared") {
      MR_TRY(n.a, b.number(id, name == "ExpSineSquared" ? "periodicity" : "alpha"));
      n.kind = name == "ExpSineSquared" ? Kind::periodic : Kind::rational;
    } else if (name == "Matern") {
      const double nu = b.number_or(id, "nu", INFINITY);
      if (nu == 0.5)
        n.kind = Kind::exponential;
      else if (nu == 1.5)
        n.kind = Kind::matern3;
      else if (nu == 2.5)
        n.kind = Kind::matern5;
      else if (std::isfinite(nu))
        return fail(Code::unimplemented, "Matern with a nu other than 0.5, 1.5, 2.5 or inf is not read natively");
    }
  } else {
    return fail(Code::unimplemented, fmt::format("the kernel {} is not read natively", printable(name)));
  }
  nodes.push_back(std::move(n));
  return nodes.size() - 1;
}

class ProcessRegressor : public Estimator {
 public:
  ProcessKernel kernel;
  Matrix stored;
  Matrix alpha;              // stored rows x outputs
  std::vector<double> mean;  // of each output, or one
  std::vector<double> spread;

  [[nodiscard]] std::size_t features() const override { return stored.columns; }
  [[nodiscard]] Result<Output> predict(const Frame& in) const override {
    MR_CHECK(check_numbers(in, features()));
    Rows rows(in);
    const auto k = alpha.columns;
    std::vector<double> out(in.rows * k, 0.0);
    std::vector<double> scratch;
    for (std::size_t r = 0; r < in.rows; ++r) {
      auto x = rows[r];
      double* to = out.data() + r * k;
      for (std::size_t i = 0; i < stored.rows; ++i) {
        const double near = kernel(x, stored.row(i), false, scratch);
        for (std::size_t o = 0; o < k; ++o) to[o] += near * alpha.row(i)[o];
      }
      for (std::size_t o = 0; o < k; ++o)
        to[o] = (spread.size() == 1 ? spread[0] : spread[o]) * to[o] + (mean.size() == 1 ? mean[0] : mean[o]);
    }
    return numbers_of(in.rows, k, std::move(out));
  }
};

Result<EstimatorPtr> make_process_regressor(Build& b, NodeId id) {
  auto e = std::make_unique<ProcessRegressor>();
  MR_TRY(e->stored, read_dense(b, id, "X_train_"));
  MR_TRY(e->alpha, read_dense(b, id, "alpha_"));
  MR_TRY(e->mean, b.numbers(id, "_y_train_mean"));
  MR_TRY(e->spread, b.numbers(id, "_y_train_std"));
  const auto k = e->alpha.columns;
  auto fits = [&](const std::vector<double>& v) { return v.size() == 1 || v.size() == k; };
  if (e->stored.rows == 0 || e->stored.columns == 0 || k == 0 || e->alpha.rows != e->stored.rows || !fits(e->mean) ||
      !fits(e->spread))
    return b.bad(id, "X_train_ and alpha_ do not fit each other");
  MR_CHECK(e->kernel.add(b, id, b.tree.get(id, "kernel_"), e->stored.columns));
  return e;
}

class ProcessClassifier : public Estimator {
 public:
  ProcessKernel kernel;
  Matrix stored;
  std::vector<double> off;   // what each stored row's class was, less its probability
  std::vector<double> root;  // of the weights W
  Matrix lower;              // L
  Array labels_of;

  [[nodiscard]] std::size_t features() const override { return stored.columns; }
  [[nodiscard]] const Array* classes() const override { return &labels_of; }
  [[nodiscard]] Result<Output> predict(const Frame& in) const override {
    MR_CHECK(check_numbers(in, features()));
    Rows rows(in);
    std::vector<std::size_t> best;
    std::vector<double> scratch;
    for (std::size_t r = 0; r < in.rows; ++r) {
      double f = 0;
      for (std::size_t i = 0; i < stored.rows; ++i) f += kernel(rows[r], stored.row(i), false, scratch) * off[i];
      best.push_back(f > 0 ? 1 : 0);
    }
    return labels(labels_of, best);
  }
  // The logistic function under a normal distribution, by five error functions (Williams and Barber, 1998).
  [[nodiscard]] Result<Frame> predict_proba(const Frame& in) const override {
    static constexpr double kLambda[] = {0.41, 0.4, 0.37, 0.44, 0.39};
    static constexpr double kWeight[] = {-1854.8214151, 3516.89893646, 221.29346712, 128.12323805, -2010.49422654};
    MR_CHECK(check_numbers(in, features()));
    Rows rows(in);
    std::vector<double> out;
    std::vector<double> scratch;
    std::vector<double> v(stored.rows);
    for (std::size_t r = 0; r < in.rows; ++r) {
      auto x = rows[r];
      double f = 0;
      double variance = kernel(x, x, true, scratch);
      for (std::size_t i = 0; i < stored.rows; ++i) {
        const double near = kernel(x, stored.row(i), false, scratch);
        f += near * off[i];
        v[i] = root[i] * near;
        auto row = lower.row(i);
        for (std::size_t j = 0; j < i; ++j) v[i] -= row[j] * v[j];
        v[i] /= row[i];
        variance -= v[i] * v[i];
      }
      const double alpha = 1 / (2 * variance);
      double p = 0;
      double half = 0;
      for (std::size_t i = 0; i < 5; ++i) {
        const double gamma = kLambda[i] * f;
        p += kWeight[i] * (std::sqrt(std::numbers::pi / alpha) *
                           std::erf(gamma * std::sqrt(alpha / (alpha + kLambda[i] * kLambda[i]))) /
                           (2 * std::sqrt(variance * 2 * std::numbers::pi)));
        half += kWeight[i];
      }
      p += 0.5 * half;
      out.push_back(1 - p);
      out.push_back(p);
    }
    return frame_of(in.rows, 2, std::move(out));
  }
};

Result<EstimatorPtr> make_process_classifier(Build& b, NodeId id) {
  auto e = std::make_unique<ProcessClassifier>();
  MR_TRY(e->stored, read_dense(b, id, "X_train_"));
  MR_TRY(e->off, b.numbers(id, "y_train_"));
  MR_TRY(auto share, b.numbers(id, "pi_"));
  MR_TRY(e->root, b.numbers(id, "W_sr_"));
  MR_TRY(e->lower, read_dense(b, id, "L_"));
  MR_TRY(e->labels_of, b.array(id, "classes_"));
  const auto n = e->stored.rows;
  if (n == 0 || e->stored.columns == 0 || e->off.size() != n || share.size() != n || e->root.size() != n ||
      e->lower.rows != n || e->lower.columns != n || e->labels_of.size() != 2)
    return b.bad(id, "X_train_, y_train_, pi_, W_sr_ and L_ do not fit each other");
  for (std::size_t i = 0; i < n; ++i) {
    e->off[i] -= share[i];
    if (e->lower.row(i)[i] == 0) return b.bad(id, "L_ has a zero on its diagonal");
  }
  MR_CHECK(e->kernel.add(b, id, b.tree.get(id, "kernel_"), e->stored.columns));
  return e;
}

// GaussianProcessClassifier: one of two classes, or one-vs-rest or one-vs-one of them.
class ProcessClasses : public Estimator {
 public:
  explicit ProcessClasses(EstimatorPtr e) : inner_(std::move(e)) {}
  [[nodiscard]] std::size_t features() const override { return inner_->features(); }
  [[nodiscard]] const Array* classes() const override { return inner_->classes(); }
  [[nodiscard]] Result<Output> predict(const Frame& in) const override { return inner_->predict(in); }
  [[nodiscard]] Result<Frame> predict_proba(const Frame& in) const override { return inner_->predict_proba(in); }

 private:
  EstimatorPtr inner_;
};

}  // namespace

void add_gaussian_processes(Makers& makers) {
  makers["sklearn*GaussianProcessRegressor"] = make_process_regressor;
  makers["sklearn*_BinaryGaussianProcessClassifierLaplace"] = make_process_classifier;
  makers["sklearn*GaussianProcessClassifier"] = [](Build& b, NodeId id) -> Result<EstimatorPtr> {
    MR_TRY(auto inner, b.estimator(b.tree.get(id, "base_estimator_")));
    return std::make_unique<ProcessClasses>(std::move(inner));
  };
}

}  // namespace mr::serving
