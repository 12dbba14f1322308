// Estimators made of estimators that pass frames on: Pipeline, FeatureUnion, ColumnTransformer; and
// FunctionTransformer, of functions that are known by name.
#include <numbers>

#include "serving/engines/rows.h"
#include "serving/engines/transform.h"

namespace mr::serving {

namespace {

// A step or part: null means that the frame passes as it is.
struct PipelineStep {
  std::string name;
  EstimatorPtr estimator;
};

bool keeps_columns(const Estimator* e) {
  static const std::set<std::string, std::less<>> known{
      "StandardScaler", "MinMaxScaler",        "MaxAbsScaler",     "RobustScaler",       "Normalizer",
      "Binarizer",      "QuantileTransformer", "PowerTransformer", "FunctionTransformer"};
  return e == nullptr || known.contains(e->name);
}

class PipelineEstimator : public Estimator {
 public:
  std::vector<PipelineStep> steps;

  [[nodiscard]] std::size_t features() const override {
    for (const auto& s : steps)
      if (s.estimator && (s.estimator->features() != 0 || !keeps_columns(s.estimator.get())))
        return s.estimator->features();
    return 0;
  }
  [[nodiscard]] const std::vector<std::string>& feature_names() const override {
    for (const auto& s : steps)
      if (s.estimator) return s.estimator->feature_names();
    return names;
  }
  [[nodiscard]] const Array* classes() const override {
    return steps.back().estimator ? steps.back().estimator->classes() : nullptr;
  }
  [[nodiscard]] bool takes_sparse() const override {
    for (const auto& s : steps)
      if (s.estimator) return s.estimator->takes_sparse();
    return true;
  }

  [[nodiscard]] Result<Frame> transform(const Frame& in) const override {
    return last<Frame>(in, nullptr, [](const Estimator& e, const Frame& f) { return e.transform(f); });
  }
  [[nodiscard]] Result<Frame> transform_columns(const Frame& in, std::span<const std::size_t> columns) const override {
    if (!steps.front().estimator || steps.size() == 1 || in.sparse) return Estimator::transform_columns(in, columns);
    auto first = steps.front().estimator->transform_columns(in, columns);
    if (!first) return first;
    auto rest = last<Frame>(in, &*first, [](const Estimator& e, const Frame& f) { return e.transform(f); });
    if (!rest) return std::unexpected(renumbered(std::move(rest).error(), columns));
    return rest;
  }
  [[nodiscard]] Result<Output> predict(const Frame& in) const override {
    return last<Output>(in, nullptr, [](const Estimator& e, const Frame& f) { return e.predict(f); });
  }
  [[nodiscard]] Result<Frame> predict_proba(const Frame& in) const override {
    return last<Frame>(in, nullptr, [](const Estimator& e, const Frame& f) { return e.predict_proba(f); });
  }
  [[nodiscard]] Result<std::vector<Frame>> shares_of_outputs(const Frame& in) const override {
    return last<std::vector<Frame>>(in, nullptr,
                                    [](const Estimator& e, const Frame& f) { return e.shares_of_outputs(f); });
  }
  [[nodiscard]] Result<Frame> decision_function(const Frame& in) const override {
    return last<Frame>(in, nullptr, [](const Estimator& e, const Frame& f) { return e.decision_function(f); });
  }

