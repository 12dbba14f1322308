"""Serves one MLflow model to the program that started it, over the socket whose descriptor it is given.

A message is `MRW1`, the length of a JSON header (u32), the length of a payload (u64), both little-endian, then the two.
Arrays travel in the payload, one after the other, as the header describes them:

    f8    little-endian doubles            i8    little-endian 64-bit integers (UINT64 as its bits)
    text  rows + 1 offsets (u32), the UTF-8 bytes between them, then one byte a row that is 1 for a missing value

Nothing is pickled. Only mlflow, numpy and pandas of the model's own environment are used, and they may be old.
"""

import argparse
import base64
import contextlib
import inspect
import json
import os
import re
import socket
import struct
import sys
import traceback

MAGIC = b"MRW1"
HEAD = struct.Struct("<4sIQ")
MAX_HEADER = 16 << 20
COLUMN_TYPES = {
    "double": "float64",
    "float": "float32",
    "long": "int64",
    "integer": "int32",
    "boolean": "bool",
}
# numpy's names to the inference protocol's.
PROTOCOL_TYPES = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
}


class BadInput(Exception):
    """The request does not fit the model's signature."""


class Peer:
    """The other end of the socket."""

    def __init__(self, fd):
        self.sock = socket.socket(fileno=fd)

    def _read(self, size):
        out = bytearray(size)
        view = memoryview(out)
        at = 0
        while at < size:
            got = self.sock.recv_into(view[at:])
            if got == 0:
                raise EOFError
            at += got
        return out

    def receive(self):
        magic, header, payload = HEAD.unpack(self._read(HEAD.size))
        if magic != MAGIC or header > MAX_HEADER:
            raise EOFError
        return json.loads(bytes(self._read(header)).decode()), self._read(payload)

    def send(self, header, pieces=()):
        text = json.dumps(header).encode()
        self.sock.sendall(HEAD.pack(MAGIC, len(text), sum(len(p) for p in pieces)) + text)
        for piece in pieces:
            self.sock.sendall(piece)


# ---- the request's arrays ----


class Reader:
    def __init__(self, payload):
        self.payload = payload
        self.at = 0

    def numbers(self, count, dtype="<f8"):
        import numpy as np

        out = np.frombuffer(self.payload, dtype=dtype, count=count, offset=self.at)
        self.at += count * 8
        return out

    def texts(self, count, raw=False):
        import numpy as np

        offsets = np.frombuffer(self.payload, dtype="<u4", count=count + 1, offset=self.at).tolist()
        self.at += (count + 1) * 4
        body = self.payload[self.at : self.at + offsets[-1]]
        self.at += offsets[-1]
        missing = self.payload[self.at : self.at + count]
        self.at += count
        cells = [None if missing[i] else bytes(body[offsets[i] : offsets[i + 1]]) for i in range(count)]
        return cells if raw else [None if c is None else c.decode("utf-8", "replace") for c in cells]


def moment(text):
    import numpy as np
    import pandas as pd

    if text is None:
        return np.datetime64("NaT")
    stamp = pd.Timestamp(text)
    return (stamp.tz_convert(None) if stamp.tzinfo is not None else stamp).to_datetime64()


def convert_texts(values, wanted, name):
    """A column of texts as the type that the signature gives it."""
    import numpy as np

    try:
        if wanted == "datetime":
            return np.array([moment(v) for v in values], dtype="datetime64[ns]")
        if wanted in ("array", "object", "map", "any", "json"):
            return [None if v is None else json.loads(v) for v in values]
    except (ValueError, TypeError) as e:
        raise BadInput(f"column '{name}' has a value that is no {wanted}") from e
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return out


def column_of(reader, column, rows):
    import numpy as np

    wanted = column["type"]
    if column["enc"] == "text":
        if wanted == "binary":
            return reader.texts(rows, raw=True)
        return convert_texts(reader.texts(rows), wanted, column["name"])
    values = reader.numbers(rows)
    dtype = COLUMN_TYPES.get(wanted, wanted)
    if dtype == "float64":
        return values.copy()
    if dtype not in PROTOCOL_TYPES:
        raise BadInput(f"column '{column['name']}' is of type {wanted}, which numbers do not give")
    if not dtype.startswith("float") and np.isnan(values).any():
        return values.copy()  # a missing value in an integer column: MLflow says whether it may be
    return values.astype(dtype)


def table_of(header, reader):
    import pandas as pd

    rows, columns, inferred = header["rows"], header["columns"], header.get("texts") == "inferred"
    values = [column_of(reader, c, rows) for c in columns]
    names = [c["name"] for c in columns]
    if not any(names):  # a signature of unnamed columns
        names = list(range(len(columns)))
    if len(set(names)) != len(names):
        return pd.concat([pd.Series(v) for v in values], axis=1, keys=names)
    frame = {}
    for name, v, column in zip(names, values, columns):
        texts = isinstance(v, list) or v.dtype.kind == "O"
        if texts and inferred and column["type"] == "string" and rows:
            frame[name] = pd.Series(list(v))
        else:  # pandas 3 would give texts its own type, where MLServer has object
            frame[name] = pd.Series(v, index=range(rows), dtype=object if texts else None)
    return pd.DataFrame(frame, columns=names)


