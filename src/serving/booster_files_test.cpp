// The readers of XGBoost's and LightGBM's files on small models written by hand, and on hostile variations of them.
#include <bit>

#include "serving/formats/booster_file.h"
#include "serving/formats/lightgbm.h"
#include "serving/formats/ubjson.h"

namespace mr::serving {
namespace {

constexpr double kMissing = std::numeric_limits<double>::quiet_NaN();

// Two trees over two features, the second a split on categories {1, 3}.
const std::string kXgb = R"({"version":[3,2,0],"learner":{
 "attributes":{},"feature_names":["a","b"],"feature_types":["float","c"],
 "learner_model_param":{"base_score":"[5E-1]","num_class":"0","num_feature":"2","num_target":"1"},
 "objective":{"name":"binary:logistic"},
 "gradient_booster":{"name":"gbtree","model":{"gbtree_model_param":{"num_trees":"2","num_parallel_tree":"1"},
  "iteration_indptr":[0,1,2],"tree_info":[0,0],"trees":[
  {"left_children":[1,-1,-1],"right_children":[2,-1,-1],"split_indices":[0,0,0],"split_conditions":[1.5,-1.0,2.0],
   "default_left":[1,0,0],"split_type":[0,0,0],"categories":[],"categories_nodes":[],"categories_segments":[],
   "categories_sizes":[],"tree_param":{"size_leaf_vector":"1"}},
  {"left_children":[1,-1,-1],"right_children":[2,-1,-1],"split_indices":[1,0,0],"split_conditions":[0,0.25,0.5],
   "default_left":[0,0,0],"split_type":[1,0,0],"categories":[1,3],"categories_nodes":[0],"categories_segments":[0],
   "categories_sizes":[2],"tree_param":{"size_leaf_vector":"1"}}]}}}})";

const std::string kLgb = R"(tree
version=v4
num_class=1
num_tree_per_iteration=1
label_index=0
max_feature_idx=1
objective=regression
feature_names=a b
feature_infos=[0:3] 0:1:2:3

Tree=0
num_leaves=3
num_cat=1
split_feature=0 1
split_gain=1 1
threshold=1.5 0
decision_type=10 1
left_child=-1 -2
right_child=1 -3
leaf_value=1 2 4
cat_boundaries=0 1
cat_threshold=10
is_linear=0
shrinkage=1


end of trees

pandas_categorical:[["w", "x", "y", "z"]]
)";

std::string with(std::string text, std::string_view what, std::string_view instead) {
  auto at = text.find(what);
  EXPECT_NE(at, std::string::npos) << what;
  return at == std::string::npos ? text : text.replace(at, what.size(), instead);
}

Frame rows(std::size_t columns, std::vector<double> data) {
  Frame f;
  f.rows = data.size() / columns;
  f.columns = columns;
  f.data = std::move(data);
  return f;
}

Output answer(Result<BoostedModel> model, const Frame& in) {
  EXPECT_TRUE(model) << model.error().message;
  if (!model) return {};
  auto out = make_boosted_estimator(std::move(*model))->predict(in);
  EXPECT_TRUE(out) << out.error().message;
  return out ? std::move(*out) : Output{};
}

std::string refusal(std::string_view bytes) {
  auto m = read_booster(bytes, "");
  return m ? "" : m.error().message;
}

float sigmoid(float x) { return 1 / (1 + std::exp(-x)); }

