"""Overlays, mask PNGs and cut-outs."""

import numpy as np
import pytest
from PIL import Image

from perception.formats.png import save_cutouts, save_masks, save_overlay
from perception.instances import Instances
from perception.ops.masks import mask_to_box, mask_to_rle


def result(count=2, label="red / star!"):
    masks = np.zeros((count, 20, 30), bool)
    for n, mask in enumerate(masks):
        mask[2:9, 3 + n : 11] = True
        mask[4, 5] = False
    return Instances(
        (20, 30),
        (label,),
        np.array([mask_to_box(mask) for mask in masks]).reshape(-1, 4),
        np.full(count, 0.5),
        np.zeros(count),
        tuple(mask_to_rle(mask) for mask in masks),
        image=np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8),
    )


def test_names_keep_folder_and_suffix(tmp_path):
    written = [save_overlay(result(), tmp_path, name) for name in ("a.jpg", "a.png", "b/a.jpg")]
    names = [path.relative_to(tmp_path).as_posix() for path in written]
    assert names == ["a.jpg.overlay.png", "a.png.overlay.png", "b/a.jpg.overlay.png"]
    assert all(Image.open(path).size == (30, 20) for path in written)


def test_masks(tmp_path):
    made = result()
    paths = save_masks(made, tmp_path, "b/a.jpg")
    assert [path.name for path in paths] == [
        "a.jpg.mask-001-red-star.png",
        "a.jpg.mask-002-red-star.png",
    ]
    for path, mask in zip(paths, made.masks, strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(path)) == 255, mask)


def test_cutouts(tmp_path):
    made = result()
    path = save_cutouts(made, tmp_path, "a.jpg")[1]
    rgba = np.asarray(Image.open(path))
    assert rgba.shape == (7, 7, 4)
    np.testing.assert_array_equal(rgba[..., :3], made.image[2:9, 4:11])
    np.testing.assert_array_equal(rgba[..., 3] == 255, made.masks[1][2:9, 4:11])


def test_a_second_run_leaves_no_mask_of_the_first(tmp_path):
    other = tmp_path / "a.jpg.mask-001-of-mine.txt"
    other.touch()
    save_masks(result(3), tmp_path, "a.jpg")
    (kept,) = save_masks(result(1), tmp_path, "a.jpg")
    assert sorted(tmp_path.iterdir()) == sorted([kept, other])
    assert save_masks(result(0), tmp_path, "a.jpg") == []


@pytest.mark.parametrize(
    ("label", "slug"), [("猫", "猫"), ("🍕", "object"), ("../x", "x"), ("a" * 99, "a" * 40)]
)
def test_labels_in_file_names(tmp_path, label, slug):
    (path,) = save_masks(result(1, label), tmp_path, "a.jpg")
    assert path.name == f"a.jpg.mask-001-{slug}.png"
    assert path.parent == tmp_path


def test_cutouts_need_the_picture(tmp_path):
    made = result()
    object.__setattr__(made, "image", None)
    with pytest.raises(ValueError, match="not kept"):
        save_cutouts(made, tmp_path, "a.jpg")
