// Columns that become several: PolynomialFeatures, SplineTransformer, KBinsDiscretizer.
#include "serving/engines/transform.h"

namespace mr::serving {

namespace {

// --- PolynomialFeatures ---

constexpr std::size_t kMaxProducts = std::size_t{1} << 21;

// Each output is a constant, or an input times an earlier product: the original multiplies in this order too.
struct Product {
  std::uint32_t input = 0;
  std::uint32_t rest = UINT32_MAX;  // an earlier product, or none
};

class Polynomial : public NumberTransform {
 public:
  std::vector<Product> products;      // ascending degree
  std::vector<std::uint32_t> output;  // of a product, or UINT32_MAX: only a step on the way
  std::size_t width = 0;
  bool bias = false;
  Polynomial() { take = Take::finite; }

 protected:
  [[nodiscard]] Result<Frame> compute(Frame f) const override {
    if (width != 0 && f.rows > kMaxCells / width)
      return fail(Code::too_large, "the rows give more polynomial features than fit into memory");
    Frame out;
    out.rows = f.rows;
    out.columns = width;
    out.f32 = f.f32;
    out.data.resize(out.rows * width);
    std::vector<double> values(products.size());
    for (std::size_t r = 0; r < f.rows; ++r) {
      const double* x = f.data.data() + r * f.columns;
      double* to = out.data.data() + r * width;
      if (bias) to[0] = 1;
      for (std::size_t i = 0; i < products.size(); ++i) {
        const auto& p = products[i];
        double v = x[p.input];
        if (p.rest != UINT32_MAX) v *= values[p.rest];
        values[i] = f.f32 ? to_f32(v) : v;
        if (output[i] != UINT32_MAX) to[output[i]] = values[i];
      }
    }
    return out;
  }
};

Result<EstimatorPtr> make_polynomial(Build& b, NodeId id) {
  auto p = std::make_unique<Polynomial>();
  MR_TRY(auto n, feature_count(b, id));
  if (n == 0) return b.bad(id, "it has no n_features_in_");
  auto degree = b.tree.get(id, "degree");
  if (b.tree.is_none(degree)) return b.bad(id, "it has no degree");
  MR_TRY(auto degrees, numbers_at(b.tree, degree));
  if (degrees.size() == 1) degrees.insert(degrees.begin(), 0);
  if (degrees.size() != 2 || !(degrees[0] >= 0 && degrees[0] <= degrees[1] && degrees[1] <= 64))
    return b.bad(id, "degree is out of range");
  const bool interaction = b.flag_or(id, "interaction_only", false);
  p->bias = b.flag_or(id, "include_bias", true);
  const auto low = static_cast<std::size_t>(degrees[0]);
  const auto high = static_cast<std::size_t>(degrees[1]);
  p->width = p->bias ? 1 : 0;
  // Products of one degree, by their first input: `starts[i]` is where those of inputs i and more begin.
  std::vector<std::size_t> starts(n + 1, 0);
  for (std::size_t d = 1; d <= high; ++d) {
    std::vector<std::size_t> next(n + 1, 0);
    const auto end = p->products.size();  // of the degree before
    for (std::size_t i = 0; i < n; ++i) {
      next[i] = p->products.size();
      if (d == 1) {
        p->products.push_back({static_cast<std::uint32_t>(i), UINT32_MAX});
      } else {
        for (auto k = starts[interaction ? i + 1 : i]; k < end; ++k)
          p->products.push_back({static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(k)});
      }
      if (p->products.size() > kMaxProducts) return b.bad(id, "it makes more features than are read");
    }
    next[n] = p->products.size();
    starts = std::move(next);
    for (auto i = end; i < p->products.size(); ++i)
      p->output.push_back(d >= low ? static_cast<std::uint32_t>(p->width++) : UINT32_MAX);
  }
  p->set_features(n);
  return p;
}

// --- SplineTransformer ---

struct Spline {
  std::vector<double> t;
  std::size_t k = 0;
  std::vector<std::uint32_t> column_of;  // basis -> its column among `splines`
  double low = 0, high = 0;              // beyond these the bases are continued
  double first = 0, last = 0;            // the interval of the base
  std::size_t continued = 0;             // how many bases are, at either end
  std::vector<double> at_low, at_high, slope_low, slope_high;

