"""Segment everything with a segmenter that looks at colors: order, filters, crops, emptiness."""

from dataclasses import replace

import numpy as np
import pytest
from fakes import ColorSegmenter, drawing

from perception.imaging.preprocess import Frame
from perception.ops.boxes import nms
from perception.ops.masks import mask_to_rle, rle_area
from perception.predictor.everything import find_everything
from perception.predictor.everything_settings import EverythingSettings
from perception.predictor.whole import WholeImagePredictor
from perception.predictor.zoom import ZoomPredictor
from perception.types import Embedding, Proposals

RED, BLUE = [8, 8, 40, 40], [64, 32, 112, 80]


def everything(image=None, segmenter=None, *, step=None, **settings):
    picture = drawing() if image is None else image
    options = EverythingSettings(**({"points_per_side": 8, "stability": 0.9} | settings))
    return find_everything(
        WholeImagePredictor(segmenter or ColorSegmenter()), picture, options, step=step
    )


class Scripted:
    """Answers each point with the masks that a table names: x -> (quality, box, how soft)."""

    name = "scripted"

    def __init__(self, table):
        self.table = table
        self.batches = []

    def encode(self, image):
        return Embedding(np.zeros((1, 1, 1)), Frame(image.shape[:2], 64), self.name)

    def propose(self, embedding, points, *, least_quality=-np.inf):
        self.batches.append(len(points))
        rows = []
        for n, (x, _) in enumerate(points):
            for candidate, (quality, (x0, y0, x1, y1), edge) in enumerate(self.table[int(x)], 1):
                if quality >= least_quality:
                    logits = np.full((64, 64), -9, np.float32)
                    logits[y0:y1, x0:x1] = 9
                    logits[y0, x0:x1] = edge
                    rows.append((logits, quality, n, candidate))
        logits, quality, prompts, candidates = zip(*rows, strict=True) if rows else ((),) * 4
        return Proposals(np.array(logits), quality, prompts, candidates, embedding.frame)


def ask(table, **settings):
    """Asks at (x + 0.5, 0.5) for every x of a table, in an image of 64 x 64."""
    grid = [[(x + 0.5) / 64, 0.5 / 64] for x in table]
    segmenter = Scripted(table)
    return everything(np.zeros((64, 64, 3), np.uint8), segmenter, grid=grid, **settings), segmenter


def test_all_things_of_a_drawing():
    found = everything()
    assert len(found) == 3  # and the paper around them
    assert sorted(found.boxes.tolist()) == sorted([RED, BLUE, [0, 0, 128, 96]])
    assert found.classes == ("object",)
    np.testing.assert_allclose(found.scores, 0.9)
    assert found.crop_boxes.tolist() == [[0, 0, 128, 96]] * 3
    assert set(found.seconds) == {"encode", "decode", "masks", "select"}
    for n, (x, y) in enumerate(found.points):
        assert found.masks[n, int(y), int(x)]
    assert [rle_area(rle) for rle in found.rles] == found.areas.tolist()


def test_masks_fall_by_quality_and_keep_what_made_them():
    table = {
        5: [(0.91, (0, 0, 30, 30), 9)],
        9: [(0.95, (40, 40, 60, 60), 9), (0.2, (0, 50, 9, 59), 9), (0.93, (2, 40, 20, 60), 9)],
    }
    found, _ = ask(table)
    np.testing.assert_allclose(found.quality, [0.95, 0.93, 0.91])
    np.testing.assert_allclose(found.points[:, 0], [9.5, 9.5, 5.5])
    np.testing.assert_allclose(found.points[:, 1], 0.5)
    assert found.boxes[2].tolist() == [0, 0, 30, 30]


