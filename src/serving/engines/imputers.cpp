// What stands in for missing values: SimpleImputer, MissingIndicator, KNNImputer. Columns may be numbers or texts.
#include "serving/engines/transform.h"

namespace mr::serving {

namespace {

constexpr int kConstantDropsEmpty = 1008;

// missing_values: what counts as missing. None and NaN are one here, since a request has only null.
struct MissingMark {
  enum class Kind : std::uint8_t { nan, number, text } kind = Kind::nan;
  double number = 0;
  std::string text;

  static Result<MissingMark> read(const Build& b, NodeId id) {
    MissingMark m;
    auto at = b.tree.get(id, "missing_values");
    if (b.tree.is_none(at)) return m;
    if (b.tree.at(at).kind == NodeKind::text) {
      m.kind = Kind::text;
      m.text = b.tree.at(at).text;
      return m;
    }
    auto a = b.tree.array_of(at);
    if (!a || a->numbers.size() != 1) return b.bad(id, "its missing_values is not read natively");
    if (!std::isnan(a->numbers[0])) {
      m.kind = Kind::number;
      m.number = a->numbers[0];
    }
    return m;
  }

  // Which cells of a column are missing; true when any is. Infinity, and NaN where it is no mark, are refused.
  Result<bool> mask(const Frame& in, std::size_t column, std::vector<std::uint8_t>& out) const {
    bool any = false;
    out.assign(in.rows, 0);
    if (auto t = in.texts.find(column); !in.texts.empty() && t != in.texts.end()) {
      const auto& texts = t->second;
      for (std::size_t r = 0; r < in.rows; ++r) {
        const bool absent = texts.missing[r] != 0;
        if (absent && kind != Kind::nan)
          return at_column(column, "has a missing value, which is not what this model's imputer fills");
        out[r] = absent || (kind == Kind::text && texts.values[r] == text) ? 1 : 0;
        any = any || out[r] != 0;
      }
      return any;
    }
    for (std::size_t r = 0; r < in.rows; ++r) {
      double v = in.data[r * in.columns + column];
      if (std::isinf(v) || (std::isnan(v) && kind != Kind::nan))
        return at_column(column, "has a missing (NaN) or infinite value, which this model does not take");
      out[r] = (kind == Kind::nan ? std::isnan(v) : kind == Kind::number && v == number) ? 1 : 0;
      any = any || out[r] != 0;
    }
    return any;
  }
};

void put_mask(Frame& out, std::size_t column, const std::vector<std::uint8_t>& mask) {
  for (std::size_t r = 0; r < out.rows; ++r) out.data[r * out.columns + column] = mask[r];
}

// features_ of a MissingIndicator: places of columns.
Result<std::vector<std::size_t>> indicator_features(const Build& b, NodeId id, std::size_t n) {
  std::vector<std::size_t> out;
  MR_TRY(auto features, b.numbers(id, "features_"));
  for (double v : features) {
    if (!(v >= 0 && v < static_cast<double>(n)) || v != std::floor(v))
      return b.bad(id, "features_ names a column that does not exist");
    out.push_back(static_cast<std::size_t>(v));
  }
  if (out.size() > n) return b.bad(id, "features_ names more columns than there are");
  return out;
}

class SimpleImpute : public ColumnsTransform {
 public:
  struct Filler {
    bool keep = true;  // false: the column had no value at all, and is left out
    bool text = false;
    bool nothing = false;  // a statistic of None: what is missing stays so
    double number = 0;
    std::string value;
  };
  MissingMark mark;
  std::vector<Filler> fillers;
  std::vector<std::size_t> indicated;
  std::vector<std::size_t> indicator_of;  // column -> place among the indicators, or SIZE_MAX

 protected:
  [[nodiscard]] Result<Frame> run(const Frame& in, std::span<const std::size_t> columns) const override {
    Frame out;
    out.rows = in.rows;
    out.f32 = in.f32;
    for (const auto& f : fillers) out.columns += f.keep ? 1 : 0;
    const auto first_indicator = out.columns;
    out.columns += indicated.size();
    out.data.resize(out.rows * out.columns);
    std::vector<std::uint8_t> mask;
    std::size_t to = 0;
    for (std::size_t i = 0; i < columns.size(); ++i) {
      const auto c = columns[i];
      MR_TRY(bool any, mark.mask(in, c, mask));
      if (indicator_of[i] != SIZE_MAX) put_mask(out, first_indicator + indicator_of[i], mask);
      if (!fillers[i].keep) continue;
      MR_CHECK(fill(in, c, fillers[i], mask, any, out, to++));
    }
    return out;
  }

