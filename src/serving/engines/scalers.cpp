// Numbers to numbers, each column by itself: scalers and power and quantile transformers. 32-bit frames are rounded
// after each operation, as the original's 32-bit arrays are.
#include <numbers>

#include "serving/engines/transform.h"

namespace mr::serving {

namespace {

constexpr int kVersion18 = 1008;

// Applies `f(value, column)` to every cell, and rounds where the frame is 32-bit.
template <class F>
void each_cell(Frame& frame, F f) {
  if (frame.sparse) {
    for (std::size_t k = 0; k < frame.values.size(); ++k) frame.values[k] = f(frame.values[k], frame.indices[k]);
  } else {
    double* v = frame.data.data();
    for (std::size_t r = 0; r < frame.rows; ++r)
      for (std::size_t c = 0; c < frame.columns; ++c, ++v) *v = f(*v, c);
  }
  if (frame.f32)
    for (auto* values : {&frame.data, &frame.values})
      for (auto& v : *values) v = to_f32(v);
}

std::vector<double> in_f32(const std::vector<double>& values) {
  std::vector<double> out(values);
  for (auto& v : out) v = to_f32(v);
  return out;
}

// (x - shift) / scale, by columns: StandardScaler, RobustScaler, MaxAbsScaler.
class ShiftScale : public NumberTransform {
 public:
  bool center = false;
  bool divide = false;
  bool round_statistics = false;  // to the input's type before use
  bool clip = false;              // to [-1, 1]
  std::vector<double> shift;
  std::vector<double> scale;
  std::vector<double> shift32;
  std::vector<double> scale32;

  [[nodiscard]] bool takes_sparse() const override { return !center; }
  void ready() {
    if (!round_statistics) return;
    shift32 = in_f32(shift);
    scale32 = in_f32(scale);
  }

 protected:
  [[nodiscard]] Result<Frame> compute(Frame f) const override {
    const bool rounded = f.f32 && round_statistics;
    const double* mean = (rounded ? shift32 : shift).data();
    const double* sd = (rounded ? scale32 : scale).data();
    if (f.sparse) {
      if (divide) each_cell(f, [&](double v, std::size_t c) { return v * (1 / sd[c]); });
    } else {
      if (center) each_cell(f, [&](double v, std::size_t c) { return v - mean[c]; });
      if (divide) each_cell(f, [&](double v, std::size_t c) { return v / sd[c]; });
    }
    if (clip) each_cell(f, [](double v, std::size_t) { return std::isnan(v) ? v : std::clamp(v, -1.0, 1.0); });
    return f;
  }
};

Result<EstimatorPtr> make_standard(Build& b, NodeId id) {
  auto s = std::make_unique<ShiftScale>();
  MR_TRY(auto n, feature_count(b, id));
  s->center = b.flag_or(id, "with_mean", true);
  s->divide = b.flag_or(id, "with_std", true) && !b.tree.is_none(b.tree.get(id, "scale_"));
  if (n == 0) {
    MR_TRY(auto any, b.array(id, s->divide ? "scale_" : "mean_"));
    n = any.numbers.size();
  }
  if (s->center) {
    MR_TRY(s->shift, values_of(b, id, "mean_", n));
  }
  if (s->divide) {
    MR_TRY(s->scale, values_of(b, id, "scale_", n));
  }
  s->round_statistics = b.version_of(id) >= kVersion18;
  s->ready();
  s->set_features(n);
  return s;
}

Result<EstimatorPtr> make_robust(Build& b, NodeId id) {
  auto s = std::make_unique<ShiftScale>();
  s->center = b.flag_or(id, "with_centering", true);
  s->divide = b.flag_or(id, "with_scaling", true);
  MR_TRY(auto n, feature_count(b, id));
  if (n == 0 && (s->center || s->divide)) {
    MR_TRY(auto any, b.array(id, s->divide ? "scale_" : "center_"));
    n = any.numbers.size();
  }
  if (s->center) {
    MR_TRY(s->shift, values_of(b, id, "center_", n));
  }
  if (s->divide) {
    MR_TRY(s->scale, values_of(b, id, "scale_", n));
  }
  s->set_features(n);
  return s;
}

Result<EstimatorPtr> make_max_abs(Build& b, NodeId id) {
  auto s = std::make_unique<ShiftScale>();
  s->divide = true;
  s->clip = b.flag_or(id, "clip", false);
  MR_TRY(auto any, b.array(id, "scale_"));
  MR_TRY(s->scale, values_of(b, id, "scale_", any.numbers.size()));
  s->set_features(s->scale.size());
  return s;
}

class MinMax : public NumberTransform {
 public:
  std::vector<double> scale;
  std::vector<double> shift;
  bool clip = false;
  double low = 0;
  double high = 1;

