// The kernel of boosted trees against the plain way of walking a tree, over forms, sizes and kinds of values.
#include "serving/engines/boosted.h"

#include <cmath>
#include <limits>
#include <random>

namespace mr::serving {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// What one split says, as the formats describe it.
bool right_of(const EnsembleSource& s, const TreeSplit& split, double x) {
  if (s.round_values) x = static_cast<double>(static_cast<float>(x));
  if (split.set != kNoSet) {
    const auto& set = s.sets[split.set];
    if (std::isnan(x)) return !set.missing_left;
    bool inside =
        x >= 0 && x < static_cast<double>(set.count) * 32 &&
        ((s.words[set.begin + static_cast<std::size_t>(x) / 32] >> (static_cast<std::size_t>(x) % 32)) & 1U) != 0;
    return inside != set.inside_left;
  }
  if (split.zero_is_missing && x == 0) x = kNan;
  if (std::isnan(x)) {
    if (split.missing != MissingGoes::as_zero) return split.missing == MissingGoes::right;
    x = 0;
  }
  return s.equal_goes_left ? !(x <= split.threshold) : !(x < split.threshold);
}

std::vector<double> plain_sums(const EnsembleSource& s, const double* row) {
  std::vector<double> out(s.groups);
  for (std::size_t g = 0; g < s.groups; ++g) out[g] = s.start.empty() ? 0 : s.start[g];
  for (const auto& t : s.trees) {
    std::size_t leaf = 0;
    if (t.oblivious) {
      for (std::size_t k = 0; k < t.splits.size(); ++k)
        leaf |= (right_of(s, t.splits[k], row[t.splits[k].feature]) ? std::size_t{1} : 0) << k;
    } else if (!t.splits.empty()) {
      std::int32_t at = 0;
      while (at >= 0) {
        const auto& split = t.splits[static_cast<std::size_t>(at)];
        at = right_of(s, split, row[split.feature]) ? split.right : split.left;
      }
      leaf = static_cast<std::size_t>(~at);
    }
    for (std::size_t g = 0; g < s.width; ++g) {
      auto& to = out[s.width == 1 ? t.group : g];
      auto v = t.leaves[leaf * s.width + g];
      to = s.float_sums ? static_cast<double>(static_cast<float>(to) + static_cast<float>(v)) : to + v;
    }
  }
  return out;
}

class Random {
 public:
  explicit Random(unsigned seed) : r_(seed) {}
  std::size_t below(std::size_t n) { return r_() % n; }
  bool once_in(std::size_t n) { return below(n) == 0; }
  // Few different values, so that rows meet thresholds exactly.
  double value() { return static_cast<double>(static_cast<int>(below(41)) - 20) / 4; }

