"""Polygons and run lengths that nobody has checked, before pycocotools sees them.

pycocotools writes beyond its memory for a polygon without corners, takes one of four numbers for a
box, and needs memory in proportion to the outline's length, however far outside the image it is.

pycocotools trusts its input: codes that are cut off or negative, or a height of 0, make it read
beyond its memory or end the process. So the code is taken apart here, with numpy, and only what
adds up goes on. No mask is ever made into pixels.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from perception.coco.lint.read import Numbers, is_int
from perception.types import IntArray

Corners = Numbers
"""One polygon, K x 2 (x, y)."""

# It walks in steps of a fifth of a pixel: this is a quarter of a gigabyte.
_LONGEST_OUTLINE = 2e6
# And this is more than loaders bear: at 1e8 pixels pycocotools takes 4 to 17 GB.
_BREAKING_OUTLINE = 1e7
# And counts these steps in 32 bits.
_FARTHEST = 1e8
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Polygons:
    """The union of one or more polygons. parts: each K x 2, at least three corners."""

    parts: tuple[Corners, ...]

    @cached_property
    def area(self) -> float:
        """The areas inside the outlines, added up: what COCO itself writes."""
        return float(sum(abs(_twice_area(corners)) / 2 for corners in self.parts))

    @cached_property
    def bbox(self) -> Numbers:
        """The box around the corners, x, y, width, height: what COCO itself writes."""
        corners = np.concatenate(self.parts)
        first, last = corners.min(axis=0), corners.max(axis=0)
        bbox: Numbers = np.concatenate([first, last - first])
        return bbox

    def closed_areas(self) -> Iterator[float]:
        """The area with the pixels on the outlines, if all corners are whole numbers.

        OpenCV's contours run through the centers of a mask's outermost pixels, which many tools
        write as polygons, beside the area of the mask: half a pixel more on all sides (Pick).
        """
        if all((corners % 1 == 0).all() for corners in self.parts):
            outlines = (np.abs(_steps(corners)).max(axis=1).sum() for corners in self.parts)
            yield self.area + sum(float(outline) / 2 + 1 for outline in outlines)

    @cached_property
    def outline_length(self) -> float:
        """The length of all outlines in pixels, along x and along y (the L1 norm)."""
        return sum(float(np.abs(_steps(corners)).sum()) for corners in self.parts)

    def can_be_drawn(self, hw: tuple[int, int]) -> bool:
        """Whether pycocotools can draw them in an image of (height, width) in modest memory."""
        return hw[0] * hw[1] <= MOST_PIXELS and self.outline_length <= _LONGEST_OUTLINE

    def breaks_loaders(self) -> bool:
        """Return whether drawing them takes pycocotools gigabytes, in an image of any size."""
        return self.outline_length > _BREAKING_OUTLINE

    def drawn(self, hw: tuple[int, int]) -> Any:
        """The mask in an image of (height, width), as pycocotools' run lengths."""
        from pycocotools import mask as coco_mask

        return coco_mask.merge(
            coco_mask.frPyObjects([corners.ravel().tolist() for corners in self.parts], *hw)
        )


def as_corners(numbers: object) -> Corners | None:
    """One polygon's x, y, x, y, ... as K x 2; None if they aren't pairs of numbers of pixels."""
    try:
        array = np.asarray(numbers)
    except (ValueError, OverflowError):
        return None  # Lists of several lengths.
    if array.ndim != 1 or array.dtype.kind not in "iuf" or len(array) % 2:
        return None
    corners: Corners = array.astype(np.float64).reshape(-1, 2)
    return corners if (np.abs(corners) <= _FARTHEST).all() else None  # NaN isn't, either.


def is_degenerate(corners: Corners) -> bool:
    """Whether all corners lie on one line or in one point."""
    # Not by the area: an outline that crosses itself may have none in sum, and yet be drawn.
    away = corners - corners[0]
    line = away[np.abs(away).sum(axis=1).argmax()]
    across = np.abs(away[:, 0] * line[1] - away[:, 1] * line[0])
    return bool(across.max() <= _ROUNDING * np.dot(line, line))


def _twice_area(corners: Corners) -> float:
    # From its own corner, so that places far away don't cost digits.
    x, y = (corners - corners[0]).T
    return float(np.dot(x[:-1], y[1:]) - np.dot(x[1:], y[:-1]))


def _steps(corners: Corners) -> Corners:
    steps: Corners = corners - np.roll(corners, 1, axis=0)
    return steps


MOST_PIXELS = 2**32 - 1
"""pycocotools counts pixels in 32 bits."""

