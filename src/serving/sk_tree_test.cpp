// scikit-learn's trees from the inert tree of a file: structured arrays, and files that lie.
#include "serving/engines/sk_tree.h"

#include <cmath>
#include <cstring>

#include "serving/formats/skops.h"

namespace mr::serving {
namespace {

using namespace std::string_literals;

TEST(Dtype, Structures) {
  auto d = parse_dtype("[('left_child', '<i8'), ('flag', 'u1'), ('', '|V7'), ('threshold', '>f8')]");
  ASSERT_TRUE(d) << d.error().message;
  EXPECT_EQ(d->itemsize, 24);
  ASSERT_NE(d->field("threshold"), nullptr);
  EXPECT_EQ(d->field("threshold")->offset, 16U);
  EXPECT_TRUE(d->field("threshold")->swap);
  EXPECT_EQ(d->field("flag")->itemsize, 1);
  EXPECT_EQ(d->field(""), nullptr);
  for (const char* bad : {"[('a', '<i8'", "[('a', '<i8', (3,))]", "[('a')]", "[]", "[('a', 'O8')]", "[('a', '<i7')]",
                          "<f3", "f", "", "<U9999999", "<M8[ns]", "|S4"})
    EXPECT_FALSE(parse_dtype(bad)) << bad;
}

TEST(Dtype, StructuredNpy) {
  std::string header = "{'descr': [('a', '<i2'), ('b', '|u1')], 'fortran_order': False, 'shape': (2,), }";
  header.resize(118, ' ');
  std::string npy =
      "\x93NUMPY\x01\x00"s + static_cast<char>(header.size()) + "\0"s + header + "\x01\x00\x07\xff\xff\x08"s;
  auto b = npy_buffer(npy);
  ASSERT_TRUE(b) << b.error().message;
  ASSERT_EQ(b->count(), 2U);
  EXPECT_EQ(integer_field(*b, *b->dtype.field("a"), 1), -1);
  EXPECT_EQ(integer_field(*b, *b->dtype.field("b"), 0), 7);
  EXPECT_FALSE(decode(*b)) << "a structure is no array of numbers";
  EXPECT_FALSE(npy_buffer(npy.substr(0, npy.size() - 1)));
}

struct PyNode {
  std::int64_t left = -1;
  std::int64_t right = -1;
  std::int64_t feature = -2;
  double threshold = -2;
  std::int64_t samples = 1;
};

// Builds RandomForestClassifier objects as a reader would.
class ForestFile {
 public:
  Tree t;
  std::deque<std::string> bytes;
  std::vector<PyNode> nodes{{1, 2, 0, 0.5, 10}, {-1, -1, -2, -2, 4}, {-1, -1, -2, -2, 6}};
  std::vector<double> values{0.5, 0.5, 1.0, 0.0, 0.25, 0.75};
  std::vector<std::int64_t> values_shape{3, 1, 2};
  std::size_t cut = 0;
  std::size_t trees = 1;
  std::vector<double> classes{0, 1};
  std::int64_t features = 2;

  Result<EstimatorPtr> build(const std::string& cls = "sklearn.ensemble._forest.RandomForestClassifier") {
    std::vector<NodeId> members;
    for (std::size_t i = 0; i < trees; ++i) members.push_back(member());
    auto root = object(cls, {{"estimators_", add({.kind = NodeKind::list, .items = members})},
                             {"classes_", numbers(classes)},
                             {"n_features_in_", integer(features)},
                             {"_sklearn_version", text("1.5.2")}});
    t.root = root;
    return Build(t, "1.5.2").estimator(root);
  }

