"""The Python environments of the model matrix, under build/matrix-envs/: made once, reused while their lock stays.

environments.py lock    writes requirements-*.lock from requirements-*.in
environments.py make    makes them all
environments.py check   ends with 1 when one is still to be made
"""

import contextlib
import fcntl
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
if __name__ == "__main__":
    sys.path.insert(0, str(HERE))
    import matrix
else:
    from . import matrix
ROOT = HERE.parents[2]
BUILD = ROOT / "build"


def uv():
    own = BUILD / "tools" / "uv" / "bin" / "uv"
    found = str(own) if own.exists() else shutil.which("uv")
    if found is None:
        raise RuntimeError("there is no uv; run: make setup")
    return found


def uv_environment():
    env = {k: v for k, v in os.environ.items() if k != "VIRTUAL_ENV"}
    if env.get("PIP_INDEX_URL") and not env.get("UV_DEFAULT_INDEX"):
        env["UV_DEFAULT_INDEX"] = env["PIP_INDEX_URL"]
    env.setdefault("UV_HTTP_TIMEOUT", "180")
    env.setdefault("UV_SYSTEM_CERTS", "1")
    env["UV_PYTHON_DOWNLOADS"] = "never"
    return env


def call(*args):
    done = subprocess.run([str(a) for a in args], env=uv_environment(), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, args))}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")


@contextlib.contextmanager
def locked(path):
    """Two test runs in one checkout share what they make."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def python_of(name, make=True):
    """The interpreter of an environment, which is made if need be; None when it is not there and not to be made."""
    folder = BUILD / "matrix-envs" / name
    lock = HERE / f"requirements-{name}.lock"
    base = pathlib.Path(matrix.interpreter(matrix.ENVIRONMENTS[name][1]))
    stamp = f"{hashlib.sha256(lock.read_bytes()).hexdigest()} {base} {folder}"
    python = folder / "bin" / "python"
    with locked(folder.with_suffix(".flock")):
        mark = folder / "made-from"
        if not (python.exists() and mark.exists() and mark.read_text() == stamp):
            if not make:
                return None
            call(uv(), "venv", "--quiet", "--clear", "--python", base, folder)
            call(uv(), "pip", "sync", "--quiet", "--require-hashes", "--python", python, lock)
            mark.write_text(stamp)
    return python


def lock_all():
    for source in sorted(HERE.glob("requirements-*.in")):
        last = matrix.ENVIRONMENTS[source.stem.removeprefix("requirements-")][1]
        call(
            uv(), "pip", "compile", "--no-config", "--universal", "--python-version",
            ".".join(map(str, min(last, (3, 11)))), "--generate-hashes",
            "--no-emit-index-url", "--no-emit-find-links", "--custom-compile-command", "environments.py lock",
            "--quiet", "--output-file", source.parent / (source.stem + ".lock"), source,
        )  # fmt: skip


if __name__ == "__main__":
    if sys.argv[1:] == ["lock"]:
        lock_all()
    else:
        found = [python_of(name, make=sys.argv[1:] != ["check"]) for name in matrix.environments()]
        sys.exit(None in found)
