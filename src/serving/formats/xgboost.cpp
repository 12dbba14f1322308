#include "serving/formats/xgboost.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace mr::serving {

namespace {

std::unexpected<Error> broken_xgb(std::string what) {
  return fail(Code::invalid_argument, "the XGBoost model is damaged: " + std::move(what));
}

struct Objective {
  enum class Start : std::uint8_t { as_is, logit, log } start = Start::as_is;
  Link link = Link::identity;
};

Result<Objective> objective_of(std::string_view name) {
  using S = Objective::Start;
  if (name == "binary:logistic" || name == "reg:logistic") return Objective{S::logit, Link::sigmoid};
  if (name == "binary:logitraw") return Objective{S::as_is, Link::identity};
  if (name == "binary:hinge") return Objective{S::as_is, Link::hinge};
  if (name == "count:poisson" || name == "reg:gamma" || name == "reg:tweedie" || name == "survival:cox" ||
      name == "survival:aft")
    return Objective{S::log, Link::exponential};
  if (name == "multi:softprob") return Objective{S::as_is, Link::softmax};
  if (name == "multi:softmax") return Objective{S::as_is, Link::arg_max};
  for (auto known : {"reg:squarederror", "reg:linear", "reg:squaredlogerror", "reg:pseudohubererror",
                     "reg:absoluteerror", "reg:quantileerror", "reg:expectileerror"})
    if (name == known) return Objective{};
  if (name.starts_with("rank:")) return Objective{};
  return fail(Code::unimplemented, fmt::format("XGBoost's objective '{}' is not served natively", printable(name)));
}

// "5E-1", "[5E-1]" or "[1E0,2E0]", in float32.
Result<std::vector<double>> base_scores(std::string_view text) {
  if (text.starts_with('[') && text.ends_with(']')) text = text.substr(1, text.size() - 2);
  std::vector<double> out;
  while (true) {
    while (text.starts_with(' ')) text.remove_prefix(1);
    float v = 0;
    auto [to, ec] = std::from_chars(text.data(), text.data() + text.size(), v);
    if (ec != std::errc{} || !std::isfinite(v)) return broken_xgb("base_score is not a number");
    out.push_back(static_cast<double>(v));
    text.remove_prefix(static_cast<std::size_t>(to - text.data()));
    while (text.starts_with(' ')) text.remove_prefix(1);
    if (text.empty()) return out;
    if (!text.starts_with(',')) return broken_xgb("base_score is not a number");
    text.remove_prefix(1);
  }
}

class XgboostReader {
 public:
  XgboostReader(const Doc& learner, std::string_view model_class) : l_(learner), class_(model_class) {}

  Result<BoostedModel> read() {
    const auto* booster = l_.find("gradient_booster");
    const auto* param = l_.find("learner_model_param");
    const auto* objective = l_.find("objective");
    if (booster == nullptr || param == nullptr || objective == nullptr)
      return broken_xgb("it has no booster or parameters");
    out_.library = "XGBoost";
    auto features = param->number_or("num_feature", -1);
    auto classes = param->number_or("num_class", 0);
    auto targets = param->number_or("num_target", 1);
    if (!(features >= 1 && features < 1U << 31 && classes >= 0 && targets >= 0 && classes <= 1e5 && targets <= 1e5))
      return broken_xgb("its numbers of features, classes or targets are impossible");
    out_.features = static_cast<std::size_t>(features);
    out_.groups = std::max({std::size_t{1}, static_cast<std::size_t>(classes), static_cast<std::size_t>(targets)});
    auto name = objective->text_or("name", "");
    MR_TRY(auto obj, objective_of(name));
    MR_TRY(bases_, base_scores(param->text_or("base_score", "")));
    if (bases_.size() == 1) bases_.assign(out_.groups, bases_[0]);
    if (bases_.size() != out_.groups) return broken_xgb("base_score does not fit the outputs");
    for (auto& b : bases_) {
      auto f = static_cast<float>(b);
      if (obj.start == Objective::Start::logit) f = -std::log(1.0F / f - 1.0F);
      if (obj.start == Objective::Start::log) f = std::log(f);
      if (std::isnan(f)) return broken_xgb("base_score does not fit the objective");
      b = static_cast<double>(f);
    }
    out_.link = obj.link;
    out_.float_results = true;
    out_.absent_is_missing = true;
    MR_CHECK(feature_names());
    kind_of(name, static_cast<std::size_t>(classes), static_cast<std::size_t>(targets));
    auto kind = booster->text_or("name", "");
    if (kind == "gblinear") {
      MR_CHECK(linear(*booster));
    } else if (kind == "gbtree") {
      MR_CHECK(trees(*booster, nullptr));
    } else if (kind == "dart") {
      const auto* inner = booster->find("gbtree");
      const auto* drop = booster->find("weight_drop");
      if (inner == nullptr || drop == nullptr) return broken_xgb("a dart booster has no trees or weights");
      MR_CHECK(trees(*inner, drop));
    } else {
      return fail(Code::unimplemented, fmt::format("XGBoost's booster '{}' is not served natively", printable(kind)));
    }
    return std::move(out_);
  }

