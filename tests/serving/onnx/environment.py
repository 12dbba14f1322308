"""The Python environment of the ONNX tests, build/matrix-envs/onnx: made once, reused while its lock stays.

python -m tests.serving.onnx.environment lock    writes requirements.lock from requirements.in
python -m tests.serving.onnx.environment make    makes it, if need be
"""

import hashlib
import os
import pathlib
import sys

from ..matrix import environments

HERE = pathlib.Path(__file__).resolve().parent
LOCK = HERE / "requirements.lock"
FOLDER = environments.BUILD / "matrix-envs" / "onnx"


def python():
    """Its interpreter, made if need be."""
    base = pathlib.Path(os.path.realpath(sys.executable))
    stamp = f"{hashlib.sha256(LOCK.read_bytes()).hexdigest()} {base} {FOLDER}"
    found, mark = FOLDER / "bin" / "python", FOLDER / "made-from"
    with environments.locked(FOLDER.with_suffix(".flock")):
        if not (found.exists() and mark.exists() and mark.read_text() == stamp):
            uv = environments.uv()
            environments.call(uv, "venv", "--quiet", "--clear", "--python", base, FOLDER)
            environments.call(uv, "pip", "sync", "--quiet", "--require-hashes", "--python", found, LOCK)
            mark.write_text(stamp)
    return found


def library():
    """Its ONNX Runtime."""
    python()
    found = sorted(FOLDER.glob("lib/python3.*/site-packages/onnxruntime/capi/libonnxruntime.so*"))
    assert found, f"no ONNX Runtime in {FOLDER}"
    return found[0]


def requirements():
    """The packages that a model needs to be served by its own library, as locked."""
    wanted = ("mlflow-skinny", "numpy", "onnxruntime", "pandas")
    lines = [line.split(" \\")[0] for line in LOCK.read_text().splitlines() if "==" in line and line[0].isalpha()]
    return [line for line in lines if line.split("==")[0] in wanted]


def write_lock():
    environments.call(
        environments.uv(), "pip", "compile", "--no-config", "--universal", "--python-version", "3.11",
        "--generate-hashes", "--no-emit-index-url", "--no-emit-find-links", "--custom-compile-command",
        "python -m tests.serving.onnx.environment lock", "--quiet", "--output-file", LOCK, HERE / "requirements.in",
    )  # fmt: skip


if __name__ == "__main__":
    {"lock": write_lock, "make": python}[sys.argv[1]]()
