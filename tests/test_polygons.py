"""Outlines of masks along pixel edges."""

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from perception.polygons import mask_to_polygons


def draw(polygons, shape):
    """Fills polygons with pycocotools, an independent rasteriser."""
    if not polygons:
        return np.zeros(shape, bool)
    codes = coco_mask.frPyObjects([ring.ravel().tolist() for ring in polygons], *shape)
    return np.asarray(coco_mask.decode(coco_mask.merge(codes)), bool)


def area(ring):
    x, y = ring.astype(float).T
    return np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) / 2


def test_square():
    mask = np.zeros((6, 7), bool)
    mask[1:4, 2:6] = True
    (ring,) = mask_to_polygons(mask)
    assert ring.tolist() == [[2, 1], [6, 1], [6, 4], [2, 4]]
    assert ring.dtype == np.float32


def test_whole_picture_and_one_pixel():
    assert mask_to_polygons(np.ones((2, 3), bool))[0].tolist() == [[0, 0], [3, 0], [3, 2], [0, 2]]
    assert len(mask_to_polygons(np.ones((1, 1), bool))) == 1


def test_empty_mask_has_no_polygon():
    assert mask_to_polygons(np.zeros((3, 4), bool)) == []


def test_a_hole_is_cut_out():
    mask = np.ones((5, 5), bool)
    mask[2, 2:4] = False
    (ring,) = mask_to_polygons(mask)
    assert area(ring) == 23
    assert ring.tolist() == [
        *([0, 0], [2, 0]),
        *([2, 2], [2, 3], [4, 3], [4, 2], [2, 2]),
        *([2, 0], [5, 0], [5, 5], [0, 5]),
    ]


def test_a_ring_in_a_ring_and_holes_below_each_other():
    mask = np.zeros((20, 20), bool)
    mask[1:19, 1:19] = True
    mask[3:17, 3:17] = False
    mask[5:15, 5:15] = True
    mask[7:9, 7:9] = mask[11:13, 7:9] = mask[11:13, 11:13] = False
    polygons = mask_to_polygons(mask)
    assert [area(ring) for ring in polygons] == [18 * 18 - 14 * 14, 10 * 10 - 12]
    np.testing.assert_array_equal(draw(polygons, mask.shape), mask)


def test_regions_that_touch_at_a_corner_are_two():
    assert len(mask_to_polygons(np.eye(2, dtype=bool))) == 2


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_drawing_it_back_gives_the_same_pixels(seed, share):
    rng = np.random.default_rng(seed)
    mask = rng.random((23, 31)) < share
    polygons = mask_to_polygons(mask)
    np.testing.assert_array_equal(draw(polygons, mask.shape), mask)
    assert sum(map(area, polygons)) == mask.sum()
    regions = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)[0] - 1
    assert len(polygons) == regions


def test_thousands_of_holes_are_cut_out_in_one_go(monkeypatch):
    """The corners are put together once for each outline and hole, not once more for each way."""
    rng = np.random.default_rng(0)
    mask = rng.random((200, 200)) < 0.95
    joined = []
    concatenate = np.concatenate
    monkeypatch.setattr(
        np, "concatenate", lambda parts, **more: joined.append(1) or concatenate(parts, **more)
    )
    polygons = mask_to_polygons(mask)
    holes = cv2.connectedComponents(1 - np.pad(mask, 1, constant_values=1).astype(np.uint8))[0] - 1
    assert holes > 1000
    assert len(joined) <= holes + len(polygons)
    assert sum(map(area, polygons)) == mask.sum()
