#include "serving/engines/boosters.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "serving/engines/category_hash.h"

namespace mr::serving {

namespace {

std::unexpected<Error> refused_rows(std::string what) { return fail(Code::invalid_argument, std::move(what)); }

// The same function in the precision of the library.
template <class T>
T link_logistic(T x) {
  // float32 ends at exp(88.7); there the answer is 0 or 1 either way.
  if constexpr (sizeof(T) == 4) x = std::max(x, -88.7F);
  return T{1} / (T{1} + std::exp(-x));
}

template <class T>
void link_row(Link link, double scale, double* v, std::size_t n) {
  auto each = [&](auto f) {
    for (std::size_t i = 0; i < n; ++i) v[i] = static_cast<double>(f(static_cast<T>(v[i])));
  };
  switch (link) {
    case Link::identity:
    case Link::arg_max:
      return;
    case Link::sigmoid:
      return each([&](T x) { return link_logistic<T>(static_cast<T>(scale) * x); });
    case Link::hinge:
      return each([](T x) { return x > 0 ? T{1} : T{0}; });
    case Link::exponential:
      return each([](T x) { return std::exp(x); });
    case Link::signed_square:
      return each([](T x) { return std::copysign(x * x, x); });
    case Link::log_exp:
      return each([](T x) { return std::log1p(std::exp(x)); });
    case Link::softmax: {
      T top = static_cast<T>(v[0]);
      for (std::size_t i = 1; i < n; ++i) top = std::max(top, static_cast<T>(v[i]));
      double sum = 0;
      each([&](T x) {
        T e = std::exp(x - top);
        sum += static_cast<double>(e);
        return e;
      });
      each([&](T x) { return x / static_cast<T>(sum); });
      return;
    }
  }
}

std::size_t largest(const double* v, std::size_t n) {
  std::size_t best = 0;
  for (std::size_t i = 1; i < n; ++i)
    if (v[i] > v[best]) best = i;
  return best;
}

// Categories by the hash of their text. A whole number is the text of its digits; what no split asks for is missing.
Result<> hashed_column(const Frame& in, std::size_t column, const std::unordered_map<std::int32_t, double>& codes,
                       std::vector<double>& room) {
  auto texts = in.texts.find(column);
  for (std::size_t r = 0; r < in.rows; ++r) {
    double& cell = room[r * in.columns + column];
    std::int32_t hash = 0;
    if (texts != in.texts.end()) {
      hash = category_hash(texts->second.values[r]);
    } else {
      if (!(cell == std::floor(cell) && std::fabs(cell) < 1e15))
        return refused_rows(fmt::format("column #{} is of categories: texts or whole numbers are wanted", column));
      hash = category_hash(std::to_string(static_cast<std::int64_t>(cell)));
    }
    auto code = codes.find(hash);
    cell = code == codes.end() ? std::numeric_limits<double>::quiet_NaN() : code->second;
  }
  return {};
}

// The rows as numbers without gaps: texts become their codes, cells that a sparse row leaves out what the library takes
// them for. `room` holds them where the frame does not.
Result<const double*> dense_rows(const BoostedModel& m, const Frame& in, std::vector<double>& room) {
  if (in.rows == 0) return refused_rows("there are no rows (0 samples); at least one is needed");
  if (in.columns != m.features)
    return refused_rows(fmt::format("the input has {} columns; the model was fitted with {}", in.columns, m.features));
  if (in.sparse) {
    room.assign(in.rows * in.columns, m.absent_is_missing ? std::numeric_limits<double>::quiet_NaN() : 0.0);
    for (std::size_t r = 0; r < in.rows; ++r)
      for (auto i = in.starts[r]; i < in.starts[r + 1]; ++i) room[r * in.columns + in.indices[i]] = in.values[i];
  } else if (!in.texts.empty()) {
    room = in.data;
    for (const auto& [column, texts] : in.texts) {
      if (m.hashes.contains(column)) continue;
      auto codes = m.categories.find(column);
      if (codes == m.categories.end())
        return refused_rows(fmt::format("column #{} holds texts, and this model takes numbers there", column));
      for (std::size_t r = 0; r < in.rows; ++r) {
        double& cell = room[r * in.columns + column];
        cell = std::numeric_limits<double>::quiet_NaN();
        if (r < texts.missing.size() && texts.missing[r] != 0) continue;
        if (auto code = codes->second.find(texts.values[r]); code != codes->second.end()) cell = code->second;
      }
    }
  }
  if (!m.hashes.empty()) {
    if (room.empty()) room = in.data;
    for (const auto& [column, codes] : m.hashes) MR_CHECK(hashed_column(in, column, codes, room));
  }
  if (!std::isnan(m.missing)) {
    if (room.empty()) room = in.data;
    for (auto& v : room)
      if (static_cast<float>(v) == static_cast<float>(m.missing)) v = std::numeric_limits<double>::quiet_NaN();
  }
  const double* rows = room.empty() ? in.data.data() : room.data();
  if (m.refuse_infinite)
    for (std::size_t i = 0; i < in.rows * in.columns; ++i)
      if (std::isinf(static_cast<float>(rows[i])))
        return refused_rows(
            fmt::format("column #{} has an infinite value, which this model does not take", i % in.columns));
  return rows;
}

class BoostedEstimator : public Estimator {
 public:
  explicit BoostedEstimator(BoostedModel model) : m_(std::move(model)) {
    name = m_.kind;
    names = m_.names;
    if (m_.labels == LabelRule::none || m_.labels == LabelRule::each || m_.labels == LabelRule::as_integer) return;
    if (m_.classes.size() > 0) return;
    m_.classes.kind = 'i';
    for (std::size_t i = 0; i < std::max<std::size_t>(2, m_.groups); ++i)
      m_.classes.numbers.push_back(static_cast<double>(i));
    m_.classes.shape = {static_cast<std::int64_t>(m_.classes.numbers.size())};
  }
  [[nodiscard]] std::size_t features() const override { return m_.features; }
  [[nodiscard]] const Array* classes() const override {
    return m_.labels == LabelRule::none || m_.classes.size() == 0 ? nullptr : &m_.classes;
  }
  [[nodiscard]] bool takes_sparse() const override { return true; }
  [[nodiscard]] const BoostedModel& model() const { return m_; }

