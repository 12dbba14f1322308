#include "serving/formats/catboost.h"

#include <algorithm>
#include <cmath>

namespace mr::serving {

namespace {

std::unexpected<Error> broken_cat(std::string what) {
  return fail(Code::invalid_argument, "the CatBoost model is damaged: " + std::move(what));
}
std::unexpected<Error> not_native(std::string_view what) {
  return fail(Code::unimplemented, fmt::format("CatBoost's {} are not served natively", what));
}

// A whole number below `most`, or nothing.
std::optional<std::size_t> index_of(const Doc& d, std::string_view key, std::size_t most) {
  auto v = d.number_or(key, -1);
  if (!(v >= 0 && v < static_cast<double>(most))) return std::nullopt;
  return static_cast<std::size_t>(v);
}

constexpr std::size_t kMaxColumns = 1'000'000;

class CatboostJson {
 public:
  explicit CatboostJson(const Doc& doc) : doc_(doc) {}

  Result<CatboostParts> read() {
    MR_CHECK(features());
    if (const auto* s = doc_.find("scale_and_bias")) {
      if (s->kind == Doc::Kind::numbers && s->numbers.size() == 2) {  // of older versions
        p_.scale = s->numbers[0];
        p_.bias = {s->numbers[1]};
      } else if (s->items.size() == 2) {
        p_.scale = s->items[0].number;
        p_.bias = s->items[1].numbers;
      }
    }
    info();
    if (const auto* trees = doc_.find("oblivious_trees")) {
      for (const auto& t : trees->items) MR_CHECK(symmetric(t));
    } else if (const auto* others = doc_.find("trees")) {
      p_.dimension = std::max<std::size_t>(1, p_.bias.size());
      for (const auto& t : others->items) MR_CHECK(nested(t));
    } else {
      return broken_cat("it has no trees");
    }
    return std::move(p_);
  }

 private:
  Result<> features() {
    const auto* info = doc_.find("features_info");
    if (info == nullptr) return broken_cat("it has no features");
    for (const char* kind : {"ctrs", "text_features", "embedding_features"})
      if (const auto* list = info->find(kind); list != nullptr && !list->items.empty())
        return not_native(std::string(kind) == "ctrs" ? "features of target statistics (CTR)"
                                                      : "features of texts and embeddings");
    auto name = [&](const Doc& f, std::size_t flat) {
      if (p_.names.size() <= flat) p_.names.resize(flat + 1);
      p_.names[flat] = f.text_or("feature_id", "");
    };
    if (const auto* list = info->find("float_features"))
      for (const auto& f : list->items) {
        auto index = index_of(f, "feature_index", kMaxColumns);
        auto flat = index_of(f, "flat_feature_index", kMaxColumns);
        if (!index || !flat) return broken_cat("a feature has no index");
        if (p_.floats.size() <= *index) p_.floats.resize(*index + 1);
        auto& to = p_.floats[*index];
        to.flat = *flat;
        to.missing = f.text_or("nan_value_treatment", "") == "AsTrue" ? MissingGoes::right : MissingGoes::left;
        name(f, *flat);
      }
    if (const auto* list = info->find("categorical_features"))
      for (const auto& f : list->items) {
        auto index = index_of(f, "feature_index", kMaxColumns);
        auto flat = index_of(f, "flat_feature_index", kMaxColumns);
        if (!index || !flat) return broken_cat("a feature has no index");
        if (p_.categories.size() <= *index) p_.categories.resize(*index + 1);
        p_.categories[*index].flat = *flat;
        name(f, *flat);
      }
    return {};
  }

  void info() {
    const auto* info = doc_.find("model_info");
    if (info == nullptr) return;
    if (const auto* params = info->find("params"))
      if (const auto* loss = params->find("loss_function")) p_.loss = loss->text_or("type", "");
    if (const auto* classes = info->find("class_params")) p_.classes = *classes;
    p_.threshold = info->number_or("binclass_probability_threshold", 0.5);
  }

