// Estimators that combine or wrap others: votes, stacks, calibrated classifiers, searches, thresholds.
#include "serving/engines/isotonic.h"
#include "serving/engines/member.h"
#include "serving/engines/rows.h"

namespace mr::serving {

namespace {

// Refuses answers of a member that are no indices below `count`.
Result<std::size_t> class_index(double v, std::size_t count) {
  if (v >= 0 && v < static_cast<double>(count)) return static_cast<std::size_t>(v);
  return fail(Code::internal, "a part of the model answers a class that the whole does not have");
}

Result<Output> labels_from(const Array& classes, const Frame& encoded) {
  std::vector<std::size_t> index;
  for (double v : encoded.data) {
    MR_TRY(auto i, class_index(v, classes.size()));
    index.push_back(i);
  }
  return labels(classes, index);
}

// Numbers of a list or an array; empty for None.
Result<std::vector<double>> weights_of(const Build& b, NodeId id, std::string_view attribute) {
  auto at = b.tree.get(id, attribute);
  if (b.tree.is_none(at)) return std::vector<double>{};
  std::vector<double> out;
  for (auto item : b.items(id, attribute)) {
    auto a = b.tree.array_of(item);
    if (!a || a->numbers.size() != 1 || !std::isfinite(a->numbers[0]))
      return b.bad(id, fmt::format("{} is not made of numbers", attribute));
    out.push_back(a->numbers[0]);
  }
  if (out.empty()) return b.numbers(id, attribute);
  return out;
}

// ---- votes ----

class Vote : public Estimator {
 public:
  std::deque<Member> members;
  std::vector<double> weights;
  double total = 0;
  bool weighted = false;
  bool classifier = false;
  bool soft = false;
  bool flat = true;  // transform of a soft vote
  Array labels_of;

  [[nodiscard]] std::size_t features() const override { return members.front()->features(); }
  [[nodiscard]] bool takes_sparse() const override { return all_take_sparse(members); }
  [[nodiscard]] const Array* classes() const override { return classifier ? &labels_of : nullptr; }

  [[nodiscard]] Result<Output> predict(const Frame& in) const override {
    if (!classifier) {
      MR_TRY(auto mean, average(in, Method::predict));
      auto out = numbers_of(mean.rows, mean.columns, std::move(mean.data));
      if (mean.f32) out.type = DataType::fp32;
      return out;
    }
    const auto k = labels_of.size();
    std::vector<double> votes(in.rows * k, 0.0);
    if (soft) {
      MR_TRY(auto p, average(in, Method::predict_proba));
      if (p.columns != k) return fail(Code::internal, "a part of the model has other classes than the whole");
      votes = std::move(p.data);
    } else {
      for (std::size_t m = 0; m < members.size(); ++m) {
        MR_TRY(auto chosen, members[m].numbers(in));
        for (std::size_t r = 0; r < in.rows; ++r) {
          MR_TRY(auto c, class_index(chosen.data[r], k));
          votes[r * k + c] += weights[m];
        }
      }
    }
    std::vector<std::size_t> best(in.rows);
    for (std::size_t r = 0; r < in.rows; ++r) best[r] = argmax({votes.data() + r * k, k});
    return labels(labels_of, best);
  }
  [[nodiscard]] Result<Frame> predict_proba(const Frame& in) const override {
    if (!soft) return Estimator::predict_proba(in);
    return average(in, Method::predict_proba);
  }
  [[nodiscard]] Result<Frame> transform(const Frame& in) const override {
    if (soft && !flat) return Estimator::transform(in);
    std::vector<Frame> parts;
    for (const auto& m : members) {
      MR_TRY(auto part, soft ? m->predict_proba(in) : m.numbers(in));
      parts.push_back(std::move(part));
    }
    return beside(parts);
  }

