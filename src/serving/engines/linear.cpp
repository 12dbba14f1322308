#include "serving/engines/linear.h"

#include "text/text.h"

namespace mr::serving {

namespace {

struct Scaler {
  enum class Kind : std::uint8_t { standard, min_max } kind = Kind::standard;
  bool center = false;  // standard: subtract mean; min_max: clip
  bool divide = false;
  bool float_statistics = false;  // 1.8 and later cast mean and scale to the input's type first
  std::vector<double> shift;      // mean_ or min_
  std::vector<double> scale;
  double low = 0;
  double high = 1;
};

enum class Task : std::uint8_t { classify, regress };
enum class Probability : std::uint8_t { none, logistic_ovr, softmax, binary_softmax, modified_huber };
enum class Answer : std::uint8_t { predict, probability, log_probability };

std::unexpected<Error> bad(std::string what) { return fail(Code::invalid_argument, std::move(what)); }

std::string short_name(const std::string& full) { return full.substr(full.rfind('.') + 1); }

// 1/(1+exp(-d)) without overflow.
double expit(double d) {
  if (d >= 0) return 1 / (1 + std::exp(-d));
  double e = std::exp(d);
  return e / (1 + e);
}

class LinearEngine : public Engine {
 public:
  std::vector<Scaler> scalers;
  Task task = Task::regress;
  Probability probability = Probability::none;
  Answer answer = Answer::predict;
  std::size_t n = 0;         // features
  std::size_t k = 0;         // rows of coef
  std::vector<double> coef;  // k * n
  std::vector<double> intercept;
  bool coef_f32 = false;
  Array classes;
  std::vector<std::string> names;
  std::string cls;

  std::size_t features() const override { return n; }
  const std::vector<std::string>& feature_names() const override { return names; }
  std::string description() const override {
    return fmt::format(
        "native linear engine: {}{}", cls,
        scalers.empty() ? "" : fmt::format(" behind {} scaler{}", scalers.size(), scalers.size() == 1 ? "" : "s"));
  }

  Result<Output> predict(const Frame& f) const override {
    if (f.rows == 0) return bad("there are no rows (0 samples); at least one is needed");
    if (f.columns != n) return bad(fmt::format("the input has {} columns; the model was fitted with {}", f.columns, n));
    for (std::size_t i = 0; i < f.data.size(); ++i)
      if (!std::isfinite(f.data[i]))
        return bad(
            fmt::format("column #{} has a missing (NaN) or infinite value, which this model does not take", i % n));
    std::vector<double> scaled;
    const double* x = f.data.data();
    if (!scalers.empty()) {
      scaled = f.data;
      for (const auto& s : scalers) apply(s, scaled, f.f32);
      x = scaled.data();
    }
    std::size_t width = k;
    std::vector<double> d(f.rows * k);
    for (std::size_t r = 0; r < f.rows; ++r)
      for (std::size_t c = 0; c < k; ++c) {
        double sum = 0;
        const double* w = coef.data() + c * n;
        const double* row = x + r * n;
        for (std::size_t i = 0; i < n; ++i) sum += row[i] * w[i];
        d[r * k + c] = sum + intercept[c];
      }
    const bool f32 = f.f32 && coef_f32;
    Output out;
    out.rows = f.rows;
    if (task == Task::regress) {
      out.type = f32 ? DataType::fp32 : DataType::fp64;
      out.width = width;
      out.numbers = std::move(d);
      return out;
    }
    if (answer == Answer::predict) return labels(d, f.rows);
    out.type = f32 ? DataType::fp32 : DataType::fp64;
    out.width = std::max<std::size_t>(2, classes.size());
    out.numbers.resize(f.rows * out.width);
    for (std::size_t r = 0; r < f.rows; ++r)
      probabilities(d.data() + r * k, out.numbers.data() + r * out.width, out.width);
    if (answer == Answer::log_probability)
      for (auto& v : out.numbers) v = std::log(v);
    return out;
  }

 private:
  static void apply(const Scaler& s, std::vector<double>& data, bool f32) {
    std::size_t width = s.scale.empty() ? s.shift.size() : s.scale.size();
    auto round = [&](double v) { return f32 ? static_cast<double>(static_cast<float>(v)) : v; };
    auto statistic = [&](double v) {
      return f32 && s.float_statistics ? static_cast<double>(static_cast<float>(v)) : v;
    };
    for (std::size_t i = 0; i < data.size() && width > 0; ++i) {
      std::size_t c = i % width;
      double& v = data[i];
      if (s.kind == Scaler::Kind::standard) {
        if (s.center) v = round(v - statistic(s.shift[c]));
        if (s.divide) v = round(v / statistic(s.scale[c]));
      } else {
        v = round(v * s.scale[c]);
        v = round(v + s.shift[c]);
        if (s.center) v = std::clamp(v, s.low, s.high);
      }
    }
  }

