// Clusters (k-means, by bisections too, and others that a row belongs to by the nearest of some points) and mixtures of
// normal distributions.
#include "serving/engines/matrix.h"
#include "serving/engines/rows.h"
#include "serving/engines/transform.h"

namespace mr::serving {

namespace {

class KMeansClusters : public Estimator {
 public:
  Matrix centres;
  bool f32 = false;
  bool transforms = true;
  std::vector<double> label_of;  // of each centre; empty: its number
  DataType type = DataType::int32;

  [[nodiscard]] std::size_t features() const override { return centres.columns; }
  [[nodiscard]] bool takes_sparse() const override { return true; }
  [[nodiscard]] Result<Output> predict(const Frame& in) const override {
    MR_TRY(auto d, squares(in));
    Output out = numbers_of(in.rows, 1, {});
    out.type = type;
    for (std::size_t r = 0; r < in.rows; ++r) {
      auto first = d.begin() + static_cast<std::ptrdiff_t>(r * centres.rows);
      auto best = std::min_element(first, first + static_cast<std::ptrdiff_t>(centres.rows)) - first;
      out.numbers.push_back(label_of.empty() ? static_cast<double>(best) : label_of[static_cast<std::size_t>(best)]);
    }
    return out;
  }
  [[nodiscard]] Result<Frame> transform(const Frame& in) const override {
    if (!transforms) return Estimator::transform(in);
    MR_TRY(auto d, squares(in));
    for (double& v : d) v = std::sqrt(v);
    auto out = frame_of(in.rows, centres.rows, std::move(d));
    out.f32 = f32 && in.f32;
    return out;
  }

 private:
  [[nodiscard]] Result<std::vector<double>> squares(const Frame& in) const {
    MR_CHECK(check_numbers(in, features()));
    if (in.rows > kMaxCells / centres.rows) return fail(Code::too_large, "the rows give more numbers than are made");
    Rows rows(in);
    std::vector<double> d(in.rows * centres.rows, 0.0);
    for (std::size_t r = 0; r < in.rows; ++r) {
      auto x = rows[r];
      for (std::size_t c = 0; c < centres.rows; ++c) {
        auto centre = centres.row(c);
        for (std::size_t i = 0; i < x.size(); ++i) d[r * centres.rows + c] += (x[i] - centre[i]) * (x[i] - centre[i]);
      }
    }
    return d;
  }
};

Result<EstimatorPtr> make_kmeans(Build& b, NodeId id) {
  auto e = std::make_unique<KMeansClusters>();
  MR_TRY(e->centres, read_dense(b, id, "cluster_centers_"));
  if (e->centres.rows == 0 || e->centres.columns == 0) return b.bad(id, "cluster_centers_ is empty");
  if (auto a = b.tree.array_of(b.tree.get(id, "cluster_centers_")); a) e->f32 = a->itemsize == 4;
  return e;
}

// MeanShift, AffinityPropagation: the nearest centre; Birch: the label of the nearest.
Result<EstimatorPtr> make_nearest(Build& b, NodeId id, std::string_view centres, std::string_view label_names) {
  auto e = std::make_unique<KMeansClusters>();
  MR_TRY(e->centres, read_dense(b, id, centres));
  if (e->centres.rows == 0 || e->centres.columns == 0) return b.bad(id, fmt::format("{} is empty", centres));
  e->type = DataType::int64;
  e->transforms = !label_names.empty();
  if (label_names.empty()) return e;
  MR_TRY(e->label_of, b.numbers(id, label_names));
  if (e->label_of.size() != e->centres.rows)
    return b.bad(id, fmt::format("{} and {} do not fit each other", centres, label_names));
  return e;
}

// AffinityPropagation that found no clusters: -1 for every row.
class NoClusters : public Estimator {
 public:
  std::size_t n = 0;
  [[nodiscard]] std::size_t features() const override { return n; }
  [[nodiscard]] Result<Output> predict(const Frame& in) const override {
    MR_CHECK(check_numbers(in, n));
    auto out = numbers_of(in.rows, 1, std::vector<double>(in.rows, -1));
    out.type = DataType::int64;
    return out;
  }
};

Result<EstimatorPtr> make_affinity(Build& b, NodeId id) {
  if (auto centres = b.tree.array_of(b.tree.get(id, "cluster_centers_")); centres && centres->size() == 0) {
    auto e = std::make_unique<NoClusters>();
    const double n = b.number_or(id, "n_features_in_", 0);
    if (!(n >= 1 && n <= 1e8)) return b.bad(id, "it does not say how many features it has");
    e->n = static_cast<std::size_t>(n);
    return e;
  }
  return make_nearest(b, id, "cluster_centers_", "");
}

// A tree of bisections: each inner node sends a row to the nearer of its two centres.
class Bisections : public Estimator {
 public:
  struct Half {
    std::vector<double> centre;
    int child[2] = {-1, -1};
    double label = 0;
  };
  std::vector<Half> nodes;  // the first is the root
  std::vector<double> mean;
  Matrix centres;

