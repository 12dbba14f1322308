// Labels that spread from rows to those near them, nearest neighbours by looking at every stored row (what trees of
// neighbours find too), and nearest centroids. Neighbours at equal distances: the earlier row comes first.
#include "serving/engines/matrix.h"
#include "serving/engines/metric.h"
#include "serving/engines/pairwise.h"
#include "serving/engines/rows.h"
#include "serving/engines/sk_tree.h"

namespace mr::serving {

namespace {

class NearestNeighbours : public Estimator {
 public:
  Fitted fitted;
  bool by_distance = false;
  bool classifier = false;
  Matrix y;  // a column an output; of a classifier, of indices of its classes
  SkClasses labels_of;
  std::vector<std::size_t> outlier;  // for each output the class of rows without neighbours; or empty

  [[nodiscard]] std::size_t features() const override { return fitted.x.columns; }
  [[nodiscard]] bool takes_sparse() const override { return true; }
  [[nodiscard]] const Array* classes() const override {
    return classifier && labels_of.outputs.size() == 1 ? labels_of.outputs.data() : nullptr;
  }

  [[nodiscard]] Result<Output> predict(const Frame& in) const override {
    if (classifier) return predict_labels(in);
    MR_CHECK(check_numbers(in, features()));
    std::vector<double> out;
    Rows rows(in);
    for (std::size_t r = 0; r < in.rows; ++r) {
      auto near = fitted.near(rows[r]);
      auto w = weights(near);
      for (std::size_t c = 0; c < y.columns; ++c) {
        double sum = 0;
        double all = 0;
        for (std::size_t i = 0; i < near.size(); ++i) {
          sum += w[i] * y.row(near[i].row)[c];
          all += w[i];
        }
        out.push_back(sum / all);  // no neighbours: NaN
      }
    }
    return numbers_of(in.rows, y.columns, std::move(out));
  }

  [[nodiscard]] Result<Frame> predict_proba(const Frame& in) const override {
    if (!classifier) return Estimator::predict_proba(in);
    if (labels_of.outputs.size() != 1)
      return fail(Code::unimplemented,
                  fmt::format("predict_proba of {} with several outputs has no answer here", name));
    MR_TRY(auto all, shares_of_outputs(in));
    return std::move(all[0]);
  }
  [[nodiscard]] Result<std::vector<Frame>> shares_of_outputs(const Frame& in) const override {
    if (!classifier) return Estimator::shares_of_outputs(in);
    MR_CHECK(check_numbers(in, features()));
    std::vector<Frame> out;
    for (const auto& l : labels_of.outputs) out.push_back(frame_of(in.rows, l.size(), {}));
    Rows rows(in);
    for (std::size_t r = 0; r < in.rows; ++r) {
      auto near = fitted.near(rows[r]);
      if (near.empty() && outlier.empty()) return nobody(r);
      auto w = weights(near);
      for (std::size_t o = 0; o < out.size(); ++o) {
        auto p = shares(near, w, o);
        if (near.empty()) p[outlier[o]] = 1;
        double sum = 0;
        for (double v : p) sum += v;
        for (double v : p) out[o].data.push_back(sum == 0 ? v : v / sum);
      }
    }
    return out;
  }

