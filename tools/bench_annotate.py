"""Times `perception annotate` against the bare model, a script with supervision, and Ray.

    python tools/bench_annotate.py [--pictures 300] [--rounds 7] [--threads 2] [--soak 10000]
    python tools/bench_annotate.py --photographs DIR [--pictures 40] [--rounds 3]

nano on 640 x 480 scenes that are drawn for it. Every row but the scripts' gives the same COCO file
or the tool ends. "Start-up" is a whole command on one picture, "a picture" what each further one
takes, so that their numbers hold for runs of any length. All but Ray take turns, several rounds of
them, and the medians count. --soak: so many pictures in one command, whose memory is watched.

--photographs: `annotate` against `segment` on the first images of a folder (drawn scenes without
it), by processor time, readers included. Of an image "person. car" has some 20 boxes above a floor
of 0.2 and some 90 above the usual one, of which segment shows three.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from perception.defaults import BATCH, FLOOR, FLOOR_NMS, MAX_PIXELS, THRESHOLD
from perception.models.load import load
from perception.models.model import Model
from perception.prompts.grammar import parse
from perception.runs.image_reader import ReadPicture, read
from perception.runs.records import Record, Task
from perception.runs.worker import Question, answer_pictures
from perception.runtime.onnx_session import usable_cores

SIZE_HW = (480, 640)
SCENES = 40
"""Distinct drawn scenes; further pictures are these, shifted, so that many are quickly there."""
TEXT = "red star. heart | circle. vehicle: car | bus | truck. dog, cat, apple. tree. blue square"
WARM_UP = 0.3
"""Of a soak, that isn't in the slope: buffers grow to their size there."""
SECONDS_BETWEEN = 1.0
PHOTO_TEXT = "person. car"
FLOORS = (0.2, 0.05)


@dataclass(frozen=True)
class Row:
    """One line of the table. start_up: seconds; each: milliseconds; peak: MB, all processes."""

    work: str
    start_up: float
    each: float
    peak: float

    def __str__(self) -> str:
        numbers = (self.start_up, self.each, 1000 / self.each)
        return f"| {self.work} | {' | '.join(f'{n:.1f}' for n in numbers)} | {self.peak:,.0f} |"


def draw_pictures(folder: Path, count: int) -> None:
    """So many 640 x 480 JPEG files, no two alike, in sub-folders of 1,000."""
    from scenes.scene import Painter

    painter = Painter()
    scenes = [
        painter.draw(SIZE_HW, np.random.default_rng((11, n))).image
        for n in range(min(count, SCENES))
    ]
    for n in range(count):
        path = folder / f"{n // 1000:03d}" / f"{n:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        turn, scene = divmod(n, len(scenes))
        shifted = np.roll(scenes[scene], (13 * turn, 29 * turn), (0, 1))
        Image.fromarray(shifted).save(path, quality=88)


def bare(folder: Path, threads: int) -> None:
    """The models alone, on all cores, doing what a run does: read, detect, masks, run lengths."""
    model = load("nano", threads=1)
    question = Question(parse(TEXT), True, FLOOR, FLOOR_NMS, THRESHOLD, MAX_PIXELS)
    tasks = [Task(n, str(path)) for n, path in enumerate(sorted(folder.rglob("*.jpg")))]
    batches = [tasks[n : n + BATCH] for n in range(0, len(tasks), BATCH)]
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(lambda batch: answered(model, batch, question), batches):
            pass


def answered(model: Model, tasks: list[Task], question: Question) -> list[Record]:
    """The records of pictures that can all be read."""
    found = [read(task, max_pixels=question.max_pixels) for task in tasks]
    pictures = [one for one in found if isinstance(one, ReadPicture)]
    return answer_pictures(model, pictures, question)


def supervised(folder: Path, threads: int) -> None:
    """The script people write: one picture after another, supervision gathers and writes COCO."""
    import supervision as sv

    model = load("nano", threads=threads)
    classes = list(parse(TEXT).classes)
    paths = [str(path) for path in sorted(folder.rglob("*.jpg"))]
    annotations = {path: model(path, TEXT).to_supervision() for path in paths}
    data = sv.DetectionDataset(classes=classes, images=paths, annotations=annotations)
    data.as_coco(annotations_path=str(folder.parent / "supervision.json"))


SCRIPTS: dict[str, Callable[[Path, int], None]] = {"bare": bare, "supervision": supervised}


