"""What the page may send, checked before anything is done with it, and names of classes."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from perception.coco.lint.shapes import RunLengthsError, read_run_lengths
from perception.defaults import THRESHOLD
from perception.errors import PromptError
from perception.imaging.preprocess import Frame
from perception.ops.masks import rle_to_mask
from perception.ops.windows import Tile
from perception.predictor.predictions import LowResMask
from perception.prompts.grammar import normalize, tidy
from perception.runs.records import Mark, Origin
from perception.serve.opening import ServedModel
from perception.types import FloatArray, Prompt, Rle

MAX_CHARACTERS = 100
MAX_CLASSES = 2000


def check_printable(name: str) -> None:
    """Raise PromptError for characters that can't be seen or would change how a line is shown."""
    if not name.isprintable():
        raise PromptError("a class's name has characters that can't be printed; leave them out")


def checked_name(name: str) -> str:
    """A class's name with single spaces; PromptError for one that can't be used."""
    check_printable(name)
    name = tidy(name)
    if not normalize(name):
        raise PromptError("a class's name is empty; give it at least one letter")
    if len(name) > MAX_CHARACTERS:
        raise PromptError(f"a class's name has at most {MAX_CHARACTERS} characters")
    return name


def new_name(name: str, classes: Iterable[str]) -> str:
    """As ``checked_name``; PromptError also for one that is among some classes, in any case."""
    name, known = checked_name(name), {normalize(one): one for one in classes}
    if normalize(name) in known:
        raise PromptError(f'there is a class "{known[normalize(name)]}" already')
    if len(known) >= MAX_CLASSES:
        raise PromptError(f"more than {MAX_CLASSES} classes")
    return name


def known_name(name: str, classes: Iterable[str]) -> str:
    """A class as the run spells it; PromptError for one that it hasn't."""
    check_printable(name)
    key = normalize(name)
    for one in classes:
        if normalize(one) == key:
            return one
    raise PromptError(f"no class is called {name[:MAX_CHARACTERS]!r}; add it first")


MAX_POINTS = 1000
MAX_MARKS = 10_000
MAX_COUNTS_AT_ONCE = 200
_MAX_COUNTS = 8 << 20
_MAX_TEXT = 2000
_MAX_BEYOND = 2
"""How many times the longer side of an image a window may be long."""
_SMALL_WINDOW = 64
"""Pixels; a window may always be so long."""

Pixel = Annotated[int, Field(ge=-(10**6), le=10**6)]
Coordinate = Annotated[float, Field(ge=-1e6, le=1e6)]
Part = Annotated[float, Field(ge=0, le=1)]
# A network predicts it, and nothing keeps a prediction within its limits.
Quality = Annotated[float, AfterValidator(lambda value: min(max(value, 0.0), 1.0))]
# JSON has lists where these are tuples.
Place = Annotated[tuple[Coordinate, Coordinate], Field(strict=False)]
Box = Annotated[tuple[Coordinate, Coordinate, Coordinate, Coordinate], Field(strict=False)]
Side = Annotated[int, Field(ge=1, le=2**31)]
Size = Annotated[tuple[Side, Side], Field(strict=False)]
Window = Annotated[tuple[Pixel, Pixel, Pixel, Pixel], Field(strict=False)]
Tab = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[\w-]+$")]


class Body(BaseModel):
    """Nothing unknown, no numbers as texts, no nan."""

    model_config = ConfigDict(
        extra="forbid", strict=True, allow_inf_nan=False, hide_input_in_errors=True
    )


class RleBody(Body):
    """A mask as COCO's compressed run lengths; size: height, width."""

    size: Size
    counts: Annotated[str, Field(max_length=_MAX_COUNTS)]


class PreviousBody(Body):
    """The mask that the last click corrects: of an earlier answer, or any mask of the image.

    logits: base64 of float16, mask size x mask size, in a window of the image; rle: of the image.
    """

    window: Window | None = None
    logits: Annotated[str, Field(max_length=4 << 20)] | None = None
    rle: RleBody | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.logits is None) == (self.rle is None) or (self.logits and self.window is None):
            raise ValueError("a previous mask is window and logits, or rle")
        return self


