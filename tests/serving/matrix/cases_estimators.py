"""Support vectors, neighbours, Bayes, networks, clusters, the rest of the linear models, and estimators of estimators."""

from declare import Case, new

LINEAR = "sklearn.linear_model."
SHARES = ("predict", "predict_proba")
SCORES = ("predict", "decision_function")
ALL = ("predict", "predict_proba", "decision_function")
MAP = ("predict", "transform")


def of(path, **parameters):
    return lambda: new(path, **parameters)


def seeded(path, **parameters):
    return of(path, random_state=3, **parameters)


def logistic(**parameters):
    return new(LINEAR + "LogisticRegression", max_iter=300, **parameters)


def scaled(estimator):
    return new(
        "sklearn.pipeline.make_pipeline",
        new("sklearn.preprocessing.StandardScaler"),
        estimator,
    )


def tree(kind="Classifier"):
    return new(f"sklearn.tree.DecisionTree{kind}", max_depth=4, random_state=3)


def three_classifiers():
    return [
        ("lr", scaled(logistic())),
        ("nb", new("sklearn.naive_bayes.GaussianNB")),
        ("tree", tree()),
    ]


def three_regressors():
    return [
        ("ridge", new(LINEAR + "Ridge")),
        ("near", new("sklearn.neighbors.KNeighborsRegressor")),
        ("tree", tree("Regressor")),
    ]


def log_loss():
    import sklearn

    return "log" if sklearn.__version__ < "1.1" else "log_loss"


def halving():
    from sklearn.experimental import enable_halving_search_cv  # noqa: F401

    return new("sklearn.model_selection.HalvingGridSearchCV", logistic(), {"C": [0.1, 1]}, cv=3)


def frozen():
    from datasets import small_three

    x, y, _ = small_three()
    return new("sklearn.frozen.FrozenEstimator", logistic().fit(x, y))


def log_target():
    import numpy

    return new(
        "sklearn.compose.TransformedTargetRegressor",
        new(LINEAR + "LinearRegression"),
        func=numpy.log1p,
        inverse_func=numpy.expm1,
    )


def scaled_target(path, **parameters):
    return lambda: new(
        "sklearn.compose.TransformedTargetRegressor",
        new(LINEAR + "LinearRegression"),
        transformer=new(path, **parameters),
    )


REGRESSORS = [
    "Lasso",
    "ElasticNet",
    "Lars",
    "LassoLars",
    "LassoLarsIC",
    "OrthogonalMatchingPursuit",
    "HuberRegressor",
    "BayesianRidge",
    "ARDRegression",
    "SGDRegressor",
    "PassiveAggressiveRegressor",
]