 protected:
  [[nodiscard]] Result<Frame> compute(Frame f) const override {
    each_cell(f, [&](double v, std::size_t c) { return v * scale[c]; });
    each_cell(f, [&](double v, std::size_t c) { return v + shift[c]; });
    if (clip) each_cell(f, [&](double v, std::size_t) { return v < low ? low : v > high ? high : v; });
    return f;
  }
};

Result<EstimatorPtr> make_min_max(Build& b, NodeId id) {
  auto s = std::make_unique<MinMax>();
  MR_TRY(auto any, b.array(id, "scale_"));
  const auto n = any.numbers.size();
  MR_TRY(s->scale, values_of(b, id, "scale_", n));
  MR_TRY(s->shift, values_of(b, id, "min_", n));
  s->clip = b.flag_or(id, "clip", false);
  if (auto range = b.tree.get(id, "feature_range"); s->clip && range != kNoNode) {
    MR_TRY(auto ends, numbers_at(b.tree, range));
    if (ends.size() != 2 || !(ends[0] <= ends[1])) return b.bad(id, "feature_range is not two numbers in order");
    s->low = ends[0];
    s->high = ends[1];
  }
  s->set_features(n);
  return s;
}

enum class Norm : std::uint8_t { l1, l2, max };

class NormalizerTransform : public NumberTransform {
 public:
  Norm norm = Norm::l2;
  NormalizerTransform() { take = Take::finite; }
  [[nodiscard]] bool takes_sparse() const override { return true; }

 protected:
  [[nodiscard]] Result<Frame> compute(Frame f) const override {
    auto& all = f.sparse ? f.values : f.data;
    for (std::size_t r = 0; r < f.rows; ++r) {
      std::size_t from = f.sparse ? f.starts[r] : r * f.columns;
      std::size_t to = f.sparse ? f.starts[r + 1] : from + f.columns;
      double size = 0;
      for (auto i = from; i < to; ++i) {
        double v = all[i];
        size = norm == Norm::l2 ? size + v * v : norm == Norm::l1 ? size + std::fabs(v) : std::max(size, std::fabs(v));
      }
      if (norm == Norm::l2) size = std::sqrt(size);
      if (f.f32) size = to_f32(size);
      if (size == 0) continue;
      for (auto i = from; i < to; ++i) all[i] = f.f32 ? to_f32(all[i] / size) : all[i] / size;
    }
    return f;
  }
};

Result<EstimatorPtr> make_normalizer(Build& b, NodeId id) {
  auto s = std::make_unique<NormalizerTransform>();
  auto norm = b.text_or(id, "norm", "l2");
  if (norm != "l1" && norm != "l2" && norm != "max")
    return b.bad(id, fmt::format("norm '{}' is not read", printable(norm)));
  s->norm = norm == "l1" ? Norm::l1 : norm == "l2" ? Norm::l2 : Norm::max;
  MR_TRY(auto n, feature_count(b, id));
  if (n == 0) return b.bad(id, "it has no n_features_in_");
  s->set_features(n);
  return s;
}

class BinarizerTransform : public NumberTransform {
 public:
  double threshold = 0;
  BinarizerTransform() { take = Take::finite; }
  [[nodiscard]] bool takes_sparse() const override { return threshold >= 0; }