 private:
  // Through all steps but the last, and `call` on that. `after_first`: what the first step has made already.
  template <class T, class Call>
  Result<T> last(const Frame& in, Frame* after_first, Call call) const {
    Frame own;
    const Frame* now = &in;
    std::size_t i = 0;
    bool same_columns = true;  // errors may still name columns of the request
    std::string behind;
    if (after_first != nullptr) {
      own = std::move(*after_first);
      now = &own;
      same_columns = keeps_columns(steps[0].estimator.get());
      behind = steps[0].name;
      i = 1;
    }
    for (; i < steps.size(); ++i) {
      const auto* e = steps[i].estimator.get();
      const bool final_step = i + 1 == steps.size();
      if (e == nullptr) continue;
      if (now->sparse && !e->takes_sparse()) {
        MR_TRY(auto plain, dense(now == &own ? std::move(own) : Frame(*now)));
        own = std::move(plain);
        now = &own;
      }
      auto wrong = [&](Error error) {
        return std::unexpected(same_columns ? std::move(error)
                                            : placed(std::move(error), fmt::format("behind the step '{}'", behind)));
      };
      if (final_step) {
        auto out = call(*e, *now);
        if (!out) return wrong(std::move(out).error());
        return out;
      }
      auto next = e->transform(*now);
      if (!next) return wrong(std::move(next).error());
      own = std::move(*next);
      now = &own;
      same_columns = same_columns && keeps_columns(e);
      behind = steps[i].name;
    }
    if constexpr (std::is_same_v<T, Frame>)
      return now == &own ? std::move(own) : Frame(*now);  // the last step passes everything
    else
      return fail(Code::unimplemented, fmt::format("the last step of {} does not predict", name));
  }
};

bool text_is(const Tree& t, NodeId id, std::string_view text) { return t.text_of(id) == text; }

// The two items of (name, estimator) or the three of (name, estimator, columns).
Result<std::vector<NodeId>> tuple_at(const Build& b, NodeId owner, NodeId id, std::size_t size) {
  auto items = b.tree.cells(id);
  if (!items || items->size() != size || b.tree.at((*items)[0]).kind != NodeKind::text)
    return b.bad(owner, "a step is not a name with an estimator");
  return *items;
}

Result<EstimatorPtr> make_pipeline(Build& b, NodeId id) {
  auto p = std::make_unique<PipelineEstimator>();
  for (auto step : b.items(id, "steps")) {
    MR_TRY(auto items, tuple_at(b, id, step, 2));
    PipelineStep s{printable(b.tree.text_of(items[0])), nullptr};
    if (!b.tree.is_none(items[1]) && !text_is(b.tree, items[1], "passthrough")) {
      MR_TRY(s.estimator, b.estimator(items[1]));
    }
    p->steps.push_back(std::move(s));
  }
  if (p->steps.empty()) return b.bad(id, "it has no steps");
  return p;
}

// --- several transformers side by side ---

struct Side {
  std::string name;
  EstimatorPtr estimator;
  std::vector<std::size_t> columns;  // of a ColumnTransformer
  double weight = 1;
};

void scale(Frame& f, double weight) {
  if (weight == 1) return;
  for (auto* values : {&f.data, &f.values})
    for (auto& v : *values) v = f.f32 ? to_f32(v * weight) : v * weight;
}

// name -> weight, of transformer_weights.
double weight_of(const Build& b, NodeId id, const std::string& name) {
  auto weights = b.tree.get(id, "transformer_weights");
  if (b.tree.is_none(weights)) return 1;
  auto w = b.tree.get(weights, name);
  if (b.tree.is_none(w)) return 1;
  auto a = b.tree.array_of(w);
  return a && a->numbers.size() == 1 ? a->numbers[0] : 1;
}

class FeatureUnionEstimator : public Estimator {
 public:
  std::vector<Side> sides;
  [[nodiscard]] std::size_t features() const override {
    for (const auto& s : sides)
      if (s.estimator && s.estimator->features() != 0) return s.estimator->features();
    return 0;
  }
  [[nodiscard]] const std::vector<std::string>& feature_names() const override {
    for (const auto& s : sides)
      if (s.estimator && !s.estimator->feature_names().empty()) return s.estimator->feature_names();
    return names;
  }
  [[nodiscard]] bool takes_sparse() const override {
    return std::ranges::all_of(sides, [](const Side& s) { return !s.estimator || s.estimator->takes_sparse(); });
  }
  [[nodiscard]] Result<Frame> transform(const Frame& in) const override {
    std::vector<Frame> parts;
    bool sparse = false;
    for (const auto& s : sides) {
      Frame part;
      if (s.estimator) {
        MR_TRY(part, s.estimator->transform(in));
      } else {
        part = in;
      }
      part.names.clear();
      scale(part, s.weight);
      sparse = sparse || part.sparse;
      parts.push_back(std::move(part));
    }
    return side_by_side(std::move(parts), in.rows, sparse);
  }
};

Result<EstimatorPtr> make_union(Build& b, NodeId id) {
  auto u = std::make_unique<FeatureUnionEstimator>();
  for (auto step : b.items(id, "transformer_list")) {
    MR_TRY(auto items, tuple_at(b, id, step, 2));
    if (text_is(b.tree, items[1], "drop")) continue;
    Side s;
    s.name = b.tree.text_of(items[0]);
    s.weight = weight_of(b, id, s.name);
    if (!b.tree.is_none(items[1]) && !text_is(b.tree, items[1], "passthrough")) {
      MR_TRY(s.estimator, b.estimator(items[1]));
    }
    u->sides.push_back(std::move(s));
  }
  if (u->sides.empty()) return b.bad(id, "it has no transformers");
  return u;
}

class ColumnTransformerEstimator : public Estimator {
 public:
  std::vector<Side> sides;
  std::size_t n = 0;
  bool sparse = false;

