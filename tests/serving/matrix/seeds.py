"""Seeds of the fuzz target model_fuzz: the matrix' cases trained on few rows, as small pickles.

Run in an environment of the matrix: seeds.py OUT. One file for each kind of estimator, of at most 10,000 bytes; written
anew only when a family joins the matrix.
"""

import pathlib
import pickle
import random
import sys
import warnings

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
SMALL = {"n_estimators": 2, "n_components": 2, "n_clusters": 2, "n_quantiles": 5, "num_leaves": 3, "n_neighbors": 2,
         "n_knots": 3, "n_bins": 2}  # fmt: skip
MOST = 10_000
ROWS = 16


def smaller(estimator):
    for name, value in estimator.get_params(deep=True).items():
        last = name.rpartition("__")[2]
        if last == "hidden_layer_sizes":
            estimator.set_params(**{name: (2,)})
        elif last == "max_depth" and value is None:
            estimator.set_params(**{name: 2})
        elif last in SMALL and isinstance(value, int) and value > SMALL[last]:
            estimator.set_params(**{name: SMALL[last]})
    return estimator


def kind_of(estimator):
    """What makes it another seed: its class and those within it."""
    inner = []
    for value in estimator.get_params(deep=True).values():
        if hasattr(value, "get_params") and not isinstance(value, type):
            inner.append(type(value).__name__)
    return "-".join([type(estimator).__name__, *sorted(set(inner))])[:120]


def main(out):
    warnings.simplefilter("ignore")
    sys.path.insert(0, str(HERE))
    import datasets
    import matrix
    import sklearn

    version = ".".join(sklearn.__version__.split(".")[:2])
    out = pathlib.Path(out)
    out.mkdir(parents=True, exist_ok=True)
    kinds = set()
    for module in matrix.modules():
        for case in matrix.cases_of(module):
            if not matrix.applies(case, sklearn.__version__) or not matrix.present(case.needs):
                continue
            np.random.seed(7)
            random.seed(7)
            try:
                estimator = case.make()
                if not hasattr(estimator, "get_params"):  # a booster, which is no pickle
                    continue
                kind = kind_of(estimator)
                if kind in kinds:
                    continue
                x, y, _ = getattr(datasets, case.data)()
                estimator = smaller(estimator)
                if not case.fitted:
                    estimator.fit(x[:ROWS]) if y is None else estimator.fit(x[:ROWS], y[:ROWS])
                data = pickle.dumps(estimator, protocol=4)
            except Exception as e:
                print(f"{case.name}: {e}", file=sys.stderr)
                continue
            if len(data) > MOST:
                print(f"{case.name}: {len(data)} bytes", file=sys.stderr)
                continue
            kinds.add(kind)
            (out / f"{case.name}-{version}").write_bytes(data)


if __name__ == "__main__":
    main(sys.argv[1])