 private:
  [[nodiscard]] Result<Frame> average(const Frame& in, Method method) const {
    Frame sum;
    for (std::size_t m = 0; m < members.size(); ++m) {
      MR_TRY(auto part, method == Method::predict ? members[m].numbers(in) : members[m]->predict_proba(in));
      if (m == 0) {
        sum = std::move(part);
        sum.f32 = sum.f32 && !weighted;  // weights are 64-bit floats
        for (double& v : sum.data) v *= weights[m];
      } else {
        if (part.data.size() != sum.data.size()) return fail(Code::internal, "parts of the model differ in width");
        sum.f32 = sum.f32 && part.f32;
        for (std::size_t i = 0; i < part.data.size(); ++i) sum.data[i] += weights[m] * part.data[i];
      }
    }
    for (double& v : sum.data) v /= total;
    return sum;
  }
};

Result<EstimatorPtr> make_vote(Build& b, NodeId id, bool classifier) {
  auto e = std::make_unique<Vote>();
  MR_TRY(e->members, read_members(b, id, "estimators_"));
  MR_TRY(auto weights, weights_of(b, id, "weights"));
  auto all = b.items(id, "estimators");
  if (!weights.empty() && weights.size() != all.size()) return b.bad(id, "weights does not fit estimators");
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const auto& pair = b.tree.at(all[i]);
    if (pair.items.size() == 2 && b.tree.text_of(pair.items[1]) != "drop") e->weights.push_back(weights[i]);
  }
  e->weighted = !weights.empty();
  if (weights.empty()) e->weights.assign(e->members.size(), 1.0);
  if (e->weights.size() != e->members.size()) return b.bad(id, "weights does not fit estimators_");
  for (double w : e->weights) e->total += w;
  e->classifier = classifier;
  if (!classifier) return e;
  e->soft = b.text_or(id, "voting", "hard") == "soft";
  e->flat = b.flag_or(id, "flatten_transform", true);
  MR_TRY(e->labels_of, b.array(b.tree.get(id, "le_"), "classes_"));
  if (e->labels_of.size() == 0) return b.bad(id, "it has no classes");
  return e;
}

// ---- stacks ----

class Stack : public Estimator {
 public:
  std::deque<Member> members;
  std::vector<Method> methods;
  std::unique_ptr<Member> last;
  bool classifier = false;
  bool passthrough = false;
  Array labels_of;

  [[nodiscard]] std::size_t features() const override { return members.front()->features(); }
  [[nodiscard]] bool takes_sparse() const override { return !passthrough && all_take_sparse(members); }
  [[nodiscard]] const Array* classes() const override { return classifier ? &labels_of : nullptr; }

  [[nodiscard]] Result<Frame> transform(const Frame& in) const override {
    std::vector<Frame> parts;
    for (std::size_t m = 0; m < members.size(); ++m) {
      MR_TRY(auto part, members[m].scores(in, methods[m]));
      parts.push_back(std::move(part));
    }
    if (passthrough) {
      parts.push_back(frame_of(in.rows, in.columns, in.data));
      parts.back().f32 = in.f32;
    }
    return beside(parts);
  }
  [[nodiscard]] Result<Output> predict(const Frame& in) const override {
    MR_TRY(auto meta, transform(in));
    if (!classifier) return (*last)->predict(meta);
    MR_TRY(auto encoded, last->numbers(meta));
    return labels_from(labels_of, encoded);
  }
  [[nodiscard]] Result<Frame> predict_proba(const Frame& in) const override {
    MR_TRY(auto meta, transform(in));
    return (*last)->predict_proba(meta);
  }
  [[nodiscard]] Result<Frame> decision_function(const Frame& in) const override {
    MR_TRY(auto meta, transform(in));
    return (*last)->decision_function(meta);
  }
};

Result<EstimatorPtr> make_stack(Build& b, NodeId id, bool classifier) {
  auto e = std::make_unique<Stack>();
  MR_TRY(e->members, read_members(b, id, "estimators_"));
  for (auto item : b.items(id, "stack_method_")) {
    auto method = method_named(b.tree.text_of(item));
    if (!method) return b.bad(id, "stack_method_ names no method");
    e->methods.push_back(*method);
  }
  if (e->methods.size() != e->members.size()) return b.bad(id, "stack_method_ does not fit estimators_");
  auto last = b.tree.get(id, "final_estimator_");
  if (b.tree.is_none(last)) return b.bad(id, "it has no final_estimator_: is it fitted?");
  MR_TRY(auto made, b.estimator(last));
  e->last = std::make_unique<Member>(std::move(made));
  e->passthrough = b.flag_or(id, "passthrough", false);
  e->classifier = classifier;
  if (!classifier) return e;
  auto encoder = b.tree.get(id, "_label_encoder");
  if (b.tree.is_none(encoder)) encoder = b.tree.get(id, "_le");
  if (b.tree.is_none(encoder)) encoder = id;
  MR_TRY(e->labels_of, b.array(encoder, "classes_"));
  return e;
}

// ---- calibrated classifiers ----

struct Calibrator {
  bool is_sigmoid = true;
  double a = 0;
  double b = 0;
  Isotonic isotonic;
  [[nodiscard]] Result<double> operator()(double v) const { return is_sigmoid ? expit(-(a * v + b)) : isotonic.at(v); }
};

struct Calibrated {
  explicit Calibrated(EstimatorPtr e) : member(std::move(e)) {}
  Member member;
  std::vector<Calibrator> calibrators;
  std::vector<std::size_t> place;  // of each calibrator's class
  double temperature = 0;          // its inverse; 0: not by temperature