CASES = [
    # ---- linear models that need no scaler before them ----
    *(Case(f"linear_{name}", of(LINEAR + name), "small_regression") for name in REGRESSORS),
    Case(
        "linear_theil_sen",
        seeded(LINEAR + "TheilSenRegressor", max_subpopulation=500),
        "small_regression",
    ),
    Case("linear_ransac", seeded(LINEAR + "RANSACRegressor"), "small_regression"),
    Case(
        "linear_quantile",
        of(LINEAR + "QuantileRegressor", solver="highs", alpha=0.01),
        "small_regression",
    ),
    Case("linear_svr", seeded("sklearn.svm.LinearSVR"), "small_regression"),
    Case(
        "linear_multi_task",
        of(LINEAR + "MultiTaskElasticNet", alpha=0.1),
        "two_targets",
    ),
    Case("linear_poisson", lambda: scaled(new(LINEAR + "PoissonRegressor")), "counts"),
    Case("linear_gamma", lambda: scaled(new(LINEAR + "GammaRegressor")), "positive"),
    Case(
        "linear_tweedie",
        lambda: scaled(new(LINEAR + "TweedieRegressor", power=1.5)),
        "positive",
    ),
    Case(
        "linear_tweedie_normal",
        lambda: scaled(new(LINEAR + "TweedieRegressor", power=0)),
        "positive",
    ),
    Case("linear_decisions_two", lambda: scaled(logistic()), "two_classes", ALL),
    Case("linear_decisions_three", lambda: scaled(logistic()), "three_classes", ALL),
    Case(
        "linear_ovr",
        lambda: logistic(multi_class="ovr"),
        "small_three",
        ALL,
        until=(1, 7),
    ),
    Case(
        "linear_multinomial_two",
        lambda: logistic(multi_class="multinomial"),
        "small_numbers",
        ALL,
        until=(1, 7),
    ),
    Case(
        "linear_cv",
        of(LINEAR + "LogisticRegressionCV", cv=3, max_iter=300),
        "small_three",
        ALL,
    ),
    Case(
        "linear_sgd_log",
        lambda: new(LINEAR + "SGDClassifier", loss=log_loss(), random_state=3),
        "small_three",
        ALL,
    ),
    Case(
        "linear_sgd_huber",
        seeded(LINEAR + "SGDClassifier", loss="modified_huber"),
        "small_three",
        ALL,
    ),
    Case("linear_svc", seeded("sklearn.svm.LinearSVC"), "small_three", SCORES),
    Case("linear_ridge_classes", of(LINEAR + "RidgeClassifier"), "small_three", SCORES),
    Case("linear_perceptron", of(LINEAR + "Perceptron"), "small_three", SCORES),
    Case("linear_outliers", seeded(LINEAR + "SGDOneClassSVM"), "small_regression", SCORES),
    # ---- support vector machines ----
    *(
        Case(f"svc_{kernel}", of("sklearn.svm.SVC", kernel=kernel), "small_three", SCORES)
        for kernel in ("linear", "poly", "rbf", "sigmoid")
    ),
    Case("svc_two", of("sklearn.svm.SVC"), "small_numbers", SCORES),
    Case("svc_shares", seeded("sklearn.svm.SVC", probability=True), "small_three", ALL),
    Case(
        "svc_pairs",
        of("sklearn.svm.SVC", decision_function_shape="ovo"),
        "small_three",
        SCORES,
    ),
    Case("svc_ties", of("sklearn.svm.SVC", break_ties=True), "small_three", SCORES),
    Case("nu_svc", of("sklearn.svm.NuSVC", nu=0.3), "small_three", SCORES),
    Case("svr", of("sklearn.svm.SVR"), "small_regression"),
    Case("nu_svr", of("sklearn.svm.NuSVR", kernel="poly"), "small_regression"),
    Case(
        "one_class_svm",
        of("sklearn.svm.OneClassSVM", nu=0.1),
        "small_regression",
        SCORES,
    ),
    # ---- neighbours; exact distances, since the sums by matrix products of "brute" keep fewer digits ----
    Case(
        "near_classes",
        of("sklearn.neighbors.KNeighborsClassifier"),
        "small_three",
        SHARES,
        rows=300,
    ),
    Case(
        "near_weighted",
        of(
            "sklearn.neighbors.KNeighborsClassifier",
            weights="distance",
            algorithm="kd_tree",
        ),
        "small_three",
        SHARES,
        rows=300,
    ),
    Case(
        "near_manhattan",
        of(
            "sklearn.neighbors.KNeighborsRegressor",
            p=1,
            weights="distance",
            algorithm="ball_tree",
        ),
        "small_regression",
        rows=300,
    ),
    Case(
        "near_minkowski",
        of("sklearn.neighbors.KNeighborsRegressor", p=3),
        "small_regression",
        rows=300,
    ),
    Case(
        "near_cosine",
        of("sklearn.neighbors.KNeighborsClassifier", metric="cosine", algorithm="brute"),
        "small_three",
        SHARES,
        rows=300,
    ),
    Case(
        "near_radius",
        of("sklearn.neighbors.RadiusNeighborsRegressor", radius=9.0),
        "small_regression",
        rows=300,
    ),
    Case("near_centroid", of("sklearn.neighbors.NearestCentroid"), "small_three"),
    # ---- Bayes ----
    Case("bayes_gaussian", of("sklearn.naive_bayes.GaussianNB"), "three_classes", SHARES),
    *(
        Case(
            f"bayes_{name.lower()}",
            of(f"sklearn.naive_bayes.{name}"),
            "not_negative",
            SHARES,
        )
        for name in ("MultinomialNB", "ComplementNB")
    ),
    Case(
        "bayes_bernoulli",
        of("sklearn.naive_bayes.BernoulliNB", binarize=1.0),
        "not_negative",
        SHARES,
    ),
    Case(
        "bayes_categories",
        of("sklearn.naive_bayes.CategoricalNB", min_categories=40),
        "not_negative",
        SHARES,
    ),
    Case(
        "lda",
        of("sklearn.discriminant_analysis.LinearDiscriminantAnalysis"),
        "small_three",
        (*ALL, "transform"),
    ),
    Case(
        "lda_two",
        of("sklearn.discriminant_analysis.LinearDiscriminantAnalysis"),
        "small_numbers",
        ALL,
    ),
    Case(
        "lda_eigen",
        of(
            "sklearn.discriminant_analysis.LinearDiscriminantAnalysis",
            solver="eigen",
            shrinkage="auto",
        ),
        "small_three",
        (*ALL, "transform"),
    ),
    Case(
        "qda",
        of("sklearn.discriminant_analysis.QuadraticDiscriminantAnalysis"),
        "small_three",
        ALL,
    ),
    Case(
        "qda_two",
        of("sklearn.discriminant_analysis.QuadraticDiscriminantAnalysis"),
        "small_numbers",
        ALL,
    ),
    # ---- networks, clusters, others ----
    Case(
        "network_classes",
        seeded(
            "sklearn.neural_network.MLPClassifier",
            hidden_layer_sizes=(12, 8),
            max_iter=40,
        ),
        "small_three",
        SHARES,
    ),
    Case(
        "network_two",
        seeded(
            "sklearn.neural_network.MLPClassifier",
            activation="tanh",
            solver="sgd",
            max_iter=40,
        ),
        "small_numbers",
        SHARES,
    ),
    Case(
        "network_regression",
        seeded(
            "sklearn.neural_network.MLPRegressor",
            activation="logistic",
            solver="lbfgs",
            max_iter=60,
        ),
        "small_regression",
    ),
    Case(
        "k_means",
        seeded("sklearn.cluster.KMeans", n_clusters=5, n_init=3),
        "small_three",
        MAP,
    ),
    Case(
        "k_means_batches",
        seeded("sklearn.cluster.MiniBatchKMeans", n_clusters=5, n_init=3),
        "small_three",
        MAP,
    ),
    Case(
        "k_means_halves",
        seeded("sklearn.cluster.BisectingKMeans", n_clusters=5),
        "small_three",
        MAP,
        since=(1, 1),
    ),
    *(
        Case(
            f"mixture_{form}",
            seeded("sklearn.mixture.GaussianMixture", n_components=3, covariance_type=form),
            "small_three",
            SHARES,
        )
        for form in ("full", "tied", "diag", "spherical")
    ),
    Case("pls", of("sklearn.cross_decomposition.PLSRegression"), "two_targets", MAP),
    Case(
        "pls_canonical",
        of("sklearn.cross_decomposition.PLSCanonical"),
        "two_targets",
        MAP,
    ),
    Case("cca", of("sklearn.cross_decomposition.CCA"), "two_targets", MAP),
    Case(
        "kernel_ridge",
        of("sklearn.kernel_ridge.KernelRidge", kernel="rbf", alpha=0.5),
        "small_regression",
        rows=300,
    ),
    Case("dummy_classes", of("sklearn.dummy.DummyClassifier"), "text_labels", SHARES),
    Case(
        "dummy_median",
        of("sklearn.dummy.DummyRegressor", strategy="median"),
        "regression",
    ),
    # ---- estimators of estimators ----
    Case(
        "vote_hard",
        lambda: new("sklearn.ensemble.VotingClassifier", three_classifiers()),
        "text_labels",
    ),
    Case(
        "vote_soft",
        lambda: new(
            "sklearn.ensemble.VotingClassifier",
            three_classifiers(),
            voting="soft",
            weights=[1, 2, 0.5],
        ),
        "three_classes",
        SHARES,
    ),
    Case(
        "vote_mean",
        lambda: new("sklearn.ensemble.VotingRegressor", three_regressors(), weights=[3, 1, 1]),
        "small_regression",
        rows=300,
    ),
    Case(
        "stack_classes",
        lambda: new("sklearn.ensemble.StackingClassifier", three_classifiers(), logistic(), cv=3),
        "text_labels",
        ALL,
    ),
    Case(
        "stack_two",
        lambda: new("sklearn.ensemble.StackingClassifier", three_classifiers(), logistic(), cv=3),
        "two_classes",
        ALL,
    ),
    Case(
        "stack_regression",
        lambda: new(
            "sklearn.ensemble.StackingRegressor",
            three_regressors(),
            cv=3,
            passthrough=True,
        ),
        "small_regression",
        rows=300,
    ),
    *(
        Case(
            f"calibrated_{method}_{'each' if each else 'one'}",
            lambda method=method, each=each: new(
                "sklearn.calibration.CalibratedClassifierCV",
                scaled(logistic()),
                method=method,
                cv=3,
                ensemble=each,
            ),
            "three_classes",
            SHARES,
        )
        for method in ("sigmoid", "isotonic")
        for each in (True, False)
    ),
    Case(
        "calibrated_shares",
        lambda: new(
            "sklearn.calibration.CalibratedClassifierCV",
            new("sklearn.naive_bayes.GaussianNB"),
            cv=3,
        ),
        "two_classes",
        SHARES,
    ),
    Case(
        "calibrated_temperature",
        lambda: new(
            "sklearn.calibration.CalibratedClassifierCV",
            logistic(),
            method="temperature",
            cv=3,
        ),
        "small_three",
        SHARES,
        since=(1, 8),
    ),
    Case(
        "ovr",
        lambda: new("sklearn.multiclass.OneVsRestClassifier", logistic()),
        "small_three",
        ALL,
    ),
    Case(
        "ovr_trees",
        lambda: new("sklearn.multiclass.OneVsRestClassifier", tree()),
        "small_three",
        SHARES,
    ),
    Case(
        "ovo",
        lambda: new("sklearn.multiclass.OneVsOneClassifier", logistic()),
        "small_three",
        SCORES,
    ),
    Case(
        "output_code",
        lambda: new("sklearn.multiclass.OutputCodeClassifier", logistic(), random_state=3),
        "small_three",
    ),
    Case(
        "outputs",
        lambda: new("sklearn.multioutput.MultiOutputRegressor", new(LINEAR + "Lasso", alpha=0.1)),
        "two_targets",
    ),
    Case(
        "outputs_classes",
        lambda: new("sklearn.multioutput.MultiOutputClassifier", tree()),
        "two_labels",
        SHARES,
    ),
    Case(
        "near_labels",
        of("sklearn.neighbors.KNeighborsClassifier", weights="distance"),
        "two_labels",
        SHARES,
        rows=300,
    ),
    Case(
        "chain",
        lambda: new("sklearn.multioutput.RegressorChain", new(LINEAR + "Ridge"), order=[1, 0]),
        "two_targets",
    ),
    Case("target_log", log_target, "counts"),
    Case(
        "target_scaled",
        scaled_target("sklearn.preprocessing.MinMaxScaler"),
        "small_regression",
    ),
    Case(
        "target_power",
        scaled_target("sklearn.preprocessing.PowerTransformer"),
        "small_regression",
    ),
    Case(
        "target_quantiles",
        scaled_target(
            "sklearn.preprocessing.QuantileTransformer",
            n_quantiles=100,
            output_distribution="normal",
        ),
        "small_regression",
    ),
    Case(
        "search_grid",
        lambda: new(
            "sklearn.model_selection.GridSearchCV",
            scaled(logistic()),
            {"logisticregression__C": [0.1, 1]},
            cv=3,
            scoring="f1_macro",
        ),
        "three_classes",
        ALL,
    ),
    Case("search_halving", halving, "small_numbers", ALL),
    Case(
        "threshold_fixed",
        lambda: new(
            "sklearn.model_selection.FixedThresholdClassifier",
            logistic(),
            threshold=0.7,
        ),
        "small_numbers",
        ALL,
        since=(1, 5),
    ),
    Case(
        "threshold_tuned",
        lambda: new("sklearn.model_selection.TunedThresholdClassifierCV", logistic(), cv=3),
        "small_numbers",
        SHARES,
        since=(1, 5),
    ),
    Case("frozen", frozen, "small_three", ALL, since=(1, 6)),
]
