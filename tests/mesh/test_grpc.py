"""gRPC at the front door: HTTP/2 in cleartext on the gateway's port, routed by its rules to a server of grpcio."""

import concurrent.futures
import threading
import types

import pytest
from harness import until

import grpc

from .conftest import documents, service
from .test_front_door import rule, to

BIG = 3 << 20


class Echo(grpc.GenericRpcHandler):
    """Service `test.Echo`: one to one, many to many, an error with trailers, a call that waits for its end."""

    def __init__(self):
        self.begun = threading.Event()
        self.cancelled = threading.Event()

    def service(self, call):
        kinds = {
            "/test.Echo/One": grpc.unary_unary_rpc_method_handler(self.one),
            "/test.Echo/Many": grpc.stream_stream_rpc_method_handler(self.many),
            "/test.Echo/Fail": grpc.unary_unary_rpc_method_handler(self.fail),
            "/test.Echo/Wait": grpc.unary_unary_rpc_method_handler(self.wait),
        }
        return kinds.get(call.method)

    def one(self, message, context):
        seen = dict(context.invocation_metadata())
        context.send_initial_metadata([("x-seen", seen.get("x-sent", "")), ("x-proto", seen["x-forwarded-proto"])])
        context.set_trailing_metadata([("x-trailer", "after")])
        return message

    def many(self, messages, context):
        yield from messages

    def fail(self, message, context):
        context.set_trailing_metadata([("x-why-bin", b"\x00\x01")])
        context.abort(grpc.StatusCode.DATA_LOSS, "spilt: 100 %")

    def wait(self, message, context):
        ended = threading.Event()
        context.add_callback(ended.set)
        context.add_callback(self.cancelled.set)
        self.begun.set()
        ended.wait(60)
        return message


@pytest.fixture
def echo(kubectl, ns):
    handler = Echo()
    options = [("grpc.max_receive_message_length", -1), ("grpc.so_reuseport", 0)]
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(8), handlers=[handler], options=options)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    kubectl(
        "apply",
        "-f",
        "-",
        input=documents(
            *service("echo", types.SimpleNamespace(port=port)),
            rule(f"echo.{ns}.test", to(("echo", None))),
        ),
    )
    yield handler, server
    server.stop(0)


@pytest.fixture
def channel(millrace):
    """Channels to the gateway, by the authority that calls name."""
    channels = []

    def make(authority=None):
        options = [("grpc.max_receive_message_length", -1)]
        if authority:
            options.append(("grpc.default_authority", authority))
        channels.append(grpc.insecure_channel(millrace.gateway_url.removeprefix("http://"), options=options))
        return channels[-1]

    yield make
    for one in channels:
        one.close()


def status_of(call, *args, timeout=60):
    try:
        call(*args, timeout=timeout)
    except grpc.RpcError as e:
        return e.code(), e.details()
    return grpc.StatusCode.OK, ""


def until_routed(call):
    until(
        lambda: status_of(call, b"")[0] == grpc.StatusCode.OK,
        "a route to the echo server",
        60,
    )


def test_calls_of_all_kinds_go_through(echo, channel, ns):
    handler, _ = echo
    calls = channel(f"echo.{ns}.test")
    one = calls.unary_unary("/test.Echo/One")
    until_routed(one)
    answer, call = one.with_call(b"hello", metadata=[("x-sent", "this")], timeout=60)
    assert answer == b"hello"
    assert dict(call.initial_metadata())["x-seen"] == "this"
    assert dict(call.initial_metadata())["x-proto"] == "http"
    assert dict(call.trailing_metadata())["x-trailer"] == "after"
    # Larger than every window on the way.
    big = bytes(BIG)
    assert one(big, timeout=60) == big
    many = calls.stream_stream("/test.Echo/Many")
    # Each answer is read before the next question is asked: nothing waits for the end of the other side.
    asked, ready = [], threading.Semaphore(1)

    def questions():
        for i in range(20):
            ready.acquire(timeout=60)
            asked.append(i)
            yield str(i).encode() * (1 if i else BIG)

    for i, got in enumerate(many(questions(), timeout=60)):
        assert len(asked) == i + 1
        assert got[:2] in (str(i).encode(), b"00")
        ready.release()
    assert len(asked) == 20
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda i: one(str(i).encode() * 1000, timeout=60), range(200)))
    assert answers == [str(i).encode() * 1000 for i in range(200)]
    with pytest.raises(grpc.RpcError) as failed:
        calls.unary_unary("/test.Echo/Fail")(b"", timeout=60)
    assert (failed.value.code(), failed.value.details()) == (
        grpc.StatusCode.DATA_LOSS,
        "spilt: 100 %",
    )
    assert dict(failed.value.trailing_metadata())["x-why-bin"] == b"\x00\x01"
    # The end of a call that its client has given up reaches the server.
    waiting = calls.unary_unary("/test.Echo/Wait").future(b"")
    assert handler.begun.wait(60)
    waiting.cancel()
    assert handler.cancelled.wait(60)


def test_calls_that_go_nowhere(echo, channel, ns, kubectl, millrace):
    _, server = echo
    one = channel(f"echo.{ns}.test").unary_unary("/test.Echo/One")
    until_routed(one)
    method = channel(f"echo.{ns}.test").unary_unary("/test.Echo/None")
    assert status_of(method, b"")[0] == grpc.StatusCode.UNIMPLEMENTED
    # Of a host that no rule names it is the platform's own server that answers.
    health = channel().unary_unary("/grpc.health.v1.Health/Check")
    assert health(b"", timeout=60) == b"\x08\x01"
    kubectl(
        "apply",
        "-f",
        "-",
        input=documents(rule(f"none.{ns}.test", to(("none", None)), name="none")),
    )
    nobody = channel(f"none.{ns}.test").unary_unary("/test.Echo/One")
    until(
        lambda: status_of(nobody, b"")[0] == grpc.StatusCode.UNAVAILABLE,
        "no upstream",
        60,
    )
    slow = to(("echo", None), timeout="0.2s")
    kubectl("apply", "-f", "-", input=documents(rule(f"echo.{ns}.test", slow)))
    wait = channel(f"echo.{ns}.test").unary_unary("/test.Echo/Wait")
    until(
        lambda: "0.2s" in kubectl("get", "virtualservice", "rule", "-o", "yaml"),
        "the rule",
        60,
    )
    late = (grpc.StatusCode.DEADLINE_EXCEEDED, "upstream request timeout")
    until(lambda: status_of(wait, b"", timeout=5) == late, "the new time limit", 60)
    server.stop(0).wait(60)
    until(
        lambda: status_of(one, b"")[0] == grpc.StatusCode.UNAVAILABLE,
        "the server is gone",
        60,
    )
