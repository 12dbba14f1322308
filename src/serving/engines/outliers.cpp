// Outliers by their distance from an ellipse, or by how thinly rows are sown around them: EllipticEnvelope,
// LocalOutlierFactor (novelty=True). 1 is an inlier, -1 an outlier.
#include "serving/engines/matrix.h"
#include "serving/engines/metric.h"
#include "serving/engines/rows.h"

namespace mr::serving {

namespace {

class Outliers : public Estimator {
 public:
  double offset = 0;
  [[nodiscard]] Result<Output> predict(const Frame& in) const override {
    MR_TRY(auto f, decision_function(in));
    for (auto& v : f.data) v = v < 0 ? -1 : 1;
    auto out = numbers_of(in.rows, 1, std::move(f.data));
    out.type = DataType::int64;
    return out;
  }
};

class Ellipse : public Outliers {
 public:
  std::vector<double> centre;
  Matrix precision;

  [[nodiscard]] std::size_t features() const override { return centre.size(); }
  [[nodiscard]] Result<Frame> decision_function(const Frame& in) const override {
    MR_CHECK(check_numbers(in, features()));
    const auto n = features();
    std::vector<double> out;
    std::vector<double> away(n);
    for (std::size_t r = 0; r < in.rows; ++r) {
      for (std::size_t i = 0; i < n; ++i) away[i] = in.data[r * n + i] - centre[i];
      double sum = 0;
      for (std::size_t i = 0; i < n; ++i) sum += away[i] * dot(precision.row(i), away);
      out.push_back(-sum - offset);
    }
    return frame_of(in.rows, 1, std::move(out));
  }
};

Result<EstimatorPtr> make_ellipse(Build& b, NodeId id) {
  auto e = std::make_unique<Ellipse>();
  MR_TRY(e->centre, b.numbers(id, "location_"));
  if (b.tree.is_none(b.tree.get(id, "precision_")))
    return fail(Code::unimplemented, "EllipticEnvelope without its precision_ is not read natively");
  MR_TRY(e->precision, read_dense(b, id, "precision_"));
  MR_TRY(e->offset, b.number(id, "offset_"));
  if (e->centre.empty() || e->precision.rows != e->centre.size() || e->precision.columns != e->centre.size())
    return b.bad(id, "location_ and precision_ do not fit each other");
  return e;
}

class LocalDensity : public Outliers {
 public:
  Fitted fitted;
  std::vector<double> reach;    // of each stored row, the distance of its last neighbour
  std::vector<double> density;  // of each stored row

  [[nodiscard]] std::size_t features() const override { return fitted.x.columns; }
  [[nodiscard]] bool takes_sparse() const override { return true; }
  [[nodiscard]] Result<Frame> decision_function(const Frame& in) const override {
    MR_CHECK(check_numbers(in, features()));
    Rows rows(in);
    std::vector<double> out;
    const auto k = static_cast<double>(fitted.count);
    for (std::size_t r = 0; r < in.rows; ++r) {
      auto near = fitted.near(rows[r]);
      double far = 0;
      double dense = 0;
      for (const auto& n : near) far += std::max(n.distance, reach[n.row]);
      const double own = 1 / (far / k + 1e-10);
      for (const auto& n : near) dense += density[n.row] / own;
      out.push_back(-dense / k - offset);
    }
    return frame_of(in.rows, 1, std::move(out));
  }
};

Result<EstimatorPtr> make_local_density(Build& b, NodeId id) {
  if (!b.flag_or(id, "novelty", false)) return b.bad(id, "without novelty=True it does not predict");
  auto e = std::make_unique<LocalDensity>();
  MR_TRY(e->fitted.metric, Metric::read(b, id, "effective_metric_", "effective_metric_params_"));
  MR_TRY(e->fitted.x, read_matrix(b, id, "_fit_X"));
  MR_TRY(auto distances, read_dense(b, id, "_distances_fit_X_"));
  MR_TRY(e->density, b.numbers(id, "_lrd"));
  MR_TRY(e->offset, b.number(id, "offset_"));
  MR_TRY(auto k, b.number(id, "n_neighbors_"));
  const auto rows = e->fitted.x.rows;
  if (!(k >= 1) || k > static_cast<double>(rows) || k > static_cast<double>(distances.columns) ||
      distances.rows != rows || e->density.size() != rows || e->fitted.x.columns == 0)
    return b.bad(id, "_fit_X, _distances_fit_X_ and _lrd do not fit each other");
  e->fitted.count = static_cast<std::size_t>(k);
  for (std::size_t r = 0; r < rows; ++r) e->reach.push_back(distances.row(r)[e->fitted.count - 1]);
  return e;
}

}  // namespace

void add_outliers(Makers& makers) {
  makers["sklearn*EllipticEnvelope"] = make_ellipse;
  makers["sklearn*LocalOutlierFactor"] = make_local_density;
}

}  // namespace mr::serving
