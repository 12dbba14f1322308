"""Model files that want to harm: they are refused with a text that names what was not read, and nothing runs.

The files are written opcode by opcode (opcodes.py), because no pickler would write most of them.
"""

import pickle
import re
import struct

import harness
import pytest

from . import support
from .hostile import ROW, TENSOR, command, refused_or_right, with_marker
from .opcodes import (
    array,
    call,
    dict_,
    doubles,
    dtype,
    estimator,
    global_,
    logistic,
    long1,
    pickle_of,
    proto,
    small,
    stack_global,
    text,
    tuple_,
)


def test_the_handwritten_model_is_sound(tmp_path):
    """The base of the files below is served, so that a refusal is due to what was changed."""
    folder = support.write_model(tmp_path / "model", pickle_of(logistic()), inputs=TENSOR)
    with support.serve({"m": folder}) as server:
        status, _, body = server.infer("m", ROW)
    assert status == 200, body
    assert support.only_output(body)["data"] == [1]


# ---- calls ----

CALLS = [
    ("os", "system"),
    ("posix", "system"),
    ("nt", "system"),
    ("subprocess", "Popen"),
    ("subprocess", "check_output"),
    ("builtins", "eval"),
    ("builtins", "exec"),
    ("builtins", "getattr"),
    ("builtins", "__import__"),
    ("builtins", "open"),
    ("__builtin__", "eval"),
    ("importlib", "import_module"),
    ("runpy", "_run_code"),
    ("pty", "spawn"),
    ("socket", "create_connection"),
    ("shutil", "rmtree"),
    ("ctypes", "CDLL"),
    ("webbrowser", "open"),
    ("code", "interact"),
    ("pickle", "loads"),
    ("_pickle", "loads"),
    ("joblib", "load"),
    ("cloudpickle.cloudpickle", "_make_function"),
    ("types", "CodeType"),
    ("types", "FunctionType"),
    ("functools", "reduce"),
    ("operator", "attrgetter"),
    ("numpy.testing._private.utils", "runstring"),
    ("numpy", "load"),
    ("numpy.f2py.crackfortran", "getlincoef"),
    ("torch.storage", "_load_from_bytes"),
    ("sklearn.linear_model", "os.system"),
    ("sklearn.utils._testing", "eval"),
]


@pytest.mark.parametrize("how", ["GLOBAL", "STACK_GLOBAL"])
@pytest.mark.parametrize(("module", "name"), CALLS, ids=[".".join(c) for c in CALLS])
def test_calls(refuse, how, module, name):
    function = global_(module, name) if how == "GLOBAL" else stack_global(module, name)
    ended = refuse(pickle_of(call(function, command())))
    assert f"{module}.{name}" in ended.text


@pytest.mark.parametrize("attribute", ["random_state", "classes_", "coef_", "_sklearn_version", "something_new"])
def test_a_call_inside_a_sound_model(refuse, attribute):
    """The usual way to hide one: a good model with one attribute that is a call."""
    ended = refuse(pickle_of(logistic(**{attribute: call(global_("posix", "system"), command())})))
    assert "posix.system" in ended.text


def test_a_call_after_a_sound_model(refuse):
    """The value left on the stack is fine, another was made and thrown away before."""
    ended = refuse(pickle_of(call(global_("posix", "system"), command()) + b"0", logistic()))
    assert "posix.system" in ended.text


def test_the_first_unknown_class_is_named(refuse):
    ended = refuse(
        pickle_of(
            call(global_("acme.one", "First"), command()), call(global_("acme.two", "Second"), command()), b"\x86"
        )
    )
    assert "acme.one.First" in ended.text


def test_nested_calls(refuse):
    inner = call(global_("posix", "system"), command())
    ended = refuse(pickle_of(call(global_("functools", "partial"), call(global_("builtins", "map"), inner, b"]"))))
    assert any(n in ended.text for n in ("functools.partial", "builtins.map", "posix.system"))


def test_a_call_by_inst_and_obj(refuse):
    ended = refuse(b"(" + command() + b"iposix\nsystem\n.")
    assert "INST" in ended.text or "posix.system" in ended.text
    ended = refuse(pickle_of(b"(", global_("posix", "system"), command(), b"o"))
    assert "OBJ" in ended.text or "posix.system" in ended.text


