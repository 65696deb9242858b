"""The command line as a process: interrupts, broken pipes, speed of --help."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from perception import halving
from perception.cli import commands

TESTS = Path(__file__).parents[1]
# The command line with models that look at colours; "slow" ones wait to be interrupted.
SCRIPT = f"""
import sys
sys.path[:0] = [{str(TESTS)!r}, {str(TESTS.parent)!r}]
import fakes, signal, time
# A shell that starts the tests in the background has them ignore interrupts, and us with them.
signal.signal(signal.SIGINT, signal.default_int_handler)
from perception import loading
from perception.cli.commands import main

def load(name, *, device, precision, threads):
    if name == "slow":
        print("waiting", flush=True)
        time.sleep(60)
    return fakes.colour_model()

loading.load = load
main()
"""


def start(*arguments):
    command = [sys.executable, "-c", SCRIPT, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_interrupted(pictures):
    process = start("segment", "in/a.png", "--text", "red", "--model", "slow", "--json", "x.json")
    assert process.stdout.readline() == b"waiting\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err.decode().splitlines() == ["perception: error: interrupted"]


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_reader_that_leaves(pictures):
    process = start("detect", "in", "--text", "red", "--save", "", "-q")
    process.stdout.close()
    err = process.stderr.read()
    assert process.wait(timeout=30) == 141
    assert err == b""


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from perception.cli.commands import status; status(['segment', '--help']); "
        "print(sorted({'numpy', 'cv2', 'PIL', 'torch', 'onnxruntime'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=TESTS.parent, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_warnings_of_ours_are_notes(capsys):
    commands._note("fewer at once", RuntimeWarning, halving.__file__, 1)
    commands._note("of another", RuntimeWarning, "elsewhere.py", 7)
    note, other = capsys.readouterr().err.splitlines()[:2]
    assert note == "note: fewer at once"
    assert other == "elsewhere.py:7: RuntimeWarning: of another"
