// Rows to features by an axis and one step more: sparse random projections, factor analysis, learnt neighbourhoods, the
// scores of PLSSVD, Boltzmann machines, sampled chi-squared kernels, and columns joined by their mean.
#include "serving/engines/matrix.h"
#include "serving/engines/rows.h"
#include "serving/engines/transform.h"

namespace mr::serving {

namespace {

// What is done to a value before it meets the axes, and to a sum after.
enum class MapStep : std::uint8_t { none, logarithm, logistic, cosine };

// after((before(x) - mean) / spread . axes + offset)
class AxesMap : public NumberTransform {
 public:
  std::size_t k = 0;
  std::vector<double> axes;    // features x k
  std::vector<double> mean;    // or empty
  std::vector<double> spread;  // or empty
  std::vector<double> offset;  // of each output, or empty
  MapStep before = MapStep::none;
  MapStep after = MapStep::none;
  double skew = 0;    // added before the logarithm
  double height = 1;  // of the cosine
  bool f32 = false;   // axes are of 32 bits: their results are so for rows that are
  AxesMap() { take = Take::finite; }

 protected:
  [[nodiscard]] Result<Frame> compute(Frame f) const override {
    if (k != 0 && f.rows > kMaxCells / k) return fail(Code::too_large, "the rows give more numbers than are made");
    Frame out = frame_of(f.rows, k, std::vector<double>(f.rows * k, 0.0));
    out.f32 = f.f32 && f32;
    for (std::size_t r = 0; r < f.rows; ++r) {
      double* to = out.data.data() + r * k;
      for (std::size_t c = 0; c < f.columns; ++c) {
        double v = f.data[r * f.columns + c];
        if (before == MapStep::logarithm) {
          if (v <= -skew) return at_column(c, "has a value that is not above -skewedness, which this model needs");
          v = std::log(v + skew);
        }
        if (!mean.empty()) v -= mean[c];
        if (!spread.empty()) v /= spread[c];
        if (v == 0) continue;
        const double* axis = axes.data() + c * k;
        for (std::size_t j = 0; j < k; ++j) to[j] += v * axis[j];
      }
      for (std::size_t j = 0; j < k; ++j) {
        if (!offset.empty()) to[j] += offset[j];
        if (after == MapStep::logistic) to[j] = expit(to[j]);
        if (after == MapStep::cosine) to[j] = std::cos(to[j]) * height;
        if (out.f32) to[j] = to_f32(to[j]);
      }
    }
    return out;
  }
};

// An attribute of k rows of the features (or, `turned`, of features rows) as axes. Sets the sizes.
Result<> axes_of(const Build& b, NodeId id, std::string_view attribute, AxesMap& m, bool turned = false) {
  MR_TRY(auto given, read_matrix(b, id, attribute));
  m.k = turned ? given.columns : given.rows;
  const auto n = turned ? given.rows : given.columns;
  if (m.k == 0 || n == 0 || m.k > kMaxCells / n) return b.bad(id, fmt::format("{} is empty or too large", attribute));
  m.axes.assign(n * m.k, 0.0);
  auto put = [&](std::size_t r, std::size_t c, double v) { m.axes[turned ? r * m.k + c : c * m.k + r] += v; };
  for (std::size_t r = 0; r < given.rows; ++r) {
    if (given.sparse)
      for (auto i = given.starts[r]; i < given.starts[r + 1]; ++i) put(r, given.indices[i], given.data[i]);
    else
      for (std::size_t c = 0; c < given.columns; ++c) put(r, c, given.row(r)[c]);
  }
  m.set_features(n);
  return {};
}

Result<EstimatorPtr> make_axes(Build& b, NodeId id) {
  auto m = std::make_unique<AxesMap>();
  MR_CHECK(axes_of(b, id, "components_", *m));
  return m;
}

// The inverse of a small matrix of n x n, by elimination; empty where it has none.
std::vector<double> inverted(std::vector<double> a, std::size_t n) {
  std::vector<double> out(n * n, 0.0);
  for (std::size_t i = 0; i < n; ++i) out[i * n + i] = 1;
  for (std::size_t c = 0; c < n; ++c) {
    std::size_t top = c;
    for (std::size_t r = c + 1; r < n; ++r)
      if (std::abs(a[r * n + c]) > std::abs(a[top * n + c])) top = r;
    if (!(std::abs(a[top * n + c]) > 0) || !std::isfinite(a[top * n + c])) return {};
    for (std::size_t j = 0; j < n; ++j) {
      std::swap(a[c * n + j], a[top * n + j]);
      std::swap(out[c * n + j], out[top * n + j]);
    }
    const double pivot = a[c * n + c];
    for (std::size_t j = 0; j < n; ++j) {
      a[c * n + j] /= pivot;
      out[c * n + j] /= pivot;
    }
    for (std::size_t r = 0; r < n; ++r) {
      const double by = a[r * n + c];
      if (r == c || by == 0) continue;
      for (std::size_t j = 0; j < n; ++j) {
        a[r * n + j] -= by * a[c * n + j];
        out[r * n + j] -= by * out[c * n + j];
      }
    }
  }
  return out;
}

Result<EstimatorPtr> make_factor_analysis(Build& b, NodeId id) {
  auto m = std::make_unique<AxesMap>();
  MR_CHECK(axes_of(b, id, "components_", *m));
  const auto n = m->features();
  const auto k = m->k;
  if (k > 512) return b.bad(id, "it has more components than are read");
  MR_TRY(m->mean, values_of(b, id, "mean_", n));
  MR_TRY(auto noise, values_of(b, id, "noise_variance_", n));
  std::vector<double> weighed(n * k);
  for (std::size_t c = 0; c < n; ++c)
    for (std::size_t j = 0; j < k; ++j) weighed[c * k + j] = m->axes[c * k + j] / noise[c];
  std::vector<double> precision(k * k, 0.0);
  for (std::size_t i = 0; i < k; ++i) precision[i * k + i] = 1;
  for (std::size_t c = 0; c < n; ++c)
    for (std::size_t i = 0; i < k; ++i)
      for (std::size_t j = 0; j < k; ++j) precision[i * k + j] += weighed[c * k + i] * m->axes[c * k + j];
  auto covariance = inverted(std::move(precision), k);
  if (covariance.empty()) return b.bad(id, "its components and noise_variance_ are not read");
  for (std::size_t c = 0; c < n; ++c)
    for (std::size_t j = 0; j < k; ++j) {
      double sum = 0;
      for (std::size_t i = 0; i < k; ++i) sum += weighed[c * k + i] * covariance[i * k + j];
      m->axes[c * k + j] = sum;
    }
  for (double v : m->axes)
    if (!std::isfinite(v)) return b.bad(id, "its noise_variance_ is not read");
  return m;
}

Result<EstimatorPtr> make_pls_svd(Build& b, NodeId id) {
  auto m = std::make_unique<AxesMap>();
  MR_CHECK(axes_of(b, id, "x_weights_", *m, true));
  MR_TRY(m->mean, b.numbers(id, b.tree.is_none(b.tree.get(id, "_x_mean")) ? "x_mean_" : "_x_mean"));
  MR_TRY(m->spread, b.numbers(id, b.tree.is_none(b.tree.get(id, "_x_std")) ? "x_std_" : "_x_std"));
  if (m->mean.size() != m->features() || m->spread.size() != m->features())
    return b.bad(id, "x_weights_ and its means do not fit each other");
  return m;
}

Result<EstimatorPtr> make_boltzmann(Build& b, NodeId id) {
  auto m = std::make_unique<AxesMap>();
  MR_CHECK(axes_of(b, id, "components_", *m));
  MR_TRY(m->offset, b.numbers(id, "intercept_hidden_"));
  if (m->offset.size() != m->k) return b.bad(id, "components_ and intercept_hidden_ do not fit each other");
  if (auto a = b.tree.array_of(b.tree.get(id, "components_")); a) m->f32 = a->itemsize == 4;
  m->after = MapStep::logistic;
  return m;
}

Result<EstimatorPtr> make_skewed(Build& b, NodeId id) {
  auto m = std::make_unique<AxesMap>();
  MR_CHECK(axes_of(b, id, "random_weights_", *m, true));
  MR_TRY(m->offset, b.numbers(id, "random_offset_"));
  if (m->offset.size() != m->k) return b.bad(id, "random_weights_ and random_offset_ do not fit each other");
  m->before = MapStep::logarithm;
  m->after = MapStep::cosine;
  m->skew = b.number_or(id, "skewedness", 1);
  m->height = std::sqrt(2.0) / std::sqrt(static_cast<double>(m->k));
  if (auto a = b.tree.array_of(b.tree.get(id, "random_weights_")); a) m->f32 = a->itemsize == 4;
  return m;
}

// Columns of one cluster become their mean.
class JoinedColumns : public NumberTransform {
 public:
  std::vector<std::size_t> cluster;  // of each column
  std::vector<double> size;
  JoinedColumns() { take = Take::finite; }