def tensor_of(spec, reader):
    import numpy as np

    shape = spec["shape"]
    count = 1
    for d in shape:
        count *= d
    if spec["enc"] == "text":
        out = np.empty(count, dtype=object)
        out[:] = reader.texts(count)
        return out.reshape(shape)
    return reader.numbers(count).astype(spec["type"]).reshape(shape)


def input_of(header, payload):
    reader = Reader(payload)
    if header["kind"] == "frame":
        return table_of(header, reader)
    if header["kind"] == "tensors":
        return {t["name"]: tensor_of(t, reader) for t in header["tensors"]}
    return tensor_of(header["tensors"][0], reader)


# ---- the answer's arrays ----


def plain(value):
    """A Python value that json can write."""
    import numpy as np

    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if value == value and value not in (float("inf"), float("-inf")) else None
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, (bytes, bytearray)):
        return base64.b64encode(bytes(value)).decode()
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if hasattr(value, "model_dump"):  # pydantic
        return plain(value.model_dump())
    if hasattr(value, "to_dict"):
        return plain(value.to_dict())
    raise TypeError(f"the model answered with a value of type {type(value).__name__}, which is not understood")


def text_pieces(texts):
    offsets, body = [0], []
    total = 0
    for t in texts:
        data = t.encode("utf-8", "surrogatepass") if isinstance(t, str) else t
        data = data.decode("utf-8", "replace").encode("utf-8")
        body.append(data)
        total += len(data)
        offsets.append(total)
    if total >= 1 << 32:
        raise ValueError("the answer's texts are longer than 4 GiB")
    return [struct.pack(f"<{len(offsets)}I", *offsets), b"".join(body), bytes(len(texts))]


def texts_answer(name, texts, codec, shape):
    return {"name": name, "type": "BYTES", "codec": codec, "shape": shape, "enc": "text"}, text_pieces(texts)


def array_answer(name, value, codec, mixed="pd_json"):
    """One array, as its description and the pieces of the payload. `codec` is for numbers; texts have theirs."""
    import numpy as np
    import pandas as pd

    if isinstance(value, pd.Series) and not isinstance(value.dtype, np.dtype):
        value = value.astype(object)  # pandas' own types: nullable numbers, categories, strings
    array = np.asarray(value)
    if array.dtype.kind == "M":
        flat = ["" if np.isnat(v) else pd.Timestamp(v).isoformat() for v in array.ravel()]
        return texts_answer(name, flat, "datetime" if codec != "np" else "np", list(array.shape))
    if array.dtype.kind in "US":
        flat = [v if isinstance(v, str) else v.decode("utf-8", "replace") for v in array.ravel().tolist()]
        return texts_answer(name, flat, codec or "str", list(array.shape))
    if array.dtype.kind == "O":
        flat = array.ravel().tolist()
        some = [v for v in flat if v is not None and v is not pd.NA and v == v]
        if some and all(isinstance(v, str) for v in some) and len(some) == len(flat):
            return texts_answer(name, flat, codec or "str", list(array.shape))
        if all(isinstance(v, (bool, np.bool_)) for v in some) and some and len(some) == len(flat):
            array = array.astype(bool)
        elif all(isinstance(v, (int, float, np.number)) and not isinstance(v, bool) for v in some) and some:
            whole = len(some) == len(flat) and all(isinstance(v, (int, np.integer)) for v in some)
            missing = np.array([v is None or v is pd.NA for v in flat], dtype=bool).reshape(array.shape)
            array = array.astype("int64") if whole else np.where(missing, np.nan, array).astype("float64")
        else:
            return texts_answer(name, [json.dumps(plain(v)) for v in flat], mixed, list(array.shape))
    if array.dtype.name not in PROTOCOL_TYPES:
        if array.dtype.kind not in "fc" or array.dtype.kind == "c":
            raise TypeError(f"the model answered with an array of {array.dtype}, which is not understood")
        array = array.astype("float64")
    what = {"name": name, "type": PROTOCOL_TYPES[array.dtype.name], "codec": codec, "shape": list(array.shape)}
    if array.dtype.kind in "iu":
        what["enc"] = "i8"
        wide = "<u8" if array.dtype.name == "uint64" else "<i8"
    else:
        what["enc"] = "f8"
        wide = "<f8"
    return what, [np.ascontiguousarray(array.astype(wide)).tobytes()]