def test_a_call_by_newobj(refuse):
    for opcode in (tuple_(command()) + b"\x81", tuple_(command()) + b"}\x92"):
        ended = refuse(pickle_of(global_("subprocess", "Popen"), opcode))
        assert "subprocess.Popen" in ended.text


def test_state_of_a_foreign_class(refuse):
    """BUILD would call __setstate__ of the class."""
    ended = refuse(pickle_of(global_("acme", "Trap"), b")\x81", dict_({"cmd": command()}), b"b"))
    assert "acme.Trap" in ended.text


def test_known_functions_with_wrong_arguments(refuse):
    for part in (
        call(global_("numpy", "dtype"), call(global_("posix", "system"), command())),
        call(
            global_("numpy.core.multiarray", "_reconstruct"),
            global_("subprocess", "Popen"),
            tuple_(small(0)),
            b"C\x01b",
        ),
    ):
        ended = refuse(pickle_of(logistic(coef_=part)))
        assert "posix.system" in ended.text or "subprocess.Popen" in ended.text


def test_names_that_look_like_ours(refuse):
    for module, name in (
        ("sklearn.linear_model._logistic.evil", "LogisticRegression"),
        ("sklearn.linear_model._logistic", "LogisticRegression.fit"),
        ("Sklearn.linear_model._logistic", "LogisticRegression"),
        ("sklearn.linear_model._logistic ", "LogisticRegression"),
    ):
        ended = refuse(pickle_of(global_(module, name), b")\x81", dict_({}), b"b"))
        assert name in ended.text


def test_a_name_cannot_draw_on_the_terminal(refuse):
    """Control characters of a class name do not reach the log as they are."""
    ended = refuse(pickle_of(stack_global("evil\x1b[2J\nready", "Class\x07\r")))
    for raw in ("\x1b", "\x07", "\r", "\nready"):
        assert raw not in ended.text


def test_an_endless_name(refuse):
    ended = refuse(pickle_of(b"c" + b"a" * 3_000_000 + b"\n" + b"b" * 3_000_000 + b"\n"))
    assert len(ended.text) < 5000


# ---- opcodes that are not read ----


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("EXT1", b"\x82\x01"),
        ("EXT2", b"\x83\x01\x02"),
        ("EXT4", b"\x84\x01\x02\x03\x04"),
        ("PERSID", b"Pposix.system\n"),
        ("BINPERSID", b"K\x01Q"),
        ("NEXT_BUFFER", b"\x97"),
        ("READONLY_BUFFER", b"\x97\x98"),
        ("READONLY_BUFFER", b"K\x01\x98"),
    ],
)
def test_opcodes_that_are_not_read(refuse, name, code):
    ended = refuse(pickle_of(code, protocol=5))
    first = "NEXT_BUFFER" if code[:1] == b"\x97" else name
    assert first in ended.text


@pytest.mark.parametrize("code", [b"\xff", b"\x00", b"\x99", b"\x7f", b"?", b"\n"])
def test_bytes_that_are_no_opcode(refuse, code):
    ended = refuse(proto(4) + code + b".")
    assert f"0x{code.hex()}" in ended.text.lower()


