"""logs, exec, cp, attach and port-forward of the real kubectl."""

import subprocess


def test_logs_options(pods):
    pods.start(
        "lines",
        "sh",
        "-c",
        "for i in 1 2 3 4 5; do echo line $i; done",
        image="busybox",
        meta={"labels": {"a": "b"}},
    )
    pods.phase("lines", "Succeeded")
    assert pods.logs("lines", "--tail=2") == "line 4\nline 5\n"
    assert pods.logs("lines", "--limit-bytes=8") == "line 1\nl"
    assert pods.logs("lines", "--since=1h").count("line") == 5
    stamped = pods.logs("lines", "--timestamps", "--tail=1")
    assert stamped.endswith(" line 5\n") and stamped[4] == "-" and "T" in stamped
    assert pods.kubectl("logs", "-l", "a=b").count("line") == 5
    assert "container x is not valid" in pods.kubectl.fails("logs", "lines", "-c", "x")
    assert "previous terminated container" in pods.kubectl.fails("logs", "lines", "--previous")


def test_logs_follow_until_the_end(pods):
    pods.start(
        "follow",
        "sh",
        "-c",
        "for i in 1 2 3; do echo $i; sleep 0.3; done",
        image="busybox",
    )
    pods.phase("follow", "Running", "Succeeded")
    assert pods.logs("follow", "-f") == "1\n2\n3\n"


def test_exec(pods):
    pods.start(
        "box",
        "sleep",
        "1000",
        image="busybox",
        container={"workingDir": "/tmp", "env": [{"name": "V", "value": "v"}]},
    )
    pods.ready("box")
    assert pods.kubectl("exec", "box", "--", "sh", "-c", "echo $V; pwd; ls /usr/local/bin | wc -l") == "v\n/tmp\n0\n"
    assert pods.kubectl("exec", "-i", "box", "--", "cat", input="through\n") == "through\n"
    done = pods.kubectl.run("exec", "box", "--", "sh", "-c", "echo err >&2; exit 9")
    assert done.returncode == 9 and "err" in done.stderr
    assert pods.kubectl("exec", "box", "--", "sh", "-c", "cat /proc/1/comm") == "bwrap\n"


def test_cp_both_ways(pods, tmp_path):
    pods.start("copy", "sleep", "1000", image="busybox")
    pods.ready("copy")
    data = bytes(range(256)) * 5000
    (tmp_path / "in").write_bytes(data)
    pods.kubectl("cp", str(tmp_path / "in"), "copy:/tmp/there")
    pods.kubectl("cp", "copy:/tmp/there", str(tmp_path / "out"))
    assert (tmp_path / "out").read_bytes() == data


def test_attach(pods):
    pods.start(
        "attach",
        "sh",
        "-c",
        "read x; echo got $x",
        image="busybox",
        container={"stdin": True, "stdinOnce": True},
    )
    pods.phase("attach", "Running")
    assert "got this" in pods.kubectl("attach", "-i", "attach", input="this\n")
    pods.phase("attach", "Succeeded")


def test_port_forward(pods):
    pods.apply(pods.server("web"))
    pods.ready("web")
    forward = pods.kubectl.popen("port-forward", "pod/web", ":8080")
    try:
        line = forward.stdout.readline()
        port = int(line.split("127.0.0.1:")[1].split(" ")[0])
        out = subprocess.run(
            ["curl", "-s", f"http://127.0.0.1:{port}/"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert out.stdout == "web"
    finally:
        forward.terminate()
        forward.communicate(timeout=10)