 private:
  static Result<> fill(const Frame& in, std::size_t c, const Filler& f, const std::vector<std::uint8_t>& mask, bool any,
                       Frame& out, std::size_t to) {
    if (auto t = in.texts.find(c); t != in.texts.end()) {
      for (std::size_t r = 0; r < out.rows; ++r) out.data[r * out.columns + to] = std::nan("");
      auto& column = out.texts[to] = t->second;
      if (!any || f.nothing) return {};
      if (!f.text) return at_column(c, "holds texts, and this model takes numbers there");
      for (std::size_t r = 0; r < out.rows; ++r)
        if (mask[r] != 0) {
          column.values[r] = f.value;
          column.missing[r] = 0;
        }
      return {};
    }
    if (f.text && any) {
      // A column of nothing but nulls has no type of its own.
      if (std::ranges::any_of(mask, [](auto m) { return m == 0; }))
        return at_column(c, "holds numbers, and this model takes texts there");
      for (std::size_t r = 0; r < out.rows; ++r) out.data[r * out.columns + to] = std::nan("");
      out.texts[to] = {std::vector<std::string>(out.rows, f.value), std::vector<std::uint8_t>(out.rows, 0)};
      return {};
    }
    const double value = out.f32 ? to_f32(f.number) : f.number;
    for (std::size_t r = 0; r < out.rows; ++r)
      out.data[r * out.columns + to] = mask[r] != 0 ? value : in.data[r * in.columns + c];
    return {};
  }
};

// One statistic: a number, a text, or none (NaN).
Result<SimpleImpute::Filler> filler_of(const Build& b, NodeId owner, NodeId cell) {
  SimpleImpute::Filler f;
  if (b.tree.is_none(cell)) {
    f.nothing = true;
    f.number = std::nan("");
    return f;
  }
  if (b.tree.at(cell).kind == NodeKind::text) {
    f.text = true;
    f.value = b.tree.at(cell).text;
    return f;
  }
  auto a = b.tree.array_of(cell);
  if (!a || a->size() != 1) return b.bad(owner, "statistics_ holds something else than numbers and texts");
  if (!a->texts.empty()) {
    f.text = true;
    f.value = a->texts[0];
  } else {
    f.number = a->numbers[0];
    f.keep = !std::isnan(f.number);
  }
  return f;
}

Result<EstimatorPtr> make_simple(Build& b, NodeId id) {
  auto s = std::make_unique<SimpleImpute>();
  MR_TRY(s->mark, MissingMark::read(b, id));
  auto at = b.tree.get(id, "statistics_");
  if (b.tree.is_none(at)) return b.bad(id, "it has no statistics_: is it fitted?");
  if (auto a = b.tree.array_of(at)) {
    for (const auto& text : a->texts) s->fillers.push_back({.text = true, .value = text});
    for (double v : a->numbers) s->fillers.push_back({.keep = !std::isnan(v), .number = v});
  } else {
    auto cells = b.tree.cells(at);
    if (!cells) return b.bad(id, "statistics_ is not an array");
    for (auto c : *cells) {
      MR_TRY(auto f, filler_of(b, id, c));
      s->fillers.push_back(std::move(f));
    }
  }
  const bool constant = b.text_or(id, "strategy", "mean") == "constant" && b.version_of(id) < kConstantDropsEmpty;
  if (constant || b.flag_or(id, "keep_empty_features", false))
    for (auto& f : s->fillers) {
      if (!f.keep) f.number = std::nan("");
      f.keep = true;
    }
  const auto n = s->fillers.size();
  s->indicator_of.assign(n, SIZE_MAX);
  if (auto indicator = b.tree.get(id, "indicator_"); !b.tree.is_none(indicator)) {
    MR_TRY(s->indicated, indicator_features(b, indicator, n));
    for (std::size_t i = 0; i < s->indicated.size(); ++i) s->indicator_of[s->indicated[i]] = i;
  }
  s->set_features(n);
  return s;
}

class Indicate : public ColumnsTransform {
 public:
  MissingMark mark;
  std::vector<std::size_t> features_out;
  std::vector<std::uint8_t> refused;  // columns that had nothing missing at training