def script(name: str) -> list[str]:
    """The command that runs one of the scripts as a process of its own."""
    return [sys.executable, __file__, "--script", name]


def command(out: Path, *more: str) -> list[str]:
    """The whole of ``perception annotate``."""
    return [
        *(sys.executable, "-m", "perception", "annotate", "--text", TEXT),
        *("--out", str(out), "--overwrite", "-q", *more),
    ]


def memory(root: int) -> float:
    """MB of a process and all it has started, shared pages counted once."""
    kilobytes = 0
    for pid in _family(root):
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue  # It has just ended.
        kilobytes += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return kilobytes / 1024


def _family(root: int) -> Iterator[int]:
    yield root
    try:
        tasks = list(Path(f"/proc/{root}/task").iterdir())
        children = [pid for task in tasks for pid in (task / "children").read_text().split()]
    except OSError:
        return
    for pid in children:
        yield from _family(int(pid))


def watched(words: list[str]) -> tuple[float, list[tuple[float, float]]]:
    """Seconds that a command takes, and (seconds, MB) from its beginning to its end."""
    began, samples = time.perf_counter(), []
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        while True:
            samples.append((time.perf_counter() - began, memory(process.pid)))
            try:
                _, complaint = process.communicate(timeout=SECONDS_BETWEEN)
                break
            except subprocess.TimeoutExpired:
                continue
    seconds = time.perf_counter() - began
    if process.returncode:
        sys.exit(f"{' '.join(words[:4])} ended with {process.returncode}: {complaint.decode()}")
    return seconds, samples


