// Rows to features by kernels: KernelPCA, Nystroem, RBFSampler.
#include "serving/engines/pairwise.h"
#include "serving/engines/transform.h"

namespace mr::serving {

namespace {

// Kernels with stored rows, centred or not, times weights.
class KernelMap : public NumberTransform {
 public:
  Kernel kernel;
  Matrix stored;
  std::size_t k = 0;
  std::vector<double> weights;  // stored rows x k
  bool centred = false;
  std::vector<double> row_means;  // of the kernel at training
  double mean = 0;
  KernelMap() { take = Take::finite; }

 protected:
  [[nodiscard]] Result<Frame> compute(Frame f) const override {
    Frame out;
    out.rows = f.rows;
    out.columns = k;
    out.f32 = f.f32;
    out.data.resize(out.rows * k);
    std::vector<double> near(stored.rows);
    for (std::size_t r = 0; r < f.rows; ++r) {
      std::span<const double> x(f.data.data() + r * f.columns, f.columns);
      double squares = 0;
      for (double v : x) squares += v * v;
      double sum = 0;
      for (std::size_t i = 0; i < stored.rows; ++i) sum += near[i] = kernel(x, squares, stored, i);
      if (centred) {
        sum /= static_cast<double>(stored.rows);
        for (std::size_t i = 0; i < stored.rows; ++i) near[i] = near[i] - row_means[i] - sum + mean;
      }
      double* to = out.data.data() + r * k;
      for (std::size_t i = 0; i < stored.rows; ++i)
        for (std::size_t j = 0; j < k; ++j) to[j] += near[i] * weights[i * k + j];
      if (out.f32)
        for (std::size_t j = 0; j < k; ++j) to[j] = to_f32(to[j]);
    }
    return out;
  }
};

Result<> read_kernel(const Build& b, NodeId id, KernelMap& m, std::string_view rows) {
  MR_TRY(m.kernel.kind, kernel_kind(b, id));
  MR_TRY(m.stored, read_matrix(b, id, rows));
  if (m.stored.rows == 0 || m.stored.columns == 0) return b.bad(id, fmt::format("{} is empty", rows));
  m.kernel.gamma = b.number_or(id, "gamma_", b.number_or(id, "gamma", 1 / static_cast<double>(m.stored.columns)));
  m.kernel.degree = b.number_or(id, "degree", 3);
  m.kernel.coef0 = b.number_or(id, "coef0", 1);
  m.set_features(m.stored.columns);
  return {};
}

Result<EstimatorPtr> make_kernel_pca(Build& b, NodeId id) {
  auto m = std::make_unique<KernelMap>();
  MR_CHECK(read_kernel(b, id, *m, "X_fit_"));
  MR_TRY(auto values, b.numbers(id, b.tree.get(id, "eigenvalues_") == kNoNode ? "lambdas_" : "eigenvalues_"));
  m->k = values.size();
  if (m->k == 0 || m->k > kMaxCells / m->stored.rows) return b.bad(id, "it has no eigenvalues, or more than are read");
  MR_TRY(m->weights, values_of(b, id, b.tree.get(id, "eigenvectors_") == kNoNode ? "alphas_" : "eigenvectors_",
                               m->stored.rows * m->k));
  for (std::size_t i = 0; i < m->weights.size(); ++i) {
    const double v = values[i % m->k];
    m->weights[i] = v == 0 ? 0 : m->weights[i] / std::sqrt(v);
  }
  auto centre = b.tree.get(id, "_centerer");
  if (b.tree.is_none(centre)) return b.bad(id, "it has no _centerer: is it fitted?");
  MR_TRY(m->row_means, values_of(b, centre, "K_fit_rows_", m->stored.rows));
  MR_TRY(m->mean, b.number(centre, "K_fit_all_"));
  m->centred = true;
  return m;
}

Result<EstimatorPtr> make_nystroem(Build& b, NodeId id) {
  auto m = std::make_unique<KernelMap>();
  MR_CHECK(read_kernel(b, id, *m, "components_"));
  m->k = m->stored.rows;
  if (m->k > 16384) return b.bad(id, "it has more components than are read");
  MR_TRY(auto turned, values_of(b, id, "normalization_", m->k * m->k));
  m->weights.resize(turned.size());
  for (std::size_t j = 0; j < m->k; ++j)
    for (std::size_t i = 0; i < m->k; ++i) m->weights[i * m->k + j] = turned[j * m->k + i];
  return m;
}

class Waves : public NumberTransform {
 public:
  std::size_t k = 0;
  std::vector<double> weights;  // features x k
  std::vector<double> offset;
  Waves() { take = Take::finite; }

 protected:
  [[nodiscard]] Result<Frame> compute(Frame f) const override {
    const double height = std::sqrt(2.0 / static_cast<double>(k));
    Frame out;
    out.rows = f.rows;
    out.columns = k;
    out.f32 = f.f32;
    out.data.resize(out.rows * k);
    for (std::size_t r = 0; r < f.rows; ++r) {
      double* to = out.data.data() + r * k;
      for (std::size_t c = 0; c < f.columns; ++c)
        for (std::size_t j = 0; j < k; ++j) to[j] += f.data[r * f.columns + c] * weights[c * k + j];
      for (std::size_t j = 0; j < k; ++j) {
        to[j] = std::cos(to[j] + offset[j]) * height;
        if (out.f32) to[j] = to_f32(to[j]);
      }
    }
    return out;
  }
};

Result<EstimatorPtr> make_waves(Build& b, NodeId id) {
  auto m = std::make_unique<Waves>();
  MR_TRY(m->offset, b.numbers(id, "random_offset_"));
  m->k = m->offset.size();
  MR_TRY(auto n, feature_count(b, id));
  if (n == 0 || m->k == 0 || m->k > kMaxCells / n) return b.bad(id, "it has no features, or more than are read");
  MR_TRY(m->weights, values_of(b, id, "random_weights_", n * m->k));
  m->set_features(n);
  return m;
}

}  // namespace

void add_kernel_maps(Makers& m) {
  m["sklearn*KernelPCA"] = make_kernel_pca;
  m["sklearn*Nystroem"] = make_nystroem;
  m["sklearn*RBFSampler"] = make_waves;
}

}  // namespace mr::serving