@pytest.mark.parametrize("version", [6, 100, 255])
def test_unknown_protocol(refuse, version):
    ended = refuse(proto(version) + logistic() + b".")
    assert "protocol" in ended.text.lower() and str(version) in ended.text


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b".", id="stop-only"),
        pytest.param(proto(4) + b".", id="no-value"),
        pytest.param(proto(4) + b"0.", id="pop-nothing"),
        pytest.param(proto(4) + b"R.", id="reduce-nothing"),
        pytest.param(proto(4) + b"K\x01b.", id="build-nothing"),
        pytest.param(proto(4) + b"t.", id="no-mark"),
        pytest.param(proto(4) + b"u.", id="setitems-no-mark"),
        pytest.param(proto(4) + b"}(K\x01u.", id="odd-items"),
        pytest.param(proto(4) + b"h\x05.", id="get-unset"),
        pytest.param(proto(4) + b"j\xff\xff\xff\xff.", id="get-far"),
        pytest.param(proto(4) + b"\x94.", id="memoize-nothing"),
        pytest.param(proto(4) + b"K\x01]a.", id="append-to-int"),
        pytest.param(proto(4) + b"(((((.", id="marks-only"),
        pytest.param(proto(4) + b"2.", id="dup-nothing"),
        pytest.param(proto(4) + b"K\x01K\x02\x93.", id="stack-global-of-ints"),
        pytest.param(proto(4) + b"X\x03\x00\x00\x00\xff\xfe\xfd.", id="text-that-is-no-utf8"),
        pytest.param(proto(4) + b"K\x2a.", id="a-number"),
        pytest.param(proto(4) + b"].", id="a-list"),
        pytest.param(b"GIF89a" + b"\0" * 100, id="a-picture"),
        pytest.param(b"\0" * 4096, id="zeros"),
        pytest.param(b"#!/bin/sh\ntouch @MARKER@\n", id="a-script"),
        pytest.param(b"PK\x03\x04" + b"\0" * 60, id="a-zip"),
    ],
)
def test_senseless_files(refuse, data):
    ended = refuse(data)
    assert "model.pkl" in ended.text or "pickle" in ended.text.lower()


# ---- size ----

HUGE = [
    pytest.param(b"\x8e" + struct.pack("<Q", 2**62) + b"abc", id="BINBYTES8"),
    pytest.param(b"\x8d" + struct.pack("<Q", 2**63 + 5) + b"abc", id="BINUNICODE8"),
    pytest.param(b"\x96" + struct.pack("<Q", 2**40) + b"abc", id="BYTEARRAY8"),
    pytest.param(b"B\xff\xff\xff\xffabc", id="BINBYTES"),
    pytest.param(b"X\xff\xff\xff\xffabc", id="BINUNICODE"),
    pytest.param(b"T\xff\xff\xff\x7fabc", id="BINSTRING"),
    pytest.param(b"T\xff\xff\xff\xffabc", id="BINSTRING-negative"),
    pytest.param(b"\x95" + struct.pack("<Q", 2**63) + b"N", id="FRAME"),
    pytest.param(b"\x8b\xff\xff\xff\x7f\x01", id="LONG4"),
    pytest.param(b"\x8b\xff\xff\xff\xff\x01", id="LONG4-negative"),
]


@pytest.mark.parametrize("code", HUGE)
def test_lengths_beyond_the_file(refuse, code):
    ended = refuse(pickle_of(code))
    assert ended.peak_mib < 100


@pytest.mark.parametrize("index", [2**20, 2**31 - 1, 2**32 - 1])
def test_a_far_memo_index(refuse, index):
    """LONG_BINPUT with one huge index must not make a table of that size. Far ones are refused or cost nothing."""
    ended = refuse(pickle_of(text("x"), b"r" + struct.pack("<I", index), b"0", global_("posix", "system")))
    assert ended.peak_mib < 100


def test_memo_bomb_by_sharing(refuse):
    """Each list holds the one before it twice: 2^60 leaves for who walks the tree without care."""
    code = b"]\x940"
    for level in range(60):
        code += b"](h" + bytes([level]) + b"h" + bytes([level]) + b"e\x940"
    ended = refuse(pickle_of(logistic(C=code + b"h\x3c", random_state=call(global_("posix", "system"), command()))))
    assert ended.seconds < 3 and ended.peak_mib < 100
    refuse(pickle_of(code, b"h\x3c"))


def test_a_shared_tree_in_a_sound_model_costs_nothing(tmp_path):
    code = b"]\x940"
    for level in range(60):
        code += b"](h" + bytes([level]) + b"h" + bytes([level]) + b"e\x940"
    # The memo's numbers are taken from 0 on, so the lists come first and the model after them.
    refused_or_right(support.write_model(tmp_path / "model", pickle_of(code, logistic(C=b"h\x3c")), inputs=TENSOR))