# A code has 5 bits a character, and no run or difference of runs here has more than 33.
_MOST_CHARACTERS = 7


class RunLengthsError(ValueError):
    """Run lengths that stand for no mask; the message says why. code: the kind of fault."""

    def __init__(self, code: str, why: str) -> None:
        super().__init__(why)
        self.code = code


@dataclass(frozen=True)
class RunLengths:
    """A mask whose run lengths add up. hw: (height, width); runs: outside and inside in turn."""

    hw: tuple[int, int]
    runs: IntArray

    @cached_property
    def area(self) -> int:
        """How many pixels are inside."""
        from pycocotools import mask as coco_mask

        return int(coco_mask.area(self._code))

    @cached_property
    def bbox(self) -> Numbers:
        """The tight half-open box, x, y, width, height; all zeros for an empty mask."""
        from pycocotools import mask as coco_mask

        bbox: Numbers = coco_mask.toBbox(self._code)
        return bbox

    def counts(self) -> str:
        """The compressed code."""
        text: str = self._code["counts"].decode("ascii")
        return text

    @cached_property
    def _code(self) -> Any:
        from pycocotools import mask as coco_mask

        # toBbox takes the ends of empty runs for pixels.
        code = {"size": list(self.hw), "counts": _without_empty(self.runs)}
        return coco_mask.frPyObjects(code, *self.hw)


def read_run_lengths(counts: object, hw: tuple[int, int]) -> RunLengths:
    """The mask of height x width that ``counts``, a compressed code or a list, stands for.

    Raises RunLengthsError if it stands for none, or for one that is too large for pycocotools.
    """
    runs = _unpacked(counts) if isinstance(counts, str) else _listed(counts)
    pixels = hw[0] * hw[1]
    if (runs < 0).any():
        raise RunLengthsError("rle-counts", "a run is shorter than 0")
    # A sum of floats doesn't overflow, whatever the runs are.
    if runs.sum(dtype=np.float64) != pixels:
        total = int(runs.sum(dtype=np.float64))
        raise RunLengthsError("rle-counts", f"runs of {total} pixels in a mask of {pixels}")
    if pixels > MOST_PIXELS:
        raise RunLengthsError("mask-too-large", f"{hw[1]} x {hw[0]} pixels")
    return RunLengths(hw, runs)


def text_of_bytes(counts: object) -> str | None:
    """The code inside ``b'...'``, which ``str()`` makes of Python bytes; None for other things."""
    if not isinstance(counts, str) or counts[:2] not in ("b'", 'b"'):
        return None
    try:
        return str(ast.literal_eval(counts).decode("ascii"))
    except (ValueError, SyntaxError, AttributeError, MemoryError, RecursionError):
        return None


def _listed(counts: object) -> IntArray:
    if not isinstance(counts, list) or not all(is_int(run) for run in counts):
        raise RunLengthsError("rle-counts", "counts is neither a text nor a list of integers")
    try:
        return np.array(counts, np.int64)
    except OverflowError:
        raise RunLengthsError("rle-counts", "a run is longer than any mask") from None


def _unpacked(counts: str) -> IntArray:
    """The runs in a compressed code: LEB128 with 5 bits a character, most of them differences."""
    try:
        codes = np.frombuffer(counts.encode("ascii"), np.uint8).astype(np.int64) - 48
    except UnicodeEncodeError:
        codes = np.array([-1])
    if not len(codes):
        return codes
    if codes.min() < 0 or codes.max() > 63:
        raise RunLengthsError("rle-counts", "counts has characters that no code has")
    last = codes & 0x20 == 0
    if not last[-1]:
        raise RunLengthsError("rle-counts", "counts is cut off")
    ends = np.flatnonzero(last)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > _MOST_CHARACTERS:
        raise RunLengthsError("rle-counts", "a run is longer than any mask")
    shifts = 5 * (np.arange(len(codes)) - np.repeat(starts, lengths))
    runs = np.add.reduceat((codes & 0x1F) << shifts, starts)
    runs -= np.where(codes[ends] & 0x10, np.int64(1) << 5 * lengths, 0)
    # From the fourth on, each is the difference from the run two before.
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    return runs


def _without_empty(runs: IntArray) -> IntArray:
    """The same mask with no run of length 0 but the first."""
    if runs[1:].all():
        return runs
    total = int(runs.sum())
    # Where inside and outside change; two changes at one place are none.
    changes, times = np.unique(np.cumsum(runs)[:-1], return_counts=True)
    changes = changes[(times % 2 == 1) & (changes < total)]
    merged: IntArray = np.diff(changes, prepend=0, append=total)
    return merged