def numpy_of(value):
    """Tensors of the frameworks, and sparse matrices, as numpy arrays; anything else as it is."""
    for name in ("detach", "cpu"):
        if hasattr(value, name) and callable(getattr(value, name)):
            value = getattr(value, name)()
    if hasattr(value, "toarray") and hasattr(value, "nnz"):
        return value.toarray()
    module = type(value).__module__.split(".")[0]
    if module in ("torch", "tensorflow", "jaxlib", "jax", "keras") and hasattr(value, "numpy"):
        return value.numpy()
    return value


def is_scalar(v):
    return v is None or isinstance(v, (str, bytes, bool, int, float)) or type(v).__module__ == "numpy"


def answer_of(value):
    """What the model gave as (form, arrays, pieces)."""
    import numpy as np
    import pandas as pd

    value = numpy_of(value)
    arrays, pieces = [], []

    def add(pair):
        arrays.append(pair[0])
        pieces.extend(pair[1])

    if isinstance(value, pd.DataFrame):
        for i, name in enumerate(value.columns):
            add(array_answer(str(name), value.iloc[:, i], ""))
        if arrays:
            return "frame", arrays, pieces
        raise TypeError("the model answered with a table without columns")
    if isinstance(value, (pd.Series, np.ndarray)):
        if isinstance(value, np.ndarray) and value.ndim == 0:
            value = value.reshape(1)
        add(array_answer("", value, "np"))
        return "array", arrays, pieces
    if isinstance(value, dict) and value:
        parts = {str(k): numpy_of(v) for k, v in value.items()}
        if all(isinstance(v, (np.ndarray, pd.Series)) and v.ndim > 0 for v in parts.values()):
            for name, v in parts.items():
                add(array_answer(name, v, "np"))
            return "dict", arrays, pieces
    if isinstance(value, (list, tuple)):
        items = [numpy_of(v) for v in value]
        if items and all(isinstance(v, str) for v in items):
            add(texts_answer("", items, "str", [len(items)]))
            return "array", arrays, pieces
        if items and all(isinstance(v, (bool, int, float, np.number, np.bool_)) for v in items):
            add(array_answer("", np.asarray(items), "np"))
            return "array", arrays, pieces
        if items and all(isinstance(v, (np.ndarray, list, tuple)) for v in items):
            with contextlib.suppress(ValueError):  # ragged
                block = np.asarray(items)
                if block.dtype.kind in "biuf":
                    add(array_answer("", block, "np"))
                    return "array", arrays, pieces
        add(texts_answer("", [json.dumps(plain(v)) for v in items], "pd_json", [len(items)]))
        return "list", arrays, pieces
    if isinstance(value, (bool, int, float, np.number, np.bool_)):
        add(array_answer("", np.asarray([value]), "np"))
        return "array", arrays, pieces
    if isinstance(value, str):
        add(texts_answer("", [value], "str", [1]))
        return "array", arrays, pieces
    if value is None:
        raise TypeError("the model answered with None")
    if hasattr(value, "__next__"):
        return answer_of(list(value))
    add(texts_answer("", [json.dumps(plain(value))], "pd_json", []))
    return "value", arrays, pieces


# ---- the model ----


def summary(e):
    """An exception for the client: its class, and what it says without the values that MLflow prints into it."""
    text = str(e).strip()
    name = f"{type(e).__module__}.{type(e).__name__}"
    at = text.find("Failed to enforce schema of data")
    if at >= 0:
        end = text.find("Error: ", at)
        text = text[end + 7 :] if end >= 0 else "the input does not fit the model's signature"
    text = " ".join(text.split())
    if len(text) > 500:
        text = text[:500] + "..."
    return f"{name}: {text}" if text else name


def is_schema_error(e):
    if isinstance(e, BadInput):
        return True
    if type(e).__name__ != "MlflowException":
        return False
    text = str(e)
    return bool(
        re.search(
            "Failed to enforce schema|Model is missing inputs|Incompatible input types|Shape of input|"
            "Invalid parameters? (provided|found)|Invalid input|does not match expected|Model signature",
            text,
        )
    )


# ---- MLflow's scoring protocol ----


class Asked:
    """The model as MLflow's scoring code sees it; remembers whether the model's own code was reached."""

    def __init__(self, model):
        self.model = model
        self.metadata = model.metadata
        self.reached = False

    def predict(self, data, params=None):
        self.reached = True
        if "params" in inspect.signature(self.model.predict).parameters:
            return self.model.predict(data, params=params)
        return self.model.predict(data)


def scoring_of(model):
    """MLflow's own function that reads and answers requests, with the model's schema; None where it has none."""
    try:
        from mlflow.pyfunc import scoring_server

        return scoring_server.invocations, model.metadata.get_input_schema()
    except Exception:
        return None