def test_memo_of_a_million_entries(refuse):
    ended = refuse(pickle_of(b"N\x940" * 1_000_000, global_("posix", "system")))
    assert ended.peak_mib < 200


def test_many_marks_and_values(refuse):
    refuse(pickle_of(b"(" * 2_000_000))
    refuse(pickle_of(b"N" * 2_000_000, b"N"))


@pytest.mark.parametrize(
    "build",
    [
        pytest.param(lambda n: b"K\x01" + b"\x85" * n, id="tuples"),
        pytest.param(lambda n: b"](" * n + b"K\x01" + b"e" * n, id="lists"),
        pytest.param(lambda n: b"}(K\x01" * n + b"N" + b"u" * n, id="dicts"),
        pytest.param(lambda n: global_("numpy", "dtype") + b"K\x01" + b"\x85" * n + b"R", id="arguments"),
        pytest.param(lambda n: b"N" + b"N\x86" * n, id="pairs"),
    ],
)
def test_depth_bombs(refuse, build):
    """A million levels must not overflow the stack of any walker, nor of the destructor."""
    for depth in (2_000, 100_000, 1_000_000):
        ended = refuse(pickle_of(build(depth)))
        assert ended.text.strip()


def test_depth_bomb_inside_a_model(tmp_path):
    bomb = pickle_of(logistic(C=b"K\x01" + b"\x85" * 500_000))
    refused_or_right(support.write_model(tmp_path / "model", bomb, inputs=TENSOR))


def test_values_that_hold_themselves(refuse):
    refuse(pickle_of(b"]\x94h\x00a"))
    refuse(pickle_of(b"}\x94", text("self"), b"h\x00s"))
    # A pipeline whose step is itself.
    step = tuple_(text("again"), b"h\x00")
    ended = refuse(
        pickle_of(
            global_("sklearn.pipeline", "Pipeline"),
            b")\x81\x94",
            dict_({"steps": b"](" + step + b"e", "memory": b"N"}),
            b"b",
        )
    )
    assert ended.text.strip()


# ---- arrays that lie ----

BAD_ARRAYS = [
    pytest.param(array((1, 2**60), doubles(1)), id="shape-beyond-memory"),
    pytest.param(array((2**33, 2**33), doubles(1)), id="product-overflows"),
    pytest.param(array((2**31, 2**31, 4), b""), id="product-overflows-to-zero"),
    pytest.param(array((-1, 4), doubles(1, 2, 3, 4)), id="negative"),
    pytest.param(array((-1, -4), doubles(1, 2, 3, 4)), id="two-negatives"),
    pytest.param(array((1, 2**70), doubles(1)), id="beyond-64-bits"),
    pytest.param(array((1, 4), doubles(1, 2, 3)), id="too-few-bytes"),
    pytest.param(array((1, 4), doubles(1, 2, 3, 4, 5)), id="too-many-bytes"),
    pytest.param(array((1, 4), doubles(1, 2, 3, 4)[:-1]), id="half-a-number"),
    pytest.param(array((1,) * 100, doubles(1)), id="hundred-dimensions"),
    pytest.param(array((), doubles(1)), id="no-dimension"),
    pytest.param(array((3, 4), doubles(*range(12))), id="more-rows-than-classes"),
    pytest.param(array((0, 4), b""), id="no-row"),
    pytest.param(array((1, 4), b"\0" * 16, "U1"), id="text"),
    pytest.param(array((1, 4), b"](NNNNe", "O8"), id="objects"),
    pytest.param(array((1, 4), doubles(1, 2, 3, 4), "f3"), id="no-such-dtype"),
    pytest.param(array((1, 4), doubles(1, 2, 3, 4), "U99999999999"), id="endless-text"),
    pytest.param(array((1, 4), doubles(1, 2, 3, 4), "V8"), id="void"),
    pytest.param(small(7), id="a-number"),
    pytest.param(text("coef"), id="a-text"),
    pytest.param(b"N", id="none"),
    pytest.param(None, id="missing"),
    pytest.param(
        call(
            global_("numpy._core.numeric", "_frombuffer"),
            b"\x96" + struct.pack("<Q", 8) + doubles(1),
            dtype(),
            tuple_(long1(1), long1(2**60)),
            text("C"),
        ),
        id="frombuffer-beyond-memory",
    ),
    pytest.param(
        call(
            global_("numpy._core.numeric", "_frombuffer"),
            b"\x96" + struct.pack("<Q", 32) + doubles(1, 2, 3, 4),
            dtype(),
            tuple_(small(1), small(4)),
            text("Z"),
        ),
        id="frombuffer-order",
    ),
]