@pytest.mark.parametrize(
    ("settings", "left"),
    [
        ({}, ["soft", "sharp"]),
        ({"quality": 0.96}, []),
        ({"quality": 0.93}, ["soft"]),
        ({"quality": 0.5}, ["soft", "sharp", "low"]),
        ({"stability": 0.99}, ["sharp"]),
        ({"stability": 0.99, "stability_offset": 0.2}, ["soft", "sharp", "wobbly"]),
        ({"stability": 0.0}, ["soft", "sharp", "wobbly"]),
        ({"quality": 0.0, "stability": 0.0}, ["soft", "sharp", "wobbly", "low", "below zero"]),
        ({"min_area": 400}, ["soft", "sharp"]),
        ({"min_area": 401}, ["soft"]),
        ({"min_area": 901}, []),
    ],
)
def test_thresholds(settings, left):
    """An edge at 0.5 is inside, but not where the threshold is moved up by 1."""
    named = {
        "soft": (0.94, (0, 0, 30, 30), 0.5),
        "sharp": (0.92, (40, 20, 60, 40), 9),
        "wobbly": (0.90, (40, 2, 60, 5), 0.5),
        "low": (0.6, (40, 40, 60, 60), 9),
        "below zero": (-0.1, (2, 40, 20, 60), 9),
    }
    masks = list(named.values())
    found, _ = ask({1: masks[:3], 2: masks[3:]}, **settings)
    np.testing.assert_allclose(found.quality, [named[name][0] for name in left])


def test_of_masks_that_are_alike_the_best_stays():
    table = {
        1: [(0.9, (0, 0, 30, 30), 9)],
        2: [(0.95, (0, 0, 30, 28), 9)],
        3: [(0.99, (0, 0, 30, 10), 9)],
    }
    assert ask(table)[0].quality.tolist() == pytest.approx([0.99, 0.95])
    assert ask(table, nms=0.95)[0].quality.tolist() == pytest.approx([0.99, 0.95, 0.9])
    assert ask(table, nms=0.2)[0].quality.tolist() == pytest.approx([0.99])


def test_points_come_in_batches_and_steps_are_told():
    table = {x: [(0.9, (0, 0, 30, 30), 9)] for x in range(10)}
    steps = []
    _, segmenter = ask(table, points_per_batch=4, step=steps.append)
    assert segmenter.batches == steps == [4, 4, 2]


def test_batches_change_nothing():
    one, many = everything(points_per_batch=1), everything()
    assert one.rles == many.rles
    np.testing.assert_array_equal(one.points, many.points)


def test_crops_are_asked_too_and_preferred():
    segmenter = ColorSegmenter()
    steps = []
    found = everything(segmenter=segmenter, crop_layers=1, points_per_side=4, step=steps.append)
    assert segmenter.encoded == 5
    assert sum(steps) == 16 * 5
    (red,) = np.flatnonzero((np.abs(found.boxes - RED) <= 1).all(axis=1))
    assert found.crop_boxes[red].tolist() == [0, 0, 80, 64]
    x, y = found.points[red]
    assert found.masks[red, int(y), int(x)]
    assert found.image_hw == (96, 128)


def test_what_a_crop_cuts_is_left_out():
    """The blue square reaches out of three of the four crops."""
    found = everything(crop_layers=1, points_per_side=4)
    whole = [0, 0, 128, 96]
    for box, crop in zip(found.boxes, found.crop_boxes, strict=True):
        cut = (np.abs(box - crop) < 20) & (np.abs(box - whole) >= 20)
        assert not cut.any()


def test_small_regions():
    image = drawing(things=[("red", (8, 8, 60, 60)), ("blue", (30, 30, 34, 34))])
    image[70:73, 10:13] = image[9, 9]
    grid = {"grid": [[15 / 128, 15 / 96]], "stability": 0.0, "quality": 0.8}
    (before,) = everything(image, **grid).areas
    cleaned = everything(image, **grid, min_region=40)
    assert cleaned.boxes.tolist() == [[8, 8, 60, 60]]
    assert cleaned.areas[0] > before
    assert cleaned.masks[0, 32, 32]


def test_clean_up_prefers_masks_that_need_none():
    """Two masks become alike when one loses its tail: the better one, and it goes."""

    class Tailed(Scripted):
        def propose(self, embedding, points, *, least_quality=-np.inf):
            made = super().propose(embedding, points, least_quality=least_quality)
            logits = made.logits.copy()
            logits[0, 50:53, 50:53] = 9
            return replace(made, logits=logits)

    table = {1: [(0.99, (2, 2, 30, 30), 9)], 2: [(0.9, (2, 2, 30, 30), 9)]}
    grid = [[1.5 / 64, 0], [2.5 / 64, 0]]
    picture = np.zeros((64, 64, 3), np.uint8)
    assert len(everything(picture, Tailed(table), grid=grid)) == 2
    (left,) = everything(picture, Tailed(table), grid=grid, min_region=20).quality
    assert left == np.float32(0.9)