 private:
  [[nodiscard]] Result<Output> predict_labels(const Frame& in) const {
    MR_CHECK(check_numbers(in, features()));
    const auto outputs = labels_of.outputs.size();
    auto out = labels(labels_of.outputs[0], {});
    out.rows = in.rows;
    out.width = outputs;
    Rows rows(in);
    for (std::size_t r = 0; r < in.rows; ++r) {
      auto near = fitted.near(rows[r]);
      if (near.empty() && outlier.empty()) return nobody(r);
      auto w = weights(near);
      for (std::size_t o = 0; o < outputs; ++o) {
        auto best = near.empty() ? outlier[o] : argmax(shares(near, w, o));
        if (out.type == DataType::bytes)
          out.texts.push_back(labels_of.outputs[o].texts[best]);
        else
          out.numbers.push_back(labels_of.outputs[o].numbers[best]);
      }
    }
    return out;
  }
  static std::unexpected<Error> nobody(std::size_t row) {
    return fail(Code::invalid_argument,
                fmt::format("row {} has no neighbours within the radius, and the model has no outlier_label", row));
  }
  // 1 / distance; where some distances are 0, only those count.
  [[nodiscard]] std::vector<double> weights(const std::vector<Neighbour>& near) const {
    std::vector<double> w(near.size(), 1.0);
    if (!by_distance) return w;
    bool same = std::any_of(near.begin(), near.end(), [](const Neighbour& n) { return n.distance == 0; });
    for (std::size_t i = 0; i < near.size(); ++i)
      w[i] = same ? (near[i].distance == 0 ? 1.0 : 0.0) : 1 / near[i].distance;
    return w;
  }
  [[nodiscard]] std::vector<double> shares(const std::vector<Neighbour>& near, const std::vector<double>& w,
                                           std::size_t output) const {
    std::vector<double> p(labels_of.outputs[output].size(), 0.0);
    for (std::size_t i = 0; i < near.size(); ++i) p[static_cast<std::size_t>(y.row(near[i].row)[output])] += w[i];
    return p;
  }
};

Result<> read_neighbour_classes(Build& b, NodeId id, NearestNeighbours& e) {
  MR_TRY(e.labels_of, sk_classes(b, id, e.y.columns));
  for (std::size_t i = 0; i < e.y.data.size(); ++i) {
    const double v = e.y.data[i];
    if (!(v >= 0 && v < static_cast<double>(e.labels_of.outputs[i % e.y.columns].size())) || v != std::floor(v))
      return b.bad(id, "_y names a class that is not there");
  }
  auto given = b.tree.get(id, "outlier_label_");
  if (e.fitted.radius < 0 || b.tree.is_none(given)) return {};
  auto list = b.items(id, "outlier_label_");
  for (std::size_t o = 0; o < e.y.columns; ++o) {
    auto label = list.empty() ? given : o < list.size() ? list[o] : kNoNode;
    if (label == kNoNode) return b.bad(id, "outlier_label_ does not fit its outputs");
    const auto& classes = e.labels_of.outputs[o];
    auto value = b.tree.array_of(label);
    std::optional<std::size_t> found;
    for (std::size_t i = 0; i < classes.size(); ++i) {
      const bool same = classes.texts.empty() ? value && value->size() == 1 && value->numbers.size() == 1 &&
                                                    value->numbers[0] == classes.numbers[i]
                                              : b.tree.text_of(label) == classes.texts[i];
      if (same) found = i;
    }
    if (!found) return fail(Code::unimplemented, "an outlier_label that is no class is not read natively");
    e.outlier.push_back(*found);
  }
  return {};
}

Result<EstimatorPtr> make_neighbours(Build& b, NodeId id, bool classifier, bool by_radius) {
  auto e = std::make_unique<NearestNeighbours>();
  e->classifier = classifier;
  MR_TRY(e->fitted.metric, Metric::read(b, id, "effective_metric_", "effective_metric_params_"));
  MR_TRY(e->fitted.x, read_matrix(b, id, "_fit_X"));
  MR_TRY(e->y, read_dense(b, id, "_y"));
  if (e->fitted.x.columns == 0 || e->y.rows != e->fitted.x.rows || e->y.rows == 0 || e->y.columns == 0)
    return b.bad(id, "_fit_X and _y do not fit each other");
  auto weights = b.text_or(id, "weights", b.tree.is_none(b.tree.get(id, "weights")) ? "uniform" : "");
  if (weights != "uniform" && weights != "distance")
    return fail(Code::unimplemented, b.short_class(id) + ": weights by a function are not read natively");
  e->by_distance = weights == "distance";
  if (by_radius) {
    MR_TRY(e->fitted.radius, b.number(id, "radius"));
    if (e->fitted.radius < 0) return b.bad(id, "its radius is negative");
  } else {
    MR_TRY(auto k, b.number(id, "n_neighbors"));
    if (!(k >= 1 && k <= static_cast<double>(e->y.rows))) return b.bad(id, "n_neighbors is out of range");
    e->fitted.count = static_cast<std::size_t>(k);
  }
  if (classifier) MR_CHECK(read_neighbour_classes(b, id, *e));
  return e;
}

class Centroids : public Estimator {
 public:
  Metric metric;
  Matrix centres;
  Array labels_of;
  std::vector<double> log_prior;  // with it: discriminant scores, by within-class deviations
  std::vector<double> deviation;
  bool even = true;  // all classes are as likely

