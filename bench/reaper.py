"""Runs a server and adopts what it leaves behind, so that the CPU time of its pods is counted.

usage: reaper.py PROGRAM [ARGUMENT]...

A pod's outer sandbox process ends before the inner one: the kernel then hands the inner one, with all that the pod's
program has used, to the nearest process that adopts orphans. Without this that is the machine's init, and the time is lost
to who sums up the server's processes.
"""

import ctypes
import os
import signal
import sys

PR_SET_CHILD_SUBREAPER = 36


def main() -> int:
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    server = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
    signal.signal(signal.SIGTERM, lambda *_: os.kill(server, signal.SIGTERM))
    while True:
        pid, status = os.wait()
        if pid == server:
            return os.waitstatus_to_exitcode(status) & 0xFF


if __name__ == "__main__":
    sys.exit(main())
