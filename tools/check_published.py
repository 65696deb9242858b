"""Runs published checkpoints end to end, and compares them with published answers.

    python tools/check_published.py                        # those that are on this machine
    python tools/check_published.py sam-vit-b owlv2-base   # these
    python tools/check_published.py base --pull            # downloads models and pictures first

For whoever has a network: nothing is downloaded without --pull, which agrees to the models'
licences (``perception weights list`` shows them). The expected answers stand in transformers'
documentation and in its own tests of these checkpoints; they are for fp32. A model without
published answers has to find the two cats all the same. Ends with status 1 if an answer differs,
or if nothing could be checked.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import perception as pc
from perception.checkpoints.catalog import Role
from perception.checkpoints.hub import fetch
from perception.checkpoints.installed import find
from perception.checkpoints.lock import weights_folder
from perception.cli.weights_run import run_pull
from perception.errors import ImageError, PerceptionError
from perception.models.names import find_parts, known_names
from perception.ops.boxes import box_iou

HUB = "https://huggingface.co"
PICTURES = {
    "cats.jpg": "http://images.cocodataset.org/val2017/000000039769.jpg",
    "car.png": f"{HUB}/ybelkada/segment-anything/resolve/main/assets/car.png",
    "truck.jpg": f"{HUB}/datasets/hf-internal-testing/sam2-fixtures/resolve/main/truck.jpg",
}
LEAST_IOU, SCORE, QUALITY = 0.95, 0.05, 0.02
"""How far boxes, scores and qualities may be from what is published: resizing differs a little."""

LEFT_CAT, RIGHT_CAT = (12.0, 52.0, 317.0, 473.0), (344.0, 23.0, 638.0, 374.0)


@dataclass(frozen=True)
class Boxes:
    """What a text finds in the picture of the cats. rows: label, score, box; None: any score.

    best_token: the published score is that of a phrase's best token; ours, the mean of them all,
    can only be lower.
    """

    text: list[str]
    threshold: float
    rows: tuple[tuple[str, float | None, tuple[float, float, float, float]], ...]
    least_iou: float = LEAST_IOU
    best_token: bool = False


@dataclass(frozen=True)
class Qualities:
    """The predicted quality of the three candidates for a prompt, in rising order."""

    picture: str
    prompt: pc.Prompt
    qualities: tuple[float, float, float]


DETECTORS = {
    "grounding-dino-tiny": Boxes(
        ["a cat", "a remote control"],
        0.15,
        (
            ("a cat", 0.479, (344.7, 23.11, 637.18, 374.28)),
            ("a cat", 0.438, (12.27, 51.91, 316.86, 472.44)),
            ("a remote control", 0.478, (38.57, 70.0, 176.78, 118.18)),
        ),
        best_token=True,
    ),
    "mm-grounding-dino-tiny": Boxes(
        ["a cat", "a remote control"],
        0.15,
        (
            ("a cat", 0.54, (343.29, 23.97, 637.8, 373.7)),
            ("a cat", 0.49, (9.68, 53.02, 316.85, 474.29)),
            ("a remote control", 0.469, (37.98, 70.24, 177.0, 118.54)),
            ("a remote control", 0.405, (331.39, 73.93, 372.08, 187.65)),
        ),
        best_token=True,
    ),
    "omdet-turbo-swin-tiny": Boxes(
        ["cat", "remote"],
        0.3,
        (
            ("remote", 0.768, (39.89, 70.35, 176.74, 118.04)),
            ("cat", 0.72, (11.6, 54.19, 314.8, 473.95)),
            ("remote", 0.563, (333.38, 75.77, 370.7, 187.03)),
            ("cat", 0.552, (345.15, 23.95, 639.75, 371.67)),
        ),
    ),
    "owlv2-base": Boxes(
        ["a photo of a cat", "a photo of a dog"],
        0.1,
        (
            ("a photo of a cat", 0.614, (341.67, 23.39, 642.32, 371.35)),
            ("a photo of a cat", 0.665, (6.75, 51.96, 326.62, 473.13)),
        ),
        least_iou=0.9,  # Published before its boxes were corrected for the padding.
    ),
}
ANY_DETECTOR = Boxes(
    ["a cat"], 0.15, (("a cat", None, LEFT_CAT), ("a cat", None, RIGHT_CAT)), least_iou=0.85
)
SEGMENTERS = {
    "sam-vit-b": (
        Qualities("car.png", pc.Prompt(points=[(400, 650)]), (0.9105, 0.9675, 0.9825)),
        Qualities("car.png", pc.Prompt(points=[(820, 1080)]), (0.6765, 0.8803, 0.9379)),
        Qualities("car.png", pc.Prompt(boxes=[(620, 900, 1000, 1255)]), (0.9522, 0.9773, 0.9881)),
    ),
    "sam2.1-hiera-tiny": (
        Qualities("truck.jpg", pc.Prompt(points=[(500, 375)]), (0.0427, 0.4932, 0.9547)),
    ),
}


@dataclass(frozen=True)
class Verdict:
    """what: was compared; differs: how, "" if it doesn't."""

    what: str
    differs: str = ""


