// What a waiting interpreter runs (see warm.h). Arguments: what to import. Descriptor 3: the socket to the node.
#include "node/warm_program.h"

namespace mr::node {

const char* const kWarmProgram = R"(import ctypes
import gc
import importlib
import io
import json
import os
import runpy
import signal
import socket
import sys
import threading
import time

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID = 0x20000, 0x4000000, 0x8000000, 0x10000000, 0x20000000
PR_CAPBSET_DROP, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 24, 47, 2
# chown, dac_override, fowner, fsetid, kill, setgid, setuid: what the sandbox leaves a plain image's root.
KEPT = (0, 1, 3, 4, 5, 6, 7)
libc = ctypes.CDLL(None, use_errno=True)


def call(name, *arguments):
    if getattr(libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def drop_capabilities(kept):
    for number in range(64):
        if number not in kept and libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0) != 0:
            break
    mask = sum(1 << number for number in kept)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    data = (ctypes.c_uint32 * 6)(mask, mask, mask, 0, 0, 0)
    call("capset", header, data)
    for number in kept:
        libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number, 0, 0)


def receive():
    """One job with its descriptors, in a copy of this process that was made before the job came."""
    control = socket.socket(fileno=3)
    ready = b"ready"
    while True:
        taken, take = os.pipe()
        if os.fork() == 0:
            os.close(taken)
            if ready:
                control.send(ready)
            message, fds, _, _ = socket.recv_fds(control, 1 << 20, 32)
            if not message:
                os._exit(0)
            os.write(take, b".")
            os.close(take)
            control.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            return json.loads(message), fds
        ready = b""
        os.close(take)
        # Nothing comes when the copy went without a job: the node is gone.
        if not os.read(taken, 1):
            os._exit(0)
        os.close(taken)


def enter(job, fds):
    """Leaves this process behind as the one that waits; returns in the one that is inside."""
    out, err, code, user, ipc, uts, pid, mount, *groups = fds
    for fd in groups:
        os.write(fd, b"0")
    for fd, kind in ((user, CLONE_NEWUSER), (ipc, CLONE_NEWIPC), (uts, CLONE_NEWUTS), (pid, CLONE_NEWPID), (mount, CLONE_NEWNS)):
        call("setns", fd, kind)
    child = os.fork()
    if child != 0:
        for fd in {out, err, 1, 2}:
            os.close(fd)
        _, status = os.waitpid(child, 0)
        result = os.waitstatus_to_exitcode(status)
        os.write(code, b"%d\n" % (result if result >= 0 else 128 - result))
        os._exit(0)
    os.dup2(out, 1)
    os.dup2(err, 2)
    for fd in fds:
        os.close(fd)
    os.setsid()
    drop_capabilities(KEPT if job["capabilities"] else ())


def become(job):
    os.environ.clear()
    os.environ.update(job["env"])
    time.tzset()
    os.chdir(job["folder"] or "/")
    os.environ["PWD"] = os.getcwd()
    for name, fd in (("stdout", 1), ("stderr", 2)):
        old = getattr(sys, name)
        if os.environ.get("PYTHONUNBUFFERED"):
            raw = io.FileIO(fd, "w", closefd=False)
            stream = io.TextIOWrapper(raw, old.encoding, old.errors, write_through=True, line_buffering=fd == 2)
        else:
            stream = open(fd, "w", -1 if fd == 1 else 1, old.encoding, old.errors, closefd=False)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    sys.argv = list(job["argv"])
    sys.orig_argv = [sys.executable, *sys.argv]
    sys.path[0] = os.path.dirname(sys.argv[0])
    script = sys.argv[0]

    def hook(kind, error, trace):
        # A traceback begins with the step's own program, not with what brought it here.
        inside = trace
        while inside is not None and inside.tb_frame.f_code.co_filename != script:
            inside = inside.tb_next
        sys.__excepthook__(kind, error.with_traceback(inside or trace), inside or trace)

    sys.excepthook = hook
    return script


for word in sys.argv[1:]:
    if "=" in word:
        os.environ.__setitem__(*word.split("=", 1))
for word in sys.argv[1:]:
    if "=" not in word:
        importlib.import_module(word)
if threading.active_count() > 1:
    sys.exit("a module that was imported has started threads; a copy would lack them")
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
gc.collect()
gc.freeze()
step, descriptors = receive()
enter(step, descriptors)
program = become(step)
del step, descriptors
runpy.run_path(program, run_name="__main__")
)";

}  // namespace mr::node
