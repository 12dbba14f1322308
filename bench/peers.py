"""The systems that Millrace is measured against, each in an environment of its own, and how they are obtained.

What cannot be installed is named as missing with the reason, and the rest is measured without it.
"""

import dataclasses
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent

MLFLOW = "3.18.0"
MLSERVER = "1.7.1"
VERSITYGW = "v1.8.0"
# Those of .venv, which trains the model of the seed's request: one environment of MLServer is enough.
SCIKIT_LEARN, SKOPS = "1.9.1", "0.16.0"
XGBOOST, LIGHTGBM = "3.2.0", "4.7.0"


@dataclasses.dataclass
class Peer:
    name: str
    version: str = ""
    program: str = ""
    missing: str = ""
    notes: str = ""


def cache() -> pathlib.Path:
    """Kept between runs and clones: an environment of MLServer is 1.5 GB."""
    given = os.environ.get("MILLRACE_BENCH_CACHE")
    base = (
        pathlib.Path(given)
        if given
        else pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "millrace-bench"
    )
    return base.expanduser()


def _uv() -> str:
    private = ROOT / "build" / "tools" / "uv" / "bin" / "uv"
    return str(private) if private.exists() else shutil.which("uv") or ""


def _run(what: str, command: list[str], log: pathlib.Path, env: dict | None = None, limit: float = 1800) -> str:
    """Runs with a sign of life every 15 seconds. Returns "" or why it failed."""
    print(f"{what} ...", flush=True)
    begin = time.monotonic()
    with log.open("ab") as out:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, env={**os.environ, **(env or {})}
        )
        while True:
            try:
                code = process.wait(timeout=15)
                break
            except subprocess.TimeoutExpired:
                print(f"  {time.monotonic() - begin:3.0f} s", flush=True)
                if time.monotonic() - begin > limit:
                    process.kill()
                    process.wait()
                    return f"{what} took more than {limit:.0f} s"
    if code == 0:
        return ""
    last = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return f"{what} failed: {last[-1][:200] if last else f'exit code {code}'}"


