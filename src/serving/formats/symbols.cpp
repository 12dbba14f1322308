// The names that a model file may hold, by module: what an engine reads, and what stands beside it without being
// needed.
#include "serving/formats/tree.h"

namespace mr::serving {

Result<> check_symbol(const std::string& module, const std::string& name) {
  static const std::set<std::string> known = [] {
    std::set<std::string> s;
    auto add = [&](const char* mod, std::initializer_list<const char*> names) {
      for (const char* n : names) s.insert(std::string(mod) + "." + n);
    };
    for (const char* m : {"numpy.core.multiarray", "numpy._core.multiarray"}) add(m, {"_reconstruct", "scalar"});
    for (const char* m : {"numpy.core.numeric", "numpy._core.numeric"}) add(m, {"_frombuffer"});
    add("numpy", {"ndarray", "dtype", "float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8",
                  "uint16", "uint32", "uint64", "bool_", "bool", "str_", "object_"});
    add("numpy.dtypes", {"Float64DType", "Float32DType", "Int64DType"});
    for (const char* m : {"builtins", "__builtin__"})
      add(m, {"bytes", "bytearray", "object", "list", "dict", "set", "tuple", "frozenset", "slice", "complex", "int",
              "float", "str", "bool"});
    for (const char* m : {"copyreg", "copy_reg"}) add(m, {"_reconstructor"});
    add("_codecs", {"encode"});
    add("collections", {"OrderedDict", "defaultdict"});
    add("joblib.numpy_pickle", {"NumpyArrayWrapper"});
    add("numpy.random._pickle", {"__randomstate_ctor", "__bit_generator_ctor", "__generator_ctor"});
    add("numpy.random._mt19937", {"MT19937"});
    add("numpy.random._pcg64", {"PCG64"});
    add("sklearn.linear_model._logistic", {"LogisticRegression", "LogisticRegressionCV"});
    add("sklearn.linear_model._base", {"LinearRegression"});
    add("sklearn.linear_model._ridge", {"Ridge", "RidgeClassifier", "RidgeCV", "RidgeClassifierCV"});
    add("sklearn.linear_model._coordinate_descent",
        {"Lasso", "ElasticNet", "LassoCV", "ElasticNetCV", "MultiTaskLasso", "MultiTaskLassoCV", "MultiTaskElasticNet",
         "MultiTaskElasticNetCV"});
    add("sklearn.linear_model._stochastic_gradient", {"SGDClassifier", "SGDRegressor", "SGDOneClassSVM"});
    add("sklearn.linear_model._perceptron", {"Perceptron"});
    add("sklearn.linear_model._passive_aggressive", {"PassiveAggressiveClassifier", "PassiveAggressiveRegressor"});
    add("sklearn.linear_model._huber", {"HuberRegressor"});
    for (const char* m : {"sklearn._loss._loss", "_loss"})
      add(m, {"CyHalfPoissonLoss", "CyHalfGammaLoss", "CyHalfTweedieLoss", "CyHalfTweedieLossIdentity",
              "__pyx_unpickle_CyHalfPoissonLoss", "__pyx_unpickle_CyHalfGammaLoss", "__pyx_unpickle_CyHalfTweedieLoss",
              "__pyx_unpickle_CyHalfTweedieLossIdentity"});
    add("sklearn._loss.loss", {"HalfPoissonLoss", "HalfGammaLoss", "HalfTweedieLoss", "HalfTweedieLossIdentity"});
    add("sklearn.linear_model._glm.link", {"LogLink", "IdentityLink"});
    add("sklearn._loss.glm_distribution",
        {"PoissonDistribution", "GammaDistribution", "TweedieDistribution", "DistributionBoundary"});
    add("sklearn.svm._classes", {"SVC", "NuSVC", "SVR", "NuSVR", "OneClassSVM"});
    for (const char* m : {"scipy.sparse", "scipy.sparse.csr", "scipy.sparse._csr"}) add(m, {"csr_matrix", "csr_array"});
    add("sklearn.neighbors._classification", {"KNeighborsClassifier", "RadiusNeighborsClassifier"});
    add("sklearn.neighbors._regression", {"KNeighborsRegressor", "RadiusNeighborsRegressor"});
    add("sklearn.neighbors._nearest_centroid", {"NearestCentroid"});
    add("sklearn.naive_bayes", {"GaussianNB", "MultinomialNB", "ComplementNB", "BernoulliNB", "CategoricalNB"});
    add("sklearn.discriminant_analysis", {"LinearDiscriminantAnalysis", "QuadraticDiscriminantAnalysis"});
    add("sklearn.neighbors._ball_tree", {"BallTree", "BallTree64", "newObj"});
    add("sklearn.neighbors._kd_tree", {"KDTree", "KDTree64", "newObj"});
    add("sklearn.metrics._dist_metrics",
        {"newObj", "EuclideanDistance", "EuclideanDistance64", "ManhattanDistance", "ManhattanDistance64",
         "ChebyshevDistance", "ChebyshevDistance64", "MinkowskiDistance", "MinkowskiDistance64", "CanberraDistance",
         "CanberraDistance64", "BrayCurtisDistance", "BrayCurtisDistance64", "HammingDistance", "HammingDistance64"});
    add("sklearn.neural_network._multilayer_perceptron", {"MLPClassifier", "MLPRegressor"});
    add("sklearn.neural_network._stochastic_optimizers", {"AdamOptimizer", "SGDOptimizer"});
    add("sklearn.cluster._kmeans", {"KMeans", "MiniBatchKMeans", "_kmeans_single_lloyd", "_kmeans_single_elkan"});
    add("sklearn.cluster._mean_shift", {"MeanShift"});
    add("sklearn.cluster._affinity_propagation", {"AffinityPropagation"});
    add("sklearn.cluster._birch", {"Birch", "_CFNode", "_CFSubcluster"});
    add("sklearn.cluster._agglomerative", {"FeatureAgglomeration"});
    add("numpy", {"mean"});
    for (const char* m : {"numpy.core.fromnumeric", "numpy._core.fromnumeric"}) add(m, {"mean"});
    add("sklearn.mixture._bayesian_mixture", {"BayesianGaussianMixture"});
    add("sklearn.covariance._elliptic_envelope", {"EllipticEnvelope"});
    add("sklearn.neighbors._lof", {"LocalOutlierFactor"});
    add("sklearn.neighbors._nca", {"NeighborhoodComponentsAnalysis"});
    add("sklearn.neural_network._rbm", {"BernoulliRBM"});
    add("sklearn.gaussian_process._gpr", {"GaussianProcessRegressor"});
    add("sklearn.gaussian_process._gpc", {"GaussianProcessClassifier", "_BinaryGaussianProcessClassifierLaplace"});
    add("sklearn.gaussian_process.kernels", {"ConstantKernel", "WhiteKernel", "RBF", "Matern", "RationalQuadratic",
                                             "ExpSineSquared", "DotProduct", "Sum", "Product", "Exponentiation"});
    add("sklearn.cluster._bisect_k_means", {"BisectingKMeans", "_BisectingTree"});
    add("sklearn.mixture._gaussian_mixture", {"GaussianMixture"});
    add("sklearn.cross_decomposition._pls", {"PLSRegression", "PLSCanonical", "PLSSVD", "CCA"});
    add("sklearn.kernel_ridge", {"KernelRidge"});
    add("sklearn.isotonic", {"IsotonicRegression"});
    add("sklearn.dummy", {"DummyClassifier", "DummyRegressor"});
    add("sklearn.ensemble._voting", {"VotingClassifier", "VotingRegressor"});
    add("sklearn.ensemble._stacking", {"StackingClassifier", "StackingRegressor"});
    add("sklearn.calibration",
        {"CalibratedClassifierCV", "_CalibratedClassifier", "_SigmoidCalibration", "_TemperatureScaling"});
    add("sklearn.multiclass",
        {"OneVsRestClassifier", "OneVsOneClassifier", "OutputCodeClassifier", "_ConstantPredictor"});
    add("sklearn.multioutput", {"MultiOutputClassifier", "MultiOutputRegressor", "ClassifierChain", "RegressorChain"});
    add("sklearn.compose._target", {"TransformedTargetRegressor"});
    add("sklearn.model_selection._search", {"GridSearchCV", "RandomizedSearchCV"});
    add("sklearn.model_selection._search_successive_halving", {"HalvingGridSearchCV", "HalvingRandomSearchCV"});
    add("sklearn.model_selection._classification_threshold",
        {"FixedThresholdClassifier", "TunedThresholdClassifierCV"});
    add("sklearn.model_selection._split",
        {"KFold", "StratifiedKFold", "ShuffleSplit", "StratifiedShuffleSplit", "RepeatedKFold",
         "RepeatedStratifiedKFold", "GroupKFold", "LeaveOneOut", "TimeSeriesSplit", "PredefinedSplit"});
    add("sklearn.semi_supervised._self_training", {"SelfTrainingClassifier"});
    add("sklearn.frozen._frozen", {"FrozenEstimator"});
    add("sklearn.utils._bunch", {"Bunch"});
    add("sklearn.utils", {"Bunch"});
    add("numpy.ma", {"MaskedArray"});
    // Tables, of which only the columns' names are read.
    add("pandas", {"DataFrame", "Series", "Index", "RangeIndex", "MultiIndex", "StringDtype"});
    add("pandas.arrays", {"StringArray"});
    add("pandas.core.frame", {"DataFrame"});
    add("pandas.core.series", {"Series"});
    add("pandas.core.indexes.base", {"Index", "_new_Index"});
    add("pandas.core.indexes.range", {"RangeIndex"});
    add("pandas.core.indexes.multi", {"MultiIndex"});
    add("pandas.core.indexes.numeric", {"Int64Index", "Float64Index"});
    add("pandas.core.internals.managers", {"BlockManager", "SingleBlockManager"});
    add("pandas._libs.internals", {"_unpickle_block"});
    add("pandas._libs.arrays", {"__pyx_unpickle_NDArrayBacked"});
    add("numpy.ma.core", {"MaskedArray", "_mareconstruct"});
    add("sklearn.model_selection._classification_threshold", {"_CurveScorer"});
    add("sklearn.linear_model._theil_sen", {"TheilSenRegressor"});
    add("sklearn.linear_model._quantile", {"QuantileRegressor"});
    add("sklearn.linear_model._ransac", {"RANSACRegressor"});
    add("sklearn.linear_model._least_angle", {"Lars", "LarsCV", "LassoLars", "LassoLarsCV", "LassoLarsIC"});
    add("sklearn.linear_model._omp", {"OrthogonalMatchingPursuit", "OrthogonalMatchingPursuitCV"});
    for (const char* m : {"sklearn.linear_model._glm.glm", "sklearn.linear_model._glm._glm"})
      add(m, {"PoissonRegressor", "GammaRegressor", "TweedieRegressor"});
    add("sklearn.linear_model._bayes", {"BayesianRidge", "ARDRegression"});
    add("sklearn.svm._classes", {"LinearSVC", "LinearSVR"});
    add("sklearn.preprocessing._data", {"StandardScaler", "MinMaxScaler", "MaxAbsScaler", "RobustScaler", "Normalizer",
                                        "Binarizer", "PowerTransformer", "QuantileTransformer", "PolynomialFeatures"});
    add("sklearn.preprocessing._polynomial", {"PolynomialFeatures", "SplineTransformer"});
    add("sklearn.preprocessing._discretization", {"KBinsDiscretizer"});
    add("sklearn.preprocessing._encoders", {"OneHotEncoder", "OrdinalEncoder"});
    add("sklearn.preprocessing._target_encoder", {"TargetEncoder"});
    add("sklearn.preprocessing._function_transformer", {"FunctionTransformer"});
    add("sklearn.compose._column_transformer", {"ColumnTransformer", "_RemainderColsList", "make_column_selector"});
    add("sklearn.impute._base", {"SimpleImputer", "MissingIndicator"});
    add("sklearn.impute._knn", {"KNNImputer"});
    add("sklearn.impute._iterative", {"IterativeImputer", "_ImputerTriplet"});
    add("sklearn.feature_extraction.text",
        {"CountVectorizer", "TfidfVectorizer", "TfidfTransformer", "HashingVectorizer"});
    add("sklearn.decomposition._pca", {"PCA"});
    add("sklearn.decomposition._incremental_pca", {"IncrementalPCA"});
    add("sklearn.decomposition._truncated_svd", {"TruncatedSVD"});
    add("sklearn.decomposition._fastica", {"FastICA"});
    add("sklearn.decomposition._nmf", {"NMF"});
    add("sklearn.decomposition._lda", {"LatentDirichletAllocation"});
    add("sklearn.semi_supervised._label_propagation", {"LabelPropagation", "LabelSpreading"});
    add("sklearn.neighbors._unsupervised", {"NearestNeighbors"});
    add("sklearn.decomposition._factor_analysis", {"FactorAnalysis"});
    add("sklearn.decomposition._kernel_pca", {"KernelPCA"});
    add("sklearn.preprocessing._data", {"KernelCenterer"});
    add("sklearn.kernel_approximation", {"Nystroem", "RBFSampler", "SkewedChi2Sampler"});
    add("sklearn.random_projection", {"GaussianRandomProjection", "SparseRandomProjection"});
    add("sklearn.feature_selection._univariate_selection",
        {"SelectKBest", "SelectPercentile", "SelectFpr", "SelectFdr", "SelectFwe", "GenericUnivariateSelect",
         "f_classif", "f_regression", "chi2", "f_oneway", "r_regression"});
    add("sklearn.feature_selection._mutual_info", {"mutual_info_classif", "mutual_info_regression"});
    add("sklearn.feature_selection._variance_threshold", {"VarianceThreshold"});
    add("sklearn.feature_selection._from_model", {"SelectFromModel"});
    add("sklearn.feature_selection._rfe", {"RFE", "RFECV"});
    add("sklearn.feature_selection._sequential", {"SequentialFeatureSelector"});
    for (const char* m : {"scipy.sparse.dia", "scipy.sparse._dia"}) add(m, {"dia_matrix", "dia_array"});
    add("scipy.interpolate._bsplines", {"BSpline"});
    for (const char* m :
         {"scipy._lib.array_api_compat.numpy._aliases", "scipy._external.array_api_compat.numpy._aliases"})
      add(m, {"asarray"});  // a spline keeps it beside its knots
    // Functions that a FunctionTransformer may name; numpy's are found in several of its modules.
    for (const char* m : {"numpy", "numpy.core._multiarray_umath", "numpy._core._multiarray_umath", "numpy.core.umath",
                          "numpy._core.umath"})
      add(m, {"log1p",   "log",      "log2",   "log10",    "exp",      "exp2",       "expm1",   "sqrt",    "cbrt",
              "square",  "absolute", "fabs",   "negative", "positive", "reciprocal", "sign",    "sin",     "cos",
              "tan",     "arcsin",   "arccos", "arctan",   "sinh",     "cosh",       "tanh",    "arcsinh", "arccosh",
              "arctanh", "floor",    "ceil",   "trunc",    "rint",     "deg2rad",    "radians", "rad2deg", "degrees"});
    for (const char* m : {"scipy.special", "scipy.special._ufuncs"}) add(m, {"expit", "logit"});
    add("sklearn.preprocessing._label", {"LabelBinarizer"});
    add("sklearn.pipeline", {"Pipeline", "FeatureUnion"});
    add("sklearn.linear_model._sgd_fast", {"Hinge", "Log", "ModifiedHuber", "SquaredHinge", "SquaredLoss", "Huber",
                                           "EpsilonInsensitive", "SquaredEpsilonInsensitive"});
    for (const char* m : {"sklearn._loss._loss", "_loss"})
      add(m, {"CyHalfBinomialLoss", "CyHalfMultinomialLoss", "CyHuberLoss", "CyHalfSquaredError", "CyAbsoluteError",
              "CyPinballLoss", "CyExponentialLoss"});
    for (const char* m : {"sklearn._loss.loss"})
      add(m, {"HalfBinomialLoss", "HalfMultinomialLoss", "HalfSquaredError"});
    for (const char* m : {"sklearn._loss.link"})
      add(m, {"LogitLink", "MultinomialLogit", "IdentityLink", "LogLink", "Interval"});
    for (const char* m : {"sklearn._loss._loss", "_loss"})
      for (const char* n : {"HalfSquaredError", "AbsoluteError", "PinballLoss", "HuberLoss", "HalfPoissonLoss",
                            "HalfGammaLoss", "HalfTweedieLoss", "HalfTweedieLossIdentity", "HalfBinomialLoss",
                            "HalfMultinomialLoss", "ExponentialLoss"}) {
        s.insert(fmt::format("{}.Cy{}", m, n));
        s.insert(fmt::format("{}.__pyx_unpickle_Cy{}", m, n));
      }
    add("functools", {"partial"});
    add("sklearn.utils.validation", {"check_array"});
    add("sklearn.tree._classes",
        {"DecisionTreeClassifier", "DecisionTreeRegressor", "ExtraTreeClassifier", "ExtraTreeRegressor"});
    add("sklearn.tree._tree", {"Tree"});
    add("sklearn.ensemble._forest", {"RandomForestClassifier", "RandomForestRegressor", "ExtraTreesClassifier",
                                     "ExtraTreesRegressor", "RandomTreesEmbedding"});
    add("sklearn.ensemble._gb", {"GradientBoostingClassifier", "GradientBoostingRegressor"});
    add("sklearn.ensemble._gb_losses",
        {"LeastSquaresError", "LeastAbsoluteError", "HuberLossFunction", "QuantileLossFunction", "BinomialDeviance",
         "MultinomialDeviance", "ExponentialLoss"});
    add("sklearn.ensemble._iforest", {"IsolationForest"});
    add("sklearn.ensemble._bagging", {"BaggingClassifier", "BaggingRegressor"});
    add("sklearn.ensemble._weight_boosting", {"AdaBoostClassifier", "AdaBoostRegressor"});
    add("sklearn.ensemble._hist_gradient_boosting.gradient_boosting",
        {"HistGradientBoostingClassifier", "HistGradientBoostingRegressor"});
    add("sklearn.ensemble._hist_gradient_boosting.predictor", {"TreePredictor"});
    add("sklearn.ensemble._hist_gradient_boosting.binning", {"_BinMapper"});
    add("sklearn.ensemble._hist_gradient_boosting.loss",
        {"LeastSquares", "LeastAbsoluteDeviation", "Poisson", "BinaryCrossEntropy", "CategoricalCrossEntropy"});
    add("sklearn._loss.loss",
        {"HuberLoss", "AbsoluteError", "PinballLoss", "ExponentialLoss", "HalfPoissonLoss", "HalfGammaLoss"});
    add("sklearn._loss.link", {"HalfLogitLink"});
    add("numpy.random.bit_generator", {"SeedSequence", "__pyx_unpickle_SeedSequence"});
    add("numpy.random.mtrand", {"RandomState"});
    add("sklearn.dummy", {"DummyClassifier", "DummyRegressor"});
    add("sklearn.preprocessing._label", {"LabelEncoder"});
    add("xgboost.sklearn", {"XGBClassifier", "XGBRegressor", "XGBRanker", "XGBRFClassifier", "XGBRFRegressor"});
    add("xgboost.core", {"Booster"});
    add("xgboost.compat", {"XGBoostLabelEncoder"});
    add("lightgbm.sklearn", {"LGBMClassifier", "LGBMRegressor", "LGBMRanker"});
    add("lightgbm.basic", {"Booster"});
    add("catboost.core", {"CatBoost", "CatBoostClassifier", "CatBoostRegressor", "CatBoostRanker"});
    return s;
  }();
  // What searches for parameters keep beside their best estimator (scores and distributions, which nothing reads), and
  // the modules of statsmodels' results.
  static const std::set<std::string> beside{"sklearn.metrics._classification",
                                            "sklearn.metrics._regression",
                                            "sklearn.metrics._ranking",
                                            "sklearn.metrics._scorer",
                                            "sklearn.metrics.cluster._supervised",
                                            "sklearn.utils._metadata_requests",
                                            "scipy.stats._continuous_distns",
                                            "scipy.stats._discrete_distns",
                                            "scipy.stats._distn_infrastructure",
                                            "statsmodels.base.data",
                                            "statsmodels.discrete.discrete_model",
                                            "statsmodels.genmod.families.family",
                                            "statsmodels.genmod.families.links",
                                            "statsmodels.genmod.families.varfuncs",
                                            "statsmodels.genmod.generalized_linear_model",
                                            "statsmodels.regression.linear_model",
                                            "statsmodels.regression.quantile_regression",
                                            "statsmodels.robust.norms",
                                            "statsmodels.robust.robust_linear_model"};
  auto full = module + "." + name;
  if (known.contains(full) || beside.contains(module)) return {};
  return fail(Code::invalid_argument, fmt::format("'{}' is not read natively", printable(full)), "symbol", full);
}

}  // namespace mr::serving