  [[nodiscard]] std::size_t features() const override { return centres.columns; }
  [[nodiscard]] Result<Output> predict(const Frame& in) const override {
    MR_CHECK(check_numbers(in, features()));
    Output out = numbers_of(in.rows, 1, {});
    out.type = DataType::int32;
    Rows rows(in);
    for (std::size_t r = 0; r < in.rows; ++r) {
      std::vector<double> x(rows[r].begin(), rows[r].end());
      for (std::size_t i = 0; i < mean.size(); ++i) x[i] -= mean[i];
      int at = 0;
      while (nodes[static_cast<std::size_t>(at)].child[0] >= 0) {
        const auto& n = nodes[static_cast<std::size_t>(at)];
        at = far(x, n.child[1]) < far(x, n.child[0]) ? n.child[1] : n.child[0];
      }
      out.numbers.push_back(nodes[static_cast<std::size_t>(at)].label);
    }
    return out;
  }
  [[nodiscard]] Result<Frame> transform(const Frame& in) const override {
    KMeansClusters plain;
    plain.centres = centres;
    return plain.transform(in);
  }
  // Children come after their parents, so that a walk ends.
  Result<int> add(const Build& b, NodeId owner, NodeId node, int depth) {
    const auto& t = b.tree;
    if (depth > 1000 || nodes.size() > 100'000) return b.bad(owner, "its tree is too deep or too large");
    const auto at = nodes.size();
    nodes.emplace_back();
    MR_TRY(auto centre, matrix_of(b, t.get(node, "center"), owner, "center"));
    if (centre.sparse || centre.data.size() != centres.columns) return b.bad(owner, "a centre does not fit");
    nodes[at].centre = std::move(centre.data);
    auto left = t.get(node, "left");
    auto right = t.get(node, "right");
    if (t.is_none(left) != t.is_none(right)) return b.bad(owner, "a node of its tree has one child");
    if (t.is_none(left)) {
      nodes[at].label = b.number_or(node, "label", 0);
      return static_cast<int>(at);
    }
    MR_TRY(int l, add(b, owner, left, depth + 1));
    MR_TRY(int r, add(b, owner, right, depth + 1));
    nodes[at].child[0] = l;
    nodes[at].child[1] = r;
    return static_cast<int>(at);
  }

 private:
  [[nodiscard]] double far(const std::vector<double>& x, int node) const {
    const auto& c = nodes[static_cast<std::size_t>(node)].centre;
    double sum = 0;
    for (std::size_t i = 0; i < x.size(); ++i) sum += (x[i] - c[i]) * (x[i] - c[i]);
    return sum;
  }
};

Result<EstimatorPtr> make_bisections(Build& b, NodeId id) {
  auto e = std::make_unique<Bisections>();
  MR_TRY(e->centres, read_dense(b, id, "cluster_centers_"));
  if (e->centres.rows == 0 || e->centres.columns == 0) return b.bad(id, "cluster_centers_ is empty");
  if (!b.tree.is_none(b.tree.get(id, "_X_mean"))) {
    MR_TRY(e->mean, b.numbers(id, "_X_mean"));
    if (e->mean.size() != e->centres.columns) return b.bad(id, "_X_mean does not fit");
  }
  MR_CHECK(e->add(b, id, b.tree.get(id, "_bisecting_tree"), 0));
  return e;
}

class Mixture : public Estimator {
 public:
  struct Part {
    std::vector<double> mean;
    // Of the precision, upper: features x features; or its diagonal, one row. Parts may share it.
    std::shared_ptr<const Matrix> cholesky;
    double constant = 0;  // what does not depend on the row
  };
  std::vector<Part> parts;