def _compile(python: str) -> None:
    """Writes the bytecode of everything installed, which uv leaves to the first import: a peer that has run before does
    not compile, and it is that one we compare with. Files that are no Python of this version are no matter."""
    script = (
        "import compileall, os, sysconfig\n"
        "compileall.compile_dir(sysconfig.get_paths()['purelib'], quiet=2, workers=os.cpu_count())"
    )
    subprocess.run([python, "-c", script], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def mlflow() -> Peer:
    """The stock server, from the locked environment that this script runs in: it is made for it and holds nothing odd."""
    from importlib import metadata

    try:
        version = metadata.version("mlflow")
    except metadata.PackageNotFoundError:
        return Peer("mlflow server", missing="mlflow is not installed in .venv; run: make setup")
    program = pathlib.Path(sys.executable).parent / "mlflow"
    if not program.exists():
        return Peer("mlflow server", missing=f"there is no mlflow program beside {sys.executable}")
    _compile(sys.executable)
    return Peer("mlflow server", version, str(program), notes=f"Python {sys.version.split()[0]}")


def kfp_local() -> Peer:
    """The SDK's own way to run a pipeline on one machine, from the locked environment that this script runs in."""
    from importlib import metadata

    try:
        version = metadata.version("kfp")
    except metadata.PackageNotFoundError:
        return Peer("kfp.local", missing="kfp is not installed in .venv; run: make setup")
    _compile(sys.executable)
    return Peer("kfp.local", version, sys.executable, notes=f"SubprocessRunner, Python {sys.version.split()[0]}")


def _environment(name: str, title: str, requirements: list[str], without: str = "") -> tuple[pathlib.Path, str]:
    """A folder with an environment of these packages, made when it is not there, and why there is none. `without`: a
    package that is not installed although others ask for it."""
    folder = cache() / name
    uv = _uv()
    if not uv:
        return folder, "there is no uv to make its environment with; run: make setup"
    stamp = folder / ".bench-stamp"
    wanted = hashlib.sha256("\n".join([*requirements, str(folder)]).encode()).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        folder.parent.mkdir(parents=True, exist_ok=True)
        log = cache() / f"{name}-install.log"
        log.write_bytes(b"")
        python = str(folder / "bin" / "python")
        # The distribution's interpreter, as for .venv: nothing is downloaded that is not a package.
        base = "/usr/bin/python3" if os.access("/usr/bin/python3", os.X_OK) else sys.executable
        env = {"UV_PYTHON_DOWNLOADS": "never", "UV_HTTP_TIMEOUT": os.environ.get("UV_HTTP_TIMEOUT", "180")}
        if pathlib.Path("/etc/ssl/certs/ca-certificates.crt").exists():  # as in scripts/setup.sh
            env["UV_SYSTEM_CERTS"] = os.environ.get("UV_SYSTEM_CERTS", "1")
        if os.environ.get("PIP_INDEX_URL"):
            env.setdefault("UV_DEFAULT_INDEX", os.environ.get("UV_DEFAULT_INDEX") or os.environ["PIP_INDEX_URL"])
        install = [uv, "pip", "install", "--python", python, *requirements]
        if without:
            overrides = cache() / f"{name}-overrides.txt"
            overrides.write_text(f"{without}; sys_platform == 'never'\n")
            install += ["--override", str(overrides)]
        missing = _run(
            f"making an environment for {title}", [uv, "venv", "--clear", "--python", base, str(folder)], log, env
        ) or _run(f"installing {title}", install, log, env)
        if missing:
            return folder, missing
        stamp.write_text(wanted)
    return folder, ""


def mlserver(scikit_learn: str, skops: str) -> Peer:
    """MLServer with its runtimes for tables; `mlflow models serve` runs in the same environment. The bounds: MLServer
    1.7.1 does not start its worker with a newer uvloop, its runtime fails with pandas 3, and mlflow above 3.17.2 cannot
    be resolved whole everywhere. scikit-learn and skops are those that wrote the model; XGBoost is the build for CPUs."""
    peer = Peer("MLServer")
    runtimes = [f"mlserver-{name}=={MLSERVER}" for name in ("mlflow", "sklearn", "xgboost", "lightgbm")]
    requirements = [
        f"mlserver=={MLSERVER}",
        *runtimes,
        f"xgboost-cpu=={XGBOOST}",
        f"lightgbm=={LIGHTGBM}",
        "uvloop<0.22",
        "mlflow<=3.17.2",
        "pandas<3",
        f"scikit-learn=={scikit_learn}",
        f"skops=={skops}",
    ]
    folder, peer.missing = _environment("mlserver", "MLServer", requirements, without="xgboost")
    if peer.missing:
        return peer
    stamp = folder / ".bench-stamp"
    _compile(str(folder / "bin" / "python"))
    names = ["mlserver", "mlflow", "pandas", "uvloop", "fastapi", "uvicorn", "scikit-learn", "xgboost-cpu", "lightgbm"]
    script = (
        "import sys; from importlib.metadata import version as v; print(sys.version.split()[0], *map(v, sys.argv[1:]))"
    )
    found = subprocess.run(
        [str(folder / "bin" / "python"), "-c", script, *names], capture_output=True, text=True, check=False
    )
    if found.returncode:
        peer.missing = "its environment is broken: " + found.stderr.strip().splitlines()[-1][:200]
        stamp.unlink()
        return peer
    python, *versions = found.stdout.split()
    peer.version = versions[0]
    peer.program = str(folder / "bin" / "mlserver")
    peer.notes = f"Python {python}, " + ", ".join(f"{n} {v}" for n, v in zip(names[1:], versions[1:], strict=True))
    return peer


def libraries() -> Peer:
    """What trains and computes models, in one environment. `program`: its Python."""
    peer = Peer("the models' libraries", notes="each in its own process, one thread, no HTTP")
    requirements = [f"scikit-learn=={SCIKIT_LEARN}", f"xgboost-cpu=={XGBOOST}", f"lightgbm=={LIGHTGBM}"]
    requirements += ["treelite==4.8.1", "tl2cgen==1.0.0", "onnxruntime==1.30.0"]
    named = len(requirements)
    requirements += [
        "skl2onnx==1.20.0",
        "onnxmltools",
        "mlflow<=3.17.2",
        f"skops=={SKOPS}",
        "pandas<3",
        "joblib",
        "setuptools",
    ]
    folder, peer.missing = _environment("libraries", "the models' libraries", requirements, without="xgboost")
    if peer.missing:
        return peer
    peer.program = str(folder / "bin" / "python")
    _compile(peer.program)
    peer.version = ", ".join(one.replace("==", " ") for one in requirements[:named])
    return peer


def nginx() -> Peer:
    program = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if not program:
        return Peer("nginx", missing="it is not installed; run: scripts/setup.sh --bench")
    found = subprocess.run([program, "-v"], capture_output=True, text=True, check=False)
    return Peer("nginx", found.stderr.strip().rpartition("/")[2], program)


def versitygw() -> Peer:
    peer = Peer("versitygw", notes="posix backend; its source has no call to fsync")
    program = shutil.which("versitygw")
    if not program:
        kept = cache() / "versitygw" / VERSITYGW
        program = str(kept / "versitygw")
        if not os.access(program, os.X_OK):
            go = shutil.which("go")
            if not go:
                peer.missing = "it is built by Go, and there is none on this machine"
                return peer
            kept.mkdir(parents=True, exist_ok=True)
            log = cache() / "versitygw-install.log"
            log.write_bytes(b"")
            module = f"github.com/versity/versitygw/cmd/versitygw@{VERSITYGW}"
            env = {"GOBIN": str(kept), "GOFLAGS": "-p=1" if (os.cpu_count() or 1) < 3 else ""}
            peer.missing = _run("building versitygw", [go, "install", module], log, env)
            if peer.missing:
                return peer
    go = shutil.which("go")
    peer.program = program
    peer.version = VERSITYGW.removeprefix("v")
    if go:
        # A program found on PATH may be another version; its own word is "devel" unless it was a packaged build.
        found = subprocess.run([go, "version", "-m", program], capture_output=True, text=True, check=False).stdout
        for line in found.splitlines():
            words = line.split()
            if len(words) > 2 and words[0] == "mod":
                peer.version = words[2].removeprefix("v")
        peer.notes += f"; {found.split(': ')[1].split()[0] if ': ' in found else 'Go'}"
    return peer


def kube_apiserver() -> Peer:
    """The real API server, built by Go from the locked module that the tests' recordings come from too."""
    peer = Peer("kube-apiserver")
    module = ROOT / "tests" / "tools" / "kube-apiserver"
    program = ROOT / "build" / "tools" / "bin" / "kube-apiserver"
    wanted = [line.split()[1] for line in (module / "go.mod").read_text().splitlines() if "k8s.io/kubernetes v" in line]
    peer.version = wanted[0].removeprefix("v")
    if not program.exists():
        if not shutil.which("go"):
            peer.missing = "it is built by Go, and there is none on this machine"
            return peer
        program.parent.mkdir(parents=True, exist_ok=True)
        cache().mkdir(parents=True, exist_ok=True)
        log = cache() / "kube-apiserver-build.log"
        log.write_bytes(b"")
        stamp = f"-s -w -X k8s.io/component-base/version.gitVersion=v{peer.version}"
        command = ["go", "build", "-C", str(module), "-trimpath", "-ldflags", stamp, "-o", str(program), "."]
        env = {"GOTOOLCHAIN": "auto", "GOFLAGS": "-mod=readonly"}
        peer.missing = _run("building kube-apiserver", command, log, env)
        if peer.missing:
            return peer
    peer.program = str(program)
    return peer


def etcd() -> Peer:
    program = shutil.which("etcd")
    if not program:
        return Peer("etcd", missing="it is not installed; run: apt-get install etcd-server")
    found = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    return Peer("etcd", found.split("\n")[0].rpartition(" ")[2], program)