  [[nodiscard]] std::size_t bases() const { return t.size() - k - 1; }
  [[nodiscard]] std::size_t interval(double x) const {
    // The last interval holds its right end too.
    auto it = std::upper_bound(t.begin() + static_cast<std::ptrdiff_t>(k),
                               t.begin() + static_cast<std::ptrdiff_t>(bases()), x);
    auto i = static_cast<std::size_t>(it - t.begin());
    return i <= k ? k : std::min(i - 1, bases() - 1);
  }
  // The k + 1 bases that are not zero on interval `i`, of degree `degree`, by the recurrence of Cox and de Boor.
  void evaluate(double x, std::size_t i, std::size_t degree, double* b) const {
    b[0] = 1;
    for (std::size_t j = 1; j <= degree; ++j) {
      double carry = 0;
      for (std::size_t m = 0; m < j; ++m) {
        double right = t[i + 1 + m];
        double left = t[i + 1 + m - j];
        double width = right - left;
        double w = width == 0 ? 0 : b[m] / width;
        b[m] = carry + w * (right - x);
        carry = w * (x - left);
      }
      b[j] = carry;
    }
  }
  void row(double x, double* out) const {
    std::array<double, 32> b{};
    auto i = interval(x);
    evaluate(x, i, k, b.data());
    for (std::size_t j = 0; j <= k; ++j) out[column_of[i - k + j]] += b[j];
  }
  void slope(double x, double* out) const {
    if (k == 0) return;
    std::array<double, 32> b{};
    auto i = interval(x);
    evaluate(x, i, k - 1, b.data());
    for (std::size_t j = 0; j <= k; ++j) {
      double v = 0;
      const auto basis = i - k + j;
      if (j > 0 && t[basis + k] != t[basis]) v += b[j - 1] / (t[basis + k] - t[basis]);
      if (j < k && t[basis + k + 1] != t[basis + 1]) v -= b[j] / (t[basis + k + 1] - t[basis + 1]);
      out[column_of[basis]] += v * static_cast<double>(k);
    }
  }
};

class SplineBases : public NumberTransform {
 public:
  enum class Beyond : std::uint8_t { error, constant, linear, go_on, periodic };
  std::vector<Spline> splines;
  std::size_t per_column = 0;
  Beyond beyond = Beyond::constant;
  bool bias = true;
  bool missing_zero = false;
  void allow_missing() {
    missing_zero = true;
    take = Take::missing;
  }
  SplineBases() { take = Take::finite; }

 protected:
  [[nodiscard]] Result<Frame> compute(Frame f) const override {
    Frame out;
    const auto kept = per_column - (bias ? 0 : 1);
    out.rows = f.rows;
    out.columns = splines.size() * kept;
    out.f32 = f.f32;
    if (out.columns != 0 && out.rows > kMaxCells / out.columns)
      return fail(Code::too_large, "the rows give more spline features than fit into memory");
    out.data.resize(out.rows * out.columns);
    std::vector<double> row(per_column);
    for (std::size_t c = 0; c < splines.size(); ++c)
      for (std::size_t r = 0; r < f.rows; ++r) {
        std::ranges::fill(row, 0.0);
        double x = f.data[r * f.columns + c];
        if (!std::isnan(x) && !one(splines[c], x, row))
          return at_column(c, "has a value beyond the limits of the knots");
        double* to = out.data.data() + r * out.columns + c * kept;
        for (std::size_t j = 0; j < kept; ++j) to[j] = out.f32 ? to_f32(row[j]) : row[j];
      }
    return out;
  }

