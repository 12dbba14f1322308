"""Trains every case in every environment, serves all models by one `millrace serve`, and compares the answers."""

import concurrent.futures
import contextlib
import functools
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import threading

import harness
import numpy as np

from .. import support
from . import environments, matrix

HERE = pathlib.Path(__file__).resolve().parent
OUT = environments.BUILD / "matrix"
BOOSTERS = {".ubj": "xgboost", ".json": "xgboost", ".lgb": "lightgbm"}  # files that are a flavor of their own
DATATYPES = {"float64": "FP64", "float32": "FP32", "int64": "INT64", "int32": "INT32", "bool": "BOOL", "text": "BYTES"}


# ---- training ----


def stamp_of(name, module):
    """What the models of one module in one environment are made from."""
    digest = hashlib.sha256()
    for file in ("declare.py", "datasets.py", "train.py", f"{module}.py", f"requirements-{name}.lock"):
        digest.update((HERE / file).read_bytes())
    return digest.hexdigest()


def train(name, modules):
    """The cases of all modules in one environment: {module: what cases.json says}. Models that are there are kept."""
    folder = OUT / name
    with environments.locked(folder.with_suffix(".flock")):
        stamps = {m: stamp_of(name, m) for m in modules}
        stale = [m for m in modules if not is_made(folder / m, stamps[m])]
        if stale:
            for m in stale:
                shutil.rmtree(folder / m, ignore_errors=True)
            done = subprocess.run(
                [environments.python_of(name), HERE / "train.py", folder, *stale],
                env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"},
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode != 0:
                raise RuntimeError(f"training with scikit-learn {name} failed\n{done.stderr[-4000:]}")
            for m in stale:
                (folder / m / "made-from").write_text(stamps[m])
        return {m: json.loads((folder / m / "cases.json").read_text())["cases"] for m in modules}


def is_made(folder, stamp):
    mark = folder / "made-from"
    return mark.exists() and mark.read_text() == stamp


# ---- serving ----


class Run:
    """All models behind one server. results: (environment, case) -> its entry in cases.json."""

    def __init__(self):
        self.cases = {}
        self.refused = {}  # served name -> why it did not load
        self.server = None
        self.lock = threading.Lock()

    def served_name(self, name, case, method, fmt):
        return f"{name}-{case}-{method}-{fmt}"


def signature_of(folder, rows):
    if rows["kind"] in ("float64", "float32"):
        return support.tensor(rows["kind"], [-1, *np.load(folder / rows["file"], mmap_mode="r").shape[1:]])
    if rows["kind"] == "texts":
        return support.columns([("text", "string")])
    table = json.loads((folder / rows["file"]).read_text())
    types = {"text": "string", "int64": "long", "bool": "boolean", "float32": "float"}
    return support.columns([(column, types.get(kind, "double")) for column, kind, _ in table])


@contextlib.contextmanager
def start(root, modules=None, only=None):
    """`root`: an empty folder for the model repository. only: names of environments."""
    modules = modules or matrix.modules()
    names = [n for n in matrix.environments() if only is None or n in only]
    run = Run()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        trained = dict(zip(names, pool.map(lambda n: train(n, modules), names), strict=True))
    for name, by_module in trained.items():
        for module, cases in by_module.items():
            folder = OUT / name / module
            for entry in cases:
                entry["folder"] = folder
                entry["module"] = module
                run.cases[name, entry["name"]] = entry
                for fmt, method in pairs(entry):
                    add_model(root, run.served_name(name, entry["name"], method, fmt), name, entry, fmt, method)
    with contextlib.ExitStack() as stack:
        while run.server is None:
            try:
                run.server = stack.enter_context(support.serve(None, "--model-repository", root, timeout=300))
            except harness.StartFailed as e:
                # A model that does not load fails its own test alone.
                found = re.search(r"model '([^']+)' cannot be loaded: ([^\n]*)", str(e))
                if found is None or not (root / found[1]).exists():
                    raise
                run.refused[found[1]] = found[2]
                shutil.rmtree(root / found[1])
        yield run


def pairs(entry):
    """(format, method) of what is served: every method of the first format, predict (or the first) of the others."""
    if "failed" in entry:
        return
    for i, fmt in enumerate(entry["files"]):
        for method in list(entry["answers"])[: 1 if i else None]:
            yield fmt, method


def add_model(root, served, name, entry, fmt, method):
    file = entry["folder"] / entry["files"][fmt]
    folder = root / served / "model"
    support.write_model(
        folder,
        b"",
        file_name=file.name,
        predict_fn=method,
        inputs=signature_of(entry["folder"], entry["rows"]),
        sklearn_version=matrix.environments()[name],
    )
    if library := BOOSTERS.get(file.suffix):
        text = (folder / "MLmodel").read_text()
        flavor = f"  {library}:\n    data: {file.name}\n    model_class: {library}.any.{entry['class']}\n"
        text = text.replace("mlflow.sklearn", f"mlflow.{library}").replace("  sklearn:\n", flavor + "  sklearn:\n")
        (folder / "MLmodel").write_text(text)
    (folder / file.name).unlink()
    try:
        os.link(file, folder / file.name)
    except OSError:  # another file system
        shutil.copyfile(file, folder / file.name)
    support.write_settings(root / served, served)


# ---- comparing ----


def batches(total, short):
    """Slices of the rows: odd sizes first, since a vector kernel has a tail."""
    at = 0
    for size in () if short else (1, 2, 7, 33, 64):
        if at + size < total:
            yield slice(at, at + size)
            at += size
    yield slice(at, total)


def inputs_of(rows, part):
    """The V2 inputs of these rows, and how many they are."""
    kind, content = rows
    if kind in ("float64", "float32"):
        x = content[part]
        data = x.astype(object)
        data[np.isnan(x)] = None
        return [{"name": "x", "datatype": DATATYPES[kind], "shape": list(x.shape), "data": data.ravel().tolist()}]
    if kind == "texts":
        given = content[part]
        return [{"name": "text", "datatype": "BYTES", "shape": [len(given), 1], "data": given}]
    return [
        {"name": column, "datatype": DATATYPES.get(t, "FP64"), "shape": [len(values[part]), 1], "data": values[part]}
        for column, t, values in content
    ]


@functools.lru_cache(512)
def body_of(path, kind, part):
    """The request for these rows of a file: many cases ask the same."""
    return json.dumps({"inputs": inputs_of(rows_of(path, kind), slice(*part))})


@functools.lru_cache(64)
def rows_of(path, kind):
    return kind, np.load(path) if kind in ("float64", "float32") else json.loads(path.read_text())


def rows_in(path, kind):
    content = rows_of(path, kind)[1]
    return len(content[0][2]) if kind == "table" else len(content)


def load_answer(entry, method):
    about = entry["answers"][method]
    path = entry["folder"] / about["file"]
    if about["dtype"] == "text":
        return np.array(json.loads(path.read_text()), dtype=object), "text"
    return np.load(path), about["dtype"]


def answers_of(entry, method, exact):
    """The arrays of an answer: one, or one for each of several outputs, which are kept side by side."""
    widths = entry["answers"][method].get("widths")
    return [exact] if widths is None else np.split(exact, np.cumsum(widths)[:-1], axis=1)


def compare(run, name, case):
    """Asks for all outputs of one case and answers (rows compared, largest difference); raises AssertionError."""
    entry = run.cases[name, case]
    assert "failed" not in entry, f"the original could not be trained or asked:\n{entry['failed']}"
    path, kind = entry["folder"] / entry["rows"]["file"], entry["rows"]["kind"]
    total = rows_in(path, kind)
    compared, largest = 0, 0.0
    for i, (fmt, method) in enumerate(pairs(entry)):
        served = run.served_name(name, case, method, fmt)
        assert served not in run.refused, f"{served} was not loaded: {run.refused[served]}"
        exact, dtype = load_answer(entry, method)
        assert len(exact) == total, "the original answered another number of rows"
        for part in batches(total, short=i > 0):
            status, _, body = run.server.post(
                f"/v2/models/{served}/infer", body_of(path, kind, (part.start, part.stop))
            )
            assert status == 200, f"{served}: {body}"
            for output, wanted in zip(body["outputs"], answers_of(entry, method, exact[part]), strict=True):
                width = 1 if wanted.ndim == 1 else int(np.prod(wanted.shape[1:]))
                assert output["shape"] == [len(wanted), width], f"{served}: shape {output['shape']}"
                largest = max(largest, difference(served, output, wanted, dtype, entry["tolerance"]))
            compared += part.stop - part.start
    return compared, largest


def difference(served, output, wanted, dtype, tolerance):
    wanted = wanted.ravel()
    if dtype == "text":
        wrong = [k for k, (got, want) in enumerate(zip(output["data"], wanted, strict=True)) if got != want]
        assert not wrong, f"{served}: {len(wrong)} labels differ, the first in row {wrong[0]}"
        return 0.0
    got = np.array([np.nan if v is None else v for v in output["data"]], dtype=np.float64)
    assert len(got) == len(wanted)
    if not dtype.startswith("float"):
        wrong = np.flatnonzero(got != wanted)
        assert wrong.size == 0, (
            f"{served}: {wrong.size} labels differ, the first at {wrong[0]}: {got[wrong[0]]} for {wanted[wrong[0]]}"
        )
        return 0.0
    wanted = wanted.astype(np.float64)
    known = np.isfinite(wanted)
    assert np.array_equal(known, np.isfinite(got)), f"{served}: other numbers are not finite"
    if not known.any():
        return 0.0
    off = np.abs(got - wanted)[known] / np.maximum(1.0, np.abs(wanted[known]))
    worst = int(off.argmax())
    assert off[worst] <= tolerance, (
        f"{served}: {int((off > tolerance).sum())} numbers of {len(off)} differ, the most {off[worst]:.3g} at "
        f"{worst}: {got[known][worst]!r} for {wanted[known][worst]!r}"
    )
    return float(off[worst])