  Result<TreeSplit> split(const Doc& s) {
    auto type = s.text_or("split_type", "FloatFeature");
    if (type == "FloatFeature") {
      auto index = index_of(s, "float_feature_index", p_.floats.size());
      if (!index) return broken_cat("a split is on a feature that does not exist");
      return p_.float_split(*index, s.number_or("border", NAN));
    }
    if (type == "OneHotFeature") {
      auto index = index_of(s, "cat_feature_index", p_.categories.size());
      auto value = s.number_or("value", NAN);
      if (!index || !(value >= -2147483648.0 && value <= 4294967295.0))
        return broken_cat("a split is on a category that does not exist");
      return p_.category_split(*index, static_cast<std::int32_t>(static_cast<std::int64_t>(value)));
    }
    return not_native("features of target statistics (CTR)");
  }

  Result<> symmetric(const Doc& t) {
    const auto* values = t.find("leaf_values");
    const auto* splits = t.find("splits");
    if (values == nullptr || values->numbers.empty()) return broken_cat("a tree has no leaves");
    SourceTree out;
    out.oblivious = true;
    out.leaves = values->numbers;
    if (splits != nullptr)
      for (const auto& s : splits->items) {
        if (out.splits.size() == 16) return broken_cat("a tree has too many levels");
        MR_TRY(auto made, split(s));
        out.splits.push_back(made);
      }
    auto leaves = std::size_t{1} << out.splits.size();
    if (out.leaves.size() % leaves != 0) return broken_cat("a tree's leaves do not fit its levels");
    auto dimension = out.leaves.size() / leaves;
    if (!p_.trees.empty() && dimension != p_.dimension) return broken_cat("trees differ in the number of outputs");
    p_.dimension = dimension;
    p_.trees.push_back(std::move(out));
    return {};
  }

  // Returns the place of a subtree: a split's number or ~leaf. The document's own depth bounds the recursion.
  Result<std::int32_t> subtree(const Doc& node, SourceTree& out) {
    const auto* s = node.find("split");
    if (s == nullptr) {
      const auto* value = node.find("value");
      if (value == nullptr) return broken_cat("a node has neither a split nor a value");
      auto leaf = static_cast<std::int32_t>(out.leaves.size() / p_.dimension);
      if (value->kind == Doc::Kind::numbers && value->numbers.size() == p_.dimension)
        out.leaves.insert(out.leaves.end(), value->numbers.begin(), value->numbers.end());
      else if (value->kind == Doc::Kind::number && p_.dimension == 1)
        out.leaves.push_back(value->number);
      else
        return broken_cat("a leaf's values do not fit the outputs");
      return ~leaf;
    }
    const auto* left = node.find("left");
    const auto* right = node.find("right");
    if (left == nullptr || right == nullptr) return broken_cat("a node has no two children");
    MR_TRY(auto made, split(*s));
    auto at = out.splits.size();
    out.splits.push_back(made);
    MR_TRY(out.splits[at].left, subtree(*left, out));
    MR_TRY(out.splits[at].right, subtree(*right, out));
    return static_cast<std::int32_t>(at);
  }
  Result<> nested(const Doc& t) {
    SourceTree out;
    MR_CHECK(subtree(t, out));
    p_.trees.push_back(std::move(out));
    return {};
  }

