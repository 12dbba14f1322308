// Rows onto fewer axes: PCA, IncrementalPCA, TruncatedSVD, FastICA, GaussianRandomProjection, and NMF by coordinate
// descent.
#include "serving/engines/transform.h"

namespace mr::serving {

namespace {

constexpr int kCentredAfter = 1005;  // PCA: the mean is taken off after the projection

// (x - mean) times the axes, over a scale.
class Projection : public NumberTransform {
 public:
  std::size_t k = 0;
  std::vector<double> axes;    // features x k, so that the inner loop runs over outputs
  std::vector<double> mean;    // taken off before, or empty
  std::vector<double> offset;  // taken off after, of each output, or empty
  std::vector<double> scale;   // or empty
  bool f32_axes = false;
  Projection() { take = Take::finite; }
  [[nodiscard]] bool takes_sparse() const override { return mean.empty(); }

 protected:
  [[nodiscard]] Result<Frame> compute(Frame f) const override {
    Frame out;
    out.rows = f.rows;
    out.columns = k;
    out.f32 = f.f32 && f32_axes;
    out.data.resize(out.rows * k);
    for (std::size_t r = 0; r < f.rows; ++r) {
      double* to = out.data.data() + r * k;
      auto add = [&](double v, std::size_t column) {
        const double* axis = axes.data() + column * k;
        for (std::size_t j = 0; j < k; ++j) to[j] += v * axis[j];
      };
      if (f.sparse) {
        for (auto i = f.starts[r]; i < f.starts[r + 1]; ++i) add(f.values[i], f.indices[i]);
      } else {
        const double* x = f.data.data() + r * f.columns;
        if (mean.empty())
          for (std::size_t c = 0; c < f.columns; ++c) add(x[c], c);
        else
          for (std::size_t c = 0; c < f.columns; ++c) add(x[c] - mean[c], c);
      }
      if (!offset.empty())
        for (std::size_t j = 0; j < k; ++j) to[j] -= offset[j];
      if (!scale.empty())
        for (std::size_t j = 0; j < k; ++j) to[j] /= scale[j];
      if (out.f32)
        for (std::size_t j = 0; j < k; ++j) to[j] = to_f32(to[j]);
    }
    return out;
  }
};

// components_, rows of `features` each, turned. Sets the sizes.
Result<> read_axes(const Build& b, NodeId id, Projection& p) {
  MR_TRY(auto a, b.array(id, "components_"));
  if (a.shape.size() != 2 || a.numbers.empty()) return b.bad(id, "components_ has not two dimensions");
  for (double v : a.numbers)
    if (!std::isfinite(v)) return b.bad(id, "components_ is not finite");
  p.k = static_cast<std::size_t>(a.shape[0]);
  const auto n = static_cast<std::size_t>(a.shape[1]);
  p.f32_axes = a.itemsize == 4;
  p.axes.resize(a.numbers.size());
  for (std::size_t j = 0; j < p.k; ++j)
    for (std::size_t c = 0; c < n; ++c) p.axes[c * p.k + j] = a.numbers[j * n + c];
  p.set_features(n);
  return {};
}

Result<EstimatorPtr> make_pca(Build& b, NodeId id) {
  auto p = std::make_unique<Projection>();
  MR_CHECK(read_axes(b, id, *p));
  std::vector<double> mean;
  if (!b.tree.is_none(b.tree.get(id, "mean_"))) {
    MR_TRY(mean, values_of(b, id, "mean_", p->features()));
  }
  if (!mean.empty() && b.version_of(id) >= kCentredAfter) {
    p->offset.assign(p->k, 0.0);
    for (std::size_t c = 0; c < mean.size(); ++c)
      for (std::size_t j = 0; j < p->k; ++j) p->offset[j] += mean[c] * p->axes[c * p->k + j];
  } else {
    p->mean = std::move(mean);
  }
  if (b.flag_or(id, "whiten", false)) {
    MR_TRY(p->scale, values_of(b, id, "explained_variance_", p->k));
    for (auto& v : p->scale) {
      v = std::sqrt(v);
      if (b.version_of(id) >= kCentredAfter)
        v = std::max(v, p->f32_axes ? 1.1920928955078125e-07 : 2.220446049250313e-16);
    }
  }
  return p;
}

Result<EstimatorPtr> make_projection(Build& b, NodeId id) {
  auto p = std::make_unique<Projection>();
  MR_CHECK(read_axes(b, id, *p));
  return p;
}

Result<EstimatorPtr> make_ica(Build& b, NodeId id) {
  auto p = std::make_unique<Projection>();
  MR_CHECK(read_axes(b, id, *p));
  if (!b.tree.is_none(b.tree.get(id, "mean_"))) {
    MR_TRY(p->mean, values_of(b, id, "mean_", p->features()));
  }
  return p;
}

// --- NMF ---

// Weights of the parts that make up each row, none below zero, by coordinate descent from zero. When it stops depends
// on all rows together, as in the original.
class Factors : public NumberTransform {
 public:
  std::size_t k = 0;
  std::vector<double> parts;  // features x k
  std::vector<double> gram;   // k x k, with the penalty
  double l1 = 0;
  double tolerance = 1e-4;
  int iterations = 200;
  Factors() { take = Take::finite; }
  [[nodiscard]] bool takes_sparse() const override { return true; }

