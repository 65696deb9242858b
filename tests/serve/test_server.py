"""The service as a process: a real port, a real reader, real interrupts."""

import json
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from perception.errors import ServeError
from perception.serve.server import listen

ROOT = Path(__file__).parents[2]


def test_a_port_that_is_taken():
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServeError, match=rf"127.0.0.1:{port}: can't be listened on"):
            listen("127.0.0.1", port)


def test_a_host_that_is_not_ours():
    with pytest.raises(ServeError, match="choose another --port or --host"):
        listen("192.0.2.1", 0)
    with pytest.raises(ServeError, match="can't be listened on"):
        listen("no such host", 0)


def test_other_addresses():
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    try:
        listen("::1", 0).close()
    except ServeError:
        pytest.skip("no IPv6 here")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_from_start_to_end(folder, tmp_path, number):
    command = [sys.executable, "-m", "perception", "serve", str(folder), "--port", "0"]
    command += ["--text", "red star", "--out", str(tmp_path / "out.json")]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        address = process.stdout.readline().split()[0]
        assert address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(f"{address}api/picture?picture=a.png") as answer:  # noqa: S310
            assert json.load(answer)["width"] == 128
        body = json.dumps({"points": [[20, 20]], "labels": [1]}).encode()
        asked = urllib.request.Request(  # noqa: S310
            f"{address}api/click?picture=a.png", body, {"content-type": "application/json"}
        )
        with urllib.request.urlopen(asked) as answer:  # noqa: S310
            assert len(answer.read()) == 3 * 160 * 160 * 2
        with socket.create_connection(("127.0.0.1", int(address.split(":")[2][:-1]))):
            process.send_signal(number)  # With a connection open that says nothing.
            out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0
    assert out.endswith("out.json: 0 images, 0 instances\n")
    assert [line for line in err.splitlines() if not line.startswith("note: ")] == []
    assert json.loads((tmp_path / "out.json").read_text())["images"] == []
    assert not list(tmp_path.glob("*.lock")) + list(tmp_path.glob("*-wal"))
