#include "serving/engines/pairwise.h"

#include "serving/engines/rows.h"

namespace mr::serving {

void vote_of_pairs(std::size_t classes, std::span<const double> second, std::span<const double> confidence,
                   std::span<double> out) {
  std::vector<double> sum(classes, 0.0);
  std::fill(out.begin(), out.end(), 0.0);
  std::size_t p = 0;
  for (std::size_t i = 0; i < classes; ++i)
    for (std::size_t j = i + 1; j < classes; ++j, ++p) {
      sum[i] -= confidence[p];
      sum[j] += confidence[p];
      out[second[p] != 0 ? j : i] += 1;
    }
  for (std::size_t c = 0; c < classes; ++c) out[c] += sum[c] / (3 * (std::abs(sum[c]) + 1));
}

namespace {

double row_dot(std::span<const double> x, const Matrix& m, std::size_t r) {
  if (!m.sparse) return dot(x, m.row(r));
  double sum = 0;
  for (auto at = m.starts[r]; at < m.starts[r + 1]; ++at) sum += m.data[at] * x[m.indices[at]];
  return sum;
}

// Sums |x - m[r]|^power for power 1 or 2; `total` is the sum of |x|^power.
template <class Power>
double row_distance(std::span<const double> x, double total, const Matrix& m, std::size_t r, Power power) {
  double sum = 0;
  if (!m.sparse) {
    auto row = m.row(r);
    for (std::size_t i = 0; i < x.size(); ++i) sum += power(x[i] - row[i]);
    return sum;
  }
  for (auto at = m.starts[r]; at < m.starts[r + 1]; ++at) {
    double v = x[m.indices[at]];
    sum += power(v - m.data[at]) - power(v);
  }
  return std::max(0.0, total + sum);
}

double whole_power(double base, double degree) {
  if (degree < 0 || degree > 64 || degree != std::floor(degree)) return std::pow(base, degree);
  double out = 1;
  for (auto n = static_cast<unsigned>(degree); n != 0; n >>= 1U) {
    if ((n & 1U) != 0) out *= base;
    base *= base;
  }
  return out;
}

}  // namespace

double Kernel::operator()(std::span<const double> x, double squares, const Matrix& m, std::size_t r) const {
  switch (kind) {
    case Kind::linear:
      return row_dot(x, m, r);
    case Kind::polynomial:
      return whole_power(gamma * row_dot(x, m, r) + coef0, degree);
    case Kind::sigmoid:
      return std::tanh(gamma * row_dot(x, m, r) + coef0);
    case Kind::rbf:
      return std::exp(-gamma * row_distance(x, squares, m, r, [](double d) { return d * d; }));
    case Kind::laplacian: {
      double total = 0;
      for (double v : x) total += std::abs(v);
      return std::exp(-gamma * row_distance(x, total, m, r, [](double d) { return std::abs(d); }));
    }
    case Kind::cosine: {
      double own = 0;
      if (m.sparse)
        for (auto at = m.starts[r]; at < m.starts[r + 1]; ++at) own += m.data[at] * m.data[at];
      else
        own = dot(m.row(r), m.row(r));
      double scale = std::sqrt(squares) * std::sqrt(own);
      return scale == 0 ? 0 : row_dot(x, m, r) / scale;
    }
  }
  return 0;
}

Result<Kernel::Kind> kernel_kind(const Build& b, NodeId id) {
  static const std::map<std::string_view, Kernel::Kind> kinds{
      {"linear", Kernel::Kind::linear}, {"poly", Kernel::Kind::polynomial}, {"polynomial", Kernel::Kind::polynomial},
      {"rbf", Kernel::Kind::rbf},       {"sigmoid", Kernel::Kind::sigmoid}, {"laplacian", Kernel::Kind::laplacian},
      {"cosine", Kernel::Kind::cosine}};
  auto name = b.text_or(id, "kernel", "");
  auto it = kinds.find(name);
  if (it == kinds.end())
    return fail(Code::unimplemented, fmt::format("{}: the kernel {} is not read natively", b.short_class(id),
                                                 name.empty() ? "that is a function" : "'" + printable(name) + "'"));
  return it->second;
}

std::vector<double> couple_probabilities(std::size_t k, const std::vector<double>& r) {
  std::vector<double> q(k * k, 0.0);
  for (std::size_t t = 0; t < k; ++t)
    for (std::size_t j = 0; j < k; ++j) {
      if (j == t) continue;
      q[t * k + t] += r[j * k + t] * r[j * k + t];
      q[t * k + j] = -r[j * k + t] * r[t * k + j];
    }
  std::vector<double> p(k, 1.0 / static_cast<double>(k));
  std::vector<double> qp(k);
  const double enough = 0.005 / static_cast<double>(k);
  for (std::size_t round = 0; round < std::max<std::size_t>(100, k); ++round) {
    double pqp = 0;
    for (std::size_t t = 0; t < k; ++t) {
      qp[t] = 0;
      for (std::size_t j = 0; j < k; ++j) qp[t] += q[t * k + j] * p[j];
      pqp += p[t] * qp[t];
    }
    double worst = 0;
    for (double v : qp) worst = std::max(worst, std::abs(v - pqp));
    if (worst < enough) break;
    for (std::size_t t = 0; t < k; ++t) {
      double step = (pqp - qp[t]) / q[t * k + t];
      p[t] += step;
      pqp = (pqp + step * (step * q[t * k + t] + 2 * qp[t])) / (1 + step) / (1 + step);
      for (std::size_t j = 0; j < k; ++j) {
        qp[j] = (qp[j] + step * q[t * k + j]) / (1 + step);
        p[j] /= 1 + step;
      }
    }
  }
  return p;
}

}  // namespace mr::serving