  // Adds to `sum`, rows x k.
  Result<> add(const Frame& in, std::size_t k, std::vector<double>& sum) const {
    MR_TRY(auto response, member.response(in));
    auto& [scores, method] = response;
    std::vector<double> p(k);
    for (std::size_t r = 0; r < in.rows; ++r) {
      const double* row = scores.data.data() + r * scores.columns;
      std::fill(p.begin(), p.end(), 0.0);
      if (temperature != 0) {
        MR_CHECK(by_temperature({row, scores.columns}, method, p));
      } else {
        for (std::size_t c = 0; c < std::min({scores.columns, calibrators.size(), place.size()}); ++c) {
          MR_TRY(double v, calibrators[c](row[c]));
          p[k == 2 ? 1 : place[c]] = v;
        }
        if (k == 2) p[0] = 1 - p[1];
        double all = 0;
        for (double v : p) all += v;
        if (k != 2)
          for (double& v : p) v = all == 0 ? 1 / static_cast<double>(k) : v / all;
      }
      for (std::size_t c = 0; c < k; ++c) sum[r * k + c] += p[c] > 1 && p[c] <= 1 + 1e-5 ? 1 : p[c];
    }
    return {};
  }

 private:
  Result<> by_temperature(std::span<const double> row, Method method, std::vector<double>& p) const {
    std::vector<double> all(row.begin(), row.end());
    if (all.size() == 1)
      all = method == Method::predict_proba ? std::vector{1 - row[0], row[0]} : std::vector{-row[0], row[0]};
    if (all.size() != p.size()) return fail(Code::internal, "a part of the model has other classes than the whole");
    for (std::size_t c = 0; c < p.size(); ++c)
      p[c] = temperature * (method == Method::predict_proba ? std::log(all[c] + 1e-12) : all[c]);
    softmax(p);
    return {};
  }
};

class CalibratedVote : public Estimator {
 public:
  std::deque<Calibrated> members;
  Array labels_of;

