// LatentDirichletAllocation: the topics of a row of counts, by the fixed point of its variational distribution. When it
// stops depends on the row alone.
#include "serving/engines/rows.h"
#include "serving/engines/transform.h"

namespace mr::serving {

namespace {

// scikit-learn's own approximation of the digamma function, to its last digit.
double topic_psi(double x) {
  if (x <= 1e-6) return -0.5772156649015329 - 1 / x;
  double sum = 0;
  for (; x < 6; x += 1) sum -= 1 / x;
  double r = 1 / x;
  sum += std::log(x) - 0.5 * r;
  r = r * r;
  return sum - r * ((1.0 / 12.0) - r * ((1.0 / 120.0) - r * (1.0 / 252.0)));
}

class Topics : public NumberTransform {
 public:
  std::size_t k = 0;
  std::vector<double> words;  // features x topics
  double prior = 1;
  double tolerance = 1e-3;
  int iterations = 100;
  Topics() { take = Take::finite; }
  [[nodiscard]] bool takes_sparse() const override { return true; }

 protected:
  [[nodiscard]] Result<Frame> compute(Frame f) const override {
    if (k != 0 && f.rows > kMaxCells / k) return fail(Code::too_large, "the rows give more numbers than are made");
    const double epsilon = f.f32 ? 1.1920928955078125e-07 : 2.220446049250313e-16;
    Frame out = frame_of(f.rows, k, {});
    out.f32 = f.f32;
    std::vector<std::uint32_t> ids;
    std::vector<double> counts;
    for (std::size_t r = 0; r < f.rows; ++r) {
      ids.clear();
      counts.clear();
      const auto from = f.sparse ? f.starts[r] : r * f.columns;
      const auto to = f.sparse ? f.starts[r + 1] : from + f.columns;
      for (auto i = from; i < to; ++i) {
        const double v = f.sparse ? f.values[i] : f.data[i];
        const auto column = f.sparse ? f.indices[i] : static_cast<std::uint32_t>(i - from);
        if (v < 0) return at_column(column, "has a value below zero, which LatentDirichletAllocation does not take");
        if (v == 0 && !f.sparse) continue;
        ids.push_back(column);
        counts.push_back(v);
      }
      topics(ids, counts, epsilon, out.data);
    }
    if (out.f32)
      for (auto& v : out.data) v = to_f32(v);
    return out;
  }

 private:
  void topics(const std::vector<std::uint32_t>& ids, const std::vector<double>& counts, double epsilon,
              std::vector<double>& out) const {
    std::vector<double> now(k, 1.0);
    std::vector<double> weight(k, std::exp(topic_psi(1) - topic_psi(static_cast<double>(k))));
    std::vector<double> next(k);
    for (int n = 0; n < iterations; ++n) {
      std::fill(next.begin(), next.end(), 0.0);
      for (std::size_t i = 0; i < ids.size(); ++i) {
        std::span<const double> word(words.data() + ids[i] * k, k);
        const double share = counts[i] / (dot(weight, word) + epsilon);
        for (std::size_t t = 0; t < k; ++t) next[t] += share * word[t];
      }
      double sum = 0;
      for (std::size_t t = 0; t < k; ++t) sum += next[t] = weight[t] * next[t] + prior;
      const double all = topic_psi(sum);
      double change = 0;
      for (std::size_t t = 0; t < k; ++t) {
        weight[t] = std::exp(topic_psi(next[t]) - all);
        change += std::abs(now[t] - next[t]);
      }
      std::swap(now, next);
      if (change / static_cast<double>(k) < tolerance) break;
    }
    double sum = 0;
    for (double v : now) sum += v;
    for (double v : now) out.push_back(v / sum);
  }
};

Result<EstimatorPtr> make_topics(Build& b, NodeId id) {
  auto m = std::make_unique<Topics>();
  MR_TRY(auto a, b.array(id, "exp_dirichlet_component_"));
  if (a.shape.size() != 2 || a.numbers.empty()) return b.bad(id, "exp_dirichlet_component_ has not two dimensions");
  m->k = static_cast<std::size_t>(a.shape[0]);
  const auto n = static_cast<std::size_t>(a.shape[1]);
  m->words.resize(a.numbers.size());
  for (std::size_t t = 0; t < m->k; ++t)
    for (std::size_t c = 0; c < n; ++c) {
      const double v = a.numbers[t * n + c];
      if (!(v >= 0) || !std::isfinite(v)) return b.bad(id, "exp_dirichlet_component_ has a value below zero");
      m->words[c * m->k + t] = v;
    }
  MR_TRY(m->prior, b.number(id, "doc_topic_prior_"));
  if (!(m->prior > 0)) return b.bad(id, "doc_topic_prior_ is not above zero");
  m->tolerance = b.number_or(id, "mean_change_tol", 1e-3);
  m->iterations = static_cast<int>(std::clamp(b.number_or(id, "max_doc_update_iter", 100), 0.0, 1e4));
  m->set_features(n);
  return m;
}

}  // namespace

void add_topics(Makers& m) { m["sklearn*LatentDirichletAllocation"] = make_topics; }

}  // namespace mr::serving
