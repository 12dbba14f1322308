#include "serving/formats/lightgbm.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "serving/formats/ubjson.h"
#include "text/text.h"

namespace mr::serving {

namespace {

std::unexpected<Error> broken_lgb(std::string what) {
  return fail(Code::invalid_argument, "the LightGBM model is damaged: " + std::move(what));
}

// A block of "key=value" lines.
using Lines = std::map<std::string_view, std::string_view>;

class LightgbmReader {
 public:
  LightgbmReader(std::string_view text, std::string_view model_class, std::int64_t iterations)
      : in_(text), class_(model_class), iterations_(iterations) {}

  Result<BoostedModel> read() {
    if (line() != "tree") return broken_lgb("it does not begin with 'tree'");
    auto head = block();
    auto version = value(head, "version");
    if (version != "v2" && version != "v3" && version != "v4")
      return fail(Code::unimplemented,
                  fmt::format("LightGBM's model format '{}' is not served natively; v2 to v4 are", printable(version)));
    auto number = [&](std::string_view key, std::int64_t fallback) {
      return text::to_i64(value(head, key)).value_or(fallback);
    };
    auto features = number("max_feature_idx", -1) + 1;
    auto groups = number("num_tree_per_iteration", number("num_class", 1));
    if (features < 1 || features > INT32_MAX || groups < 1 || groups > 100'000)
      return broken_lgb("its numbers of features or classes are impossible");
    out_.library = "LightGBM";
    out_.kind = class_.empty() ? "Booster" : std::string(class_.substr(class_.rfind('.') + 1));
    out_.features = static_cast<std::size_t>(features);
    out_.groups = static_cast<std::size_t>(groups);
    s_.features = out_.features;
    s_.groups = out_.groups;
    s_.equal_goes_left = true;
    s_.tiny_is_zero = true;
    MR_CHECK(objective(value(head, "objective")));
    MR_CHECK(feature_names(value(head, "feature_names")));
    MR_CHECK(trees());
    if (head.contains("average_output") && !s_.trees.empty()) {
      const auto rounds = s_.trees.size() / out_.groups;
      average_ = static_cast<double>(rounds);
    }
    MR_CHECK(categories(value(head, "feature_infos")));
    MR_TRY(out_.trees, Ensemble::build(std::move(s_)));
    out_.divide = average_;
    return std::move(out_);
  }

 private:
  bool ended() const { return at_ >= in_.size(); }
  std::string_view line() {
    auto end = in_.find('\n', at_);
    if (end == std::string_view::npos) end = in_.size();
    auto l = in_.substr(at_, end - at_);
    at_ = std::min(end + 1, in_.size());
    if (l.ends_with('\r')) l.remove_suffix(1);
    return l;
  }
  // Lines to the next empty one. A line without '=' is a key alone.
  Lines block() {
    Lines out;
    while (!ended()) {
      auto l = line();
      if (l.empty()) break;
      auto eq = l.find('=');
      out.emplace(l.substr(0, eq), eq == std::string_view::npos ? std::string_view{} : l.substr(eq + 1));
    }
    return out;
  }
  static std::string_view value(const Lines& lines, std::string_view key) {
    auto it = lines.find(key);
    return it == lines.end() ? std::string_view{} : it->second;
  }

  // Numbers between spaces. `most` bounds them, so that a tree is not larger than it says.
  template <class T>
  static Result<std::vector<T>> numbers(const Lines& lines, std::string_view key, std::size_t most) {
    std::vector<T> out;
    auto text = value(lines, key);
    const char* p = text.data();
    const char* end = p + text.size();
    out.reserve(std::min(most, text.size() / 2 + 1));
    while (true) {
      while (p != end && *p == ' ') ++p;
      if (p == end) return out;
      T v{};
      auto [to, ec] = std::from_chars(p, end, v);
      if (ec == std::errc::result_out_of_range && std::is_floating_point_v<T>) {
        auto stop = std::find(p, end, ' ');
        v = static_cast<T>(std::strtod(std::string(p, stop).c_str(), nullptr));
        to = stop;
      } else if (ec != std::errc{}) {
        return broken_lgb(fmt::format("{} holds something else than numbers", key));
      }
      if (to != end && *to != ' ') return broken_lgb(fmt::format("{} holds something else than numbers", key));
      if (out.size() == most) return broken_lgb(fmt::format("{} is too long", key));
      out.push_back(v);
      p = to;
    }
  }

  Result<> objective(std::string_view text) {
    auto words = text::split(text, ' ');
    std::string name = words.empty() ? "" : std::string(words[0]);
    auto parameter = [&](std::string_view key, double fallback) {
      for (const auto& w : words)
        if (std::string_view word = w; word.starts_with(key) && word.substr(key.size()).starts_with(':')) {
          double v = 0;
          auto digits = word.substr(key.size() + 1);
          if (std::from_chars(digits.data(), digits.data() + digits.size(), v).ec == std::errc{}) return v;
        }
      return fallback;
    };
    static const std::set<std::string, std::less<>> plain{
        "",     "custom",   "none", "null",       "regression",  "regression_l2",     "l2", "regression_l1", "huber",
        "fair", "quantile", "mape", "lambdarank", "rank_xendcg", "mean_squared_error"};
    static const std::set<std::string, std::less<>> exponential{"poisson", "gamma", "tweedie"};
    bool classifier = out_.kind.ends_with("Classifier");
    if (plain.contains(name)) {
      if (std::find(words.begin(), words.end(), "sqrt") != words.end()) out_.link = Link::signed_square;
    } else if (exponential.contains(name)) {
      out_.link = Link::exponential;
    } else if (name == "binary" || name == "multiclassova") {
      out_.link = Link::sigmoid;
      out_.scale = parameter("sigmoid", 1);
    } else if (name == "multiclass") {
      out_.link = Link::softmax;
    } else if (name == "cross_entropy" || name == "xentropy") {
      out_.link = Link::sigmoid;
    } else if (name == "cross_entropy_lambda" || name == "xentlambda") {
      out_.link = Link::log_exp;
    } else {
      return fail(Code::unimplemented,
                  fmt::format("LightGBM's objective '{}' is not served natively", printable(name)));
    }
    // With an objective of the user's own, a classifier answers the sums.
    if (classifier && !name.empty() && name != "custom" && name != "none" && name != "null")
      out_.labels = out_.groups > 1 ? LabelRule::largest : LabelRule::largest_pair;
    return {};
  }

  Result<> feature_names(std::string_view text) {
    if (text.empty()) return {};
    bool made_up = true;
    std::size_t i = 0;
    for (const auto& n : text::split(text, ' ')) {
      made_up &= n == fmt::format("Column_{}", i++);
      out_.names.emplace_back(n);
    }
    if (out_.names.size() != out_.features) return broken_lgb("feature_names do not fit max_feature_idx");
    if (made_up) out_.names.clear();
    return {};
  }

  Result<> trees() {
    const auto most = iterations_ > 0 ? static_cast<std::size_t>(iterations_) * out_.groups : SIZE_MAX;
    while (!ended()) {
      auto l = line();
      if (l == "end of trees") {
        tail_ = in_.substr(at_);
        if (s_.trees.size() % out_.groups != 0) return broken_lgb("the last iteration is not whole");
        return {};
      }
      if (!l.starts_with("Tree=")) continue;
      auto lines = block();
      if (s_.trees.size() >= most) continue;
      MR_TRY(auto t, tree(lines));
      t.group = static_cast<std::uint32_t>(s_.trees.size() % out_.groups);
      s_.trees.push_back(std::move(t));
    }
    return broken_lgb("it ends before its trees do");
  }

  Result<SourceTree> tree(const Lines& lines) {
    auto said = text::to_i64(value(lines, "num_leaves")).value_or(0);
    if (said < 1 || said > INT32_MAX) return broken_lgb("a tree has no leaves");
    auto leaves = static_cast<std::size_t>(said);
    SourceTree out;
    MR_TRY(out.leaves, numbers<double>(lines, "leaf_value", leaves));
    if (out.leaves.size() != leaves) return broken_lgb("leaf_value does not fit num_leaves");
    if (leaves > 1) MR_CHECK(splits(lines, leaves - 1, out));
    if (value(lines, "is_linear") == "1") MR_CHECK(linear(lines, leaves, out));
    return out;
  }

  Result<> splits(const Lines& lines, std::size_t n, SourceTree& out) {
    MR_TRY(auto features, numbers<std::int32_t>(lines, "split_feature", n));
    MR_TRY(auto thresholds, numbers<double>(lines, "threshold", n));
    MR_TRY(auto types, numbers<std::int32_t>(lines, "decision_type", n));
    MR_TRY(auto left, numbers<std::int32_t>(lines, "left_child", n));
    MR_TRY(auto right, numbers<std::int32_t>(lines, "right_child", n));
    if (features.size() != n || thresholds.size() != n || types.size() != n || left.size() != n || right.size() != n)
      return broken_lgb("the lines of a tree differ in length");
    auto sets = text::to_i64(value(lines, "num_cat")).value_or(0);
    if (sets < 0 || sets > static_cast<std::int64_t>(n)) return broken_lgb("num_cat is larger than the tree");
    MR_TRY(auto bounds, numbers<std::int64_t>(lines, "cat_boundaries", static_cast<std::size_t>(sets) + 1));
    MR_TRY(auto words, numbers<std::uint32_t>(lines, "cat_threshold", 1U << 28));
    if (sets > 0 && bounds.size() != static_cast<std::size_t>(sets) + 1)
      return broken_lgb("cat_boundaries do not fit num_cat");
    const auto first_word = s_.words.size();
    s_.words.insert(s_.words.end(), words.begin(), words.end());
    out.splits.resize(n);
    for (std::size_t i = 0; i < n; ++i) {
      auto& s = out.splits[i];
      if (features[i] < 0) return broken_lgb("a split is on a feature that does not exist");
      s.feature = static_cast<std::uint32_t>(features[i]);
      s.left = left[i];
      s.right = right[i];
      s.threshold = thresholds[i];
      const bool default_left = (types[i] & 2) != 0;
      const auto missing = (types[i] >> 2) & 3;  // 0: none, 1: zero, 2: NaN
      s.missing = missing == 0 ? MissingGoes::as_zero : default_left ? MissingGoes::left : MissingGoes::right;
      s.zero_is_missing = missing == 1;
      if ((types[i] & 1) == 0) continue;
      if (!(thresholds[i] >= 0 && thresholds[i] < static_cast<double>(sets)))
        return broken_lgb("a split is on a set of categories that does not exist");
      auto at = static_cast<std::size_t>(thresholds[i]);
      if (bounds[at] < 0 || bounds[at] > bounds[at + 1] || bounds[at + 1] > static_cast<std::int64_t>(words.size()))
        return broken_lgb("cat_boundaries lie outside of cat_threshold");
      CategorySet set;
      set.feature = s.feature;
      set.begin = first_word + static_cast<std::size_t>(bounds[at]);
      set.count = static_cast<std::size_t>(bounds[at + 1] - bounds[at]);
      set.inside_left = true;
      set.negative_inside = true;
      s.set = static_cast<std::uint32_t>(s_.sets.size());
      s_.sets.push_back(set);
    }
    return {};
  }

  Result<> linear(const Lines& lines, std::size_t leaves, SourceTree& out) {
    constexpr std::size_t most = 1U << 28;
    MR_TRY(auto constants, numbers<double>(lines, "leaf_const", leaves));
    MR_TRY(auto counts, numbers<std::int64_t>(lines, "num_features", leaves));
    MR_TRY(auto features, numbers<std::int32_t>(lines, "leaf_features", most));
    MR_TRY(auto coefficients, numbers<double>(lines, "leaf_coeff", most));
    if (constants.size() != leaves || counts.size() != leaves || features.size() != coefficients.size())
      return broken_lgb("the lines of a linear tree differ in length");
    std::size_t at = 0;
    for (std::size_t i = 0; i < leaves; ++i) {
      if (counts[i] < 0 || static_cast<std::size_t>(counts[i]) > features.size() - at)
        return broken_lgb("a linear leaf has more features than the tree");
      LinearLeaf leaf;
      leaf.constant = constants[i];
      for (std::int64_t k = 0; k < counts[i]; ++k, ++at) {
        if (features[at] < 0) return broken_lgb("a linear leaf is on a feature that does not exist");
        leaf.features.push_back(static_cast<std::uint32_t>(features[at]));
        leaf.coefficients.push_back(coefficients[at]);
      }
      out.linear.push_back(std::move(leaf));
    }
    return {};
  }

  // The texts of pandas' categories, in the order of the columns of that kind: those whose infos list values.
  Result<> categories(std::string_view infos) {
    constexpr std::string_view key = "pandas_categorical:";
    auto at = tail_.rfind(key);
    if (at == std::string_view::npos) return {};
    auto rest = tail_.substr(at + key.size());
    rest = text::trim(rest.substr(0, rest.find('\n')));
    if (rest.empty() || rest == "null" || rest == "[]") return {};
    MR_TRY(auto doc, read_json_model(rest, 4'000'000));
    std::vector<std::size_t> columns;
    std::size_t i = 0;
    for (const auto& info : text::split(infos, ' ')) {
      if (!std::string_view(info).starts_with('[') && std::string_view(info) != "none") columns.push_back(i);
      ++i;
    }
    // A column that no split could use tells nothing of itself; then texts are not taken.
    if (columns.size() != doc.items.size()) return {};
    for (std::size_t c = 0; c < columns.size(); ++c)
      for (std::size_t v = 0; v < doc.items[c].items.size(); ++v)
        if (doc.items[c].items[v].kind == Doc::Kind::text)
          out_.categories[columns[c]].emplace(doc.items[c].items[v].text, static_cast<double>(v));
    return {};
  }

  std::string_view in_;
  std::size_t at_ = 0;
  std::string_view tail_;
  std::string_view class_;
  std::int64_t iterations_ = 0;
  double average_ = 1;
  EnsembleSource s_;
  BoostedModel out_;
};

}  // namespace

Result<BoostedModel> read_lightgbm(std::string_view text, std::string_view model_class, std::int64_t iterations) {
  return LightgbmReader(text, model_class, iterations).read();
}

}  // namespace mr::serving
