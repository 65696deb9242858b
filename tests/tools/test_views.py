from __future__ import annotations

import numpy as np
import pytest
from scenes.framed import PADDING
from views import STRETCH, View, draw_view, recolored, view_around

from perception.ops.masks import mask_to_box

HW = (60, 100)
BOX = np.array([20, 10, 50, 40], np.float32)


@pytest.fixture
def mask() -> np.ndarray:
    mask = np.zeros(HW, np.uint8)
    mask[10:40, 20:50] = 1
    return mask


@pytest.fixture
def image(mask: np.ndarray) -> np.ndarray:
    image = np.full((*HW, 3), (10, 20, 200), np.uint8)
    image[mask > 0] = (200, 10, 20)
    return image


def test_the_whole_photograph_lies_in_the_corner(image: np.ndarray, mask: np.ndarray) -> None:
    view = View(0, 0, 100, 60, flip=False, size=(30, 50), side=50)
    shown = view.of_image(image)
    assert shown.shape == (50, 50, 3)
    assert (shown[30:] == PADDING).all()
    assert view.of_box(BOX).tolist() == [10, 5, 25, 20]
    assert mask_to_box(view.of_mask(mask)).tolist() == [10, 5, 25, 20]


def test_a_flipped_view_mirrors_boxes(mask: np.ndarray) -> None:
    view = View(0, 0, 100, 60, flip=True, size=(60, 100), side=100)
    assert view.of_box(BOX).tolist() == [50, 10, 80, 40]
    assert mask_to_box(view.of_mask(mask)).tolist() == [50, 10, 80, 40]


def test_a_box_is_cut_at_the_border_unless_it_is_to_be_whole() -> None:
    view = View(30, 20, 70, 60, flip=False, size=(40, 40), side=40)
    assert view.of_box(BOX).tolist() == [0, 0, 20, 20]
    assert view.of_box(BOX, clip=False).tolist() == [-10, -10, 20, 20]


def test_views_of_all_kinds_agree_on_image_mask_and_box(
    image: np.ndarray, mask: np.ndarray
) -> None:
    shapes = set()
    for seed in range(200):
        view = draw_view(HW, BOX, 80, np.random.default_rng(seed))
        assert 0 <= view.x0 < view.x1 <= 100
        assert 0 <= view.y0 < view.y1 <= 60
        assert max(view.size) == 80
        shown, seen, box = view.of_image(image), view.of_mask(mask), view.of_box(BOX)
        shapes.add((view.x1 - view.x0, view.y1 - view.y0))
        if seen.sum() > 50:
            assert np.median(shown[seen][:, 0]) > 150
            assert np.abs(mask_to_box(seen) - box).max() <= 2
    assert (100, 60) in shapes
    assert len(shapes) > 50


def test_a_view_around_a_box_holds_it() -> None:
    held = 0
    for seed in range(200):
        view = draw_view(HW, BOX, 80, np.random.default_rng(seed))
        held += view.x0 <= 20 and view.y0 <= 10 and view.x1 >= 50 and view.y1 >= 40
    assert held > 0.75 * 200  # whole and around: 0.8 of all


def test_a_close_view_has_its_box_in_the_middle(image: np.ndarray, mask: np.ndarray) -> None:
    beyond = 0
    for seed in range(200):
        view = draw_view(HW, BOX, 80, np.random.default_rng(seed), close=1)
        shown, seen, box = view.of_image(image), view.of_mask(mask), view.of_box(BOX)
        assert np.median(shown[seen][:, 0]) > 150
        assert np.abs(mask_to_box(seen) - box).max() <= 2
        assert np.abs((box[:2] + box[2:]) / 2 - 40).max() <= 12
        low, high = 80 / 1.8 / np.exp(STRETCH), 80 / 1.3 * np.exp(STRETCH)
        assert low - 3 <= (box[2:] - box[:2]).max() <= high + 3
        padding = (shown == PADDING).all(2)
        beyond += bool(padding.any())
        x, y = view.corner
        height, width = view.size
        padding[y : y + height, x : x + width] = True
        assert padding.all()
    assert 20 < beyond < 200


def test_a_view_around_a_click_has_it_in_the_middle(image: np.ndarray, mask: np.ndarray) -> None:
    sides = []
    for seed in range(200):
        view = view_around(HW, (48.5, 12.5), BOX, 80, np.random.default_rng(seed))
        x, y = view.of_point((48.5, 12.5))
        pixel = max(view.size[1] / (view.x1 - view.x0), view.size[0] / (view.y1 - view.y0))
        assert np.abs(np.array([x, y]) - 40).max() <= pixel + 1
        assert np.median(view.of_image(image)[view.of_mask(mask)][:, 0]) > 150
        sides.append(80 * (view.x1 - view.x0) / view.size[1])
    assert min(sides) == pytest.approx(24 * np.exp(-STRETCH), rel=0.1)
    assert max(sides) == pytest.approx(1.2 * 100 * np.exp(STRETCH), rel=0.1)


def test_a_box_may_stick_out_by_a_rounding_error() -> None:
    box = np.array([60, 30, 100.4, 60.3], np.float32)
    for seed in range(50):
        view = draw_view(HW, box, 80, np.random.default_rng(seed))
        assert 0 <= view.x0 < view.x1 <= 100
        assert 0 <= view.y0 < view.y1 <= 60


def test_another_light_keeps_the_picture(image: np.ndarray) -> None:
    changed = 0
    for seed in range(50):
        other = recolored(image, np.random.default_rng(seed))
        assert other.shape == image.shape
        assert other.dtype == np.uint8
        changed += bool((other != image).any())
    assert 30 <= changed < 50
