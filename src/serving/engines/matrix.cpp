#include "serving/engines/matrix.h"

namespace mr::serving {

namespace {

bool all_finite(const std::vector<double>& v) {
  return std::all_of(v.begin(), v.end(), [](double d) { return std::isfinite(d); });
}

Result<Matrix> sparse_rows(const Build& b, NodeId value, NodeId owner, std::string_view what) {
  const auto& t = b.tree;
  auto wrong = [&] { return b.bad(owner, fmt::format("{} is a sparse matrix that does not fit itself", what)); };
  std::vector<double> shape;  // a tuple in pickles, an array in skops
  if (auto at = t.get(value, "_shape"); at != kNoNode) {
    for (auto item : t.at(at).items)
      if (auto n = t.array_of(item); n && n->numbers.size() == 1) shape.push_back(n->numbers[0]);
  } else if (auto n = t.array_of(t.get(value, "shape")); n) {
    shape = n->numbers;
  }
  if (shape.size() != 2) return wrong();
  for (double d : shape)
    if (!(d >= 0 && d <= UINT32_MAX)) return wrong();
  Matrix m;
  m.sparse = true;
  m.rows = static_cast<std::size_t>(shape[0]);
  m.columns = static_cast<std::size_t>(shape[1]);
  MR_TRY(auto starts, b.numbers(value, "indptr"));
  MR_TRY(auto indices, b.numbers(value, "indices"));
  MR_TRY(m.data, b.numbers(value, "data"));
  if (starts.size() != m.rows + 1 || starts[0] != 0 || indices.size() < m.data.size()) return wrong();
  for (std::size_t r = 0; r < m.rows; ++r)
    if (!(starts[r] <= starts[r + 1])) return wrong();
  if (!(starts.back() <= static_cast<double>(m.data.size()))) return wrong();
  for (double s : starts) m.starts.push_back(static_cast<std::size_t>(s));
  for (double i : indices) {
    if (!(i >= 0 && i < static_cast<double>(m.columns))) return wrong();
    m.indices.push_back(static_cast<std::uint32_t>(i));
  }
  return m;
}

}  // namespace

Result<Matrix> matrix_of(const Build& b, NodeId value, NodeId owner, std::string_view what) {
  if (b.tree.is_none(value)) return b.bad(owner, fmt::format("it has no {}: is it fitted?", what));
  auto cls = b.tree.class_of(value);
  if (cls.starts_with("scipy.sparse") && (cls.ends_with(".csr_matrix") || cls.ends_with(".csr_array")))
    return sparse_rows(b, value, owner, what);
  auto a = b.tree.array_of(value);
  if (!a) return b.bad(owner, fmt::format("{}: {}", what, a.error().message));
  if (a->kind == 'U' || a->kind == 'O') return b.bad(owner, fmt::format("{} is not made of numbers", what));
  if (a->shape.empty() || a->shape.size() > 2 || !all_finite(a->numbers))
    return b.bad(owner, fmt::format("{} has a form that is not read, or is not finite", what));
  Matrix m;
  m.rows = static_cast<std::size_t>(a->shape[0]);
  m.columns = a->shape.size() == 2 ? static_cast<std::size_t>(a->shape[1]) : 1;
  m.data = std::move(a->numbers);
  return m;
}

Result<Matrix> read_matrix(const Build& b, NodeId id, std::string_view attribute) {
  return matrix_of(b, b.tree.get(id, attribute), id, attribute);
}

Result<Matrix> read_dense(const Build& b, NodeId id, std::string_view attribute) {
  MR_TRY(auto m, read_matrix(b, id, attribute));
  if (!m.sparse) return m;
  // A small file may say that it is a large matrix of zeros: it pays as for an array.
  if (m.columns != 0 && m.rows > b.tree.decode_left / sizeof(double) / m.columns)
    return b.bad(id, fmt::format("{} is too large", attribute));
  b.tree.decode_left -= m.rows * m.columns * sizeof(double);
  std::vector<double> out(m.rows * m.columns, 0.0);
  for (std::size_t r = 0; r < m.rows; ++r)
    for (auto at = m.starts[r]; at < m.starts[r + 1]; ++at) out[r * m.columns + m.indices[at]] += m.data[at];
  Matrix dense;
  dense.rows = m.rows;
  dense.columns = m.columns;
  dense.data = std::move(out);
  return dense;
}

}  // namespace mr::serving