 protected:
  [[nodiscard]] Result<Frame> run(const Frame& in, std::span<const std::size_t> columns) const override {
    Frame out;
    out.rows = in.rows;
    out.columns = features_out.size();
    out.data.resize(out.rows * out.columns);
    std::vector<std::uint8_t> mask;
    for (std::size_t i = 0; i < columns.size(); ++i)
      if (refused[i] != 0) {
        MR_TRY(bool any, mark.mask(in, columns[i], mask));
        if (any) return at_column(columns[i], "has a missing value, and had none when the model was fitted");
      }
    for (std::size_t i = 0; i < features_out.size(); ++i) {
      MR_CHECK(mark.mask(in, columns[features_out[i]], mask));
      put_mask(out, i, mask);
    }
    return out;
  }
};

Result<EstimatorPtr> make_indicator(Build& b, NodeId id) {
  auto s = std::make_unique<Indicate>();
  MR_TRY(s->mark, MissingMark::read(b, id));
  MR_TRY(auto n,
         feature_count(b, id, static_cast<std::size_t>(std::clamp(b.number_or(id, "_n_features", 0), 0.0, 1e6))));
  if (n == 0) return b.bad(id, "it has no n_features_in_");
  MR_TRY(s->features_out, indicator_features(b, id, n));
  s->refused.assign(n, 0);
  const bool all = b.text_or(id, "features", "missing-only") == "all";
  if (!all && b.flag_or(id, "error_on_new", true)) {
    s->refused.assign(n, 1);
    for (auto c : s->features_out) s->refused[c] = 0;
  }
  s->set_features(n);
  return s;
}

// --- KNNImputer ---

class NeighbourImpute : public NumberTransform {
 public:
  std::vector<double> fit;          // rows x n, NaN where missing
  std::vector<std::uint8_t> valid;  // columns that had a value
  std::vector<double> mean;         // of each column's values
  std::size_t fit_rows = 0;
  std::size_t neighbours = 5;
  bool by_distance = false;
  bool keep_empty = false;
  std::vector<std::size_t> indicated;
  MissingMark mark;
  NeighbourImpute() { take = Take::missing; }

 protected:
  [[nodiscard]] Result<Frame> compute(Frame f) const override {
    const auto n = f.columns;
    if (mark.kind == MissingMark::Kind::number)
      for (auto& v : f.data) {
        if (std::isnan(v))
          return fail(Code::invalid_argument, "the input has a missing (NaN) value, which this model does not take");
        if (v == mark.number) v = std::nan("");
      }
    Frame out;
    out.rows = f.rows;
    out.f32 = f.f32;
    for (auto v : valid) out.columns += v != 0 || keep_empty ? 1 : 0;
    const auto first_indicator = out.columns;
    out.columns += indicated.size();
    out.data.resize(out.rows * out.columns);
    std::vector<double> distance(fit_rows);
    std::vector<std::uint32_t> order;
    for (std::size_t r = 0; r < f.rows; ++r) {
      const double* x = f.data.data() + r * n;
      double* to = out.data.data() + r * out.columns;
      for (std::size_t i = 0; i < indicated.size(); ++i) to[first_indicator + i] = std::isnan(x[indicated[i]]) ? 1 : 0;
      bool measured = false;
      for (std::size_t c = 0; c < n; ++c) {
        if (valid[c] == 0) {
          if (keep_empty) *to++ = 0;
          continue;
        }
        double v = x[c];
        if (std::isnan(v)) {
          if (!measured) measure(x, distance);
          measured = true;
          v = impute(c, distance, order);
          if (f.f32) v = to_f32(v);
        }
        *to++ = v;
      }
    }
    return out;
  }