 private:
  NodeId add(Node n) { return t.add(std::move(n)); }
  NodeId text(std::string s) { return add({.kind = NodeKind::text, .text = std::move(s)}); }
  NodeId integer(std::int64_t v) { return add({.kind = NodeKind::integer, .integer = v}); }
  NodeId numbers(std::vector<double> v) {
    t.arrays.push_back({'i', 8, {static_cast<std::int64_t>(v.size())}, std::move(v), {}});
    return add({.kind = NodeKind::array, .array = static_cast<std::int32_t>(t.arrays.size()) - 1});
  }
  NodeId object(const std::string& cls, std::vector<std::pair<const char*, NodeId>> state) {
    Node dict{.kind = NodeKind::dict};
    for (auto& [k, v] : state) {
      dict.items.push_back(text(k));
      dict.items.push_back(v);
    }
    auto state_id = add(std::move(dict));
    auto symbol = add({.kind = NodeKind::symbol, .text = cls});
    return add({.kind = NodeKind::object, .callee = symbol, .state = state_id});
  }
  NodeId buffer(Dtype d, std::vector<std::int64_t> shape, std::string content) {
    bytes.push_back(std::move(content));
    t.buffers.push_back({std::move(d), std::move(shape), false, bytes.back()});
    return add({.kind = NodeKind::array, .buffer = static_cast<std::int32_t>(t.buffers.size()) - 1});
  }
  NodeId member() {
    std::string raw(nodes.size() * sizeof(PyNode) - cut, '\0');
    std::memcpy(raw.data(), nodes.data(), raw.size());
    auto type = parse_dtype(
        "[('left_child', '<i8'), ('right_child', '<i8'), ('feature', '<i8'), ('threshold', '<f8'), "
        "('n_node_samples', '<i8')]");
    std::string value_bytes(values.size() * 8, '\0');
    std::memcpy(value_bytes.data(), values.data(), value_bytes.size());
    auto node_items = buffer(*type, {static_cast<std::int64_t>(nodes.size())}, raw);
    auto value_items = buffer(*parse_dtype("<f8"), values_shape, value_bytes);
    auto tree = object("sklearn.tree._tree.Tree", {{"nodes", node_items}, {"values", value_items}});
    return object("sklearn.tree._classes.DecisionTreeClassifier",
                  {{"tree_", tree}, {"classes_", numbers(classes)}, {"_sklearn_version", text("1.5.2")}});
  }
};

TEST(SkTree, PredictsAndRefusesLies) {
  ForestFile good;
  good.trees = 3;
  auto e = good.build();
  ASSERT_TRUE(e) << e.error().message;
  Frame in;
  in.rows = 2;
  in.columns = 2;
  in.data = {0.5, 9, 0.6, 9};
  auto p = (*e)->predict_proba(in);
  ASSERT_TRUE(p);
  EXPECT_EQ(p->data, (std::vector<double>{1, 0, 0.25, 0.75}));
  EXPECT_EQ((*e)->predict(in)->numbers, (std::vector<double>{0, 1}));
  EXPECT_FALSE((*e)->decision_function(in));
  EXPECT_FALSE((*e)->transform(in));

  auto refused = [](const char* what, auto change) {
    ForestFile f;
    change(f);
    auto r = f.build();
    EXPECT_FALSE(r) << what;
  };
  refused("cycle", [](ForestFile& f) { f.nodes[0].left = 0; });
  refused("child before its parent", [](ForestFile& f) { f.nodes[1] = {0, 2, 0, 0, 1}; });
  refused("child out of range", [](ForestFile& f) { f.nodes[0].right = 3; });
  refused("child beyond 32 bits", [](ForestFile& f) { f.nodes[0].right = (1LL << 32) + 2; });
  refused("shared child", [](ForestFile& f) { f.nodes[0].right = 1; });
  refused("only one child", [](ForestFile& f) { f.nodes[0].right = -1; });
  refused("feature out of range", [](ForestFile& f) { f.nodes[0].feature = 2; });
  refused("negative feature", [](ForestFile& f) { f.nodes[0].feature = -2; });
  refused("huge feature", [](ForestFile& f) { f.nodes[0].feature = 1LL << 40; });
  refused("threshold is NaN", [](ForestFile& f) { f.nodes[0].threshold = NAN; });
  refused("fewer values than nodes", [](ForestFile& f) {
    f.values.resize(4);
    f.values_shape = {2, 1, 2};
  });
  refused("huge outputs", [](ForestFile& f) {
    f.values = {};
    f.values_shape = {3, 1LL << 39, 0};
  });
  refused("other outputs", [](ForestFile& f) { f.values_shape = {3, 2, 1}; });
  refused("flat values", [](ForestFile& f) { f.values_shape = {6}; });
  refused("three classes", [](ForestFile& f) { f.classes = {0, 1, 2}; });
  refused("no classes", [](ForestFile& f) { f.classes = {}; });
  refused("nodes cut short", [](ForestFile& f) { f.cut = 40; });
  refused("no nodes", [](ForestFile& f) {
    f.nodes.clear();
    f.values.clear();
    f.values_shape = {0, 1, 2};
  });
  refused("no features", [](ForestFile& f) { f.features = -5; });
  refused("absurd features", [](ForestFile& f) { f.features = 1LL << 50; });
  refused("no trees", [](ForestFile& f) { f.trees = 0; });
  refused("trees used more often than the file can pay", [](ForestFile& f) {
    f.trees = 40;
    f.t.decode_left = 1000;
  });
}

TEST(SkTree, WhenMissingValuesAreTaken) {
  Tree t;
  auto tree_of = [&](const char* version, const char* splitter, const char* criterion) {
    Node dict{.kind = NodeKind::dict};
    for (auto [k, v] : {std::pair{"_sklearn_version", version}, {"splitter", splitter}, {"criterion", criterion}}) {
      dict.items.push_back(t.add({.kind = NodeKind::text, .text = k}));
      dict.items.push_back(t.add({.kind = NodeKind::text, .text = v}));
    }
    auto state = t.add(std::move(dict));
    auto symbol = t.add({.kind = NodeKind::symbol, .text = "sklearn.tree._classes.DecisionTreeRegressor"});
    return t.add({.kind = NodeKind::object, .callee = symbol, .state = state});
  };
  auto takes = [&](const char* version, const char* splitter, const char* criterion) {
    auto id = tree_of(version, splitter, criterion);
    return takes_missing(Build(t, ""), id);
  };
  EXPECT_FALSE(takes("1.2.2", "best", "squared_error"));
  EXPECT_TRUE(takes("1.3.2", "best", "squared_error"));
  EXPECT_FALSE(takes("1.5.2", "random", "squared_error"));
  EXPECT_TRUE(takes("1.6.1", "random", "squared_error"));
  EXPECT_FALSE(takes("1.7.2", "best", "absolute_error"));
}

}  // namespace
}  // namespace mr::serving
