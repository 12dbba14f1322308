"""Model files that are cut, changed or lie about their sizes: joblib's arrays and compression, skops' zip and schema."""

import bz2
import gzip
import io
import json
import lzma
import re
import struct
import zipfile
import zlib

import harness
import pytest

from . import support
from .hostile import ROW, TENSOR, command, golden, refused_or_right, sampled
from .opcodes import (
    call,
    dict_,
    doubles,
    dtype,
    global_,
    logistic,
    long1,
    pickle_of,
    proto,
    small,
    text,
    tuple_,
)

# ---- cut and changed files ----


@pytest.mark.parametrize(
    "path",
    [
        "1.3.2/logreg_binary.p4.pkl",
        "1.9.1/logreg_binary.p5.pkl",
        "1.9.1/logreg_binary.joblib",
        "1.9.1/logreg_binary.skops",
        "1.3.2/logreg_binary.zlib.joblib",
        "1.3.2/logreg_binary.xz.joblib",
        "1.3.2/logreg_binary.lz4.joblib",
    ],
)
def test_cut_short(tmp_path, path):
    """Cut at sampled places: always exit code 1 and a text, never a crash."""
    data = golden(path)
    for length in sampled(data, 10):
        file_name = "model." + path.rsplit(".", 1)[1]
        folder = support.write_model(tmp_path / str(length), data[:length], inputs=TENSOR, file_name=file_name)
        ended = support.refused(folder)
        assert ended.text.strip(), length


def test_cut_short_says_so(refuse):
    ended = refuse(golden("1.3.2/logreg_binary.p4.pkl")[:-30])
    assert re.search("truncated|ends|end of|cut|short|incomplete|longer than", ended.text)


