#include "serving/engines/transform.h"

#include <numeric>

#include "text/text.h"

namespace mr::serving {

Result<std::size_t> feature_count(const Build& b, NodeId id, std::size_t fallback) {
  double n = b.number_or(id, "n_features_in_", static_cast<double>(fallback));
  if (!(n >= 0 && n <= static_cast<double>(kMaxColumns)) || n != std::floor(n))
    return b.bad(id, "n_features_in_ is out of range");
  return static_cast<std::size_t>(n);
}

Result<std::vector<double>> values_of(const Build& b, NodeId id, std::string_view attribute, std::size_t n) {
  MR_TRY(auto a, b.array(id, attribute));
  if (a.kind == 'U' || a.kind == 'O') return b.bad(id, fmt::format("{} is not made of numbers", attribute));
  if (a.numbers.size() != n)
    return b.bad(id, fmt::format("{} has {} values where {} are needed", attribute, a.numbers.size(), n));
  return std::move(a.numbers);
}

Result<std::vector<double>> numbers_at(const Tree& t, NodeId id) {
  if (auto a = t.array_of(id)) {
    if (a->kind == 'U' || a->kind == 'O') return fail(Code::invalid_argument, "texts stand where numbers should");
    return std::move(a->numbers);
  }
  MR_TRY(auto cells, t.cells(id));
  std::vector<double> out;
  out.reserve(cells.size());
  for (auto c : cells) {
    MR_TRY(auto one, t.array_of(c));
    if (one.numbers.size() != 1) return fail(Code::invalid_argument, "a list of numbers holds something else");
    out.push_back(one.numbers[0]);
  }
  return out;
}

std::unexpected<Error> at_column(std::size_t column, std::string_view what) {
  return fail(Code::invalid_argument, fmt::format("column #{} {}", column, what));
}

namespace {

// Position and length of "#123" in a text, or npos.
std::pair<std::size_t, std::size_t> number_sign(const std::string& text) {
  auto at = text.find('#');
  if (at == std::string::npos) return {at, 0};
  auto end = at + 1;
  while (end < text.size() && std::isdigit(static_cast<unsigned char>(text[end])) != 0) ++end;
  return {at, end - at};
}

}  // namespace

Error renumbered(Error e, std::span<const std::size_t> columns) {
  auto [at, length] = number_sign(e.message);
  if (at == std::string::npos) return e;
  auto n = text::to_u64(std::string_view(e.message).substr(at + 1, length - 1)).value_or(UINT64_MAX);
  if (n < columns.size()) e.message.replace(at, length, fmt::format("#{}", columns[n]));
  return e;
}

Error placed(Error e, std::string_view where) {
  auto [at, length] = number_sign(e.message);
  if (at == std::string::npos) return e;
  e.message.replace(at, length, fmt::format("{} {}", e.message.substr(at + 1, length - 1), where));
  return e;
}

bool is_float32(const Tree& t, NodeId dtype) {
  if (dtype == kNoNode) return false;
  const auto& n = t.at(dtype);
  if (n.kind == NodeKind::symbol) return n.text == "numpy.float32";
  if (n.kind == NodeKind::text) return n.text == "float32";
  return n.kind == NodeKind::object && !n.items.empty() && t.text_of(n.items[0]).ends_with("f4");
}

Result<Frame> Estimator::transform_columns(const Frame& in, std::span<const std::size_t> columns) const {
  auto out = transform(select_columns(in, columns));
  if (!out) return std::unexpected(renumbered(std::move(out).error(), columns));
  return out;
}

Frame select_columns(const Frame& in, std::span<const std::size_t> columns) {
  Frame out;
  out.rows = in.rows;
  out.columns = columns.size();
  out.f32 = in.f32;
  if (in.sparse) {
    // Where each wanted column goes; the order may change, so a row is sorted again.
    std::vector<std::vector<std::uint32_t>> to(in.columns);
    for (std::size_t i = 0; i < columns.size(); ++i) to[columns[i]].push_back(static_cast<std::uint32_t>(i));
    out.sparse = true;
    out.starts.push_back(0);
    std::vector<std::pair<std::uint32_t, double>> row;
    for (std::size_t r = 0; r < in.rows; ++r) {
      row.clear();
      for (auto k = in.starts[r]; k < in.starts[r + 1]; ++k)
        for (auto target : to[in.indices[k]]) row.emplace_back(target, in.values[k]);
      std::ranges::sort(row, {}, [](const auto& p) { return p.first; });
      for (const auto& [i, v] : row) {
        out.indices.push_back(i);
        out.values.push_back(v);
      }
      out.starts.push_back(out.indices.size());
    }
    return out;
  }
  out.data.resize(out.rows * out.columns);
  for (std::size_t r = 0; r < out.rows; ++r) {
    const double* from = in.data.data() + r * in.columns;
    double* row = out.data.data() + r * out.columns;
    for (std::size_t i = 0; i < columns.size(); ++i) row[i] = from[columns[i]];
  }
  if (!in.texts.empty())
    for (std::size_t i = 0; i < columns.size(); ++i)
      if (auto t = in.texts.find(columns[i]); t != in.texts.end()) out.texts[i] = t->second;
  return out;
}

Result<Frame> dense(Frame in) {
  if (!in.sparse) return in;
  if (in.columns != 0 && in.rows > kMaxCells / in.columns)
    return fail(Code::too_large,
                fmt::format("{} rows of {} columns are more than fit into memory as dense rows", in.rows, in.columns));
  Frame out;
  out.rows = in.rows;
  out.columns = in.columns;
  out.f32 = in.f32;
  out.data.resize(in.rows * in.columns);
  for (std::size_t r = 0; r < in.rows; ++r)
    for (auto k = in.starts[r]; k < in.starts[r + 1]; ++k) out.data[r * in.columns + in.indices[k]] = in.values[k];
  return out;
}

Result<Frame> side_by_side(std::vector<Frame> parts, std::size_t rows, bool sparse) {
  if (parts.size() == 1 && parts[0].sparse == sparse) return std::move(parts[0]);
  Frame out;
  out.rows = rows;
  out.f32 = !parts.empty();
  for (const auto& p : parts) {
    out.columns += p.columns;
    if (p.columns != 0) out.f32 = out.f32 && p.f32;
    sparse = sparse && p.texts.empty();
  }
  if (sparse) {
    out.sparse = true;
    out.starts.reserve(rows + 1);
    out.starts.push_back(0);
    for (std::size_t r = 0; r < rows; ++r) {
      std::size_t offset = 0;
      for (const auto& p : parts) {
        if (p.sparse) {
          for (auto k = p.starts[r]; k < p.starts[r + 1]; ++k) {
            out.indices.push_back(static_cast<std::uint32_t>(offset + p.indices[k]));
            out.values.push_back(p.values[k]);
          }
        } else {
          const double* row = p.data.data() + r * p.columns;
          for (std::size_t c = 0; c < p.columns; ++c)
            if (row[c] != 0) {
              out.indices.push_back(static_cast<std::uint32_t>(offset + c));
              out.values.push_back(row[c]);
            }
        }
        offset += p.columns;
      }
      out.starts.push_back(out.indices.size());
    }
    return out;
  }
  if (out.columns != 0 && rows > kMaxCells / out.columns)
    return fail(Code::too_large,
                fmt::format("{} rows of {} columns are more than fit into memory as dense rows", rows, out.columns));
  out.data.resize(rows * out.columns);
  std::size_t offset = 0;
  for (auto& p : parts) {
    for (std::size_t r = 0; r < rows; ++r) {
      double* row = out.data.data() + r * out.columns + offset;
      if (p.sparse)
        for (auto k = p.starts[r]; k < p.starts[r + 1]; ++k) row[p.indices[k]] = p.values[k];
      else
        std::copy_n(p.data.data() + r * p.columns, p.columns, row);
    }
    for (auto& [c, t] : p.texts) out.texts[offset + c] = std::move(t);
    offset += p.columns;
  }
  return out;
}

void ColumnsTransform::set_features(std::size_t n) {
  n_ = n;
  all_.resize(n);
  std::iota(all_.begin(), all_.end(), std::size_t{0});
}

namespace {

Result<> check_width(const Frame& in, std::size_t width, std::size_t wanted) {
  if (in.rows == 0) return fail(Code::invalid_argument, "there are no rows (0 samples); at least one is needed");
  if (width != wanted)
    return fail(Code::invalid_argument,
                fmt::format("the input has {} columns; the model was fitted with {}", width, wanted));
  return {};
}

}  // namespace

Result<Frame> ColumnsTransform::transform(const Frame& in) const {
  MR_CHECK(check_width(in, in.columns, n_));
  if (!in.sparse) return run(in, all_);
  MR_TRY(auto plain, dense(in));
  return run(plain, all_);
}

Result<Frame> ColumnsTransform::transform_columns(const Frame& in, std::span<const std::size_t> columns) const {
  MR_CHECK(check_width(in, columns.size(), n_));
  if (in.sparse) return Estimator::transform_columns(in, columns);
  return run(in, columns);
}

namespace {

constexpr std::string_view kNotFinite = "has a missing (NaN) or infinite value, which this model does not take";

}  // namespace

Result<Frame> NumberTransform::transform(const Frame& in) const {
  if (!in.sparse || !takes_sparse()) return ColumnsTransform::transform(in);
  MR_CHECK(check_width(in, in.columns, n_));
  if (take != Take::anything)
    for (std::size_t k = 0; k < in.values.size(); ++k)
      if (!std::isfinite(in.values[k]) && (take == Take::finite || std::isinf(in.values[k])))
        return at_column(in.indices[k], kNotFinite);
  Frame own;
  own.rows = in.rows;
  own.columns = in.columns;
  own.f32 = in.f32;
  own.sparse = true;
  own.starts = in.starts;
  own.indices = in.indices;
  own.values = in.values;
  return compute(std::move(own));
}

Result<Frame> NumberTransform::run(const Frame& in, std::span<const std::size_t> columns) const {
  if (!in.texts.empty())
    for (auto c : columns)
      if (in.texts.contains(c)) return at_column(c, "holds texts, and this model takes numbers there");
  Frame own;
  own.rows = in.rows;
  own.columns = columns.size();
  own.f32 = in.f32;
  own.data.resize(in.rows * columns.size());
  double* to = own.data.data();
  for (std::size_t r = 0; r < in.rows; ++r) {
    const double* row = in.data.data() + r * in.columns;
    for (auto c : columns) *to++ = row[c];
  }
  if (take != Take::anything)
    for (std::size_t i = 0; i < own.data.size(); ++i)
      if (!std::isfinite(own.data[i]) && (take == Take::finite || std::isinf(own.data[i])))
        return at_column(columns[i % columns.size()], kNotFinite);
  auto out = compute(std::move(own));
  if (!out) return std::unexpected(renumbered(std::move(out).error(), columns));
  return out;
}

void add_scalers(Makers& makers) {
  add_scalers_of_columns(makers);
  add_imputers(makers);
  add_iterative(makers);
  add_bases(makers);
}

}  // namespace mr::serving