  Result<Output> labels(const std::vector<double>& d, std::size_t rows) const {
    Output out;
    out.rows = rows;
    switch (classes.kind) {
      case 'U':
      case 'O':
        out.type = DataType::bytes;
        break;
      case 'b':
        out.type = DataType::boolean;
        break;
      case 'f':
        out.type = classes.itemsize == 4 ? DataType::fp32 : classes.itemsize == 2 ? DataType::fp16 : DataType::fp64;
        break;
      case 'i':
        out.type = classes.itemsize == 8   ? DataType::int64
                   : classes.itemsize == 4 ? DataType::int32
                   : classes.itemsize == 2 ? DataType::int16
                                           : DataType::int8;
        break;
      default:
        out.type = classes.itemsize == 8   ? DataType::uint64
                   : classes.itemsize == 4 ? DataType::uint32
                   : classes.itemsize == 2 ? DataType::uint16
                                           : DataType::uint8;
        break;
    }
    for (std::size_t r = 0; r < rows; ++r) {
      const double* row = d.data() + r * k;
      std::size_t best = 0;
      if (k == 1)
        best = row[0] > 0 ? 1 : 0;  // strictly greater: a tie is the first class
      else
        for (std::size_t c = 1; c < k; ++c)
          if (row[c] > row[best]) best = c;
      if (out.type == DataType::bytes)
        out.texts.push_back(classes.texts[best]);
      else
        out.numbers.push_back(classes.numbers[best]);
    }
    return out;
  }

  void probabilities(const double* d, double* p, std::size_t width) const {
    switch (probability) {
      case Probability::softmax: {
        double top = *std::max_element(d, d + k);
        double sum = 0;
        for (std::size_t c = 0; c < k; ++c) sum += p[c] = std::exp(d[c] - top);
        for (std::size_t c = 0; c < k; ++c) p[c] /= sum;
        return;
      }
      case Probability::binary_softmax: {  // softmax of (-d, d)
        p[1] = expit(2 * d[0]);
        p[0] = expit(-2 * d[0]);
        return;
      }
      case Probability::modified_huber:
      case Probability::logistic_ovr:
      case Probability::none:
        break;
    }
    auto one = [&](double v) {
      return probability == Probability::modified_huber ? (std::clamp(v, -1.0, 1.0) + 1) / 2 : expit(v);
    };
    if (k == 1) {
      p[1] = one(d[0]);
      p[0] = 1 - p[1];
      return;
    }
    double sum = 0;
    for (std::size_t c = 0; c < k; ++c) sum += p[c] = one(d[c]);
    for (std::size_t c = 0; c < k; ++c) p[c] = sum == 0 ? 1.0 / static_cast<double>(width) : p[c] / sum;
  }
};

// "1.8.0" -> 1008; 0 when it is no version.
int version_number(const std::string& v) {
  auto parts = text::split(v, '.');
  if (parts.size() < 2) return 0;
  return static_cast<int>(text::to_i64(parts[0]).value_or(0) * 1000 + text::to_i64(parts[1]).value_or(0));
}

bool flag(const Tree& t, NodeId owner, std::string_view key, bool fallback) {
  auto id = t.get(owner, key);
  if (id == kNoNode || t.at(id).kind != NodeKind::boolean) return fallback;
  return t.at(id).integer != 0;
}

Result<std::vector<double>> finite_numbers(const Tree& t, NodeId owner, std::string_view key) {
  auto a = t.array_of(t.get(owner, key));
  if (!a) return bad(fmt::format("{} of {}: {}", key, short_name(t.class_of(owner)), a.error().message));
  if (a->kind == 'U' || a->kind == 'O')
    return bad(fmt::format("{} of {} is not made of numbers", key, short_name(t.class_of(owner))));
  return std::move(a->numbers);
}

class Builder {
 public:
  Builder(const Tree& t, std::string predict_fn, std::string written_by)
      : t_(t),
        predict_fn_(std::move(predict_fn)),
        written_by_(std::move(written_by)),
        engine_(std::make_unique<LinearEngine>()) {}