def without_values(text):
    """MLflow prints the whole input into some messages, which go to logs and to others than who sent it."""
    text = re.sub(r"Failed to predict data '.*'\. \nError: ", "Failed to predict data. \nError: ", text, flags=re.S)
    text = re.sub(r"(Failed to enforce schema of data) '.*?'( with schema '.*?')", r"\1\2", text, count=1, flags=re.S)
    text = re.sub(r"\s*Input: ?\n.*", "", text, flags=re.S)
    return text if len(text) <= 4000 else text[:4000] + "..."


def refusal_of(e, reached):
    """An exception of MLflow's, as its server writes it, without the traceback."""
    try:
        body = json.loads(e.serialize_as_json())
        status = e.get_http_status_code()
    except Exception:
        body, status = {"error_code": "INTERNAL_ERROR", "message": str(e)}, 500
    body.pop("stack_trace", None)
    text = without_values(str(body.get("message", "")))
    cause = e.__cause__ or e.__context__
    if reached and cause is not None and text.startswith("Encountered an unexpected error"):
        traceback.print_exception(type(cause), cause, cause.__traceback__)
        text += f" ({summary(cause)})"
    body["message"] = text
    return status, json.dumps(body)


def score(model, scoring, header, payload):
    """A request as it came to (status, content type, text)."""
    from mlflow.exceptions import MlflowException

    if scoring is None:
        raise BadInput("the model's release of mlflow does not read such requests")
    call, schema = scoring
    asked = Asked(model)
    try:
        got = call(bytes(payload).decode("utf-8"), header["type"], asked, schema)
    except MemoryError:
        raise
    except MlflowException as e:
        if isinstance(e.__cause__ or e.__context__, MemoryError):
            raise MemoryError from e
        return (*refusal_of(e, asked.reached), "application/json")
    except Exception as e:
        if asked.reached:
            raise
        return (
            400,
            json.dumps({"error_code": "BAD_REQUEST", "message": f"Invalid input. {summary(e)}"}),
            "application/json",
        )
    return got.status, got.response, got.mimetype


def predict(model, header, payload):
    data = input_of(header, payload)
    params = header.get("params")
    value = model.predict(data, params=params) if params else model.predict(data)
    return answer_of(value)


def serve(peer, model, scoring):
    while True:
        try:
            header, payload = peer.receive()
        except EOFError:
            return
        answer = {"id": header["id"]}
        pieces = []
        try:
            if header["kind"] == "scoring":
                status, text, mime = score(model, scoring, header, payload)
                answer.update(ok=True, form="scored", status=status, type="json" if "json" in mime else "text")
                pieces = [text.encode("utf-8", "replace")]
            else:
                form, arrays, pieces = predict(model, header, payload)
                answer.update(ok=True, form=form, arrays=arrays)
        except MemoryError as e:
            answer.update(ok=False, kind="memory", error=summary(e))
        except Exception as e:  # whatever the model's code does, the next request is served
            if is_schema_error(e):
                answer.update(ok=False, kind="input", error=str(e) if isinstance(e, BadInput) else summary(e))
            else:
                traceback.print_exc()
                answer.update(ok=False, kind="model", error=summary(e))
        peer.send(answer, pieces)
        del header, payload, pieces


def load(folder):
    """The model; its configuration can be told by the variable that MLflow's own server knows."""
    import mlflow.pyfunc

    told = os.environ.get("SERVING_MODEL_CONFIG")
    more = {"model_config": json.loads(told)} if told else {}
    return mlflow.pyfunc.load_model(folder, **more)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--memory", type=int, default=0)
    args = parser.parse_args()
    # Out of the reach of code that writes to low descriptors, and not for what the model starts.
    fd = os.dup(args.fd)
    high = 900
    try:
        os.dup2(fd, high, inheritable=False)
        os.close(fd)
        fd = high
    except OSError:
        os.set_inheritable(fd, False)
    os.close(args.fd)
    peer = Peer(fd)
    if args.memory > 0:
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (args.memory, args.memory))
    try:
        os.environ["_MLFLOW_IS_IN_SERVING_ENVIRONMENT"] = "true"
        import mlflow.pyfunc

        model = load(args.model)
        scoring = scoring_of(model)
    except MemoryError as e:
        traceback.print_exc()
        peer.send({"id": 0, "ok": False, "kind": "memory", "error": summary(e)})
        return 1
    except BaseException as e:
        traceback.print_exc()
        peer.send({"id": 0, "ok": False, "kind": "model", "error": summary(e)})
        return 1
    peer.send(
        {
            "id": 0,
            "ok": True,
            "ready": True,
            "python": ".".join(map(str, sys.version_info[:3])),
            "mlflow": str(getattr(mlflow, "__version__", "")),
            "scores": scoring is not None,
        }
    )
    sys.stdout.flush()
    serve(peer, model, scoring)
    return 0


if __name__ == "__main__":
    sys.exit(main())