@pytest.mark.parametrize("path", ["1.9.1/logreg_binary.p5.pkl", "1.9.1/linreg.joblib"])
def test_changed_bytes_never_crash(tmp_path, path):
    data = bytearray(golden(path))
    models = {}
    for number, place in enumerate(range(3, len(data), max(1, len(data) // 12))):
        changed = bytearray(data)
        changed[place] ^= 0x11 << (number % 4)
        models[place] = support.write_model(
            tmp_path / str(place), bytes(changed), inputs=TENSOR, file_name="model." + path.rsplit(".", 1)[1]
        )
    for place, folder in models.items():
        try:
            with support.serve({"m": folder}) as server:
                assert server.infer("m", ROW)[0] in (200, 400, 500), place
                assert server.proc.terminate() == 0, place
        except harness.StartFailed as failure:
            assert "exit code: 1\n" in str(failure), place


# ---- joblib ----


def wrapper(shape, *, data=b"", order="C", code="f8", pad=b"\x00"):
    """A joblib array: its description, then the bytes in the stream."""
    return (
        global_("joblib.numpy_pickle", "NumpyArrayWrapper")
        + b")\x81"
        + dict_(
            {
                "subclass": global_("numpy", "ndarray"),
                "shape": tuple_(*(long1(n) for n in shape)),
                "order": text(order),
                "dtype": dtype(code),
                "allow_mmap": b"\x88",
                "numpy_array_alignment_bytes": small(16),
            }
        )
        + b"b"
        + pad
        + data
    )


@pytest.mark.parametrize(
    "coef",
    [
        pytest.param(wrapper((1, 2**60)), id="shape-beyond-memory"),
        pytest.param(wrapper((2**33, 2**33)), id="product-overflows"),
        pytest.param(wrapper((-4, -1), data=doubles(1, 2, 3, 4)), id="negative"),
        pytest.param(wrapper((1, 4), data=doubles(1)), id="too-few-bytes"),
        pytest.param(wrapper((1, 4), data=doubles(1, 2, 3, 4), pad=b"\xff"), id="pad-beyond-the-file"),
        pytest.param(wrapper((1, 4), data=doubles(1, 2, 3, 4), order="Q"), id="unknown-order"),
        pytest.param(
            wrapper((1, 4), code="O8", pad=b"", data=pickle_of(call(global_("posix", "system"), command()))),
            id="call-in-the-nested-pickle",
        ),
    ],
)
def test_joblib_arrays_that_lie(refuse, coef):
    ended = refuse(pickle_of(logistic(coef_=coef)), file_name="model.joblib")
    assert ended.peak_mib < 100
    if b"posix" in coef:
        assert "posix.system" in ended.text


def bomb(kind, mib=512):
    """The start of a sound pickle that announces half a gigabyte of bytes, then as many zeros, packed."""
    head = proto(4) + b"\x8e" + struct.pack("<Q", mib << 20)
    zeros = bytes(1 << 20)
    if kind in ("bz2", "xz"):
        # These formats allow one stream after the other, so one packed megabyte is repeated.
        pack = {"bz2": bz2.compress, "xz": lzma.compress}[kind]
        return pack(head) + pack(zeros) * mib
    # After a full flush a block stands for itself, so it can be repeated as well.
    packer = zlib.compressobj(9, zlib.DEFLATED, 31 if kind == "gzip" else 15)
    start = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(zeros) + packer.flush(zlib.Z_FULL_FLUSH)
    return start + block * mib + packer.flush()


@pytest.mark.parametrize("kind", ["zlib", "gzip", "bz2", "xz"])
def test_compressed_bombs(tmp_path, kind):
    """Half a gigabyte of zeros in a small file: refused, with little memory."""
    data = bomb(kind)
    assert len(data) < 1_000_000
    ended = support.refused(support.write_model(tmp_path / "model", data, inputs=TENSOR, file_name="model.joblib"))
    assert ended.peak_mib < 200


def test_compressed_noise(refuse):
    for data in (
        zlib.compress(b"noise" * 50),
        gzip.compress(b"noise" * 50),
        bz2.compress(b"noise" * 50),
        lzma.compress(b"noise" * 50),
        b"\x04\x22\x4d\x18" + b"\xff" * 40,
        b"\x78\x9c" + b"\xff" * 40,
    ):
        refuse(data, file_name="model.joblib")


# ---- skops ----


def skops_file(schema, files=(), compression=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as out:
        for name, data in files:
            out.writestr(name, data)
        out.writestr("schema.json", schema if isinstance(schema, (str, bytes)) else json.dumps(schema))
    return buffer.getvalue()


def unpack(data):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        files = [(n, archive.read(n)) for n in archive.namelist() if n != "schema.json"]
        return json.loads(archive.read("schema.json")), files


def sound():
    return unpack(golden("1.9.1/logreg_binary.skops"))


def state_of(schema):
    return schema["content"]["content"]


def test_the_repacked_skops_file_is_sound(tmp_path):
    folder = support.write_model(tmp_path / "model", skops_file(*sound()), inputs=TENSOR, file_name="model.skops")
    with support.serve({"m": folder}) as server:
        assert server.infer("m", ROW)[0] == 200


def node(loader, module, name, **rest):
    return {"__class__": name, "__module__": module, "__loader__": loader, "__id__": 1, **rest}


def json_node(value):
    return node("JsonNode", "builtins", "str", content=json.dumps(value), is_json=True)


HOSTILE_NODES = [
    ("FunctionNode", node("FunctionNode", "os", "system", content="system"), "os.system"),
    ("TypeNode", node("TypeNode", "subprocess", "Popen"), "subprocess.Popen"),
    ("ObjectNode", node("ObjectNode", "acme", "Trap", content=None), "acme.Trap"),
    ("MethodNode", node("MethodNode", "os", "system", content={"func": "system", "obj": json_node("x")}), "os.system"),
    (
        "PartialNode",
        node(
            "PartialNode",
            "functools",
            "partial",
            content={
                "func": node("FunctionNode", "posix", "system", content="system"),
                "args": [],
                "kwargs": {},
                "namespace": {},
            },
        ),
        "functools.partial|posix.system",
    ),
    (
        "OperatorFuncNode",
        node("OperatorFuncNode", "operator", "attrgetter", attrs=json_node("x")),
        "operator.attrgetter|OperatorFuncNode",
    ),
    ("TreeNode", node("TreeNode", "acme", "Tree", content=None, __reduce__={"args": json_node(1)}), "acme.Tree"),
    ("EvilNode", node("EvilNode", "builtins", "str", content="x"), "EvilNode"),
]


@pytest.mark.parametrize(("loader", "hostile", "named"), HOSTILE_NODES, ids=[n[0] for n in HOSTILE_NODES])
@pytest.mark.parametrize("place", ["root", "attribute"])
def test_skops_nodes_that_are_not_read(refuse, loader, hostile, named, place):
    schema, files = sound()
    if place == "root":
        schema = {**hostile, "protocol": 2, "_skops_version": "0.16.0"}
    else:
        state_of(schema)["random_state"] = hostile
    ended = refuse(skops_file(schema, files), file_name="model.skops")
    assert any(n in ended.text for n in named.split("|")), ended


def npy(header, data=b""):
    head = header.encode()
    head += b" " * (-(len(head) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + data


BAD_NPY = {
    "shape-beyond-memory": npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1, 1152921504606846976), }"),
    "product-overflows": npy("{'descr': '<f8', 'fortran_order': False, 'shape': (8589934592, 8589934592), }"),
    "negative": npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, -4), }", doubles(1, 2, 3, 4)),
    "too-few-bytes": npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1, 4), }", doubles(1)),
    "objects": npy(
        "{'descr': '|O', 'fortran_order': False, 'shape': (1, 4), }",
        pickle_of(call(global_("posix", "system"), command())),
    ),
    "code-in-the-header": npy("{'descr': __import__('os').system('touch x'), 'shape': (1, 4), }", doubles(1, 2, 3, 4)),
    "header-beyond-the-file": b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**31) + b"{'descr'",
    "no-npy": b"hello",
    "empty": b"",
    "version-9": b"\x93NUMPY\x09\x00" + b"\0" * 64,
}


@pytest.mark.parametrize("bad", list(BAD_NPY.values()), ids=list(BAD_NPY))
def test_skops_arrays_that_lie(refuse, bad):
    schema, files = sound()
    coef = state_of(schema)["coef_"]["file"]
    ended = refuse(skops_file(schema, [(n, bad if n == coef else d) for n, d in files]), file_name="model.skops")
    assert ended.peak_mib < 100
    assert "coef_" in ended.text or "array" in ended.text or coef in ended.text or "npy" in ended.text