class ClickBody(Body):
    """A prompt in pixels of the image, and the mask that its last point corrects.

    labels: 1 in, 0 out, for each point; without them all points are in.
    """

    points: Annotated[list[Place], Field(max_length=MAX_POINTS)] = []
    labels: Annotated[list[Literal[0, 1]], Field(max_length=MAX_POINTS)] | None = None
    box: Box | None = None
    previous: PreviousBody | None = None

    def previous_mask(self, image_hw: tuple[int, int], served: ServedModel) -> LowResMask | None:
        """The previous mask on an image of (H, W); PromptError for one that can't be used."""
        if self.previous is None:
            return None
        size, side = served.mask_size, served.segmenter.side
        if self.previous.rle is not None:
            mask = rle_to_mask(_checked_rle(self.previous.rle, image_hw))
            return LowResMask.from_mask(mask, Frame(image_hw, side), size)
        window = checked_window(Tile(*(self.previous.window or ())), image_hw)
        frame = Frame((window.y1 - window.y0, window.x1 - window.x0), side)
        return LowResMask(window, _logits(self.previous.logits or "", size), frame, image_hw)

    def prompt(self) -> Prompt:
        """As the predictor takes it; PromptError for one that makes no sense."""
        if not self.points and self.box is None:
            raise PromptError("neither points nor a box: give at least one point, or a box")
        return Prompt(
            points=np.array(self.points, np.float32),
            point_labels=None if self.labels is None else np.array(self.labels, np.int64),
            boxes=np.array([] if self.box is None else [self.box], np.float32),
        )


class TextBody(Body):
    """What to find in an image."""

    text: Annotated[str, Field(max_length=_MAX_TEXT)]
    threshold: Part = THRESHOLD


class ClassBody(Body):
    """A class to add."""

    name: Annotated[str, Field(max_length=_MAX_TEXT)]


class TabBody(Body):
    """A tab that has an image open. leaving: it is about to go."""

    tab: Tab
    leaving: bool = False


class CountsBody(Body):
    """Images whose numbers of instances are asked for."""

    pictures: Annotated[
        list[Annotated[str, Field(max_length=4096)]], Field(max_length=MAX_COUNTS_AT_ONCE)
    ]


class MarkBody(Body):
    """One mark; see ``Mark``."""

    model_config = ConfigDict(populate_by_name=True)

    uid: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    label: Annotated[str, Field(alias="class", min_length=1, max_length=_MAX_TEXT)]
    origin: Origin
    rle: RleBody
    score: Part | None = None
    quality: Quality | None = None
    stability: Part | None = None

    def mark(self, image_hw: tuple[int, int]) -> Mark:
        """The mark, on an image of (H, W); PromptError for a mask that can't be one of it."""
        rle = _checked_rle(self.rle, image_hw)
        score = None if self.origin == "hand" else self.score
        return Mark(self.uid, self.label, self.origin, rle, score, self.quality, self.stability)


class MarksBody(Body):
    """All marks of an image, made from those of ``revision``."""

    revision: Annotated[int, Field(ge=0, le=2**53)]
    tab: Tab
    marks: Annotated[list[MarkBody], Field(max_length=MAX_MARKS)]

    @model_validator(mode="after")
    def _uids_differ(self) -> Self:
        if len({mark.uid for mark in self.marks}) != len(self.marks):
            raise ValueError("two marks have one uid")
        return self


def checked_window(window: Tile, image_hw: tuple[int, int]) -> Tile:
    """The window, if it shows something of an image of (H, W); PromptError for another one."""
    height, width = image_hw
    sides = window.x1 - window.x0, window.y1 - window.y0
    inside = window.inside(image_hw)
    if (
        min(sides) < 1
        or max(sides) > max(_MAX_BEYOND * max(image_hw), _SMALL_WINDOW)
        or inside.x0 >= inside.x1
        or inside.y0 >= inside.y1
    ):
        raise PromptError(
            f"a window {','.join(map(str, window))} on an image of {width} x {height} pixels "
            "(width x height): it shows nothing of it, or is too large"
        )
    return window


def _checked_rle(rle: RleBody, image_hw: tuple[int, int]) -> Rle:
    """The mask, on an image of (H, W); PromptError for one that can't be of it."""
    if tuple(rle.size) != image_hw:
        raise PromptError(
            f"a mask of {rle.size[0]} x {rle.size[1]} pixels on an image of "
            f"{image_hw[0]} x {image_hw[1]} (height x width)"
        )
    try:
        return Rle(image_hw, read_run_lengths(rle.counts, image_hw).counts())
    except RunLengthsError as error:
        raise PromptError(f"a mask's run lengths can't be used: {error}") from None


def mark_to_json(mark: Mark) -> dict[str, object]:
    """A mark as the page gets it, and sends it back."""
    return {
        "uid": mark.uid,
        "class": mark.label,
        "origin": mark.origin,
        "rle": {"size": list(mark.rle.size), "counts": mark.rle.counts},
        "score": mark.score,
        "quality": mark.quality,
        "stability": mark.stability,
    }


def _logits(text: str, mask_size: int) -> FloatArray:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise PromptError("the previous mask isn't base64") from None
    if len(raw) != 2 * mask_size**2:
        raise PromptError(
            f"a previous mask is {mask_size} x {mask_size} numbers of 2 bytes, got {len(raw)} bytes"
        )
    logits = np.frombuffer(raw, "<f2").astype(np.float32).reshape(mask_size, mask_size)
    if not np.isfinite(logits).all():
        raise PromptError("the previous mask has numbers that are inf or nan")
    return logits
