"""The form in which a case of the model matrix is declared. Runs in every environment, so: standard library only.

A module cases_NAME.py of this folder holds a list CASES:

    from declare import Case, new

    CASES = [
        Case("forest", lambda: new("sklearn.ensemble.RandomForestClassifier", n_estimators=20), "three_classes",
             ("predict", "predict_proba")),
    ]

It may import only this module (and `datasets`) at its top, since the tests read it where other versions are installed;
a maker imports what it needs, by `new` or by itself. It is called with numpy's and Python's random state seeded, and
what it makes is fitted on the data set's training rows unless `fitted` says that it comes fitted.
"""

import dataclasses
import importlib
import typing


@dataclasses.dataclass(frozen=True)
class Case:
    name: str  # unique over all modules; letters, digits, underscores
    make: typing.Callable  # -> an estimator
    data: str  # a data set: a function of datasets.py
    outputs: tuple = ("predict",)  # predict, predict_proba, predict_log_proba, decision_function, transform
    since: tuple = (0, 0)  # the first scikit-learn version that has it, as (1, 3)
    until: tuple = (99, 99)  # the last
    tolerance: float = 1e-12  # relative to max(1, |exact|); labels must be equal in any case
    needs: str = ""  # a package that must be in the environment: "lightgbm"
    formats: tuple = ()  # ways of writing, of train.py's FORMATS; default: one in turn
    fitted: bool = False
    rows: int = 1000  # how many of the data set's rows are compared


def new(path, *args, **parameters):
    """An object of the class with this full name: new("sklearn.svm.SVC", C=2.0)."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)(*args, **parameters)
