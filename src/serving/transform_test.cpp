// Rules of transformers and of what puts them together, and model files whose attributes do not fit each other: the
// trees are built here, as a reader would.
#include "serving/engines/transform.h"

namespace mr::serving {
namespace {

class Maker {
 public:
  Tree t;
  NodeId none() { return leaf({.kind = NodeKind::none}); }
  NodeId text(std::string s) { return leaf({.kind = NodeKind::text, .text = std::move(s)}); }
  NodeId boolean(bool b) { return leaf({.kind = NodeKind::boolean, .integer = b ? 1 : 0}); }
  NodeId integer(std::int64_t v) { return leaf({.kind = NodeKind::integer, .integer = v}); }
  NodeId real(double d) { return leaf({.kind = NodeKind::real, .real = d}); }
  NodeId symbol(std::string s) { return leaf({.kind = NodeKind::symbol, .text = std::move(s)}); }
  NodeId tuple(std::vector<NodeId> items) { return leaf({.kind = NodeKind::tuple, .items = std::move(items)}); }
  NodeId list(std::vector<NodeId> items) { return leaf({.kind = NodeKind::list, .items = std::move(items)}); }
  NodeId cells(std::vector<NodeId> items) { return leaf({.kind = NodeKind::array, .items = std::move(items)}); }
  NodeId numbers(std::vector<double> v, std::vector<std::int64_t> shape = {}) {
    if (shape.empty()) shape = {static_cast<std::int64_t>(v.size())};
    t.arrays.push_back({'f', 8, std::move(shape), std::move(v), {}});
    return leaf({.kind = NodeKind::array, .array = static_cast<std::int32_t>(t.arrays.size()) - 1});
  }
  NodeId texts(std::vector<std::string> s) {
    t.arrays.push_back({'O', 8, {static_cast<std::int64_t>(s.size())}, {}, std::move(s)});
    return leaf({.kind = NodeKind::array, .array = static_cast<std::int32_t>(t.arrays.size()) - 1});
  }
  using State = std::vector<std::pair<const char*, NodeId>>;
  NodeId dict(const State& state) {
    Node d{.kind = NodeKind::dict};
    for (const auto& [k, v] : state) {
      d.items.push_back(text(k));
      d.items.push_back(v);
    }
    return leaf(std::move(d));
  }
  NodeId object(const std::string& cls, const State& state) {
    auto state_id = dict(state);
    auto callee = symbol("sklearn.somewhere." + cls);
    return leaf({.kind = NodeKind::object, .callee = callee, .state = state_id});
  }
  Result<EstimatorPtr> make(NodeId root) {
    t.root = root;
    return Build(t, "1.5.0").estimator(root);
  }