@pytest.mark.parametrize(
    "name", ["../../../../etc/hostname", "/etc/hostname", "nowhere.npy", "schema.json", "", "..\\..\\x.npy"]
)
def test_skops_files_are_only_members(refuse, name):
    """The name of an array's file is looked up in the archive and nowhere else."""
    schema, files = sound()
    state_of(schema)["coef_"]["file"] = name
    refuse(skops_file(schema, files), file_name="model.skops")


@pytest.mark.parametrize(
    "schema",
    [
        pytest.param("", id="empty"),
        pytest.param("{", id="cut"),
        pytest.param("[]", id="list"),
        pytest.param("null", id="null"),
        pytest.param("{}", id="no-keys"),
        pytest.param("[" * 200_000, id="deep"),
        pytest.param('{"content":' * 100_000 + "1" + "}" * 100_000, id="deep-objects"),
        pytest.param(b"\xff\xfe\x00", id="no-utf8"),
        pytest.param('{"__class__":5,"__module__":[],"__loader__":{},"content":{}}', id="wrong-types"),
    ],
)
def test_skops_schemas_without_sense(refuse, schema):
    refuse(skops_file(schema), file_name="model.skops")


def test_skops_nodes_that_hold_themselves(refuse):
    schema, files = sound()
    schema["__id__"] = 77
    state_of(schema)["random_state"] = node("CachedNode", "builtins", "str")
    state_of(schema)["random_state"]["__id__"] = 77
    refuse(skops_file(schema, files), file_name="model.skops")


def test_skops_zip_bomb(tmp_path):
    schema = b'{"a":"' + b" " * (128 << 20) + b'"}'
    data = skops_file(schema, compression=zipfile.ZIP_DEFLATED)
    assert len(data) < 1_000_000
    ended = support.refused(support.write_model(tmp_path / "model", data, inputs=TENSOR, file_name="model.skops"))
    assert ended.peak_mib < 200


def test_skops_zip_directory_that_lies(tmp_path):
    """Sizes and places in the directory may be believed or not, but never lead out of the file."""
    data = skops_file(*sound())
    end, first = data.rindex(b"PK\x05\x06"), data.index(b"PK\x01\x02")
    changes = [
        (end + 10, b"\xff\xff"),
        (end + 12, b"\xff\xff\xff\x7f"),
        (end + 16, b"\xff\xff\xff\x7f"),
        (end + 16, bytes(4)),
        *((first + n, b"\xff\xff\xff\x7f") for n in (20, 24, 42)),
    ]
    for number, (place, value) in enumerate(changes):
        changed = data[:place] + value + data[place + len(value) :]
        refused_or_right(support.write_model(tmp_path / str(number), changed, inputs=TENSOR, file_name="model.skops"))


# ---- matrices inside skops files: an .npz, which is a zip itself ----


def npz(compression=zipfile.ZIP_DEFLATED, **members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as out:
        for name, data in members.items():
            out.writestr(f"{name}.npy", data)
    return buffer.getvalue()


def with_matrices(*archives):
    """A sound file whose first attributes are sparse matrices in these archives."""
    schema, files = sound()
    for number, _ in enumerate(archives):
        matrix = node("SparseMatrixNode", "scipy.sparse._csr", "csr_matrix", type="scipy", file=f"m{number}.npz")
        matrix["__id__"] = 1000 + number
        state_of(schema)["coef_" if number == 0 else f"more_{number}"] = matrix
    return skops_file(schema, [*files, *((f"m{number}.npz", data) for number, data in enumerate(archives))])


def zeros(mib):
    return npy(f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({mib << 17},), }}", bytes(mib << 20))


def test_npz_bombs(tmp_path):
    """One matrix that is too large, and many that are small enough alone."""
    one = npz(data=zeros(128))
    many = npz(data=zeros(40))
    for name, data in {"one": with_matrices(one), "many": with_matrices(*[many] * 20)}.items():
        assert len(data) < 2_000_000
        folder = support.write_model(tmp_path / name, data, inputs=TENSOR, file_name="model.skops")
        assert re.search("unpacked|unpack to", support.refused(folder).text)


def test_npz_files_that_are_damaged(refuse):
    whole = npz(
        data=npy("{'descr': '<f8', 'fortran_order': False, 'shape': (4,), }", doubles(1, 2, 3, 4)),
        indices=npy("{'descr': '<i4', 'fortran_order': False, 'shape': (4,), }", struct.pack("<4i", 0, 1, 2, 2**30)),
        indptr=npy("{'descr': '<i4', 'fortran_order': False, 'shape': (2,), }", struct.pack("<2i", 0, 4)),
        shape=npy("{'descr': '<i8', 'fortran_order': False, 'shape': (2,), }", struct.pack("<2q", 1, 4)),
    )
    for data in (b"", b"PK", whole[:-30], whole[: len(whole) // 2], whole, npz(data=b"no npy"), npz()):
        refuse(with_matrices(data), file_name="model.skops")
