// IterativeImputer: each column's missing values by a model of the other columns, in rounds.
#include "serving/engines/transform.h"

namespace mr::serving {

namespace {

class Rounds : public NumberTransform {
 public:
  struct Step {
    std::size_t column = 0;
    std::vector<std::size_t> others;
    EstimatorPtr model;
  };
  std::vector<double> initial, low, high;
  std::vector<Step> steps;
  std::vector<std::size_t> indicated;

 protected:
  [[nodiscard]] Result<Frame> compute(Frame f) const override {
    const auto n = f.columns;
    std::vector<std::uint8_t> missing(f.data.size());
    std::size_t count = 0;
    for (std::size_t i = 0; i < f.data.size(); ++i) {
      missing[i] = std::isnan(f.data[i]) ? 1 : 0;
      count += missing[i];
      if (missing[i] != 0) f.data[i] = f.f32 ? to_f32(initial[i % n]) : initial[i % n];
    }
    // With nothing to learn from, the original leaves it at the first filling.
    if (count > 0 && count < f.data.size()) MR_CHECK(improve(f, missing));
    if (indicated.empty()) return f;
    Frame mask;
    mask.rows = f.rows;
    mask.columns = indicated.size();
    mask.f32 = f.f32;
    for (std::size_t r = 0; r < f.rows; ++r)
      for (auto c : indicated) mask.data.push_back(missing[r * n + c]);
    std::vector<Frame> parts;
    const auto rows = f.rows;
    parts.push_back(std::move(f));
    parts.push_back(std::move(mask));
    return side_by_side(std::move(parts), rows, false);
  }

 private:
  [[nodiscard]] Result<> improve(Frame& f, const std::vector<std::uint8_t>& missing) const {
    const auto n = f.columns;
    std::vector<std::size_t> rows;
    for (const auto& s : steps) {
      rows.clear();
      for (std::size_t r = 0; r < f.rows; ++r)
        if (missing[r * n + s.column] != 0) rows.push_back(r);
      if (rows.empty()) continue;
      Frame known;
      known.rows = rows.size();
      known.columns = s.others.size();
      known.f32 = f.f32;
      known.data.reserve(known.rows * known.columns);
      for (auto r : rows)
        for (auto c : s.others) known.data.push_back(f.data[r * n + c]);
      auto guess = s.model->predict(known);
      if (!guess) return std::unexpected(placed(std::move(guess).error(), "within the imputer"));
      if (guess->numbers.size() != rows.size())
        return fail(Code::internal, "a model within the imputer gives another number of values than there are rows");
      for (std::size_t i = 0; i < rows.size(); ++i) {
        const double v = std::max(low[s.column], std::min(guess->numbers[i], high[s.column]));
        f.data[rows[i] * n + s.column] = f.f32 ? to_f32(v) : v;
      }
    }
    return {};
  }
};

Result<std::vector<std::size_t>> places_at(const Build& b, NodeId owner, NodeId id, std::size_t n) {
  MR_TRY(auto numbers, numbers_at(b.tree, id));
  std::vector<std::size_t> out;
  for (double v : numbers) {
    if (!(v >= 0 && v < static_cast<double>(n)) || v != std::floor(v) || out.size() > n)
      return b.bad(owner, "it names a column that does not exist");
    out.push_back(static_cast<std::size_t>(v));
  }
  return out;
}

// _min_value and _max_value: of each column, or one for all.
Result<std::vector<double>> bounds(const Build& b, NodeId id, std::string_view attribute, std::size_t n) {
  MR_TRY(auto a, b.array(id, attribute));
  if (a.numbers.size() == 1) return std::vector<double>(n, a.numbers[0]);
  return values_of(b, id, attribute, n);
}

Result<EstimatorPtr> make_iterative(Build& b, NodeId id) {
  if (b.flag_or(id, "sample_posterior", false))
    return fail(Code::unimplemented,
                "IterativeImputer with sample_posterior draws at random, and is not read natively");
  auto e = std::make_unique<Rounds>();
  auto first = b.tree.get(id, "initial_imputer_");
  if (b.tree.is_none(first)) return b.bad(id, "it has no initial_imputer_: is it fitted?");
  auto mark = b.tree.array_of(b.tree.get(first, "missing_values"));
  MR_TRY(e->initial, numbers_at(b.tree, b.tree.get(first, "statistics_")));
  const bool plain = mark && mark->numbers.size() == 1 && std::isnan(mark->numbers[0]) &&
                     std::ranges::all_of(e->initial, [](double v) { return std::isfinite(v); });
  if (!plain || b.flag_or(id, "keep_empty_features", false))
    return fail(Code::unimplemented,
                "IterativeImputer with empty columns, or another mark than NaN, is not read natively");
  const auto n = e->initial.size();
  MR_TRY(e->low, bounds(b, id, "_min_value", n));
  MR_TRY(e->high, bounds(b, id, "_max_value", n));
  for (auto triplet : b.items(id, "imputation_sequence_")) {
    // A named tuple: an object of its class with three arguments.
    const auto& node = b.tree.at(triplet);
    if (node.items.size() != 3) return b.bad(id, "imputation_sequence_ is not made of triplets");
    MR_TRY(auto column, places_at(b, id, node.items[0], n));
    Rounds::Step s;
    MR_TRY(s.others, places_at(b, id, node.items[1], n));
    if (column.size() != 1) return b.bad(id, "imputation_sequence_ is not made of triplets");
    s.column = column[0];
    MR_TRY(s.model, b.estimator(node.items[2]));
    if (s.model->features() != s.others.size()) return b.bad(id, "a model within does not fit its columns");
    e->steps.push_back(std::move(s));
  }
  if (auto indicator = b.tree.get(id, "indicator_"); !b.tree.is_none(indicator)) {
    MR_TRY(e->indicated, places_at(b, id, b.tree.get(indicator, "features_"), n));
  }
  e->set_features(n);
  return e;
}

}  // namespace

void add_iterative(Makers& m) { m["sklearn*IterativeImputer"] = make_iterative; }

}  // namespace mr::serving
