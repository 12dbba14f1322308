"""Pickles written opcode by opcode, so that a test says exactly which bytes a reader meets."""

import struct


def proto(n):
    return b"\x80" + bytes([n])


def text(value):
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def short_text(value):
    data = value.encode()
    return b"\x8c" + bytes([len(data)]) + data


def global_(module, name):
    return b"c" + module.encode() + b"\n" + name.encode() + b"\n"


def stack_global(module, name):
    return short_text(module) + short_text(name) + b"\x93"


def tuple_(*items):
    return b"(" + b"".join(items) + b"t"


def call(function, *arguments):
    return function + tuple_(*arguments) + b"R"


def small(n):
    return b"K" + bytes([n])


def long1(n):
    data = n.to_bytes(n.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def dict_(items):
    return b"}(" + b"".join(text(k) + v for k, v in items.items()) + b"u"


def dtype(code="f8", order="<", size=-1):
    state = tuple_(small(3), text(order), b"N", b"N", b"N", long1(size), long1(-1), small(0))
    return call(global_("numpy", "dtype"), text(code), b"\x89", b"\x88") + state + b"b"


def array(shape, data, code="f8", *, size=-1, fortran=False):
    """An ndarray as protocols 2 to 4 write it; shape and data need not agree."""
    empty = call(
        global_("numpy.core.multiarray", "_reconstruct"), global_("numpy", "ndarray"), tuple_(small(0)), b"C\x01b"
    )
    raw = data if data[:1] in (b"]", b"N") else b"B" + struct.pack("<I", len(data)) + data
    state = tuple_(
        small(1), tuple_(*(long1(n) for n in shape)), dtype(code, size=size), b"\x88" if fortran else b"\x89", raw
    )
    return empty + state + b"b"


def doubles(*values):
    return struct.pack(f"<{len(values)}d", *values)


def estimator(module, name, **state):
    return global_(module, name) + b")\x81" + dict_(state) + b"b"


def logistic(**changes):
    """A small LogisticRegression of four features; keyword arguments replace parts of its state (None: leave out)."""
    state = {
        "solver": text("lbfgs"),
        "multi_class": text("auto"),
        "random_state": b"N",
        "n_features_in_": small(4),
        "classes_": array((2,), (0).to_bytes(8, "little") + (1).to_bytes(8, "little"), "i8"),
        "coef_": array((1, 4), doubles(1, 2, 3, 4)),
        "intercept_": array((1,), doubles(0.5)),
        "_sklearn_version": text("1.3.2"),
        **changes,
    }
    return estimator(
        "sklearn.linear_model._logistic", "LogisticRegression", **{k: v for k, v in state.items() if v is not None}
    )


def pickle_of(*parts, protocol=4):
    return proto(protocol) + b"".join(parts) + b"."
