"""Writes docs/model-matrix.md: python -m tests.serving.matrix.page [MODULE...]

With modules, only these are run and the table is printed, not written.
"""

import pathlib
import re
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from . import environments, matrix, run

HEAD = """# Models served natively

Made by `python -m tests.serving.matrix.page`; the test `tests/serving/matrix` checks the same on every run. Each
estimator is trained by the original library in the versions named, written in one of the forms that are read (pickle
by cloudpickle, joblib or pickle itself, skops), served by one `millrace serve`, and asked rows that it has not seen;
labels must be equal, and numbers within the bound. The difference is relative to the larger of 1 and the exact number.
scikit-learn 1.0 needs a Python of at most 3.10; where the machine has none, the test leaves its column out. Linear
models of all versions from 1.0 to 1.9, and boosters of XGBoost 1.3 and 1.7, LightGBM 2.3 and 3.3, CatBoost 0.26, 1.0
and 1.2, are kept as files (`tests/serving/golden`, `golden_boosters`).

Not read natively, and served by a Python worker: AdditiveChi2Sampler, DictionaryLearning and its kin, SparseCoder,
SparsePCA, MiniBatchNMF and NMF by multiplicative updates, DictVectorizer, FeatureHasher, Isomap,
LocallyLinearEmbedding, KNeighborsTransformer, RadiusNeighborsTransformer, PolynomialCountSketch, PatchExtractor;
kernels, metrics and weights by functions; CatBoost's categories that are no one-hot ones.

"""


def versions():
    """What the environments hold beside scikit-learn."""
    lines = []
    for package, title in (("lightgbm", "LightGBM"), ("xgboost-cpu", "XGBoost"), ("numpy", "numpy")):
        found = []
        for name in matrix.environments():
            lock = (environments.HERE / f"requirements-{name}.lock").read_text()
            version = re.search(rf"^{package}==(\S+)", lock, re.MULTILINE)
            found.append(version[1] if version else "none")
        lines.append(f"{title} {', '.join(found)}")
    return f"With the versions of scikit-learn, in their order: {'; '.join(lines)}.\n\n"


def table(wanted):
    lines = [
        "| estimator | case | outputs | {} | rows | largest difference | bound |",
        "| --- | --- | --- |{} --- | --- | --- |",
    ]
    names = list(matrix.environments())
    lines[0] = lines[0].format(" | ".join(f"scikit-learn {matrix.environments()[n]}" for n in names))
    lines[1] = lines[1].format(" --- |" * len(names))
    bad = 0
    with tempfile.TemporaryDirectory() as root, run.start(pathlib.Path(root), wanted) as served:
        for module in wanted:
            lines.append(f"| **{module.removeprefix('cases_')}** |" + " |" * (len(names) + 5))
            for case in matrix.cases_of(module):
                cells, rows, worst, about = [], 0, 0.0, None
                for name in names:
                    entry = served.cases.get((name, case.name))
                    if entry is None:
                        cells.append("–")
                        continue
                    about = about or entry
                    try:
                        compared, largest = run.compare(served, name, case.name)
                        rows, worst = rows + compared, max(worst, largest)
                        cells.append("equal" if largest == 0 else "✓")
                    except AssertionError as e:
                        print(f"{name} {case.name}: {e}", file=sys.stderr)
                        cells.append("**no**")
                        bad += 1
                if about:
                    what = about.get("class", "?")
                    outputs = ", ".join(about.get("answers", ()))
                    shown = "0" if worst == 0 else f"{worst:.1e}"
                    lines.append(
                        f"| {what} | {case.name} | {outputs} | {' | '.join(cells)} | {rows} | {shown} | {case.tolerance:g} |"
                    )
    return "\n".join(lines) + "\n", bad


def main(given):
    text, bad = table(given or matrix.modules())
    if given:
        print(text)
    else:
        (environments.ROOT / "docs" / "model-matrix.md").write_text(HEAD + versions() + text)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