 private:
  [[nodiscard]] bool one(const Spline& s, double x, std::vector<double>& row) const {
    if (beyond == Beyond::periodic) {
      double span = s.last - s.first;
      double m = span > 0 ? std::fmod(x - s.first, span) : 0;
      if (m < 0) m += span;
      s.row(span > 0 ? s.first + m : 0, row.data());
      return true;
    }
    const bool below = x < s.low;
    const bool above = x > s.high;
    if ((!below && !above) || beyond == Beyond::go_on) {
      s.row(x, row.data());
      return true;
    }
    if (beyond == Beyond::error) return false;
    const auto& at = below ? s.at_low : s.at_high;
    const auto& slope = below ? s.slope_low : s.slope_high;
    double way = x - (below ? s.low : s.high);
    for (std::size_t j = 0; j < s.continued && j < per_column; ++j) {
      auto i = below ? j : per_column - 1 - j;
      row[i] = beyond == Beyond::linear ? at[i] + way * slope[i] : at[i];
    }
    return true;
  }
};

// `ends`: at which knot from either end the interval ends.
Result<Spline> spline_of(const Build& b, NodeId owner, NodeId id, std::size_t ends, std::size_t& per_column) {
  Spline s;
  if (!b.tree.class_of(id).ends_with(".BSpline")) return b.bad(owner, "bsplines_ holds something else than splines");
  auto either = [&](std::string_view one, std::string_view other) {
    auto at = b.tree.get(id, one);
    return b.tree.array_of(b.tree.is_none(at) ? b.tree.get(id, other) : at);
  };
  auto t = either("_t", "t");
  auto c = either("_c", "c");
  double k = b.number_or(id, "k", -1);
  if (!t || !c || !(k >= 0 && k <= 20)) return b.bad(owner, "a spline has no knots, or a degree that is not read");
  s.t = std::move(t->numbers);
  s.k = static_cast<std::size_t>(k);
  if (s.t.size() < 2 * s.k + 2 || s.t.size() > kMaxColumns || !std::ranges::is_sorted(s.t) ||
      !std::ranges::all_of(s.t, [](double v) { return std::isfinite(v); }))
    return b.bad(owner, "a spline's knots are not in order");
  if (c->shape.size() != 2 || c->shape[0] < 1 || c->shape[1] < 1 || static_cast<std::size_t>(c->shape[0]) < s.bases())
    return b.bad(owner, "a spline's coefficients do not fit its knots");
  const auto width = static_cast<std::size_t>(c->shape[1]);
  if (per_column != 0 && per_column != width) return b.bad(owner, "the splines differ in width");
  per_column = width;
  for (std::size_t i = 0; i < s.bases(); ++i) {
    std::size_t found = SIZE_MAX;
    for (std::size_t j = 0; j < width; ++j)
      if (double v = c->numbers[i * width + j]; v != 0) {
        if (v != 1 || found != SIZE_MAX) return b.bad(owner, "a spline's coefficients are not those of its bases");
        found = j;
      }
    if (found == SIZE_MAX) return b.bad(owner, "a spline's coefficients are not those of its bases");
    s.column_of.push_back(static_cast<std::uint32_t>(found));
  }
  s.first = s.t[s.k];
  s.last = s.t[s.bases()];
  if (ends < s.t.size() / 2) {
    s.low = s.t[ends];
    s.high = s.t[s.t.size() - ends - 1];
  } else {
    return b.bad(owner, "a spline has too few knots for its degree");
  }
  for (auto* v : {&s.at_low, &s.at_high, &s.slope_low, &s.slope_high}) v->assign(width, 0.0);
  s.row(s.low, s.at_low.data());
  s.row(s.high, s.at_high.data());
  s.slope(s.low, s.slope_low.data());
  s.slope(s.high, s.slope_high.data());
  return s;
}

Result<EstimatorPtr> make_splines(Build& b, NodeId id) {
  auto p = std::make_unique<SplineBases>();
  static const std::map<std::string, SplineBases::Beyond, std::less<>> ways{
      {"error", SplineBases::Beyond::error},
      {"constant", SplineBases::Beyond::constant},
      {"linear", SplineBases::Beyond::linear},
      {"continue", SplineBases::Beyond::go_on},
      {"periodic", SplineBases::Beyond::periodic}};
  auto way = ways.find(b.text_or(id, "extrapolation", "constant"));
  if (way == ways.end()) return b.bad(id, "its extrapolation is not read");
  p->beyond = way->second;
  p->bias = b.flag_or(id, "include_bias", true);
  if (b.text_or(id, "handle_missing", "error") == "zeros") p->allow_missing();
  MR_TRY(auto degree, b.number(id, "degree"));
  if (!(degree >= 0 && degree <= 20)) return b.bad(id, "degree is out of range");
  // Where slopes continue a degree of 0 or 1, the original raises its degree by one at a column's end, and forgets to
  // lower it before the next: that column's interval then ends a knot earlier. The numbers are to be the same.
  auto ends = static_cast<std::size_t>(degree);
  for (auto spline : b.items(id, "bsplines_")) {
    MR_TRY(auto s, spline_of(b, id, spline, ends, p->per_column));
    if (p->beyond == SplineBases::Beyond::linear && ends <= 1) ++ends;
    s.continued = ends;
    p->splines.push_back(std::move(s));
  }
  if (p->splines.empty()) return b.bad(id, "it has no bsplines_: is it fitted?");
  p->set_features(p->splines.size());
  return p;
}

// --- KBinsDiscretizer ---

class Bins : public NumberTransform {
 public:
  enum class Form : std::uint8_t { ordinal, sparse, wide } form = Form::sparse;
  std::vector<std::vector<double>> edges;  // of each column, all of them
  std::vector<std::size_t> first;          // output column of a column's bin 0
  std::vector<std::size_t> count;
  std::size_t width = 0;
  bool nudge = false;  // 1.0 moved values that are close to an edge over it
  bool to_f32_first = false;
  Bins() { take = Take::finite; }

