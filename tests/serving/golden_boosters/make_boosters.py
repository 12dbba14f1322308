"""Writes what one version of a boosting library makes of small models: python make_boosters.py OUT, in an environment
with that library. OUT/NAME-VERSION/ gets the model files and cases.json. Versions kept here: XGBoost 1.3.3 and 1.7.6,
LightGBM 2.3.1 and 3.3.5, CatBoost 0.26.1 and 1.0.6 (of these some of the files) and 1.2.10.
"""

import importlib
import json
import pathlib
import pickle
import sys
import warnings

import numpy as np

ROWS = 30


def data(seed, holes=True, rows=400):
    random = np.random.RandomState(seed)
    x = np.round(random.normal(size=(rows, 5)), 3)
    y = x[:, 0] + x[:, 1] * x[:, 2] + 0.3 * random.normal(size=rows)
    if holes:
        x[random.uniform(size=x.shape) < 0.1] = np.nan
    return x, y


class Golden:
    def __init__(self, library, out):
        self.library = importlib.import_module(library)
        self.name = f"{library}-{self.library.__version__}"
        self.out = pathlib.Path(out) / self.name
        self.out.mkdir(parents=True, exist_ok=True)
        self.cases = []

    def add(self, name, model, cls, x, answer, formats):
        """formats: ending -> a function that writes the file."""
        for ending, write in formats.items():
            file = f"{name}{ending}"
            write(str(self.out / file))
            answer = np.asarray(answer)
            self.cases.append(
                {
                    "file": f"{self.name}/{file}",
                    "library": self.name.split("-")[0],
                    "class": cls,
                    "rows": [[None if v != v else v for v in row] for row in x.tolist()],
                    "answer": answer.reshape(len(x), -1).tolist(),
                    "labels": answer.dtype.kind not in "f",
                }
            )

    def write(self):
        text = "\n".join(json.dumps(c) for c in self.cases)
        (self.out / "cases.jsonl").write_text(text + "\n")


def pickled(model):
    def write(path):
        pathlib.Path(path).write_bytes(pickle.dumps(model, protocol=4))

    return write


def xgboost_models(g):
    xgb = g.library
    modern = tuple(int(p) for p in xgb.__version__.split(".")[:2]) >= (1, 6)
    endings = (".json", ".ubj") if modern else (".json",)
    x, y = data(1)
    two, three = (y > 0.3).astype(int), np.digitize(y, [-0.3, 0.6])

    def train(name, target, rounds=4, x=x, **parameters):
        parameters = {"max_depth": 3, **parameters}
        kinds = parameters.pop("kinds", None)
        about = {"enable_categorical": True, "feature_types": kinds} if kinds else {}
        booster = xgb.train(parameters, xgb.DMatrix(x, label=target, **about), rounds)
        asked = x[:ROWS].copy()
        if kinds:
            asked[::3, 0] = [-1, 99, 3, 2.5, 7, 0, 1e9, 5, 6, 4]
        answer = booster.predict(xgb.DMatrix(asked, **about))
        g.add(name, booster, "Booster", asked, answer, {e: booster.save_model for e in endings})

    train("logistic", two, objective="binary:logistic")
    train("logistic_base", two, objective="binary:logistic", base_score=0.2)
    train("softprob", three, objective="multi:softprob", num_class=3, num_parallel_tree=2, subsample=0.6)
    train("poisson", np.floor(np.exp(y)), objective="count:poisson")
    train("dart", two, objective="binary:logistic", booster="dart", rate_drop=0.5, rounds=6)
    train("linear", three, objective="multi:softprob", num_class=3, booster="gblinear")
    if modern:
        coded = x.copy()
        coded[:, 0] = np.random.RandomState(3).randint(0, 9, len(x))
        train("categories", y + coded[:, 0] % 3, x=coded, objective="reg:squarederror", tree_method="approx",
              max_cat_to_onehot=1, kinds=["c", "q", "q", "q", "q"])  # fmt: skip
    later = {} if modern else {"use_label_encoder": True}
    if modern:
        later["early_stopping_rounds"] = 2
    labels = three if modern else np.array([7, 3, 5])[three]
    model = xgb.XGBClassifier(n_estimators=40, max_depth=3, learning_rate=1.0, **later)
    other, target = data(2)
    target = np.digitize(target, [-0.3, 0.6])
    target = target if modern else np.array([7, 3, 5])[target]
    fit = {} if modern else {"early_stopping_rounds": 2}
    model.fit(x, labels, eval_set=[(other, target)], verbose=False, **fit)
    answer = model.predict(x[:ROWS])
    g.add("classifier", model, "XGBClassifier", x[:ROWS], answer, {e: model.save_model for e in endings})
    if modern:
        g.add("pickled", model, "XGBClassifier", x[:ROWS], answer, {".pkl": pickled(model)})