  const Doc& doc_;
  CatboostParts p_;
};

}  // namespace

Result<TreeSplit> CatboostParts::float_split(std::size_t index, double border) const {
  if (index >= floats.size()) return broken_cat("a split is on a feature that does not exist");
  TreeSplit s;
  s.feature = static_cast<std::uint32_t>(floats[index].flat);
  s.missing = floats[index].missing;
  s.threshold = static_cast<double>(static_cast<float>(border));
  return s;
}

Result<TreeSplit> CatboostParts::category_split(std::size_t index, std::int32_t value) {
  if (index >= categories.size()) return broken_cat("a split is on a feature that does not exist");
  auto& feature = categories[index];
  TreeSplit s;
  s.feature = static_cast<std::uint32_t>(feature.flat);
  // The same question is asked by many trees.
  auto [known, fresh] = feature.set_of.try_emplace(value, static_cast<std::uint32_t>(sets.size()));
  s.set = known->second;
  if (!fresh) return s;
  auto code = feature.values.size();
  CategorySet set;
  set.feature = s.feature;
  set.missing_left = true;
  set.begin = words.size();
  set.count = code / 32 + 1;
  if (set.begin + set.count > 1U << 26) return not_native("features of so many one-hot categories");
  words.resize(set.begin + set.count);
  words.back() = 1U << (code % 32);
  feature.values.push_back(value);
  sets.push_back(set);
  return s;
}

Result<BoostedModel> make_catboost(CatboostParts p, std::string_view model_class) {
  BoostedModel m;
  m.library = "CatBoost";
  m.kind = model_class.empty() ? "CatBoost" : std::string(model_class.substr(model_class.rfind('.') + 1));
  std::size_t columns = 0;
  for (const auto& f : p.floats) columns = std::max(columns, f.flat + 1);
  for (const auto& f : p.categories) columns = std::max(columns, f.flat + 1);
  if (columns == 0) return broken_cat("it has no features");
  m.features = columns;
  m.names = std::move(p.names);
  m.names.resize(columns);
  bool named = false;
  for (std::size_t i = 0; i < columns; ++i) named |= !m.names[i].empty() && m.names[i] != std::to_string(i);
  if (!named) m.names.clear();
  if (p.dimension == 0 || p.bias.size() > p.dimension || !std::isfinite(p.scale))
    return broken_cat("its scale does not fit");
  m.groups = p.dimension;
  m.multiply = p.scale;
  for (double b : p.bias)
    if (b != 0) m.add = p.bias;
  if (!m.add.empty()) m.add.resize(m.groups, m.add.size() == 1 ? m.add[0] : 0.0);
  for (const auto& f : p.categories) {
    auto& codes = m.hashes[f.flat];
    for (std::size_t i = 0; i < f.values.size(); ++i) codes[f.values[i]] = static_cast<double>(i);
  }
  if (p.loss == "MultiLogloss" || p.loss == "MultiCrossEntropy" || p.loss == "RMSEWithUncertainty")
    return fail(Code::unimplemented, fmt::format("CatBoost's loss '{}' is not served natively", printable(p.loss)));
  if (m.kind.ends_with("Classifier")) {
    m.link = m.groups > 1 && p.loss != "MultiClassOneVsAll" ? Link::softmax : Link::sigmoid;
    m.labels = m.groups > 1 ? LabelRule::largest_margin : LabelRule::over_margin;
    if (!(p.threshold > 0 && p.threshold < 1)) return broken_cat("its threshold is no probability");
    m.cut = p.threshold == 0.5 ? 0 : std::log(p.threshold / (1 - p.threshold));
    if (const auto* names = p.classes.find("class_names");
        names != nullptr && names->items.size() + names->numbers.size() > 0) {
      m.classes.kind = names->kind == Doc::Kind::numbers ? 'i' : 'U';
      m.classes.numbers = names->numbers;
      if (p.classes.text_or("class_label_type", "") == "Float") m.classes.kind = 'f';
      for (const auto& n : names->items) m.classes.texts.push_back(n.text);
      if (m.classes.size() != std::max<std::size_t>(2, m.groups))
        return broken_cat("its classes do not fit the outputs");
      m.classes.shape = {static_cast<std::int64_t>(m.classes.size())};
    }
  } else if (m.kind == "CatBoostRegressor" && (p.loss == "Poisson" || p.loss == "Tweedie")) {
    m.link = Link::exponential;
  }
  EnsembleSource s;
  s.features = columns;
  s.groups = m.groups;
  s.width = m.groups;
  s.round_values = true;
  s.equal_goes_left = true;
  s.trees = std::move(p.trees);
  s.sets = std::move(p.sets);
  s.words = std::move(p.words);
  MR_TRY(m.trees, Ensemble::build(std::move(s)));
  return m;
}

Result<BoostedModel> read_catboost(const Doc& document, std::string_view model_class) {
  MR_TRY(auto parts, CatboostJson(document).read());
  return make_catboost(std::move(parts), model_class);
}

}  // namespace mr::serving