TEST(XgboostFile, ValuesAndLabels) {
  // Equal to the threshold goes right; missing where the split says; categories of the set go right.
  auto in = rows(2, {1.5, 0, 1.25, 3, kMissing, kMissing, 9, 1, 1, -5, 1, 40});
  const float sums[] = {2.0F + 0.25F, -1.0F + 0.5F, -1.0F + 0.5F, 2.0F + 0.5F, -1.0F + 0.25F, -1.0F + 0.25F};
  auto values = answer(read_booster(kXgb, "Booster"), in);
  EXPECT_EQ(values.type, DataType::fp32);
  auto labels = answer(read_booster(kXgb, "xgboost.sklearn.XGBClassifier"), in);
  EXPECT_EQ(labels.type, DataType::int64);
  for (std::size_t i = 0; i < in.rows; ++i) {
    EXPECT_FLOAT_EQ(static_cast<float>(values.numbers[i]), sigmoid(sums[i])) << i;
    EXPECT_EQ(labels.numbers[i], sums[i] > 0 ? 1 : 0) << i;
  }
  auto e = make_boosted_estimator(*read_booster(kXgb, "XGBClassifier"));
  auto shares = e->predict_proba(in);
  ASSERT_TRUE(shares);
  ASSERT_NE(e->classes(), nullptr);  // for votes and stacks
  EXPECT_EQ(e->classes()->numbers, (std::vector<double>{0, 1}));
  EXPECT_EQ(shares->columns, 2U);
  EXPECT_EQ(static_cast<float>(shares->data[0] + shares->data[1]), 1.0F);
}

TEST(XgboostFile, BestIterationLimitsAllButTheBooster) {
  auto early = with(kXgb, R"("attributes":{})", R"("attributes":{"best_iteration":"0"})");
  auto in = rows(2, {0, 3});
  EXPECT_FLOAT_EQ(static_cast<float>(answer(read_booster(early, "Booster"), in).numbers[0]), sigmoid(-0.5F));
  auto m = read_booster(early, "XGBRegressor");
  EXPECT_FLOAT_EQ(static_cast<float>(answer(std::move(m), in).numbers[0]), sigmoid(-1.0F));
}

TEST(XgboostFile, BaseScoreInAllItsSpellings) {
  auto in = rows(2, {0, 0});
  for (const char* score : {"3E-1", "[3E-1]", "0.3", "[ 3e-1 ]"}) {
    auto v = answer(read_booster(with(kXgb, "[5E-1]", score), ""), in).numbers[0];
    EXPECT_NEAR(v, sigmoid(-std::log(1 / 0.3F - 1) - 0.75F), 1e-6) << score;
  }
  for (const char* score : {"", "x", "[", "[1,2]", "[5E-1", "NaN", "2E0"})
    EXPECT_NE(refusal(with(kXgb, "[5E-1]", score)), "") << score;
}

TEST(XgboostFile, ATextIsItsCategory) {
  auto named =
      with(kXgb, R"("iteration_indptr")",
           R"("cats":{"enc":[{"offsets":[],"values":[]},{"offsets":[0,1,2,4,5],"values":[119,120,-61,-87,122]}],
                       "feature_segments":[0,0,4],"sorted_idx":[]},"iteration_indptr")");
  auto in = rows(2, {0, kMissing, 0, kMissing, 0, kMissing, 0, kMissing});
  in.texts[1] = {.values = {"x", "\xc3\xa9", "?", ""}, .missing = {0, 0, 0, 1}};
  auto out = answer(read_booster(named, ""), in);
  const float sums[] = {-0.5F, -0.75F, -0.5F, -0.5F};
  for (std::size_t i = 0; i < 4; ++i) EXPECT_FLOAT_EQ(static_cast<float>(out.numbers[i]), sigmoid(sums[i])) << i;
  // Without names of categories a text is refused, naming the column.
  auto plain = make_boosted_estimator(*read_booster(kXgb, ""))->predict(in);
  ASSERT_FALSE(plain);
  EXPECT_NE(plain.error().message.find("#1"), std::string::npos);
}

