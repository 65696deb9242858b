"""The shipped nano weights keep what the README says of them, on scenes no training has seen."""

from __future__ import annotations

import pytest
from measure_scenes import SAMPLE, load_truth, measure

import perception as pc
from perception.defaults import THRESHOLD

pytestmark = pytest.mark.slow


def test_plain_scenes() -> None:
    figures = measure(pc.load("nano"), SAMPLE, load_truth(SAMPLE)["plain"], THRESHOLD)
    assert figures.scenes == 200
    assert figures.precision >= 0.85
    assert figures.recall >= 0.90
    assert figures.mask_ap50 >= 0.80
    assert figures.absent <= 0.02