  [[nodiscard]] Result<Output> predict(const Frame& in) const override {
    MR_TRY(auto values, m_.margins(in));
    if (m_.labels == LabelRule::largest_margin)
      return chosen(in.rows, [&](std::size_t r) { return largest(values.data() + r * m_.groups, m_.groups); });
    if (m_.labels == LabelRule::over_margin) return chosen(in.rows, [&](std::size_t r) { return values[r] > m_.cut; });
    m_.apply_link(values);
    const auto width = m_.width();
    Output out;
    out.rows = in.rows;
    out.width = width;
    switch (m_.labels) {
      case LabelRule::none:
        out.type = m_.float_results ? DataType::fp32 : DataType::fp64;
        out.numbers = std::move(values);
        return out;
      case LabelRule::as_integer:
        out.type = DataType::int32;
        out.numbers = std::move(values);
        return out;
      case LabelRule::each:
        out.numbers = std::move(values);
        for (auto& v : out.numbers) v = v > 0.5 ? 1 : 0;
        return out;
      case LabelRule::over_half:
        return chosen(in.rows, [&](std::size_t r) { return values[r] > 0.5; });
      case LabelRule::largest_pair:
        return chosen(in.rows, [&](std::size_t r) { return values[r] > 1.0 - values[r]; });
      default:
        return chosen(in.rows, [&](std::size_t r) { return largest(values.data() + r * width, width); });
    }
  }

  [[nodiscard]] Result<Frame> predict_proba(const Frame& in) const override {
    if (m_.labels == LabelRule::none || m_.labels == LabelRule::as_integer || m_.width() != m_.groups)
      return Estimator::predict_proba(in);
    MR_TRY(auto values, m_.margins(in));
    m_.apply_link(values);
    Frame out;
    out.rows = in.rows;
    out.f32 = m_.float_results;
    out.columns = m_.groups;
    if (m_.groups > 1) {
      out.data = std::move(values);
      return out;
    }
    out.columns = 2;
    out.data.reserve(2 * in.rows);
    for (double v : values) {
      out.data.push_back(m_.float_results ? static_cast<double>(1.0F - static_cast<float>(v)) : 1.0 - v);
      out.data.push_back(v);
    }
    return out;
  }