TEST(XgboostFile, HostileVariations) {
  const std::pair<std::string_view, std::string_view> changes[] = {
      {R"("left_children":[1,-1,-1])", R"("left_children":[3,-1,-1])"},
      {R"("left_children":[1,-1,-1])", R"("left_children":[0,-1,-1])"},
      {R"("left_children":[1,-1,-1])", R"("left_children":[1e300,-1,-1])"},
      {R"("left_children":[1,-1,-1])", R"("left_children":[1,-1])"},
      {R"("left_children":[1,-1,-1])", R"("left_children":"no")"},
      {R"("right_children":[2,-1,-1])", R"("right_children":[-7,-1,-1])"},
      {R"("split_indices":[0,0,0])", R"("split_indices":[2,0,0])"},
      {R"("split_indices":[0,0,0])", R"("split_indices":[-1,0,0])"},
      {R"("split_conditions":[1.5,-1.0,2.0])", R"("split_conditions":[NaN,-1.0,2.0])"},
      {R"("tree_info":[0,0])", R"("tree_info":[0,1])"},
      {R"("tree_info":[0,0])", R"("tree_info":[0])"},
      {R"("categories":[1,3])", R"("categories":[1,16777216])"},
      {R"("categories":[1,3])", R"("categories":[1,-3])"},
      {R"("categories_sizes":[2])", R"("categories_sizes":[3])"},
      {R"("categories_sizes":[2])", R"("categories_sizes":[])"},
      {R"("categories_nodes":[0])", R"("categories_nodes":[5])"},
      {R"("categories_nodes":[0])", R"("categories_nodes":[1])"},
      {R"("categories_segments":[0])", R"("categories_segments":[-1])"},
      {R"("num_feature":"2")", R"("num_feature":"0")"},
      {R"("num_feature":"2")", R"("num_feature":"1e40")"},
      {R"("num_feature":"2")", R"("num_feature":"3")"},
      {R"("num_class":"0")", R"("num_class":"4000000000")"},
      {R"("num_target":"1")", R"("num_target":"-1")"},
      {R"("size_leaf_vector":"1")", R"("size_leaf_vector":"2","x":"1")"},
      {R"("name":"binary:logistic")", R"("name":"my:loss\u0007")"},
      {R"("name":"gbtree")", R"("name":"gbforest")"},
      {R"("name":"gbtree")", R"("name":"dart")"},
      {R"("name":"gbtree")", R"("name":"gblinear")"},
      {R"("learner":{)", R"("learned":{)"},
  };
  for (const auto& [what, instead] : changes) {
    auto text = with(kXgb, what, instead);
    auto m = read_booster(text, "");
    // A vector of one output is a scalar; all others are refused.
    if (instead.find("size_leaf_vector") != std::string_view::npos) continue;
    EXPECT_FALSE(m) << instead;
    if (!m)
      for (char c : m.error().message) EXPECT_GE(static_cast<unsigned char>(c), 0x20) << instead;
  }
  // Cut anywhere: never a model, never a crash.
  for (std::size_t n = 0; n < kXgb.size(); ++n) EXPECT_FALSE(read_booster(kXgb.substr(0, n), "")) << n;
}

TEST(XgboostFile, TheOldBinaryFormatIsNamed) {
  EXPECT_NE(refusal(std::string("binf\0\0\0\x3f", 8)).find("old binary format"), std::string::npos);
  EXPECT_NE(refusal(""), "");
}

// ---- UBJSON ----

std::string be(std::uint64_t v, int bytes) {
  std::string out;
  for (int i = bytes - 1; i >= 0; --i) out.push_back(static_cast<char>(v >> (8 * i)));
  return out;
}
std::string key(std::string_view k) { return "L" + be(k.size(), 8) + std::string(k); }