  [[nodiscard]] std::size_t features() const override { return parts.front().mean.size(); }
  [[nodiscard]] Result<Output> predict(const Frame& in) const override {
    MR_TRY(auto all, logs(in));
    Output out = numbers_of(in.rows, 1, {});
    out.type = DataType::int64;
    for (std::size_t r = 0; r < in.rows; ++r)
      out.numbers.push_back(static_cast<double>(argmax({all.data() + r * parts.size(), parts.size()})));
    return out;
  }
  [[nodiscard]] Result<Frame> predict_proba(const Frame& in) const override {
    MR_TRY(auto all, logs(in));
    for (std::size_t r = 0; r < in.rows; ++r) softmax({all.data() + r * parts.size(), parts.size()});
    return frame_of(in.rows, parts.size(), std::move(all));
  }

 private:
  [[nodiscard]] Result<std::vector<double>> logs(const Frame& in) const {
    MR_CHECK(check_numbers(in, features()));
    const auto n = features();
    Rows rows(in);
    std::vector<double> all;
    std::vector<double> along(n);
    for (std::size_t r = 0; r < in.rows; ++r) {
      auto x = rows[r];
      for (const auto& p : parts) {
        std::fill(along.begin(), along.end(), 0.0);
        for (std::size_t i = 0; i < n; ++i) {
          double v = x[i] - p.mean[i];
          if (p.cholesky->rows == 1)
            along[i] = v * p.cholesky->data[i];
          else
            for (std::size_t j = 0; j < n; ++j) along[j] += v * p.cholesky->data[i * n + j];
        }
        all.push_back(p.constant - 0.5 * dot(along, along));
      }
    }
    return all;
  }
};

// `weighed`: with the logarithm of weights_ in the constants.
Result<std::unique_ptr<Mixture>> mixture_of(const Build& b, NodeId id, bool weighed) {
  auto e = std::make_unique<Mixture>();
  MR_TRY(auto means, read_dense(b, id, "means_"));
  MR_TRY(auto weights, b.numbers(id, "weights_"));
  MR_TRY(auto cholesky, b.array(id, "precisions_cholesky_"));
  const auto n = means.columns;
  const auto k = means.rows;
  auto type = b.text_or(id, "covariance_type", "full");
  const std::size_t each = type == "full" || type == "tied" ? n * n : type == "diag" ? n : 1;
  const std::size_t wanted = type == "tied" ? each : each * k;
  if (k == 0 || n == 0 || weights.size() != k || cholesky.numbers.size() != wanted || n > 100'000)
    return b.bad(id, "means_, weights_ and precisions_cholesky_ do not fit each other");
  auto factor = [&](const double* from) {
    Matrix m;
    m.columns = n;
    m.rows = type == "full" || type == "tied" ? n : 1;
    if (type == "spherical")
      m.data.assign(n, from[0]);
    else
      m.data.assign(from, from + each);
    return std::make_shared<const Matrix>(std::move(m));
  };
  auto tied = type == "tied" ? factor(cholesky.numbers.data()) : nullptr;
  for (std::size_t c = 0; c < k; ++c) {
    Mixture::Part p;
    p.mean.assign(means.row(c).begin(), means.row(c).end());
    p.cholesky = tied ? tied : factor(cholesky.numbers.data() + c * each);
    p.constant = (weighed ? std::log(weights[c]) : 0) - 0.5 * static_cast<double>(n) * std::log(2 * std::numbers::pi);
    const auto& m = *p.cholesky;
    for (std::size_t i = 0; i < n; ++i) p.constant += std::log(m.data[m.rows == 1 ? i : i * n + i]);
    e->parts.push_back(std::move(p));
  }
  return e;
}

// The derivative of the logarithm of the gamma function, of positive numbers.
double digamma(double x) {
  double sum = 0;
  for (; x < 12; x += 1) sum -= 1 / x;
  const double s = 1 / (x * x);
  return sum + std::log(x) - 0.5 / x -
         s * (1.0 / 12 - s * (1.0 / 120 - s * (1.0 / 252 - s * (1.0 / 240 - s * (1.0 / 132 - s * 691.0 / 32760)))));
}

// A Gaussian mixture whose weights and precisions are distributions themselves: only the constants differ.
Result<EstimatorPtr> make_bayesian_mixture(Build& b, NodeId id) {
  MR_TRY(auto made, mixture_of(b, id, false));
  auto& parts = made->parts;
  const auto k = parts.size();
  const auto n = static_cast<double>(made->features());
  MR_TRY(auto freedom, b.numbers(id, "degrees_of_freedom_"));
  MR_TRY(auto precision, b.numbers(id, "mean_precision_"));
  if (freedom.size() == 1) freedom.assign(k, freedom[0]);  // of a tied covariance
  const bool process = b.text_or(id, "weight_concentration_prior_type", "") == "dirichlet_process";
  std::vector<std::vector<double>> beta;
  if (process) {
    for (auto item : b.items(id, "weight_concentration_")) {
      auto some = b.tree.array_of(item);
      if (!some) return b.bad(id, "weight_concentration_ is not read");
      beta.push_back(std::move(some->numbers));
    }
  } else {
    MR_TRY(auto some, b.numbers(id, "weight_concentration_"));
    beta.push_back(std::move(some));
  }
  bool fits = beta.size() == (process ? 2 : 1) && freedom.size() == k && precision.size() == k;
  for (const auto& some : beta) {
    fits = fits && some.size() == k;
    for (double v : some) fits = fits && v > 0;
  }
  for (std::size_t c = 0; fits && c < k; ++c) fits = freedom[c] > n - 1 && freedom[c] < 1e15 && precision[c] > 0;
  if (!fits) return b.bad(id, "weight_concentration_, degrees_of_freedom_ and mean_precision_ do not fit each other");
  double all = 0;
  for (double v : beta[0]) all += v;
  double before = 0;  // of a process: what the parts before leave
  for (std::size_t c = 0; c < k; ++c) {
    double log_weight = digamma(beta[0][c]) - digamma(process ? beta[0][c] + beta[1][c] : all);
    if (process) {
      log_weight += before;
      before += digamma(beta[1][c]) - digamma(beta[0][c] + beta[1][c]);
    }
    double spread = n * std::numbers::ln2;
    for (double i = 0; i < n; ++i) spread += digamma(0.5 * (freedom[c] - i));
    parts[c].constant += log_weight - 0.5 * n * std::log(freedom[c]) + 0.5 * (spread - n / precision[c]);
  }
  return made;
}

}  // namespace

void add_clusters(Makers& makers) {
  makers["sklearn*KMeans"] = make_kmeans;
  makers["sklearn*MiniBatchKMeans"] = make_kmeans;
  makers["sklearn*BisectingKMeans"] = make_bisections;
  makers["sklearn*MeanShift"] = [](Build& b, NodeId id) { return make_nearest(b, id, "cluster_centers_", ""); };
  makers["sklearn*AffinityPropagation"] = make_affinity;
  makers["sklearn*Birch"] = [](Build& b, NodeId id) {
    return make_nearest(b, id, "subcluster_centers_", "subcluster_labels_");
  };
  makers["sklearn*GaussianMixture"] = [](Build& b, NodeId id) -> Result<EstimatorPtr> {
    return mixture_of(b, id, true);
  };
  makers["sklearn*BayesianGaussianMixture"] = make_bayesian_mixture;
}

}  // namespace mr::serving
