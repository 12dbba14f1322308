// Nearest neighbours by looking at every stored row (what trees of neighbours find too), and nearest centroids.
// Neighbours at equal distances: the earlier row comes first.
#include "serving/engines/matrix.h"
#include "serving/engines/rows.h"

namespace mr::serving {

namespace {

class Metric {
 public:
  enum class Kind : std::uint8_t {
    euclidean,
    squared,
    manhattan,
    chebyshev,
    minkowski,
    cosine,
    canberra,
    bray_curtis,
    hamming
  };
  Kind kind = Kind::euclidean;
  double p = 2;

  // A number that grows with the distance, and the distance made of it.
  [[nodiscard]] double rank(std::span<const double> a, std::span<const double> b) const {
    double sum = 0;
    const auto n = a.size();
    switch (kind) {
      case Kind::euclidean:
      case Kind::squared:
        for (std::size_t i = 0; i < n; ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
        return sum;
      case Kind::manhattan:
        for (std::size_t i = 0; i < n; ++i) sum += std::abs(a[i] - b[i]);
        return sum;
      case Kind::chebyshev:
        for (std::size_t i = 0; i < n; ++i) sum = std::max(sum, std::abs(a[i] - b[i]));
        return sum;
      case Kind::minkowski:
        for (std::size_t i = 0; i < n; ++i) sum += std::pow(std::abs(a[i] - b[i]), p);
        return sum;
      case Kind::cosine: {
        double norms = std::sqrt(dot(a, a)) * std::sqrt(dot(b, b));
        return norms == 0 ? 1 : std::clamp(1 - dot(a, b) / norms, 0.0, 2.0);
      }
      case Kind::canberra:
        for (std::size_t i = 0; i < n; ++i)
          if (double of = std::abs(a[i]) + std::abs(b[i]); of > 0) sum += std::abs(a[i] - b[i]) / of;
        return sum;
      case Kind::bray_curtis: {
        double of = 0;
        for (std::size_t i = 0; i < n; ++i) {
          sum += std::abs(a[i] - b[i]);
          of += std::abs(a[i]) + std::abs(b[i]);
        }
        return of > 0 ? sum / of : 0;
      }
      case Kind::hamming:
        for (std::size_t i = 0; i < n; ++i) sum += a[i] != b[i] ? 1 : 0;
        return n == 0 ? 0 : sum / static_cast<double>(n);
    }
    return sum;
  }
  [[nodiscard]] double distance(double rank_value) const {
    if (kind == Kind::euclidean) return std::sqrt(rank_value);
    return kind == Kind::minkowski ? std::pow(rank_value, 1 / p) : rank_value;
  }

  static Result<Metric> read(const Build& b, NodeId id, const char* attribute, const char* parameters);
};

Result<Metric> Metric::read(const Build& b, NodeId id, const char* attribute, const char* parameters) {
  static const std::map<std::string_view, Kind> kinds{
      {"euclidean", Kind::euclidean}, {"l2", Kind::euclidean},           {"sqeuclidean", Kind::squared},
      {"manhattan", Kind::manhattan}, {"cityblock", Kind::manhattan},    {"l1", Kind::manhattan},
      {"chebyshev", Kind::chebyshev}, {"infinity", Kind::chebyshev},     {"p", Kind::minkowski},
      {"minkowski", Kind::minkowski}, {"cosine", Kind::cosine},          {"canberra", Kind::canberra},
      {"hamming", Kind::hamming},     {"braycurtis", Kind::bray_curtis}, {"pyfunc", Kind::minkowski}};
  auto name = b.text_or(id, attribute, "");
  auto it = kinds.find(name);
  if (it == kinds.end() || name == "pyfunc")
    return fail(Code::unimplemented, fmt::format("{}: the metric '{}' is not read natively", b.short_class(id),
                                                 name.empty() ? "of a function" : printable(name)));
  Metric m;
  m.kind = it->second;
  auto params = b.tree.get(id, parameters);
  if (params != kNoNode && b.tree.at(params).kind == NodeKind::dict) {
    for (std::size_t i = 0; i + 1 < b.tree.at(params).items.size(); i += 2) {
      auto key = b.tree.text_of(b.tree.at(params).items[i]);
      if (key != "p" && !(key == "w" && b.tree.is_none(b.tree.at(params).items[i + 1])))
        return fail(Code::unimplemented, fmt::format("{}: the metric's parameter '{}' is not read natively",
                                                     b.short_class(id), printable(key)));
    }
    if (m.kind == Kind::minkowski) m.p = b.number_or(params, "p", 2);
  }
  if (!(m.p > 0) || !std::isfinite(m.p)) return b.bad(id, "the metric's p is out of range");
  return m;
}

struct Neighbour {
  double distance;
  std::size_t row;
  bool operator<(const Neighbour& o) const { return distance < o.distance || (distance == o.distance && row < o.row); }
};

// The rows that were fitted, and how to find those near another.
class Fitted {
 public:
  Metric metric;
  Matrix x;
  std::size_t count = 5;
  double radius = -1;  // of RadiusNeighbors*, else negative

