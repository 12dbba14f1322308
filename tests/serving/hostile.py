"""What the tests of hostile model files share."""

import harness

from . import support
from .opcodes import text

TENSOR = support.tensor("float64", [-1, 4])
ROW = [{"name": "x", "datatype": "FP64", "shape": [1, 4], "data": [1, 2, 3, 4]}]


def command():
    """The payload's shell command; where the marker lies is filled in by `with_marker`."""
    return b"@COMMAND@"


def with_marker(data, marker):
    return data.replace(b"@COMMAND@", text(f"touch {marker}")).replace(b"@MARKER@", str(marker).encode())


def refused_or_right(folder):
    """For files whose fault a reader may overlook: no crash, and no wrong answer."""
    try:
        with support.serve({"m": folder}) as server:
            status, _, body = server.infer("m", ROW)
            assert status == 200, body
            assert support.only_output(body)["data"] in ([0], [1])
            assert support.peak_memory_mib(server.proc.pid) < 200
            assert server.proc.terminate() == 0
    except harness.StartFailed as failure:
        assert "exit code: 1\n" in str(failure)


def golden(pattern):
    return next(support.GOLDEN.glob(pattern)).read_bytes()


def sampled(data, count):
    step = max(1, len(data) // count)
    return sorted({0, 1, 2, len(data) - 1, *range(3, len(data), step)})
