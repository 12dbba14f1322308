"""The tree family: trees, forests, boosting, histogram boosting, AdaBoost, bagging, isolation forests."""

from declare import Case, new

TREE = "sklearn.tree."
ENSEMBLE = "sklearn.ensemble."
SHARES = ("predict", "predict_proba")
ALL = ("predict", "predict_proba", "decision_function")
EVERY_FORM = ("cloudpickle", "joblib", "skops", "joblib-zlib", "pickle4", "pickle5")


def fixed(path, **parameters):
    return lambda: new(path, random_state=5, **parameters)


def forest(name, **parameters):
    return fixed(ENSEMBLE + name, n_estimators=20, **parameters)


def base(estimator, **parameters):
    """The estimator under the name that the parameter has in this version."""
    import sklearn

    name = "base_estimator" if sklearn.__version__ < "1.2" else "estimator"
    return {name: estimator, **parameters}


def bagging(kind, member, **parameters):
    return lambda: new(
        ENSEMBLE + "Bagging" + kind,
        random_state=5,
        n_estimators=8,
        **base(member(), **parameters),
    )


def boosted(kind, member, **parameters):
    return lambda: new(
        ENSEMBLE + "AdaBoost" + kind,
        random_state=5,
        n_estimators=12,
        **base(member(), **parameters),
    )


def samme(**parameters):
    import sklearn

    if sklearn.__version__ < "1.6":
        parameters["algorithm"] = "SAMME"
    return new(ENSEMBLE + "AdaBoostClassifier", random_state=5, n_estimators=15, **parameters)


def linear():
    return new("sklearn.linear_model.LinearRegression")


def logistic():
    return new("sklearn.linear_model.LogisticRegression", max_iter=200)


def scaled(estimator):
    return new(
        "sklearn.pipeline.make_pipeline",
        new("sklearn.preprocessing.StandardScaler"),
        estimator,
    )


def words(estimator):
    """Behind sparse rows."""
    return new("sklearn.pipeline.make_pipeline", new("sklearn.feature_extraction.text.TfidfVectorizer"), estimator)