 protected:
  [[nodiscard]] Result<Frame> compute(Frame f) const override {
    each_cell(f, [&](double v, std::size_t) { return v > threshold ? 1.0 : 0.0; });
    return f;
  }
};

Result<EstimatorPtr> make_binarizer(Build& b, NodeId id) {
  auto s = std::make_unique<BinarizerTransform>();
  s->threshold = b.number_or(id, "threshold", 0);
  MR_TRY(auto n, feature_count(b, id));
  if (n == 0) return b.bad(id, "it has no n_features_in_");
  s->set_features(n);
  return s;
}

// --- PowerTransformer ---

double box_cox(double v, double lambda) {
  if (std::fabs(lambda) < 1e-19) return std::log(v);
  return std::expm1(lambda * std::log(v)) / lambda;
}

double yeo_johnson(double v, double lambda) {
  constexpr double eps = 2.220446049250313e-16;
  if (v >= 0) return std::fabs(lambda) < eps ? std::log1p(v) : std::expm1(lambda * std::log1p(v)) / lambda;
  if (std::fabs(lambda - 2) > eps) return -std::expm1((2 - lambda) * std::log1p(-v)) / (2 - lambda);
  return -std::log1p(-v);
}

class PowerTransform : public NumberTransform {
 public:
  bool positive = false;  // box-cox
  bool standardize = false;
  std::vector<double> lambdas, mean, scale, mean32, scale32;
  bool round_statistics = false;

 protected:
  [[nodiscard]] Result<Frame> compute(Frame f) const override {
    if (positive)
      for (std::size_t i = 0; i < f.data.size(); ++i)
        if (f.data[i] <= 0)
          return fail(Code::invalid_argument,
                      fmt::format("column #{} has a value that is not above zero, which the Box-Cox transformation "
                                  "does not take",
                                  i % f.columns));
    each_cell(f, [&](double v, std::size_t c) {
      if (std::isnan(lambdas[c]) || std::isnan(v)) return v;
      return positive ? box_cox(v, lambdas[c]) : yeo_johnson(v, lambdas[c]);
    });
    if (standardize) {
      const bool rounded = f.f32 && round_statistics;
      const double* m = (rounded ? mean32 : mean).data();
      const double* s = (rounded ? scale32 : scale).data();
      each_cell(f, [&](double v, std::size_t c) { return v - m[c]; });
      each_cell(f, [&](double v, std::size_t c) { return v / s[c]; });
    }
    return f;
  }
};

Result<EstimatorPtr> make_power(Build& b, NodeId id) {
  auto s = std::make_unique<PowerTransform>();
  auto at = b.tree.get(id, "lambdas_");
  if (b.tree.is_none(at)) return b.bad(id, "it has no lambdas_: is it fitted?");
  MR_TRY(s->lambdas, numbers_at(b.tree, at));
  const auto n = s->lambdas.size();
  auto method = b.text_or(id, "method", "yeo-johnson");
  if (method != "yeo-johnson" && method != "box-cox")
    return b.bad(id, fmt::format("method '{}' is not read", printable(method)));
  s->positive = method == "box-cox";
  s->standardize = b.flag_or(id, "standardize", true);
  if (s->standardize) {
    auto scaler = b.tree.get(id, "_scaler");
    if (b.tree.is_none(scaler)) return b.bad(id, "it has no _scaler: is it fitted?");
    MR_TRY(s->mean, values_of(b, scaler, "mean_", n));
    MR_TRY(s->scale, values_of(b, scaler, "scale_", n));
    s->round_statistics = b.version_of(id) >= kVersion18;
    s->mean32 = in_f32(s->mean);
    s->scale32 = in_f32(s->scale);
  }
  s->set_features(n);
  return s;
}

// --- QuantileTransformer ---

// Piecewise linear through (xs, ys), xs ascending, constant beyond; as numpy.interp, ties to the last of equal xs.
double interpolate(double x, std::span<const double> xs, std::span<const double> ys) {
  if (x > xs.back()) return ys.back();
  if (x < xs.front()) return ys.front();
  auto j = static_cast<std::size_t>(std::upper_bound(xs.begin(), xs.end(), x) - xs.begin());
  if (j == 0) return ys.front();
  if (j == xs.size()) return ys.back();
  --j;
  if (xs[j] == x) return ys[j];
  double slope = (ys[j + 1] - ys[j]) / (xs[j + 1] - xs[j]);
  double y = slope * (x - xs[j]) + ys[j];
  if (std::isnan(y)) {
    y = slope * (x - xs[j + 1]) + ys[j + 1];
    if (std::isnan(y) && ys[j] == ys[j + 1]) y = ys[j];
  }
  return y;
}

// The quantile function of the normal distribution: a coarse guess, and Halley's steps on the complementary error
// function of the nearer tail.
double normal_quantile(double p) {
  if (!(p > 0 && p < 1)) return p == 0 ? -INFINITY : p == 1 ? INFINITY : std::nan("");
  const bool upper = p > 0.5;
  double q = upper ? 1 - p : p;
  double t = std::sqrt(-2 * std::log(q));
  double z = t - 2.3 / (1 + 0.3 * t) * 0.9;  // distance below zero, roughly
  z = std::max(z, 0.0);
  for (int i = 0; i < 60; ++i) {
    double error = 0.5 * std::erfc(z / std::numbers::sqrt2) - q;
    double density = std::exp(-z * z / 2) / std::sqrt(2 * std::numbers::pi);
    double u = -error / density;  // Newton's step is z - u
    double step = u / (1 - z * u / 2);
    if (!std::isfinite(step)) step = u;
    z -= step;
    if (std::fabs(step) <= 1e-16 * (1 + std::fabs(z))) break;
  }
  return upper ? z : -z;
}

class QuantileTransform : public NumberTransform {
 public:
  bool normal = false;
  std::vector<double> references;
  std::vector<double> back_references;  // negated, last first
  // By columns: quantiles ascending, and negated, last first.
  std::vector<double> forward, backward;
  double low = 0;
  double high = 0;
  [[nodiscard]] bool takes_sparse() const override { return true; }

