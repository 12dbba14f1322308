// Clusters (k-means, by bisections too) and mixtures of normal distributions.
#include "serving/engines/matrix.h"
#include "serving/engines/rows.h"

namespace mr::serving {

namespace {

class KMeansClusters : public Estimator {
 public:
  Matrix centres;
  bool f32 = false;

  [[nodiscard]] std::size_t features() const override { return centres.columns; }
  [[nodiscard]] bool takes_sparse() const override { return true; }
  [[nodiscard]] Result<Output> predict(const Frame& in) const override {
    MR_TRY(auto d, squares(in));
    Output out = numbers_of(in.rows, 1, {});
    out.type = DataType::int32;
    for (std::size_t r = 0; r < in.rows; ++r) {
      auto first = d.begin() + static_cast<std::ptrdiff_t>(r * centres.rows);
      out.numbers.push_back(
          static_cast<double>(std::min_element(first, first + static_cast<std::ptrdiff_t>(centres.rows)) - first));
    }
    return out;
  }
  [[nodiscard]] Result<Frame> transform(const Frame& in) const override {
    MR_TRY(auto d, squares(in));
    for (double& v : d) v = std::sqrt(v);
    auto out = frame_of(in.rows, centres.rows, std::move(d));
    out.f32 = f32 && in.f32;
    return out;
  }

 private:
  [[nodiscard]] Result<std::vector<double>> squares(const Frame& in) const {
    MR_CHECK(check_numbers(in, features()));
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

Result<EstimatorPtr> make_mixture(Build& b, NodeId id) {
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
    p.constant = std::log(weights[c]) - 0.5 * static_cast<double>(n) * std::log(2 * std::numbers::pi);
    const auto& m = *p.cholesky;
    for (std::size_t i = 0; i < n; ++i) p.constant += std::log(m.data[m.rows == 1 ? i : i * n + i]);
    e->parts.push_back(std::move(p));
  }
  return e;
}

}  // namespace

void add_clusters(Makers& makers) {
  makers["sklearn*KMeans"] = make_kmeans;
  makers["sklearn*MiniBatchKMeans"] = make_kmeans;
  makers["sklearn*BisectingKMeans"] = make_bisections;
  makers["sklearn*GaussianMixture"] = make_mixture;
}

}  // namespace mr::serving