# What starts from a linear model computes that part in float32, as the rows are given to it.
CASES = [
    Case("tree", fixed(TREE + "DecisionTreeClassifier"), "three_classes", SHARES, formats=EVERY_FORM),
    Case("tree_texts", fixed(TREE + "DecisionTreeClassifier", max_depth=4), "text_labels", SHARES),
    Case("tree_stump", fixed(TREE + "DecisionTreeClassifier", max_depth=1), "two_classes", SHARES),
    Case("tree_leaves", fixed(TREE + "DecisionTreeClassifier", max_leaf_nodes=12), "two_classes", SHARES),
    Case("tree_weights", fixed(TREE + "DecisionTreeClassifier", class_weight="balanced", max_depth=5), "three_classes",
         SHARES),
    Case("tree_labels", fixed(TREE + "DecisionTreeClassifier"), "two_labels", SHARES),
    Case("tree_float32", fixed(TREE + "DecisionTreeClassifier"), "float32", SHARES),
    Case("tree_missing", fixed(TREE + "DecisionTreeClassifier"), "missing_three", SHARES, since=(1, 3)),
    Case("tree_missing_later", fixed(TREE + "DecisionTreeClassifier"), "missing_later", SHARES, since=(1, 3)),
    Case("tree_regression", fixed(TREE + "DecisionTreeRegressor"), "regression"),
    Case("tree_poisson", fixed(TREE + "DecisionTreeRegressor", criterion="poisson", max_depth=6), "counts"),
    Case("tree_absolute", fixed(TREE + "DecisionTreeRegressor", criterion="absolute_error", max_depth=5), "regression"),
    Case("tree_targets", fixed(TREE + "DecisionTreeRegressor"), "two_targets"),
    Case("tree_regression_missing", fixed(TREE + "DecisionTreeRegressor"), "missing_regression", since=(1, 3)),
    Case("tree_behind_scaler", lambda: scaled(new(TREE + "DecisionTreeClassifier", random_state=5)), "two_classes",
         SHARES),
    Case("extra_tree", fixed(TREE + "ExtraTreeClassifier"), "three_classes", SHARES),
    Case("extra_tree_regression", fixed(TREE + "ExtraTreeRegressor"), "regression"),
    Case("forest", forest("RandomForestClassifier"), "three_classes", SHARES, formats=EVERY_FORM),
    Case("forest_two", forest("RandomForestClassifier", max_depth=6), "two_classes", SHARES),
    Case("forest_texts", forest("RandomForestClassifier", class_weight="balanced_subsample"), "text_labels", SHARES),
    Case("forest_labels", forest("RandomForestClassifier"), "two_labels", SHARES),
    Case("forest_labels_behind", lambda: scaled(forest("ExtraTreesClassifier")()), "two_labels", SHARES),
    Case("forest_of_places", forest("RandomTreesEmbedding", max_depth=4), "three_classes", ("transform",)),
    Case("forest_of_places_model", lambda: new("sklearn.pipeline.make_pipeline", forest("RandomTreesEmbedding")(),
                                               logistic()), "two_classes", SHARES),
    Case("forest_missing", forest("RandomForestClassifier"), "missing", SHARES, since=(1, 4)),
    Case("forest_regression", forest("RandomForestRegressor"), "regression"),
    Case("forest_targets", forest("RandomForestRegressor", max_features=0.5), "two_targets"),
    Case("forest_regression_missing", forest("RandomForestRegressor"), "missing_regression", since=(1, 4)),
    Case("forest_float32", forest("RandomForestClassifier"), "float32", SHARES),
    Case("extra_trees", forest("ExtraTreesClassifier"), "three_classes", SHARES),
    Case("extra_trees_bootstrap", forest("ExtraTreesRegressor", bootstrap=True), "regression"),
    Case("extra_trees_missing", forest("ExtraTreesClassifier"), "missing", SHARES, since=(1, 6)),
    Case("forest_of_words", lambda: words(new(ENSEMBLE + "RandomForestClassifier", n_estimators=10, random_state=5)),
         "texts", SHARES),
    Case("gradient_of_words", lambda: words(new(ENSEMBLE + "GradientBoostingClassifier", n_estimators=5,
                                                random_state=5)), "texts", ALL),
    Case("gradient_two", forest("GradientBoostingClassifier"), "two_classes", ALL, formats=EVERY_FORM),
    Case("gradient_three", forest("GradientBoostingClassifier", subsample=0.7), "three_classes", ALL),
    Case("gradient_texts", forest("GradientBoostingClassifier", max_depth=2), "text_labels", ALL),
    Case("gradient_exponential", forest("GradientBoostingClassifier", loss="exponential"), "two_classes", ALL),
    Case("gradient_zero", forest("GradientBoostingClassifier", init="zero"), "three_classes", ALL),
    Case("gradient_init", lambda: new(ENSEMBLE + "GradientBoostingClassifier", random_state=5, n_estimators=10,
                                      init=logistic()), "small_three", ALL, tolerance=1e-6),
    Case("gradient_init_two", lambda: new(ENSEMBLE + "GradientBoostingClassifier", random_state=5, n_estimators=10,
                                          init=logistic()), "small_numbers", ALL, tolerance=1e-5),
    Case("gradient_init_tree", lambda: new(ENSEMBLE + "GradientBoostingClassifier", random_state=5, n_estimators=10,
                                           init=new(TREE + "DecisionTreeClassifier", max_depth=2)), "two_classes", ALL),
    Case("gradient_regression", forest("GradientBoostingRegressor"), "regression"),
    Case("gradient_absolute", forest("GradientBoostingRegressor", loss="absolute_error"), "regression"),
    Case("gradient_huber", forest("GradientBoostingRegressor", loss="huber"), "regression"),
    Case("gradient_quantile", forest("GradientBoostingRegressor", loss="quantile", alpha=0.8), "regression"),
    Case("gradient_init_regression", lambda: new(ENSEMBLE + "GradientBoostingRegressor", random_state=5,
                                                 n_estimators=10, init=linear()), "regression", tolerance=1e-6),
    Case("gradient_init_zero", forest("GradientBoostingRegressor", init="zero"), "regression"),
    Case("hist_two", fixed(ENSEMBLE + "HistGradientBoostingClassifier", max_iter=20), "two_classes", ALL,
         formats=EVERY_FORM),
    Case("hist_three", fixed(ENSEMBLE + "HistGradientBoostingClassifier", max_iter=20), "three_classes", ALL),
    Case("hist_texts", fixed(ENSEMBLE + "HistGradientBoostingClassifier", max_iter=10, early_stopping=True),
         "text_labels", ALL),
    Case("hist_missing", fixed(ENSEMBLE + "HistGradientBoostingClassifier", max_iter=20), "missing", ALL),
    Case("hist_missing_later", fixed(ENSEMBLE + "HistGradientBoostingClassifier", max_iter=20), "missing_later", ALL),
    Case("hist_categories", fixed(ENSEMBLE + "HistGradientBoostingClassifier", max_iter=20, max_depth=4,
                                  categorical_features=[0, 3]), "categories", ALL, formats=EVERY_FORM),
    Case("hist_categories_mask", fixed(ENSEMBLE + "HistGradientBoostingRegressor", max_iter=20,
                                       categorical_features=[True, False, False, True, False, False]),
         "categories_regression"),
    Case("hist_regression", fixed(ENSEMBLE + "HistGradientBoostingRegressor", max_iter=30), "regression"),
    Case("hist_absolute", fixed(ENSEMBLE + "HistGradientBoostingRegressor", loss="absolute_error", max_iter=20),
         "missing_regression"),
    Case("hist_quantile", fixed(ENSEMBLE + "HistGradientBoostingRegressor", loss="quantile", quantile=0.3, max_iter=20),
         "regression", since=(1, 1)),
    Case("hist_poisson", fixed(ENSEMBLE + "HistGradientBoostingRegressor", loss="poisson", max_iter=20), "counts"),
    Case("hist_gamma", fixed(ENSEMBLE + "HistGradientBoostingRegressor", loss="gamma", max_iter=20), "positive",
         since=(1, 3)),
    Case("hist_float32", fixed(ENSEMBLE + "HistGradientBoostingClassifier", max_iter=20), "float32", ALL),
    Case("hist_table", fixed(ENSEMBLE + "HistGradientBoostingClassifier", max_iter=20,
                             categorical_features=["city", "plan"]), "table_categories", ALL, since=(1, 4),
         formats=("cloudpickle", "joblib", "skops")),
    Case("hist_table_types", fixed(ENSEMBLE + "HistGradientBoostingClassifier", max_iter=20,
                                   categorical_features="from_dtype"), "table_categories", ALL, since=(1, 4)),
    Case("isolation", forest("IsolationForest"), "two_classes", ("predict", "decision_function")),
    Case("isolation_part", forest("IsolationForest", max_features=0.5, max_samples=50, contamination=0.1),
         "three_classes", ("predict", "decision_function")),
    Case("isolation_missing", forest("IsolationForest"), "missing", ("predict", "decision_function"), since=(1, 6)),
    Case("ada_two", fixed(ENSEMBLE + "AdaBoostClassifier", n_estimators=15), "two_classes", ALL),
    Case("ada_three", fixed(ENSEMBLE + "AdaBoostClassifier", n_estimators=15), "text_labels", ALL),
    Case("ada_samme_two", samme, "two_classes", ALL),
    Case("ada_samme_three", samme, "three_classes", ALL, formats=("skops",)),
    Case("ada_deep", boosted("Classifier", lambda: new(TREE + "DecisionTreeClassifier", max_depth=3)), "three_classes",
         ALL),
    Case("ada_logistic", boosted("Classifier", logistic), "small_three", ALL),
    Case("ada_regression", fixed(ENSEMBLE + "AdaBoostRegressor", n_estimators=15), "regression"),
    Case("ada_regression_square", fixed(ENSEMBLE + "AdaBoostRegressor", n_estimators=9, loss="square"), "counts"),
    Case("ada_linear", boosted("Regressor", linear), "regression"),
    Case("bagging", fixed(ENSEMBLE + "BaggingClassifier", n_estimators=10), "three_classes", SHARES),
    Case("bagging_part", fixed(ENSEMBLE + "BaggingClassifier", n_estimators=10, max_features=0.5, max_samples=0.5),
         "text_labels", SHARES, formats=("joblib", "skops")),
    Case("bagging_logistic", bagging("Classifier", logistic, max_features=0.7), "small_three", ALL),
    Case("bagging_vote", bagging("Classifier", lambda: new("sklearn.svm.LinearSVC"), max_features=4), "small_three",
         SHARES),
    Case("bagging_regression", fixed(ENSEMBLE + "BaggingRegressor", n_estimators=10), "regression"),
    Case("bagging_targets", fixed(ENSEMBLE + "BaggingRegressor", n_estimators=10, bootstrap_features=True),
         "two_targets"),
    Case("bagging_linear", bagging("Regressor", linear, max_features=3), "regression"),
]  # fmt: skip