 protected:
  [[nodiscard]] Result<Frame> compute(Frame f) const override {
    if (to_f32_first) {
      f.f32 = true;
      for (auto& v : f.data) v = to_f32(v);
    }
    Frame out;
    out.rows = f.rows;
    out.f32 = f.f32;
    out.columns = form == Form::ordinal ? f.columns : width;
    out.sparse = form == Form::sparse;
    if (out.sparse)
      out.starts.push_back(0);
    else if (out.columns != 0 && out.rows > kMaxCells / out.columns)
      return fail(Code::too_large, "the rows give more bins than fit into memory");
    else
      out.data.resize(out.rows * out.columns);
    for (std::size_t r = 0; r < f.rows; ++r) {
      for (std::size_t c = 0; c < f.columns; ++c) {
        const auto bin = bin_of(f.data[r * f.columns + c], c);
        if (form == Form::ordinal) {
          out.data[r * f.columns + c] = static_cast<double>(bin);
        } else if (form == Form::wide) {
          out.data[r * width + first[c] + bin] = 1;
        } else {
          out.indices.push_back(static_cast<std::uint32_t>(first[c] + bin));
          out.values.push_back(1);
        }
      }
      if (out.sparse) out.starts.push_back(out.indices.size());
    }
    return out;
  }

 private:
  [[nodiscard]] std::size_t bin_of(double v, std::size_t c) const {
    const auto& e = edges[c];
    if (nudge) v += 1e-8 + 1e-5 * std::fabs(v);
    auto it = std::upper_bound(e.begin() + 1, e.end() - 1, v);
    return std::min(static_cast<std::size_t>(it - e.begin()) - 1, count[c] - 1);
  }
};

Result<EstimatorPtr> make_bins(Build& b, NodeId id) {
  auto p = std::make_unique<Bins>();
  auto at = b.tree.get(id, "bin_edges_");
  if (b.tree.is_none(at)) return b.bad(id, "it has no bin_edges_: is it fitted?");
  auto encode = b.text_or(id, "encode", "onehot");
  if (encode != "onehot" && encode != "onehot-dense" && encode != "ordinal")
    return b.bad(id, fmt::format("encode '{}' is not read", printable(encode)));
  p->form = encode == "onehot" ? Bins::Form::sparse : encode == "ordinal" ? Bins::Form::ordinal : Bins::Form::wide;
  auto cells = b.tree.cells(at);
  if (!cells) {
    // Columns with the same number of edges may have become one array of two dimensions.
    auto a = b.tree.array_of(at);
    if (!a || a->shape.size() != 2 || a->shape[1] < 1) return b.bad(id, "bin_edges_ is not an array of arrays");
    const auto width = static_cast<std::size_t>(a->shape[1]);
    for (std::size_t i = 0; i + width <= a->numbers.size(); i += width)
      p->edges.emplace_back(a->numbers.begin() + static_cast<std::ptrdiff_t>(i),
                            a->numbers.begin() + static_cast<std::ptrdiff_t>(i + width));
  } else {
    for (auto c : *cells) {
      MR_TRY(auto e, numbers_at(b.tree, c));
      p->edges.push_back(std::move(e));
    }
  }
  for (const auto& e : p->edges) {
    if (e.size() < 2 || !std::ranges::is_sorted(e) || std::ranges::any_of(e, [](double v) { return std::isnan(v); }))
      return b.bad(id, "bin_edges_ are not in order");
    p->first.push_back(p->width);
    p->count.push_back(e.size() - 1);
    p->width += e.size() - 1;
  }
  if (p->edges.empty() || p->width > kMaxColumns) return b.bad(id, "it has no bins, or more than are read");
  p->nudge = b.version_of(id) > 0 && b.version_of(id) <= 1000;
  p->to_f32_first = is_float32(b.tree, b.tree.get(id, "dtype"));
  p->set_features(p->edges.size());
  return p;
}

}  // namespace

void add_bases(Makers& m) {
  m["sklearn*PolynomialFeatures"] = make_polynomial;
  m["sklearn*SplineTransformer"] = make_splines;
  m["sklearn*KBinsDiscretizer"] = make_bins;
}

}  // namespace mr::serving
