// Results of statsmodels' linear models: a linear predictor of the columns, and the inverse of a link. As in
// statsmodels, a constant is a column of the request like every other, unless the model was made by a formula.
#include "serving/engines/matrix.h"
#include "serving/engines/rows.h"

namespace mr::serving {

namespace {

double normal_cdf(double v) { return 0.5 * std::erfc(-v / std::numbers::sqrt2); }

using Inverse = std::function<double(double)>;

Inverse power_link(double power) {
  return [power](double v) { return std::pow(v, 1 / power); };
}

// The inverse of a link of statsmodels, by the name of its class in any version.
std::optional<Inverse> inverse_link(const Build& b, NodeId link) {
  static const std::map<std::string, Inverse, std::less<>> known{
      {"identity", [](double v) { return v; }},
      {"log", [](double v) { return std::exp(v); }},
      {"logc", [](double v) { return 1 - std::exp(v); }},
      {"logit", [](double v) { return expit(v); }},
      {"probit", normal_cdf},
      {"cloglog", [](double v) { return 1 - std::exp(-std::exp(v)); }},
      {"loglog", [](double v) { return std::exp(-std::exp(-v)); }},
      {"inversepower", [](double v) { return 1 / v; }},
      {"inversesquared", power_link(-2)},
      {"sqrt", [](double v) { return v * v; }}};
  std::string name;
  for (char c : b.short_class(link))
    if (c != '_') name += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (auto it = known.find(name); it != known.end()) return it->second;
  if (double power = b.number_or(link, "power", 0); name == "power" && power != 0 && std::isfinite(power))
    return power_link(power);
  return std::nullopt;
}

// The first array of `count` texts that a table of numbers holds: its columns' names. Tables keep them differently in
// each version of pandas.
std::vector<std::string> texts_within(const Tree& t, NodeId id, std::size_t count, int depth, int& budget) {
  if (id == kNoNode || depth > 12 || --budget < 0) return {};
  const auto& n = t.at(id);
  if (n.kind == NodeKind::array || n.kind == NodeKind::object)
    if (auto a = t.array_of(id); a)
      return (a->kind == 'O' || a->kind == 'U') && a->texts.size() == count ? a->texts : std::vector<std::string>{};
  for (auto item : n.items)
    if (auto found = texts_within(t, item, count, depth + 1, budget); !found.empty()) return found;
  return texts_within(t, n.state, count, depth + 1, budget);
}

bool is_identifier(std::string_view s) {
  if (s.empty() || (s[0] >= '0' && s[0] <= '9')) return false;
  return std::all_of(s.begin(), s.end(), [](unsigned char c) { return std::isalnum(c) != 0 || c == '_' || c >= 0x80; });
}

class LinearResults : public Estimator {
 public:
  std::vector<double> params;  // columns x outputs, row-major
  std::size_t outputs = 1;
  std::size_t columns = 0;
  int constant = -1;    // the place of a formula's intercept, which no column brings
  bool shares = false;  // of classes, of which the first has no parameters
  Inverse inverse;

  // A formula takes its columns by name out of any others.
  [[nodiscard]] std::size_t features() const override { return names.empty() ? columns : 0; }
  [[nodiscard]] Result<Output> predict(const Frame& in) const override {
    Frame chosen;
    if (!names.empty()) {
      MR_TRY(chosen, named_columns(in));
    }
    const Frame& f = names.empty() ? in : chosen;
    MR_CHECK(check_numbers(f, columns - (constant >= 0 ? 1 : 0)));
    std::vector<double> out;
    std::vector<double> x(columns, 1.0);
    for (std::size_t r = 0; r < f.rows; ++r) {
      const double* from = f.data.data() + r * f.columns;
      for (std::size_t c = 0; c < columns; ++c)
        if (static_cast<int>(c) != constant) x[c] = *from++;
      const auto start = out.size();
      if (shares) out.push_back(0);
      for (std::size_t o = 0; o < outputs; ++o) {
        double sum = 0;
        for (std::size_t c = 0; c < columns; ++c) sum += x[c] * params[c * outputs + o];
        out.push_back(shares ? sum : inverse(sum));
      }
      if (shares) softmax({out.data() + start, outputs + 1});
    }
    return numbers_of(f.rows, shares ? outputs + 1 : outputs, std::move(out));
  }

