"""Trains the models that part_models.py serves, and times what computes them in this process, without any server.

usage: models_train.py DIR ROWS        (with OMP_NUM_THREADS=1)

Runs in the environment of the libraries, one thread each. Writes a folder a model (its own format, an MLflow model
beside it, the rows of the batch), and prints one JSON document: versions, files, answers, and microseconds a call of
each library with one row and with ROWS.
"""

import functools
import json
import logging
import os
import pathlib
import shutil
import statistics
import sys
import time
import warnings

import joblib
import lightgbm
import mlflow
import numpy as np
import onnxruntime
import tl2cgen
import treelite
import xgboost
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

logging.getLogger("mlflow").setLevel(logging.ERROR)
warnings.filterwarnings("ignore")
SECONDS = 0.5  # of each timing


def microseconds(call, argument) -> float:
    call(argument)
    times = []
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end or len(times) < 3:
        begin = time.perf_counter()
        call(argument)
        times.append(time.perf_counter() - begin)
    return statistics.median(times) * 1e6


def onnx_of(name, model, rows):
    """A function of ONNX Runtime: the probability of the second class."""
    from onnxmltools import convert_lightgbm, convert_xgboost
    from onnxmltools.convert.common.data_types import (
        FloatTensorType as OtherFloatTensorType,
    )
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType

    width = rows.shape[1]
    if name in ("xgboost", "lightgbm"):
        kind = [("x", OtherFloatTensorType([None, width]))]
        made = (
            convert_xgboost(model, initial_types=kind)
            if name == "xgboost"
            else convert_lightgbm(model, initial_types=kind, zipmap=False)
        )
    else:
        made = to_onnx(
            model,
            initial_types=[("x", FloatTensorType([None, width]))],
            options={"zipmap": False},
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    output, field = session.get_outputs()[1].name, session.get_inputs()[0].name
    return lambda a: np.asarray(session.run([output], {field: a})[0])[:, 1]


def treelite_of(name, model, file):
    if name == "xgboost":
        return treelite.frontend.load_xgboost_model(str(file), format_choice="json")
    return (
        treelite.frontend.load_lightgbm_model(str(file)) if name == "lightgbm" else treelite.sklearn.import_model(model)
    )


def last(answer):
    """The probability of the second class, whatever shape the library gives."""
    return np.asarray(answer).reshape(len(answer), -1)[:, -1]


def second(model, rows):
    return model.predict_proba(rows)[:, 1]


def compiled_of(made, folder):
    compiler = shutil.which("gcc") or shutil.which("cc") or shutil.which("clang-19") or ""
    os.environ.setdefault("CC", compiler)
    library = folder / "compiled.so"
    tl2cgen.export_lib(
        made,
        toolchain="gcc" if compiler.endswith("cc") else "clang",
        libpath=str(library),
        params={"parallel_comp": 8, "quantize": 1},
        nthread=os.cpu_count(),
        options=["-O1"],
    )
    predictor = tl2cgen.Predictor(str(library), nthread=1)
    return lambda a: predictor.predict(tl2cgen.DMatrix(a, dtype="float32"))


def timed(name, model, file, data, own, expected):
    """Microseconds of each way to compute the model, or why there are none."""
    narrow = np.ascontiguousarray(data, dtype=np.float32)

    @functools.cache
    def trees():
        return treelite_of(name, model, file)

    def interpreted():
        made = trees()
        return (lambda a: last(treelite.gtil.predict(made, a, nthread=1))), narrow

    def compiled():
        call = compiled_of(trees(), file.parent)
        return (lambda a: last(call(a))), narrow

    ways = {"its own library": lambda: (own, data), "ONNX Runtime": lambda: (onnx_of(name, model, narrow), narrow)}
    if name != "logistic":
        ways["treelite"] = interpreted
        if name != "forest":  # the C of a deep forest compiles for many minutes
            ways["treelite, compiled"] = compiled
    found = {}
    for way, make in ways.items():
        try:
            call, rows = make()
            # Where features are rounded to float32 a row may fall to the other side of a split: most must agree.
            apart = np.abs(np.asarray(call(rows), dtype=float) - expected)
            if np.mean(apart < 1e-3) < 0.99:
                found[way] = {"missing": f"its answers differ by {apart.max():.3g}"}
                continue
            found[way] = {
                "one_us": microseconds(call, rows[:1]),
                "row_us": microseconds(call, rows) / len(rows),
            }
        except Exception as error:  # a converter that does not know these versions
            lines = str(error).strip().splitlines() or [""]
            found[way] = {"missing": f"{type(error).__name__}: {lines[-1][:150]}"}
    return found


def main() -> None:
    out, rows = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    random = np.random.default_rng(7)
    x = random.normal(size=(20000, 20))
    y = (x[:, 0] * x[:, 1] + np.sin(x[:, 2]) + x[:, 3] > random.normal(scale=0.5, size=len(x))).astype(int)
    fresh = random.normal(size=(rows, 20))
    jobs = os.cpu_count()
    models = {
        "logistic": (LogisticRegression().fit(x[:, :10], y), "model.joblib", 10),
        "forest": (
            RandomForestClassifier(100, n_jobs=jobs, random_state=0).fit(x, y),
            "model.joblib",
            20,
        ),
        "xgboost": (
            xgboost.XGBClassifier(n_estimators=500, max_depth=6, n_jobs=jobs).fit(x, y),
            "model.json",
            20,
        ),
        "lightgbm": (
            lightgbm.LGBMClassifier(n_estimators=500, num_leaves=31, n_jobs=jobs, verbose=-1).fit(x, y),
            "model.txt",
            20,
        ),
    }
    report = {"models": {}}
    for name, (model, file, width) in models.items():
        folder = out / name
        folder.mkdir(parents=True)
        model.n_jobs = 1
        data = np.ascontiguousarray(fresh[:, :width])
        flavour = {"xgboost": mlflow.xgboost, "lightgbm": mlflow.lightgbm}.get(name, mlflow.sklearn)
        more = {} if name in ("xgboost", "lightgbm") else {"serialization_format": "cloudpickle"}
        flavour.save_model(model, str(out.parent / "mlflow" / name), pip_requirements=[], **more)
        if name == "xgboost":
            model.get_booster().set_param({"nthread": 1})
            model.save_model(folder / file)
            own = model.get_booster().inplace_predict
            # A file that XGBClassifier wrote is served as one: it answers labels. What is timed is the booster alone.
            answers = model.predict(data)
        elif name == "lightgbm":
            model.booster_.save_model(folder / file)
            own = functools.partial(model.booster_.predict, num_threads=1)
            answers = own(data)
        else:
            joblib.dump(model, folder / file)
            own = functools.partial(second, model)
            answers = model.predict(data)
        data.tofile(folder / "rows.f64")
        report["models"][name] = {
            "file": file,
            "width": width,
            "expected": np.asarray(answers, dtype=float).tolist(),
            "labels": np.asarray(model.predict(data), dtype=float).tolist(),
            "ways": timed(
                name,
                model,
                folder / file,
                data,
                own,
                np.asarray(own(data), dtype=float),
            ),
        }
    big = RandomForestClassifier(310, n_jobs=jobs, random_state=0).fit(x, y)
    (out / "big").mkdir()
    joblib.dump(big, out / "big" / "model.joblib")
    # What such a forest needs at least: eight bytes a node (a float32 threshold, a feature and a child), and each
    # different vector of shares once.
    trees = [one.tree_ for one in big.estimators_]
    leaves = np.concatenate([t.value[t.children_left < 0].reshape(-1, 2) for t in trees])
    report["big"] = {
        "file": "model.joblib",
        "bytes": (out / "big" / "model.joblib").stat().st_size,
        "compact": 8 * sum(t.node_count for t in trees) + 8 * np.unique(leaves, axis=0).size,
        "trees": len(trees),
        "nodes": sum(t.node_count for t in trees),
    }
    print(json.dumps(report))


main()
