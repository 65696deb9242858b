"""The command line as a process: interrupts, broken pipes, speed of --help."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from perception.cli import commands
from perception.runtime import batching as halving

TESTS = Path(__file__).parents[1]
# The command line with models that look at colors; "slow" ones wait to be interrupted.
SCRIPT = f"""
import sys
sys.path[:0] = [{str(TESTS)!r}, {str(TESTS.parent)!r}]
import fakes, signal, time
# A shell that starts the tests in the background has them ignore interrupts, and us with them.
signal.signal(signal.SIGINT, signal.default_int_handler)
from perception.models import load as loading
from perception.cli.commands import main

def load(name, *, device, precision, threads):
    if name == "slow":
        print("waiting", flush=True)
        time.sleep(60)
    if name == "slow-pictures":
        predictor = fakes.WholeImagePredictor(fakes.ColorSegmenter())
        return SlowPictures(fakes.ColorDetector(), predictor)
    return fakes.color_model()

class SlowPictures(fakes.Model):
    asked = 0

    def __call__(self, *arguments, **options):
        SlowPictures.asked += 1
        if SlowPictures.asked == 3:
            print("waiting", file=sys.stderr, flush=True)
            time.sleep(60)
        return super().__call__(*arguments, **options)

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
@pytest.mark.parametrize("printed", [False, True])
def test_what_is_done_is_written_after_an_interrupt(pictures, printed):
    for n in range(4):
        shutil.copy("in/a.png", f"in/more{n}.png")
    process = start(
        "segment", "in", "--text", "red", "--model", "slow-pictures", "-q",
        *(("--json", "-") if printed else ()),
    )  # fmt: skip
    assert process.stderr.readline() == b"waiting\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    where = "" if printed else " and in perception-out/coco.json"
    said = f"perception: error: interrupted; 2 of 6 images are done{where}"
    assert err.decode().splitlines() == [said]
    made = json.loads(out if printed else Path("perception-out/coco.json").read_text("utf-8"))
    assert [image["file_name"] for image in made["images"]] == ["a.png", "more0.png"]
    assert len(made["annotations"]) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_reader_that_leaves(pictures):
    process = start("detect", "in", "--text", "red", "--json", "-", "-q")
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