 private:
  [[nodiscard]] Result<Frame> named_columns(const Frame& in) const {
    if (in.names.empty()) {
      if (in.columns == names.size()) return in;
      return fail(Code::invalid_argument, fmt::format("the input has {} columns without names; the formula takes {}",
                                                      in.columns, names.size()));
    }
    std::vector<std::size_t> at;
    for (const auto& n : names) {
      auto it = std::find(in.names.begin(), in.names.end(), n);
      if (it == in.names.end())
        return fail(Code::invalid_argument, fmt::format("the input has no column '{}', which the formula takes", n));
      at.push_back(static_cast<std::size_t>(it - in.names.begin()));
    }
    return select_columns(in, at);
  }
};

// A formula's model takes the columns that its terms name, where each term is a column.
Result<> read_formula(const Build& b, NodeId id, NodeId model, LinearResults& e) {
  int budget = 10'000;
  auto terms = texts_within(b.tree, b.tree.get(b.tree.get(model, "data"), "orig_exog"), e.columns, 0, budget);
  if (terms.empty()) return fail(Code::unimplemented, b.short_class(id) + ": the formula's terms are not known");
  for (std::size_t i = 0; i < terms.size(); ++i) {
    if (terms[i] == "Intercept" && e.constant < 0)
      e.constant = static_cast<int>(i);
    else if (is_identifier(terms[i]))
      e.names.push_back(terms[i]);
    else
      return fail(Code::unimplemented, fmt::format("{}: the formula's term '{}' is not read natively",
                                                   b.short_class(id), printable(terms[i])));
  }
  return {};
}

Result<EstimatorPtr> make_results(Build& b, NodeId id) {
  const auto& t = b.tree;
  auto results = t.get(id, "_results");
  if (results == kNoNode) results = id;
  auto model = t.get(results, "model");
  auto kind = b.short_class(model);
  auto e = std::make_unique<LinearResults>();
  e->name = "statsmodels' " + kind;
  MR_TRY(auto params, read_dense(b, results, "params"));
  e->columns = params.rows;
  e->outputs = params.columns;
  e->params = std::move(params.data);
  if (e->columns == 0 || e->columns > 1'000'000 || e->outputs == 0) return b.bad(id, "params is empty");
  static const std::set<std::string, std::less<>> plain{"OLS", "WLS", "GLS", "GLSAR", "RLM", "QuantReg"};
  if (plain.contains(kind)) {
    e->inverse = [](double v) { return v; };
  } else if (kind == "Logit") {
    e->inverse = expit;
  } else if (kind == "Probit") {
    e->inverse = normal_cdf;
  } else if (kind == "Poisson" || kind == "NegativeBinomial") {
    e->inverse = [](double v) { return std::exp(v); };
    // The dispersion stands behind the coefficients.
    if (kind == "NegativeBinomial" && b.text_or(model, "loglike_method", "nb2") != "geometric" && e->columns > 1) {
      e->params.pop_back();
      --e->columns;
    }
  } else if (kind == "MNLogit") {
    e->shares = true;
  } else if (kind == "GLM") {
    auto family = t.get(model, "family");
    auto link = t.get(family, t.is_none(t.get(family, "_link")) ? "link" : "_link");
    auto inverse = inverse_link(b, link);
    if (!inverse)
      return fail(Code::unimplemented,
                  fmt::format("GLM: the link '{}' is not read natively", printable(t.class_of(link))));
    e->inverse = *inverse;
  } else {
    return fail(Code::unimplemented,
                fmt::format("statsmodels' '{}' is not read natively", printable(t.class_of(model))));
  }
  if (e->outputs != 1 && !e->shares) return b.bad(id, "params has a form that is not read");
  if (!t.text_of(t.get(model, "formula")).empty()) MR_CHECK(read_formula(b, id, model, *e));
  return e;
}

}  // namespace

void add_statsmodels(Makers& makers) {
  for (const char* name :
       {"statsmodels.regression.linear_model.RegressionResultsWrapper",
        "statsmodels.regression.linear_model.RegressionResults", "statsmodels.regression.linear_model.OLSResults",
        "statsmodels.regression.quantile_regression.QuantRegResultsWrapper",
        "statsmodels.robust.robust_linear_model.RLMResultsWrapper",
        "statsmodels.genmod.generalized_linear_model.GLMResultsWrapper",
        "statsmodels.discrete.discrete_model.BinaryResultsWrapper",
        "statsmodels.discrete.discrete_model.CountResultsWrapper",
        "statsmodels.discrete.discrete_model.PoissonResultsWrapper",
        "statsmodels.discrete.discrete_model.NegativeBinomialResultsWrapper",
        "statsmodels.discrete.discrete_model.MultinomialResultsWrapper"})
    makers[name] = make_results;
}

}  // namespace mr::serving