 private:
  // Euclidean over what both rows have, scaled up to all columns; NaN where they share none.
  void measure(const double* x, std::vector<double>& distance) const {
    const auto n = features();
    for (std::size_t i = 0; i < fit_rows; ++i) {
      const double* y = fit.data() + i * n;
      double sum = 0;
      std::size_t shared = 0;
      for (std::size_t c = 0; c < n; ++c) {
        if (std::isnan(x[c]) || std::isnan(y[c])) continue;
        double d = x[c] - y[c];
        sum += d * d;
        ++shared;
      }
      distance[i] = shared == 0 ? std::nan("") : std::sqrt(sum / static_cast<double>(shared) * static_cast<double>(n));
    }
  }
  [[nodiscard]] double impute(std::size_t c, const std::vector<double>& distance,
                              std::vector<std::uint32_t>& order) const {
    const auto n = features();
    order.clear();
    for (std::size_t i = 0; i < fit_rows; ++i)
      if (!std::isnan(fit[i * n + c]) && !std::isnan(distance[i])) order.push_back(static_cast<std::uint32_t>(i));
    if (order.empty()) return mean[c];
    const auto k = std::min(neighbours, order.size());
    auto nearer = [&](std::uint32_t a, std::uint32_t b) {
      return distance[a] < distance[b] || (distance[a] == distance[b] && a < b);
    };
    std::nth_element(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(k - 1), order.end(), nearer);
    order.resize(k);
    const bool touching = by_distance && std::ranges::any_of(order, [&](auto i) { return distance[i] == 0; });
    double sum = 0;
    double weights = 0;
    for (auto i : order) {
      double w = !by_distance ? 1 : touching ? (distance[i] == 0 ? 1 : 0) : 1 / distance[i];
      sum += w * fit[i * n + c];
      weights += w;
    }
    return sum / weights;
  }
};

Result<EstimatorPtr> make_knn(Build& b, NodeId id) {
  auto s = std::make_unique<NeighbourImpute>();
  MR_TRY(s->mark, MissingMark::read(b, id));
  MR_TRY(auto x, b.array(id, "_fit_X"));
  MR_TRY(auto mask, b.array(id, "_mask_fit_X"));
  if (x.shape.size() != 2 || x.numbers.empty() || mask.numbers.size() != x.numbers.size())
    return b.bad(id, "_fit_X and _mask_fit_X do not fit");
  s->fit_rows = static_cast<std::size_t>(x.shape[0]);
  const auto n = static_cast<std::size_t>(x.shape[1]);
  s->fit = std::move(x.numbers);
  for (std::size_t i = 0; i < s->fit.size(); ++i)
    if (mask.numbers[i] != 0) s->fit[i] = std::nan("");
  s->valid.assign(n, 0);
  s->mean.assign(n, 0);
  for (std::size_t c = 0; c < n; ++c) {
    double sum = 0;
    std::size_t count = 0;
    for (std::size_t r = 0; r < s->fit_rows; ++r)
      if (double v = s->fit[r * n + c]; !std::isnan(v)) {
        sum += v;
        ++count;
      }
    s->valid[c] = count > 0 ? 1 : 0;
    if (count > 0) s->mean[c] = sum / static_cast<double>(count);
  }
  MR_TRY(auto k, b.number(id, "n_neighbors"));
  if (!(k >= 1 && k <= 1e6)) return b.bad(id, "n_neighbors is out of range");
  s->neighbours = static_cast<std::size_t>(k);
  auto weights = b.text_or(id, "weights", "");
  if (weights != "uniform" && weights != "distance") return b.bad(id, "its weights are not read natively");
  if (b.text_or(id, "metric", "") != "nan_euclidean") return b.bad(id, "its metric is not read natively");
  s->by_distance = weights == "distance";
  s->keep_empty = b.flag_or(id, "keep_empty_features", false);
  if (auto indicator = b.tree.get(id, "indicator_"); !b.tree.is_none(indicator)) {
    MR_TRY(s->indicated, indicator_features(b, indicator, n));
  }
  s->set_features(n);
  return s;
}

}  // namespace

void add_imputers(Makers& m) {
  m["sklearn*SimpleImputer"] = make_simple;
  m["sklearn*MissingIndicator"] = make_indicator;
  m["sklearn*KNNImputer"] = make_knn;
}

}  // namespace mr::serving