 protected:
  [[nodiscard]] Result<Frame> compute(Frame f) const override {
    each_cell(f, [&](double v, std::size_t c) { return one(v, c); });
    return f;
  }

 private:
  [[nodiscard]] double one(double v, std::size_t c) const {
    if (std::isnan(v)) return v;
    constexpr double margin = 1e-7;
    const auto q = references.size();
    std::span<const double> xs(forward.data() + c * q, q);
    std::span<const double> reversed(backward.data() + c * q, q);
    const bool at_low = normal ? v - margin < xs.front() : v == xs.front();
    const bool at_high = normal ? v + margin > xs.back() : v == xs.back();
    double y = 0.5 * (interpolate(v, xs, references) - interpolate(-v, reversed, back_references));
    if (at_high) y = 1;
    if (at_low) y = 0;
    if (!normal) return y;
    if (y <= 0) return low;
    if (y >= 1) return high;
    return std::clamp(normal_quantile(y), low, high);
  }
};

Result<EstimatorPtr> make_quantile(Build& b, NodeId id) {
  auto s = std::make_unique<QuantileTransform>();
  MR_TRY(auto quantiles, b.array(id, "quantiles_"));
  if (quantiles.shape.size() != 2 || quantiles.numbers.empty()) return b.bad(id, "quantiles_ has not two dimensions");
  const auto q = static_cast<std::size_t>(quantiles.shape[0]);
  const auto n = static_cast<std::size_t>(quantiles.shape[1]);
  MR_TRY(s->references, values_of(b, id, "references_", q));
  if (!std::ranges::is_sorted(s->references)) return b.bad(id, "references_ is not in order");
  s->forward.resize(n * q);
  s->backward.resize(n * q);
  for (std::size_t c = 0; c < n; ++c)
    for (std::size_t i = 0; i < q; ++i) {
      double v = quantiles.numbers[i * n + c];
      s->forward[c * q + i] = v;
      s->backward[c * q + (q - 1 - i)] = -v;
    }
  s->back_references.resize(q);
  for (std::size_t i = 0; i < q; ++i) s->back_references[q - 1 - i] = -s->references[i];
  auto distribution = b.text_or(id, "output_distribution", "uniform");
  if (distribution != "uniform" && distribution != "normal")
    return b.bad(id, fmt::format("output_distribution '{}' is not read", printable(distribution)));
  s->normal = distribution == "normal";
  constexpr double edge = 1e-7 - 2.220446049250313e-16;
  s->low = normal_quantile(edge);
  s->high = normal_quantile(1 - edge);
  s->set_features(n);
  return s;
}

}  // namespace

void add_scalers_of_columns(Makers& m) {
  m["sklearn*StandardScaler"] = make_standard;
  m["sklearn*RobustScaler"] = make_robust;
  m["sklearn*MaxAbsScaler"] = make_max_abs;
  m["sklearn*MinMaxScaler"] = make_min_max;
  m["sklearn*Normalizer"] = make_normalizer;
  m["sklearn*Binarizer"] = make_binarizer;
  m["sklearn*PowerTransformer"] = make_power;
  m["sklearn*QuantileTransformer"] = make_quantile;
}

}  // namespace mr::serving
