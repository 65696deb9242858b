"""What the tests of the tools share: a painter, where the emoji font is there; small work."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from scenes import glyphs
from scenes.scene import Painter
from segmentation_batches import SegmentationBatch
from system_tools import need

from perception.segmenters.sam.prompt_encoder import BOTTOM_RIGHT, IN, PAD, TOP_LEFT

CATEGORIES = [{"id": 1, "name": "kite"}, {"id": 7, "name": "fire hydrant"}]
BATCH_SIDE = 64
THINGS = [(1, (4, 4, 36, 26)), (7, (50, 20, 20, 24))]


@pytest.fixture(scope="session", autouse=True)
def _skip_drawing_without_font() -> Iterator[None]:
    """Skip whatever draws glyphs, by any way, where this machine has no emoji font."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(glyphs, "find_font", find_font_or_skip)
        yield


def find_font_or_skip() -> Path:
    found = next((path for path in glyphs.FONT_PATHS if path.is_file()), None)
    return need(found, "the emoji font (apt-get install fonts-noto-color-emoji)")


@pytest.fixture(scope="session")
def painter() -> Painter:
    return Painter()


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """These networks are too small to share out; a batch sets OpenCV's threads for good."""
    threads, cv_threads = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    cv2.setNumThreads(cv_threads)


def write_photograph(data: Path, folder: str, file: str, *, crowd: bool = False) -> None:
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
    """A folder as --data has it, with one photograph that counts, of a kite and a fire hydrant."""
    write_photograph(tmp_path, "coco_train92", "instances.json", crowd=True)
    write_photograph(tmp_path, "photos_permissive", "boxes.json")
    return tmp_path


@pytest.fixture
def batch() -> SegmentationBatch:
    """Four images of a bright square each: two asked for by its box, two by its middle."""
    images = torch.full((4, BATCH_SIDE, BATCH_SIDE, 3), 40, dtype=torch.uint8)
    masks = torch.zeros(4, BATCH_SIDE, BATCH_SIDE, dtype=torch.bool)
    boxes = [(8, 16, 40, 48), (24, 4, 60, 36)] * 2
    for k, (x0, y0, x1, y1) in enumerate(boxes):
        images[k, y0:y1, x0:x1] = 230
        masks[k, y0:y1, x0:x1] = True
    corners = torch.tensor(boxes, dtype=torch.float32).reshape(4, 2, 2)
    middles = torch.stack((corners.mean(1), torch.zeros(4, 2)), dim=1)
    labels = torch.tensor([[TOP_LEFT, BOTTOM_RIGHT]] * 2 + [[IN, PAD]] * 2)
    return SegmentationBatch(images, torch.cat((corners[:2], middles[2:])), labels, masks, 2)
