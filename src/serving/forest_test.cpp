// The kernel of trees against a walk that is plain, and what it refuses.
#include "serving/engines/forest.h"

#include <cmath>
#include <limits>
#include <random>

namespace mr::serving {
namespace {

struct PlainTree {
  std::vector<ForestNode> nodes;
  std::vector<double> leaves;
  std::size_t slot = 0;
};

// A random tree of about `splits` splits.
PlainTree random_tree(std::mt19937& random, std::size_t splits, std::size_t features, std::size_t width,
                      std::int32_t sets = 0) {
  PlainTree t;
  t.nodes.resize(1);
  std::vector<std::size_t> open{0};
  std::normal_distribution<double> normal;
  auto below = [&](std::size_t n) { return random() % n; };
  while (!open.empty()) {
    std::swap(open[below(open.size())], open.back());
    auto at = open.back();
    open.pop_back();
    if (splits == 0) {
      t.nodes[at].right = static_cast<std::uint32_t>(t.leaves.size() / width);
      for (std::size_t k = 0; k < width; ++k) t.leaves.push_back(std::round(normal(random) * 4) / 4);
      continue;
    }
    --splits;
    auto left = t.nodes.size();
    t.nodes.resize(left + 2);
    auto& n = t.nodes[at];
    n.left = static_cast<std::uint32_t>(left);
    n.right = static_cast<std::uint32_t>(left + 1);
    n.feature = static_cast<std::uint32_t>(below(features));
    n.threshold = below(7) == 0 ? 0.0 : normal(random);
    n.missing_left = below(2) == 0;
    if (sets > 0 && below(2) == 0) n.set = static_cast<std::int32_t>(below(static_cast<std::size_t>(sets)));
    open.push_back(left);
    open.push_back(left + 1);
  }
  return t;
}

bool has(const std::array<std::uint32_t, 8>& bits, unsigned i) { return (bits[i / 32] >> (i % 32) & 1) != 0; }

std::size_t leaf_of(const PlainTree& t, const double* row, bool floats, const std::vector<ForestSet>& sets) {
  std::size_t at = 0;
  while (t.nodes[at].left != 0) {
    const auto& n = t.nodes[at];
    double x = floats ? static_cast<double>(static_cast<float>(row[n.feature])) : row[n.feature];
    bool left = std::isnan(x) ? n.missing_left : x <= n.threshold;
    if (n.set >= 0) {
      const auto& s = sets[static_cast<std::size_t>(n.set)];
      auto c = x >= 0 ? static_cast<unsigned>(x) & 255 : 0;
      left = !(x >= 0) ? n.missing_left : has(s.left, c) || (!has(s.known, c) && n.missing_left);
    }
    at = left ? n.left : n.right;
  }
  return t.nodes[at].right;
}

struct Shape {
  std::size_t features;
  std::size_t outputs;
  std::size_t width;
  bool floats;
  bool missing;
  std::int32_t sets;
};

void compare(const Shape& wanted) {
  std::mt19937 random(static_cast<unsigned>(wanted.features * 7 + wanted.outputs));
  std::vector<ForestSet> sets(static_cast<std::size_t>(wanted.sets));
  for (auto& s : sets)
    for (std::size_t i = 0; i < 8; ++i) {
      s.left[i] = random();
      s.known[i] = random() | s.left[i];
    }
  std::vector<PlainTree> trees;
  ForestShape shape{.features = wanted.features,
                    .outputs = wanted.outputs,
                    .width = wanted.width,
                    .floats = wanted.floats,
                    .missing = wanted.missing};
  for (std::size_t i = 0; i < 13; ++i) {
    trees.push_back(random_tree(random, i == 3 ? 0 : 1 + random() % 200, wanted.features, wanted.width, wanted.sets));
    trees.back().slot = wanted.width == 1 ? i % wanted.outputs : 0;
    shape.max_nodes = std::max(shape.max_nodes, trees.back().nodes.size());
  }
  ForestBuilder builder(shape);
  for (const auto& s : sets) builder.add_set(s);
  for (const auto& t : trees) {
    auto r = builder.add(t.nodes, t.leaves, t.slot);
    ASSERT_TRUE(r) << r.error().message;
  }
  auto forest = builder.finish();
  std::normal_distribution<double> normal;
  for (std::size_t rows : {1, 2, 3, 4, 5, 8, 9, 63, 300}) {
    if (rows > 9 && wanted.features > 1000) continue;
    Frame in;
    in.rows = rows;
    in.columns = wanted.features;
    for (std::size_t i = 0; i < rows * wanted.features; ++i) {
      double v = random() % 5 == 0 ? 0.0 : random() % 7 == 0 ? -0.0 : normal(random) * (wanted.sets > 0 ? 40 : 1);
      in.data.push_back(wanted.missing && random() % 6 == 0 ? std::nan("") : v);
    }
    std::vector<double> exact(rows * wanted.outputs, 0.5);
    for (std::size_t r = 0; r < rows; ++r)
      for (const auto& t : trees) {
        auto leaf = leaf_of(t, in.data.data() + r * wanted.features, wanted.floats, sets);
        for (std::size_t k = 0; k < wanted.width; ++k)
          exact[r * wanted.outputs + t.slot + k] += t.leaves[leaf * wanted.width + k];
      }
    std::vector<double> got(rows * wanted.outputs, 0.5);
    ASSERT_TRUE(forest.sum(in, got));
    EXPECT_EQ(got, exact) << rows << " rows of " << wanted.features;
    // The same rows, sparse.
    Frame sparse;
    sparse.rows = rows;
    sparse.columns = wanted.features;
    sparse.sparse = true;
    sparse.starts.push_back(0);
    for (std::size_t r = 0; r < rows; ++r) {
      for (std::size_t c = 0; c < wanted.features; ++c)
        if (double v = in.data[r * wanted.features + c]; v != 0 || std::isnan(v)) {
          sparse.indices.push_back(static_cast<std::uint32_t>(c));
          sparse.values.push_back(v);
        }
      sparse.starts.push_back(sparse.values.size());
    }
    std::vector<double> again(rows * wanted.outputs, 0.5);
    ASSERT_TRUE(forest.sum(sparse, again));
    EXPECT_EQ(again, exact);
  }
}

TEST(Forest, SumsAsAPlainWalkInEveryForm) {
  compare({.features = 5, .outputs = 1, .width = 1, .floats = true, .missing = false, .sets = 0});
  compare({.features = 5, .outputs = 3, .width = 3, .floats = true, .missing = true, .sets = 0});
  compare({.features = 256, .outputs = 3, .width = 1, .floats = true, .missing = true, .sets = 0});
  compare({.features = 257, .outputs = 2, .width = 2, .floats = true, .missing = true, .sets = 0});
  compare({.features = 20000, .outputs = 1, .width = 1, .floats = true, .missing = true, .sets = 0});
  compare({.features = 6, .outputs = 2, .width = 1, .floats = false, .missing = true, .sets = 0});
  compare({.features = 6, .outputs = 1, .width = 1, .floats = false, .missing = true, .sets = 4});
}

Forest stump(double threshold, const ForestShape& shape) {
  ForestBuilder b(shape);
  std::vector<ForestNode> nodes(3);
  nodes[0] = {.threshold = threshold, .left = 1, .right = 2, .missing_left = true};
  nodes[2].right = 1;
  EXPECT_TRUE(b.add(nodes, std::vector<double>{-1.0, 1.0}));
  return b.finish();
}

double ask(const Forest& f, double x) {
  Frame in;
  in.rows = in.columns = 1;
  in.data = {x};
  std::vector<double> out(1);
  auto r = f.sum(in, out);
  return r ? out[0] : std::nan("");
}

TEST(Forest, ThresholdsBetweenFloatsAndAtTheEndsOfTheirRange) {
  const ForestShape shape{.features = 1, .max_nodes = 3, .missing = true, .infinite = true};
  const float inf = INFINITY;
  for (double t : {0.1, -0.1, 0.0, -0.0, 1e-300, -1e-300, 1e300, -1e300, 3.4028234663852886e38, -3.4028234663852886e38,
                   1.4e-45, 0.5e-45, -0.5e-45, HUGE_VAL, -HUGE_VAL}) {
    auto f = stump(t, shape);
    for (float around : {static_cast<float>(std::clamp(t, -3e38, 3e38)), 0.0F, 1.0F, std::numeric_limits<float>::max(),
                         std::numeric_limits<float>::lowest()})
      for (float x : {around, std::nextafter(around, inf), std::nextafter(around, -inf)})
        EXPECT_EQ(ask(f, x), static_cast<double>(x) <= t ? -1 : 1) << x << " against " << t;
    EXPECT_EQ(ask(f, HUGE_VAL), t == HUGE_VAL ? -1 : 1);
    EXPECT_EQ(ask(f, -HUGE_VAL), -1);
    EXPECT_EQ(ask(f, std::nan("")), -1);
  }
}

TEST(Forest, ValuesThatAreNotTaken) {
  auto f = stump(0, {.features = 1, .max_nodes = 3});
  for (double x : {static_cast<double>(NAN), HUGE_VAL, -HUGE_VAL, 1e39}) EXPECT_TRUE(std::isnan(ask(f, x)));
  auto holes = stump(0, {.features = 1, .max_nodes = 3, .missing = true});
  EXPECT_EQ(ask(holes, NAN), -1);
  EXPECT_TRUE(std::isnan(ask(holes, HUGE_VAL)));
  Frame in;
  in.rows = 1;
  in.columns = 2;
  in.data = {1, 2};
  std::vector<double> out(1);
  EXPECT_FALSE(f.sum(in, out));
  in.columns = 1;
  in.data = {NAN};
  in.texts[0] = {{"a"}, {0}};
  auto r = f.sum(in, out);
  ASSERT_FALSE(r);
  EXPECT_NE(r.error().message.find("#0 holds texts"), std::string::npos);
}

TEST(Forest, RefusesWhatIsNoTree) {
  using Nodes = std::vector<ForestNode>;
  const ForestNode leaf{};
  auto split = [](std::uint32_t l, std::uint32_t r, std::uint32_t feature = 0, double t = 0) {
    return ForestNode{.threshold = t, .left = l, .right = r, .feature = feature};
  };
  const std::pair<const char*, Nodes> cases[] = {
      {"no nodes", {}},
      {"child out of range", {split(1, 3), leaf, leaf}},
      {"one child twice", {split(1, 1), leaf}},
      {"a cycle", {split(1, 2), split(3, 4), leaf, split(1, 2), leaf}},
      {"itself", {split(1, 2), split(1, 2), leaf}},
      {"two parents", {split(1, 2), split(3, 4), split(3, 4), leaf, leaf}},
      {"feature", {split(1, 2, 9), leaf, leaf}},
      {"NaN", {split(1, 2, 0, NAN), leaf, leaf}},
      {"leaf values", {split(1, 2), leaf, {.right = 5}}},
      {"set", {{.left = 1, .right = 2, .set = 0}, leaf, leaf}},
      {"too many", Nodes(10, leaf)},
  };
  for (const auto& [what, nodes] : cases)
    for (bool floats : {true, false}) {
      ForestBuilder b({.features = 2, .max_nodes = 8, .floats = floats});
      EXPECT_FALSE(b.add(nodes, std::vector<double>{1.0})) << what;
    }
  ForestBuilder b({.features = 2, .max_nodes = 8});
  EXPECT_FALSE(b.add(Nodes{leaf}, std::vector<double>{1.0}, 1)) << "slot";
}

TEST(Forest, LeavesThatRepeatAreHeldOnce) {
  std::mt19937 random(3);
  ForestShape shape{.features = 2, .outputs = 2, .width = 2, .max_nodes = 4001};
  ForestBuilder b(shape);
  for (int i = 0; i < 20; ++i) {
    auto t = random_tree(random, 2000, 2, 1);
    std::vector<double> shares;
    for (double v : t.leaves) {
      shares.push_back(v > 0 ? 1 : 0);
      shares.push_back(v > 0 ? 0 : 1);
    }
    ASSERT_TRUE(b.add(t.nodes, shares));
  }
  auto f = b.finish();
  EXPECT_LT(f.bytes(), 20 * 4002 * 8 + 4096U);
}

}  // namespace
}  // namespace mr::serving
