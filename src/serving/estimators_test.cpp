// Rules of single estimators, and what they refuse of hostile files. That whole models answer as scikit-learn does is
// for the model matrix (tests/serving/matrix).
#include "serving/engines/estimator.h"

#include "serving/engines/isotonic.h"
#include "serving/engines/pairwise.h"
#include "tree_maker.h"

namespace mr::serving {
namespace {

class Models : public TreeMaker {
 public:
  Result<EstimatorPtr> estimator(NodeId root, const char* written_by = "1.5.0") {
    t.root = root;
    return Build(t, written_by).estimator(root);
  }
};

Frame rows_of(std::size_t columns, std::vector<double> data) {
  Frame f;
  f.rows = data.size() / columns;
  f.columns = columns;
  f.data = std::move(data);
  return f;
}

// The same values as sparse rows.
Frame sparse_of(const Frame& f) {
  Frame s;
  s.rows = f.rows;
  s.columns = f.columns;
  s.sparse = true;
  s.starts.push_back(0);
  for (std::size_t r = 0; r < f.rows; ++r) {
    for (std::size_t c = 0; c < f.columns; ++c)
      if (double v = f.data[r * f.columns + c]; v != 0) {
        s.indices.push_back(static_cast<std::uint32_t>(c));
        s.values.push_back(v);
      }
    s.starts.push_back(s.indices.size());
  }
  return s;
}

template <class T>
std::vector<double> values(const Result<T>& r) {
  if (!r) {
    ADD_FAILURE() << r.error().message;
    return {};
  }
  if constexpr (std::is_same_v<T, Output>)
    return r->numbers;
  else
    return r->data;
}

template <class T>
std::string error_of(const Result<T>& r) {
  return r ? std::string() : r.error().message;
}

using State = std::vector<std::pair<const char*, NodeId>>;

NodeId logistic(TreeMaker& m, std::vector<double> coef, double intercept) {
  const auto n = static_cast<std::int64_t>(coef.size());
  return m.object("sklearn.linear_model._logistic.LogisticRegression", {{"coef_", m.array({1, n}, std::move(coef))},
                                                                        {"intercept_", m.array({1}, {intercept})},
                                                                        {"classes_", m.array({2}, {0, 1}, 'i')}});
}

TEST(Estimators, LinearModelsDecideOnDenseAndSparseRows) {
  Models m;
  auto e = m.estimator(logistic(m, {2, -1}, 0.5));
  ASSERT_TRUE(e) << e.error().message;
  auto in = rows_of(2, {1, 0, 0, 1, 0, 0.5});
  EXPECT_EQ(values((*e)->decision_function(in)), (std::vector<double>{2.5, -0.5, 0}));
  EXPECT_EQ(values((*e)->decision_function(sparse_of(in))), (std::vector<double>{2.5, -0.5, 0}));
  EXPECT_EQ(values((*e)->predict(sparse_of(in))), (std::vector<double>{1, 0, 0}));
  EXPECT_TRUE((*e)->takes_sparse());
  auto far = sparse_of(in);
  far.values[0] = INFINITY;
  EXPECT_NE(error_of((*e)->predict(far)).find("column #0"), std::string::npos);
  EXPECT_EQ(error_of((*e)->transform(in)), "LogisticRegression has no transform");
}

TEST(Estimators, GeneralizedLinearModelsHaveTheirLinks) {
  auto mean = [](double power, const char* link) {
    Models m;
    auto e = m.estimator(m.object(
        "sklearn.linear_model._glm.glm.TweedieRegressor",
        {{"coef_", m.array({1}, {0.5})}, {"intercept_", m.real(1)}, {"power", m.real(power)}, {"link", m.text(link)}}));
    return values((*e)->predict(rows_of(1, {2})))[0];
  };
  EXPECT_EQ(mean(0, "auto"), 2);
  EXPECT_EQ(mean(1.5, "auto"), std::exp(2.0));
  EXPECT_EQ(mean(0, "log"), std::exp(2.0));
  EXPECT_EQ(mean(2, "identity"), 2);
}

TEST(Estimators, OutliersOfALinearModel) {
  Models m;
  auto e = m.estimator(m.object("sklearn.linear_model._stochastic_gradient.SGDOneClassSVM",
                                {{"coef_", m.array({2}, {1, 1})}, {"offset_", m.array({1}, {2})}}));
  ASSERT_TRUE(e) << e.error().message;
  auto out = (*e)->predict(rows_of(2, {1, 1, 0, 1}));  // exactly on the border is inside
  EXPECT_EQ(values(out), (std::vector<double>{1, -1}));
  EXPECT_EQ(out->type, DataType::int32);
}

// Two classes on one axis: decision = 1 - x, raw and with the sign of the first class.
NodeId machine(TreeMaker& m, State more = {}) {
  State state{{"kernel", m.text("linear")},
              {"support_vectors_", m.array({2, 1}, {0, 2})},
              {"_dual_coef_", m.array({1, 2}, {0.5, -0.5})},
              {"_intercept_", m.array({1}, {1})},
              {"_n_support", m.array({2}, {1, 1}, 'i', 4)},
              {"_gamma", m.real(1)},
              {"classes_", m.texts({"low", "high"})}};
  for (auto& [key, value] : more) {
    auto same = std::find_if(state.begin(), state.end(), [&](auto& p) { return std::string_view(p.first) == key; });
    if (same == state.end())
      state.emplace_back(key, value);
    else
      same->second = value;
  }
  return m.object("sklearn.svm._classes.SVC", std::move(state));
}

TEST(Estimators, SupportVectorsOfTwoClasses) {
  Models m;
  auto e = m.estimator(machine(m));
  ASSERT_TRUE(e) << e.error().message;
  auto in = rows_of(1, {0, 2, 1});
  EXPECT_EQ((*e)->predict(in)->texts, (std::vector<std::string>{"low", "high", "high"}));
  EXPECT_EQ(values((*e)->decision_function(in)), (std::vector<double>{-1, 1, 0}));
  EXPECT_EQ(error_of((*e)->predict_proba(in)), "SVC has no predict_proba");
}

TEST(Estimators, SupportVectorsThatDoNotFitAreRefused) {
  auto refused = [](auto more) {
    Models m;
    return error_of(m.estimator(machine(m, more(m))));
  };
  EXPECT_NE(refused([](Models& m) { return State{{"_n_support", m.array({2}, {1, 2}, 'i', 4)}}; }), "");
  EXPECT_NE(refused([](Models& m) { return State{{"_n_support", m.array({2}, {3, -1}, 'i', 4)}}; }), "");
  EXPECT_NE(refused([](Models& m) { return State{{"_dual_coef_", m.array({1, 1}, {1})}}; }), "");
  EXPECT_NE(refused([](Models& m) { return State{{"_dual_coef_", m.array({2, 2}, {1, 1, 1, 1})}}; }), "");
  EXPECT_NE(refused([](Models& m) { return State{{"_intercept_", m.array({2}, {1, 1})}}; }), "");
  EXPECT_NE(refused([](Models& m) { return State{{"classes_", m.texts({"one"})}}; }), "");
  EXPECT_NE(refused([](Models& m) { return State{{"support_vectors_", m.array({2, 0}, {})}}; }), "");
  EXPECT_NE(refused([](Models& m) { return State{{"probability", m.boolean(true)}}; }), "");
  EXPECT_EQ(refused([](Models& m) { return State{{"kernel", m.text("precomputed")}}; }),
            "SVC: the kernel 'precomputed' is not read natively");
  auto sparse = [&](std::vector<double> starts, std::vector<double> indices) {
    return refused([&](Models& m) {
      auto size = [](const std::vector<double>& v) {
        return std::vector<std::int64_t>{static_cast<std::int64_t>(v.size())};
      };
      return State{
          {"support_vectors_", m.object("scipy.sparse._csr.csr_matrix",
                                        {{"_shape", m.tuple({m.integer(2), m.integer(1)})},
                                         {"indptr", m.array(size(starts), starts, 'i', 4)},
                                         {"indices", m.array(size(indices), indices, 'i', 4)},
                                         {"data", m.array(size(indices), std::vector<double>(indices.size(), 1))}})}};
    });
  };
  EXPECT_EQ(sparse({0, 1, 2}, {0, 0}), "");
  EXPECT_NE(sparse({0, 1, 3}, {0, 0}), "");
  EXPECT_NE(sparse({0, 2, 1}, {0, 0}), "");
  EXPECT_NE(sparse({0, 1}, {0, 0}), "");
  EXPECT_NE(sparse({0, 1, 2}, {0, 1}), "");
  EXPECT_NE(sparse({0, 1, 2}, {0, -1}), "");
}

TEST(Estimators, ASmallFileThatSaysItIsALargeMatrixOfZeros) {
  Models m;
  auto zeros = m.object("scipy.sparse._csr.csr_matrix", {{"_shape", m.tuple({m.integer(2), m.integer(4'000'000'000)})},
                                                         {"indptr", m.array({3}, {0, 0, 0}, 'i', 4)},
                                                         {"indices", m.array({0}, {}, 'i', 4)},
                                                         {"data", m.array({0}, {})}});
  EXPECT_EQ(error_of(m.estimator(machine(m, {{"_dual_coef_", zeros}}))), "SVC: _dual_coef_ is too large");
}

TEST(Estimators, PairsVoteAndTheirProbabilitiesAreCoupled) {
  std::vector<double> out(3);
  // 0 beats 1, 2 beats 0, 1 beats 2: a tie of votes falls by confidence.
  vote_of_pairs(3, std::vector<double>{0, 1, 0}, std::vector<double>{-1, 3, -2}, out);
  EXPECT_DOUBLE_EQ(out[0], 1 + -2.0 / (3 * 3));
  EXPECT_DOUBLE_EQ(out[1], 1 + 1.0 / (3 * 2));
  EXPECT_DOUBLE_EQ(out[2], 1 + 1.0 / (3 * 2));
  auto p = couple_probabilities(3, {0, 0.9, 0.8, 0.1, 0, 0.4, 0.2, 0.6, 0});
  EXPECT_NEAR(p[0] + p[1] + p[2], 1, 1e-12);
  EXPECT_GT(p[0], p[2]);
  EXPECT_GT(p[2], p[1]);
}

NodeId near_by(TreeMaker& m, double neighbours, const char* weights, std::vector<double> classes = {0, 1, 1, 2}) {
  return m.object("sklearn.neighbors._classification.KNeighborsClassifier",
                  {{"_fit_X", m.array({4, 1}, {0, 1, 1, 3})},
                   {"_y", m.array({4}, std::move(classes), 'i')},
                   {"classes_", m.array({3}, {10, 20, 30}, 'i')},
                   {"n_neighbors", m.real(neighbours)},
                   {"weights", m.text(weights)},
                   {"effective_metric_", m.text("euclidean")}});
}

TEST(Estimators, NeighboursNearTiesAndDistancesOfZero) {
  Models m;
  auto e = m.estimator(near_by(m, 2, "uniform"));
  ASSERT_TRUE(e) << e.error().message;
  EXPECT_EQ(values((*e)->predict(rows_of(1, {0.4, 2}))), (std::vector<double>{10, 20}));
  // 2 is as far from 1, 1 and 3: the earlier rows come first.
  EXPECT_EQ(values((*e)->predict_proba(rows_of(1, {2}))), (std::vector<double>{0, 1, 0}));
  Models w;
  auto weighted = w.estimator(near_by(w, 3, "distance"));
  EXPECT_EQ(values((*weighted)->predict_proba(rows_of(1, {0}))), (std::vector<double>{1, 0, 0}));  // itself alone
  auto p = values((*weighted)->predict_proba(rows_of(1, {0.25})));
  double own = 1 / 0.25;
  double other = 1 / 0.75;
  EXPECT_DOUBLE_EQ(p[0], own / (own + 2 * other));
  auto refused = [](double neighbours, std::vector<double> classes) {
    Models h;
    return error_of(h.estimator(near_by(h, neighbours, "uniform", std::move(classes))));
  };
  EXPECT_NE(refused(5, {0, 1, 1, 2}), "");
  EXPECT_NE(refused(0, {0, 1, 1, 2}), "");
  EXPECT_NE(refused(2, {0, 1, 1, 3}), "");
  EXPECT_NE(refused(2, {0, 1, 1, -1}), "");
  EXPECT_NE(refused(2, {0, 1, 1, 0.5}), "");
}

TEST(Estimators, CategoriesThatWereNotFitted) {
  Models m;
  auto e = m.estimator(m.object("sklearn.naive_bayes.CategoricalNB",
                                {{"classes_", m.array({2}, {0, 1}, 'i')},
                                 {"class_log_prior_", m.array({2}, {-1, -2})},
                                 {"feature_log_prob_", m.list({m.array({2, 3}, {-1, -2, -3, -4, -1, -6})})}}));
  ASSERT_TRUE(e) << e.error().message;
  EXPECT_EQ(values((*e)->predict(rows_of(1, {0, 1}))), (std::vector<double>{0, 0}));
  for (double wrong : {3.0, -1.0})
    EXPECT_EQ(error_of((*e)->predict(rows_of(1, {wrong}))),
              "column #0 has a category that the model was not fitted with; it knows 0 to 2");
}

TEST(Estimators, NetworksWhoseLayersDoNotFollow) {
  auto make = [](std::vector<std::int64_t> second, std::size_t bias) {
    Models m;
    const auto size = static_cast<std::size_t>(second[0] * second[1]);
    return error_of(m.estimator(m.object(
        "sklearn.neural_network._multilayer_perceptron.MLPRegressor",
        {{"activation", m.text("relu")},
         {"out_activation_", m.text("identity")},
         {"coefs_", m.list({m.array({1, 2}, {1, -1}), m.array(second, std::vector<double>(size, 1))})},
         {"intercepts_", m.list({m.array({2}, {0, 0}),
                                 m.array({static_cast<std::int64_t>(bias)}, std::vector<double>(bias, 0.5))})}})));
  };
  EXPECT_EQ(make({2, 1}, 1), "");
  EXPECT_NE(make({3, 1}, 1), "");
  EXPECT_NE(make({2, 1}, 2), "");
  EXPECT_NE(make({2, 0}, 0), "");
}

TEST(Estimators, IsotonicOutsideOfItsRange) {
  Isotonic i{{0, 1, 3}, {1, 2, 8}, Isotonic::Outside::clip};
  EXPECT_EQ(i.at(-5).value(), 1);
  EXPECT_EQ(i.at(1).value(), 2);
  EXPECT_EQ(i.at(2).value(), 5);
  EXPECT_EQ(i.at(9).value(), 8);
  i.outside = Isotonic::Outside::nan;
  EXPECT_TRUE(std::isnan(i.at(9).value()));
  i.outside = Isotonic::Outside::refuse;
  EXPECT_FALSE(i.at(9));
}

TEST(Estimators, OneAgainstTheRestBreaksTiesAsItsVersion) {
  auto answers = [](const char* version) {
    Models m;
    auto binarizer = m.object("sklearn.preprocessing._label.LabelBinarizer",
                              {{"classes_", m.texts({"a", "b", "c"})}, {"y_type_", m.text("multiclass")}});
    auto e =
        m.estimator(m.object("sklearn.multiclass.OneVsRestClassifier",
                             {{"estimators_", m.list({logistic(m, {1}, 0), logistic(m, {1}, 0), logistic(m, {-1}, 0)})},
                              {"label_binarizer_", binarizer}}),
                    version);
    return e ? (*e)->predict(rows_of(1, {1, -1, 0}))->texts : std::vector<std::string>{e.error().message};
  };
  EXPECT_EQ(answers("1.7.2"), (std::vector<std::string>{"b", "c", "c"}));
  EXPECT_EQ(answers("1.8.0"), (std::vector<std::string>{"a", "c", "a"}));
}

TEST(Estimators, CalibratorsThatSayNothingShareAlike) {
  Models m;
  auto flat = [&] {
    return m.object("sklearn.isotonic.IsotonicRegression", {{"X_thresholds_", m.array({2}, {0, 1})},
                                                            {"y_thresholds_", m.array({2}, {0, 0})},
                                                            {"out_of_bounds", m.text("clip")}});
  };
  auto inner =
      m.object("sklearn.linear_model._logistic.LogisticRegression", {{"coef_", m.array({3, 1}, {1, 2, 3})},
                                                                     {"intercept_", m.array({3}, {0, 0, 0})},
                                                                     {"classes_", m.array({3}, {0, 1, 2}, 'i')}});
  auto one = m.object("sklearn.calibration._CalibratedClassifier",
                      {{"estimator", inner}, {"calibrators", m.list({flat(), flat(), flat()})}});
  auto e =
      m.estimator(m.object("sklearn.calibration.CalibratedClassifierCV",
                           {{"classes_", m.array({3}, {0, 1, 2}, 'i')}, {"calibrated_classifiers_", m.list({one})}}));
  ASSERT_TRUE(e) << e.error().message;
  EXPECT_EQ(values((*e)->predict_proba(rows_of(1, {1}))), (std::vector<double>(3, 1.0 / 3)));
}

TEST(Estimators, ChainsNeedAnOrderOfTheirEstimators) {
  auto make = [](std::vector<double> order, std::size_t second) {
    Models m;
    auto ridge = [&](std::size_t n) {
      return m.object(
          "sklearn.linear_model._ridge.Ridge",
          {{"coef_", m.array({static_cast<std::int64_t>(n)}, std::vector<double>(n, 1))}, {"intercept_", m.real(1)}});
    };
    auto e =
        m.estimator(m.object("sklearn.multioutput.RegressorChain", {{"estimators_", m.list({ridge(1), ridge(second)})},
                                                                    {"order_", m.array({2}, std::move(order), 'i')}}));
    return e ? values((*e)->predict(rows_of(1, {1}))) : std::vector<double>{};
  };
  EXPECT_EQ(make({1, 0}, 2), (std::vector<double>{4, 2}));  // 1 + 1, then 1 + 2 + 1
  EXPECT_EQ(make({0, 1}, 2), (std::vector<double>{2, 4}));
  EXPECT_TRUE(make({0, 0}, 2).empty());
  EXPECT_TRUE(make({0, 2}, 2).empty());
  EXPECT_TRUE(make({0, 1}, 3).empty());
}

// A result of statsmodels with two parameters; `model` may say more.
NodeId result(TreeMaker& m, const char* model, State more = {}) {
  auto inner = m.object("statsmodels.regression.linear_model.OLSResults",
                        {{"params", m.array({2}, {1, 2})}, {"model", m.object(model, std::move(more))}});
  return m.object("statsmodels.regression.linear_model.RegressionResultsWrapper", {{"_results", inner}});
}

TEST(Estimators, ResultsOfStatsmodels) {
  Models m;
  auto ols = m.estimator(result(m, "statsmodels.regression.linear_model.OLS"));
  ASSERT_TRUE(ols) << ols.error().message;
  EXPECT_EQ((*ols)->features(), 2U);  // a constant is a column of the request
  EXPECT_EQ(values((*ols)->predict(rows_of(2, {1, 3}))), (std::vector<double>{7}));
  Models g;
  auto family = g.object("statsmodels.genmod.families.family.Poisson",
                         {{"_link", g.object("statsmodels.genmod.families.links.log", {})}});
  auto glm = g.estimator(result(g, "statsmodels.genmod.generalized_linear_model.GLM", {{"family", family}}));
  EXPECT_EQ(values((*glm)->predict(rows_of(2, {1, 0.5}))), (std::vector<double>{std::exp(2.0)}));
  Models u;
  auto other = u.object("statsmodels.genmod.families.family.Poisson",
                        {{"_link", u.object("statsmodels.genmod.families.links.Cauchy", {})}});
  EXPECT_EQ(error_of(u.estimator(result(u, "statsmodels.genmod.generalized_linear_model.GLM", {{"family", other}}))),
            "GLM: the link 'statsmodels.genmod.families.links.Cauchy' is not read natively");
  Models t;
  EXPECT_EQ(error_of(t.estimator(result(t, "statsmodels.tsa.arima.model.ARIMA"))),
            "statsmodels' 'statsmodels.tsa.arima.model.ARIMA' is not read natively");
}

TEST(Estimators, FormulasTakeTheirColumnsByName) {
  auto with_terms = [](Models& m, std::vector<std::string> terms) {
    auto table = m.object("pandas.core.frame.DataFrame", {{"_mgr", m.list({m.texts(std::move(terms))})}});
    return result(
        m, "statsmodels.regression.linear_model.OLS",
        {{"formula", m.text("y ~ b")}, {"data", m.object("statsmodels.base.data.PandasData", {{"orig_exog", table}})}});
  };
  Models m;
  auto e = m.estimator(with_terms(m, {"Intercept", "b"}));
  ASSERT_TRUE(e) << e.error().message;
  auto in = rows_of(2, {100, 3});
  in.names = {"a", "b"};
  EXPECT_EQ(values((*e)->predict(in)), (std::vector<double>{7}));
  in.names = {"a", "c"};
  EXPECT_EQ(error_of((*e)->predict(in)), "the input has no column 'b', which the formula takes");
  Models t;
  EXPECT_EQ(error_of(t.estimator(with_terms(t, {"Intercept", "np.log(b)"}))),
            "RegressionResultsWrapper: the formula's term 'np.log(b)' is not read natively");
  Models n;
  EXPECT_EQ(error_of(n.estimator(with_terms(n, {"Intercept", "b", "c"}))),
            "RegressionResultsWrapper: the formula's terms are not known");
}

TEST(Estimators, NestingIsBounded) {
  Models m;
  auto inner = logistic(m, {1}, 0);
  for (int i = 0; i < 100; ++i) inner = m.object("sklearn.frozen._frozen.FrozenEstimator", {{"estimator", inner}});
  EXPECT_EQ(error_of(m.estimator(inner)), "estimators are nested too deep");
}

}  // namespace
}  // namespace mr::serving