  [[nodiscard]] std::vector<Neighbour> near(std::span<const double> row) const {
    std::vector<Neighbour> heap;  // the worst on top
    std::vector<double> buffer(x.sparse ? x.columns : 0, 0.0);
    for (std::size_t r = 0; r < x.rows; ++r) {
      Neighbour n{metric.rank(row, at(r, buffer)), r};
      if (radius >= 0) {
        if (metric.distance(n.distance) <= radius) heap.push_back(n);
        continue;
      }
      if (heap.size() == count && !(n < heap.front())) continue;
      if (heap.size() == count) {
        std::pop_heap(heap.begin(), heap.end());
        heap.pop_back();
      }
      heap.push_back(n);
      std::push_heap(heap.begin(), heap.end());
    }
    std::sort(heap.begin(), heap.end());
    for (auto& n : heap) n.distance = metric.distance(n.distance);
    return heap;
  }

 private:
  [[nodiscard]] std::span<const double> at(std::size_t r, std::vector<double>& buffer) const {
    if (!x.sparse) return x.row(r);
    std::fill(buffer.begin(), buffer.end(), 0.0);
    for (auto i = x.starts[r]; i < x.starts[r + 1]; ++i) buffer[x.indices[i]] += x.data[i];
    return buffer;
  }
};

class NearestNeighbours : public Estimator {
 public:
  Fitted fitted;
  bool by_distance = false;
  bool classifier = false;
  Matrix y;  // a column an output; of a classifier, one of indices of classes
  Array labels_of;
  std::optional<std::size_t> outlier;  // the class of rows without neighbours

  [[nodiscard]] std::size_t features() const override { return fitted.x.columns; }
  [[nodiscard]] bool takes_sparse() const override { return true; }
  [[nodiscard]] const Array* classes() const override { return classifier ? &labels_of : nullptr; }

  [[nodiscard]] Result<Output> predict(const Frame& in) const override {
    MR_CHECK(check_numbers(in, features()));
    std::vector<double> out;
    std::vector<std::size_t> best;
    Rows rows(in);
    for (std::size_t r = 0; r < in.rows; ++r) {
      auto near = fitted.near(rows[r]);
      auto w = weights(near);
      if (classifier) {
        if (near.empty() && !outlier) return nobody(r);
        best.push_back(near.empty() ? *outlier : argmax(shares(near, w)));
        continue;
      }
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
    return classifier ? labels(labels_of, best) : numbers_of(in.rows, y.columns, std::move(out));
  }

  [[nodiscard]] Result<Frame> predict_proba(const Frame& in) const override {
    if (!classifier) return Estimator::predict_proba(in);
    MR_CHECK(check_numbers(in, features()));
    std::vector<double> out;
    Rows rows(in);
    for (std::size_t r = 0; r < in.rows; ++r) {
      auto near = fitted.near(rows[r]);
      if (near.empty() && !outlier) return nobody(r);
      auto p = shares(near, weights(near));
      if (near.empty()) p[*outlier] = 1;
      double sum = 0;
      for (double v : p) sum += v;
      for (double v : p) out.push_back(sum == 0 ? v : v / sum);
    }
    return frame_of(in.rows, labels_of.size(), std::move(out));
  }

 private:
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
  [[nodiscard]] std::vector<double> shares(const std::vector<Neighbour>& near, const std::vector<double>& w) const {
    std::vector<double> p(labels_of.size(), 0.0);
    for (std::size_t i = 0; i < near.size(); ++i) p[static_cast<std::size_t>(y.data[near[i].row])] += w[i];
    return p;
  }
};

Result<> read_neighbour_classes(Build& b, NodeId id, NearestNeighbours& e) {
  if (e.y.columns != 1)
    return fail(Code::unimplemented, b.short_class(id) + " of several outputs is not read natively");
  MR_TRY(e.labels_of, b.array(id, "classes_"));
  for (double v : e.y.data)
    if (!(v >= 0 && v < static_cast<double>(e.labels_of.size())) || v != std::floor(v))
      return b.bad(id, "_y names a class that is not there");
  auto label = b.tree.get(id, "outlier_label_");
  if (auto list = b.items(id, "outlier_label_"); !list.empty()) label = list[0];
  if (e.fitted.radius < 0 || b.tree.is_none(label)) return {};
  auto value = b.tree.array_of(label);
  for (std::size_t i = 0; i < e.labels_of.size(); ++i) {
    const bool same = e.labels_of.texts.empty() ? value && value->size() == 1 && value->numbers.size() == 1 &&
                                                      value->numbers[0] == e.labels_of.numbers[i]
                                                : b.tree.text_of(label) == e.labels_of.texts[i];
    if (same) e.outlier = i;
  }
  if (!e.outlier) return fail(Code::unimplemented, "an outlier_label that is no class is not read natively");
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

}  // namespace

void add_neighbours(Makers& makers) {
  makers["sklearn*KNeighborsClassifier"] = [](Build& b, NodeId id) { return make_neighbours(b, id, true, false); };
  makers["sklearn*KNeighborsRegressor"] = [](Build& b, NodeId id) { return make_neighbours(b, id, false, false); };
  makers["sklearn*RadiusNeighborsClassifier"] = [](Build& b, NodeId id) { return make_neighbours(b, id, true, true); };
  makers["sklearn*RadiusNeighborsRegressor"] = [](Build& b, NodeId id) { return make_neighbours(b, id, false, true); };
  makers["sklearn*NearestCentroid"] = make_centroids;
}

}  // namespace mr::serving