  [[nodiscard]] std::size_t features() const override { return centres.columns; }
  [[nodiscard]] bool takes_sparse() const override { return true; }
  [[nodiscard]] const Array* classes() const override { return &labels_of; }

  [[nodiscard]] Result<Output> predict(const Frame& in) const override {
    MR_CHECK(check_numbers(in, features()));
    Rows rows(in);
    std::vector<std::size_t> best(in.rows);
    for (std::size_t r = 0; r < in.rows; ++r) {
      auto x = rows[r];
      std::vector<double> near = scores(x);
      if (even)
        for (std::size_t c = 0; c < centres.rows; ++c) near[c] = -metric.rank(x, centres.row(c));
      best[r] = argmax(near);
    }
    return labels(labels_of, best);
  }
  [[nodiscard]] Result<Frame> decision_function(const Frame& in) const override {
    if (log_prior.empty()) return Estimator::decision_function(in);
    MR_CHECK(check_numbers(in, features()));
    Rows rows(in);
    std::vector<double> out;
    for (std::size_t r = 0; r < in.rows; ++r) {
      auto s = scores(rows[r]);
      if (s.size() == 2) s = {s[1] - s[0]};
      out.insert(out.end(), s.begin(), s.end());
    }
    auto width = out.size() / in.rows;
    return frame_of(in.rows, width, std::move(out));
  }
  [[nodiscard]] Result<Frame> predict_proba(const Frame& in) const override {
    if (log_prior.empty()) return Estimator::predict_proba(in);
    MR_CHECK(check_numbers(in, features()));
    Rows rows(in);
    std::vector<double> out;
    for (std::size_t r = 0; r < in.rows; ++r) {
      auto s = scores(rows[r]);
      softmax(s);
      out.insert(out.end(), s.begin(), s.end());
    }
    return frame_of(in.rows, centres.rows, std::move(out));
  }

 private:
  [[nodiscard]] std::vector<double> scores(std::span<const double> x) const {
    std::vector<double> out(centres.rows, 0.0);
    if (log_prior.empty()) return out;
    std::vector<double> a(x.begin(), x.end());
    std::vector<double> b(x.size());
    for (std::size_t i = 0; i < a.size(); ++i)
      if (deviation[i] != 0) a[i] /= deviation[i];
    for (std::size_t c = 0; c < centres.rows; ++c) {
      auto centre = centres.row(c);
      for (std::size_t i = 0; i < b.size(); ++i) b[i] = deviation[i] != 0 ? centre[i] / deviation[i] : centre[i];
      double d = metric.distance(metric.rank(a, b));
      out[c] = 2 * log_prior[c] - d * d;
    }
    return out;
  }
};

Result<EstimatorPtr> make_centroids(Build& b, NodeId id) {
  auto e = std::make_unique<Centroids>();
  MR_TRY(e->metric, Metric::read(b, id, "metric", "no parameters"));
  MR_TRY(e->centres, read_dense(b, id, "centroids_"));
  MR_TRY(e->labels_of, b.array(id, "classes_"));
  if (e->centres.columns == 0 || e->centres.rows == 0 || e->labels_of.size() != e->centres.rows)
    return b.bad(id, "centroids_ and classes_ do not fit each other");
  if (b.tree.is_none(b.tree.get(id, "class_prior_"))) return e;
  MR_TRY(auto prior, b.numbers(id, "class_prior_"));
  MR_TRY(e->deviation, b.numbers(id, "within_class_std_dev_"));
  if (prior.size() != e->centres.rows || e->deviation.size() != e->centres.columns)
    return b.bad(id, "class_prior_ or within_class_std_dev_ does not fit");
  const double same = 1 / static_cast<double>(prior.size());
  for (double p : prior) {
    e->log_prior.push_back(std::log(p));
    e->even = e->even && std::abs(p - same) <= 1e-8 + 1e-5 * same;  // numpy.isclose
  }
  return e;
}

// LabelPropagation, LabelSpreading: the labels of stored rows, by how near they are.
class SpreadLabels : public Estimator {
 public:
  Fitted fitted;  // of the kernel "knn", else only its rows
  Kernel kernel;
  bool nearest = false;
  Matrix shares;  // stored rows x classes
  Array labels_of;

