from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from detection_photos import NamedPhotos
from PIL import Image

CATEGORIES = [{"id": 1, "name": "kite"}, {"id": 7, "name": "fire hydrant"}]
THINGS = [(1, (4, 4, 36, 26)), (7, (50, 20, 20, 24))]


def write(data: Path, folder: str, file: str, *, crowd: bool = False) -> None:
    """One photograph with two things, red and green."""
    image = np.full((48, 80, 3), 40, np.uint8)
    annotations = []
    for number, (category, (x, y, w, h)) in enumerate(THINGS):
        image[y : y + h, x : x + w] = (250, 0, 0) if category == 1 else (0, 250, 0)
        thing = {"id": number, "image_id": 5, "category_id": category, "bbox": [x, y, w, h]}
        annotations.append(thing | {"iscrowd": int(crowd)})
    (data / folder / "images").mkdir(parents=True)
    Image.fromarray(image).save(data / folder / "images" / "one.jpg", quality=95)
    images = [{"id": 5, "file_name": "one.jpg", "height": 48, "width": 80}]
    text = {"images": images, "annotations": annotations, "categories": CATEGORIES}
    (data / folder / file).write_text(json.dumps(text), encoding="utf-8")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write(tmp_path, "coco_train92", "instances.json", crowd=True)
    write(tmp_path, "photos_permissive", "boxes.json")
    return tmp_path


def test_photographs_with_crowds_or_too_many_things_are_left_out(data: Path) -> None:
    assert len(NamedPhotos(data, most=2).photos) == 1
    assert len(NamedPhotos(data, most=1).photos) == 0


def test_a_view_has_the_things_it_shows(data: Path) -> None:
    photos = NamedPhotos(data, most=30)
    assert photos.names == ["fire hydrant", "kite"]
    seen = set()
    for seed in range(60):
        scene = photos.draw(64, np.random.default_rng(seed))
        assert scene.image.shape == (64, 64, 3)
        assert len(scene.boxes) == len(scene.things) > 0
        for (x0, y0, x1, y1), words in zip(scene.boxes, scene.things, strict=True):
            assert 0 <= x0 < x1 <= 64
            assert 0 <= y0 < y1 <= 64
            inside = scene.image[int(y0) + 1 : int(y1) - 1, int(x0) + 1 : int(x1) - 1]
            red, green, _ = inside.reshape(-1, 3).astype(int).mean(0)
            if abs(red - green) > 5:  # not a grey one
                assert (red > green) == (words.noun == "kite")
        seen.add(tuple(words.noun for words in scene.things))
    assert len(seen) == 3  # each alone, and both