  [[nodiscard]] std::size_t features() const override { return n; }
  [[nodiscard]] Result<Frame> transform(const Frame& given) const override {
    if (given.sparse) {
      MR_TRY(auto plain, dense(given));
      return transform(plain);
    }
    const Frame& in = given;
    if (in.rows == 0) return fail(Code::invalid_argument, "there are no rows (0 samples); at least one is needed");
    // A table's columns are found by their names; an array's by their places.
    std::vector<std::size_t> place;
    if (!in.names.empty() && !names.empty() && in.names != names) {
      MR_TRY(place, places(in.names));
    } else if (in.columns != n) {
      return fail(Code::invalid_argument,
                  fmt::format("the input has {} columns; the model was fitted with {}", in.columns, n));
    }
    std::vector<Frame> parts;
    parts.reserve(sides.size());
    std::vector<std::size_t> moved;
    for (const auto& s : sides) {
      std::span<const std::size_t> columns = s.columns;
      if (!place.empty()) {
        moved.clear();
        for (auto c : s.columns) {
          if (place[c] == SIZE_MAX)
            return fail(Code::invalid_argument, fmt::format("the column '{}' is missing", printable(names[c])));
          moved.push_back(place[c]);
        }
        columns = moved;
      }
      Frame part;
      if (s.estimator) {
        MR_TRY(part, s.estimator->transform_columns(in, columns));
      } else {
        part = select_columns(in, columns);
      }
      scale(part, s.weight);
      parts.push_back(std::move(part));
    }
    return side_by_side(std::move(parts), in.rows, sparse);
  }

 private:
  [[nodiscard]] Result<std::vector<std::size_t>> places(const std::vector<std::string>& given) const {
    std::unordered_map<std::string_view, std::size_t> by_name;
    for (std::size_t i = 0; i < given.size(); ++i) by_name[given[i]] = i;
    std::vector<std::size_t> out(names.size(), SIZE_MAX);
    for (std::size_t i = 0; i < names.size(); ++i)
      if (auto it = by_name.find(names[i]); it != by_name.end()) out[i] = it->second;
    return out;
  }
};

// How a ColumnTransformer says which columns a part takes: names, numbers, a mask, a slice, or one of these alone.
class ColumnSpec {
 public:
  ColumnSpec(const Build& b, NodeId owner, const std::vector<std::string>& names, std::size_t n)
      : b_(b), owner_(owner), names_(names), n_(n) {}

  Result<std::vector<std::size_t>> read(NodeId id) const {
    const auto& t = b_.tree;
    std::vector<std::size_t> out;
    if (t.is_none(id)) return b_.bad(owner_, "a part has no columns");
    auto cls = t.class_of(id);
    if (cls.ends_with(".slice")) return slice(id);
    // The remainder's columns are wrapped in a list of their own kind in some versions.
    if (cls.ends_with("_RemainderColsList")) {
      id = t.get(id, "data");
      if (t.is_none(id) || t.at(id).kind != NodeKind::list) return b_.bad(owner_, "a part has no columns");
    }
    if (t.at(id).kind == NodeKind::text || t.at(id).kind == NodeKind::integer) {
      MR_TRY(auto one, column(id));
      return std::vector<std::size_t>{one};
    }
    if (auto a = t.array_of(id)) {
      if (a->kind == 'b') {
        if (a->numbers.size() != n_)
          return b_.bad(owner_, "a mask of columns has another length than there are columns");
        for (std::size_t i = 0; i < n_; ++i)
          if (a->numbers[i] != 0) out.push_back(i);
        return out;
      }
      for (const auto& name : a->texts) {
        MR_TRY(auto c, named(name));
        out.push_back(c);
      }
      for (double v : a->numbers) {
        MR_TRY(auto c, numbered(v));
        out.push_back(c);
      }
      return out;
    }
    auto cells = t.cells(id);
    if (!cells) return b_.bad(owner_, "the columns of a part are not read natively");
    const bool mask =
        !cells->empty() && std::ranges::all_of(*cells, [&](NodeId c) { return t.at(c).kind == NodeKind::boolean; });
    if (mask && cells->size() != n_)
      return b_.bad(owner_, "a mask of columns has another length than there are columns");
    for (std::size_t i = 0; i < cells->size(); ++i) {
      if (mask) {
        if (t.at((*cells)[i]).integer != 0) out.push_back(i);
        continue;
      }
      MR_TRY(auto c, column((*cells)[i]));
      out.push_back(c);
    }
    return out;
  }

