"""Run lengths that nobody has checked, before pycocotools sees them.

pycocotools trusts its input: codes that are cut off or negative, or a height of 0, make it read
beyond its memory or end the process. So the code is taken apart here, with numpy, and only what
adds up goes on. No mask is ever made into pixels.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from perception.formats.verify.records import Numbers, is_int
from perception.types import IntArray

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
