"""Numbers and categories made ready for models: scalers, imputers, encoders and what puts them together."""

from declare import Case, new

PRE = "sklearn.preprocessing."
TRANSFORM = ("transform",)
BOTH = ("predict", "predict_proba")


def pre(name, **parameters):
    return new(PRE + name, **parameters)


def pipe(*steps):
    return new("sklearn.pipeline.make_pipeline", *steps)


def logistic():
    return new("sklearn.linear_model.LogisticRegression", max_iter=200)


def imputer(**parameters):
    return new("sklearn.impute.SimpleImputer", **parameters)


def iterative(**parameters):
    import importlib

    importlib.import_module("sklearn.experimental.enable_iterative_imputer")
    return new("sklearn.impute.IterativeImputer", random_state=1, **parameters)


def columns(*parts, **parameters):
    return new("sklearn.compose.ColumnTransformer", [*parts], **parameters)


def union(*parts, **parameters):
    return new("sklearn.pipeline.FeatureUnion", [*parts], **parameters)


def function(name, **parameters):
    import numpy

    return pre("FunctionTransformer", func=getattr(numpy, name), **parameters)


def one_hot(**parameters):
    return pre("OneHotEncoder", handle_unknown="ignore", **parameters)


def one_hot_first():
    """Without what 1.2 and later call sparse_output and 1.1 sparse."""
    return pre("OneHotEncoder", drop="first", handle_unknown="ignore")


def usual(**parameters):
    """What most tutorials build."""
    return columns(
        ("numbers", pipe(imputer(strategy="median"), pre("StandardScaler")), ["age", "income", "score"]),
        ("texts", pipe(imputer(strategy="most_frequent"), one_hot()), ["city", "plan"]),
        **parameters,
    )


def churn():
    return columns(
        ("scale", pre("StandardScaler"), ["CreditScore", "Age", "Balance", "EstimatedSalary"]),
        ("where", pre("OneHotEncoder", drop="first"), ["Geography"]),
        ("who", pre("OrdinalEncoder"), ["Gender"]),
        remainder="passthrough",
    )


def mask():
    import numpy

    return numpy.array([True, False, True, False, False, True])