 private:
  std::mt19937 r_;
};

TreeSplit random_split(Random& r, EnsembleSource& s) {
  TreeSplit split;
  split.feature = static_cast<std::uint32_t>(r.below(s.features));
  split.threshold = r.value();
  split.missing = static_cast<MissingGoes>(r.below(3));
  split.zero_is_missing = r.once_in(5);
  if (!r.once_in(6)) return split;
  CategorySet set;
  set.feature = split.feature;
  set.begin = s.words.size();
  set.count = r.below(3);
  set.inside_left = r.once_in(2);
  set.missing_left = r.once_in(2);
  for (std::size_t i = 0; i < set.count; ++i) s.words.push_back(static_cast<std::uint32_t>(r.below(1U << 31)));
  split.set = static_cast<std::uint32_t>(s.sets.size());
  s.sets.push_back(set);
  return split;
}

SourceTree random_tree(Random& r, EnsembleSource& s, std::size_t leaves, bool oblivious) {
  SourceTree t;
  t.group = static_cast<std::uint32_t>(r.below(s.groups));
  t.oblivious = oblivious;
  if (oblivious) {
    for (std::size_t k = 0; (std::size_t{1} << k) < leaves; ++k) t.splits.push_back(random_split(r, s));
    leaves = std::size_t{1} << t.splits.size();
  } else {
    // Leaves are split one by one, any of them.
    std::vector<std::pair<std::size_t, bool>> open;
    for (std::size_t i = 0; i + 1 < leaves; ++i) {
      auto split = random_split(r, s);
      if (i > 0) {
        auto at = r.below(open.size());
        auto [parent, right] = open[at];
        open.erase(open.begin() + static_cast<std::ptrdiff_t>(at));
        (right ? t.splits[parent].right : t.splits[parent].left) = static_cast<std::int32_t>(i);
      }
      t.splits.push_back(split);
      open.emplace_back(i, false);
      open.emplace_back(i, true);
    }
    std::int32_t leaf = 0;
    for (auto [parent, right] : open) (right ? t.splits[parent].right : t.splits[parent].left) = ~leaf++;
  }
  for (std::size_t i = 0; i < leaves * s.width; ++i) t.leaves.push_back(r.value() / 3);
  return t;
}

struct Shape {
  const char* name;
  std::size_t trees, leaves;
  bool oblivious, floats, vectors;
};

class BoostedKernel : public testing::TestWithParam<Shape> {};

TEST_P(BoostedKernel, EqualsThePlainWalk) {
  const auto& shape = GetParam();
  for (unsigned seed = 1; seed <= 6; ++seed) {
    Random r(seed);
    EnsembleSource s;
    s.features = 1 + r.below(9);
    s.groups = shape.vectors ? 3 : 1 + r.below(3);
    s.width = shape.vectors ? 3 : 1;
    s.float_sums = s.round_values = shape.floats;
    s.equal_goes_left = !shape.floats;
    if (r.once_in(2)) s.start.assign(s.groups, 0.25);
    for (std::size_t i = 0; i < shape.trees; ++i)
      s.trees.push_back(random_tree(r, s, 1 + r.below(shape.leaves), shape.oblivious));
    auto e = Ensemble::build(s);
    ASSERT_TRUE(e) << e.error().message;
    const std::size_t rows = 1 + r.below(150);
    std::vector<double> data(rows * s.features);
    for (auto& v : data) {
      v = r.value();
      if (r.once_in(8)) v = kNan;
      if (r.once_in(20)) v = r.once_in(2) ? INFINITY : -INFINITY;
      if (r.once_in(20)) v = static_cast<double>(r.below(90));
    }
    std::vector<double> batch(rows * s.groups);
    e->sum(data.data(), rows, batch.data());
    for (auto level : {KernelLevel::plain, KernelLevel::avx2}) {
      std::vector<double> again(batch.size());
      e->sum(data.data(), rows, again.data(), level);
      EXPECT_EQ(batch, again) << static_cast<int>(level);
    }
    for (std::size_t i = 0; i < rows; ++i) {
      auto want = plain_sums(s, data.data() + i * s.features);
      std::vector<double> alone(s.groups);
      e->sum(data.data() + i * s.features, 1, alone.data());
      for (std::size_t g = 0; g < s.groups; ++g) {
        EXPECT_EQ(batch[i * s.groups + g], want[g]) << "seed " << seed << " row " << i;
        EXPECT_EQ(alone[g], want[g]) << "seed " << seed << " row " << i << " alone";
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, BoostedKernel,
    testing::Values(Shape{"small", 30, 31, false, false, false}, Shape{"floats", 30, 64, false, true, false},
                    Shape{"large", 5, 700, false, true, false}, Shape{"mixed", 12, 200, false, false, false},
                    Shape{"symmetric", 20, 64, true, false, false}, Shape{"vectors", 10, 40, false, true, true},
                    Shape{"symmetric_vectors", 10, 32, true, false, true},
                    Shape{"leaves_only", 3, 1, false, false, false}),
    [](const auto& i) { return i.param.name; });

TEST(BoostedKernel, ManyThresholdsTakeSeveralSlots) {
  EnsembleSource s;
  s.features = 1;
  for (int i = 0; i < 70'000; ++i) {
    SourceTree t;
    TreeSplit split;
    split.threshold = i;
    split.left = ~0;
    split.right = ~1;
    t.splits = {split};
    t.leaves = {0, 1};
    s.trees.push_back(std::move(t));
  }
  auto e = Ensemble::build(std::move(s));
  ASSERT_TRUE(e) << e.error().message;
  for (double x : {-1.0, 0.0, 0.5, 32'765.0, 32'766.0, 32'767.0, 65'531.5, 65'533.0, 69'998.5, 1e9}) {
    double alone = 0;
    e->sum(&x, 1, &alone);
    std::vector<double> rows(40, x);
    std::vector<double> batch(40);
    e->sum(rows.data(), rows.size(), batch.data());
    auto want = std::clamp(std::floor(x) + 1, 0.0, 70'000.0);
    EXPECT_EQ(alone, want) << x;
    EXPECT_EQ(batch[39], want) << x;
  }
}

TEST(BoostedKernel, AnEmptySetHoldsNothing) {
  EnsembleSource s;
  s.features = 1;
  s.sets.resize(1);
  s.sets[0].inside_left = true;
  s.sets[0].negative_inside = true;
  SourceTree t;
  t.splits.resize(1);
  t.splits[0].set = 0;
  t.splits[0].left = ~0;
  t.splits[0].right = ~1;
  t.leaves = {0, 1};
  s.trees = {t};
  auto e = Ensemble::build(std::move(s));
  ASSERT_TRUE(e);
  for (double x : {-0.5, 0.0, 3.0, kNan}) {
    double sum = 0;
    e->sum(&x, 1, &sum);
    EXPECT_EQ(sum, 1) << x;
  }
}

TEST(BoostedKernel, RefusesWhatIsNoTree) {
  auto source = [] {
    EnsembleSource s;
    s.features = 2;
    SourceTree t;
    t.splits.resize(2);
    t.splits[0].left = 1;
    t.splits[0].right = ~0;
    t.splits[1].left = ~1;
    t.splits[1].right = ~2;
    t.leaves = {1, 2, 3};
    s.trees = {t};
    return s;
  };
  ASSERT_TRUE(Ensemble::build(source()));
  using Change = void (*)(EnsembleSource&);
  const std::pair<const char*, Change> changes[] = {
      {"itself", [](EnsembleSource& s) { s.trees[0].splits[1].left = 1; }},
      {"the root", [](EnsembleSource& s) { s.trees[0].splits[1].left = 0; }},
      {"two parents", [](EnsembleSource& s) { s.trees[0].splits[0].right = 1; }},
      {"no node", [](EnsembleSource& s) { s.trees[0].splits[1].left = 2; }},
      {"no leaf", [](EnsembleSource& s) { s.trees[0].splits[1].left = ~3; }},
      {"lowest leaf", [](EnsembleSource& s) { s.trees[0].splits[1].left = INT32_MIN; }},
      {"no feature", [](EnsembleSource& s) { s.trees[0].splits[1].feature = 2; }},
      {"no threshold", [](EnsembleSource& s) { s.trees[0].splits[1].threshold = kNan; }},
      {"no set", [](EnsembleSource& s) { s.trees[0].splits[1].set = 0; }},
      {"no group", [](EnsembleSource& s) { s.trees[0].group = 1; }},
      {"no leaves", [](EnsembleSource& s) { s.trees[0].leaves.clear(); }},
      {"leaves without splits", [](EnsembleSource& s) { s.trees[0].splits.clear(); }},
      {"half a symmetric tree", [](EnsembleSource& s) { s.trees[0].oblivious = true; }},
      {"no outputs", [](EnsembleSource& s) { s.groups = 0; }},
      {"too many outputs", [](EnsembleSource& s) { s.groups = 200'000; }},
      {"another width", [](EnsembleSource& s) { s.width = 2; }},
      {"another start", [](EnsembleSource& s) { s.start = {1, 2}; }},
      {"linear leaves", [](EnsembleSource& s) { s.trees[0].linear.resize(1); }},
      {"a linear feature",
       [](EnsembleSource& s) {
         s.trees[0].linear.resize(3);
         s.trees[0].linear[1] = {1, {2}, {1.5}};
       }},
      {"words of a set",
       [](EnsembleSource& s) {
         s.sets.resize(1);
         s.sets[0].begin = 1;
       }},
      {"count of a set",
       [](EnsembleSource& s) {
         s.words = {1};
         s.sets.resize(1);
         s.sets[0].count = SIZE_MAX;
       }},
  };
  for (const auto& [name, change] : changes) {
    auto s = source();
    change(s);
    EXPECT_FALSE(Ensemble::build(std::move(s))) << name;
  }
}

}  // namespace
}  // namespace mr::serving