TEST(Ubjson, AllKinds) {
  std::string doc = "{" + key("a") + "[$d#L" + be(2, 8) + be(std::bit_cast<std::uint32_t>(1.5F), 4) +
                    be(std::bit_cast<std::uint32_t>(-2.0F), 4) + key("b") + "S" + key("text") + key("c") + "[i" +
                    be(0xfe, 1) + "U" + be(0xfe, 1) + "I" + be(0xfffe, 2) + "l" + be(7, 4) + "L" + be(8, 8) + "D" +
                    be(std::bit_cast<std::uint64_t>(0.1), 8) + "TF]" + key("d") + "[#i" + be(2, 1) + "TZ" + key("e") +
                    "{}" + key("f") + "[]" + key("g") + "N" + "Cx" + key("h") + "[$U#i" + be(3, 1) + "\x01\x02\xff}";
  auto d = read_document(doc);
  ASSERT_TRUE(d) << d.error().message;
  EXPECT_EQ(d->find("a")->numbers, (std::vector<double>{1.5, -2}));
  EXPECT_EQ(d->text_or("b", ""), "text");
  EXPECT_EQ(d->find("c")->numbers, (std::vector<double>{-2, 254, -2, 7, 8, 0.1, 1, 0}));
  EXPECT_EQ(d->find("d")->items.size(), 2U);
  EXPECT_EQ(d->find("e")->kind, Doc::Kind::object);
  EXPECT_TRUE(d->find("f")->numbers.empty());
  EXPECT_EQ(d->text_or("g", ""), "x");
  EXPECT_EQ(d->find("h")->numbers, (std::vector<double>{1, 2, 255}));
  EXPECT_EQ(d->find("absent"), nullptr);
  for (std::size_t n = 1; n < doc.size(); ++n) EXPECT_FALSE(read_ubjson(doc.substr(0, n))) << n;
}