 protected:
  [[nodiscard]] Result<Frame> compute(Frame f) const override {
    auto& all = f.sparse ? f.values : f.data;
    for (std::size_t i = 0; i < all.size(); ++i)
      if (all[i] < 0)
        return at_column(f.sparse ? f.indices[i] : i % f.columns, "has a value below zero, which NMF does not take");
    std::vector<double> target(f.rows * k, -l1);
    for (std::size_t r = 0; r < f.rows; ++r) {
      double* to = target.data() + r * k;
      auto add = [&](double v, std::size_t column) {
        for (std::size_t j = 0; j < k; ++j) to[j] += v * parts[column * k + j];
      };
      if (f.sparse)
        for (auto i = f.starts[r]; i < f.starts[r + 1]; ++i) add(f.values[i], f.indices[i]);
      else
        for (std::size_t c = 0; c < f.columns; ++c) add(f.data[r * f.columns + c], c);
    }
    Frame out;
    out.rows = f.rows;
    out.columns = k;
    out.f32 = f.f32;
    out.data.assign(out.rows * k, 0.0);
    double first = 0;
    for (int n = 0; n < iterations; ++n) {
      const double violation = sweep(target, out);
      if (n == 0) first = violation;
      if (first == 0 || violation / first <= tolerance) break;
    }
    if (out.f32)
      for (auto& v : out.data) v = to_f32(v);
    return out;
  }

 private:
  double sweep(const std::vector<double>& target, Frame& out) const {
    double violation = 0;
    for (std::size_t t = 0; t < k; ++t) {
      const double* g = gram.data() + t * k;
      for (std::size_t r = 0; r < out.rows; ++r) {
        double* w = out.data.data() + r * k;
        double gradient = -target[r * k + t];
        for (std::size_t j = 0; j < k; ++j) gradient += g[j] * w[j];
        violation += std::fabs(w[t] == 0 ? std::min(0.0, gradient) : gradient);
        if (g[t] != 0) w[t] = std::max(w[t] - gradient / g[t], 0.0);
      }
    }
    return violation;
  }
};

Result<EstimatorPtr> make_nmf(Build& b, NodeId id) {
  if (b.text_or(id, "solver", "cd") != "cd" || b.flag_or(id, "shuffle", false))
    return fail(Code::unimplemented, "NMF by another way than coordinate descent in order is not read natively");
  if (b.number_or(id, "alpha", 0) != 0)
    return fail(Code::unimplemented, "NMF with the alpha of old versions is not read natively");
  Projection axes;
  MR_CHECK(read_axes(b, id, axes));
  auto p = std::make_unique<Factors>();
  p->k = axes.k;
  p->parts = std::move(axes.axes);
  const auto n = axes.features();
  if (p->k > 4096) return b.bad(id, "it has more components than are read");
  const double alpha = b.number_or(id, "alpha_W", 0) * static_cast<double>(n);
  const double ratio = b.number_or(id, "l1_ratio", 0);
  p->l1 = alpha * ratio;
  p->tolerance = b.number_or(id, "tol", 1e-4);
  p->iterations = static_cast<int>(std::clamp(b.number_or(id, "max_iter", 200), 1.0, 1e5));
  p->gram.assign(p->k * p->k, 0.0);
  for (std::size_t c = 0; c < n; ++c)
    for (std::size_t i = 0; i < p->k; ++i)
      for (std::size_t j = 0; j < p->k; ++j) p->gram[i * p->k + j] += p->parts[c * p->k + i] * p->parts[c * p->k + j];
  for (std::size_t i = 0; i < p->k; ++i) p->gram[i * p->k + i] += alpha * (1 - ratio);
  p->set_features(n);
  return p;
}

}  // namespace

void add_decomposition(Makers& m) {
  m["sklearn*PCA"] = make_pca;
  m["sklearn*IncrementalPCA"] = make_pca;
  m["sklearn*TruncatedSVD"] = make_projection;
  m["sklearn*GaussianRandomProjection"] = make_projection;
  m["sklearn*FastICA"] = make_ica;
  m["sklearn*NMF"] = make_nmf;
  add_selectors(m);
  add_kernel_maps(m);
  add_maps(m);
  add_topics(m);
}

}  // namespace mr::serving
