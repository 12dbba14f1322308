"""Models of no library but MLflow's own: every way in which a PythonModel can be written and asked."""

import pathlib
import sys
import textwrap

import numpy as np
import pandas as pd

REQUIREMENTS = ("cloudpickle", "numpy", "pandas", "pyarrow")

CODE = {
    "own_code.py": """
        VALUE = 7


        def shout(text):
            return text.upper() + "!"
        """,
    "code_paths.py": """
        import mlflow
        from own_code import VALUE, shout


        class WithCode(mlflow.pyfunc.PythonModel):
            def load_context(self, context):
                with open(context.artifacts["words"]) as f:
                    self.words = f.read().split()
                self.factor = (context.model_config or {}).get("factor", 1)

            def predict(self, context, model_input, params=None):
                times = (params or {}).get("times", 1)
                return [
                    {"text": shout(t) * times, "known": t in self.words, "n": VALUE * self.factor}
                    for t in model_input["text"]
                ]


        mlflow.models.set_model(WithCode())
        """,
    "strings.py": """
        import mlflow


        class Strings(mlflow.pyfunc.PythonModel):
            def predict(self, model_input: list[str]) -> list[str]:
                assert isinstance(model_input, list), type(model_input)
                return [f"{len(t)} {t}" for t in model_input]


        mlflow.models.set_model(Strings())
        """,
    "people.py": """
        import datetime

        import mlflow
        import pydantic


        class Person(pydantic.BaseModel):
            name: str
            age: int = 18
            tags: list[str] | None = None
            born: datetime.datetime | None = None


        class People(mlflow.pyfunc.PythonModel):
            def predict(self, model_input: list[Person], params=None) -> list[dict[str, int]]:
                return [{p.name: p.age + (params or {}).get("years", 1), "tags": len(p.tags or [])} for p in model_input]


        mlflow.models.set_model(People())
        """,
    "chat.py": """
        import mlflow
        from mlflow.types.llm import ChatChoice, ChatCompletionChunk, ChatCompletionResponse, ChatMessage


        class Echo(mlflow.pyfunc.ChatModel):
            def predict(self, context, messages, params):
                said = messages[-1].content
                return ChatCompletionResponse(
                    id="1",
                    created=17,
                    model="echo",
                    choices=[
                        ChatChoice(
                            index=0,
                            message=ChatMessage(role="assistant", content=f"{said} at {params.temperature}"),
                            finish_reason="stop",
                        )
                    ],
                )

            def predict_stream(self, context, messages, params):
                for word in messages[-1].content.split():
                    yield ChatCompletionChunk.from_dict(
                        {
                            "id": "1",
                            "created": 17,
                            "model": "echo",
                            "choices": [{"index": 0, "delta": {"role": "assistant", "content": word}}],
                        }
                    )


        mlflow.models.set_model(Echo())
        """,
    "agent.py": """
        import mlflow
        from mlflow.types.responses import ResponsesAgentRequest, ResponsesAgentResponse, ResponsesAgentStreamEvent


        class Agent(mlflow.pyfunc.ResponsesAgent):
            def predict(self, request: ResponsesAgentRequest) -> ResponsesAgentResponse:
                outputs = [e.item for e in self.predict_stream(request) if e.type == "response.output_item.done"]
                return ResponsesAgentResponse(output=outputs, custom_outputs=request.custom_inputs)

            def predict_stream(self, request: ResponsesAgentRequest):
                said = request.input[-1].content
                for word in said.split():
                    yield ResponsesAgentStreamEvent(
                        type="response.output_item.done",
                        item=self.create_text_output_item(text=word, id="m1"),
                    )


        mlflow.models.set_model(Agent())
        """,
    "completions.py": """
        import mlflow


        class Completions(mlflow.pyfunc.PythonModel):
            # Without a signature: whatever comes is what it is given.
            def predict(self, context, model_input, params=None):
                if hasattr(model_input, "to_dict"):
                    model_input = {"columns": [str(c) for c in model_input.columns], "rows": model_input.values.tolist()}
                elif hasattr(model_input, "tolist"):
                    model_input = {"array": model_input.tolist(), "dtype": str(model_input.dtype)}
                return {"asked": model_input, "params": params}

            def predict_stream(self, context, model_input, params=None):
                yield from ("a", {"b": 1}, "c")


        mlflow.models.set_model(Completions())
        """,
}


