"""The overlay and its labels."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from perception.formats import draw as labels
from perception.formats.draw import draw_overlay
from perception.instances import Instances
from perception.ops.masks import mask_to_box, mask_to_rle


def squares(count, *, image_hw=(120, 160), classes=("red star",), masks=True):
    rng = np.random.default_rng(0)
    drawn = np.zeros((count, *image_hw), bool)
    for mask in drawn:
        y, x = rng.integers(0, (image_hw[0] - 20, image_hw[1] - 20))
        mask[y : y + 20, x : x + 20] = True
    return Instances(
        image_hw,
        classes,
        np.array([mask_to_box(mask) for mask in drawn]).reshape(-1, 4),
        np.linspace(0.9, 0.4, count),
        np.arange(count) % len(classes),
        tuple(mask_to_rle(mask) for mask in drawn) if masks else (),
        image=np.full((*image_hw, 3), 90, np.uint8),
    )


@pytest.mark.parametrize("masks", [True, False])
def test_masks_or_boxes_are_drawn_on_a_copy(masks):
    instances = squares(3, masks=masks)
    before = instances.image.copy()
    overlay = draw_overlay(instances)
    assert overlay.shape == instances.image.shape
    assert (instances.image == before).all()
    changed = (overlay != before).any(axis=2)
    assert changed[instances.boxes[0, 1].astype(int), instances.boxes[0, 0].astype(int)]
    assert not changed.all()


def test_colors_are_rgb():
    """The first color is a red: green and blue are less, inside the mask, below the label."""
    instances = squares(1)
    x1, y1 = instances.boxes[0, 2:].astype(int)
    red, green, blue = draw_overlay(instances)[y1 - 4, x1 - 4].astype(int)
    assert red > green
    assert red > blue


def test_nothing_found_draws_nothing():
    instances = squares(0)
    assert (draw_overlay(instances) == instances.image).all()


def test_a_picture_can_be_handed_in():
    instances = squares(1)
    without = Instances(instances.image_hw, ("a",), instances.boxes, [0.5], [0], instances.rles)
    with pytest.raises(ValueError, match="image="):
        draw_overlay(without)
    assert draw_overlay(without, instances.image).shape == (120, 160, 3)


@pytest.mark.parametrize("image_hw", [(1, 1), (3, 200), (200, 3), (24, 24)])
def test_tiny_and_thin_pictures(image_hw):
    mask = np.ones(image_hw, bool)
    instances = Instances(
        image_hw,
        ("thing",),
        mask_to_box(mask)[None],
        [0.5],
        [0],
        (mask_to_rle(mask),),
        image=np.zeros((*image_hw, 3), np.uint8),
    )
    assert draw_overlay(instances).shape == (*image_hw, 3)


@pytest.mark.parametrize("names", [["猫"], ["🍕", "❤️ big"], ["Käse", "Ёж"], ["x" * 500], ["a\tb"]])
def test_any_label_can_be_drawn(names):
    instances = squares(len(names), classes=tuple(names))
    assert draw_overlay(instances).shape == (120, 160, 3)


def test_letters_without_a_font_are_spelled(monkeypatch):
    monkeypatch.setattr(labels, "_SYSTEM_FONTS", ())
    texts, _ = labels.label_texts(["🍕", "cat", "猫", "❤️ x"], [0, 1, 2, 3])
    assert texts == ["slice of pizza", "cat", "class 3", "heavy black heart x"]


def test_shorten():
    full = labels.shorten("red star", "0.93", None, 20, 1000)
    cut = labels.shorten("red star", "0.93", None, 20, 90)
    assert full == "red star 0.93"
    assert cut.endswith("… 0.93")
    assert cut.startswith("re")
    assert labels.text_size(cut, None, 20)[0] <= 90
    assert labels.shorten("red star", "0.93", None, 20, 5) == ""


def test_labels_lie_in_the_picture_and_apart():
    boxes = np.array([[0, 0, 50, 50], [2, 2, 50, 50], [4, 4, 50, 50], [190, 90, 200, 100]], float)
    sizes = np.full((4, 2), (60, 12))
    placed = labels.place_labels(boxes, sizes, (100, 200))
    assert placed.min() >= 0
    assert (placed[:, 2:] <= (200, 100)).all()
    np.testing.assert_allclose(placed[:, 2:] - placed[:, :2], sizes)
    for n in range(4):
        assert labels._overlaps(placed[n : n + 1], np.delete(placed, n, axis=0)) == 0


def test_no_labels():
    assert labels.place_labels(np.zeros((0, 4)), np.zeros((0, 2)), (10, 10)).shape == (0, 4)


def changed_by(instances, **options):
    return (draw_overlay(instances, **options) != instances.image).any(axis=2)


def test_labels_can_be_left_out():
    instances = squares(3)
    without = changed_by(instances, labels=False)
    assert without.sum() < changed_by(instances).sum()
    # A pixel-wide outline lies on the edge: nothing changes farther than that from a mask.
    inside = instances.masks.any(axis=0)
    grown = np.zeros_like(inside)
    for y, x in np.argwhere(inside):
        grown[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2] = True
    assert not (without & ~grown).any()


def test_masks_without_a_name_have_no_labels():
    instances = squares(3)
    unnamed = replace(instances, points=np.zeros((3, 2)))
    assert (changed_by(unnamed) == changed_by(instances, labels=False)).all()
    assert (changed_by(unnamed, labels=True) == changed_by(instances, labels=True)).all()


def test_a_hundred_masks_have_colors_of_their_own():
    image_hw = (100, 100)
    drawn = np.zeros((96, *image_hw), bool)
    for n, mask in enumerate(drawn):
        y, x = divmod(n, 10)
        mask[10 * y + 1 : 10 * y + 9, 10 * x + 1 : 10 * x + 9] = True
    many = Instances(
        image_hw,
        ("object",),
        np.array([mask_to_box(mask) for mask in drawn]),
        np.full(96, 0.5),
        np.zeros(96, int),
        tuple(mask_to_rle(mask) for mask in drawn),
        image=np.full((*image_hw, 3), 128, np.uint8),
    )
    middles = draw_overlay(many, labels=False)[5::10, 5::10].reshape(-1, 3)[:96]
    assert len(np.unique(middles, axis=0)) == 96


def test_what_has_no_score_is_named_without_one(monkeypatch):
    asked, right = [], labels.shorten

    def shorten(name, score, *rest):
        asked.append((name, score))
        return right(name, score, *rest)

    monkeypatch.setattr("perception.formats.draw.shorten", shorten)
    draw_overlay(replace(squares(2), scores=np.array([np.nan, 0.5])))
    assert asked == [("red star", ""), ("red star", "0.50")]


def test_drawing_needs_no_supervision():
    """Its av holds codecs under the GPL: the core has to do without."""
    code = (
        "import sys; sys.modules['supervision'] = None; from formats.test_overlay import *; "
        "assert (draw_overlay(squares(3)) != 90).any(); "
        "assert (draw_overlay(squares(3, masks=False)) != 90).any()"
    )
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1], check=True)


def test_a_mask_is_blended_and_outlined():
    """Inside 45 % of the color, on the edge all of it, elsewhere nothing."""
    one = squares(1)
    x0, y0, x1, y1 = one.boxes[0].astype(int)
    drawn = draw_overlay(one, labels=False).astype(int)
    color = drawn[y0, x0]
    assert (drawn[y1 - 1, x0:x1] == color).all()
    inside = drawn[y0 + 2 : y1 - 2, x0 + 2 : x1 - 2]
    assert (np.abs(inside - (0.55 * 90 + 0.45 * color)) <= 0.5).all()
    assert (drawn[: max(y0 - 1, 0)] == 90).all()


def test_a_hole_is_outlined_and_not_filled():
    mask = np.zeros((60, 60), bool)
    mask[10:50, 10:50] = True
    mask[25:35, 25:35] = False
    box = mask_to_box(mask)[None]
    image = np.full((60, 60, 3), 90, np.uint8)
    ring = Instances((60, 60), ("a",), box, [0.9], [0], (mask_to_rle(mask),), image=image)
    drawn = draw_overlay(ring, labels=False)
    assert (drawn[28:32, 28:32] == 90).all()
    assert (drawn[24, 26:34] == drawn[10, 10]).all()
