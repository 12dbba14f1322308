"""Runs in a model's own environment: makes a flavour's models, and asks MLflow's scoring code all their cases.

python reference.py FLAVOUR FOLDER    logs the models, writes FOLDER/cases.json with what MLflow answers
"""

import importlib
import json
import pathlib
import shutil
import sys
import traceback


def ask(server, model, schema, content_type, body):
    """What `mlflow models serve` answers: (status, body)."""
    from mlflow.exceptions import MlflowException

    text = body if isinstance(body, str) else json.dumps(body)
    try:
        got = server.invocations(text.encode(), content_type, model, schema)
        return got.status, got.response
    except MlflowException as e:
        return e.get_http_status_code(), e.serialize_as_json()
    except (
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        IndexError,
    ):  # FastAPI's answer to what nothing has caught
        traceback.print_exc()
        return 500, "Internal Server Error"


def main(flavour, folder):
    import mlflow.pyfunc
    from mlflow.pyfunc import scoring_server

    folder = pathlib.Path(folder).resolve()
    shutil.rmtree(folder, ignore_errors=True)  # of an attempt that failed
    folder.mkdir(parents=True)
    sys.path.insert(0, str(pathlib.Path(__file__).parent))
    made = importlib.import_module(flavour).make(folder)
    out = []
    for name, cases in made.items():
        model = mlflow.pyfunc.load_model(str(folder / name))
        schema = model.metadata.get_input_schema()
        for content_type, body in cases:
            status, answer = ask(scoring_server, model, schema, content_type, body)
            out.append(
                {
                    "model": name,
                    "type": content_type,
                    "body": body,
                    "status": status,
                    "answer": answer,
                }
            )
    (folder / "cases.json").write_text(json.dumps(out))


if __name__ == "__main__":
    main(*sys.argv[1:])