  Result<std::unique_ptr<Engine>> build() {
    if (predict_fn_ == "predict")
      engine_->answer = Answer::predict;
    else if (predict_fn_ == "predict_proba")
      engine_->answer = Answer::probability;
    else if (predict_fn_ == "predict_log_proba")
      engine_->answer = Answer::log_probability;
    else
      return bad(fmt::format("predict_fn '{}' is not served natively; predict, predict_proba and predict_log_proba are",
                             printable(predict_fn_)));
    MR_CHECK(step(t_.root, true, 0));
    if (engine_->answer != Answer::predict && engine_->probability == Probability::none)
      return bad(fmt::format("{} has no {}", engine_->cls, predict_fn_));
    for (const auto& s : engine_->scalers) {
      auto width = s.scale.empty() ? s.shift.size() : s.scale.size();
      if (width != 0 && width != engine_->n)
        return bad(fmt::format("a scaler has {} features and the model behind it {}", width, engine_->n));
    }
    return std::unique_ptr<Engine>(std::move(engine_));
  }

 private:
  void names_of(NodeId id) {
    if (!engine_->names.empty()) return;
    if (auto a = t_.array_of(t_.get(id, "feature_names_in_")); a && (a->kind == 'O' || a->kind == 'U'))
      engine_->names = a->texts;
  }

  int version_of(NodeId id) const {
    auto own = t_.text_of(t_.get(id, "_sklearn_version"));
    return version_number(own.empty() ? written_by_ : own);
  }

  // One estimator; `last`: it must predict.
  Result<> step(NodeId id, bool last, int depth) {
    if (depth > 20) return bad("Pipelines are nested too deep");
    if (++steps_ > 1000) return bad("Pipelines hold more steps than are read");
    auto full = t_.class_of(id);
    if (full.empty()) return bad("the file does not hold an estimator");
    auto name = short_name(full);
    names_of(id);
    if (full == "sklearn.pipeline.Pipeline") return pipeline(id, last, depth);
    if (name == "StandardScaler" || name == "MinMaxScaler") {
      if (last) return bad(fmt::format("the last step is {}, which does not predict", name));
      return scaler(id, name);
    }
    if (!last) return bad(fmt::format("'{}' in the middle of a Pipeline is not read natively", full));
    return estimator(id, full, name);
  }

  Result<> pipeline(NodeId id, bool last, int depth) {
    auto steps = t_.get(id, "steps");
    if (steps == kNoNode || t_.at(steps).kind != NodeKind::list || t_.at(steps).items.empty())
      return bad("a Pipeline has no steps");
    const auto& list = t_.at(steps).items;
    for (std::size_t i = 0; i < list.size(); ++i) {
      const auto& pair = t_.at(list[i]);
      if ((pair.kind != NodeKind::tuple && pair.kind != NodeKind::list) || pair.items.size() != 2)
        return bad("a Pipeline's step is not a pair");
      auto est = pair.items[1];
      bool is_last = last && i + 1 == list.size();
      bool pass = t_.is_none(est) || t_.text_of(est) == "passthrough";
      if (pass) {
        if (is_last) return bad("the last step of the Pipeline is 'passthrough', which does not predict");
        continue;
      }
      MR_CHECK(step(est, is_last, depth + 1));
    }
    return {};
  }

  Result<> scaler(NodeId id, const std::string& name) {
    Scaler s;
    if (name == "StandardScaler") {
      s.kind = Scaler::Kind::standard;
      s.center = flag(t_, id, "with_mean", true);
      s.divide = flag(t_, id, "with_std", true);
      s.float_statistics = version_of(id) >= 1008;
      if (s.center) {
        MR_TRY(s.shift, finite_numbers(t_, id, "mean_"));
      }
      if (s.divide) {
        MR_TRY(s.scale, finite_numbers(t_, id, "scale_"));
      }
      if (s.center && s.divide && s.shift.size() != s.scale.size())
        return bad("a StandardScaler's mean_ and scale_ differ in length");
    } else {
      s.kind = Scaler::Kind::min_max;
      MR_TRY(s.scale, finite_numbers(t_, id, "scale_"));
      MR_TRY(s.shift, finite_numbers(t_, id, "min_"));
      if (s.shift.size() != s.scale.size()) return bad("a MinMaxScaler's min_ and scale_ differ in length");
      s.center = flag(t_, id, "clip", false);
      auto range = t_.get(id, "feature_range");
      if (s.center && range != kNoNode && t_.at(range).items.size() == 2) {
        MR_TRY(Array low, t_.array_of(t_.at(range).items[0]));
        MR_TRY(Array high, t_.array_of(t_.at(range).items[1]));
        if (low.numbers.size() != 1 || high.numbers.size() != 1 || low.numbers[0] > high.numbers[0])
          return bad("a MinMaxScaler's feature_range is not read");
        s.low = low.numbers[0];
        s.high = high.numbers[0];
      }
    }
    engine_->scalers.push_back(std::move(s));
    return {};
  }

