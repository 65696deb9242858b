"""Labels of marks sit in the largest part of their mask."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import pytest
from click_page import run_node

from perception.ops.masks import mask_to_rle
from perception.types import BoolArray

PLACED = """
const { anchorOf, freeSpot } = await load("labels.js");
const view = data.view ?? { scale: 1, x: 0, y: 0 };
const stage = data.stage ?? { width: 400, height: 300 };
const taken = [];
return data.rles.map((rle) => {
  const spot = freeSpot({ rle }, data.width ?? 60, taken, { view, stage });
  if (spot) taken.push(spot);
  return { anchor: anchorOf(rle), spot };
});
"""


def rle_of(mask: BoolArray) -> dict:
    return {"size": list(mask.shape), "counts": mask_to_rle(mask).counts}


def placed(*masks: BoolArray, **more: object) -> list[dict]:
    return run_node(PLACED, {"rles": [rle_of(mask) for mask in masks], **more})


def blobs(seed: int) -> BoolArray:
    """A mask of several parts, some with holes."""
    rng = np.random.default_rng(seed)
    noise = cv2.GaussianBlur(rng.normal(size=(150, 200)), (0, 0), 3 + seed % 5)
    return noise > np.quantile(noise, 0.4 + 0.08 * (seed % 6))


def largest(mask: BoolArray) -> tuple[BoolArray, list[int]]:
    """The largest 4-connected part and its box x0, y0, x1, y1."""
    _, parts, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    best = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    x, y, width, height = (int(n) for n in stats[best, :4])
    return parts == best, [x, y, x + width, y + height]


def test_a_label_is_inside_the_largest_part() -> None:
    masks = [blobs(seed) for seed in range(30)]
    for mask, answer in zip(masks, placed(*masks), strict=True):
        part, box = largest(mask)
        x, y = (int(at) for at in answer["anchor"]["place"])
        assert answer["anchor"]["box"] == box
        inside = cv2.distanceTransform(np.pad(part, 1).astype(np.uint8), cv2.DIST_L2, 5)
        assert inside[y + 1, x + 1] >= 0.7 * inside.max()


@pytest.mark.parametrize("shape", ["ring", "line", "diagonal", "dot", "large"])
def test_a_part_without_a_middle(shape: str) -> None:
    y, x = np.mgrid[:150, :200]
    far = np.hypot(x - 100, y - 75)
    mask = {
        "ring": (far < 60) & (far > 50),
        "line": (x == 30) & (y > 20),
        "diagonal": x == y,
        "dot": (x == 17) & (y == 3),
        "large": np.broadcast_to(far >= 0, (150, 200)),
    }[shape]
    (answer,) = placed(mask)
    place = answer["anchor"]["place"]
    assert mask[int(place[1]), int(place[0])]
    if shape == "large":
        assert np.allclose(place, (100, 75), atol=3)


def test_an_empty_mask_has_none() -> None:
    assert placed(np.zeros((20, 20), bool)) == [{"anchor": None, "spot": None}]


def test_a_label_covers_no_crumb_and_lies_in_no_gap() -> None:
    mask = np.zeros((300, 400), bool)
    mask[5:12, 5:380] = True  # Above all, and smaller than the part below it.
    mask[100:280, 150:350] = True
    mask[120:260, 170:330] = False
    mask[100:280, 300:350] = True
    spot = placed(mask)[0]["spot"]
    middle = spot["x"] + spot["width"] / 2, spot["y"] + 9
    assert mask[int(middle[1]), int(middle[0])]
    assert middle[1] > 100


def test_a_small_thing_stays_in_sight() -> None:
    mask = np.zeros((300, 400), bool)
    mask[200:220, 100:130] = True
    spot = placed(mask)[0]["spot"]
    assert spot["y"] + 18 <= 200
    assert spot["x"] < 115 < spot["x"] + spot["width"]


def test_labels_leave_room_for_each_other_and_stay_on_the_stage() -> None:
    mask = np.zeros((300, 400), bool)
    mask[:, :300] = True
    spots = [one["spot"] for one in placed(*[mask] * 12)]
    tops = sorted(spot["y"] for spot in spots)
    assert all(later - earlier >= 18 for earlier, later in pairwise(tops))
    assert tops[0] >= 2
    assert tops[-1] <= 300 - 18 - 2


def test_a_label_comes_along_into_a_closer_view() -> None:
    mask = np.zeros((300, 400), bool)
    mask[50:250, 50:350] = True
    close = {"scale": 10, "x": -600.0, "y": -600.0}
    spot = placed(mask, view=close)[0]["spot"]
    assert 0 <= spot["x"] <= 400 - spot["width"]
    mask[:, :200] = False  # The part is now to the right of what can be seen.
    assert placed(mask, view=close)[0]["spot"] is None