def compare_boxes(found: pc.Instances, wanted: Boxes) -> Iterator[Verdict]:
    """A verdict for each box that is expected."""
    labels = np.array(found.labels, dtype=str)
    for label, score, box in wanted.rows:
        what = f"{label} at {', '.join(f'{value:.0f}' for value in box)}"
        same = np.flatnonzero(labels == label)
        overlaps = box_iou(np.float32([box]), found.boxes[same])[0]
        if not len(same) or overlaps.max() < wanted.least_iou:
            best = overlaps.max() if len(same) else 0.0
            yield Verdict(what, f"no such box, the nearest has an IoU of {best:.2f}")
            continue
        seen = float(found.scores[same[overlaps.argmax()]])
        if score is None or score - (score / 2 if wanted.best_token else SCORE) <= seen <= (
            score + SCORE
        ):
            yield Verdict(f"{what}, score {seen:.3f}")
        else:
            yield Verdict(what, f"score {seen:.3f}, expected {score:.3f}")


def compare_qualities(quality: np.ndarray, wanted: Qualities) -> Verdict:
    """quality: of the three candidates, in any order."""
    what = f"{wanted.picture}, {'point' if len(wanted.prompt.points) else 'box'}"
    seen = np.sort(quality)
    if np.abs(seen - wanted.qualities).max() <= QUALITY:
        return Verdict(f"{what}: qualities {np.round(seen, 3).tolist()}")
    expected = list(wanted.qualities)
    return Verdict(what, f"qualities {np.round(seen, 4).tolist()}, expected {expected}")


def check_detector(name: str, device: str, pictures: Path) -> Iterator[Verdict]:
    model = pc.load(name, device=device, precision="fp32")
    wanted = DETECTORS.get(name, ANY_DETECTOR)
    found = model.detect(pictures / "cats.jpg", wanted.text, threshold=wanted.threshold)
    yield from compare_boxes(found, wanted)


def check_segmenter(name: str, device: str, pictures: Path) -> Iterator[Verdict]:
    model = pc.load(name, device=device, precision="fp32")
    for wanted in SEGMENTERS.get(name, ()):
        embedding = model.segmenter.encode(pc.read_image(pictures / wanted.picture))
        decoded = model.segmenter.decode(embedding, wanted.prompt)
        yield compare_qualities(decoded.quality[0, 1:], wanted)
    found = model.segment(pictures / "cats.jpg", boxes=[LEFT_CAT, RIGHT_CAT], label="a cat")
    yield from compare_boxes(found, ANY_DETECTOR)


def check(name: str, device: str, pictures: Path) -> Iterator[Verdict]:
    """Compares one model with what is known of its answers."""
    (part,) = find_parts(name)
    if part.role is not Role.SEGMENTER:
        yield from check_detector(name, device, pictures)
    if part.role is not Role.DETECTOR:
        yield from check_segmenter(name, device, pictures)


def chosen(names: Sequence[str], *, pull: bool) -> list[str]:
    """The single models to be checked: those asked for, else those that are here."""
    parts = [part for name in names or known_names() for part in find_parts(name)]
    entries = {part.name: part.entry for part in parts if part.entry}
    published = {name: entry for name, entry in entries.items() if not entry.is_embedded}
    if pull and names and published:
        run_pull(list(published), yes=True, quiet=False)
    return [name for name, entry in published.items() if names or find(entry)]


def fetch_pictures(pictures: Path) -> None:
    for name, url in PICTURES.items():
        if not (pictures / name).is_file():
            fetch(url, pictures / f"{name}.part")
            (pictures / f"{name}.part").rename(pictures / name)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("names", nargs="*", help="models or presets; default: all that are here")
    parser.add_argument("--pull", action="store_true", help="download what is missing first")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--pictures", type=Path, default=weights_folder() / "pictures")
    arguments = parser.parse_args()
    wrong = right = 0
    try:
        names = chosen(arguments.names, pull=arguments.pull)
        if arguments.pull:
            fetch_pictures(arguments.pictures)
    except PerceptionError as error:
        sys.exit(f"{error}")
    for name in names:
        began = time.perf_counter()
        try:
            verdicts = list(check(name, arguments.device, arguments.pictures))
        except ImageError as error:
            verdicts = [Verdict("could not be run", f"{error} (--pull downloads it)")]
        except PerceptionError as error:
            verdicts = [Verdict("could not be run", str(error))]
        print(f"{name} ({time.perf_counter() - began:.1f} s)")
        for verdict in verdicts:
            print(f"  {'differs' if verdict.differs else 'agrees'}: {verdict.what}", end="")
            print(f": {verdict.differs}" if verdict.differs else "")
            wrong, right = wrong + bool(verdict.differs), right + (not verdict.differs)
    print(f"{right} agree, {wrong} differ")
    if not names:
        print("no published model is here: name some, with --pull to download them")
    return 1 if wrong or not right else 0


if __name__ == "__main__":
    sys.exit(main())
