"""Trains the cases of one module in the environment that runs this: train.py OUT MODULE...

Writes OUT/MODULE/cases.json, the model files, the rows that are asked, and what the original answers.
"""

import io
import json
import pathlib
import pickle
import random
import sys
import traceback
import warnings

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
FORMATS = ("cloudpickle", "joblib", "skops", "joblib-zlib", "pickle4", "pickle5")
OWN = {"ubj": ".ubj", "json": ".json", "lgb": ".lgb"}  # the boosters' files, which their libraries write
SUFFIX = {**OWN, "joblib": ".joblib", "joblib-zlib": ".joblib", "skops": ".skops"}


def write(estimator, fmt, path):
    if fmt == "cloudpickle":
        import cloudpickle

        path.write_bytes(cloudpickle.dumps(estimator))
    elif fmt.startswith("joblib"):
        import joblib

        joblib.dump(estimator, path, compress=("zlib", 3) if fmt == "joblib-zlib" else 0)
    elif fmt in OWN:
        estimator.save_model(str(path))
    elif fmt == "skops":
        import skops.io

        skops.io.dump(estimator, path)
    else:
        path.write_bytes(pickle.dumps(estimator, protocol=int(fmt[-1])))


def save_rows(x, path):
    """The rows to ask, in a form that every version reads."""
    if isinstance(x, np.ndarray):
        np.save(path.with_suffix(".npy"), x)
        return {"file": path.with_suffix(".npy").name, "kind": str(x.dtype)}
    if isinstance(x, list):
        path.with_suffix(".json").write_text(json.dumps(x))
        return {"file": path.with_suffix(".json").name, "kind": "texts"}
    columns = []
    for name in x.columns:
        values = x[name]
        if values.dtype.kind in "fiub":
            columns.append([name, str(values.dtype), [None if v != v else v for v in values.tolist()]])
        else:
            columns.append([name, "text", [None if v is None or v != v else str(v) for v in values.tolist()]])
    path.with_suffix(".json").write_text(json.dumps(columns))
    return {"file": path.with_suffix(".json").name, "kind": "table"}


def save_answer(answer, path):
    if isinstance(answer, list):
        # An array for each of several outputs; they are kept side by side.
        about = save_answer(np.hstack(answer), path)
        return {**about, "widths": [a.shape[1] for a in answer]}
    if hasattr(answer, "toarray"):
        answer = answer.toarray()
    answer = np.asarray(answer)
    if answer.dtype.kind in "OUS":
        path.with_suffix(".json").write_text(json.dumps(answer.tolist()))
        return {"file": path.with_suffix(".json").name, "dtype": "text"}
    np.save(path.with_suffix(".npy"), answer)
    return {"file": path.with_suffix(".npy").name, "dtype": str(answer.dtype)}


def train(case, index, out, datasets, rows_of):
    np.random.seed(7)
    random.seed(7)
    x, y, ask = getattr(datasets, case.data)()
    ask = ask[: case.rows]
    estimator = case.make()
    if not case.fitted:
        estimator.fit(x) if y is None else estimator.fit(x, y)
    key = (case.data, case.rows)
    if key not in rows_of:
        rows_of[key] = save_rows(ask, out / f"rows-{case.data}-{case.rows}")
    files = {}
    for fmt in case.formats or (FORMATS[index % len(FORMATS)],):
        path = out / f"{case.name}{'' if fmt in OWN else '.' + fmt}{SUFFIX.get(fmt, '.pkl')}"
        try:
            write(estimator, fmt, path)
        except Exception:
            # skops does not take everything; then the usual form is what is tested.
            if fmt != "skops" or case.formats:
                raise
            path.unlink(missing_ok=True)
            fmt, path = "cloudpickle", out / f"{case.name}.cloudpickle.pkl"
            write(estimator, fmt, path)
        files[fmt] = path.name
    answers = {m: save_answer(getattr(estimator, m)(ask), out / f"{case.name}-{m}") for m in case.outputs}
    return {
        "name": case.name,
        "class": type(estimator).__name__,
        "rows": rows_of[key],
        "files": files,
        "answers": answers,
        "tolerance": case.tolerance,
    }


def main(root, modules):
    warnings.simplefilter("ignore")
    sys.path.insert(0, str(HERE))
    import datasets
    import matrix
    import sklearn

    for module in modules:
        out = pathlib.Path(root) / module
        out.mkdir(parents=True, exist_ok=True)
        rows_of = {}
        done = []
        for index, case in enumerate(matrix.cases_of(module)):
            if not matrix.applies(case, sklearn.__version__) or not matrix.present(case.needs):
                continue
            try:
                done.append(train(case, index, out, datasets, rows_of))
            except Exception:
                text = io.StringIO()
                traceback.print_exc(file=text)
                done.append({"name": case.name, "failed": text.getvalue()})
        (out / "cases.json").write_text(json.dumps({"sklearn": sklearn.__version__, "cases": done}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