TEST(Ubjson, Hostile) {
  std::string deep = "{" + key("a");
  for (int i = 0; i < 100'000; ++i) deep += "[";
  const std::string docs[] = {
      "{" + key("a") + "[$d#L" + be(1ULL << 60, 8),          // longer than the document
      "{" + key("a") + "[$d#L" + be(0xffffffffffffffff, 8),  // a negative count
      "{" + key("a") + "[$Z#L" + be(1ULL << 40, 8) + "}",    // items of no size
      "{" + key("a") + "[$T#i\x05}",
      "{" + key("a") + "[$d]}",
      "{L" + be(1ULL << 50, 8) + "a",
      "{d" + be(0, 4) + "a",
      "{" + key("a") + "S" + "L" + be(100, 8) + "x}",
      "{" + key("a") + "?}",
      deep,
      "{",
  };
  for (const auto& d : docs) EXPECT_FALSE(read_ubjson(d));
  std::string many = "{" + key("a") + "[";
  for (int i = 0; i < 1000; ++i) many += "Z";
  EXPECT_FALSE(read_ubjson(many + "]}", 500));
  EXPECT_TRUE(read_ubjson(many + "]}", 2000));
}

TEST(JsonModel, NumbersTextsAndRefusals) {
  auto d = read_json_model(
      R"( {"n":[NaN,-Infinity,1e-400,-0,12,true,1E5], "t":"a\"\u00e9\ud83d\ude00\ud800\n", "o":{"x":[]}} )");
  ASSERT_TRUE(d) << d.error().message;
  const auto& n = d->find("n")->numbers;
  ASSERT_EQ(n.size(), 7U);
  EXPECT_TRUE(std::isnan(n[0]) && std::isinf(n[1]) && n[2] == 0 && n[4] == 12 && n[5] == 1 && n[6] == 1e5);
  EXPECT_EQ(d->text_or("t", ""), "a\"\xc3\xa9\xf0\x9f\x98\x80\xef\xbf\xbd\n");
  auto mixed = read_json_model(R"([1,2,{"a":3},4,null,"5"])");
  ASSERT_TRUE(mixed);
  EXPECT_EQ(mixed->items.size(), 6U);
  for (const char* bad : {"", "{", "[1,]", "{\"a\":}", "{\"a\" 1}", "[1 2]", "nul", "\"\\x\"", "\"\\u12g4\"",
                          "\"\\ud800\\u0041\"", "\"", "[+1]", "{1:2}", "[] x", "-", "tru"})
    EXPECT_FALSE(read_json_model(bad)) << bad;
  EXPECT_FALSE(read_json_model(std::string(100'000, '[')));
}

// ---- LightGBM ----

TEST(LightgbmFile, SplitsCategoriesAndMissingValues) {
  // decision_type 10: default left, NaN is missing. Categories 1 and 3 go left.
  auto in = rows(2, {1.5, 0, 1.75, 1, 1.75, 2, 1.75, kMissing, kMissing, 1, 1.75, -0.5, 1.75, 1e12});
  EXPECT_EQ(answer(read_booster(kLgb, ""), in).numbers, (std::vector<double>{1, 2, 4, 4, 1, 4, 4}));
  // default right
  auto right = with(kLgb, "decision_type=10 1", "decision_type=8 1");
  EXPECT_EQ(answer(read_booster(right, ""), rows(2, {kMissing, 1})).numbers[0], 2);
  // zeros are missing, and go right
  auto zero = with(kLgb, "decision_type=10 1", "decision_type=4 1");
  EXPECT_EQ(answer(read_booster(zero, ""), rows(2, {0, 1, 1e-36, 1, kMissing, 1, 0.5, 1})).numbers,
            (std::vector<double>{2, 2, 2, 1}));
  // nothing is missing: NaN is 0
  auto none = with(kLgb, "decision_type=10 1", "decision_type=0 1");
  EXPECT_EQ(answer(read_booster(none, ""), rows(2, {kMissing, 1, 2, 1})).numbers, (std::vector<double>{1, 2}));
}

TEST(LightgbmFile, PandasCategoriesByTheirText) {
  auto in = rows(2, {2, kMissing, 2, kMissing, 2, kMissing});
  in.texts[1] = {.values = {"x", "y", "new"}, .missing = {}};
  EXPECT_EQ(answer(read_booster(kLgb, ""), in).numbers, (std::vector<double>{2, 4, 4}));
}

TEST(LightgbmFile, LinearLeavesAndForests) {
  auto linear =
      with(kLgb, "is_linear=0",
           "is_linear=1\nleaf_const=10 20 30\nnum_features=1 0 2\nleaf_features=0   0 1 \nleaf_coeff=2   1 -1 ");
  auto in = rows(2, {1, 0, 2, 1, 2, 2, kMissing, 0});
  EXPECT_EQ(answer(read_booster(linear, ""), in).numbers, (std::vector<double>{12, 20, 30, 1}));
  auto forest = with(kLgb, "label_index=0", "label_index=0\naverage_output");
  EXPECT_EQ(answer(read_booster(forest, ""), in).numbers[0], 1);
}

TEST(LightgbmFile, Objectives) {
  auto in = rows(2, {2, 1});  // the sum is 2
  auto with_objective = [&](std::string_view o) {
    return answer(read_booster(with(kLgb, "objective=regression", std::string("objective=") + std::string(o)), ""), in)
        .numbers[0];
  };
  EXPECT_DOUBLE_EQ(with_objective("binary sigmoid:0.5"), 1 / (1 + std::exp(-1.0)));
  EXPECT_DOUBLE_EQ(with_objective("poisson"), std::exp(2.0));
  EXPECT_DOUBLE_EQ(with_objective("regression sqrt"), 4);
  EXPECT_DOUBLE_EQ(with_objective("cross_entropy_lambda"), std::log1p(std::exp(2.0)));
  EXPECT_DOUBLE_EQ(with_objective("quantile alpha:0.5"), 2);
  EXPECT_NE(refusal(with(kLgb, "objective=regression", "objective=mine")).find("mine"), std::string::npos);
  auto binary = with(kLgb, "objective=regression", "objective=binary sigmoid:1");
  EXPECT_EQ(answer(read_lightgbm(binary, "LGBMClassifier"), in).numbers[0], 1);
}

TEST(LightgbmFile, HostileVariations) {
  const std::pair<std::string_view, std::string_view> changes[] = {
      {"version=v4", "version=v9"},
      {"max_feature_idx=1", "max_feature_idx=-1"},
      {"max_feature_idx=1", "max_feature_idx=99999999999"},
      {"max_feature_idx=1", "max_feature_idx=0"},
      {"num_tree_per_iteration=1", "num_tree_per_iteration=2"},
      {"num_tree_per_iteration=1", "num_tree_per_iteration=0"},
      {"num_leaves=3", "num_leaves=2"},
      {"num_leaves=3", "num_leaves=2000000000"},
      {"num_leaves=3", "num_leaves=0"},
      {"split_feature=0 1", "split_feature=0 2"},
      {"split_feature=0 1", "split_feature=-1 1"},
      {"split_feature=0 1", "split_feature=0"},
      {"threshold=1.5 0", "threshold=nan 0"},
      {"threshold=1.5 0", "threshold=1.5 1"},
      {"threshold=1.5 0", "threshold=1.5 -1"},
      {"threshold=1.5 0", "threshold=1.5 0x"},
      {"left_child=-1 -2", "left_child=0 -2"},
      {"left_child=-1 -2", "left_child=1 -2"},
      {"left_child=-1 -2", "left_child=-9 -2"},
      {"left_child=-1 -2", "left_child=-2147483648 -2"},
      {"right_child=1 -3", "right_child=2 -3"},
      {"right_child=1 -3", "right_child=99999999999 -3"},
      {"leaf_value=1 2 4", "leaf_value=1 2"},
      {"leaf_value=1 2 4", "leaf_value=1 2 4 5"},
      {"cat_boundaries=0 1", "cat_boundaries=0 2"},
      {"cat_boundaries=0 1", "cat_boundaries=1 0"},
      {"cat_boundaries=0 1", "cat_boundaries=0"},
      {"num_cat=1", "num_cat=9"},
      {"num_cat=1", "num_cat=-1"},
      {"is_linear=0", "is_linear=1"},
      {"is_linear=0", "is_linear=1\nleaf_const=1 2 3\nnum_features=1 0 9\nleaf_features=0\nleaf_coeff=2"},
      {"is_linear=0", "is_linear=1\nleaf_const=1 2 3\nnum_features=1 0 0\nleaf_features=7\nleaf_coeff=2"},
      {"is_linear=0", "is_linear=1\nleaf_const=1 2 3\nnum_features=-1 1 0\nleaf_features=0\nleaf_coeff=2"},
      {"feature_names=a b", "feature_names=a"},
      {"end of trees", "end of all"},
      {"[\"w\", ", "[[[\"w\", "},
  };
  for (const auto& [what, instead] : changes) EXPECT_FALSE(read_booster(with(kLgb, what, instead), "")) << instead;
  auto whole = kLgb.find("end of trees");
  for (std::size_t n = 0; n < whole; ++n) EXPECT_FALSE(read_booster(kLgb.substr(0, n), "")) << n;
}

TEST(BoosterFile, InputsThatDoNotFit) {
  auto e = make_boosted_estimator(*read_booster(kXgb, "Booster"));
  EXPECT_FALSE(e->predict(rows(2, {})));
  EXPECT_FALSE(e->predict(rows(3, {1, 2, 3})));
  auto infinite = e->predict(rows(2, {1, INFINITY}));
  ASSERT_FALSE(infinite);
  EXPECT_NE(infinite.error().message.find("#1"), std::string::npos);
  // The scikit-learn classes take it, as they do in Python.
  EXPECT_TRUE(make_boosted_estimator(*read_booster(kXgb, "XGBRegressor"))->predict(rows(2, {-INFINITY, INFINITY})));
}

TEST(BoosterFile, WhatASparseRowLeavesOut) {
  Frame f;
  f.rows = 1;
  f.columns = 2;
  f.sparse = true;
  f.starts = {0, 1};
  f.indices = {1};
  f.values = {1};
  // XGBoost: missing, which the first split sends left. LightGBM: 0, which is below its threshold.
  EXPECT_FLOAT_EQ(static_cast<float>(answer(read_booster(kXgb, ""), f).numbers[0]), sigmoid(-0.5F));
  auto right = with(kLgb, "decision_type=10 1", "decision_type=8 1");
  EXPECT_EQ(answer(read_booster(right, ""), f).numbers[0], 1);
}

TEST(BoosterFile, Names) {
  for (const char* n : {"model.bst", "model.json", "model.ubj", "model.txt", "churn.lgb"})
    EXPECT_TRUE(is_booster_file(n)) << n;
  for (const char* n : {"input_example.json", "requirements.txt", "MLmodel", "conda.yaml"})
    EXPECT_FALSE(is_booster_file(n)) << n;
}

}  // namespace
}  // namespace mr::serving