 private:
  Result<std::size_t> named(const std::string& name) const {
    for (std::size_t i = 0; i < names_.size(); ++i)
      if (names_[i] == name) return i;
    return b_.bad(owner_, fmt::format("the column '{}' of a part is not among feature_names_in_", printable(name)));
  }
  Result<std::size_t> numbered(double v) const {
    if (v < 0) v += static_cast<double>(n_);
    if (!(v >= 0 && v < static_cast<double>(n_)) || v != std::floor(v))
      return b_.bad(owner_, "a part takes a column that does not exist");
    return static_cast<std::size_t>(v);
  }
  Result<std::size_t> column(NodeId id) const {
    if (b_.tree.at(id).kind == NodeKind::text) return named(b_.tree.at(id).text);
    auto a = b_.tree.array_of(id);
    if (!a || a->size() != 1) return b_.bad(owner_, "a part takes a column that is neither named nor numbered");
    if (!a->texts.empty()) return named(a->texts[0]);
    return numbered(a->numbers[0]);
  }
  Result<std::vector<std::size_t>> slice(NodeId id) const {
    const auto& t = b_.tree;
    std::array<NodeId, 3> at{kNoNode, kNoNode, kNoNode};
    const auto& items = t.at(id).items;
    for (std::size_t i = 0; i < items.size() && i < 3; ++i) at[i] = items[i];
    if (items.size() == 1) at = {kNoNode, items[0], kNoNode};
    std::int64_t n = static_cast<std::int64_t>(n_);
    std::int64_t step = 1;
    if (!t.is_none(at[2])) step = t.at(at[2]).integer;
    if (step == 0 || std::abs(step) > n + 1) return b_.bad(owner_, "a slice of columns has a step that is not read");
    // Ends by name are inclusive, as in pandas.
    auto end = [&](NodeId e, std::int64_t fallback, bool stop) -> Result<std::int64_t> {
      if (t.is_none(e)) return fallback;
      if (t.at(e).kind == NodeKind::text) {
        MR_TRY(auto c, named(t.at(e).text));
        return static_cast<std::int64_t>(c) + (stop ? 1 : 0);
      }
      if (t.at(e).kind != NodeKind::integer) return b_.bad(owner_, "a slice of columns is not read");
      auto v = t.at(e).integer;
      if (v < 0) v += n;
      return std::clamp<std::int64_t>(v, step > 0 ? 0 : -1, step > 0 ? n : n - 1);
    };
    MR_TRY(auto from, end(at[0], step > 0 ? 0 : n - 1, false));
    MR_TRY(auto to, end(at[1], step > 0 ? n : -1, true));
    std::vector<std::size_t> out;
    for (auto i = from; step > 0 ? i < to : i > to; i += step) out.push_back(static_cast<std::size_t>(i));
    return out;
  }

