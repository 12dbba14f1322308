#include "serving/engines/linear.h"

#include "serving/engines/estimator.h"
#include "serving/engines/linear_model.h"
#include "serving/engines/rows.h"
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

enum class LinearAnswer : std::uint8_t { predict, probability, log_probability };

std::unexpected<Error> no_engine(std::string what) { return fail(Code::invalid_argument, std::move(what)); }

std::string short_name(const std::string& full) { return full.substr(full.rfind('.') + 1); }

class LinearEngine : public Engine {
 public:
  std::vector<Scaler> scalers;
  LinearAnswer answer = LinearAnswer::predict;
  LinearModel model;
  std::vector<std::string> names;

  std::size_t features() const override { return model.features(); }
  const std::vector<std::string>& feature_names() const override { return names; }
  std::string description() const override {
    return fmt::format(
        "native linear engine: {}{}", model.name(),
        scalers.empty() ? "" : fmt::format(" behind {} scaler{}", scalers.size(), scalers.size() == 1 ? "" : "s"));
  }

  std::size_t memory() const override { return taken; }
  std::size_t taken = 0;  // bytes, about

  Result<Output> predict(const Frame& f) const override {
    MR_CHECK(check_numbers(f, model.features()));
    std::vector<double> d;
    if (scalers.empty()) {
      d = model.decide(f);
    } else {
      if (f.sparse) return fail(Code::unimplemented, "sparse rows are not scaled");
      std::vector<double> scaled = f.data;
      for (const auto& s : scalers) apply(s, scaled, f.f32);
      d = model.decide(scaled.data(), f.rows);
    }
    if (answer == LinearAnswer::predict) return model.predict(std::move(d), f.rows, f.f32);
    Output out;
    out.rows = f.rows;
    out.type = f.f32 && model.in_f32() ? DataType::fp32 : DataType::fp64;
    out.numbers = model.probabilities(d, f.rows);
    out.width = out.numbers.size() / f.rows;
    if (answer == LinearAnswer::log_probability)
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
};

// The same models as parts of a graph.
class LinearEstimator : public Estimator {
 public:
  explicit LinearEstimator(LinearModel m) : model_(std::move(m)) {}
  [[nodiscard]] std::size_t features() const override { return model_.features(); }
  [[nodiscard]] bool takes_sparse() const override { return true; }
  [[nodiscard]] const Array* classes() const override { return model_.classifies() ? &model_.classes() : nullptr; }

  [[nodiscard]] Result<Output> predict(const Frame& in) const override {
    MR_CHECK(check_numbers(in, model_.features()));
    return model_.predict(model_.decide(in), in.rows, in.f32);
  }
  [[nodiscard]] Result<Frame> predict_proba(const Frame& in) const override {
    if (model_.probability() == LinearModel::Probability::none) return Estimator::predict_proba(in);
    MR_CHECK(check_numbers(in, model_.features()));
    auto p = model_.probabilities(model_.decide(in), in.rows);
    auto width = p.size() / in.rows;
    return typed(frame_of(in.rows, width, std::move(p)), in);
  }
  [[nodiscard]] Result<Frame> decision_function(const Frame& in) const override {
    if (!model_.decides()) return Estimator::decision_function(in);
    MR_CHECK(check_numbers(in, model_.features()));
    return typed(frame_of(in.rows, model_.outputs(), model_.decide(in)), in);
  }

 private:
  [[nodiscard]] Frame typed(Frame f, const Frame& in) const {
    f.f32 = in.f32 && model_.in_f32();
    return f;
  }
  LinearModel model_;
};

bool flag(const Tree& t, NodeId owner, std::string_view key, bool fallback) {
  auto id = t.get(owner, key);
  if (id == kNoNode || t.at(id).kind != NodeKind::boolean) return fallback;
  return t.at(id).integer != 0;
}

Result<std::vector<double>> finite_numbers(const Tree& t, NodeId owner, std::string_view key) {
  auto a = t.array_of(t.get(owner, key));
  if (!a) return no_engine(fmt::format("{} of {}: {}", key, short_name(t.class_of(owner)), a.error().message));
  if (a->kind == 'U' || a->kind == 'O')
    return no_engine(fmt::format("{} of {} is not made of numbers", key, short_name(t.class_of(owner))));
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
      engine_->answer = LinearAnswer::predict;
    else if (predict_fn_ == "predict_proba")
      engine_->answer = LinearAnswer::probability;
    else if (predict_fn_ == "predict_log_proba")
      engine_->answer = LinearAnswer::log_probability;
    else
      return no_engine(
          fmt::format("predict_fn '{}' is not served natively; predict, predict_proba and predict_log_proba are",
                      printable(predict_fn_)));
    MR_CHECK(step(t_.root, true, 0));
    if (engine_->answer != LinearAnswer::predict && engine_->model.probability() == LinearModel::Probability::none)
      return no_engine(fmt::format("{} has no {}", engine_->model.name(), predict_fn_));
    for (const auto& s : engine_->scalers) {
      auto width = s.scale.empty() ? s.shift.size() : s.scale.size();
      if (width != 0 && width != engine_->model.features())
        return no_engine(
            fmt::format("a scaler has {} features and the model behind it {}", width, engine_->model.features()));
    }
    engine_->taken = sizeof(LinearEngine) + t_.decoded;
    return std::unique_ptr<Engine>(std::move(engine_));
  }