  [[nodiscard]] std::size_t features() const override { return fitted.x.columns; }
  [[nodiscard]] bool takes_sparse() const override { return true; }
  [[nodiscard]] const Array* classes() const override { return &labels_of; }
  [[nodiscard]] Result<Frame> predict_proba(const Frame& in) const override {
    MR_CHECK(check_numbers(in, features()));
    const auto k = shares.columns;
    std::vector<double> out(in.rows * k, 0.0);
    Rows rows(in);
    for (std::size_t r = 0; r < in.rows; ++r) {
      auto x = rows[r];
      double* to = out.data() + r * k;
      auto add = [&](std::size_t row, double weight) {
        for (std::size_t c = 0; c < k; ++c) to[c] += weight * shares.row(row)[c];
      };
      const double squares = dot(x, x);
      if (nearest)
        for (const auto& n : fitted.near(x)) add(n.row, 1);
      else
        for (std::size_t i = 0; i < fitted.x.rows; ++i) add(i, kernel(x, squares, fitted.x, i));
      double sum = 0;
      for (std::size_t c = 0; c < k; ++c) sum += to[c];
      for (std::size_t c = 0; c < k; ++c) to[c] /= sum;
    }
    return frame_of(in.rows, k, std::move(out));
  }
  [[nodiscard]] Result<Output> predict(const Frame& in) const override {
    MR_TRY(auto p, predict_proba(in));
    std::vector<std::size_t> best(in.rows);
    for (std::size_t r = 0; r < in.rows; ++r) best[r] = argmax({p.data.data() + r * p.columns, p.columns});
    return labels(labels_of, best);
  }
};

Result<EstimatorPtr> make_spread(Build& b, NodeId id) {
  auto e = std::make_unique<SpreadLabels>();
  MR_TRY(e->fitted.x, read_matrix(b, id, "X_"));
  MR_TRY(e->shares, read_dense(b, id, "label_distributions_"));
  MR_TRY(e->labels_of, b.array(id, "classes_"));
  if (e->fitted.x.rows == 0 || e->fitted.x.columns == 0 || e->shares.rows != e->fitted.x.rows ||
      e->shares.columns == 0 || e->labels_of.size() != e->shares.columns)
    return b.bad(id, "X_, label_distributions_ and classes_ do not fit each other");
  auto kind = b.text_or(id, "kernel", "");
  e->nearest = kind == "knn";
  if (kind != "knn" && kind != "rbf")
    return fail(Code::unimplemented, b.short_class(id) + ": a kernel by a function is not read natively");
  const double k = b.number_or(id, "n_neighbors", 7);
  if (e->nearest && !(k >= 1 && k <= static_cast<double>(e->fitted.x.rows)))
    return b.bad(id, "n_neighbors is out of range");
  if (e->nearest) e->fitted.count = static_cast<std::size_t>(k);
  e->kernel.kind = Kernel::Kind::rbf;
  e->kernel.gamma = b.number_or(id, "gamma", 20);
  return e;
}

}  // namespace

void add_neighbours(Makers& makers) {
  add_outliers(makers);
  makers["sklearn*KNeighborsClassifier"] = [](Build& b, NodeId id) { return make_neighbours(b, id, true, false); };
  makers["sklearn*KNeighborsRegressor"] = [](Build& b, NodeId id) { return make_neighbours(b, id, false, false); };
  makers["sklearn*RadiusNeighborsClassifier"] = [](Build& b, NodeId id) { return make_neighbours(b, id, true, true); };
  makers["sklearn*RadiusNeighborsRegressor"] = [](Build& b, NodeId id) { return make_neighbours(b, id, false, true); };
  makers["sklearn*LabelPropagation"] = make_spread;
  makers["sklearn*LabelSpreading"] = make_spread;
  makers["sklearn*NearestCentroid"] = make_centroids;
}

}  // namespace mr::serving
