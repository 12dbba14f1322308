"""Makes the golden models: small linear models written by many scikit-learn versions, with the answers they give.

    make_golden.py all ENVS      one environment a version under ENVS (made with `uv` where missing), then all models
    make_golden.py one OUT       the models of the scikit-learn that runs this, into OUT (called by `all`)

What lies beside this file afterwards:
    X.Y.Z/NAME.FORMAT            the bare model files of one scikit-learn version
    inputs.json                  the rows that are sent, by name
    cases.jsonl                  one model a line: version, files by format, name of the rows, expected answers

Floats are written as their shortest exact text, so that a test can ask for equality to the last bit. A run on the same
versions gives the same models up to the pseudo-random id numbers inside skops files.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import warnings

HERE = pathlib.Path(__file__).resolve().parent

# scikit-learn version -> Python version and further requirements. Old versions get the numpy of their time (pickles
# of numpy 1 and 2 name other modules) and 1.0 also the joblib before 1.2, which writes arrays without padding.
VERSIONS = {
    "1.0.2": ("3.10", ["numpy<1.24", "scipy<1.10", "pandas<2", "joblib==1.1.1", "cloudpickle==2.0.0", "skops<0.9"]),
    "1.1.3": ("3.11", ["numpy<1.25", "pandas<2.2", "skops<0.11"]),
    "1.2.2": ("3.11", ["numpy<1.27", "pandas<2.2", "skops"]),
    "1.3.2": ("3.11", ["numpy<2", "pandas<2.3", "skops"]),
    "1.4.2": ("3.11", ["numpy<2", "pandas", "skops"]),
    "1.5.2": ("3.11", ["numpy", "pandas<3", "skops"]),
    "1.6.1": ("3.11", ["numpy", "pandas<3", "skops"]),
    "1.7.2": ("3.11", ["numpy", "pandas<3", "skops"]),
    "1.8.0": ("3.11", ["numpy", "pandas", "skops"]),
    "1.9.1": ("3.11", ["numpy", "pandas", "skops"]),
}
COMMON = ["cloudpickle", "joblib", "lz4"]

# Every way to write a model file that is tested. Each model takes one of them in turn, so that every pair of
# neighbouring versions covers all; the models named in ALL_FORMATS are written in every one.
FORMATS = [
    "pickle2",
    "pickle3",
    "pickle4",
    "pickle5",
    "cloudpickle",
    "joblib",
    "joblib-zlib",
    "joblib-gzip",
    "joblib-bz2",
    "joblib-xz",
    "joblib-lzma",
    "joblib-lz4",
    "skops",
    "skops-deflate",
]
ALL_FORMATS = {
    "logreg_binary": list(VERSIONS),
    "pipe_frame_text": ["1.0.2", "1.3.2", "1.9.1"],
    "linreg": ["1.0.2", "1.9.1"],
}
# A stored skops file has much JSON; only these are small enough to keep so.
STORED_SKOPS = {"logreg_binary", "linreg"}
MAX_FILE = 20_000

EXTENSION = {"skops": "skops", "skops-deflate": "deflate.skops"}


def extension(fmt):
    if fmt in EXTENSION:
        return EXTENSION[fmt]
    if fmt.startswith("joblib"):
        return fmt.replace("joblib-", "") + ".joblib" if "-" in fmt else "joblib"
    return fmt.replace("pickle", "p") + ".pkl" if fmt != "cloudpickle" else "cloud.pkl"


def dump(model, fmt, path):
    """Write the model; False when this environment cannot write that format."""
    import pickle

    import cloudpickle
    import joblib

    if fmt.startswith("joblib"):
        joblib.dump(model, path, compress=(fmt.split("-")[1], 3) if "-" in fmt else 0)
    elif fmt == "cloudpickle":
        # Protocol 4 is what MLflow asks for.
        path.write_bytes(cloudpickle.dumps(model, protocol=4))
    elif fmt.startswith("pickle"):
        path.write_bytes(pickle.dumps(model, protocol=int(fmt[-1])))
    else:
        import zipfile

        try:
            import skops.io
        except ImportError:
            return False
        method = zipfile.ZIP_DEFLATED if fmt == "skops-deflate" else zipfile.ZIP_STORED
        try:
            skops.io.dump(model, path, compression=method)
        except Exception as error:  # an old skops does not know every class
            print(f"  skops cannot write it: {error}")
            path.unlink(missing_ok=True)
            return False
    return True


def inputs():
    """The rows that are sent: exact decimal numbers, a row of zeros, and one that drives probabilities to 0 and 1."""
    rows = [
        [0.5, -1.25, 3.0, 0.0625],
        [-2.0, 0.75, -0.5, 1.5],
        [0.0, 0.0, 0.0, 0.0],
        [1.1, 2.2, -3.3, 4.4],
        [-40.0, 75.5, 12.25, -60.0],
    ]
    typed = [[row[0], int(row[1] * 4), row[2], row[3]] for row in rows]
    names = ["alpha", "beta count", "größe", "d"]
    return {
        "tensor64": {"dtype": "float64", "rows": rows},
        "tensor32": {"dtype": "float32", "rows": rows},
        "frame": {"columns": [[n, "double"] for n in names], "rows": rows},
        "frame_typed": {
            "columns": [[n, t] for n, t in zip(names, ("double", "long", "double", "double"))],
            "rows": typed,
        },
    }


def models(version):
    """(name, name of the rows, fitted model): everything is seeded."""
    import numpy as np
    import pandas as pd
    from sklearn.linear_model import (
        ElasticNet,
        Lasso,
        LinearRegression,
        LogisticRegression,
        Perceptron,
        Ridge,
        RidgeClassifier,
        SGDClassifier,
        SGDRegressor,
    )
    from sklearn.pipeline import Pipeline, make_pipeline
    from sklearn.preprocessing import MinMaxScaler, StandardScaler
    from sklearn.svm import LinearSVC

    rng = np.random.RandomState(7)
    X = np.round(rng.randn(60, 4) * [1.0, 2.0, 3.0, 0.5] + [0.0, 1.0, -2.0, 0.25], 3)
    score = X @ [1.0, -0.7, 0.4, 0.9] + 0.5 * rng.randn(60)
    two = (score > np.median(score)).astype(int)
    three = np.digitize(score, np.quantile(score, [0.33, 0.66]))
    real = np.round(score * 3 + 2, 3)
    both = np.c_[real, np.round(X @ [0.2, 0.1, -0.4, 1.0], 3)]
    words = np.array(["stay", "leave", "größer"])
    columns = [n for n, _ in inputs()["frame"]["columns"]]
    frame = pd.DataFrame(X, columns=columns)
    typed = frame.copy()
    typed["beta count"] = (typed["beta count"] * 4).astype("int64")

    has_multi_class = version < (1, 8)
    log_loss = "log" if version < (1, 2) else "log_loss"
    out = []

    def add(name, rows, model, features, target):
        out.append((name, rows, model.fit(features, target)))

    # Logistic regression: every branch of predict_proba, every type of label.
    add("logreg_binary", "tensor64", LogisticRegression(), X, two)
    add("logreg_binary_no_intercept", "tensor64", LogisticRegression(fit_intercept=False), X, two)
    add("logreg_multinomial", "tensor64", LogisticRegression(max_iter=500), X, three)
    add("logreg_liblinear", "tensor64", LogisticRegression(solver="liblinear"), X, two)
    if has_multi_class:
        add("logreg_ovr", "tensor64", LogisticRegression(multi_class="ovr", max_iter=500), X, three)
        add("logreg_multinomial_binary", "tensor64", LogisticRegression(multi_class="multinomial"), X, two)
        add("logreg_liblinear_three", "tensor64", LogisticRegression(solver="liblinear", multi_class="ovr"), X, three)
    add("logreg_text", "tensor64", LogisticRegression(max_iter=500), X, words[three])
    add("logreg_text_object", "tensor64", LogisticRegression(), X, words[two].astype(object))
    add("logreg_bool", "tensor64", LogisticRegression(), X, two == 1)
    add("logreg_int32", "tensor64", LogisticRegression(), X, (two * 5 - 3).astype(np.int32))
    add("logreg_float_labels", "tensor64", LogisticRegression(), X, two * 2.0)
    add("logreg_float32", "tensor32", LogisticRegression(), X.astype(np.float32), two)
    add("logreg_frame", "frame", LogisticRegression(), frame, two)
    add("logreg_frame_typed", "frame_typed", LogisticRegression(), typed, three)

    # Regressions: scalar, vector and missing intercepts, one and several targets.
    add("linreg", "tensor64", LinearRegression(), X, real)
    add("linreg_no_intercept", "tensor64", LinearRegression(fit_intercept=False), X, real)
    add("linreg_two_targets", "tensor64", LinearRegression(), X, both)
    add("linreg_column_target", "tensor64", LinearRegression(), X, real[:, None])
    add("linreg_float32", "tensor32", LinearRegression(), X.astype(np.float32), real.astype(np.float32))
    add("ridge", "tensor64", Ridge(alpha=0.5), X, real)
    add("ridge_two_targets", "frame", Ridge(), frame, both)
    add("lasso", "tensor64", Lasso(alpha=0.05), X, real)
    add("elasticnet_two_targets", "tensor64", ElasticNet(alpha=0.05), X, both)
    add("elasticnet", "frame", ElasticNet(alpha=0.1), frame, real)
    add("sgd_regressor", "tensor64", SGDRegressor(random_state=1, eta0=0.001), X, real)

    # Other linear classifiers.
    add("ridge_classifier", "tensor64", RidgeClassifier(), X, words[two])
    add("ridge_classifier_three", "tensor64", RidgeClassifier(), X, three)
    add("sgd_hinge", "tensor64", SGDClassifier(loss="hinge", random_state=1), X, two)
    add("sgd_log", "tensor64", SGDClassifier(loss=log_loss, random_state=1, alpha=0.1), X, two)
    add("sgd_log_three", "tensor64", SGDClassifier(loss=log_loss, random_state=1, alpha=0.1), X, three)
    add("sgd_huber", "tensor64", SGDClassifier(loss="modified_huber", random_state=1, alpha=0.5), X, two)
    add("sgd_huber_three", "tensor64", SGDClassifier(loss="modified_huber", random_state=1, alpha=0.5), X, words[three])
    add("linear_svc", "tensor64", LinearSVC(dual=True, random_state=1, max_iter=5000), X, two)
    add("linear_svc_three", "tensor64", LinearSVC(dual=True, random_state=1, max_iter=5000), X, words[three])
    add("linear_svc_no_intercept", "tensor64", LinearSVC(dual=True, random_state=1, fit_intercept=False), X, two)
    add("perceptron", "tensor64", Perceptron(random_state=1), X, two)
    add("perceptron_three", "frame", Perceptron(random_state=1), frame, three)

    # Pipelines.
    add("pipe_standard", "tensor64", make_pipeline(StandardScaler(), LogisticRegression()), X, two)
    add("pipe_standard_float32_rows", "tensor32", make_pipeline(StandardScaler(), LogisticRegression()), X, two)
    add("pipe_no_mean", "tensor64", make_pipeline(StandardScaler(with_mean=False), Ridge()), X, real)
    add(
        "pipe_no_std",
        "tensor64",
        make_pipeline(StandardScaler(with_std=False), LinearSVC(dual=True, random_state=1)),
        X,
        two,
    )
    add(
        "pipe_scaler_off",
        "tensor64",
        make_pipeline(StandardScaler(with_mean=False, with_std=False), LogisticRegression()),
        X,
        two,
    )
    add("pipe_minmax", "tensor64", make_pipeline(MinMaxScaler(), LinearRegression()), X, real)
    add(
        "pipe_minmax_clip",
        "tensor64",
        make_pipeline(MinMaxScaler(feature_range=(-1, 2.5), clip=True), LogisticRegression()),
        X,
        three,
    )
    add(
        "pipe_nested",
        "tensor64",
        Pipeline(
            [
                (
                    "prepare",
                    Pipeline([("scale", StandardScaler()), ("nothing", "passthrough"), ("range", MinMaxScaler())]),
                ),
                ("skip", "passthrough"),
                (
                    "model",
                    Pipeline([("scale", StandardScaler()), ("clf", SGDClassifier(loss=log_loss, random_state=3))]),
                ),
            ]
        ),
        X,
        two,
    )
    add(
        "pipe_frame_text",
        "frame_typed",
        Pipeline([("scale", StandardScaler()), ("clf", LogisticRegression())]),
        typed,
        words[two].astype(object),
    )
    return out


def expected(model, rows, spec):
    """The answers of scikit-learn itself, as plain lists, and the type of the prediction."""
    import numpy as np
    import pandas as pd

    if "columns" in spec:
        data = pd.DataFrame(rows, columns=[n for n, _ in spec["columns"]])
        data = data.astype({n: {"double": "float64", "long": "int64"}[t] for n, t in spec["columns"]})
    else:
        data = np.array(rows, dtype=spec["dtype"])
    answer = {}
    for method in ("predict", "predict_proba", "predict_log_proba", "decision_function"):
        if not hasattr(model, method):
            continue
        values = np.asarray(getattr(model, method)(data))
        # json writes the shortest text that gives back the same double; float32 is kept as the double it equals.
        answer[method] = {
            "dtype": values.dtype.name if values.dtype.kind not in "OU" else "text",
            "values": json.loads(json.dumps(values.tolist()), parse_constant=lambda _: None),
        }
    return answer


def make_one(out):
    warnings.filterwarnings("ignore")
    import numpy
    import sklearn

    version = tuple(int(p) for p in sklearn.__version__.split(".")[:2])
    folder = out / sklearn.__version__
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    specs = inputs()
    turn = list(VERSIONS).index(sklearn.__version__) * 5
    lines = []
    for number, (name, rows, model) in enumerate(models(version)):
        everywhere = sklearn.__version__ in ALL_FORMATS.get(name, ())
        wanted = FORMATS if everywhere else FORMATS[(number + turn) % len(FORMATS) :] + FORMATS
        files = {}
        for fmt in wanted:
            if fmt == "skops" and name not in STORED_SKOPS:
                continue
            path = folder / f"{name}.{extension(fmt)}"
            if dump(model, fmt, path):
                assert path.stat().st_size < MAX_FILE, f"{path} is too large"
                files[fmt] = f"{sklearn.__version__}/{path.name}"
                if not everywhere:
                    break
        answer = expected(model, specs[rows]["rows"], specs[rows])
        if name not in ("logreg_multinomial", "sgd_huber", "logreg_ovr"):
            answer.pop("predict_log_proba", None)
        lines.append(
            json.dumps(
                {
                    "name": name,
                    "sklearn": sklearn.__version__,
                    "numpy": numpy.__version__,
                    "input": rows,
                    "files": files,
                    **answer,
                },
                ensure_ascii=False,
            )
        )
    (folder / "cases.jsonl").write_text("\n".join(lines) + "\n")


def make_all(envs):
    for version, (python, extra) in VERSIONS.items():
        env = envs / f"skl-{version}"
        if not (env / "bin" / "python").exists():
            subprocess.run(["uv", "venv", "-q", "-p", python, env], check=True)
        subprocess.run(
            [
                "uv",
                "pip",
                "install",
                "-q",
                "-p",
                env / "bin" / "python",
                f"scikit-learn=={version}",
                *extra,
                *(c for c in COMMON if not any(e.startswith(c + "=") for e in extra)),
            ],
            check=True,
        )
        print(version, flush=True)
        subprocess.run(
            [env / "bin" / "python", __file__, "one", HERE],
            check=True,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        )
    lines = []
    for version in VERSIONS:
        part = HERE / version / "cases.jsonl"
        lines.append(part.read_text())
        part.unlink()
    (HERE / "cases.jsonl").write_text("".join(lines))
    (HERE / "inputs.json").write_text(json.dumps(inputs(), ensure_ascii=False, indent=1) + "\n")


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in ("all", "one"):
        sys.exit(__doc__)
    (make_all if sys.argv[1] == "all" else make_one)(pathlib.Path(sys.argv[2]).resolve())
