"""tools/mask_boxes.py: masks for things of which only boxes are known."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import mask_boxes
import numpy as np
import pytest
from mask_boxes import agreed, looks
from PIL import Image
from pycocotools.coco import COCO

from perception import load
from perception.ops.masks import mask_to_box

BOX = np.array([20, 30, 70, 60], np.float32)


def picture() -> tuple[np.ndarray, np.ndarray]:
    """A red ellipse on green, 90 x 120, with its mask."""
    y, x = np.mgrid[:90, :120] + 0.5
    mask = ((x - 45) / 25) ** 2 + ((y - 45) / 15) ** 2 <= 1
    image = np.full((90, 120, 3), (40, 160, 60), np.uint8)
    image[mask] = (220, 30, 30)
    return image, mask


def test_what_all_looks_say_is_kept_as_it_is() -> None:
    _, mask = picture()
    found, fit, agreement = agreed(np.stack([mask, mask]).astype(np.float32), BOX)
    assert np.array_equal(found, mask)
    assert fit == 1
    assert agreement == 1


def test_a_mask_stays_in_its_box_and_tells_how_little_it_fits() -> None:
    chances = np.zeros((1, 90, 120), np.float32)
    chances[0, 30:60, 45:120] = 0.9  # half of the box, and what is right of it
    found, fit, agreement = agreed(chances, BOX)
    assert mask_to_box(found).tolist() == [45, 30, 70, 60]
    assert fit == pytest.approx(0.5)
    assert agreement == pytest.approx(25 / 75)


def test_looks_that_differ_say_so() -> None:
    chances = np.zeros((2, 90, 120), np.float32)
    chances[0, 30:60, 20:70] = 0.9
    chances[1, 30:60, 20:45] = 0.9
    found, fit, agreement = agreed(chances, BOX)
    assert found.sum() == 25 * 30  # where the mean is above one half
    assert fit == pytest.approx(0.5)
    assert agreement == pytest.approx(0.75)


def test_where_nothing_is_seen_nothing_fits() -> None:
    found, fit, agreement = agreed(np.zeros((2, 90, 120), np.float32), BOX)
    assert not found.any()
    assert (fit, agreement) == (0, 0)


def test_every_look_finds_the_thing_where_it_is() -> None:
    image, mask = picture()
    chances = looks(load("nano").segmenter, image, BOX)
    assert chances.shape == (6, 90, 120)
    for seen in chances > 0.5:
        assert (seen & mask).sum() / (seen | mask).sum() > 0.9


def test_a_folder_gets_masks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image, mask = picture()
    (tmp_path / "images").mkdir()
    Image.fromarray(image).save(tmp_path / "images" / "one.png")
    boxes = [[20, 30, 49, 29], [20, 30, 9, 9]]  # the thing, and what is too small
    annotations = [
        {"id": k, "image_id": 1, "category_id": 3, "bbox": box, "area": 1, "iscrowd": 0}
        for k, box in enumerate(boxes)
    ]
    images = [{"id": 1, "file_name": "one.png", "height": 90, "width": 120}]
    dataset = {"images": images, "annotations": annotations, "categories": [{"id": 3}]}
    (tmp_path / "boxes.json").write_text(json.dumps(dataset), encoding="utf-8")
    out = tmp_path / "runs" / "masked.json"
    command = ["mask_boxes.py", str(tmp_path), "--out", str(out)]
    monkeypatch.setattr(sys, "argv", [*command, "--least", "1.01"])  # nothing fits so well
    mask_boxes.main()
    assert not COCO(str(out)).anns
    monkeypatch.setattr(sys, "argv", command)
    mask_boxes.main()
    coco = COCO(str(out))
    assert list(coco.anns) == [0]
    found = coco.annToMask(coco.anns[0]) > 0
    assert (found & mask).sum() / (found | mask).sum() > 0.95
    assert coco.anns[0]["area"] == found.sum()
    assert coco.anns[0]["category_id"] == 3
