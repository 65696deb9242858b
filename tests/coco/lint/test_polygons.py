"""Polygons are measured as COCO measures them, and refused before pycocotools can stumble."""

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from perception.coco.lint.shapes import Polygons, as_corners, is_degenerate


def polygons(*lists):
    return Polygons(tuple(as_corners(numbers) for numbers in lists))


def test_area_and_box():
    two = polygons([1, 1, 5, 1, 5, 4], [10, 10, 12, 10, 12.5, 12, 10, 12])
    assert two.area == pytest.approx(6 + 4.5)
    assert two.bbox.tolist() == [1, 1, 11.5, 11]


def test_the_way_round_and_the_place_change_nothing():
    ring = np.array([[0, 0], [4, 0], [4, 3]]) + 1e6
    assert polygons(ring.ravel()).area == polygons(ring[::-1].ravel()).area == 6


def test_the_area_with_the_outline_is_that_of_the_mask():
    mask = np.zeros((40, 50), np.uint8)
    cv2.ellipse(mask, (25, 20), (17, 9), 30, 0, 360, 1, -1)
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    traced = polygons(*(contour.ravel() for contour in contours))
    assert list(traced.closed_areas()) == [mask.sum()]
    assert traced.area < 0.95 * mask.sum()
    assert not list(polygons([0.5, 0, 9, 0, 9, 9]).closed_areas())


def test_drawn():
    drawn = polygons([2, 3, 8, 3, 8, 9, 2, 9], [6, 6, 10, 6, 10, 9, 6, 9]).drawn((20, 30))
    assert coco_mask.area(drawn) == 36 + 2 * 3
    assert drawn["size"] == [20, 30]


@pytest.mark.parametrize(
    ("lists", "hw", "can"),
    [
        ([[0, 0, 9, 0, 9, 9]], (10, 10), True),
        ([[-1000, 0, 1000, 0, 1000, 9]], (10, 10), True),
        ([[0, 0, 9e7, 0, 9, 9]], (10, 10), False),
        ([[0, 0, 40_000, 0, 40_000, 9] * 30], (10, 10), False),
        ([[0, 0, 9, 0, 9, 9]], (100_000, 100_000), False),
    ],
)
def test_can_be_drawn(lists, hw, can):
    assert polygons(*lists).can_be_drawn(hw) is can


@pytest.mark.parametrize(
    "numbers",
    [
        [1, 2, 3],
        [1, 2, 3, None],
        [1, 2, 3, "4"],
        ["1", "2"],
        [1, 2, 3, float("nan")],
        [1, 2, 3, float("inf")],
        [1, 2, 3, 1e30],
        [1, 2, 3, 10**400],
        [[1, 2], [3, 4]],
        [[1], [2, 3]],
        [{}],
        {},
        "12",
        None,
        7,
    ],
)
def test_no_corners(numbers):
    assert as_corners(numbers) is None


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([3, 3, 3, 3, 3, 3], True),
        ([0.1, 0.1, 0.2, 0.2, 0.7, 0.7], True),
        ([0, 0, 9, 3, 3, 1], True),
        ([0, 0, 4, 4, 0, 4, 4, 0], False),  # A bow: no area in sum.
        ([0.1, 0.1, 0.11, 0.1, 0.11, 0.11], False),
    ],
)
def test_degenerate(numbers, expected):
    assert is_degenerate(as_corners(numbers)) is expected


def test_a_bow_has_the_area_that_is_drawn(content):
    from coco.lint.samples import codes

    content["annotations"][2].update(
        segmentation=[[10, 10, 30, 30, 10, 30, 30, 10]], bbox=[10, 10, 20, 20], area=200
    )
    assert codes(content) == {}
