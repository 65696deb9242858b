from __future__ import annotations

import numpy as np
import pytest
from scenes.framed import PADDING, draw_framed
from scenes.scene import LEAST_VISIBLE, Painter, Scene, Style
from scenes.words import HELD_OUT_PAIRS, TRAINED_PAIRS

from perception.ops.masks import mask_to_box

SHAPES = Style(things=(3, 8), shape_share=1.0)
STYLES = {
    "default": Style(),
    "shapes": SHAPES,
    "glyphs": Style(things=(3, 8), shape_share=0.0),
    "pairs": Style(things=(3, 8), shape_share=1.0, held_out_pairs=True),
    "transforms": Style(things=(3, 8), held_out_transforms=True),
}
HW = (96, 128)


def draw(painter: Painter, seed: int, style: Style = SHAPES, hw: tuple[int, int] = HW) -> Scene:
    return painter.draw(hw, np.random.default_rng(seed), style)


@pytest.mark.parametrize("style", STYLES.values(), ids=STYLES)
def test_a_scene_and_its_truth_fit(painter: Painter, style: Style) -> None:
    for seed in range(4):
        scene = draw(painter, seed, style)
        assert scene.image.shape == (*HW, 3)
        assert scene.image.dtype == np.uint8
        assert scene.ids.shape == HW
        assert set(np.unique(scene.ids)) <= {-1, *range(len(scene.things))}
        assert len(scene.boxes) == len(scene.things) <= style.things[1]
        for k, box in enumerate(scene.boxes):
            assert scene.mask(k).any()
            np.testing.assert_array_equal(box, mask_to_box(scene.mask(k)))


@pytest.mark.parametrize("style", STYLES.values(), ids=STYLES)
def test_the_same_state_draws_the_same_scene(painter: Painter, style: Style) -> None:
    one, other, third = (draw(painter, seed, style) for seed in (5, 5, 6))
    np.testing.assert_array_equal(one.image, other.image)
    np.testing.assert_array_equal(one.ids, other.ids)
    assert one.things == other.things
    assert (one.image != third.image).any()


def test_another_painter_draws_the_same_scene(painter: Painter) -> None:
    np.testing.assert_array_equal(draw(Painter(), 3).image, draw(painter, 3).image)


@pytest.mark.parametrize(
    ("style", "pairs"), [(SHAPES, TRAINED_PAIRS), (STYLES["pairs"], HELD_OUT_PAIRS)]
)
def test_held_out_pairs_are_drawn_for_measuring_only(painter: Painter, style, pairs) -> None:
    things = [thing for seed in range(20) for thing in draw(painter, seed, style).things]
    assert len(things) > 40
    assert {(thing.color, thing.noun) for thing in things} <= set(pairs)


def test_glyphs_have_no_attributes_and_shapes_do(painter: Painter) -> None:
    glyphs = [thing for seed in range(6) for thing in draw(painter, seed, STYLES["glyphs"]).things]
    assert {thing.noun for thing in glyphs} <= set(painter.names)
    assert not any(thing.color or thing.size or thing.pattern for thing in glyphs)
    shapes = [thing for seed in range(6) for thing in draw(painter, seed).things]
    assert all(thing.color and thing.pattern for thing in shapes)


def test_sizes_are_true_of_what_is_drawn(painter: Painter) -> None:
    """A whole, upright small shape is well below every large one."""
    extents: dict[str, list[float]] = {"small": [], "": [], "large": []}
    for seed in range(60):
        scene = draw(painter, seed, Style(things=(1, 1), shape_share=1.0))
        height, width = HW
        for thing, (x0, y0, x1, y1) in zip(scene.things, scene.boxes, strict=True):
            if x0 > 0 and y0 > 0 and x1 < width and y1 < height:  # not cut by an edge
                extents[thing.size].append(max(x1 - x0, y1 - y0) / width)
    assert max(extents["small"]) < min(extents["large"])
    assert np.mean(extents["small"]) < np.mean(extents[""]) < np.mean(extents["large"])


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_things_are_no_longer_than_the_style_allows(painter: Painter, share: float) -> None:
    longest = {}
    for allowed in (0.5, 0.95):
        style = Style(things=(1, 1), shape_share=share, longest=allowed)
        boxes = [box for seed in range(60) for box in draw(painter, seed, style).boxes]
        sides = np.array(boxes)[:, 2:] - np.array(boxes)[:, :2]
        longest[allowed] = sides.max() / HW[1]
    assert longest[0.5] < 0.7 < longest[0.95]  # turned and stretched, they may be a third longer


def test_every_thing_keeps_showing(painter: Painter) -> None:
    """What is in front covers at most a part: drawn alone, a thing shows no more than so much."""
    crowded = Style(things=(12, 12), shape_share=1.0)
    for seed in range(5):
        scene = draw(painter, seed, crowded)
        for k, (x0, y0, x1, y1) in enumerate(scene.boxes):
            assert scene.mask(k).sum() >= 24 * LEAST_VISIBLE
            assert (x1 - x0) * (y1 - y0) >= scene.mask(k).sum()


@pytest.mark.parametrize("things", [0, 1])
def test_few_things(painter: Painter, things: int) -> None:
    scene = draw(painter, 0, Style(things=(things, things)))
    assert len(scene.things) <= things
    assert scene.boxes.shape == (len(scene.things), 4)


def test_a_background_of_ones_own(painter: Painter) -> None:
    background = np.full((*HW, 3), 77, np.uint8)
    before = background.copy()
    scene = painter.draw(HW, np.random.default_rng(1), Style(things=(0, 0)), background)
    np.testing.assert_array_equal(background, before)
    assert np.abs(scene.image.astype(int) - 77).max() < 40  # light, grain, JPEG


@pytest.mark.parametrize("seed", range(6))
def test_a_framed_scene_lies_in_the_corner_of_grey(painter: Painter, seed: int) -> None:
    side = 96
    scene = draw_framed(painter, side, np.random.default_rng(seed), SHAPES)
    assert scene.image.shape == (side, side, 3)
    padding = (scene.image == PADDING).all(axis=2)
    height = side - int(padding.all(axis=1)[::-1].argmin() if padding[-1].all() else 0)
    width = side - int(padding.all(axis=0)[::-1].argmin() if padding[:, -1].all() else 0)
    assert max(height, width) == side
    assert min(height, width) >= int(0.6 * side)
    assert (scene.boxes <= [width, height, width, height]).all()
    assert (scene.ids[height:] == -1).all()
    assert (scene.ids[:, width:] == -1).all()


def test_the_boxes_of_a_framed_scene_fit_to_within_a_pixel(painter: Painter) -> None:
    count = 0
    for seed in range(8):
        scene = draw_framed(painter, 96, np.random.default_rng(seed), SHAPES)
        for k, box in enumerate(scene.boxes):
            if scene.mask(k).any():
                assert np.abs(box - mask_to_box(scene.mask(k))).max() <= 1.5
                count += 1
    assert count > 20


def test_a_framed_scene_asks_for_a_background_of_its_size(painter: Painter) -> None:
    sizes = []

    def background(hw: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
        sizes.append(hw)
        return np.full((*hw, 3), 200, np.uint8)

    scene = draw_framed(painter, 64, np.random.default_rng(0), Style(things=(0, 0)), background)
    assert len(sizes) == 1
    assert np.median(scene.image[:30, :30]) > 150