 private:
  void names_of(NodeId id) {
    if (!engine_->names.empty()) return;
    if (auto a = t_.array_of(t_.get(id, "feature_names_in_")); a && (a->kind == 'O' || a->kind == 'U'))
      engine_->names = a->texts;
  }

  // One estimator; `last`: it must predict.
  Result<> step(NodeId id, bool last, int depth) {
    if (depth > 20) return no_engine("Pipelines are nested too deep");
    if (++steps_ > 1000) return no_engine("Pipelines hold more steps than are read");
    auto full = t_.class_of(id);
    if (full.empty()) return no_engine("the file does not hold an estimator");
    auto name = short_name(full);
    names_of(id);
    if (full == "sklearn.pipeline.Pipeline") return pipeline(id, last, depth);
    if (name == "StandardScaler" || name == "MinMaxScaler") {
      if (last) return no_engine(fmt::format("the last step is {}, which does not predict", name));
      return scaler(id, name);
    }
    if (!last) return no_engine(fmt::format("'{}' in the middle of a Pipeline is not read natively", full));
    MR_TRY(engine_->model, LinearModel::read(t_, id));
    return {};
  }

  Result<> pipeline(NodeId id, bool last, int depth) {
    auto steps = t_.get(id, "steps");
    if (steps == kNoNode || t_.at(steps).kind != NodeKind::list || t_.at(steps).items.empty())
      return no_engine("a Pipeline has no steps");
    const auto& list = t_.at(steps).items;
    for (std::size_t i = 0; i < list.size(); ++i) {
      const auto& pair = t_.at(list[i]);
      if ((pair.kind != NodeKind::tuple && pair.kind != NodeKind::list) || pair.items.size() != 2)
        return no_engine("a Pipeline's step is not a pair");
      auto est = pair.items[1];
      bool is_last = last && i + 1 == list.size();
      bool pass = t_.is_none(est) || t_.text_of(est) == "passthrough";
      if (pass) {
        if (is_last) return no_engine("the last step of the Pipeline is 'passthrough', which does not predict");
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
      s.float_statistics = Build(t_, written_by_).version_of(id) >= 1008;
      if (s.center) {
        MR_TRY(s.shift, finite_numbers(t_, id, "mean_"));
      }
      if (s.divide) {
        MR_TRY(s.scale, finite_numbers(t_, id, "scale_"));
      }
      if (s.center && s.divide && s.shift.size() != s.scale.size())
        return no_engine("a StandardScaler's mean_ and scale_ differ in length");
    } else {
      s.kind = Scaler::Kind::min_max;
      MR_TRY(s.scale, finite_numbers(t_, id, "scale_"));
      MR_TRY(s.shift, finite_numbers(t_, id, "min_"));
      if (s.shift.size() != s.scale.size()) return no_engine("a MinMaxScaler's min_ and scale_ differ in length");
      s.center = flag(t_, id, "clip", false);
      auto range = t_.get(id, "feature_range");
      if (s.center && range != kNoNode && t_.at(range).items.size() == 2) {
        MR_TRY(Array low, t_.array_of(t_.at(range).items[0]));
        MR_TRY(Array high, t_.array_of(t_.at(range).items[1]));
        if (low.numbers.size() != 1 || high.numbers.size() != 1 || low.numbers[0] > high.numbers[0])
          return no_engine("a MinMaxScaler's feature_range is not read");
        s.low = low.numbers[0];
        s.high = high.numbers[0];
      }
    }
    engine_->scalers.push_back(std::move(s));
    return {};
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

void add_linear(Makers& makers) {
  for (const auto& name : LinearModel::class_names())
    makers["sklearn*" + name] = [](Build& b, NodeId id) -> Result<EstimatorPtr> {
      MR_TRY(auto model, LinearModel::read(b.tree, id));
      return std::make_unique<LinearEstimator>(std::move(model));
    };
  // The model that its samples agreed on.
  makers["sklearn*RANSACRegressor"] = [](Build& b, NodeId id) -> Result<EstimatorPtr> {
    auto inner = b.tree.get(id, "estimator_");
    if (b.tree.is_none(inner)) return b.bad(id, "it has no estimator_: is it fitted?");
    MR_TRY(auto made, b.estimator(inner));
    made->name = b.short_class(id);
    return made;
  };
}

}  // namespace mr::serving
