"""Fewer columns: projections and selections, alone and before models."""

from declare import Case, new

TRANSFORM = ("transform",)
BOTH = ("predict", "predict_proba")


def decompose(name, **parameters):
    return new("sklearn.decomposition." + name, n_components=3, **parameters)


def select(name, *args, **parameters):
    return new("sklearn.feature_selection." + name, *args, **parameters)


def scorer(name):
    import sklearn.feature_selection

    return getattr(sklearn.feature_selection, name)


def pipe(*steps):
    return new("sklearn.pipeline.make_pipeline", *steps)


def scale():
    return new("sklearn.preprocessing.StandardScaler")


def logistic(**parameters):
    return new("sklearn.linear_model.LogisticRegression", **parameters)


def forest(**parameters):
    return new("sklearn.ensemble.RandomForestClassifier", n_estimators=15, random_state=1, **parameters)


def lsa():
    return pipe(
        new("sklearn.feature_extraction.text.TfidfVectorizer"), decompose("TruncatedSVD", random_state=1), logistic()
    )


CASES = [
    Case("decompose_pca", lambda: decompose("PCA"), "two_classes", TRANSFORM, tolerance=1e-11),
    Case("decompose_pca_whiten", lambda: decompose("PCA", whiten=True), "small_numbers", TRANSFORM),
    Case("decompose_pca_f32", lambda: decompose("PCA"), "float32", TRANSFORM, tolerance=1e-4),
    Case(
        "decompose_pca_model",
        lambda: pipe(scale(), decompose("PCA"), logistic()),
        "two_classes",
        BOTH,
        formats=("cloudpickle", "skops"),
    ),
    Case("decompose_incremental", lambda: decompose("IncrementalPCA", whiten=True), "small_numbers", TRANSFORM),
    Case("decompose_svd", lambda: decompose("TruncatedSVD", random_state=1), "small_numbers", TRANSFORM),
    Case(
        "decompose_kernel",
        lambda: decompose("KernelPCA", kernel="rbf", gamma=0.3),
        "small_numbers",
        TRANSFORM,
        tolerance=1e-10,
    ),
    Case(
        "decompose_kernel_poly",
        lambda: decompose("KernelPCA", kernel="poly", degree=2),
        "small_numbers",
        TRANSFORM,
        tolerance=1e-10,
    ),
    Case(
        "decompose_nystroem",
        lambda: pipe(new("sklearn.kernel_approximation.Nystroem", n_components=20, random_state=1), logistic()),
        "small_numbers",
        BOTH,
        tolerance=1e-10,
    ),
    Case(
        "decompose_waves",
        lambda: new("sklearn.kernel_approximation.RBFSampler", n_components=20, random_state=1),
        "small_numbers",
        TRANSFORM,
    ),
    Case("decompose_svd_texts", lsa, "texts", BOTH),
    Case(
        "decompose_ica",
        lambda: decompose("FastICA", random_state=1, whiten="arbitrary-variance"),
        "small_numbers",
        TRANSFORM,
        since=(1, 1),
    ),
    Case(
        "decompose_random",
        lambda: new("sklearn.random_projection.GaussianRandomProjection", n_components=3, random_state=1),
        "small_numbers",
        TRANSFORM,
    ),
    Case(
        "decompose_nmf",
        lambda: decompose("NMF", random_state=1, max_iter=500),
        "not_negative",
        TRANSFORM,
        tolerance=1e-10,
        rows=1,
    ),
    Case(
        "decompose_nmf_penalty",
        lambda: decompose("NMF", random_state=1, max_iter=5000, tol=1e-9, alpha_W=0.01, l1_ratio=0.3),
        "not_negative",
        TRANSFORM,
        tolerance=1e-6,
        since=(1, 1),
    ),
    *[
        Case(f"select_{name}", lambda n=cls, p=parameters: select(n, **p), "two_classes", TRANSFORM)
        for name, cls, parameters in [
            ("k", "SelectKBest", {"k": 3}),
            ("all", "SelectKBest", {"k": "all"}),
            ("percentile", "SelectPercentile", {"percentile": 40}),
            ("fpr", "SelectFpr", {"alpha": 0.1}),
            ("fdr", "SelectFdr", {"alpha": 0.1}),
            ("fwe", "SelectFwe", {"alpha": 0.2}),
            ("generic", "GenericUnivariateSelect", {"mode": "k_best", "param": 2}),
            ("generic_share", "GenericUnivariateSelect", {"mode": "percentile", "param": 70}),
            ("variance", "VarianceThreshold", {"threshold": 0.5}),
        ]
    ],
    Case(
        "select_information",
        lambda: select("SelectKBest", scorer("mutual_info_classif"), k=2),
        "two_classes",
        TRANSFORM,
    ),
    Case(
        "select_chi2_texts",
        lambda: pipe(
            new("sklearn.feature_extraction.text.CountVectorizer"),
            select("SelectKBest", scorer("chi2"), k=7),
            logistic(),
        ),
        "texts",
        BOTH,
    ),
    Case(
        "select_model_l1",
        lambda: pipe(
            scale(),
            select("SelectFromModel", new("sklearn.svm.LinearSVC", C=0.02, penalty="l1", dual=False, random_state=1)),
            logistic(),
        ),
        "two_classes",
        BOTH,
    ),
    Case(
        "select_model_three",
        lambda: pipe(scale(), select("SelectFromModel", logistic(), norm_order=2, threshold="0.9*median")),
        "three_classes",
        TRANSFORM,
    ),
    Case(
        "select_model_lasso",
        lambda: select("SelectFromModel", new("sklearn.linear_model.Lasso", alpha=0.5)),
        "regression",
        TRANSFORM,
    ),
    Case(
        "select_model_most",
        lambda: select("SelectFromModel", logistic(max_iter=2000), max_features=2, threshold=-float("inf")),
        "small_numbers",
        TRANSFORM,
    ),
    Case(
        "select_model_forest",
        lambda: pipe(select("SelectFromModel", forest()), logistic(max_iter=2000)),
        "small_numbers",
        BOTH,
    ),
    Case(
        "select_model_boosting",
        lambda: select(
            "SelectFromModel", new("sklearn.ensemble.GradientBoostingClassifier", n_estimators=12, random_state=1)
        ),
        "two_classes",
        TRANSFORM,
    ),
    Case(
        "select_rfe",
        lambda: select("RFE", logistic(), n_features_to_select=3),
        "small_numbers",
        (*TRANSFORM, *BOTH, "decision_function"),
    ),
    Case(
        "select_rfecv",
        lambda: pipe(select("RFECV", logistic(), min_features_to_select=2), logistic()),
        "small_numbers",
        BOTH,
    ),
    Case(
        "select_sequential",
        lambda: select("SequentialFeatureSelector", logistic(), n_features_to_select=2, cv=2),
        "small_numbers",
        TRANSFORM,
    ),
]
