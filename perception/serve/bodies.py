"""What the page may send, checked before anything is done with it."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from perception.annotate.marks import Mark, Origin
from perception.defaults import THRESHOLD
from perception.errors import PromptError
from perception.formats.verify.run_lengths import RunLengthsError, read_run_lengths
from perception.types import FloatArray, Prompt, Rle

MOST_POINTS = 1000
MOST_MARKS = 10_000
MOST_COUNTS_AT_ONCE = 200
_MOST_COUNTS = 8 << 20
_MOST_TEXT = 2000

Coordinate = Annotated[float, Field(ge=-1e6, le=1e6)]
Part = Annotated[float, Field(ge=0, le=1)]
# A network predicts it, and nothing keeps a prediction within its limits.
Quality = Annotated[float, AfterValidator(lambda value: min(max(value, 0.0), 1.0))]
# JSON has lists where these are tuples.
Place = Annotated[tuple[Coordinate, Coordinate], Field(strict=False)]
Box = Annotated[tuple[Coordinate, Coordinate, Coordinate, Coordinate], Field(strict=False)]
Side = Annotated[int, Field(ge=1, le=2**31)]
Size = Annotated[tuple[Side, Side], Field(strict=False)]
Tab = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[\w-]+$")]


class Body(BaseModel):
    """Nothing unknown, no numbers as texts, no nan."""

    model_config = ConfigDict(
        extra="forbid", strict=True, allow_inf_nan=False, hide_input_in_errors=True
    )


class ClickBody(Body):
    """A prompt in pixels of the picture.

    labels: 1 in, 0 out, for each point; without them all points are in. earlier: base64 of float16
    logits of an answer.
    """

    points: Annotated[list[Place], Field(max_length=MOST_POINTS)] = []
    labels: Annotated[list[Literal[0, 1]], Field(max_length=MOST_POINTS)] | None = None
    box: Box | None = None
    earlier: Annotated[str, Field(max_length=4 << 20)] | None = None

    def prompt(self, mask_size: int) -> Prompt:
        """As the segmenter takes it; PromptError for one that makes no sense."""
        if not self.points and self.box is None:
            raise PromptError("neither points nor a box: give at least one point, or a box")
        return Prompt(
            points=np.array(self.points, np.float32),
            point_labels=None if self.labels is None else np.array(self.labels, np.int64),
            boxes=np.array([] if self.box is None else [self.box], np.float32),
            mask_logits=None if self.earlier is None else _logits(self.earlier, mask_size)[None],
        )


class TextBody(Body):
    """What to find in a picture."""

    text: Annotated[str, Field(max_length=_MOST_TEXT)]
    threshold: Part = THRESHOLD


class ClassBody(Body):
    """A class to add."""

    name: Annotated[str, Field(max_length=_MOST_TEXT)]


class TabBody(Body):
    """A tab that has a picture open. leaving: it is about to go."""

    tab: Tab
    leaving: bool = False


class CountsBody(Body):
    """Images whose numbers of instances are asked for."""

    pictures: Annotated[
        list[Annotated[str, Field(max_length=4096)]], Field(max_length=MOST_COUNTS_AT_ONCE)
    ]


class RleBody(Body):
    """A mask as COCO's compressed run lengths; size: height, width."""

    size: Size
    counts: Annotated[str, Field(max_length=_MOST_COUNTS)]


class MarkBody(Body):
    """One mark; see ``Mark``."""

    model_config = ConfigDict(populate_by_name=True)

    uid: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    label: Annotated[str, Field(alias="class", min_length=1, max_length=_MOST_TEXT)]
    origin: Origin
    rle: RleBody
    score: Part | None = None
    quality: Quality | None = None
    stability: Part | None = None

    def mark(self, image_hw: tuple[int, int]) -> Mark:
        """The mark, on a picture of (H, W); PromptError for a mask that can't be one of it."""
        if tuple(self.rle.size) != image_hw:
            raise PromptError(
                f"a mask of {self.rle.size[0]} x {self.rle.size[1]} pixels on a picture of "
                f"{image_hw[0]} x {image_hw[1]} (height x width)"
            )
        try:
            counts = read_run_lengths(self.rle.counts, image_hw).counts()
        except RunLengthsError as error:
            raise PromptError(f"a mask's run lengths can't be used: {error}") from None
        score = None if self.origin == "hand" else self.score
        rle = Rle(image_hw, counts)
        return Mark(self.uid, self.label, self.origin, rle, score, self.quality, self.stability)


class MarksBody(Body):
    """All marks of a picture, made from those of ``revision``."""

    revision: Annotated[int, Field(ge=0, le=2**53)]
    tab: Tab
    marks: Annotated[list[MarkBody], Field(max_length=MOST_MARKS)]

    @model_validator(mode="after")
    def _uids_differ(self) -> Self:
        if len({mark.uid for mark in self.marks}) != len(self.marks):
            raise ValueError("two marks have one uid")
        return self


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
        raise PromptError("the earlier mask isn't base64") from None
    if len(raw) != 2 * mask_size**2:
        raise PromptError(
            f"an earlier mask is {mask_size} x {mask_size} numbers of 2 bytes, got {len(raw)} bytes"
        )
    logits = np.frombuffer(raw, "<f2").astype(np.float32).reshape(mask_size, mask_size)
    if not np.isfinite(logits).all():
        raise PromptError("the earlier mask has numbers that are inf or nan")
    return logits
