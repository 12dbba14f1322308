"""Makes the golden results of statsmodels: make.py VERSION, in an environment with that version of statsmodels.

Made with statsmodels 0.13.5 (pandas 1.5, numpy 1.24), 0.14.4 (pandas 2.3, numpy 2.4) and 0.15.0 (pandas 3.1). Writes
VERSION/NAME.statsmodels, as mlflow.statsmodels does, and VERSION/cases.json: the rows that are asked and the answers.
"""

import json
import pathlib
import sys
import warnings

import numpy as np
import pandas as pd
import statsmodels.api as sm
import statsmodels.formula.api as smf

warnings.simplefilter("ignore")
HERE = pathlib.Path(__file__).resolve().parent


def models(x, random):
    line = x @ [1, 2, 3]
    y = line + 0.3 * random.normal(size=len(x))
    yes = (line + 2 * random.normal(size=len(x)) > 0).astype(int)
    count = random.poisson(np.exp(line / 4))
    three = np.digitize(line + 2 * random.normal(size=len(x)), [-1, 1])
    constant = sm.add_constant(x)
    table = x.assign(y=y, yes=yes)
    link = getattr(sm.families.links, "CLogLog", None) or sm.families.links.cloglog
    yield "ols", sm.OLS(y, constant).fit(), "const"
    yield "ols_numpy", sm.OLS(y.values, constant.values).fit(), "const"
    yield (
        "wls",
        sm.WLS(y, constant, weights=random.uniform(0.5, 1, size=len(x))).fit(),
        "const",
    )
    yield "rlm", sm.RLM(y, constant).fit(), "const"
    yield "quantile", sm.QuantReg(y, constant).fit(0.3), "const"
    yield "logit", sm.Logit(yes, constant).fit(disp=0), "const"
    yield "probit", sm.Probit(yes, constant).fit(disp=0), "const"
    yield "poisson", sm.Poisson(count, constant).fit(disp=0), "const"
    yield "negative_binomial", sm.NegativeBinomial(count, constant).fit(disp=0), "const"
    yield "multinomial", sm.MNLogit(three, constant).fit(disp=0), "const"
    yield (
        "glm_binomial",
        sm.GLM(yes, constant, family=sm.families.Binomial()).fit(),
        "const",
    )
    yield (
        "glm_cloglog",
        sm.GLM(yes, constant, family=sm.families.Binomial(link())).fit(),
        "const",
    )
    yield (
        "glm_poisson",
        sm.GLM(count, constant, family=sm.families.Poisson()).fit(),
        "const",
    )
    yield "formula", smf.ols("y ~ a + b + c", table).fit(), "plain"
    yield "formula_logit", smf.logit("yes ~ c + a", table).fit(disp=0), "plain"
    yield "formula_terms", smf.ols("y ~ a * b + c", table).fit(), "refused"


def main(version):
    folder = HERE / version
    folder.mkdir(exist_ok=True)
    random = np.random.RandomState(5)
    x = pd.DataFrame(random.normal(size=(60, 3)), columns=list("abc"))
    ask = pd.DataFrame(random.normal(size=(25, 3)), columns=list("abc"))
    cases = []
    for name, result, form in models(x, random):
        rows = sm.add_constant(ask) if form == "const" else ask
        # Formulas need their data; the others are stored without, as remove_data does, but for one.
        answers = np.asarray(result.predict(rows.values if name == "ols_numpy" else rows))
        result.save(
            str(folder / f"{name}.statsmodels"),
            remove_data=form == "const" and name != "ols",
        )
        cases.append(
            {
                "name": name,
                "form": form,
                "columns": list(rows.columns),
                "rows": rows.values.tolist(),
                "answers": answers.tolist(),
            }
        )
    (folder / "cases.json").write_text(json.dumps(cases) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
