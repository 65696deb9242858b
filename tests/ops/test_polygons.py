"""Outlines of masks along pixel edges."""

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from perception.ops.polygons import MIN_IOU, mask_to_polygons


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


Y, X = np.mgrid[:120, :160]
SHAPES = {
    "disc": (Y - 60) ** 2 + (X - 80) ** 2 < 45**2,
    "small disc": (Y - 60) ** 2 + (X - 80) ** 2 < 5**2,
    "slanted bar": np.abs(0.3 * (X - 80) - 0.95 * (Y - 60)) < 20,
    "ring": ((Y - 60) ** 2 + (X - 80) ** 2 < 50**2) & ((Y - 60) ** 2 + (X - 80) ** 2 > 25**2),
    "thin line": np.abs(0.3 * (X - 80) - 0.95 * (Y - 60)) < 1,
    "one pixel": (Y == 5) & (X == 7),
    "columns": X % 2 == 0,
    "noise": np.random.default_rng(0).random(X.shape) < 0.7,
    "blobs": cv2.GaussianBlur(np.random.default_rng(1).random(X.shape), (0, 0), 4) > 0.5,
    "all": np.ones(X.shape, bool),
}


def iou(polygons, mask):
    drawn = draw(polygons, mask.shape)
    return (drawn & mask).sum() / (drawn | mask).sum()


@pytest.mark.parametrize("pixels", [0.5, 1, 3, 10, 200])
@pytest.mark.parametrize("name", SHAPES)
def test_simplified_outlines_keep_their_bound_and_have_no_more_corners(name, pixels):
    mask = SHAPES[name]
    exact, polygons = mask_to_polygons(mask), mask_to_polygons(mask, pixels)
    assert iou(polygons, mask) >= MIN_IOU
    assert len(polygons) == len(exact)
    assert all(area(ring) > 0 for ring in polygons)
    height, width = mask.shape
    for ring in polygons:
        assert ring.dtype == np.float32
        assert len(ring) >= 3
        assert (ring >= 0).all()
        assert (ring <= (width, height)).all()


@pytest.mark.parametrize(
    ("name", "pixels", "corners", "least"),
    [
        ("disc", 0.5, 40, 0.98),
        ("slanted bar", 0.5, 8, 0.985),
        ("ring", 0.5, 70, 0.98),
        ("disc", 2, 20, 0.96),
    ],
)
def test_simplified_outlines_have_few_corners(name, pixels, corners, least):
    """Of staircases, which pixels make along a slanted edge, nothing is left."""
    polygons = mask_to_polygons(SHAPES[name], pixels)
    assert sum(map(len, polygons)) <= corners
    assert sum(map(len, mask_to_polygons(SHAPES[name]))) >= 5 * corners
    assert iou(polygons, SHAPES[name]) >= least


def test_what_a_simplified_outline_is_away_from_the_middle_of_the_steps():
    (ring,) = mask_to_polygons(SHAPES["disc"], 1.0)
    radius = np.hypot(ring[:, 0] - 80.5, ring[:, 1] - 60.5)
    assert (np.abs(radius - 45) < 1).all()


def test_right_angles_stay_exact_and_lose_only_notches():
    mask = np.zeros((40, 60), bool)
    mask[5:35, 10:50] = True
    assert mask_to_polygons(mask, 0.5)[0].tolist() == [[10, 5], [50, 5], [50, 35], [10, 35]]
    mask[4, 20:23] = True  # One pixel high.
    assert len(mask_to_polygons(mask)[0]) == 8
    notched = mask_to_polygons(mask, 1.0)[0].tolist()
    assert sorted(notched) == [[10, 5], [10, 35], [50, 5], [50, 35]]


def test_holes_and_what_is_in_them_stay_when_simplified():
    ring = SHAPES["ring"] | ((Y - 60) ** 2 + (X - 80) ** 2 < 12**2)
    outer, inner = mask_to_polygons(ring, 0.5)
    drawn = draw([outer, inner], ring.shape)
    assert not drawn[60, 80 + 18]
    assert drawn[60, 80]
    assert abs(area(outer) + area(inner) - ring.sum()) < 0.01 * ring.sum()
