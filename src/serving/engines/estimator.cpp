#include "serving/engines/estimator.h"

#include "text/text.h"

namespace mr::serving {

namespace {

// Cells of an answer that were sparse: a few words of a request may ask for columns without number.
constexpr std::size_t kMostAnswered = std::size_t{1} << 24;
constexpr std::size_t kSmallEngine = 2048;  // objects and names
constexpr int kMaxDepth = 64;
constexpr int kMaxEstimators = 100'000;

std::unexpected<Error> lacks(const Estimator& e, std::string_view what) {
  return fail(Code::unimplemented, fmt::format("{} has no {}", e.name, what));
}

// "1.8.0" -> 1008; 0 when it is no version.
int version_number(const std::string& v) {
  auto parts = text::split(v, '.');
  if (parts.size() < 2) return 0;
  return static_cast<int>(text::to_i64(parts[0]).value_or(0) * 1000 + text::to_i64(parts[1]).value_or(0));
}

DataType type_of(const Array& a) {
  auto sized = [&](DataType one, DataType two, DataType four, DataType eight) {
    return a.itemsize == 8 ? eight : a.itemsize == 4 ? four : a.itemsize == 2 ? two : one;
  };
  switch (a.kind) {
    case 'U':
    case 'O':
      return DataType::bytes;
    case 'b':
      return DataType::boolean;
    case 'f':
      return sized(DataType::fp64, DataType::fp16, DataType::fp32, DataType::fp64);
    case 'i':
      return sized(DataType::int8, DataType::int16, DataType::int32, DataType::int64);
    default:
      return sized(DataType::uint8, DataType::uint16, DataType::uint32, DataType::uint64);
  }
}

enum class Answer : std::uint8_t { predict, probability, log_probability, decision, transform };

class EstimatorEngine : public Engine {
 public:
  EstimatorEngine(EstimatorPtr root, Answer answer, std::size_t memory)
      : root_(std::move(root)), answer_(answer), memory_(memory) {}
  [[nodiscard]] std::size_t features() const override { return root_->features(); }
  [[nodiscard]] const std::vector<std::string>& feature_names() const override { return root_->feature_names(); }
  [[nodiscard]] std::string description() const override { return "native engine: " + root_->name; }
  [[nodiscard]] std::size_t memory() const override { return memory_; }

  [[nodiscard]] Result<Output> predict(const Frame& in) const override {
    if (answer_ == Answer::predict) return root_->predict(in);
    if (answer_ == Answer::probability || answer_ == Answer::log_probability) return shares(in);
    auto frame = answer_ == Answer::decision ? root_->decision_function(in) : root_->transform(in);
    if (!frame) return std::unexpected(frame.error());
    if (frame->sparse && frame->columns != 0 && frame->rows > kMostAnswered / frame->columns)
      return fail(Code::too_large, fmt::format("{} rows of {} columns are more than one answer has: ask for {} at once",
                                               frame->rows, frame->columns, kMostAnswered / frame->columns));
    if (frame->sparse) frame = dense(std::move(*frame));
    if (!frame) return std::unexpected(frame.error());
    if (!frame->texts.empty()) return texts_of(*frame);
    return numbers_of_frame(std::move(*frame));
  }

 private:
  static Output numbers_of_frame(Frame frame) {
    Output out;
    out.type = frame.f32 ? DataType::fp32 : DataType::fp64;
    out.rows = frame.rows;
    out.width = frame.columns;
    out.numbers = std::move(frame.data);
    return out;
  }

  // Of several outputs: an array each.
  [[nodiscard]] Result<Output> shares(const Frame& in) const {
    MR_TRY(auto all, root_->shares_of_outputs(in));
    if (answer_ == Answer::log_probability)
      for (auto& frame : all)
        for (auto& v : frame.data) v = std::log(v);
    if (all.size() == 1) return numbers_of_frame(std::move(all[0]));
    Output out;
    out.form = Output::Form::arrays;
    for (auto& frame : all) {
      OutputPart part;
      part.name = fmt::format("output-{}", out.parts.size() + 1);
      part.content_type = "np";
      part.type = frame.f32 ? DataType::fp32 : DataType::fp64;
      part.shape = {static_cast<std::int64_t>(frame.rows), static_cast<std::int64_t>(frame.columns)};
      part.numbers = std::move(frame.data);
      out.parts.push_back(std::move(part));
    }
    return out;
  }

