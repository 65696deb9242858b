"""Measurements that prove themselves: what arithmetic says, beside what comes out.

The images are blank and the segmenter is told what to answer: the figures follow by arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image

from perception.evaluate.boxes import GrabCutBoxMasks, measure_boxes
from perception.evaluate.click_result import measure_clicks
from perception.evaluate.clicks import MOST
from perception.evaluate.objects import Thing, Things, TruePicture, read_grabcut_things
from perception.evaluate.proposals import measure_proposals
from perception.evaluate.synthetic import StubSegmenter, Tell
from perception.models.missing import MissingDetector
from perception.models.model import Model
from perception.ops.masks import mask_to_rle
from perception.predictor.everything_settings import EverythingSettings
from perception.predictor.whole import WholeImagePredictor
from perception.report.html import Watch, unwatched
from perception.report.measurement import Case, Cell, Plot, Table
from perception.types import BoolArray, Prompt

Figure = float | None


@dataclass(frozen=True)
class Check:
    """what: which figure of which measurement, on which answers; slack: by how much it may differ.

    expected, got: None where nothing can be said.
    """

    what: str
    expected: Figure
    got: Figure
    slack: float = 1e-6

    @property
    def passed(self) -> bool:
        """Whether what came out is what should."""
        if self.expected is None or self.got is None:
            return self.expected is self.got
        return abs(self.expected - self.got) <= self.slack


@dataclass(frozen=True)
class CheckResult:
    """A ``Measurement`` of measurements."""

    checks: tuple[Check, ...]
    info: Mapping[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        failed = len(self.failed)
        return f"{len(self.checks)} checks: " + (f"{failed} failed" if failed else "all passed")

    @property
    def failed(self) -> tuple[Check, ...]:
        """Those that didn't pass."""
        return tuple(check for check in self.checks if not check.passed)

    def to_json(self) -> dict[str, Any]:
        return {
            "passed": not self.failed,
            "checks": [
                {
                    "what": check.what,
                    "expected": check.expected,
                    "got": check.got,
                    "slack": check.slack,
                    "passed": check.passed,
                }
                for check in self.checks
            ],
        }

    def tables(self) -> tuple[Table, ...]:
        rows: list[tuple[Cell, ...]] = [
            (check.what, _float(check.expected), _float(check.got), _word(check))
            for check in self.checks
        ]
        return (Table(self.title, ("figure", "expected", "got", ""), tuple(rows)),)

    def plots(self) -> tuple[Plot, ...]:
        return ()

    def cases(self) -> tuple[Case, ...]:
        return ()


def _word(check: Check) -> str:
    return "ok" if check.passed else "FAILED"


def _float(figure: Figure) -> Figure:
    """Whole numbers are shown as the figures are that they stand beside."""
    return None if figure is None else float(figure)


GRABCUT_MIOU, GRABCUT_SLACK = 0.863, 0.01
"""cv2.grabCut on the GrabCut set: the tight box, 5 iterations, unknown pixels left out."""

_HW = (64, 96)
_SIDE = 40
_LEFT_TOP = ((4, 4), (50, 20))


