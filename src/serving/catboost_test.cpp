// The readers of CatBoost's files: a JSON export written by hand, and the .cbm files among the fuzz target's seeds.
#include <filesystem>
#include <fstream>

#include "serving/engines/category_hash.h"
#include "serving/formats/booster_file.h"

namespace mr::serving {
namespace {

constexpr double kNoValue = std::numeric_limits<double>::quiet_NaN();

// Two levels: a > 0.5 gives bit 0, a category "x" bit 1. Its hash is what the library itself writes.
const std::string kCat = R"({"features_info":{
 "float_features":[{"feature_index":0,"flat_feature_index":0,"feature_id":"a","borders":[0.5],"nan_value_treatment":"AsIs"}],
 "categorical_features":[{"feature_index":0,"flat_feature_index":1,"feature_id":"c","values":[-784473192]}]},
 "model_info":{"params":{"loss_function":{"type":"RMSE"}},"class_params":{"class_names":[],"class_label_type":"Integer"}},
 "oblivious_trees":[{"leaf_values":[1,2,4,8],"splits":[
  {"border":0.5,"float_feature_index":0,"split_type":"FloatFeature"},
  {"cat_feature_index":0,"split_type":"OneHotFeature","value":-784473192}]}],
 "scale_and_bias":[2,[0.5]]})";

std::string replaced(std::string text, std::string_view what, std::string_view instead) {
  auto at = text.find(what);
  EXPECT_NE(at, std::string::npos) << what;
  return at == std::string::npos ? text : text.replace(at, what.size(), instead);
}

Frame mixed_rows(std::vector<double> numbers, std::vector<std::string> texts) {
  Frame f;
  f.rows = numbers.size();
  f.columns = 2;
  for (double n : numbers) {
    f.data.push_back(n);
    f.data.push_back(kNoValue);
  }
  f.texts[1].values = std::move(texts);
  return f;
}

Output computed(Result<BoostedModel> model, const Frame& in) {
  EXPECT_TRUE(model) << model.error().message;
  if (!model) return {};
  auto out = make_boosted_estimator(std::move(*model))->predict(in);
  EXPECT_TRUE(out) << out.error().message;
  return out ? std::move(*out) : Output{};
}

TEST(CatboostFile, BordersCategoriesAndMissingValues) {
  auto in = mixed_rows({0.5, 0.75, 0.25, 1, kNoValue}, {"y", "y", "x", "x", "x"});
  EXPECT_EQ(computed(read_booster(kCat, ""), in).numbers, (std::vector<double>{2.5, 4.5, 8.5, 16.5, 8.5}));
  auto high = replaced(kCat, "AsIs", "AsTrue");
  EXPECT_EQ(computed(read_booster(high, ""), in).numbers[4], 16.5);
  // A whole number is a category, any other is not.
  Frame numbers;
  numbers.rows = 1;
  numbers.columns = 2;
  numbers.data = {1, 7};
  EXPECT_EQ(computed(read_booster(kCat, ""), numbers).numbers[0], 4.5);
  numbers.data[1] = 7.5;
  auto refused = make_boosted_estimator(*read_booster(kCat, ""))->predict(numbers);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("#1"), std::string::npos);
}

TEST(CatboostFile, ClassesAndLosses) {
  auto in = mixed_rows({1, 1}, {"x", "y"});
  auto poisson = replaced(kCat, "RMSE", "Poisson");
  EXPECT_DOUBLE_EQ(computed(read_booster(poisson, "CatBoostRegressor"), in).numbers[1], std::exp(4.5));
  EXPECT_DOUBLE_EQ(computed(read_booster(poisson, "CatBoost"), in).numbers[1], 4.5);
  auto logloss = replaced(kCat, "[0.5]]", "[-9]]");  // sums 7 and -5
  EXPECT_EQ(computed(read_booster(logloss, "CatBoostClassifier"), in).numbers, (std::vector<double>{1, 0}));
  auto named = replaced(logloss, R"("class_names":[])", R"("class_names":["no","yes"])");
  EXPECT_EQ(computed(read_booster(named, "CatBoostClassifier"), in).texts, (std::vector<std::string>{"yes", "no"}));
  EXPECT_FALSE(read_booster(replaced(named, R"(,"yes")", ""), "CatBoostClassifier"));
}

TEST(CatboostFile, OtherTrees) {
  auto nested = replaced(
      kCat, R"("oblivious_trees":[{"leaf_values":[1,2,4,8],"splits":[
  {"border":0.5,"float_feature_index":0,"split_type":"FloatFeature"},
  {"cat_feature_index":0,"split_type":"OneHotFeature","value":-784473192}]}])",
      R"("trees":[{"split":{"border":0.5,"float_feature_index":0,"split_type":"FloatFeature"},"left":{"value":1},
        "right":{"split":{"cat_feature_index":0,"split_type":"OneHotFeature","value":-784473192},
                 "left":{"value":2},"right":{"value":4}}}])");
  auto in = mixed_rows({0.5, 0.75, 0.75}, {"x", "y", "x"});
  EXPECT_EQ(computed(read_booster(nested, ""), in).numbers, (std::vector<double>{2.5, 4.5, 8.5}));
  EXPECT_FALSE(read_booster(replaced(nested, R"("left":{"value":1})", R"("left":{})"), ""));
  EXPECT_FALSE(read_booster(replaced(nested, R"("left":{"value":1})", R"("left":{"value":[1,2]})"), ""));
  EXPECT_FALSE(read_booster(replaced(nested, R"("left":{"value":1},)", ""), ""));
}