  Result<> estimator(NodeId id, const std::string& full, const std::string& name) {
    static const std::set<std::string> classifiers{
        "LogisticRegression", "LogisticRegressionCV", "SGDClassifier",     "Perceptron",
        "LinearSVC",          "RidgeClassifier",      "RidgeClassifierCV", "PassiveAggressiveClassifier"};
    static const std::set<std::string> regressors{"LinearRegression",
                                                  "Ridge",
                                                  "RidgeCV",
                                                  "Lasso",
                                                  "LassoCV",
                                                  "ElasticNet",
                                                  "ElasticNetCV",
                                                  "SGDRegressor",
                                                  "LinearSVR",
                                                  "HuberRegressor",
                                                  "BayesianRidge",
                                                  "ARDRegression",
                                                  "PassiveAggressiveRegressor"};
    bool classifier = classifiers.contains(name);
    if (!classifier && !regressors.contains(name)) return bad(fmt::format("'{}' does not predict", full));
    auto& e = *engine_;
    e.cls = name;
    e.task = classifier ? Task::classify : Task::regress;
    auto coef = t_.array_of(t_.get(id, "coef_"));
    if (!coef) return bad(fmt::format("{} is not fitted, or its coef_ is not read: {}", name, coef.error().message));
    if (coef->kind != 'f' || coef->shape.empty() || coef->shape.size() > 2)
      return bad(fmt::format("coef_ of {} has a form that is not read", name));
    e.k = coef->shape.size() == 2 ? static_cast<std::size_t>(coef->shape[0]) : 1;
    e.n = static_cast<std::size_t>(coef->shape.back());
    if (e.k == 0 || e.n == 0 || e.k > 100000) return bad(fmt::format("coef_ of {} is empty", name));
    e.coef_f32 = coef->itemsize == 4;
    e.coef = std::move(coef->numbers);
    MR_TRY(e.intercept, finite_numbers(t_, id, "intercept_"));
    if (e.intercept.size() == 1 && e.k > 1) e.intercept.assign(e.k, e.intercept[0]);
    if (e.intercept.size() != e.k) return bad(fmt::format("intercept_ of {} does not fit its coef_", name));
    for (double v : e.coef)
      if (!std::isfinite(v)) return bad(fmt::format("coef_ of {} is not finite", name));
    for (double v : e.intercept)
      if (!std::isfinite(v)) return bad(fmt::format("intercept_ of {} is not finite", name));
    if (!classifier) return {};
    auto classes_id = t_.get(id, "classes_");
    if (classes_id == kNoNode)
      classes_id = t_.get(t_.get(id, "_label_binarizer"), "classes_");  // RidgeClassifier before 1.8
    auto classes = t_.array_of(classes_id);
    if (!classes) return bad(fmt::format("classes_ of {} is not read: {}", name, classes.error().message));
    e.classes = std::move(*classes);
    if (e.classes.size() != (e.k == 1 ? 2 : e.k))
      return bad(fmt::format("{} has {} classes and {} rows of coef_", name, e.classes.size(), e.k));
    set_probability(id, name);
    return {};
  }

  void set_probability(NodeId id, const std::string& name) {
    auto& e = *engine_;
    if (name == "LogisticRegression" || name == "LogisticRegressionCV") {
      auto multi = t_.text_of(t_.get(id, "multi_class"));
      auto solver = t_.text_of(t_.get(id, "solver"));
      bool ovr = multi.empty() ? e.classes.size() <= 2
                               : multi == "ovr" || multi == "warn" ||
                                     ((multi == "auto" || multi == "deprecated") &&
                                      (e.classes.size() <= 2 || solver == "liblinear"));
      e.probability = ovr ? Probability::logistic_ovr : e.k == 1 ? Probability::binary_softmax : Probability::softmax;
    } else if (name == "SGDClassifier") {
      auto loss = t_.text_of(t_.get(id, "loss"));
      if (loss == "log" || loss == "log_loss") e.probability = Probability::logistic_ovr;
      if (loss == "modified_huber") e.probability = Probability::modified_huber;
    }
  }

  const Tree& t_;
  std::string predict_fn_;
  std::string written_by_;
  int steps_ = 0;
  std::unique_ptr<LinearEngine> engine_;
};

}  // namespace

Result<std::unique_ptr<Engine>> make_linear_engine(const Tree& tree, const std::string& predict_fn,
                                                   const std::string& written_by) {
  return Builder(tree, predict_fn, written_by).build();
}

}  // namespace mr::serving