  const Build& b_;
  NodeId owner_;
  const std::vector<std::string>& names_;
  std::size_t n_;
};

Result<EstimatorPtr> make_column_transformer(Build& b, NodeId id) {
  auto c = std::make_unique<ColumnTransformerEstimator>();
  std::vector<std::string> names;
  if (auto a = b.tree.array_of(b.tree.get(id, "feature_names_in_"))) names = a->texts;
  MR_TRY(c->n, feature_count(b, id, names.size()));
  if (c->n == 0) return b.bad(id, "it has no columns: is it fitted?");
  if (!names.empty() && names.size() != c->n) return b.bad(id, "feature_names_in_ does not fit n_features_in_");
  c->sparse = b.flag_or(id, "sparse_output_", false);
  auto indices = b.tree.get(id, "_transformer_to_input_indices");
  ColumnSpec spec(b, id, names, c->n);
  std::size_t total = 0;
  for (auto part : b.items(id, "transformers_")) {
    MR_TRY(auto items, tuple_at(b, id, part, 3));
    if (text_is(b.tree, items[1], "drop")) continue;
    Side s;
    s.name = b.tree.text_of(items[0]);
    s.weight = weight_of(b, id, s.name);
    auto known = indices == kNoNode ? kNoNode : b.tree.get(indices, s.name);
    MR_TRY(s.columns, spec.read(known == kNoNode ? items[2] : known));
    if (s.columns.empty()) continue;
    total += s.columns.size();
    if (total > kMaxColumns) return b.bad(id, "its parts take more columns than are read");
    if (!b.tree.is_none(items[1]) && !text_is(b.tree, items[1], "passthrough")) {
      MR_TRY(s.estimator, b.estimator(items[1]));
    }
    c->sides.push_back(std::move(s));
  }
  if (b.items(id, "transformers_").empty()) return b.bad(id, "it has no transformers_: is it fitted?");
  return c;
}

// --- functions ---

double signum(double v) { return std::isnan(v) ? v : v > 0 ? 1 : v < 0 ? -1 : 0; }

const std::map<std::string, Ufunc, std::less<>>& ufuncs() {
  constexpr double degree = std::numbers::pi / 180;
  static const std::map<std::string, Ufunc, std::less<>> known{
      {"log1p", [](double v) { return std::log1p(v); }},   {"log", [](double v) { return std::log(v); }},
      {"log2", [](double v) { return std::log2(v); }},     {"log10", [](double v) { return std::log10(v); }},
      {"exp", [](double v) { return std::exp(v); }},       {"exp2", [](double v) { return std::exp2(v); }},
      {"expm1", [](double v) { return std::expm1(v); }},   {"sqrt", [](double v) { return std::sqrt(v); }},
      {"cbrt", [](double v) { return std::cbrt(v); }},     {"square", [](double v) { return v * v; }},
      {"absolute", [](double v) { return std::fabs(v); }}, {"fabs", [](double v) { return std::fabs(v); }},
      {"negative", [](double v) { return -v; }},           {"positive", [](double v) { return v; }},
      {"reciprocal", [](double v) { return 1 / v; }},      {"sign", signum},
      {"sin", [](double v) { return std::sin(v); }},       {"cos", [](double v) { return std::cos(v); }},
      {"tan", [](double v) { return std::tan(v); }},       {"arcsin", [](double v) { return std::asin(v); }},
      {"arccos", [](double v) { return std::acos(v); }},   {"arctan", [](double v) { return std::atan(v); }},
      {"sinh", [](double v) { return std::sinh(v); }},     {"cosh", [](double v) { return std::cosh(v); }},
      {"tanh", [](double v) { return std::tanh(v); }},     {"arcsinh", [](double v) { return std::asinh(v); }},
      {"arccosh", [](double v) { return std::acosh(v); }}, {"arctanh", [](double v) { return std::atanh(v); }},
      {"floor", [](double v) { return std::floor(v); }},   {"ceil", [](double v) { return std::ceil(v); }},
      {"trunc", [](double v) { return std::trunc(v); }},   {"rint", [](double v) { return std::nearbyint(v); }},
      {"deg2rad", [](double v) { return v * degree; }},    {"radians", [](double v) { return v * degree; }},
      {"rad2deg", [](double v) { return v / degree; }},    {"degrees", [](double v) { return v / degree; }},
      {"expit", [](double v) { return expit(v); }},        {"logit", [](double v) { return std::log(v / (1 - v)); }},
  };
  return known;
}

class FunctionEstimator : public Estimator {
 public:
  Ufunc function = nullptr;
  std::size_t n = 0;
  bool validate = false;
  [[nodiscard]] std::size_t features() const override { return n; }
  [[nodiscard]] bool takes_sparse() const override { return function == nullptr || function(0) == 0; }
  [[nodiscard]] Result<Frame> transform(const Frame& in) const override {
    if (validate)
      MR_CHECK(check_numbers(in, n));
    else if (function != nullptr && !in.texts.empty())
      return at_column(in.texts.begin()->first, "holds texts, and this model takes numbers there");
    Frame out = in;
    out.names.clear();
    if (function == nullptr) return out;
    for (auto* values : {&out.data, &out.values})
      for (auto& v : *values) v = out.f32 ? to_f32(function(v)) : function(v);
    return out;
  }
};

Result<EstimatorPtr> make_function(Build& b, NodeId id) {
  auto f = std::make_unique<FunctionEstimator>();
  MR_TRY(f->n, feature_count(b, id));
  f->validate = b.flag_or(id, "validate", false);
  auto func = b.tree.get(id, "func");
  if (b.tree.is_none(func)) return f;
  MR_TRY(f->function, named_function(b, id, func));
  if (auto args = b.tree.get(id, "kw_args"); !b.tree.is_none(args) && !b.tree.at(args).items.empty())
    return b.bad(id, "arguments of its function are not read natively");
  return f;
}

}  // namespace

Result<Ufunc> named_function(const Build& b, NodeId id, NodeId func) {
  const auto& node = b.tree.at(func);
  if (node.kind != NodeKind::symbol) return b.bad(id, "its function is not one of those that are read natively");
  auto known = ufuncs().find(node.text.substr(node.text.rfind('.') + 1));
  if (known == ufuncs().end())
    return b.bad(id, fmt::format("the function '{}' is not read natively", printable(node.text)));
  return known->second;
}

void add_composition(Makers& m) {
  m["sklearn*Pipeline"] = make_pipeline;
  m["sklearn*FeatureUnion"] = make_union;
  m["sklearn*ColumnTransformer"] = make_column_transformer;
  m["sklearn*FunctionTransformer"] = make_function;
}

}  // namespace mr::serving
