"""Free ports of loopback, for what starts servers of its own: the demo and the benchmarks."""

import random
import socket

# The default ports of `millrace up`; --port-offset moves all of them.
MILLRACE = {
    "tracking": 5000,
    "gateway": 8080,
    "pipelines": 8888,
    "s3": 9000,
    "grpc": 8001,
    "kube": 6443,
    "mysql": 3306,
}


class NoFreePort(Exception):
    pass


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do; a port that only lingers after its last user is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _first(candidates, fits, what: str) -> int:
    for candidate in candidates:
        if fits(candidate):
            return candidate
    raise NoFreePort(f"found no {what}")


def _random(low: int, high: int):
    # Below the range that the kernel gives to clients, so that no connection of ours can take it.
    return (random.SystemRandom().randrange(low, high) for _ in range(500))


def port(first: int = 0) -> int:
    """A free port: any, or the first one from `first` on."""
    return _first(range(first, first + 1000) if first else _random(10500, 32000), is_free, "free port")


def offset(*, prefer_defaults: bool = False) -> int:
    """A --port-offset with which all ports are free; with prefer_defaults it is 0 whenever it can be."""
    candidates = [0, *range(10_000, 20_000, 10)] if prefer_defaults else _random(11000, 23000)
    return _first(candidates, lambda o: all(is_free(p + o) for p in MILLRACE.values()), "set of free ports")