 protected:
  [[nodiscard]] Result<Frame> compute(Frame f) const override {
    Frame out = frame_of(f.rows, size.size(), std::vector<double>(f.rows * size.size(), 0.0));
    for (std::size_t r = 0; r < f.rows; ++r) {
      double* to = out.data.data() + r * size.size();
      for (std::size_t c = 0; c < f.columns; ++c) to[cluster[c]] += f.data[r * f.columns + c];
      for (std::size_t j = 0; j < size.size(); ++j) to[j] /= size[j];
    }
    return out;
  }
};

Result<EstimatorPtr> make_joined(Build& b, NodeId id) {
  const auto& t = b.tree;
  auto func = t.get(id, "pooling_func");
  if (func != kNoNode && (t.at(func).kind != NodeKind::symbol || !t.at(func).text.ends_with(".mean")))
    return fail(Code::unimplemented, "FeatureAgglomeration by another function than numpy.mean is not read natively");
  auto m = std::make_unique<JoinedColumns>();
  MR_TRY(auto of, b.numbers(id, "labels_"));
  for (double v : of) {
    if (!(v >= 0) || v >= static_cast<double>(of.size()) || v != std::floor(v))
      return b.bad(id, "labels_ names a cluster that is not there");
    m->cluster.push_back(static_cast<std::size_t>(v));
    m->size.resize(std::max(m->size.size(), m->cluster.back() + 1), 0.0);
    m->size[m->cluster.back()] += 1;
  }
  if (m->cluster.empty() || std::ranges::count(m->size, 0.0) != 0) return b.bad(id, "labels_ leaves out a cluster");
  m->set_features(m->cluster.size());
  return m;
}

}  // namespace

void add_maps(Makers& m) {
  m["sklearn*SparseRandomProjection"] = make_axes;
  m["sklearn*NeighborhoodComponentsAnalysis"] = make_axes;
  m["sklearn*FactorAnalysis"] = make_factor_analysis;
  m["sklearn*PLSSVD"] = make_pls_svd;
  m["sklearn*BernoulliRBM"] = make_boltzmann;
  m["sklearn*SkewedChi2Sampler"] = make_skewed;
  m["sklearn*FeatureAgglomeration"] = make_joined;
}

}  // namespace mr::serving