 private:
  NodeId leaf(Node n) { return t.add(std::move(n)); }
};

Frame numbers(std::vector<double> data, std::size_t columns) {
  Frame f;
  f.rows = data.size() / columns;
  f.columns = columns;
  f.data = std::move(data);
  return f;
}

// A column of texts; "-" is a missing one.
Frame texts(const std::vector<std::string>& values) {
  auto f = numbers(std::vector<double>(values.size(), std::nan("")), 1);
  auto& column = f.texts[0];
  for (const auto& v : values) {
    column.values.push_back(v == "-" ? "" : v);
    column.missing.push_back(v == "-" ? 1 : 0);
  }
  return f;
}

std::vector<double> run(const Result<EstimatorPtr>& e, const Frame& in) {
  if (!e) {
    ADD_FAILURE() << e.error().message;
    return {};
  }
  auto out = (*e)->transform(in);
  if (!out) {
    ADD_FAILURE() << out.error().message;
    return {};
  }
  return dense(std::move(*out))->data;
}

std::string why(const Result<EstimatorPtr>& e, const Frame& in) {
  if (!e) return e.error().message;
  auto out = (*e)->transform(in);
  return out ? "it was taken" : out.error().message;
}

NodeId scaler(Maker& m, std::vector<double> mean, std::vector<double> scale) {
  auto n = m.integer(static_cast<std::int64_t>(mean.size()));
  return m.object(
      "StandardScaler",
      {{"n_features_in_", n}, {"mean_", m.numbers(std::move(mean))}, {"scale_", m.numbers(std::move(scale))}});
}

TEST(Transform, ScalersKeepMissingValuesAndRefuseInfinity) {
  Maker m;
  auto e = m.make(scaler(m, {1, 10}, {2, 5}));
  auto out = run(e, numbers({3, 0, std::nan(""), 20}, 2));
  EXPECT_EQ(out[0], 1);
  EXPECT_EQ(out[1], -2);
  EXPECT_TRUE(std::isnan(out[2]));
  EXPECT_EQ(out[3], 2);
  EXPECT_NE(why(e, numbers({1, INFINITY}, 2)).find("column #1"), std::string::npos);
  EXPECT_NE(why(e, numbers({1, 2, 3}, 3)).find("fitted with 2"), std::string::npos);
  EXPECT_NE(why(e, numbers({}, 2)).find("no rows"), std::string::npos);
}

TEST(Transform, StatisticsOfAnotherLengthAreRefusedAtLoad) {
  Maker m;
  EXPECT_FALSE(m.make(scaler(m, {1, 10}, {2})).has_value());
  Maker q;
  EXPECT_FALSE(q.make(q.object("QuantileTransformer",
                               {{"quantiles_", q.numbers({1, 2, 3}, {3, 1})}, {"references_", q.numbers({0, 1})}}))
                   .has_value());
  Maker b;  // a degree that makes more columns than memory
  EXPECT_FALSE(b.make(b.object("PolynomialFeatures", {{"n_features_in_", b.integer(1000)}, {"degree", b.integer(60)}}))
                   .has_value());
  Maker k;
  EXPECT_FALSE(k.make(k.object("KBinsDiscretizer", {{"bin_edges_", k.cells({k.numbers({3, 1, 2})})}})).has_value());
  Maker s;
  auto spline = s.object("BSpline",
                         {{"t", s.numbers({0, 1, 2, 3})}, {"c", s.numbers({1, 0, 0, 1}, {2, 2})}, {"k", s.integer(3)}});
  EXPECT_FALSE(
      s.make(s.object("SplineTransformer", {{"degree", s.integer(3)}, {"bsplines_", s.list({spline})}})).has_value());
  Maker p;
  EXPECT_FALSE(
      p.make(p.object("PCA", {{"components_", p.numbers({1, 2}, {1, 2})}, {"mean_", p.numbers({1})}})).has_value());
}

TEST(Transform, OneHotDropsGroupsAndPassesUnknown) {
  Maker m;  // a b c d, of which b and d are rare: a -> 0, c -> 1, rare -> 2; then the first is dropped
  auto e = m.make(m.object("OneHotEncoder", {{"categories_", m.list({m.texts({"a", "b", "c", "d"})})},
                                             {"handle_unknown", m.text("infrequent_if_exist")},
                                             {"_infrequent_enabled", m.boolean(true)},
                                             {"_default_to_infrequent_mappings", m.list({m.numbers({0, 2, 1, 2})})},
                                             {"_drop_idx_after_grouping", m.cells({m.integer(0)})}}));
  EXPECT_EQ(run(e, texts({"a", "b", "c", "d", "e"})), (std::vector<double>{0, 0, 0, 1, 1, 0, 0, 1, 0, 1}));
  Maker u;
  auto strict = u.make(u.object("OneHotEncoder", {{"categories_", u.list({u.texts({"a"})})}}));
  EXPECT_NE(why(strict, texts({"a", "secret"})).find("column #0 has a category"), std::string::npos);
  EXPECT_EQ(why(strict, texts({"secret"})).find("secret"), std::string::npos);
  Maker n;  // None and numbers among the categories
  auto mixed =
      n.make(n.object("OneHotEncoder", {{"categories_", n.list({n.cells({n.integer(3), n.text("x"), n.none()})})},
                                        {"handle_unknown", n.text("ignore")}}));
  EXPECT_EQ(run(mixed, texts({"x", "-", "y"})), (std::vector<double>{0, 1, 0, 0, 0, 1, 0, 0, 0}));
  EXPECT_EQ(run(mixed, numbers({3, std::nan("")}, 1)), (std::vector<double>{1, 0, 0, 0, 0, 1}));
}

TEST(Transform, OneHotWithPlacesOutOfRangeIsRefused) {
  for (double bad : {-1.0, 4.0, 1e18, 0.5}) {
    Maker m;
    EXPECT_FALSE(m.make(m.object("OneHotEncoder", {{"categories_", m.list({m.texts({"a", "b"})})},
                                                   {"_infrequent_enabled", m.boolean(true)},
                                                   {"_default_to_infrequent_mappings", m.list({m.numbers({0, bad})})}}))
                     .has_value());
    Maker d;
    if (bad != -1.0)
      EXPECT_FALSE(d.make(d.object("OneHotEncoder",
                                   {{"categories_", d.list({d.texts({"a", "b"})})}, {"drop_idx_", d.numbers({bad})}}))
                       .has_value());
  }
}

TEST(Transform, OrdinalAndTargetEncodersLookUp) {
  Maker m;
  auto e = m.make(
      m.object("OrdinalEncoder", {{"categories_", m.list({m.cells({m.text("a"), m.text("b"), m.real(std::nan(""))})})},
                                  {"handle_unknown", m.text("use_encoded_value")},
                                  {"unknown_value", m.integer(-1)},
                                  {"encoded_missing_value", m.integer(-2)},
                                  {"_missing_indices", m.dict({{"0", m.integer(2)}})}}));
  EXPECT_EQ(run(e, texts({"b", "-", "z", "a"})), (std::vector<double>{1, -2, -1, 0}));
  Maker t;
  auto target = t.make(t.object("TargetEncoder", {{"categories_", t.list({t.texts({"a", "b"})})},
                                                  {"encodings_", t.list({t.numbers({0.25, 0.5})})},
                                                  {"target_mean_", t.real(0.4)}}));
  EXPECT_EQ(run(target, texts({"b", "z", "a"})), (std::vector<double>{0.5, 0.4, 0.25}));
  Maker w;
  EXPECT_FALSE(w.make(w.object("TargetEncoder", {{"categories_", w.list({w.texts({"a", "b"})})},
                                                 {"encodings_", w.list({w.numbers({0.25})})},
                                                 {"target_mean_", w.real(0.4)}}))
                   .has_value());
}

TEST(Transform, ImputersFillNumbersAndTexts) {
  Maker m;
  auto e = m.make(
      m.object("SimpleImputer", {{"strategy", m.text("mean")},
                                 {"missing_values", m.real(std::nan(""))},
                                 {"statistics_", m.numbers({5, std::nan(""), 7})},
                                 {"indicator_", m.object("MissingIndicator", {{"features_", m.numbers({2})}})}}));
  EXPECT_EQ(run(e, numbers({std::nan(""), 1, std::nan("")}, 3)), (std::vector<double>{5, 7, 1}));
  Maker t;
  auto words = t.make(t.object("SimpleImputer", {{"strategy", t.text("most_frequent")},
                                                 {"missing_values", t.real(std::nan(""))},
                                                 {"statistics_", t.texts({"x"})}}));
  auto out = (*words)->transform(texts({"a", "-"}));
  ASSERT_TRUE(out.has_value());
  EXPECT_EQ(out->texts[0].values, (std::vector<std::string>{"a", "x"}));
  EXPECT_NE(why(words, numbers({1, std::nan("")}, 1)).find("column #0"), std::string::npos);
  auto nothing_but_null = (*words)->transform(numbers({std::nan(""), std::nan("")}, 1));
  ASSERT_TRUE(nothing_but_null.has_value());
  EXPECT_EQ(nothing_but_null->texts[0].values, (std::vector<std::string>{"x", "x"}));
  Maker w;
  EXPECT_FALSE(w.make(w.object("MissingIndicator", {{"n_features_in_", w.integer(2)}, {"features_", w.numbers({2})}}))
                   .has_value());
}

NodeId vectoriser(Maker& m, const char* cls, Maker::State more) {
  Maker::State state{{"analyzer", m.text("word")}, {"token_pattern", m.text(R"((?u)\b\w\w+\b)")}};
  state.insert(state.end(), more.begin(), more.end());
  return m.object(cls, state);
}

TEST(Transform, WordsAreCountedAsPythonSeesThem) {
  Maker m;
  auto words =
      m.dict({{"été", m.integer(0)}, {"οδοσ", m.integer(1)}, {"ab", m.integer(2)}, {"οδο\u03C2", m.integer(3)}});
  auto e = m.make(vectoriser(m, "CountVectorizer", {{"vocabulary_", words}}));
  EXPECT_EQ(run(e, texts({"ÉTÉ a, ab-AB", "ΟΔΟΣ", ""})), (std::vector<double>{1, 0, 2, 0, 0, 0, 0, 1, 0, 0, 0, 0}));
  EXPECT_NE(why(e, texts({"a", "-"})).find("column #0 has a missing text"), std::string::npos);
  EXPECT_NE(why(e, numbers({1}, 1)).find("holds numbers"), std::string::npos);
  Maker b;
  EXPECT_FALSE(b.make(vectoriser(b, "CountVectorizer", {{"vocabulary_", b.dict({{"a", b.integer(1)}})}})).has_value());
}

TEST(Transform, TokenPatternsThatAreNotReadAreRefused) {
  for (const char* pattern :
       {R"((?<=a)b)", R"(\bfoo-bar\b)", R"((a)(b))", R"(a*)", R"(()", R"([\W])", R"(a$)", R"(\Aa)"}) {
    Maker m;
    Maker::State state{{"analyzer", m.text("word")},
                       {"token_pattern", m.text(pattern)},
                       {"vocabulary_", m.dict({{"a", m.integer(0)}})}};
    EXPECT_FALSE(m.make(m.object("CountVectorizer", state)).has_value()) << pattern;
  }
  for (const char* custom : {"tokenizer", "preprocessor"}) {
    Maker m;
    EXPECT_FALSE(m.make(vectoriser(m, "HashingVectorizer", {{custom, m.symbol("numpy.log")}})).has_value());
  }
}

TEST(Transform, ColumnsAreFoundByNameAndPlace) {
  Maker m;
  auto parts = m.list({m.tuple({m.text("s"), scaler(m, {1}, {2}), m.list({m.text("b")})}),
                       m.tuple({m.text("d"), m.text("drop"), m.list({m.integer(0)})}),
                       m.tuple({m.text("p"), m.text("passthrough"), m.list({m.integer(-1)})})});
  auto e = m.make(m.object(
      "ColumnTransformer",
      {{"feature_names_in_", m.texts({"a", "b", "c"})}, {"n_features_in_", m.integer(3)}, {"transformers_", parts}}));
  EXPECT_EQ(run(e, numbers({9, 5, 7}, 3)), (std::vector<double>{2, 7}));
  auto named = numbers({7, 8, 5}, 3);  // in another order, and a column that nobody asked for
  named.names = {"c", "x", "b"};
  EXPECT_EQ(run(e, named), (std::vector<double>{2, 7}));
  named.names = {"c", "x", "y"};
  EXPECT_EQ(why(e, named), "the column 'b' is missing");
  auto broken = numbers({0, INFINITY, 0}, 3);
  EXPECT_NE(why(e, broken).find("column #1"), std::string::npos) << "the place in the request, not in the part";
}

TEST(Transform, ColumnsThatDoNotExistAreRefusedAtLoad) {
  auto refused = [](auto columns) {
    Maker m;
    auto parts = m.list({m.tuple({m.text("s"), m.text("passthrough"), columns(m)})});
    return !m.make(m.object("ColumnTransformer", {{"n_features_in_", m.integer(2)}, {"transformers_", parts}}))
                .has_value();
  };
  EXPECT_TRUE(refused([](Maker& m) { return m.list({m.integer(2)}); }));
  EXPECT_TRUE(refused([](Maker& m) { return m.list({m.integer(-3)}); }));
  EXPECT_TRUE(refused([](Maker& m) { return m.list({m.text("a")}); }));
  EXPECT_TRUE(refused([](Maker& m) { return m.list({m.boolean(true)}); }));
  EXPECT_TRUE(refused([](Maker& m) { return m.list({m.real(0.5)}); }));
  EXPECT_TRUE(refused([](Maker& m) {  // a list that wraps itself
    auto own = m.object("_RemainderColsList", {{"data", m.none()}});
    m.t.nodes[m.t.nodes[m.t.nodes[own].state].items[1]] = Node(m.t.nodes[own]);
    return own;
  }));
  EXPECT_FALSE(refused([](Maker& m) { return m.list({m.boolean(true), m.boolean(false)}); }));
}

TEST(Transform, PipelinesNestOnlySoDeep) {
  Maker m;
  auto inner = scaler(m, {0}, {1});
  for (int i = 0; i < 100; ++i) inner = m.object("Pipeline", {{"steps", m.list({m.tuple({m.text("s"), inner})})}});
  EXPECT_FALSE(m.make(inner).has_value());
  Maker c;  // a step that is its own pipeline
  auto steps = c.list({});
  auto own = c.object("Pipeline", {{"steps", steps}});
  c.t.nodes[steps].items = {c.tuple({c.text("s"), own})};
  EXPECT_FALSE(c.make(own).has_value());
}

TEST(Transform, ErrorsBehindStepsNameNoColumnOfTheRequest) {
  Maker m;
  auto parts = m.list({m.tuple(
      {m.text("c"), m.object("FunctionTransformer", {{"func", m.symbol("numpy.log")}}), m.list({m.integer(1)})})});
  auto first = m.object("ColumnTransformer", {{"n_features_in_", m.integer(2)}, {"transformers_", parts}});
  auto e = m.make(m.object(
      "Pipeline",
      {{"steps", m.list({m.tuple({m.text("pick"), first}), m.tuple({m.text("scale"), scaler(m, {0}, {1})})})}}));
  auto text = why(e, numbers({1, 0}, 2));  // log(0) is minus infinity
  EXPECT_EQ(text.find('#'), std::string::npos) << text;
  EXPECT_NE(text.find("behind the step 'pick'"), std::string::npos) << text;
}

TEST(Transform, SparseRowsStaySparseWhereTheyMay) {
  Maker m;
  auto e = m.make(m.object(
      "Pipeline",
      {{"steps",
        m.list({m.tuple({m.text("h"), vectoriser(m, "HashingVectorizer", {{"n_features", m.integer(1 << 20)}})}),
                m.tuple({m.text("n"), m.object("Normalizer", {{"n_features_in_", m.integer(1 << 20)}})})})}}));
  ASSERT_TRUE(e.has_value()) << e.error().message;
  auto out = (*e)->transform(texts({"some words here", "more"}));
  ASSERT_TRUE(out.has_value()) << out.error().message;
  EXPECT_TRUE(out->sparse);
  EXPECT_EQ(out->values.size(), 4U);
  EXPECT_TRUE(out->data.empty());
  Frame wide;  // a matrix that nobody can make dense
  wide.sparse = true;
  wide.rows = 100'000;
  wide.columns = 1 << 20;
  EXPECT_FALSE(dense(std::move(wide)).has_value());
}

}  // namespace
}  // namespace mr::serving
