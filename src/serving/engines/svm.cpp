// Support vector machines with kernels, as libsvm computes them: decisions of pairs of classes, votes, and Platt's
// probabilities.
#include "serving/engines/pairwise.h"
#include "serving/engines/rows.h"

namespace mr::serving {

namespace {

class KernelMachine : public Estimator {
 public:
  enum class Task : std::uint8_t { classify, regress, outlier };
  Task task = Task::classify;
  Kernel kernel;
  Matrix vectors;
  Matrix coef;                           // (classes - 1) or 1 rows, a column a vector
  std::vector<double> intercept;         // of each pair
  std::vector<std::size_t> first;        // of each class among the vectors, and their count
  std::vector<double> platt_a, platt_b;  // of each pair, or empty
  Array labels_of;
  bool pairs_wanted = false;  // decision_function_shape='ovo'
  bool break_ties = false;

  [[nodiscard]] std::size_t features() const override { return vectors.columns; }
  [[nodiscard]] bool takes_sparse() const override { return true; }
  [[nodiscard]] const Array* classes() const override { return task == Task::classify ? &labels_of : nullptr; }

  [[nodiscard]] Result<Output> predict(const Frame& in) const override {
    MR_CHECK(check_numbers(in, features()));
    const auto k = labels_of.size();
    std::vector<std::size_t> best;
    Output out = numbers_of(in.rows, 1, {});
    if (task == Task::outlier) out.type = DataType::int64;
    each_row(in, [&](std::span<const double> d) {
      if (task == Task::regress) out.numbers.push_back(d[0]);
      if (task == Task::outlier) out.numbers.push_back(d[0] > 0 ? 1 : -1);
      if (task != Task::classify) return;
      if (break_ties && !pairs_wanted && k > 2) {
        best.push_back(argmax(by_class(d)));
        return;
      }
      std::vector<double> votes(k, 0.0);
      std::size_t p = 0;
      for (std::size_t i = 0; i < k; ++i)
        for (std::size_t j = i + 1; j < k; ++j) votes[d[p++] > 0 ? i : j] += 1;
      best.push_back(argmax(votes));
    });
    return task == Task::classify ? labels(labels_of, best) : std::move(out);
  }

  [[nodiscard]] Result<Frame> decision_function(const Frame& in) const override {
    if (task == Task::regress) return Estimator::decision_function(in);
    MR_CHECK(check_numbers(in, features()));
    const auto k = labels_of.size();
    std::vector<double> out;
    each_row(in, [&](std::span<const double> d) {
      if (task == Task::outlier) {
        out.push_back(d[0]);
      } else if (k == 2) {
        out.push_back(-d[0]);
      } else if (pairs_wanted) {
        out.insert(out.end(), d.begin(), d.end());
      } else {
        auto row = by_class(d);
        out.insert(out.end(), row.begin(), row.end());
      }
    });
    auto width = out.size() / in.rows;
    return frame_of(in.rows, width, std::move(out));
  }

  [[nodiscard]] Result<Frame> predict_proba(const Frame& in) const override {
    if (platt_a.empty()) return Estimator::predict_proba(in);
    MR_CHECK(check_numbers(in, features()));
    const auto k = labels_of.size();
    std::vector<double> out;
    std::vector<double> r(k * k, 0.0);
    each_row(in, [&](std::span<const double> d) {
      std::size_t p = 0;
      for (std::size_t i = 0; i < k; ++i)
        for (std::size_t j = i + 1; j < k; ++j, ++p) {
          double won = std::clamp(expit(-(d[p] * platt_a[p] + platt_b[p])), 1e-7, 1 - 1e-7);
          r[i * k + j] = won;
          r[j * k + i] = 1 - won;
        }
      auto row = couple_probabilities(k, r);
      out.insert(out.end(), row.begin(), row.end());
    });
    return frame_of(in.rows, k, std::move(out));
  }

 private:
  // Calls use(decisions) for each row: one of each pair, positive for the pair's first class.
  template <class Use>
  void each_row(const Frame& in, Use use) const {
    Rows rows(in);
    std::vector<double> values(vectors.rows);
    std::vector<double> d(intercept.size());
    for (std::size_t r = 0; r < in.rows; ++r) {
      auto x = rows[r];
      double squares = dot(x, x);
      for (std::size_t v = 0; v < vectors.rows; ++v) values[v] = kernel(x, squares, vectors, v);
      if (task != Task::classify) {
        d[0] = dot(coef.row(0), values) + intercept[0];
      } else {
        std::size_t p = 0;
        for (std::size_t i = 0; i + 1 < first.size(); ++i)
          for (std::size_t j = i + 1; j + 1 < first.size(); ++j, ++p) d[p] = of_pair(i, j, values) + intercept[p];
      }
      use(std::span<const double>(d));
    }
  }

