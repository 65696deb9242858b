"""What ``clicks``, ``boxes`` and ``everything`` must give for answers that are known.

The pictures are blank and the segmenter is told what to answer: the figures follow by arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from perception.absent import NoDetector
from perception.annotate.review.watch import Watch, unwatched
from perception.evaluate.box_masks import GrabCutBoxMasks
from perception.evaluate.box_result import measure_boxes
from perception.evaluate.check import Check
from perception.evaluate.click_result import measure_clicks
from perception.evaluate.clicks import MOST
from perception.evaluate.grabcut_things import read_grabcut_things
from perception.evaluate.proposal_result import measure_proposals
from perception.evaluate.things import Thing, Things, TruePicture
from perception.evaluate.told_segmenter import Tell, ToldSegmenter
from perception.masks import mask_to_rle
from perception.model import Model
from perception.predictor.everything_settings import EverythingSettings
from perception.predictor.whole import WholeImagePredictor
from perception.types import BoolArray, Prompt

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
    """Two squares on a blank picture."""
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
    return Model(NoDetector("told"), WholeImagePredictor(ToldSegmenter(tell)))
