"""Run lengths are read as pycocotools reads them, and refused before it can stumble."""

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from perception.coco.lint.shapes import RunLengthsError, read_run_lengths, text_of_bytes
from perception.ops.masks import mask_to_rle


def masks():
    """Empty, full, single pixels, columns, noise of several densities."""
    rng = np.random.default_rng(0)
    for height, width in [(1, 1), (1, 7), (7, 1), (13, 9), (40, 60), (300, 200)]:
        for density in (0, 0.02, 0.5, 0.98, 1):
            yield rng.random((height, width)) < density


@pytest.mark.parametrize("mask", list(masks()))
def test_as_pycocotools_has_it(mask):
    code = mask_to_rle(mask)
    read = read_run_lengths(code.counts, mask.shape)
    pixels = np.repeat(np.arange(len(read.runs)) % 2 == 1, read.runs)
    assert (pixels.reshape(mask.shape, order="F") == mask).all()
    assert read.area == mask.sum()
    assert read.counts() == code.counts
    expected = coco_mask.toBbox({"size": list(mask.shape), "counts": code.counts})
    assert read.bbox.tolist() == expected.tolist()
    listed = read_run_lengths(read.runs.tolist(), mask.shape)
    assert listed.counts() == code.counts


@pytest.mark.parametrize(
    ("runs", "bbox", "area"),
    [
        ([6], [0, 0, 0, 0], 0),
        ([6, 0], [0, 0, 0, 0], 0),
        ([0, 6], [0, 0, 3, 2], 6),
        ([0, 2, 0, 2, 2], [0, 0, 2, 2], 4),
        ([2, 0, 0, 2, 2], [1, 0, 1, 2], 2),
        ([0, 0, 2, 0, 0, 4, 0], [1, 0, 2, 2], 4),
    ],
)
def test_empty_runs(runs, bbox, area):
    read = read_run_lengths(runs, (2, 3))
    assert read.area == area
    assert read.bbox.tolist() == bbox
    assert read_run_lengths(read.counts(), (2, 3)).area == area


@pytest.mark.parametrize(
    ("counts", "why"),
    [
        ("", "0 pixels"),
        ([], "0 pixels"),
        ("7", "7 pixels"),
        ("o", "cut off"),
        ("oooooooooooo1", "longer than any mask"),
        ("~", "characters"),
        ("é", "characters"),
        ("O6", "shorter than 0"),
        ([-1, 7], "shorter than 0"),
        ([10**30], "longer than any mask"),
        ([2**62] * 4, "pixels"),
        ([6.0], "neither"),
        ([True, 5], "neither"),
        ([[6]], "neither"),
        (None, "neither"),
    ],
)
def test_refused(counts, why):
    with pytest.raises(RunLengthsError, match=why) as raised:
        read_run_lengths(counts, (2, 3))
    assert raised.value.code == "rle-counts"


def test_a_huge_mask_is_never_made():
    side = 100_000
    with pytest.raises(RunLengthsError) as raised:
        read_run_lengths([side * side], (side, side))
    assert raised.value.code == "mask-too-large"
    read = read_run_lengths([7, side, 60_000 * 60_000 - side - 7], (60_000, 60_000))
    assert read.area == side
    assert read.bbox.tolist() == [0, 0, 2, 60_000]


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        ("b'ab\\\\c'", "ab\\c"),
        ('b"a\'b"', "a'b"),
        ("ab", None),
        ("b'ab", None),
        ("b'\\xff'", None),
        ("b'a' + b'b'", None),
        (5, None),
    ],
)
def test_text_of_bytes(counts, text):
    assert text_of_bytes(counts) == text