  // The vectors of class i have their coefficients against j in row j - 1, those of j against i in row i.
  [[nodiscard]] double of_pair(std::size_t i, std::size_t j, const std::vector<double>& values) const {
    double sum = 0;
    for (auto v = first[i]; v < first[i + 1]; ++v) sum += coef.row(j - 1)[v] * values[v];
    for (auto v = first[j]; v < first[j + 1]; ++v) sum += coef.row(i)[v] * values[v];
    return sum;
  }

  [[nodiscard]] std::vector<double> by_class(std::span<const double> d) const {
    std::vector<double> second(d.size());
    std::vector<double> confidence(d.size());
    for (std::size_t p = 0; p < d.size(); ++p) {
      second[p] = d[p] < 0 ? 1 : 0;
      confidence[p] = -d[p];
    }
    std::vector<double> out(labels_of.size());
    vote_of_pairs(labels_of.size(), second, confidence, out);
    return out;
  }
};

Result<> read_svm_classes(const Build& b, NodeId id, KernelMachine& m) {
  MR_TRY(m.labels_of, b.array(id, "classes_"));
  const auto k = m.labels_of.size();
  if (k < 2 || k > 10'000) return b.bad(id, "classes_ has a size that is not read");
  MR_TRY(auto counts, b.numbers(id, b.tree.is_none(b.tree.get(id, "_n_support")) ? "n_support_" : "_n_support"));
  if (counts.size() != k) return b.bad(id, "the number of support vectors of each class is not known");
  m.first = {0};
  for (double c : counts) {
    if (!(c >= 0 && c <= static_cast<double>(m.vectors.rows)))
      return b.bad(id, "the number of support vectors of a class is out of range");
    m.first.push_back(m.first.back() + static_cast<std::size_t>(c));
  }
  const auto pairs = k * (k - 1) / 2;
  if (m.first.back() != m.vectors.rows || m.coef.rows != k - 1 || m.intercept.size() != pairs)
    return b.bad(id, "the support vectors, coefficients and classes do not fit each other");
  m.pairs_wanted = b.text_or(id, "decision_function_shape", "ovr") == "ovo";
  m.break_ties = b.flag_or(id, "break_ties", false);
  if (!b.flag_or(id, "probability", false)) return {};
  auto platt = [&](const char* now, const char* before) {
    return b.numbers(id, b.tree.is_none(b.tree.get(id, now)) ? before : now);
  };
  MR_TRY(m.platt_a, platt("_probA", "probA_"));
  MR_TRY(m.platt_b, platt("_probB", "probB_"));
  if (m.platt_a.size() != pairs || m.platt_b.size() != pairs) return b.bad(id, "probA_ and probB_ do not fit");
  return {};
}

Result<EstimatorPtr> make_svm(Build& b, NodeId id, KernelMachine::Task task) {
  auto m = std::make_unique<KernelMachine>();
  m->task = task;
  MR_TRY(m->kernel.kind, kernel_kind(b, id));
  MR_TRY(m->vectors, read_matrix(b, id, "support_vectors_"));
  MR_TRY(m->coef, read_dense(b, id, "_dual_coef_"));
  MR_TRY(m->intercept, b.numbers(id, "_intercept_"));
  m->kernel.gamma = b.number_or(id, "_gamma", 0);
  m->kernel.coef0 = b.number_or(id, "coef0", 0);
  m->kernel.degree = b.number_or(id, "degree", 3);
  if (m->vectors.columns == 0 || m->coef.columns != m->vectors.rows)
    return b.bad(id, "the support vectors and their coefficients do not fit each other");
  if (task == KernelMachine::Task::classify) {
    MR_CHECK(read_svm_classes(b, id, *m));
  } else if (m->coef.rows != 1 || m->intercept.size() != 1) {
    return b.bad(id, "the coefficients have a form that is not read");
  }
  return m;
}

}  // namespace

void add_svm(Makers& makers) {
  using Task = KernelMachine::Task;
  for (auto [name, task] : {std::pair{"SVC", Task::classify},
                            {"NuSVC", Task::classify},
                            {"SVR", Task::regress},
                            {"NuSVR", Task::regress},
                            {"OneClassSVM", Task::outlier}})
    makers[fmt::format("sklearn*{}", name)] = [task](Build& b, NodeId id) { return make_svm(b, id, task); };
}

}  // namespace mr::serving