CASES = [
    # scalers, alone
    *[
        Case(f"pre_{name.lower()}{suffix}", lambda n=name, p=parameters: pre(n, **p), data, TRANSFORM, **more)
        for name, suffix, parameters, data, more in [
            ("StandardScaler", "", {}, "missing", {}),
            ("StandardScaler", "_mean", {"with_std": False}, "two_classes", {}),
            ("StandardScaler", "_std", {"with_mean": False}, "two_classes", {}),
            ("StandardScaler", "_f32", {}, "float32", {"tolerance": 1e-6}),
            ("MinMaxScaler", "", {}, "missing", {}),
            ("MinMaxScaler", "_clip", {"clip": True, "feature_range": (-1, 2)}, "two_classes", {}),
            ("MinMaxScaler", "_f32", {}, "float32", {"tolerance": 1e-6}),
            ("MaxAbsScaler", "", {}, "missing", {}),
            ("RobustScaler", "", {"quantile_range": (10, 80)}, "missing", {}),
            ("RobustScaler", "_center", {"with_scaling": False}, "two_classes", {}),
            ("RobustScaler", "_f32", {}, "float32", {"tolerance": 1e-6}),
            ("Normalizer", "_l1", {"norm": "l1"}, "two_classes", {}),
            ("Normalizer", "_l2", {}, "two_classes", {}),
            ("Normalizer", "_max", {"norm": "max"}, "two_classes", {}),
            ("Normalizer", "_f32", {}, "float32", {"tolerance": 1e-6}),
            ("Binarizer", "", {"threshold": 0.5}, "two_classes", {}),
            ("PowerTransformer", "", {}, "missing", {"tolerance": 1e-11}),
            ("PowerTransformer", "_raw", {"standardize": False}, "small_numbers", {"tolerance": 1e-11}),
            ("QuantileTransformer", "", {"n_quantiles": 50}, "missing", {}),
            ("QuantileTransformer", "_normal", {"n_quantiles": 90, "output_distribution": "normal"}, "missing", {}),
            ("QuantileTransformer", "_ties", {"n_quantiles": 40}, "not_negative", {}),
            ("KBinsDiscretizer", "", {"n_bins": 4, "strategy": "uniform"}, "two_classes", {}),
            ("KBinsDiscretizer", "_dense", {"n_bins": 5, "encode": "onehot-dense"}, "two_classes", {}),
            ("KBinsDiscretizer", "_ordinal", {"n_bins": 3, "encode": "ordinal"}, "two_classes", {}),
            ("PolynomialFeatures", "", {"degree": 3}, "small_numbers", {}),
            ("PolynomialFeatures", "_interactions", {"interaction_only": True, "degree": 3}, "two_classes", {}),
            ("PolynomialFeatures", "_range", {"degree": (2, 3), "include_bias": False}, "small_numbers", {}),
            ("PolynomialFeatures", "_f32", {}, "float32", {"tolerance": 1e-6}),
            ("SplineTransformer", "", {}, "two_classes", {}),
            ("SplineTransformer", "_linear", {"extrapolation": "linear", "degree": 2}, "two_classes", {}),
            ("SplineTransformer", "_flat", {"extrapolation": "linear", "degree": 1}, "two_classes", {}),
            (
                "SplineTransformer",
                "_steps",
                {"degree": 0, "n_knots": 6, "extrapolation": "continue"},
                "two_classes",
                {},
            ),
            ("SplineTransformer", "_continue", {"extrapolation": "continue"}, "small_numbers", {}),
            (
                "SplineTransformer",
                "_periodic",
                {"extrapolation": "periodic", "n_knots": 6, "include_bias": False},
                "small_numbers",
                {},
            ),
            ("SplineTransformer", "_quantile", {"knots": "quantile", "include_bias": False}, "two_classes", {}),
        ]
    ],
    Case(
        "pre_box_cox",
        lambda: pipe(function("exp"), pre("PowerTransformer", method="box-cox")),
        "small_numbers",
        TRANSFORM,
        tolerance=1e-11,
    ),
    # functions
    *[
        Case(f"pre_function_{name}", lambda n=name: pipe(function("absolute"), function(n)), "two_classes", TRANSFORM)
        for name in ("log1p", "sqrt", "log", "cbrt", "square", "tanh")
    ],
    Case("pre_function_none", lambda: pipe(pre("FunctionTransformer"), logistic()), "two_classes", BOTH),
    Case("pre_function_model", lambda: pipe(function("arctan", validate=True), logistic()), "two_classes", BOTH),
    # imputers
    *[
        Case(f"pre_imputer_{strategy}", lambda s=strategy: imputer(strategy=s), "missing", TRANSFORM)
        for strategy in ("mean", "median", "most_frequent")
    ],
    Case("pre_imputer_constant", lambda: imputer(strategy="constant", fill_value=-3.5), "missing", TRANSFORM),
    Case("pre_imputer_zero", lambda: imputer(missing_values=0, strategy="mean"), "not_negative", TRANSFORM),
    Case("pre_imputer_indicator", lambda: imputer(add_indicator=True), "missing", TRANSFORM),
    Case("pre_imputer_later", lambda: pipe(imputer(add_indicator=True), logistic()), "missing_later", BOTH),
    Case("pre_imputer_empty", lambda: imputer(), "missing_column", TRANSFORM),
    Case(
        "pre_imputer_keep_empty", lambda: imputer(keep_empty_features=True), "missing_column", TRANSFORM, since=(1, 2)
    ),
    Case("pre_indicator", lambda: new("sklearn.impute.MissingIndicator"), "missing", TRANSFORM),
    Case("pre_indicator_all", lambda: new("sklearn.impute.MissingIndicator", features="all"), "missing", TRANSFORM),
    Case("pre_knn", lambda: new("sklearn.impute.KNNImputer"), "missing", TRANSFORM),
    Case(
        "pre_knn_distance",
        lambda: new("sklearn.impute.KNNImputer", weights="distance", n_neighbors=3, add_indicator=True),
        "missing",
        TRANSFORM,
        tolerance=1e-6,
    ),
    Case("pre_iterative", lambda: iterative(), "missing", TRANSFORM, tolerance=1e-10),
    Case("pre_iterative_model", lambda: pipe(iterative(add_indicator=True), logistic()), "missing_later", BOTH),
    # encoders of numbers
    Case("pre_one_hot_numbers", lambda: pipe(columns(("c", one_hot(), [0, 3])), logistic()), "categories", BOTH),
    Case(
        "pre_ordinal_numbers",
        lambda: columns(("c", pre("OrdinalEncoder", handle_unknown="use_encoded_value", unknown_value=-1), [0, 3])),
        "categories",
        TRANSFORM,
    ),
    Case(
        "pre_ordinal_missing",
        lambda: columns(
            (
                "c",
                pre("OrdinalEncoder", handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2),
                [0, 3],
            )
        ),
        "categories",
        TRANSFORM,
        since=(1, 1),
    ),
    Case(
        "pre_one_hot_infrequent",
        lambda: columns(("c", one_hot(min_frequency=20), [0, 3])),
        "categories",
        TRANSFORM,
        since=(1, 1),
    ),
    Case(
        "pre_one_hot_rare_unknown",
        lambda: columns(
            ("c", pre("OneHotEncoder", max_categories=5, drop="first", handle_unknown="infrequent_if_exist"), [0, 3])
        ),
        "categories",
        TRANSFORM,
        since=(1, 1),
    ),
    Case(
        "pre_ordinal_rare",
        lambda: columns(
            ("c", pre("OrdinalEncoder", max_categories=6, unknown_value=-1, handle_unknown="use_encoded_value"), [0, 3])
        ),
        "categories",
        TRANSFORM,
        since=(1, 3),
    ),
    Case("pre_target", lambda: columns(("c", pre("TargetEncoder"), [0, 3])), "categories", TRANSFORM, since=(1, 3)),
    Case(
        "pre_target_numbers",
        lambda: columns(("c", pre("TargetEncoder"), [0, 3])),
        "categories_regression",
        TRANSFORM,
        since=(1, 3),
    ),
    # tables with texts
    Case(
        "pre_table",
        lambda: pipe(usual(), logistic()),
        "table",
        BOTH,
        formats=("cloudpickle", "joblib", "skops", "pickle5"),
    ),
    Case(
        "pre_table_rest",
        lambda: pipe(columns(("city", one_hot(), ["city", "plan"]), remainder=imputer()), logistic()),
        "table",
        BOTH,
    ),
    Case("pre_table_transform", lambda: usual(remainder="drop", sparse_threshold=0), "table", TRANSFORM),
    Case("pre_table_sparse", lambda: usual(sparse_threshold=1.0), "table", TRANSFORM),
    Case("pre_table_weights", lambda: usual(transformer_weights={"texts": 0.5}), "table", TRANSFORM),
    Case(
        "pre_table_drop",
        lambda: columns(
            ("c", one_hot_first(), ["city", "plan"]), ("x", "drop", ["age"]), ("n", "passthrough", ["score"])
        ),
        "table",
        TRANSFORM,
    ),
    Case(
        "pre_table_binary",
        lambda: columns(("c", one_hot(drop="if_binary"), ["plan"]), ("n", imputer(), ["income"])),
        "table",
        TRANSFORM,
    ),
    Case(
        "pre_table_ordinal",
        lambda: columns(
            (
                "c",
                pre("OrdinalEncoder", handle_unknown="use_encoded_value", unknown_value=float("nan")),
                ["city", "plan"],
            )
        ),
        "table",
        TRANSFORM,
    ),
    Case(
        "pre_table_target",
        lambda: pipe(columns(("c", pre("TargetEncoder"), ["city", "plan"])), logistic()),
        "table",
        BOTH,
        since=(1, 3),
    ),
    Case(
        "pre_table_holes",
        lambda: pipe(
            columns(
                ("c", pipe(imputer(strategy="most_frequent"), one_hot()), ["city"]),
                ("n", imputer(add_indicator=True), ["age", "income"]),
                remainder="passthrough",
            ),
            logistic(),
        ),
        "table_holes",
        BOTH,
    ),
    Case(
        "pre_table_missing_text",
        lambda: columns(("c", pipe(imputer(strategy="constant", fill_value="none"), one_hot()), ["city"])),
        "table_holes",
        TRANSFORM,
    ),
    Case(
        "pre_table_nan_category",
        lambda: columns(
            ("c", one_hot(), ["city"]),
            ("o", pre("OrdinalEncoder", handle_unknown="use_encoded_value", unknown_value=-1), ["city", "member"]),
        ),
        "table_holes",
        TRANSFORM,
    ),
    Case("pre_churn", lambda: pipe(churn(), logistic()), "churn", BOTH, formats=("cloudpickle", "skops")),
    # columns by position, slice, mask
    Case(
        "pre_slice",
        lambda: columns(
            ("a", pre("StandardScaler"), slice(1, 4)), ("b", pre("MinMaxScaler"), [-1]), remainder="passthrough"
        ),
        "two_classes",
        TRANSFORM,
    ),
    Case(
        "pre_mask",
        lambda: columns(("a", pre("StandardScaler"), mask()), remainder=pre("MinMaxScaler")),
        "two_classes",
        TRANSFORM,
    ),
    Case(
        "pre_nested",
        lambda: pipe(
            columns(("a", columns(("b", pre("StandardScaler"), [1, 0])), [2, 4]), remainder="passthrough"),
            pre("PolynomialFeatures"),
            pre("StandardScaler"),
            logistic(),
        ),
        "small_numbers",
        (*BOTH, "decision_function"),
        tolerance=1e-11,
    ),
    # unions
    Case(
        "pre_union",
        lambda: pipe(union(("a", pre("StandardScaler")), ("b", pre("KBinsDiscretizer", n_bins=3))), logistic()),
        "two_classes",
        BOTH,
    ),
    Case(
        "pre_union_weights",
        lambda: union(
            ("a", pre("StandardScaler")), ("b", "drop"), ("c", pre("MaxAbsScaler")), transformer_weights={"a": 2.0}
        ),
        "two_classes",
        TRANSFORM,
    ),
    Case(
        "pre_union_passthrough",
        lambda: union(("a", pre("StandardScaler")), ("c", "passthrough")),
        "two_classes",
        TRANSFORM,
        since=(1, 1),
    ),
    Case(
        "pre_passthrough_step",
        lambda: new(
            "sklearn.pipeline.Pipeline",
            [("a", "passthrough"), ("b", pre("StandardScaler")), ("c", None), ("d", logistic())],
        ),
        "two_classes",
        BOTH,
    ),
    Case(
        "pre_sparse_scaler",
        lambda: pipe(
            pre("KBinsDiscretizer", n_bins=4),
            pre("StandardScaler", with_mean=False),
            pre("MaxAbsScaler"),
            pre("Normalizer"),
            logistic(),
        ),
        "two_classes",
        BOTH,
    ),
]
