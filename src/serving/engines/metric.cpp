#include "serving/engines/metric.h"

#include <cmath>
#include <limits>

#include "serving/engines/rows.h"

namespace mr::serving {

double Metric::rank(std::span<const double> a, std::span<const double> b) const {
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

std::vector<Neighbour> Fitted::near(std::span<const double> row) const {
  std::vector<Neighbour> heap;  // the worst on top
  std::vector<double> buffer(x.sparse ? x.columns : 0, 0.0);
  for (std::size_t r = 0; r < x.rows; ++r) {
    Neighbour n{metric.rank(row, at(r, buffer)), r};
    if (std::isnan(n.distance)) n.distance = std::numeric_limits<double>::infinity();  // last, as numpy sorts it
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

std::span<const double> Fitted::at(std::size_t r, std::vector<double>& buffer) const {
  if (!x.sparse) return x.row(r);
  std::fill(buffer.begin(), buffer.end(), 0.0);
  for (auto i = x.starts[r]; i < x.starts[r + 1]; ++i) buffer[x.indices[i]] += x.data[i];
  return buffer;
}

}  // namespace mr::serving