def test_nothing_found():
    for settings in ({}, {"crop_layers": 1}, {"min_region": 10}):
        found = everything(quality=1.0, **settings)
        assert len(found) == 0
        assert found.rles == ()
        assert found.points.shape == (0, 2)
        assert found.crop_boxes.shape == (0, 4)
        assert found.to_coco()["annotations"] == []


@pytest.mark.parametrize("image_hw", [(1, 1), (1, 50), (50, 1), (3, 2)])
@pytest.mark.parametrize("layers", [0, 2])
def test_tiny_and_thin_pictures(image_hw, layers):
    image = np.full((*image_hw, 3), 255, np.uint8)
    found = everything(image, points_per_side=2, crop_layers=layers)
    assert len(found) > 0
    assert {rle.size for rle in found.rles} == {image_hw}


def test_boxes_and_masks_agree():
    for rle, mask in zip(everything().rles, everything().masks, strict=True):
        assert mask_to_rle(mask) == rle


def test_small_boxes_are_compared_as_sam_does():
    """Up to their last pixel: of 3 x 3 and 3 x 4 pixels the IoU is then 2 / 3, not 3 / 4."""
    table = {1: [(0.95, (4, 4, 7, 7), 9)], 2: [(0.9, (4, 4, 7, 8), 9)]}
    found, _ = ask(table, stability=0.0)
    assert len(found) == 2
    assert len(nms(found.boxes, found.scores, iou_threshold=0.7)) == 1


def test_what_fell_at_which_limit_is_counted():
    good, worse, soft = (
        (0.9, (8, 8, 24, 24), 9),
        (0.5, (8, 8, 24, 24), 9),
        (0.9, (8, 8, 24, 24), 0.5),
    )
    tiny = (0.95, (40, 40, 42, 42), 9)
    found, _ = ask(
        {1: (good, worse, soft), 2: (good, good, tiny)}, quality=0.6, stability=0.95, min_area=9
    )
    assert len(found) == 1
    assert found.dropped == {
        "candidates": 6,
        "quality": 1,
        "stability": 1,
        "cut": 0,
        "repeated": 2,
        "small": 1,
    }


def test_every_candidate_is_kept_or_counted():
    for settings in ({}, {"crop_layers": 1}, {"min_region": 9, "min_area": 50}, {"quality": 0.0}):
        found = everything(**settings)
        fell = sum(n for name, n in found.dropped.items() if name != "candidates")
        assert len(found) + fell == found.dropped["candidates"] > 0


class Doubtful(ColorSegmenter):
    """A lone point's masks are believed less than any limit, a box's are not."""

    def __init__(self):
        super().__init__()
        self.sizes = []

    def encode(self, image):
        self.sizes.append(image.shape[:2])
        return super().encode(image)

    def decode(self, embedding, prompt):
        found = super().decode(embedding, prompt)
        share = 0.5 if prompt.is_ambiguous else 1
        return replace(found, quality=found.quality * np.float32(share))


def zoomed(image, segmenter=None, **settings):
    options = EverythingSettings(**{"points_per_side": 8, "stability": 0.0} | settings)
    return find_everything(ZoomPredictor(segmenter or Doubtful()), image, options)


def test_a_predictor_that_zooms_predicts_proposals_again_by_their_boxes():
    image, segmenter = drawing(96, 128), Doubtful()
    found = zoomed(image, segmenter)
    assert segmenter.sizes[0] == (96, 128)
    assert (48, 48) in segmenter.sizes  # 1.5 times the 32 pixels of the red object
    assert any(np.abs(box - (8, 8, 40, 40)).max() <= 1 for box in found.boxes)
    assert found.quality == pytest.approx([0.95] * len(found))
    assert len(everything(drawing(96, 128), Doubtful(), stability=0.0)) == 0
    fallen = found.dropped
    left = sum(fallen[one] for one in ("quality", "stability", "cut", "repeated", "small"))
    assert fallen["candidates"] == left + len(found)


def test_limits_are_of_the_second_predictions(monkeypatch):
    image = drawing(96, 128)
    assert len(zoomed(image, quality=0.96)) == 0
    assert (zoomed(image, min_area=40 * 40).areas >= 40 * 40).all()
    monkeypatch.setattr("perception.predictor.everything._PREDICTED_AGAIN", 1)
    found = zoomed(image, quality=0.0)
    assert found.quality[0] == pytest.approx(0.95)
    assert found.quality[1:].max() < 0.5
    assert len(zoomed(image)) == 1
