"""Times what a user waits for with the core install: help, import, cold start, text to masks.

    python tools/bench_core.py [--picture PATH] [--text "dog. cat. kite"] [--runs 9]

Run it with the interpreter of the environment to be measured. Commands are timed whole, as new
processes; "text to masks" is one call of a loaded model, reading the file included. A first click
encodes the three crops that nano looks at; a later one corrects its mask in one of them. Medians.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import perception as pc
from perception.models.model import Model

PICTURE = Path(__file__).resolve().parent.parent / "demos" / "images" / "park.jpg"
CLICK, CORRECTION = (205, 400, 1), (250, 300, 0)


def median_seconds(work: Callable[[], object], runs: int) -> float:
    """The median time of ``work``, after one call that isn't counted."""
    work()
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def command(*words: str) -> Callable[[], object]:
    """Runs ``python`` with some arguments, quietly; fails loudly."""
    return lambda: subprocess.run([sys.executable, *words], check=True, capture_output=True)


def clicks(model: Model, picture: str, runs: int) -> dict[str, float]:
    """The median seconds of the first click on an image and of a correction of its mask."""
    image = pc.read_image(picture)
    times = []
    for _ in range(runs + 1):
        began = time.perf_counter()
        session = model.interactive(image)
        session.click(*CLICK)
        clicked = time.perf_counter()
        session.click(*CORRECTION)
        times.append((clicked - began, time.perf_counter() - clicked))
    medians = [statistics.median(column) for column in zip(*times[1:], strict=True)]
    return dict(zip(("first click", "later click, a correction"), medians, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--picture", type=Path, default=PICTURE)
    parser.add_argument("--text", default="dog. cat. kite. cloud. tent. bicycle")
    parser.add_argument("--runs", type=int, default=9)
    arguments = parser.parse_args()
    picture, text = str(arguments.picture), arguments.text

    model = pc.load("nano")
    warm = median_seconds(lambda: model(picture, text), arguments.runs)
    found = model(picture, text)
    stages = " + ".join(f"{name} {1000 * s:.0f}" for name, s in found.seconds.items())
    with tempfile.TemporaryDirectory() as folder:
        segment = ("-m", "perception", "segment", picture, "--text", text, "--out", folder, "-q")
        commands = {
            "python -c pass": ("-c", "pass"),
            "import perception": ("-c", "import perception"),
            "perception --help": ("-m", "perception", "--help"),
            "perception segment, cold to written": segment,
        }
        rows = {name: median_seconds(command(*c), arguments.runs) for name, c in commands.items()}
    rows["text to masks, model loaded"] = warm
    rows |= clicks(model, picture, arguments.runs)
    height, width = found.image_hw
    print(f"{width} x {height}, {len(found)} instances; milliseconds, median of {arguments.runs}\n")
    print("| what | ms |\n|---|---|")
    for name, seconds in rows.items():
        print(f"| {name} | {1000 * seconds:.0f} |")
    print(f"\none call, by stage: {stages}")


if __name__ == "__main__":
    main()