  [[nodiscard]] std::size_t features() const override { return members.front().member->features(); }
  [[nodiscard]] bool takes_sparse() const override {
    return std::all_of(members.begin(), members.end(), [](const Calibrated& c) { return c.member->takes_sparse(); });
  }
  [[nodiscard]] const Array* classes() const override { return &labels_of; }
  [[nodiscard]] Result<Frame> predict_proba(const Frame& in) const override {
    const auto k = labels_of.size();
    std::vector<double> sum(in.rows * k, 0.0);
    for (const auto& m : members) MR_CHECK(m.add(in, k, sum));
    for (double& v : sum) v /= static_cast<double>(members.size());
    return frame_of(in.rows, k, std::move(sum));
  }
  [[nodiscard]] Result<Output> predict(const Frame& in) const override {
    MR_TRY(auto p, predict_proba(in));
    std::vector<std::size_t> best(in.rows);
    for (std::size_t r = 0; r < in.rows; ++r) best[r] = argmax({p.data.data() + r * p.columns, p.columns});
    return labels(labels_of, best);
  }
};

// Where each of `some` stands among `all`.
Result<std::vector<std::size_t>> places_among(const Build& b, NodeId id, const Array& some, const Array& all) {
  std::vector<std::size_t> out;
  for (std::size_t i = 0; i < some.size(); ++i) {
    std::size_t at = 0;
    while (at < all.size() &&
           (all.texts.empty() != some.texts.empty() ||
            (all.texts.empty() ? all.numbers[at] != some.numbers[i] : all.texts[at] != some.texts[i])))
      ++at;
    if (at == all.size()) return b.bad(id, "a part has a class that the whole does not have");
    out.push_back(at);
  }
  return out;
}

Result<EstimatorPtr> make_calibrated(Build& b, NodeId id) {
  auto e = std::make_unique<CalibratedVote>();
  MR_TRY(e->labels_of, b.array(id, "classes_"));
  if (e->labels_of.size() < 2 || e->labels_of.size() > 100'000) return b.bad(id, "it has fewer than two classes");
  for (auto part : b.items(id, "calibrated_classifiers_")) {
    auto inner = b.tree.get(part, "estimator");
    if (b.tree.is_none(inner)) inner = b.tree.get(part, "base_estimator");
    if (b.tree.is_none(inner)) return b.bad(id, "a calibrated classifier has no estimator");
    MR_TRY(auto made, b.estimator(inner));
    if (made->classes() == nullptr) return b.bad(id, "a calibrated estimator is no classifier");
    auto& c = e->members.emplace_back(std::move(made));
    for (auto item : b.items(part, b.tree.is_none(b.tree.get(part, "calibrators")) ? "calibrators_" : "calibrators")) {
      auto& one = c.calibrators.emplace_back();
      auto cls = b.short_class(item);
      if (cls == "_SigmoidCalibration") {
        MR_TRY(one.a, b.number(item, "a_"));
        MR_TRY(one.b, b.number(item, "b_"));
      } else if (cls == "_TemperatureScaling") {
        MR_TRY(c.temperature, b.number(item, "beta_"));
        if (c.temperature <= 0) return b.bad(id, "its temperature is out of range");
      } else if (cls == "IsotonicRegression") {
        one.is_sigmoid = false;
        MR_TRY(one.isotonic, Isotonic::read(b, item));
      } else {
        return fail(Code::unimplemented, fmt::format("the calibrator '{}' is not read natively", printable(cls)));
      }
    }
    if (c.calibrators.empty()) return b.bad(id, "a calibrated classifier has no calibrators");
    if (c.temperature != 0) continue;  // its estimator may have been fitted with indices of the classes
    MR_TRY(c.place, places_among(b, id, *c.member->classes(), e->labels_of));
  }
  if (e->members.empty()) return b.bad(id, "it has no calibrated_classifiers_: is it fitted?");
  return e;
}

// ---- wrappers ----

class Wrapped : public Estimator {
 public:
  explicit Wrapped(EstimatorPtr inner) : inner_(std::move(inner)) {}
  [[nodiscard]] std::size_t features() const override { return inner_->features(); }
  [[nodiscard]] const std::vector<std::string>& feature_names() const override {
    return names.empty() ? inner_->feature_names() : names;
  }
  [[nodiscard]] bool takes_sparse() const override { return inner_->takes_sparse(); }
  [[nodiscard]] const Array* classes() const override { return inner_->classes(); }
  [[nodiscard]] Result<Frame> transform(const Frame& in) const override { return inner_->transform(in); }
  [[nodiscard]] Result<Output> predict(const Frame& in) const override { return inner_->predict(in); }
  [[nodiscard]] Result<Frame> predict_proba(const Frame& in) const override { return inner_->predict_proba(in); }
  [[nodiscard]] Result<std::vector<Frame>> shares_of_outputs(const Frame& in) const override {
    return inner_->shares_of_outputs(in);
  }
  [[nodiscard]] Result<Frame> decision_function(const Frame& in) const override {
    return inner_->decision_function(in);
  }

 protected:
  EstimatorPtr inner_;
};

// The first of the attributes that is there.
Result<EstimatorPtr> inner_of(Build& b, NodeId id, std::initializer_list<std::string_view> attributes) {
  for (auto a : attributes)
    if (auto at = b.tree.get(id, a); !b.tree.is_none(at)) return b.estimator(at);
  return b.bad(id, fmt::format("it has no {}: is it fitted?", *attributes.begin()));
}

class Threshold : public Wrapped {
 public:
  using Wrapped::Wrapped;
  std::optional<Method> method;  // empty: predict_proba, else decision_function
  std::optional<double> threshold;
  std::size_t positive = 1;

  [[nodiscard]] Result<Output> predict(const Frame& in) const override {
    auto used = method.value_or(Method::predict_proba);
    auto scores = ask(in, used);
    if (!scores && !method && scores.error().code == Code::unimplemented) {
      used = Method::decision_function;
      scores = ask(in, used);
    }
    if (!scores) return std::unexpected(scores.error());
    const double limit = threshold.value_or(used == Method::predict_proba ? 0.5 : 0.0);
    std::vector<std::size_t> chosen;
    for (double v : *scores) chosen.push_back(v >= limit ? positive : 1 - positive);
    return labels(*classes(), chosen);
  }

 private:
  [[nodiscard]] Result<std::vector<double>> ask(const Frame& in, Method m) const {
    MR_TRY(auto f, m == Method::predict_proba ? inner_->predict_proba(in) : inner_->decision_function(in));
    if (f.columns != (m == Method::predict_proba ? 2U : 1U))
      return fail(Code::internal, "the model does not answer two classes");
    if (m == Method::decision_function) {
      if (positive == 0)
        for (double& v : f.data) v = -v;
      return std::move(f.data);
    }
    std::vector<double> out;
    for (std::size_t r = 0; r < f.rows; ++r) out.push_back(f.data[2 * r + positive]);
    return out;
  }
};

Result<EstimatorPtr> make_threshold(Build& b, NodeId id, std::string_view attribute) {
  MR_TRY(auto inner, inner_of(b, id, {"estimator_", "estimator"}));
  auto e = std::make_unique<Threshold>(std::move(inner));
  const auto* classes = e->classes();
  if (classes == nullptr || classes->size() != 2) return b.bad(id, "it does not have two classes");
  auto method = b.text_or(id, "response_method", "auto");
  if (method != "auto") {
    e->method = method_named(method);
    if (!e->method || *e->method == Method::predict) return b.bad(id, "response_method names no method");
  }
  if (b.text_or(id, attribute, "") != "auto") {
    MR_TRY(e->threshold, b.number(id, attribute));
  }
  auto label = b.tree.get(id, "pos_label");
  if (b.tree.is_none(label)) return e;
  auto value = b.tree.array_of(label);
  for (std::size_t i = 0; i < 2; ++i)
    if (classes->texts.empty() ? value && value->numbers.size() == 1 && value->numbers[0] == classes->numbers[i]
                               : b.tree.text_of(label) == classes->texts[i])
      e->positive = i;
  return e;
}

}  // namespace

void add_meta(Makers& makers) {
  makers["sklearn*VotingClassifier"] = [](Build& b, NodeId id) { return make_vote(b, id, true); };
  makers["sklearn*VotingRegressor"] = [](Build& b, NodeId id) { return make_vote(b, id, false); };
  makers["sklearn*StackingClassifier"] = [](Build& b, NodeId id) { return make_stack(b, id, true); };
  makers["sklearn*StackingRegressor"] = [](Build& b, NodeId id) { return make_stack(b, id, false); };
  makers["sklearn*CalibratedClassifierCV"] = make_calibrated;
  for (const char* name : {"GridSearchCV", "RandomizedSearchCV", "HalvingGridSearchCV", "HalvingRandomSearchCV"})
    makers[fmt::format("sklearn*{}", name)] = [](Build& b, NodeId id) -> Result<EstimatorPtr> {
      MR_TRY(auto inner, inner_of(b, id, {"best_estimator_"}));
      return std::make_unique<Wrapped>(std::move(inner));
    };
  makers["sklearn*SelfTrainingClassifier"] = [](Build& b, NodeId id) -> Result<EstimatorPtr> {
    MR_TRY(auto inner, inner_of(b, id, {"estimator_", "base_estimator_"}));
    return std::make_unique<Wrapped>(std::move(inner));
  };
  makers["sklearn*FrozenEstimator"] = [](Build& b, NodeId id) -> Result<EstimatorPtr> {
    MR_TRY(auto inner, inner_of(b, id, {"estimator"}));
    return std::make_unique<Wrapped>(std::move(inner));
  };
  makers["sklearn*FixedThresholdClassifier"] = [](Build& b, NodeId id) { return make_threshold(b, id, "threshold"); };
  makers["sklearn*TunedThresholdClassifierCV"] = [](Build& b, NodeId id) {
    return make_threshold(b, id, "best_threshold_");
  };
  add_multi(makers);
  add_targets(makers);
}

}  // namespace mr::serving