TEST(CatboostFile, HostileVariations) {
  const std::pair<std::string_view, std::string_view> changes[] = {
      {R"("leaf_values":[1,2,4,8])", R"("leaf_values":[1,2,4])"},
      {R"("leaf_values":[1,2,4,8])", R"("leaf_values":[])"},
      {R"("float_feature_index":0)", R"("float_feature_index":1)"},
      {R"("float_feature_index":0)", R"("float_feature_index":-1)"},
      {R"("cat_feature_index":0)", R"("cat_feature_index":7)"},
      {R"("border":0.5)", R"("border":"x")"},
      {R"("value":-784473192)", R"("value":1e300)"},
      {R"("split_type":"OneHotFeature")", R"("split_type":"OnlineCtr")"},
      {R"("flat_feature_index":0)", R"("flat_feature_index":1e9)"},
      {R"("flat_feature_index":0)", R"("flat_feature_index":-1)"},
      {R"("feature_index":0)", R"("feature_index":99999999)"},
      {R"("scale_and_bias":[2,[0.5]])", R"("scale_and_bias":[Infinity,[0.5]])"},
      {R"("scale_and_bias":[2,[0.5]])", R"("scale_and_bias":[2,[1,2,3]])"},
      {R"("oblivious_trees")", R"("other_trees")"},
      {R"("features_info":{)", R"("features_info":{"ctrs":[{}],)"},
      {R"("features_info":{)", R"("features_info":{"text_features":[{}],)"},
      {"RMSE", "MultiLogloss"},
  };
  for (const auto& [what, instead] : changes) EXPECT_FALSE(read_booster(replaced(kCat, what, instead), "")) << instead;
  for (std::size_t n = 0; n < kCat.size(); ++n) EXPECT_FALSE(read_booster(kCat.substr(0, n), "")) << n;
}

TEST(CatboostFile, HashOfACategory) {
  EXPECT_EQ(category_hash("x"), -784473192);
  EXPECT_EQ(category_hash(""), 797982799);
  EXPECT_EQ(category_hash(
                " dtQjjSxCfbXiPhoQwOLVliXAnGXNvVasJbUzaJDgaCroRQFGfEwaIeSz DouLljfVhuEcDmuXLlPCUBEGNoVdASPEqWkjVOPcAM"
                "O\xc3\xa9SNELQxbFYVVrKzVOzwBWaKaLu"),
            413866346);
}

// ---- .cbm ----

std::string seed(const std::string& name) {
  auto path = std::filesystem::path(__FILE__).parent_path() / "../../tests/corpus/fuzz/booster_fuzz" / name;
  std::ifstream f(path, std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(f), {}};
  EXPECT_GT(bytes.size(), 1U) << path;
  return bytes.substr(std::min<std::size_t>(1, bytes.size()));  // the first byte chooses the class
}

TEST(CatboostFile, BothFormsAnswerAlike) {
  for (const char* kind : {"sym", "loss"}) {
    auto json = read_booster(seed(std::string("catboost_") + kind + ".json"), "");
    auto binary = read_booster(seed(std::string("catboost_") + kind + ".cbm"), "");
    ASSERT_TRUE(json) << json.error().message;
    ASSERT_TRUE(binary) << binary.error().message;
    EXPECT_EQ(json->features, 4U);
    Frame f;
    f.rows = 60;
    f.columns = 4;
    for (std::size_t i = 0; i < f.rows * f.columns; ++i) f.data.push_back(static_cast<double>((i * 7) % 5));
    auto a = computed(std::move(json), f).numbers;
    EXPECT_EQ(a, computed(std::move(binary), f).numbers);
    EXPECT_GT(std::set<double>(a.begin(), a.end()).size(), 2U);
  }
}

TEST(CatboostFile, DamagedBinariesAreRefusedOrHarmless) {
  for (const char* name : {"catboost_sym.cbm", "catboost_loss.cbm"}) {
    const auto whole = seed(name);
    for (std::size_t n = 0; n < whole.size(); n += 7) EXPECT_FALSE(read_booster(whole.substr(0, n), "")) << n;
    for (std::size_t i = 4; i < whole.size(); i += 3) {
      auto flipped = whole;
      flipped[i] = static_cast<char>(flipped[i] ^ (1 << (i % 8)));
      auto m = read_booster(flipped, "");
      if (!m || m->features > 100 || m->groups > 100) continue;
      Frame f;
      f.rows = 1;
      f.columns = m->features;
      f.data.assign(f.columns, 2);
      (void)make_boosted_estimator(std::move(*m))->predict(f);
    }
  }
}

}  // namespace
}  // namespace mr::serving