  [[nodiscard]] Result<Frame> decision_function(const Frame& in) const override {
    if (!m_.decides) return Estimator::decision_function(in);
    Frame out;
    MR_TRY(out.data, m_.margins(in));
    out.rows = in.rows;
    out.columns = m_.groups;
    out.f32 = m_.float_results;
    return out;
  }

 private:
  // The labels whose numbers `pick` gives.
  template <class Pick>
  Output chosen(std::size_t rows, Pick pick) const {
    std::vector<std::size_t> index(rows);
    for (std::size_t r = 0; r < rows; ++r) index[r] = static_cast<std::size_t>(pick(r));
    return labels(m_.classes, index);
  }

  BoostedModel m_;
};

class BoostedEngine : public Engine {
 public:
  explicit BoostedEngine(BoostedModel model) : e_(std::move(model)) {}
  [[nodiscard]] Result<Output> predict(const Frame& in) const override { return e_.predict(in); }
  [[nodiscard]] std::size_t features() const override { return e_.features(); }
  [[nodiscard]] const std::vector<std::string>& feature_names() const override { return e_.feature_names(); }
  [[nodiscard]] std::string description() const override {
    const auto& m = e_.model();
    return m.weights.empty() ? fmt::format("native engine: {} {}, {} trees", m.library, m.kind, m.trees.trees())
                             : fmt::format("native engine: {} {}, linear", m.library, m.kind);
  }
  [[nodiscard]] std::size_t memory() const override { return e_.model().bytes(); }

 private:
  BoostedEstimator e_;
};

}  // namespace

Result<std::vector<double>> BoostedModel::margins(const Frame& in) const {
  std::vector<double> room;
  MR_TRY(const double* rows, dense_rows(*this, in, room));
  std::vector<double> out(in.rows * groups);
  if (!weights.empty()) {
    // As XGBoost: in float32, over the cells that are there.
    for (std::size_t r = 0; r < in.rows; ++r)
      for (std::size_t g = 0; g < groups; ++g) {
        float sum = static_cast<float>(bases[g]) + weights[features * groups + g];
        for (std::size_t f = 0; f < features; ++f) {
          auto x = static_cast<float>(rows[r * features + f]);
          if (!std::isnan(x)) sum += x * weights[f * groups + g];
        }
        out[r * groups + g] = static_cast<double>(sum);
      }
    return out;
  }
  trees.sum(rows, in.rows, out.data());
  if (divide != 1)
    for (auto& v : out) v /= divide;
  if (multiply != 1)
    for (auto& v : out) v *= multiply;
  if (!add.empty())
    for (std::size_t i = 0; i < out.size(); ++i) out[i] += add[i % groups];
  return out;
}

void BoostedModel::apply_link(std::vector<double>& values) const {
  if (link == Link::identity) return;
  if (link == Link::arg_max) {
    const auto rows = values.size() / groups;
    for (std::size_t r = 0; r < rows; ++r) values[r] = static_cast<double>(largest(values.data() + r * groups, groups));
    values.resize(rows);
    return;
  }
  for (std::size_t at = 0; at < values.size(); at += groups) {
    if (float_results)
      link_row<float>(link, scale, values.data() + at, groups);
    else
      link_row<double>(link, scale, values.data() + at, groups);
  }
}

std::size_t BoostedModel::bytes() const {
  std::size_t of_texts = 0;
  for (const auto& n : names) of_texts += sizeof n + n.size();
  for (const auto& [_, known] : categories)
    for (const auto& [text, number] : known) of_texts += 64 + text.size();
  for (const auto& [_, known] : hashes) of_texts += 32 * known.size();
  return sizeof *this + trees.bytes() + weights.size() * sizeof(float) + of_texts;
}

EstimatorPtr make_boosted_estimator(BoostedModel model) { return std::make_unique<BoostedEstimator>(std::move(model)); }
std::unique_ptr<Engine> make_boosted_engine(BoostedModel model) {
  return std::make_unique<BoostedEngine>(std::move(model));
}

}  // namespace mr::serving
