// From the trees of a model file to the kernel's form: thresholds become ranks, nodes become compact. All that a file
// can say wrongly is found here.
#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "serving/engines/boosted.h"

namespace mr::serving {

namespace {

constexpr std::size_t kSlotThresholds = 32'766;  // ranks 0 to 32,766; 32,767 is beyond all
constexpr std::int16_t kBeyond = 32'767;
constexpr std::size_t kMaxSlots = 32'767;
constexpr std::size_t kMaxLaneSlots = 16'384;
constexpr std::size_t kMaxTreeNodes = 1U << 31;
constexpr std::size_t kMaxWholeNodes = 255;
constexpr std::size_t kMaxLevels = 16;

std::unexpected<Error> wrong_tree(std::string what) { return fail(Code::invalid_argument, std::move(what)); }

}  // namespace

class Ensemble::Builder {
 public:
  explicit Builder(EnsembleSource source) : s_(std::move(source)) {}

  Result<Ensemble> build() {
    if (s_.groups == 0 || s_.groups > 100'000) return wrong_tree("the model has an impossible number of outputs");
    if (s_.width != 1 && s_.width != s_.groups) return wrong_tree("the leaves' values do not fit the outputs");
    if (!s_.start.empty() && s_.start.size() != s_.groups) return wrong_tree("the start values do not fit the outputs");
    MR_CHECK(sets());
    MR_CHECK(ranks());
    e_.features_ = s_.features;
    e_.groups_ = s_.groups;
    e_.width_ = s_.width;
    e_.round_ = s_.round_values;
    e_.equal_left_ = s_.equal_goes_left;
    e_.float_sums_ = s_.float_sums;
    e_.tiny_is_zero_ = s_.tiny_is_zero;
    e_.start_ = std::move(s_.start);
    e_.lanes_ = e_.slots_.size() + e_.sets_.size() <= kMaxLaneSlots;
    std::size_t nodes = 0;
    for (const auto& t : s_.trees) nodes += t.oblivious ? 0 : 2 * t.splits.size() + 1;
    e_.nodes_.reserve(std::min(nodes, kMaxTreeNodes));
    e_.trees_.reserve(s_.trees.size());
    for (auto& t : s_.trees) {
      MR_CHECK(t.oblivious ? oblivious(t) : tree(t));
      t = {};  // the compact form takes its place
    }
    for (std::uint32_t i = 0; i < e_.trees_.size(); ++i)
      if (e_.trees_[i].form != Form::oblivious) e_.by_depth_.push_back(i);
    auto depth = [&](std::uint32_t tree) { return std::pair(e_.trees_[tree].depth, tree); };
    std::sort(e_.by_depth_.begin(), e_.by_depth_.end(), [&](auto a, auto b) { return depth(a) < depth(b); });
    e_.floats_.shrink_to_fit();
    e_.doubles_.shrink_to_fit();
    e_.steps_.shrink_to_fit();
    return std::move(e_);
  }

 private:
  Result<> sets() {
    for (const auto& set : s_.sets)
      if (set.feature >= s_.features || set.begin > s_.words.size() || set.count > s_.words.size() - set.begin)
        return wrong_tree("a set of categories lies outside of the model");
    e_.sets_ = std::move(s_.sets);
    e_.words_ = std::move(s_.words);
    return {};
  }

  // A feature with one treatment of missing values.
  static std::uint64_t key_of(const TreeSplit& s) {
    return (std::uint64_t{s.feature} << 3) | (static_cast<std::uint64_t>(s.missing) << 1) |
           static_cast<std::uint64_t>(s.zero_is_missing);
  }

  Result<> ranks() {
    std::unordered_map<std::uint64_t, std::vector<double>> found;
    for (const auto& t : s_.trees)
      for (const auto& split : t.splits) {
        if (split.set != kNoSet) {
          if (split.set >= e_.sets_.size()) return wrong_tree("a split names a set of categories that does not exist");
          continue;
        }
        if (split.feature >= s_.features)
          return wrong_tree(fmt::format("a split is on feature {} of {}", split.feature, s_.features));
        if (std::isnan(split.threshold)) return wrong_tree("the threshold of a split is not a number");
        found[key_of(split)].push_back(split.threshold);
      }
    std::vector<std::uint64_t> keys;
    keys.reserve(found.size());
    for (const auto& [key, all] : found) keys.push_back(key);
    std::sort(keys.begin(), keys.end());
    for (auto key : keys) {
      auto& all = found[key];
      std::sort(all.begin(), all.end());
      all.erase(std::unique(all.begin(), all.end()), all.end());
      first_slot_[key] = e_.slots_.size();
      auto missing = static_cast<MissingGoes>((key >> 1) & 3U);
      for (std::size_t at = 0; at < all.size(); at += kSlotThresholds) {
        Slot slot;
        slot.feature = static_cast<std::uint32_t>(key >> 3);
        slot.zero_is_missing = (key & 1U) != 0;
        slot.begin = static_cast<std::uint32_t>(e_.thresholds_.size());
        slot.count = static_cast<std::uint32_t>(std::min(all.size() - at, kSlotThresholds));
        auto from = all.begin() + static_cast<std::ptrdiff_t>(at);
        auto to = from + slot.count;
        e_.thresholds_.insert(e_.thresholds_.end(), from, to);
        auto zero = s_.equal_goes_left ? std::lower_bound(from, to, 0.0) : std::upper_bound(from, to, 0.0);
        slot.missing_code = missing == MissingGoes::left    ? std::int16_t{0}
                            : missing == MissingGoes::right ? kBeyond
                                                            : static_cast<std::int16_t>(zero - from);
        e_.slots_.push_back(slot);
      }
    }
    if (e_.slots_.size() > kMaxSlots || e_.thresholds_.size() > kMaxTreeNodes)
      return fail(Code::unimplemented,
                  fmt::format("the model splits on {} features, and {} are served natively", keys.size(), kMaxSlots));
    return {};
  }

  // The slot and rank of a split on numbers.
  void resolve(const TreeSplit& split, std::uint16_t& slot, std::int16_t& code) const {
    auto index = first_slot_.find(key_of(split))->second;
    // A feature with very many thresholds has several slots, in order.
    while (e_.thresholds_[e_.slots_[index].begin + e_.slots_[index].count - 1] < split.threshold) ++index;
    const auto& s = e_.slots_[index];
    auto from = e_.thresholds_.begin() + s.begin;
    slot = static_cast<std::uint16_t>(index);
    code = static_cast<std::int16_t>(std::lower_bound(from, from + s.count, split.threshold) - from);
  }

  void value(const SourceTree& t, std::size_t leaf) {
    for (std::size_t g = 0; g < s_.width; ++g) {
      auto v = leaf == SIZE_MAX ? 0.0 : t.leaves[leaf * s_.width + g];
      if (s_.float_sums)
        e_.floats_.push_back(static_cast<float>(v));
      else
        e_.doubles_.push_back(v);
    }
  }
  std::size_t values() const { return (s_.float_sums ? e_.floats_.size() : e_.doubles_.size()) / s_.width; }

  Result<std::size_t> leaf_count(const SourceTree& t) const {
    if (t.group >= s_.groups) return wrong_tree(fmt::format("a tree belongs to output {} of {}", t.group, s_.groups));
    if (t.leaves.empty() || t.leaves.size() % s_.width != 0) return wrong_tree("a tree has no whole leaves");
    if (values() + 2 * t.splits.size() + t.leaves.size() > kMaxTreeNodes)
      return wrong_tree("the model has too many nodes");
    return t.leaves.size() / s_.width;
  }

  Result<> oblivious(const SourceTree& t) {
    MR_TRY(auto leaves, leaf_count(t));
    if (t.splits.size() > kMaxLevels || leaves != std::size_t{1} << t.splits.size() || !t.linear.empty())
      return wrong_tree("a symmetric tree's leaves do not fit its levels");
    Tree made;
    made.form = Form::oblivious;
    made.base = static_cast<std::uint32_t>(values());
    made.group = t.group;
    made.steps = static_cast<std::uint32_t>(e_.steps_.size());
    made.count = static_cast<std::uint32_t>(t.splits.size());
    for (const auto& split : t.splits) {
      Step step;
      if (split.set == kNoSet) {
        resolve(split, step.slot, step.code);
      } else {
        auto slot = e_.slots_.size() + split.set;
        if (slot > UINT16_MAX) return fail(Code::unimplemented, "the model has too many splits on categories");
        step.slot = static_cast<std::uint16_t>(slot);
      }
      e_.steps_.push_back(step);
    }
    for (std::size_t i = 0; i < leaves; ++i) value(t, i);
    linear_nodes();
    e_.trees_.push_back(made);
    return {};
  }

  void linear_nodes() {
    if (any_linear_) e_.linear_of_.resize(values(), -1);
  }

  // Nodes level by level, so that children follow their parents and siblings each other.
  Result<> tree(SourceTree& t) {
    MR_TRY(auto leaves, leaf_count(t));
    if (t.splits.empty() && leaves != 1) return wrong_tree("a tree without splits has several leaves");
    if (!t.linear.empty() && t.linear.size() != leaves)
      return wrong_tree("a tree's linear leaves do not fit its leaves");
    for (const auto& l : t.linear) {
      if (l.features.size() != l.coefficients.size()) return wrong_tree("a linear leaf's coefficients do not fit");
      for (auto f : l.features)
        if (f >= s_.features) return wrong_tree("a linear leaf is on a feature that does not exist");
    }
    if (e_.nodes_.size() != values()) return wrong_tree("symmetric trees stand beside others");
    Tree made;
    made.base = static_cast<std::uint32_t>(e_.nodes_.size());
    made.group = t.group;
    std::vector<std::int32_t> source{t.splits.empty() ? ~0 : 0};  // of each node: a split or ~leaf
    std::vector<char> seen(t.splits.size(), 0);
    std::size_t level_end = 1;
    for (std::size_t i = 0; i < source.size(); ++i) {
      if (i == level_end) {
        level_end = source.size();
        ++made.depth;
      }
      Node node;
      auto from = source[i];
      if (from < 0) {
        const std::int32_t number = ~from;
        auto leaf = static_cast<std::size_t>(number);
        if (leaf >= leaves) return wrong_tree("a split leads to a leaf that does not exist");
        node.child = made.base + static_cast<std::uint32_t>(i);
        node.code = kBeyond;
        value(t, leaf);
        if (!t.linear.empty()) linear_leaf(t, leaf);
      } else {
        auto at = static_cast<std::size_t>(from);
        if (at >= t.splits.size()) return wrong_tree("a split leads to a node that does not exist");
        if (seen[at] != 0) return wrong_tree("a node of a tree has two parents");
        seen[at] = 1;
        const auto& split = t.splits[at];
        if (split.set == kNoSet) {
          resolve(split, node.slot, node.code);
        } else {
          if ((split.set >> 16) > 0x7fffU) return wrong_tree("the model has too many splits on categories");
          node.slot = static_cast<std::uint16_t>(0x8000U | (split.set >> 16));
          node.code = static_cast<std::int16_t>(split.set & 0xffffU);
        }
        node.child = made.base + static_cast<std::uint32_t>(source.size());
        source.push_back(split.left);
        source.push_back(split.right);
        value(t, SIZE_MAX);
      }
      e_.nodes_.push_back(node);
    }
    linear_nodes();
    if (e_.lanes_ && source.size() <= kMaxWholeNodes) whole(made);
    e_.trees_.push_back(made);
    return {};
  }

  void linear_leaf(SourceTree& t, std::size_t leaf) {
    any_linear_ = true;
    e_.linear_of_.resize(values(), -1);
    e_.linear_of_.back() = static_cast<std::int32_t>(e_.linear_.size());
    e_.linear_.push_back(t.linear[leaf]);
  }

  // The steps that evaluate a small tree from its leaves to its root.
  void whole(Tree& made) {
    made.form = Form::whole;
    made.steps = static_cast<std::uint32_t>(e_.steps_.size());
    auto count = e_.nodes_.size() - made.base;
    std::vector<std::uint16_t> operand(count);
    for (std::size_t i = count; i-- > 0;) {
      const auto& node = e_.nodes_[made.base + i];
      auto child = node.child - made.base;
      if (child == i) {
        operand[i] = static_cast<std::uint16_t>(i);
        continue;
      }
      Step step;
      step.slot = node.slot;
      step.code = node.code;
      if ((node.slot & 0x8000U) != 0) {
        auto set = (std::size_t{node.slot & 0x7fffU} << 16) | static_cast<std::uint16_t>(node.code);
        step.slot = static_cast<std::uint16_t>(e_.slots_.size() + set);
        step.code = 0;
      }
      step.left = operand[child];
      step.right = operand[child + 1];
      operand[i] = static_cast<std::uint16_t>(256 + made.count++);
      e_.steps_.push_back(step);
    }
  }

  EnsembleSource s_;
  Ensemble e_;
  std::unordered_map<std::uint64_t, std::size_t> first_slot_;
  bool any_linear_ = false;
};

Result<Ensemble> Ensemble::build(EnsembleSource source) { return Builder(std::move(source)).build(); }

}  // namespace mr::serving
