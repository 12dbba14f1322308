"""Keras on TensorFlow: tensors, several named ones, a table of columns."""

import pathlib

import numpy as np
import pandas as pd


def make(folder):
    import mlflow
    import tensorflow as tf
    from mlflow.models import infer_signature

    folder = pathlib.Path(folder)
    tf.keras.utils.set_random_seed(1)
    layers = tf.keras.layers
    images = np.random.default_rng(1).random((2, 28, 28)).astype("float32")
    digits = tf.keras.Sequential(
        [
            layers.Input((28, 28)),
            layers.Reshape((28, 28, 1)),
            layers.Conv2D(2, 5),
            layers.Flatten(),
            layers.Dense(10, "softmax"),
        ]
    )
    mlflow.tensorflow.save_model(
        digits,
        folder / "digits",
        signature=infer_signature(images, digits.predict(images)),
    )

    a, b = layers.Input((2,), name="a"), layers.Input((3,), name="b")
    two = tf.keras.Model([a, b], layers.Dense(1)(layers.Concatenate()([a, b])))
    given = {"a": np.ones((2, 2), "float32"), "b": np.ones((2, 3), "float32")}
    mlflow.tensorflow.save_model(two, folder / "two", signature=infer_signature(given, two.predict(given)))

    table = pd.DataFrame({"x": [0.5, 1.0], "y": [1.5, 2.0]})
    plain = tf.keras.Sequential([layers.Input((2,)), layers.Dense(2)])
    mlflow.tensorflow.save_model(
        plain,
        folder / "columns",
        signature=infer_signature(table.to_numpy(), plain.predict(table.to_numpy())),
    )

    js = "application/json"
    lists = [images[0].round(3).tolist()]
    return {
        "digits": [
            (js, {"inputs": lists}),
            (js, {"instances": lists * 3}),
            (js, {"inputs": lists[0]}),
            (js, {"inputs": "x"}),
        ],
        "two": [
            (js, {"inputs": {"a": [[1, 2]], "b": [[1, 2, 3]]}}),
            (
                js,
                {
                    "instances": [
                        {"a": [1, 2], "b": [1, 2, 3]},
                        {"a": [3, 2], "b": [1, 2, 4.5]},
                    ]
                },
            ),
            (js, {"inputs": {"a": [[1, 2]]}}),
        ],
        "columns": [
            (
                js,
                {
                    "dataframe_split": {
                        "columns": ["y", "x"],
                        "data": [[1.5, 2], [1, 0]],
                    }
                },
            ),
            (js, {"dataframe_records": [{"x": 1, "y": 2}]}),
            (js, {"inputs": {"x": [1, 2], "y": [0.5, 1]}}),
            ("text/csv", "x,y\n1,2\n"),
        ],
    }
