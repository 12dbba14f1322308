"""What trainer and tests share: which cases there are and where they apply. Standard library only."""

import functools
import importlib
import importlib.util
import os
import pathlib
import shutil
import sys

HERE = pathlib.Path(__file__).resolve().parent

# Environment -> scikit-learn's version in it, and the last Python that it is made for; the packages are locked in
# requirements-NAME.lock.
ENVIRONMENTS = {
    "1.0": ("1.0.2", (3, 10)),
    "1.1": ("1.1.3", (3, 11)),
    "1.2": ("1.2.2", (3, 11)),
    "1.5": ("1.5.2", (3, 13)),
    "1.9": ("1.9.1", (3, 99)),
}


@functools.cache
def interpreter(last):
    """A Python that is not newer than `last`: this one, or an older one of the machine's; None when it has none."""
    if sys.version_info[:2] <= last:
        return os.path.realpath(sys.executable)
    name = f"python{last[0]}.{last[1]}"
    root = pathlib.Path(os.environ.get("PYENV_ROOT") or pathlib.Path.home() / ".pyenv") / "versions"
    for found in (*sorted(root.glob(f"{last[0]}.{last[1]}.*/bin/{name}")), shutil.which(name)):
        if found and "/shims/" not in str(found):
            return os.path.realpath(found)
    return None


def environments():
    """Those that this machine has a Python for."""
    return {name: version for name, (version, last) in ENVIRONMENTS.items() if interpreter(last)}


def modules():
    return sorted(p.stem for p in HERE.glob("cases_*.py"))


def cases_of(module):
    if str(HERE) not in sys.path:
        sys.path.insert(0, str(HERE))
    cases = importlib.import_module(module).CASES
    names = [c.name for c in cases]
    assert len(names) == len(set(names)), f"{module} names a case twice"
    return cases


def applies(case, version):
    number = tuple(int(p) for p in version.split(".")[:2])
    return case.since <= number <= case.until


def present(package):
    return not package or importlib.util.find_spec(package) is not None