@pytest.mark.parametrize("coef", BAD_ARRAYS)
def test_arrays_that_lie(refuse, coef):
    ended = refuse(pickle_of(logistic(coef_=coef)))
    assert re.search("coef_|array|dtype|shape|LogisticRegression", ended.text)
    assert ended.peak_mib < 100


def test_a_model_that_learned_nan(tmp_path):
    """No attack, but it cannot predict: scikit-learn would answer class 0; refusing it is right too."""
    coef = array((1, 4), doubles(float("nan"), 2, 3, 4))
    refused_or_right(support.write_model(tmp_path / "model", pickle_of(logistic(coef_=coef)), inputs=TENSOR))


@pytest.mark.parametrize(
    "changes",
    [
        {"classes_": array((1,), (0).to_bytes(8, "little"), "i8")},
        {"classes_": array((3,), b"\0" * 24, "i8")},
        {"classes_": None},
        {"intercept_": None},
        {"intercept_": array((2,), doubles(1, 2))},
    ],
    ids=["one-class", "three-classes", "no-classes", "no-intercept", "two-intercepts"],
)
def test_models_whose_parts_do_not_fit(refuse, changes):
    ended = refuse(pickle_of(logistic(**changes)))
    assert re.search("|".join([*changes, "LogisticRegression", "array", "text"]), ended.text)


@pytest.mark.parametrize(
    "changes",
    [
        {"n_features_in_": small(9)},
        {"coef_": array((1, 3), doubles(1, 2, 3))},
        {"classes_": array((2,), b"\xff\xff\xff\x7f" * 2, "U1")},
        {"coef_": array((1, 4), doubles(1e308, 1e308, 1e308, 1e308))},
    ],
    ids=["says-nine-features", "has-three-features", "no-unicode", "overflow"],
)
def test_models_that_cannot_be_right(tmp_path, changes):
    """Noticed at the start or at the request, or harmless: but always a sound answer of the protocol."""
    folder = support.write_model(tmp_path / "model", pickle_of(logistic(**changes)), inputs=TENSOR)
    try:
        with support.serve({"m": folder}) as server:
            status, _, body = server.infer("m", ROW)
            assert status in (200, 400)
            assert isinstance(body, dict), "JSON, and so UTF-8"
            assert server.proc.terminate() == 0
    except harness.StartFailed as failure:
        assert "exit code: 1\n" in str(failure)


def test_a_pipeline_whose_steps_are_none(refuse):
    for steps in (
        b"N",
        b"]",
        small(3),
        b"](" + tuple_(text("a"), small(1)) + b"e",
        b"](" + text("ab") + b"e",
        b"](" + tuple_(text("a"), text("nonsense")) + b"e",
    ):
        ended = refuse(pickle_of(estimator("sklearn.pipeline", "Pipeline", steps=steps, memory=b"N")))
        assert re.search("Pipeline|step|estimator", ended.text)


# ---- the server next to a hostile file ----


def test_a_refusal_is_short(refuse):
    """The text is for people: short, the reason in its first line, no dump of bytes."""
    ended = refuse(pickle_of(call(global_("posix", "system"), command())))
    lines = ended.text.splitlines()
    assert 1 <= len(lines) <= 3
    assert "posix.system" in lines[0]
    assert max(map(len, lines)) < 600


def test_unused_names_stay_harmless_in_the_standard_library(tmp_path):
    """The files of this test do harm where Python reads them: what is refused above is a real attack."""
    marker = tmp_path / "pwned"
    data = pickle_of(call(global_("posix", "system"), command()))
    assert pickle.loads(with_marker(data, marker)) == 0
    assert marker.exists()
