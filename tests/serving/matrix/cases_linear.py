"""Plain linear models behind scalers: the fast path for them."""

from declare import Case, new

LINEAR = "sklearn.linear_model."
PROBABILITIES = ("predict", "predict_proba", "predict_log_proba")


def scaled(estimator):
    return new("sklearn.pipeline.make_pipeline", new("sklearn.preprocessing.StandardScaler"), estimator)


CASES = [
    Case("logistic_two", lambda: scaled(new(LINEAR + "LogisticRegression")), "two_classes", PROBABILITIES),
    Case("logistic_three", lambda: scaled(new(LINEAR + "LogisticRegression")), "text_labels", PROBABILITIES),
    Case("ridge", lambda: new(LINEAR + "Ridge"), "regression", formats=("cloudpickle", "joblib", "skops")),
    Case("ridge_two_targets", lambda: new(LINEAR + "Ridge"), "two_targets"),
]
