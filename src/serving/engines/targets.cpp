// Regressors on transformed targets: what they say is put through the inverse of a transformer of numbers.
#include "serving/engines/matrix.h"
#include "serving/engines/member.h"
#include "serving/engines/rows.h"
#include "serving/engines/transform.h"

namespace mr::serving {

namespace {

// Inverse of one column's transformer.
using Inverse = std::function<double(double)>;

Inverse shifted(double scale, double shift) {
  return [=](double v) { return v * scale + shift; };
}

double inverse_yeo_johnson(double v, double lambda) {
  if (v >= 0) return lambda == 0 ? std::expm1(v) : std::exp(std::log1p(v * lambda) / lambda) - 1;
  return lambda == 2 ? -std::expm1(-v) : 1 - std::exp(std::log1p(-(2 - lambda) * v) / (2 - lambda));
}

double inverse_box_cox(double v, double lambda) {
  return lambda == 0 ? std::exp(v) : std::exp(std::log1p(lambda * v) / lambda);
}

// Linear between points (x, y); x ascends.
double between(const std::vector<double>& x, const std::vector<double>& y, double v) {
  if (v <= x.front()) return y.front();
  if (v >= x.back()) return y.back();
  auto end = static_cast<std::size_t>(std::upper_bound(x.begin(), x.end(), v) - x.begin());
  double slope = (y[end] - y[end - 1]) / (x[end] - x[end - 1]);
  return slope * (v - x[end - 1]) + y[end - 1];
}

// One number a column, or `fallback` where the attribute is absent (a scaler that does not scale).
Result<std::vector<double>> per_column(const Build& b, NodeId id, std::string_view attribute, double fallback,
                                       std::size_t columns) {
  if (b.tree.is_none(b.tree.get(id, attribute))) return std::vector<double>(columns, fallback);
  MR_TRY(auto v, b.numbers(id, attribute));
  if (v.size() != columns) return b.bad(id, fmt::format("{} does not fit the target", attribute));
  return v;
}

Result<std::vector<Inverse>> scaler_inverse(const Build& b, NodeId id, const char* scale, const char* shift,
                                            std::size_t columns) {
  MR_TRY(auto by, per_column(b, id, scale, 1, columns));
  MR_TRY(auto to, per_column(b, id, shift, 0, columns));
  std::vector<Inverse> out;
  for (std::size_t c = 0; c < columns; ++c) out.push_back(shifted(by[c], to[c]));
  return out;
}

Result<std::vector<Inverse>> power_inverse(const Build& b, NodeId id, std::size_t columns) {
  MR_TRY(auto lambdas, per_column(b, id, "lambdas_", 1, columns));
  std::vector<Inverse> scaled(columns, [](double v) { return v; });
  if (auto scaler = b.tree.get(id, "_scaler"); b.flag_or(id, "standardize", true) && !b.tree.is_none(scaler)) {
    MR_TRY(scaled, scaler_inverse(b, scaler, "scale_", "mean_", columns));
  }
  const bool box_cox = b.text_or(id, "method", "yeo-johnson") == "box-cox";
  std::vector<Inverse> out;
  for (std::size_t c = 0; c < columns; ++c)
    out.push_back([lambda = lambdas[c], before = scaled[c], box_cox](double v) {
      return box_cox ? inverse_box_cox(before(v), lambda) : inverse_yeo_johnson(before(v), lambda);
    });
  return out;
}

Result<std::vector<Inverse>> quantile_inverse(const Build& b, NodeId id, std::size_t columns) {
  MR_TRY(auto quantiles, read_dense(b, id, "quantiles_"));
  MR_TRY(auto references, b.numbers(id, "references_"));
  if (quantiles.columns != columns || quantiles.rows != references.size() || references.empty() ||
      !std::is_sorted(references.begin(), references.end()))
    return b.bad(id, "quantiles_ and references_ do not fit the target");
  const bool normal = b.text_or(id, "output_distribution", "uniform") == "normal";
  std::vector<Inverse> out;
  for (std::size_t c = 0; c < columns; ++c) {
    std::vector<double> own;
    for (std::size_t r = 0; r < quantiles.rows; ++r) own.push_back(quantiles.row(r)[c]);
    out.push_back([references, own = std::move(own), normal](double v) {
      if (normal) v = 0.5 * std::erfc(-v / std::numbers::sqrt2);
      const double near = normal ? 1e-7 : 0;  // so near to an end is the end
      if (normal ? v - near < 0 : v == 0) return own.front();
      if (normal ? v + near > 1 : v == 1) return own.back();
      return between(references, own, v);
    });
  }
  return out;
}

Result<std::vector<Inverse>> inverse_of(const Build& b, NodeId id, std::size_t columns) {
  auto name = b.short_class(id);
  if (name == "FunctionTransformer") {
    auto func = b.tree.get(id, "inverse_func");
    if (b.tree.is_none(func)) return std::vector<Inverse>(columns, [](double v) { return v; });
    if (auto args = b.tree.get(id, "inv_kw_args"); !b.tree.is_none(args) && !b.tree.at(args).items.empty())
      return b.bad(id, "arguments of its function are not read natively");
    MR_TRY(auto f, named_function(b, id, func));
    return std::vector<Inverse>(columns, f);
  }
  if (name == "StandardScaler")
    return scaler_inverse(b, id, b.flag_or(id, "with_std", true) ? "scale_" : "",
                          b.flag_or(id, "with_mean", true) ? "mean_" : "", columns);
  if (name == "RobustScaler")
    return scaler_inverse(b, id, b.flag_or(id, "with_scaling", true) ? "scale_" : "",
                          b.flag_or(id, "with_centering", true) ? "center_" : "", columns);
  if (name == "MaxAbsScaler") return scaler_inverse(b, id, "scale_", "", columns);
  if (name == "MinMaxScaler") {
    MR_TRY(auto scale, per_column(b, id, "scale_", 1, columns));
    MR_TRY(auto low, per_column(b, id, "min_", 0, columns));
    std::vector<Inverse> out;
    for (std::size_t c = 0; c < columns; ++c)
      out.push_back([by = scale[c], from = low[c]](double v) { return (v - from) / by; });
    return out;
  }
  if (name == "PowerTransformer") return power_inverse(b, id, columns);
  if (name == "QuantileTransformer") return quantile_inverse(b, id, columns);
  return fail(Code::unimplemented, fmt::format("the inverse of '{}' is not computed natively", printable(name)));
}

class TransformedTarget : public Estimator {
 public:
  EstimatorPtr inner;
  std::vector<Inverse> inverses;  // one an output; a single one serves all
  [[nodiscard]] std::size_t features() const override { return inner->features(); }
  [[nodiscard]] bool takes_sparse() const override { return inner->takes_sparse(); }
  [[nodiscard]] Result<Output> predict(const Frame& in) const override {
    MR_TRY(auto out, inner->predict(in));
    if (!out.texts.empty() || (out.width != inverses.size() && inverses.size() != 1))
      return fail(Code::internal, "the regressor's outputs do not fit the target's transformer");
    if (out.type != DataType::fp32) out.type = DataType::fp64;
    for (std::size_t i = 0; i < out.numbers.size(); ++i)
      out.numbers[i] = inverses[inverses.size() == 1 ? 0 : i % out.width](out.numbers[i]);
    return out;
  }
};

// Columns of the target: what the transformer was fitted with, or 1 (functions are the same for all).
std::size_t columns_of(const Build& b, NodeId transformer) {
  return static_cast<std::size_t>(std::clamp(b.number_or(transformer, "n_features_in_", 1), 1.0, 1e5));
}

}  // namespace

void add_targets(Makers& makers) {
  makers["sklearn*TransformedTargetRegressor"] = [](Build& b, NodeId id) -> Result<EstimatorPtr> {
    auto regressor = b.tree.get(id, "regressor_");
    if (b.tree.is_none(regressor)) return b.bad(id, "it has no regressor_: is it fitted?");
    auto e = std::make_unique<TransformedTarget>();
    MR_TRY(e->inner, b.estimator(regressor));
    auto transformer = b.tree.get(id, "transformer_");
    if (b.tree.is_none(transformer)) return b.bad(id, "it has no transformer_: is it fitted?");
    MR_TRY(e->inverses, inverse_of(b, transformer, columns_of(b, transformer)));
    return e;
  };
}

}  // namespace mr::serving