  // Columns of texts alone are an answer of texts.
  [[nodiscard]] Result<Output> texts_of(const Frame& frame) const {
    if (frame.texts.size() != frame.columns)
      return fail(Code::unimplemented,
                  fmt::format("{} gives columns of numbers and of texts, which are no answer", root_->name));
    Output out;
    out.type = DataType::bytes;
    out.rows = frame.rows;
    out.width = frame.columns;
    out.texts.reserve(frame.rows * frame.columns);
    for (std::size_t r = 0; r < frame.rows; ++r)
      for (const auto& [c, column] : frame.texts) out.texts.push_back(column.values[r]);
    return out;
  }

  EstimatorPtr root_;
  Answer answer_;
  std::size_t memory_;
};

}  // namespace

Result<Frame> Estimator::transform(const Frame&) const { return lacks(*this, "transform"); }
Result<Output> Estimator::predict(const Frame&) const { return lacks(*this, "predict"); }
Result<Frame> Estimator::predict_proba(const Frame&) const { return lacks(*this, "predict_proba"); }
Result<std::vector<Frame>> Estimator::shares_of_outputs(const Frame& in) const {
  MR_TRY(auto one, predict_proba(in));
  std::vector<Frame> out;
  out.push_back(std::move(one));
  return out;
}
Result<Frame> Estimator::decision_function(const Frame&) const { return lacks(*this, "decision_function"); }

Output labels(const Array& classes, const std::vector<std::size_t>& index) {
  Output out;
  out.type = type_of(classes);
  out.rows = index.size();
  for (auto i : index) {
    if (out.type == DataType::bytes)
      out.texts.push_back(classes.texts[i]);
    else
      out.numbers.push_back(classes.numbers[i]);
  }
  return out;
}

Result<> check_numbers(const Frame& in, std::size_t features, bool missing) {
  if (in.rows == 0) return fail(Code::invalid_argument, "there are no rows (0 samples); at least one is needed");
  if (features != 0 && in.columns != features)
    return fail(Code::invalid_argument,
                fmt::format("the input has {} columns; the model was fitted with {}", in.columns, features));
  if (!in.texts.empty())
    return fail(Code::invalid_argument,
                fmt::format("column #{} holds texts, and this model takes numbers", in.texts.begin()->first));
  if (missing) return {};
  for (std::size_t i = 0; i < in.values.size(); ++i)
    if (!std::isfinite(in.values[i]))
      return fail(Code::invalid_argument,
                  fmt::format("column #{} has a missing (NaN) or infinite value, which this model does not take",
                              in.indices[i]));
  for (std::size_t i = 0; i < in.data.size(); ++i)
    if (!std::isfinite(in.data[i]))
      return fail(Code::invalid_argument,
                  fmt::format("column #{} has a missing (NaN) or infinite value, which this model does not take",
                              i % in.columns));
  return {};
}

std::string Build::short_class(NodeId id) const {
  auto full = tree.class_of(id);
  return full.substr(full.rfind('.') + 1);
}

std::unexpected<Error> Build::bad(NodeId id, std::string_view what) const {
  return fail(Code::invalid_argument, fmt::format("{}: {}", short_class(id), what));
}

Result<EstimatorPtr> Build::estimator(NodeId id) {
  if (depth_ >= kMaxDepth) return fail(Code::invalid_argument, "estimators are nested too deep");
  if (++count_ > kMaxEstimators) return fail(Code::invalid_argument, "the model holds more estimators than are read");
  auto full = tree.class_of(id);
  if (full.empty()) return fail(Code::invalid_argument, "the file does not hold an estimator");
  auto it = makers().find(full);
  if (it == makers().end() && full.starts_with("sklearn.")) it = makers().find("sklearn*" + short_class(id));
  if (it == makers().end()) return fail(Code::unimplemented, fmt::format("'{}' is not read natively", full));
  ++depth_;
  auto made = it->second(*this, id);
  --depth_;
  if (!made) return made;
  if ((*made)->name.empty()) (*made)->name = short_class(id);
  if (auto a = tree.array_of(tree.get(id, "feature_names_in_")); a && (a->kind == 'O' || a->kind == 'U'))
    (*made)->names = a->texts;
  return made;
}

int Build::version_of(NodeId id) const {
  auto own = tree.text_of(tree.get(id, "_sklearn_version"));
  return version_number(own.empty() ? written_by_ : own);
}

Result<Array> Build::array(NodeId id, std::string_view attribute) const {
  auto at = tree.get(id, attribute);
  if (tree.is_none(at)) return bad(id, fmt::format("it has no {}: is it fitted?", attribute));
  auto a = tree.array_of(at);
  if (!a) return bad(id, fmt::format("{}: {}", attribute, a.error().message));
  return a;
}

Result<std::vector<double>> Build::numbers(NodeId id, std::string_view attribute) const {
  MR_TRY(auto a, array(id, attribute));
  if (a.kind == 'U' || a.kind == 'O') return bad(id, fmt::format("{} is not made of numbers", attribute));
  for (double v : a.numbers)
    if (!std::isfinite(v)) return bad(id, fmt::format("{} is not finite", attribute));
  return std::move(a.numbers);
}

Result<double> Build::number(NodeId id, std::string_view attribute) const {
  MR_TRY(auto all, numbers(id, attribute));
  if (all.size() != 1) return bad(id, fmt::format("{} is not one number", attribute));
  return all[0];
}

double Build::number_or(NodeId id, std::string_view attribute, double fallback) const {
  auto at = tree.get(id, attribute);
  if (tree.is_none(at)) return fallback;
  auto a = tree.array_of(at);
  return a && a->numbers.size() == 1 ? a->numbers[0] : fallback;
}

bool Build::flag_or(NodeId id, std::string_view attribute, bool fallback) const {
  auto at = tree.get(id, attribute);
  return at == kNoNode || tree.at(at).kind != NodeKind::boolean ? fallback : tree.at(at).integer != 0;
}

std::string Build::text_or(NodeId id, std::string_view attribute, std::string fallback) const {
  auto at = tree.get(id, attribute);
  return at == kNoNode || tree.at(at).kind != NodeKind::text ? fallback : tree.text_of(at);
}

std::vector<NodeId> Build::items(NodeId id, std::string_view attribute) const {
  auto at = tree.get(id, attribute);
  if (at == kNoNode) return {};
  const auto& n = tree.at(at);
  return n.kind == NodeKind::list || n.kind == NodeKind::tuple ? n.items : std::vector<NodeId>{};
}

const Makers& makers() {
  static const Makers all = [] {
    Makers m;
    add_trees(m);
    add_linear(m);
    add_svm(m);
    add_neighbours(m);
    add_bayes(m);
    add_clusters(m);
    add_others(m);
    add_meta(m);
    add_statsmodels(m);
    add_composition(m);
    add_scalers(m);
    add_encoders(m);
    add_text(m);
    add_gaussian_processes(m);
    add_decomposition(m);
    add_boosters(m);
    return m;
  }();
  return all;
}

Result<std::unique_ptr<Engine>> make_engine(const Tree& tree, const std::string& predict_fn,
                                            const std::string& written_by) {
  static const std::map<std::string, Answer, std::less<>> answers{{"predict", Answer::predict},
                                                                  {"predict_proba", Answer::probability},
                                                                  {"predict_log_proba", Answer::log_probability},
                                                                  {"decision_function", Answer::decision},
                                                                  {"transform", Answer::transform}};
  auto answer = answers.find(predict_fn);
  if (answer == answers.end())
    return fail(Code::unimplemented, fmt::format("predict_fn '{}' is not served natively", printable(predict_fn)));
  Build build(tree, written_by);
  const auto decoded = tree.decoded;  // by who looked at the tree before
  MR_TRY(auto root, build.estimator(tree.root));
  auto engine = std::make_unique<EstimatorEngine>(std::move(root), answer->second,
                                                  kSmallEngine + build.memory + (tree.decoded - decoded));
  // What an estimator lacks is said when it is read, not to the first request: one row of zeros shows it. Whatever else
  // is wrong with that row is no fault of the model.
  Frame row;
  row.rows = 1;
  row.columns = std::max<std::size_t>(1, engine->features());
  row.data.assign(row.columns, 0);
  if (auto tried = engine->predict(row); !tried && tried.error().code == Code::unimplemented &&
                                         tried.error().message.find(" has no ") != std::string::npos)
    return std::unexpected(tried.error());
  return engine;
}

}  // namespace mr::serving