 private:
  Result<> feature_names() {
    const auto* names = l_.find("feature_names");
    if (names == nullptr || names->items.empty()) return {};
    if (names->items.size() != out_.features) return broken_xgb("feature_names do not fit num_feature");
    for (const auto& n : names->items) out_.names.push_back(n.text);
    return {};
  }

  // What predict answers, by the class that would have read the file.
  void kind_of(std::string_view objective, std::size_t classes, std::size_t targets) {
    const auto* attributes = l_.find("attributes");
    Doc saved;  // what the scikit-learn classes wrote into the model
    if (attributes != nullptr)
      if (auto text = attributes->text_or("scikit_learn", ""); !text.empty())
        if (auto doc = read_json_model(text, 100'000)) saved = std::move(*doc);
    if (class_.empty()) {
      auto type = saved.text_or("_estimator_type", saved.text_or("type", ""));
      class_ = type == "classifier" || type.ends_with("Classifier") ? "XGBClassifier"
               : type.empty()                                       ? "Booster"
                                                                    : "XGBRegressor";
    }
    out_.kind = class_.substr(class_.rfind('.') + 1);
    out_.refuse_infinite = out_.kind == "Booster";  // a DMatrix does not take it
    if (out_.kind != "Booster" && attributes != nullptr) {
      best_iteration_ = attributes->number_or("best_iteration", -1);
    }
    if (!out_.kind.ends_with("Classifier")) return;
    if (objective == "multi:softmax")
      out_.labels = LabelRule::as_integer;
    else if (out_.groups == 1)
      out_.labels = LabelRule::over_half;
    else if (targets > 1 || classes == 2)
      out_.labels = LabelRule::each;
    else
      out_.labels = LabelRule::largest;
    // Before 1.6 labels of any type were kept beside the model.
    const auto* encoder = saved.find("_le");
    const auto* labels = encoder == nullptr ? nullptr : encoder->find("classes_");
    if (labels == nullptr || out_.labels == LabelRule::each || out_.labels == LabelRule::as_integer) return;
    Array a;
    a.kind = 'i';
    if (labels->kind == Doc::Kind::numbers) {
      a.numbers = labels->numbers;
      for (double v : a.numbers)
        if (v != std::floor(v)) a.kind = 'f';
    } else {
      a.kind = 'U';
      for (const auto& t : labels->items) a.texts.push_back(t.text);
    }
    if (a.size() != std::max<std::size_t>(2, out_.groups)) return;
    a.shape = {static_cast<std::int64_t>(a.size())};
    out_.classes = std::move(a);
  }

  Result<> linear(const Doc& booster) {
    const auto* model = booster.find("model");
    const auto* weights = model == nullptr ? nullptr : model->find("weights");
    if (weights == nullptr || weights->numbers.size() != (out_.features + 1) * out_.groups)
      return broken_xgb("a linear booster's weights do not fit its features");
    for (double v : weights->numbers) out_.weights.push_back(static_cast<float>(v));
    out_.bases.assign(out_.groups, bases_[0]);  // as XGBoost: the first one for all
    return {};
  }

  Result<> trees(const Doc& booster, const Doc* drop) {
    const auto* model = booster.find("model");
    const auto* list = model == nullptr ? nullptr : model->find("trees");
    const auto* info = model == nullptr ? nullptr : model->find("tree_info");
    if (list == nullptr || info == nullptr || info->numbers.size() != list->items.size())
      return broken_xgb("trees and tree_info do not fit");
    const auto* param = model->find("gbtree_model_param");
    auto parallel = param == nullptr ? 1.0 : param->number_or("num_parallel_tree", 1);
    auto count = list->items.size();
    if (drop != nullptr && drop->numbers.size() < count) return broken_xgb("weight_drop does not fit the trees");
    EnsembleSource s;
    s.features = out_.features;
    s.groups = out_.groups;
    s.round_values = true;
    s.float_sums = true;
    s.start = bases_;
    if (!list->items.empty())
      if (const auto* p = list->items[0].find("tree_param"); p != nullptr && p->number_or("size_leaf_vector", 1) > 1)
        s.width = out_.groups;
    if (best_iteration_ >= 0) {
      auto rounds = best_iteration_ + 1;
      const auto* starts = model->find("iteration_indptr");
      double used = starts != nullptr && rounds < static_cast<double>(starts->numbers.size())
                        ? starts->numbers[static_cast<std::size_t>(rounds)]
                        : rounds * std::max(parallel, 1.0) * (s.width > 1 ? 1.0 : static_cast<double>(s.groups));
      if (used >= 0 && used < static_cast<double>(count)) count = static_cast<std::size_t>(used);
    }
    s.trees.reserve(count);
    for (std::size_t i = 0; i < count; ++i) {
      auto group = info->numbers[i];
      if (!(group >= 0 && group < static_cast<double>(s.groups)))
        return broken_xgb("tree_info names an unknown output");
      MR_TRY(auto t, tree(list->items[i], s, drop == nullptr ? 1.0F : static_cast<float>(drop->numbers[i])));
      t.group = static_cast<std::uint32_t>(group);
      s.trees.push_back(std::move(t));
    }
    MR_CHECK(category_names(*model));
    MR_TRY(out_.trees, Ensemble::build(std::move(s)));
    return {};
  }

  Result<SourceTree> tree(const Doc& t, EnsembleSource& s, float weight) const {
    static const std::vector<double> none;
    auto field = [&](std::string_view name) -> const std::vector<double>& {
      const auto* f = t.find(name);
      return f == nullptr ? none : f->numbers;
    };
    const auto& left = field("left_children");
    const auto& right = field("right_children");
    const auto& features = field("split_indices");
    const auto& conditions = field("split_conditions");
    const auto& defaults = field("default_left");
    const auto& types = field("split_type");
    auto n = left.size();
    if (n == 0 || right.size() != n || features.size() != n || conditions.size() != n || defaults.size() != n ||
        (!types.empty() && types.size() != n))
      return broken_xgb("the columns of a tree differ in length");
    // Categories of the nodes that split on them.
    const auto& nodes = field("categories_nodes");
    const auto& segments = field("categories_segments");
    const auto& sizes = field("categories_sizes");
    const auto& categories = field("categories");
    if (segments.size() != nodes.size() || sizes.size() != nodes.size())
      return broken_xgb("the categories of a tree do not fit its nodes");
    std::vector<std::size_t> set_of(nodes.empty() ? 0 : n, SIZE_MAX);
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      if (!(nodes[i] >= 0 && nodes[i] < static_cast<double>(n))) return broken_xgb("categories belong to no node");
      set_of[static_cast<std::size_t>(nodes[i])] = i;
    }
    const auto& leaf_vectors = field("leaf_weights");
    const auto& all_weights = field("base_weights");
    if (s.width > 1 && leaf_vectors.empty() && all_weights.size() != n * s.width)
      return broken_xgb("a tree's leaves do not fit the outputs");
    SourceTree out;
    std::vector<std::int32_t> place(n);  // of a node: a split or ~leaf
    std::int32_t splits = 0;
    std::int32_t leaves = 0;
    for (std::size_t i = 0; i < n; ++i) place[i] = left[i] == -1 ? ~(leaves++) : splits++;
    auto child = [&](double c, std::int32_t& to) {
      if (!(c >= 0 && c < static_cast<double>(n))) return false;
      to = place[static_cast<std::size_t>(c)];
      return true;
    };
    for (std::size_t i = 0; i < n; ++i) {
      if (left[i] == -1) {
        if (s.width == 1) {
          out.leaves.push_back(static_cast<double>(weight * static_cast<float>(conditions[i])));
          continue;
        }
        // A leaf's vector: in 3.1 and later by the leaf's number, which stands for its right child.
        auto at = leaf_vectors.empty() ? static_cast<double>(i) : right[i];
        const auto& from = leaf_vectors.empty() ? all_weights : leaf_vectors;
        const auto whole = from.size() / std::max<std::size_t>(1, s.width);
        if (!(at >= 0 && at < static_cast<double>(whole))) return broken_xgb("a leaf has no values");
        for (std::size_t g = 0; g < s.width; ++g)
          out.leaves.push_back(
              static_cast<double>(weight * static_cast<float>(from[static_cast<std::size_t>(at) * s.width + g])));
        continue;
      }
      TreeSplit split;
      if (!child(left[i], split.left) || !child(right[i], split.right)) return broken_xgb("a node has no such child");
      if (!(features[i] >= 0 && features[i] < static_cast<double>(s.features)))
        return broken_xgb("a split is on a feature that does not exist");
      split.feature = static_cast<std::uint32_t>(features[i]);
      split.missing = defaults[i] != 0 ? MissingGoes::left : MissingGoes::right;
      split.threshold = static_cast<double>(static_cast<float>(conditions[i]));
      if (!types.empty() && types[i] == 1) {
        if (set_of.empty() || set_of[i] == SIZE_MAX) return broken_xgb("a split on categories has none");
        auto from = segments[set_of[i]];
        auto size = sizes[set_of[i]];
        if (!(from >= 0 && size >= 0 && from + size <= static_cast<double>(categories.size())))
          return broken_xgb("a split's categories lie outside of the tree");
        MR_CHECK(set(s, split, categories.data() + static_cast<std::size_t>(from), static_cast<std::size_t>(size)));
      }
      out.splits.push_back(split);
    }
    // The root is the first node: where that is a leaf, the others are nobody's children.
    if (left[0] == -1) {
      out.splits.clear();
      out.leaves.resize(s.width);
    }
    return out;
  }

  // A category of the set goes right, all others left.
  static Result<> set(EnsembleSource& s, TreeSplit& split, const double* categories, std::size_t count) {
    CategorySet set;
    set.feature = split.feature;
    set.begin = s.words.size();
    set.missing_left = split.missing == MissingGoes::left;
    for (std::size_t i = 0; i < count; ++i) {
      if (!(categories[i] >= 0 && categories[i] < 1U << 24)) return broken_xgb("a category is no such number");
      auto c = static_cast<std::size_t>(categories[i]);
      if (c / 32 >= set.count) {
        set.count = c / 32 + 1;
        if (set.begin + set.count > 1U << 26) return broken_xgb("its categories take too much memory");
        s.words.resize(set.begin + set.count);
      }
      s.words[set.begin + c / 32] |= 1U << (c % 32);
    }
    split.set = static_cast<std::uint32_t>(s.sets.size());
    s.sets.push_back(set);
    return {};
  }

  // Since 3.1 a model knows its categories' names; a column of texts is coded by them.
  Result<> category_names(const Doc& model) {
    const auto* cats = model.find("cats");
    const auto* encodings = cats == nullptr ? nullptr : cats->find("enc");
    if (encodings == nullptr || encodings->kind != Doc::Kind::list) return {};
    if (encodings->items.size() > out_.features)
      return broken_xgb("there are more columns of categories than features");
    for (std::size_t f = 0; f < encodings->items.size(); ++f) {
      const auto* offsets = encodings->items[f].find("offsets");
      const auto* values = encodings->items[f].find("values");
      if (offsets == nullptr || values == nullptr || offsets->numbers.size() < 2) continue;
      std::string bytes;
      for (double v : values->numbers) {
        if (!(v >= -128 && v <= 255)) return broken_xgb("the name of a category is not made of bytes");
        bytes.push_back(static_cast<char>(static_cast<int>(v)));
      }
      auto& codes = out_.categories[f];
      const auto& at = offsets->numbers;
      for (std::size_t i = 0; i + 1 < at.size(); ++i) {
        if (!(at[i] >= 0 && at[i] <= at[i + 1] && at[i + 1] <= static_cast<double>(bytes.size())))
          return broken_xgb("the name of a category lies outside of the model");
        auto from = static_cast<std::size_t>(at[i]);
        codes.emplace(bytes.substr(from, static_cast<std::size_t>(at[i + 1]) - from), static_cast<double>(i));
      }
    }
    return {};
  }

  const Doc& l_;
  std::string class_;
  double best_iteration_ = -1;
  std::vector<double> bases_;
  BoostedModel out_;
};

}  // namespace

Result<BoostedModel> read_xgboost(const Doc& document, std::string_view model_class) {
  const auto* root = &document;
  if (const auto* inner = document.find("Model")) root = inner;  // as pickles keep it, with the configuration beside
  const auto* learner = root->find("learner");
  if (learner == nullptr) return broken_xgb("it has no learner");
  return XgboostReader(*learner, model_class).read();
}

}  // namespace mr::serving
