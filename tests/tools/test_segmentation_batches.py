from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from clicks import point_in
from numpy.random import Generator
from photos import Backgrounds, BoxedPhotos, MaskedPhotos, MaskedPicture
from PIL import Image
from scenes.scene import Painter
from segmentation_batches import (
    LEAST_PIXELS,
    Artist,
    SegmentationBatch,
    SegmentationBatches,
    loose_box,
)

from perception.errors import ImageError
from perception.ops.masks import mask_to_box, mask_to_rle
from perception.segmenters.sam.prompt_encoder import BOTTOM_RIGHT, IN, PAD, TOP_LEFT

SIDE, SIZE = 64, 3


def disc(side: int = 40, radius: float = 12, hole: float = 0) -> np.ndarray:
    y, x = np.mgrid[:side, :side] - side / 2 + 0.5
    distance = np.hypot(x, y)
    return (distance < radius) & (distance >= hole)


def rng(seed: int = 0) -> Generator:
    return np.random.default_rng(seed)


def test_a_loose_box_stays_near_the_mask_and_in_the_picture() -> None:
    mask = np.zeros((40, 40), bool)
    mask[:10, 5:30] = True
    tight = mask_to_box(mask)
    boxes = np.stack([loose_box(mask, rng(k)) for k in range(200)])
    assert (boxes == tight).all(axis=1).mean() > 0.2  # a third are exact
    assert (boxes >= 0).all()
    assert (boxes <= 40).all()
    size = np.array([25, 10, 25, 10])
    assert (np.abs(boxes - tight) <= 0.15 * size + 1e-4).all()
    assert np.abs(boxes - tight).max() > 1


@pytest.mark.parametrize(
    "mask", [disc(), disc(hole=9), disc(radius=1)], ids=["disc", "ring", "dot"]
)
def test_a_point_lies_in_its_mask(mask: np.ndarray) -> None:
    for k in range(100):
        x, y = point_in(mask, rng(k))
        assert mask[int(y), int(x)]