def click_checks() -> list[Check]:
    """Right at once; a twentieth more with each click; never more than half."""
    with _squares_on_blank() as things:
        right = measure_clicks(_told(_all), things)
        slow = measure_clicks(_told(lambda prompt: _SIDE * len(prompt.points) // MOST), things)
        never = measure_clicks(_told(_half), things)
    checks = [
        Check(f"clicks: a twentieth more each time, mIoU after {n}", n / MOST, slow.miou()[n - 1])
        for n in (1, 10, MOST)
    ]
    for choice in ("own", "oracle"):
        name = f"the truth itself, {choice}"
        checks.append(Check(f"clicks: {name}, mIoU after 1", 1, right.miou(choice)[0]))
        checks.append(Check(f"clicks: {name}, NoC@90", 1, right.noc(0.9, choice)))
    return [
        *checks,
        Check("clicks: a twentieth more each time, NoC@85", 17, slow.noc(0.85)),
        Check("clicks: a twentieth more each time, NoC@90", 18, slow.noc(0.9)),
        Check("clicks: half of each thing, NoC@85", MOST, never.noc(0.85)),
        Check("clicks: half of each thing, failures of 2", 2, never.failures(0.85)),
    ]


def box_checks() -> list[Check]:
    """The truth, and half of it; a square is its own box."""
    with _squares_on_blank() as things:
        right, half = measure_boxes(_told(_all), things), measure_boxes(_told(_half), things)
    checks = [Check("boxes: squares, the box as mask, mIoU", 1, right.miou("box"))]
    for figure in ("tight", "jittered", "oracle"):
        checks.append(Check(f"boxes: the truth itself, {figure}, mIoU", 1, right.miou(figure)))
        checks.append(Check(f"boxes: half of each thing, {figure}, mIoU", 0.5, half.miou(figure)))
    return checks


def proposal_checks() -> list[Check]:
    """The truth; one thing of two; and an IoU of 0.725, enough for 0.5 to 0.7: five of ten."""
    one = np.repeat(_part(*_LEFT_TOP[0], _SIDE)[None], 4, axis=0)
    told = (
        ("the truth itself", 1.0, _told(_all)),
        ("one thing of two", 0.5, _model(lambda _prompt: one)),
        ("IoU 0.725", 0.5, _told(lambda _prompt: 29)),
    )
    settings = EverythingSettings(points_per_side=4)
    with _squares_on_blank() as things:
        return [
            Check(f"everything: {what}, {kind} AR@10", expected, recalls.ar(most=10))
            for what, expected, model in told
            for kind, recalls in measure_proposals(model, things, settings).recalls.items()
        ]


PROMPT_CHECKS: Sequence[Callable[[], list[Check]]] = (click_checks, box_checks, proposal_checks)
"""All that need no data."""


def grabcut_checks(folder: Path, *, watch: Watch = unwatched) -> list[Check]:
    """GrabCut on its own set gives the figure that was measured without this code."""
    things = read_grabcut_things(folder)
    measured = measure_boxes(GrabCutBoxMasks(), things, draws=0, watch=watch)
    what = "boxes: cv2.grabCut from the tight box on its own set, mIoU"
    return [Check(what, GRABCUT_MIOU, measured.miou("tight"), GRABCUT_SLACK)]


def _all(_prompt: Prompt) -> int:
    return _SIDE


def _half(_prompt: Prompt) -> int:
    return _SIDE // 2


@contextmanager
def _squares_on_blank() -> Iterator[Things]:
    """Two squares on a blank image."""
    squares = tuple(
        Thing(str(n), "square", mask_to_rle(_part(x0, y0, _SIDE)))
        for n, (x0, y0) in enumerate(_LEFT_TOP)
    )
    with TemporaryDirectory() as folder:
        path = Path(folder, "blank.png")
        Image.fromarray(np.full((*_HW, 3), 255, np.uint8)).save(path)
        picture = TruePicture(path.name, path, _HW, squares)
        yield Things("squares", path.parent, (picture,), "", {})


def _part(x0: int, y0: int, rows: int) -> BoolArray:
    """A square's upper rows."""
    mask = np.zeros(_HW, np.bool_)
    mask[y0 : y0 + rows, x0 : x0 + _SIDE] = True
    return mask


def _told(rows: Callable[[Prompt], int]) -> Model:
    """A model that answers so many rows of the square that a prompt is in."""

    def tell(prompt: Prompt) -> BoolArray:
        x = prompt.points[0, 0] if len(prompt.points) else prompt.boxes[0, ::2].mean()
        (x0, y0) = min(_LEFT_TOP, key=lambda corner: abs(corner[0] + _SIDE / 2 - x))
        return np.repeat(_part(x0, y0, rows(prompt))[None], 4, axis=0)

    return _model(tell)


def _model(tell: Tell) -> Model:
    return Model(MissingDetector("told"), WholeImagePredictor(StubSegmenter(tell)))