def lightgbm_models(g):
    lgb = g.library
    x, y = data(1)
    three = np.digitize(y, [-0.3, 0.6])

    def train(name, target, x=x, ask=None, rounds=4, categories="auto", **parameters):
        parameters = {"verbose": -1, "num_leaves": 7, "min_data_in_leaf": 5, "num_threads": 1, **parameters}
        booster = lgb.train(parameters, lgb.Dataset(x, target, categorical_feature=categories), rounds)
        booster.params = {}
        asked = x[:ROWS] if ask is None else ask
        g.add(name, booster, "Booster", asked, booster.predict(asked), {".lgb": booster.save_model})

    train("regression", y, objective="regression")
    train("zero", y, objective="regression", zero_as_missing=True)
    train("binary", (y > 0).astype(int), objective="binary")
    train("multiclass", three, objective="multiclass", num_class=3)
    train("forest", y, objective="regression", boosting="rf", bagging_freq=1, bagging_fraction=0.6)
    coded = x.copy()
    coded[:, 0] = np.random.RandomState(3).randint(0, 40, len(x))
    asked = coded[:ROWS].copy()
    asked[::3, 0] = [-1, 99, 3, 2.5, 7, 0, 1e9, 5, -0.5, np.nan]
    train("categories", y + coded[:, 0] % 3, x=coded, ask=asked, objective="regression", categories=[0],
          min_data_per_group=5, cat_smooth=1)  # fmt: skip
    model = lgb.LGBMClassifier(n_estimators=4, num_leaves=7, n_jobs=1).fit(x, np.array(["a", "b", "ü"])[three])
    g.add("pickled", model, "LGBMClassifier", x[:ROWS], model.predict(x[:ROWS]), {".pkl": pickled(model)})


def catboost_models(g):
    import pandas as pd

    cb = g.library
    x, y = data(1)
    two, three = (y > 0.3).astype(int), np.digitize(y, [-0.3, 0.6])
    settings = {
        "iterations": 4,
        "depth": 3,
        "border_count": 16,
        "verbose": 0,
        "thread_count": 1,
        "allow_writing_files": False,
    }

    def train(name, cls, target, x=x, rows=None, pickle_too=False, **parameters):
        model = getattr(cb, cls)(**{**settings, **parameters}).fit(x, target)
        asked = x[:ROWS] if rows is None else rows
        formats = {
            ".cbm": lambda path: model.save_model(path, format="cbm"),
            ".json": lambda path: model.save_model(path, format="json"),
        }
        if pickle_too:
            formats[".pkl"] = pickled(model)
        asked_rows = asked if isinstance(asked, np.ndarray) else asked.to_numpy(dtype=object)
        g.add(name, model, cls, asked_rows, model.predict(asked), formats)

    train("regressor", "CatBoostRegressor", y)
    train("poisson", "CatBoostRegressor", np.floor(np.exp(y)), loss_function="Poisson")
    train("two", "CatBoostClassifier", two, pickle_too=True)
    train("three", "CatBoostClassifier", np.array(["a", "b", "ü"])[three])
    train("lossguide", "CatBoostClassifier", three, grow_policy="Lossguide")
    train("depthwise", "CatBoostRegressor", y, grow_policy="Depthwise", nan_mode="Max")
    whole, _ = data(4, holes=False)
    table = pd.DataFrame(whole)
    names = np.array(
        ["Köln", "Ulm", "a very long name of a town that nobody has ever heard of, nor will, surely", "Bonn"]
    )
    at = np.random.RandomState(5).randint(0, 4, len(table))
    table[5] = names[at]
    asked = table[:ROWS].copy()
    asked.loc[::4, 5] = "Rom"
    train("texts", "CatBoostRegressor", whole[:, 0] + at, x=table, rows=asked, cat_features=[5], one_hot_max_size=10)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    for library, make in (("xgboost", xgboost_models), ("lightgbm", lightgbm_models), ("catboost", catboost_models)):
        try:
            golden = Golden(library, sys.argv[1])
        except ImportError:
            continue
        make(golden)
        golden.write()
        print(golden.name, len(golden.cases))