def make(folder, only=None, pip=None):
    """Logs the models (those of `only`) into the folder; answers {name: its cases}, a case being (content type, body)."""
    import mlflow
    from mlflow.models import infer_signature
    from mlflow.models.signature import ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema, TensorSpec

    folder = pathlib.Path(folder)
    sys.path.insert(0, str(folder))
    for name, text in CODE.items():
        (folder / name).write_text(textwrap.dedent(text).lstrip())
    (folder / "words.txt").write_text("one two")

    pip = pip or requirements()

    def save(name, model, **more):
        if only is None or name in only:
            mlflow.pyfunc.save_model(folder / name, python_model=model, pip_requirements=pip, **more)

    class Describe(mlflow.pyfunc.PythonModel):
        """What it was given, in words: the types that a model sees are the contract."""

        def predict(self, context, model_input, params=None):
            import json

            return [json.dumps(part) for part in self.describe(model_input, params)]

        def describe(self, model_input, params):
            import numpy as np
            import pandas as pd

            def kind(v):
                return f"{type(v).__name__}:{v}"

            if isinstance(model_input, pd.DataFrame):
                return [
                    {str(c): [str(model_input[c].dtype), *map(kind, model_input[c])] for c in model_input.columns},
                    {"index": [str(i) for i in model_input.index], "params": params},
                ]
            if isinstance(model_input, np.ndarray):
                return [
                    {
                        "dtype": str(model_input.dtype),
                        "shape": list(model_input.shape),
                        "params": params,
                    },
                    model_input.tolist(),
                ]
            if isinstance(model_input, dict):
                return [
                    {
                        k: [str(v.dtype), list(v.shape), v.tolist()] if isinstance(v, np.ndarray) else kind(v)
                        for k, v in model_input.items()
                    }
                ]
            return [kind(model_input)]

    class Same(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input, params=None):
            return model_input

    everything = pd.DataFrame(
        {
            "i": np.array([1, 2], dtype=np.int32),
            "l": [1, 2],
            "f": np.array([0.5, 1.5], dtype=np.float32),
            "d": [0.25, 0.75],
            "b": [True, False],
            "s": ["x", "y"],
            "when": pd.to_datetime(["2024-01-01T00:00:00", "2024-01-02T03:04:05"]),
            "raw": [b"ab", b"cd"],
            "list": [[1.0, 2.0], [3.0]],
            "obj": [{"k": "v", "n": 1}, {"k": "w", "n": 2}],
        }
    )
    params = ParamSchema([ParamSpec("t", "double", 0.5), ParamSpec("names", "string", ["a"], (-1,))])
    types = infer_signature(everything)
    save("describe", Describe(), signature=ModelSignature(types.inputs, params=params))
    save("same", Same(), signature=types)
    save(
        "image",
        Describe(),
        signature=ModelSignature(Schema([TensorSpec(np.dtype("uint8"), (-1, 3, 2), "image")])),
    )
    save(
        "cube",
        Same(),
        signature=ModelSignature(Schema([TensorSpec(np.dtype("float32"), (-1, 2, 2))])),
    )
    save(
        "pair",
        Describe(),
        signature=ModelSignature(
            Schema(
                [
                    TensorSpec(np.dtype("int64"), (-1, 2), "ids"),
                    TensorSpec(np.dtype("float32"), (-1, 2), "mask"),
                ]
            )
        ),
    )
    save(
        "unnamed",
        Describe(),
        signature=ModelSignature(Schema([ColSpec("double"), ColSpec("string")])),
    )
    save(
        "optional",
        Describe(),
        signature=ModelSignature(Schema([ColSpec("double", "a"), ColSpec("string", "b", required=False)])),
    )
    save("nothing", Describe())

    code = {
        "code_paths": [str(folder / "own_code.py")],
        "artifacts": {"words": str(folder / "words.txt")},
    }
    save(
        "code",
        str(folder / "code_paths.py"),
        **code,
        model_config={"factor": 3},
        signature=ModelSignature(
            Schema([ColSpec("string", "text")]),
            params=ParamSchema([ParamSpec("times", "long", 1)]),
        ),
    )
    save("strings", str(folder / "strings.py"), input_example=["a"])
    save("people", str(folder / "people.py"), signature=None)
    save("chat", str(folder / "chat.py"))
    save("agent", str(folder / "agent.py"))
    save("completions", str(folder / "completions.py"))

    js = "application/json"
    split = {
        "columns": list(everything.columns),
        "data": [
            [
                1,
                2,
                0.5,
                0.1,
                True,
                "x",
                "2024-01-01",
                "YWI=",
                [1.0, 2],
                {"k": "v", "n": 1},
            ],
            [
                2,
                3,
                1.5,
                0.7,
                False,
                "y",
                "2024-01-02T03:04:05",
                "Y2Q=",
                [3.0],
                {"k": "w", "n": 2},
            ],
        ],
    }
    records = [dict(zip(split["columns"], row)) for row in split["data"]]
    columns = {c: [r[c] for r in records] for c in split["columns"]}
    tables = [
        (js, {"dataframe_split": split}),
        (js, {"dataframe_split": {**split, "index": [5, 6]}}),
        (js, {"dataframe_records": records}),
        (js, {"dataframe_records": records[:1]}),
        (js, {"inputs": columns}),
        (js, {"inputs": records}),
        (js, {"inputs": records[0]}),
        (js, {"instances": records}),
        (js, {"dataframe_split": split, "params": {"t": 2.5, "names": ["q", "r"]}}),
        (js, {"dataframe_split": split, "params": {"t": "no"}}),
        (js, {"dataframe_split": split, "params": {"unknown": 1}}),
        (js, {"dataframe_split": {"columns": ["i"], "data": [[1]]}}),
        (js, {"dataframe_records": [{**records[0], "i": 1.5}]}),
        (js, {"dataframe_records": [{**records[0], "s": 5}]}),
        (js, {"dataframe_records": [{**records[0], "when": "no date"}]}),
        (js, {"dataframe_records": [{**records[0], "list": "no list"}]}),
        (js, {"dataframe_records": [{**records[0], "obj": {"k": 1}}]}),
        (js, {"dataframe_records": [{**records[0], "extra": 1}]}),
        (js, {"dataframe_records": []}),
        (js, {"nothing": 1}),
        (js, "[1]"),
        (js, "{"),
    ]
    flat = ("a,b\n1.5,x\n2,y\n", "a\n1\n", "a,b\n1,\n", "a,b\nx,y\n", "")
    optional = [
        *(("text/csv", text) for text in flat),
        ("text/csv; charset=utf-8", flat[0]),
        ("text/csv; charset=latin1", flat[0]),
        ("application/x-other", flat[0]),
        (js, {"dataframe_records": [{"a": 1}, {"a": 2, "b": "x"}]}),
        (js, {"dataframe_records": [{"a": None, "b": None}]}),
        (js, {"dataframe_split": {"columns": ["b", "a"], "data": [["x", 1]]}}),
        (js, {"inputs": {"a": [1, 2], "b": ["x", "y"]}}),
        (js, {"inputs": {"a": 1, "b": "x"}}),
        (js, {"instances": [{"a": 1, "b": "x"}]}),
        (js, {"inputs": [1, 2]}),
        (js, {"inputs": [[1, "x"]]}),
    ]
    pixels = [[[1, 2], [3, 4], [5, 6]]]
    image = [
        (js, {"inputs": pixels}),
        (js, {"inputs": {"image": pixels}}),
        (js, {"instances": pixels}),
        (js, {"instances": [{"image": pixels[0]}, {"image": pixels[0]}]}),
        (js, {"inputs": {"image": [[[1.5, 2], [3, 4], [5, 6]]]}}),
        (js, {"inputs": {"other": pixels}}),
        (js, {"inputs": [[[1]]]}),
        (js, {"inputs": {"image": [[[300, 2], [3, 4], [5, 6]]]}}),
        (js, {"dataframe_split": {"columns": ["image"], "data": [[pixels[0]]]}}),
        (js, {"inputs": "text"}),
    ]
    square = [[[1, 2], [3, 4.1]], [[5, 6], [7, 8]]]
    cube = [
        (js, {"inputs": square}),
        (js, {"instances": square}),
        (js, {"inputs": square[0]}),
        (js, {"inputs": [[[1, 2], [3]]]}),
        (js, {"inputs": []}),
        (js, {"dataframe_split": {"columns": [0, 1], "data": square[0]}}),
        ("text/csv", "0,1\n1,2\n"),
    ]
    pair = [
        (js, {"inputs": {"ids": [[1, 2]], "mask": [[1, 0]]}}),
        (
            js,
            {
                "instances": [
                    {"ids": [1, 2], "mask": [1, 0]},
                    {"ids": [3, 4], "mask": [1, 1]},
                ]
            },
        ),
        (js, {"inputs": {"ids": [[1, 2]]}}),
        (js, {"inputs": {"ids": [[1, 2]], "mask": [[1]]}}),
        (js, {"inputs": [[1, 2]]}),
    ]
    messages = [{"role": "user", "content": "hello there"}]
    chat = [
        (js, {"messages": messages}),
        (js, {"messages": messages, "temperature": 0.5, "max_tokens": 7}),
        (js, {"messages": messages, "custom_inputs": {"a": 1}}),
        (js, {"messages": "no"}),
        (js, {"messages": [{"role": "user"}]}),
        (js, {"dataframe_split": {"columns": ["messages"], "data": [[messages]]}}),
        (js, {"inputs": {"messages": messages}}),
        (js, {"inputs": messages}),
    ]
    agent = [
        (js, {"input": messages}),
        (js, {"input": messages, "custom_inputs": {"a": [1]}}),
        (js, {"input": "no"}),
        (js, {"input": [{"role": "user"}]}),
        (js, {"inputs": {"input": messages}}),
    ]
    people = [
        (js, {"inputs": [{"name": "A"}, {"name": "B", "age": 5, "tags": ["x"]}]}),
        (
            js,
            {
                "inputs": [{"name": "A", "born": "2000-01-02T03:04:05"}],
                "params": {"years": 2},
            },
        ),
        (js, {"inputs": [{"age": 1}]}),
        (js, {"inputs": {"name": "A"}}),
        (js, {"dataframe_records": [{"name": "A"}]}),
    ]
    strings = [
        (js, {"inputs": ["a", "bcd"]}),
        (js, {"inputs": "abc"}),
        (js, {"inputs": [1]}),
        (js, {"dataframe_split": {"data": [["a"]]}}),
        (js, {"instances": ["a"]}),
    ]
    free = [
        (js, {"messages": messages, "other": 1}),
        (js, {"prompt": "p", "n": 2}),
        (js, {"input": ["e"]}),
        (js, {"inputs": {"a": [1, 2]}}),
        (js, {"inputs": [1, 2]}),
        (js, {"inputs": [[1.5, 2]]}),
        (js, {"inputs": "one"}),
        (js, {"inputs": ["one", "two"]}),
        (js, {"instances": [{"a": 1, "b": "x"}]}),
        (
            js,
            {
                "dataframe_split": {"columns": ["a"], "data": [[1], [2]]},
                "params": {"x": 1},
            },
        ),
        (js, {"dataframe_records": [{"a": {"deep": [1, None]}}]}),
        ("text/csv", "a,b\n1,x\n"),
    ]
    text = [
        (js, {"dataframe_split": {"columns": ["text"], "data": [["one"], ["three"]]}}),
        (js, {"inputs": ["one"]}),
        (js, {"inputs": {"text": "one"}}),
        (js, {"inputs": [{"text": "one"}], "params": {"times": 2}}),
        (js, {"instances": ["one", "two"]}),
        ("text/csv", "text\none\n"),
    ]
    unnamed = [
        (js, {"dataframe_split": {"data": [[1, "x"]]}}),
        (js, {"dataframe_split": {"columns": ["p", "q"], "data": [[1, "x"]]}}),
        (js, {"inputs": [[1, "x"]]}),
        ("text/csv", "a,b\n1,x\n"),
    ]
    return {
        "describe": tables,
        "same": tables,
        "image": image,
        "cube": cube,
        "pair": pair,
        "unnamed": unnamed,
        "optional": optional,
        "nothing": [*free, *optional],
        "code": text,
        "strings": strings,
        "people": people,
        "chat": chat,
        "agent": agent,
        "completions": free,
    }


def requirements():
    import importlib.metadata

    return [pin(), *(f"{p}=={importlib.metadata.version(p)}" for p in REQUIREMENTS)]


def pin():
    """MLflow as it is here; its small form does."""
    import mlflow

    return f"mlflow-skinny=={mlflow.__version__}"