def processor_seconds(words: list[str]) -> float:
    """What a command and all it starts take of the processor."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def photographs(folder: Path, source: Path | None, count: int, rounds: int, threads: int) -> None:
    """Prints the processor time of an image in `segment` and `annotate`, start-up left out."""
    one, many = folder / "one", folder / "many"
    if source is None:
        draw_pictures(many, count)
    else:
        many.mkdir()
        for path in sorted(source.glob("*.jpg"))[:count]:
            shutil.copy(path, many)
    one.mkdir()
    first = sorted(many.rglob("*.jpg"))[0]
    shutil.copy(first, one)
    perception = [sys.executable, "-m", "perception"]
    both = ["--text", PHOTO_TEXT, "--threads", str(threads), "-q"]
    found = folder / "segment.json"
    commands = {"segment": [*perception, "segment", *both, "--save", "", "--json", str(found)]}
    for floor in FLOORS:
        words = [*perception, "annotate", *both, "--out", str(folder / f"{floor}.json")]
        commands[f"annotate, floor {floor}"] = [*words, "--overwrite", "--floor", str(floor)]
    each: dict[str, list[float]] = {work: [] for work in commands}
    for _ in range(rounds):
        for work, words in commands.items():
            start_up = processor_seconds([*words, str(one)])
            seconds = processor_seconds([*words, str(many)])
            each[work].append(1000 * (seconds - start_up) / (count - 1))
    print(f"{count} photographs, {threads} threads, {rounds} rounds: ms of processor an image")
    base = float(np.median(each["segment"]))
    for work, times in each.items():
        middle = float(np.median(times))
        print(f"{work}: {middle:.1f} ({100 * (middle / base - 1):+.1f} %), rounds", end=" ")
        print(", ".join(f"{ms:.1f}" for ms in times))
    shown = len(json.loads(found.read_bytes())["annotations"])
    print(f"segment: {shown / count:.1f} annotations an image")
    for floor in FLOORS:
        out = folder / f"{floor}.json"
        annotated = len(json.loads(out.read_bytes())["annotations"])
        instances, _ = stored(out)
        print(f"floor {floor}: {annotated / count:.1f} annotations, {instances / count:.1f} boxes")


def measure(work: str, words: list[str], one: Path, many: Path, count: int) -> Row:
    """A command on one picture, then on all."""
    start_up, _ = watched([*words, str(one)])
    seconds, samples = watched([*words, str(many)])
    each = 1000 * (seconds - start_up) / (count - 1)
    return Row(work, start_up, each, max(mb for _, mb in samples))


def median(rows: Sequence[Row]) -> Row:
    """One row of those of several rounds."""
    numbers = np.median([(row.start_up, row.each, row.peak) for row in rows], axis=0)
    return Row(rows[0].work, *numbers.tolist())


def stored(out: Path) -> tuple[int, float]:
    """Instances in a run, and bytes of its database for each."""
    path = out.with_name(f"{out.name}.run")
    with closing(sqlite3.connect(path)) as db:
        (instances,) = db.execute("SELECT count(*) FROM instance").fetchone()
    return instances, path.stat().st_size / max(instances, 1)


def soak(out: Path, folder: Path, count: int, threads: int) -> dict[str, float]:
    """One command over many pictures: its rate, peak, and slope in MB per 1,000 pictures."""
    seconds, samples = watched([*command(out, "--threads", str(threads)), str(folder)])
    late = [(at, mb) for at, mb in samples if at > WARM_UP * seconds]
    slope, _ = np.polyfit(*np.array(late).T, 1)
    return {
        "pictures": count,
        "pictures_per_second": count / seconds,
        "peak_mb": max(mb for _, mb in samples),
        "mb_per_1000_pictures": float(slope) * seconds / count * 1000,
    }


def compare(folder: Path, count: int, rounds: int, threads: int) -> tuple[list[Row], int, float]:
    """All rows, and what the run database holds: instances, and bytes for each."""
    one, many, out = folder / "one", folder / "many", folder / "local.json"
    draw_pictures(one, 1)
    draw_pictures(many, count)
    both = ("--threads", str(threads))
    commands = {
        "bare models": [*script("bare"), *both],
        "perception annotate": command(out, *both),
        "script with supervision": [*script("supervision"), *both],
    }
    turns = [
        [measure(work, words, one, many, count) for work, words in commands.items()]
        for _ in range(rounds)
    ]
    rows = [median(some) for some in zip(*turns, strict=True)]
    if importlib.util.find_spec("ray") is None:
        print("no rows for Ray: it isn't installed", file=sys.stderr)
    else:
        rows += [ray(folder, workers, one, many, count) for workers in (1, 2)]
    return rows, *stored(out)


def ray(folder: Path, workers: int, one: Path, many: Path, count: int) -> Row:
    """The Ray engine on a cluster of this machine alone."""
    out = folder / f"ray{workers}.json"
    words = command(out, "--engine", "ray", "--workers", str(workers))
    row = measure(f"--engine ray, workers {workers}", words, one, many, count)
    if out.read_bytes() != (folder / "local.json").read_bytes():
        sys.exit(f"{out.name} isn't what the local engine gives")
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--pictures", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--soak", type=int, default=0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--photographs", type=Path, nargs="?", const=Path(), metavar="DIR")
    parser.add_argument("--script", choices=list(SCRIPTS), help=argparse.SUPPRESS)
    parser.add_argument("folder", type=Path, nargs="?", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.script:
        SCRIPTS[arguments.script](arguments.folder, arguments.threads)
        return
    os.environ.pop("RAY_ADDRESS", None)
    if arguments.photographs is not None:
        source = arguments.photographs if arguments.photographs != Path() else None
        with tempfile.TemporaryDirectory() as name:
            photographs(Path(name), source, arguments.pictures, arguments.rounds, arguments.threads)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows, instances, size = compare(
            folder, arguments.pictures, arguments.rounds, arguments.threads
        )
        long = {}
        if arguments.soak:
            draw_pictures(folder / "long", arguments.soak)
            long = soak(folder / "long.json", folder / "long", arguments.soak, arguments.threads)
    report(rows, instances, size, long, arguments)


def report(
    rows: list[Row],
    instances: int,
    size: float,
    long: dict[str, float],
    arguments: argparse.Namespace,
) -> None:
    """Prints the table, and writes it as JSON."""
    overhead = 100 * (rows[1].each / rows[0].each - 1)
    print(f"{arguments.pictures} pictures of 640 x 480, {arguments.threads} threads\n")
    print("| what | start-up, s | a picture, ms | pictures/s | peak, MB |\n|---|---|---|---|---|")
    print(*rows, sep="\n")
    print(f"\noverhead over the bare models: {overhead:.1f} %")
    print(f"{instances:,} instances are stored, {size:.0f} bytes of database for each")
    for what, number in long.items():
        print(f"soak, {what.replace('_', ' ')}: {number:,.2f}")
    if arguments.json:
        content = {
            "pictures": arguments.pictures,
            "threads": arguments.threads,
            "rows": [asdict(row) for row in rows],
            "overhead_percent": overhead,
            "instances": instances,
            "database_bytes_per_instance": size,
            "soak": long,
        }
        arguments.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
