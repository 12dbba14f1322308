"""spaCy: blank pipelines, which need no download."""

import pathlib

import pandas as pd


def make(folder):
    import mlflow
    import spacy
    from mlflow.models import infer_signature
    from spacy.training import Example

    folder = pathlib.Path(folder)
    spacy.util.fix_random_seed(1)
    nlp = spacy.blank("en")
    cats = nlp.add_pipe("textcat")
    for label in ("good", "bad"):
        cats.add_label(label)
    said = [
        ("a fine day", 1.0),
        ("a good one", 1.0),
        ("an awful day", 0.0),
        ("a bad one", 0.0),
    ]
    examples = [Example.from_dict(nlp.make_doc(t), {"cats": {"good": g, "bad": 1 - g}}) for t, g in said]
    nlp.initialize(lambda: examples)
    for _ in range(10):
        nlp.update(examples)
    table = pd.DataFrame({"text": ["a good day", "bad"]})
    mlflow.spacy.save_model(nlp, folder / "textcat", signature=infer_signature(table, None))
    mlflow.spacy.save_model(nlp, folder / "bare")
    js = "application/json"
    cases = [
        (
            js,
            {
                "dataframe_split": {
                    "columns": ["text"],
                    "data": [["a good day"], ["bad"]],
                }
            },
        ),
        (js, {"dataframe_records": [{"text": "an awful one"}]}),
        (js, {"inputs": {"text": ["a good day"]}}),
        (js, {"inputs": ["a good day", "bad"]}),
        (js, {"dataframe_records": [{"x": 1}]}),
        ("text/csv", "text\na good day\n"),
    ]
    return {"textcat": cases, "bare": cases}