def test_some_points_are_as_deep_inside_as_it_goes() -> None:
    points = np.array([point_in(disc(), rng(k)) for k in range(100)])
    deep = (np.abs(points - 20) <= 1.5).all(axis=1)
    assert 0.15 < deep.mean() < 0.6


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder as --data names it: one photograph with two things and a crowd, one without."""
    things = [(4, 4, 40, 30), (50, 20, 70, 44)]
    image = np.full((48, 80, 3), (10, 200, 60), np.uint8)
    annotations = []
    for number, (x0, y0, x1, y1) in enumerate([*things, (0, 0, 80, 48)]):
        mask = np.zeros((48, 80), bool)
        mask[y0:y1, x0:x1] = True
        if number < 2:
            image[mask] = (250, 20 * number, 0)
        rle = {"size": [48, 80], "counts": mask_to_rle(mask).counts}
        annotation = {"id": number + 1, "image_id": 1, "category_id": 1, "segmentation": rle}
        annotations.append(annotation | {"iscrowd": int(number == 2)})
    folder = tmp_path / "coco_train92"
    for where in (folder, tmp_path / "photos_permissive"):
        (where / "images").mkdir(parents=True)
        Image.fromarray(image).save(where / "images" / "one.jpg", quality=98, subsampling=0)
        Image.fromarray(image).save(where / "images" / "two.jpg", quality=98, subsampling=0)
    size = {"height": 48, "width": 80}
    images = [{"id": 1, "file_name": "one.jpg"} | size, {"id": 2, "file_name": "two.jpg"} | size]
    text = json.dumps({"images": images, "annotations": annotations, "categories": []})
    (folder / "instances.json").write_text(text, encoding="utf-8")
    boxes = [
        {"id": k, "image_id": 1, "category_id": 1, "bbox": [x0, y0, x1 - x0, y1 - y0], "iscrowd": 0}
        for k, (x0, y0, x1, y1) in enumerate(things)
    ]
    text = json.dumps({"images": images, "annotations": boxes, "categories": []})
    (tmp_path / "photos_permissive" / "boxes.json").write_text(text, encoding="utf-8")
    return tmp_path


def test_photographs_are_cut_with_their_masks(photos: Path) -> None:
    masked = MaskedPhotos(photos / "coco_train92")
    assert len(masked.photos) == 1  # the one with things; its crowd isn't one
    counts = set()
    for k in range(20):
        picture = masked.cut(64, rng(k))
        assert picture.image.shape == (64, 64, 3)
        assert picture.image.dtype == np.uint8
        assert picture.masks.shape[1:] == (64, 64)
        assert picture.masks.dtype == bool
        for mask in picture.masks:  # the mask lies on the red thing, flipped or not
            assert np.median(picture.image[mask][:, 0]) > 200
        counts.add(len(picture.masks))
    assert max(counts) == 2


def test_a_photograph_is_cut_around_a_click(photos: Path) -> None:
    masked = MaskedPhotos(photos / "coco_train92")
    clicked = 0
    for k in range(40):
        picture = masked.cut(64, rng(k), close=0.5, near=0.5)
        for mask in picture.masks:
            assert np.median(picture.image[mask][:, 0]) > 200
        if picture.click:
            clicked += 1
            x, y = picture.click
            assert picture.masks[picture.chosen, int(y), int(x)]
            assert 28 <= x <= 36
            assert 28 <= y <= 36
    assert 12 <= clicked <= 28


def test_the_chosen_thing_keeps_its_number_without_small_ones() -> None:
    masks = np.zeros((3, 8, 8), bool)
    masks[1, :2, :2] = True
    masks[2, 3:, 3:] = True
    picture = MaskedPicture(np.zeros((8, 8, 3), np.uint8), masks, chosen=2, click=(5, 5))
    kept = picture.with_masks_of(10)
    assert (len(kept.masks), kept.chosen, kept.click) == (1, 0, (5, 5))
    lost = picture.with_masks_of(26)
    assert (len(lost.masks), lost.chosen, lost.click) == (0, -1, None)
    assert replace(picture, chosen=-1).with_masks_of(10).chosen == -1


def test_a_background_is_stretched_to_the_size(photos: Path) -> None:
    backgrounds = Backgrounds(photos / "photos_permissive", longest=40)
    assert [photo.shape for photo in backgrounds.photos] == [(24, 40, 3)] * 2
    assert backgrounds.cut((30, 20), rng()).shape == (30, 20, 3)


def test_a_photograph_that_is_missing_is_named(photos: Path) -> None:
    (photos / "coco_train92" / "images" / "one.jpg").unlink()
    with pytest.raises(ImageError, match=r"one\.jpg: no such file"):
        MaskedPhotos(photos / "coco_train92")


@pytest.mark.parametrize("with_photos", [False, True])
def test_every_picture_has_a_thing(painter: Painter, photos: Path, with_photos: bool) -> None:
    artist = Artist(photos if with_photos else None)
    for k in range(12):
        picture = artist.draw(SIDE, rng(k), close=0.4, near=0.4)
        assert picture.image.shape == (SIDE, SIDE, 3)
        assert len(picture.masks) > 0
        assert (picture.masks.sum((1, 2)) >= LEAST_PIXELS).all()


def test_photographs_get_masks_from_another_file(photos: Path) -> None:
    masks = photos / "coco_train92" / "instances.json"
    artist = Artist(photos, masks)
    assert len(artist.photos) == 2
    taken = [artist.photos.index(artist._photos(rng(k))) for k in range(100)]
    assert 30 < sum(taken) < 70
    for k in range(8):
        assert len(artist.draw(SIDE, rng(k)).masks) > 0


@pytest.fixture(scope="module")
def batch(painter: Painter) -> SegmentationBatch:
    return next(iter(SegmentationBatches(side=SIDE, size=SIZE, seed=0, data=None)))


def test_a_batch(batch: SegmentationBatch) -> None:
    assert batch.images.shape == (SIZE, SIDE, SIDE, 3)
    assert batch.images.dtype == torch.uint8
    assert batch.coords.shape == (SIZE, 2, 2)
    assert batch.coords.dtype == torch.float32
    assert batch.boxes == 2
    assert batch.labels.tolist() == [[TOP_LEFT, BOTTOM_RIGHT]] * 2 + [[IN, PAD]]
    assert batch.masks.shape == (SIZE, SIDE, SIDE)
    assert batch.masks.flatten(1).any(1).all()


def test_the_prompts_of_a_batch_mean_their_masks(batch: SegmentationBatch) -> None:
    boxes = batch.boxes
    for (x, y), mask in zip(batch.coords[boxes:, 0], batch.masks[boxes:], strict=True):
        assert mask[int(y), int(x)]
    for corners, mask in zip(batch.coords[:boxes], batch.masks[:boxes], strict=True):
        tight = mask_to_box(mask.numpy())
        size = np.tile(tight[2:] - tight[:2], 2)
        assert (np.abs(corners.reshape(4).numpy() - tight) <= 0.15 * size + 1e-3).all()


def test_batches_follow_from_the_seed(batch: SegmentationBatch) -> None:
    again, other = (
        next(iter(SegmentationBatches(side=SIDE, size=SIZE, seed=seed, data=None)))
        for seed in (0, 1)
    )
    assert batch.weak is None
    for name, value in vars(batch).items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(getattr(again, name), value), name
    assert not torch.equal(other.images, batch.images)


def test_with_photographs_some_pictures_have_boxes_alone(painter: Painter, photos: Path) -> None:
    batches = SegmentationBatches(side=SIDE, size=10, seed=0, data=photos)
    batch = next(iter(batches))
    assert batch.images.shape == (9, SIDE, SIDE, 3)
    weak = batch.weak
    assert weak is not None
    assert weak.images.shape == (1, SIDE, SIDE, 3)
    assert weak.coords.shape == (1, 2, 2)
    assert (weak.coords[:, 0] < weak.coords[:, 1]).all()
    assert weak.alike.shape == (1, 4, SIDE // 2, SIDE // 2)
    again = next(iter(batches)).weak
    assert again is not None
    assert torch.equal(again.images, weak.images)


def test_things_without_masks_are_shown_with_their_boxes(photos: Path) -> None:
    boxed = BoxedPhotos(photos / "photos_permissive")
    for k in range(20):
        image, box = boxed.cut(SIDE, rng(k), close=0.5)
        x0, y0, x1, y1 = box.round().astype(int)
        assert np.median(image[y0 + 1 : y1 - 1, x0 + 1 : x1 - 1, 0]) > 200
