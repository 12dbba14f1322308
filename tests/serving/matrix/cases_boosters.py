"""XGBoost and LightGBM: their scikit-learn classes in pickles and their boosters in the libraries' own files."""

from declare import Case, new

X = "xgboost.sklearn.XGB"
L = "lightgbm.sklearn.LGBM"
SHARES = ("predict", "predict_proba")
OWN = ("cloudpickle", "ubj", "json")
FLOAT32 = 1e-6  # what XGBoost computes in


class Booster:
    """A booster as its library's own training function gives it. rounds and all other parameters go there."""

    def __init__(self, library, rounds=25, weights=None, **parameters):
        self.library, self.rounds, self.weights, self.parameters = (
            library,
            rounds,
            weights,
            parameters,
        )

    def fit(self, x, y):
        if self.library == "xgboost":
            import xgboost

            train = xgboost.DMatrix(x, label=y)
            if self.parameters["objective"] == "survival:aft":
                train.set_float_info("label_lower_bound", y)
                train.set_float_info("label_upper_bound", y * 2)
            if self.parameters["objective"].startswith("rank:"):
                train.set_group([30] * (len(x) // 30))
            self.booster = xgboost.train(self.parameters, train, self.rounds)
        else:
            import lightgbm
            import numpy

            parameters = {
                "verbose": -1,
                "num_threads": 1,
                "min_data_in_leaf": 5,
                **self.parameters,
            }
            categories = parameters.pop("categories", "auto")
            group = None
            if parameters["objective"] in ("lambdarank", "rank_xendcg"):
                group = numpy.full(len(x) // 30, 30, dtype="int32")
            train = lightgbm.Dataset(x, y, group=group, categorical_feature=categories)
            self.booster = lightgbm.train(parameters, train, self.rounds)
        return self

    def predict(self, x):
        if self.library == "xgboost":
            import xgboost

            return self.booster.predict(xgboost.DMatrix(x))
        return self.booster.predict(x)

    def save_model(self, path):
        self.booster.save_model(path)


def xgb(name, **parameters):
    return lambda: new(X + name, **{"n_estimators": 25, "max_depth": 4, "n_jobs": 1, **parameters})


def lgb(name, **parameters):
    settings = {
        "n_estimators": 25,
        "min_child_samples": 5,
        "n_jobs": 1,
        "verbose": -1,
        **parameters,
    }
    return lambda: new(L + name, **settings)


def xgb_case(name, maker, data, outputs=("predict",), formats=OWN):
    # The oldest environment has no XGBoost: wheels of that time are of 200 MB. Its files are among the golden ones.
    return Case(
        f"xgb_{name}",
        maker,
        data,
        outputs,
        needs="xgboost",
        since=(1, 3),
        tolerance=FLOAT32,
        formats=formats,
    )


def xgb_booster(objective, data, suffix="", **parameters):
    name = objective.replace(":", "_") + suffix
    maker = lambda: Booster("xgboost", objective=objective, max_depth=4, **parameters)  # noqa: E731
    return xgb_case(name, maker, data, formats=("ubj", "json") if not suffix else ("ubj",))


def lgb_case(name, maker, data, outputs=("predict",), formats=()):
    return Case(f"lgb_{name}", maker, data, outputs, needs="lightgbm", formats=formats)


def lgb_booster(objective, data, suffix="", **parameters):
    maker = lambda: Booster("lightgbm", objective=objective, **parameters)  # noqa: E731
    return lgb_case(objective + suffix, maker, data, formats=("lgb",))


def behind(estimator):
    """At the end of what most tutorials build."""
    numbers = new(
        "sklearn.pipeline.make_pipeline",
        new("sklearn.impute.SimpleImputer"),
        new("sklearn.preprocessing.StandardScaler"),
    )
    one_hot = new("sklearn.preprocessing.OneHotEncoder", handle_unknown="ignore")
    prepared = new(
        "sklearn.compose.ColumnTransformer",
        [("n", numbers, ["age", "income", "score"]), ("c", one_hot, ["city", "plan"])],
    )
    return new("sklearn.pipeline.make_pipeline", prepared, estimator)


CASES = [
    xgb_case("classifier", xgb("Classifier"), "missing", SHARES),
    xgb_case("classifier_three", xgb("Classifier"), "small_three", SHARES),
    xgb_case("regressor", xgb("Regressor"), "missing_regression"),
    xgb_case("regressor_two", xgb("Regressor", tree_method="hist"), "two_targets"),
    xgb_case("float32", xgb("Classifier"), "float32", SHARES),
    xgb_case("deep", xgb("Regressor", max_depth=12, min_child_weight=0), "regression"),
    xgb_case(
        "lossguide",
        xgb("Classifier", tree_method="hist", grow_policy="lossguide", max_leaves=20),
        "missing",
        SHARES,
    ),  # fmt: skip
    xgb_case("dart", xgb("Classifier", booster="dart", rate_drop=0.3), "missing", SHARES),
    xgb_case("linear", xgb("Classifier", booster="gblinear"), "small_numbers", SHARES),
    xgb_case(
        "linear_three",
        lambda: Booster("xgboost", objective="multi:softprob", num_class=3, booster="gblinear"),
        "small_three",
        formats=("ubj",),
    ),  # fmt: skip
    xgb_case("forest", xgb("RFClassifier"), "missing", SHARES),
    xgb_case("forest_regressor", xgb("RFRegressor"), "missing_regression"),
    xgb_case(
        "missing_value",
        xgb("Classifier", missing=0.0),
        "not_negative",
        SHARES,
        formats=("cloudpickle",),
    ),
    xgb_case(
        "pipeline",
        lambda: behind(xgb("Classifier")()),
        "table",
        SHARES,
        formats=("cloudpickle", "joblib"),
    ),
    *[
        xgb_booster(objective, data)
        for objective, data in [
            ("binary:logistic", "missing"),
            ("binary:logitraw", "missing"),
            ("binary:hinge", "missing"),
            ("reg:squarederror", "missing_regression"),
            ("reg:logistic", "two_classes"),
            ("reg:absoluteerror", "regression"),
            ("reg:pseudohubererror", "regression"),
            ("reg:squaredlogerror", "positive"),
            ("reg:gamma", "positive"),
            ("reg:tweedie", "positive"),
            ("count:poisson", "counts"),
            ("survival:cox", "positive"),
            ("survival:aft", "positive"),
            ("rank:pairwise", "two_classes"),
            ("rank:ndcg", "two_classes"),
            ("rank:map", "two_classes"),
        ]
    ],
    xgb_booster("multi:softprob", "small_three", num_class=3),
    xgb_booster("multi:softmax", "small_three", num_class=3),
    xgb_booster("reg:quantileerror", "regression", quantile_alpha=0.3),
    xgb_booster("reg:quantileerror", "regression", "_several", quantile_alpha=[0.2, 0.5, 0.8]),
    xgb_booster(
        "multi:softprob",
        "small_three",
        "_forests",
        num_class=3,
        num_parallel_tree=3,
        subsample=0.5,
    ),
    xgb_booster("binary:logistic", "two_classes", "_base", base_score=0.2),
    xgb_booster("binary:logistic", "two_classes", "_dart", booster="dart", rate_drop=0.5),
    xgb_case(
        "stack",
        lambda: new(
            "sklearn.ensemble.StackingClassifier",
            [("x", xgb("Classifier")()), ("f", new("sklearn.tree.DecisionTreeClassifier", max_depth=3))],
            cv=3,
        ),
        "small_three",
        SHARES,
        formats=("cloudpickle",),
    ),
    # LightGBM
    lgb_case(
        "classifier",
        lgb("Classifier"),
        "missing",
        SHARES,
        formats=("cloudpickle", "joblib", "skops"),
    ),
    lgb_case("classifier_three", lgb("Classifier"), "three_classes", SHARES),
    lgb_case("classifier_texts", lgb("Classifier"), "text_labels", SHARES),
    lgb_case("regressor", lgb("Regressor"), "missing_regression"),
    lgb_case("regressor_positive", lgb("Regressor", objective="tweedie"), "positive"),
    lgb_case(
        "forest",
        lgb("Classifier", boosting_type="rf", subsample=0.6, subsample_freq=1),
        "missing",
        SHARES,
    ),
    lgb_case("large", lgb("Regressor", num_leaves=250, min_child_samples=1), "regression"),
    lgb_case(
        "pipeline",
        lambda: behind(lgb("Classifier")()),
        "table",
        SHARES,
        formats=("cloudpickle", "joblib"),
    ),
    lgb_case(
        "vote",
        lambda: new(
            "sklearn.ensemble.VotingClassifier",
            [("l", lgb("Classifier")()), ("m", new("sklearn.linear_model.LogisticRegression", max_iter=500))],
            voting="soft",
        ),
        "text_labels",
        SHARES,
        formats=("joblib",),
    ),
    xgb_case(
        "calibrated",
        lambda: new("sklearn.calibration.CalibratedClassifierCV", xgb("Classifier")(), cv=3),
        "two_classes",
        SHARES,
        formats=("cloudpickle",),
    ),
    lgb_case(
        "calibrated",
        lambda: new("sklearn.calibration.CalibratedClassifierCV", lgb("Classifier")(), cv=3),
        "two_classes",
        SHARES,
        formats=("cloudpickle",),
    ),
    *[
        lgb_booster(objective, data)
        for objective, data in [
            ("regression", "missing_regression"),
            ("regression_l1", "regression"),
            ("huber", "regression"),
            ("fair", "regression"),
            ("quantile", "regression"),
            ("mape", "positive"),
            ("poisson", "counts"),
            ("gamma", "positive"),
            ("tweedie", "positive"),
            ("binary", "missing"),
            ("cross_entropy", "two_classes"),
            ("cross_entropy_lambda", "two_classes"),
            ("lambdarank", "two_classes"),
            ("rank_xendcg", "two_classes"),
        ]
    ],
    lgb_booster("multiclass", "small_three", num_class=3),
    lgb_booster("multiclassova", "small_three", num_class=3, sigmoid=2.0),
    lgb_booster("binary", "two_classes", "_sigmoid", sigmoid=0.7),
    lgb_booster("binary", "missing", "_dart", boosting="dart"),
    lgb_booster("binary", "missing", "_goss", boosting="goss"),
    lgb_booster("regression", "positive", "_sqrt", reg_sqrt=True),
    lgb_booster("regression", "missing_regression", "_zero", zero_as_missing=True),
    lgb_booster("regression", "missing_later", "_no_missing", use_missing=False),
    lgb_booster("regression", "missing_later", "_linear", linear_tree=True),
    lgb_booster("regression", "missing_regression", "_one_leaf", min_data_in_leaf=1000),
    lgb_booster(
        "binary",
        "categories",
        "_categories",
        categories=[0, 3],
        cat_smooth=1,
        min_data_per_group=5,
    ),
    lgb_booster(
        "regression",
        "categories_regression",
        "_one_hot",
        categories=[0, 3],
        max_cat_to_onehot=64,
    ),
]
