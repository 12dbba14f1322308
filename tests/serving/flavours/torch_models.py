"""PyTorch, and transformers' pipelines around tiny random models that are made here."""

import pathlib
from importlib.metadata import version

import numpy as np
import pandas as pd

WORDS = [
    "the",
    "a",
    "good",
    "bad",
    "day",
    "is",
    "it",
    "was",
    "not",
    "very",
    "fine",
    "film",
    "this",
    "one",
    "two",
    ".",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[PAD]",
    "[MASK]",
]


class Net:
    """Made when torch is there."""

    def __new__(cls):
        from torch import nn

        return nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, 16), nn.ReLU(), nn.Linear(16, 10))


def pipelines(folder):
    import torch
    import transformers as t
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    torch.manual_seed(2)
    raw = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    ids = {w: i for i, w in enumerate(WORDS)}
    raw.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(w, ids[w]) for w in ("[CLS]", "[SEP]")],
    )
    names = {
        "unk_token": "[UNK]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "pad_token": "[PAD]",
        "mask_token": "[MASK]",
    }
    tokens = t.PreTrainedTokenizerFast(tokenizer_object=raw, model_max_length=32, **names)
    size = {
        "vocab_size": len(WORDS),
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
    }
    config = t.BertConfig(
        **size,
        id2label={0: "bad", 1: "good"},
        label2id={"bad": 0, "good": 1},
        pad_token_id=ids["[PAD]"],
    )
    yield (
        "classify",
        t.pipeline(
            "text-classification",
            model=t.BertForSequenceClassification(config).eval(),
            tokenizer=tokens,
        ),
        "a good day",
    )
    yield (
        "tokens",
        t.pipeline(
            "token-classification",
            model=t.BertForTokenClassification(config).eval(),
            tokenizer=tokens,
        ),
        "a good day",
    )
    yield (
        "mask",
        t.pipeline("fill-mask", model=t.BertForMaskedLM(config).eval(), tokenizer=tokens),
        "a [MASK] day",
    )
    yield (
        "features",
        t.pipeline("feature-extraction", model=t.BertModel(config).eval(), tokenizer=tokens),
        "a good day",
    )
    generator = t.GPT2Config(
        vocab_size=len(WORDS),
        n_positions=32,
        n_embd=16,
        n_layer=1,
        n_head=2,
        bos_token_id=ids["[CLS]"],
        eos_token_id=ids["[SEP]"],
        pad_token_id=ids["[PAD]"],
    )
    yield (
        "generate",
        t.pipeline(
            "text-generation",
            model=t.GPT2LMHeadModel(generator).eval(),
            tokenizer=tokens,
        ),
        "the day is",
    )


def make(folder):
    import mlflow
    import torch
    from mlflow.models import infer_signature
    from mlflow.models.signature import ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

    folder = pathlib.Path(folder)
    # One list for all, without what pictures need, so that one large environment serves them all.
    pip = {"pip_requirements": [f"{p}=={version(p)}" for p in ("mlflow", "torch", "transformers", "numpy", "pandas")]}
    torch.manual_seed(1)
    images = np.random.default_rng(1).random((2, 28, 28)).astype("float32")
    net = Net().eval()
    with torch.no_grad():
        outputs = net(torch.from_numpy(images)).numpy()
    mlflow.pytorch.save_model(
        net,
        folder / "images",
        input_example=images,
        signature=infer_signature(images, outputs),
        **pip,
    )
    table = pd.DataFrame({"x": np.array([0.5, 1.0], "float32"), "y": np.array([1.5, 2.0], "float32")})
    linear = torch.nn.Linear(2, 1)
    mlflow.pytorch.save_model(
        linear,
        folder / "columns",
        signature=infer_signature(table, np.ones((2, 1), "float32")),
        serialization_format="pickle",
        **pip,
    )
    mlflow.pytorch.save_model(linear, folder / "bare", serialization_format="pickle", **pip)

    js = "application/json"
    lists = [images[0].round(3).tolist()]
    made = {
        "images": [
            (js, {"inputs": lists}),
            (js, {"instances": lists * 2}),
            (js, {"inputs": [[1, 2]]}),
            (js, {"dataframe_split": {"columns": [0], "data": [[1]]}}),
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
            (js, {"dataframe_records": [{"x": 1.25, "y": 2}]}),
            (js, {"inputs": {"x": [1, 2], "y": [0.5, 1]}}),
            ("text/csv", "x,y\n1,2\n"),
        ],
        "bare": [
            (js, {"dataframe_split": {"columns": ["a", "b"], "data": [[1.5, 2.5]]}}),
            (js, {"inputs": [[1.5, 2.5]]}),
            (js, {"instances": [[1.5, 2.5]]}),
        ],
    }
    for name, pipeline, text in pipelines(folder):
        more = dict(pip)
        if name == "generate":
            more["signature"] = ModelSignature(
                Schema([ColSpec("string")]),
                Schema([ColSpec("string")]),
                ParamSchema(
                    [
                        ParamSpec("max_new_tokens", "long", 4),
                        ParamSpec("do_sample", "boolean", False),
                    ]
                ),
            )
        mlflow.transformers.save_model(pipeline, folder / name, **more)
        made[name] = [
            (js, {"inputs": [text]}),
            (js, {"inputs": text}),
            (
                js,
                {"inputs": [text, text + " very"] if name != "mask" else [text, text]},
            ),
            (js, {"instances": [text]}),
            (js, {"dataframe_split": {"columns": ["text"], "data": [[text]]}}),
            (js, {"dataframe_records": [{"text": text}]}),
        ]
    made["generate"] += [
        (js, {"inputs": ["the day is"], "params": {"max_new_tokens": 2}}),
        (js, {"inputs": ["a"], "params": {"max_new_tokens": "x"}}),
    ]
    return made
