"""Settings of segment-everything: SAM's defaults, checked at once."""

import inspect
import json

import numpy as np
import pytest

from perception.errors import PromptError
from perception.predictor.everything_settings import Crop, EverythingSettings

REFERENCE = {
    "points_per_side": "points_per_side",
    "points_per_batch": "points_per_batch",
    "quality": "pred_iou_thresh",
    "stability": "stability_score_thresh",
    "stability_offset": "stability_score_offset",
    "nms": "box_nms_thresh",
    "crop_layers": "crop_n_layers",
    "crop_nms": "crop_nms_thresh",
    "crop_overlap": "crop_overlap_ratio",
    "crop_downscale": "crop_n_points_downscale_factor",
    "min_region": "min_mask_region_area",
}


def test_defaults_are_sams():
    generator = pytest.importorskip("segment_anything").SamAutomaticMaskGenerator
    theirs = inspect.signature(generator).parameters
    ours = EverythingSettings().to_info()
    assert ours.pop("min_area") == 0
    assert ours == {name: theirs[their].default for name, their in REFERENCE.items()}


def test_points_are_counted():
    assert EverythingSettings().point_count == 1024
    assert EverythingSettings(points_per_side=8, crop_layers=2).point_count == 64 * 21
    halved = EverythingSettings(points_per_side=9, crop_layers=2, crop_downscale=2)
    assert halved.point_count == 81 + 4 * 16 + 16 * 4
    assert [len(halved.grid_of(Crop(0, 0, 9, 9, layer))) for layer in range(3)] == [81, 16, 4]
    assert EverythingSettings(grid=[[0.1, 1], [0, 0.5]], crop_layers=1).point_count == 10
    one = EverythingSettings(points_per_side=2, crop_layers=1, crop_downscale=99)
    assert one.point_count == 8


def test_info_is_json():
    grid = EverythingSettings(grid=np.array([[0.25, 0.5]], np.float32))
    info = grid.to_info()
    assert info["grid"] == [[0.25, 0.5]]
    assert "points_per_side" not in info
    assert json.loads(json.dumps(info)) == info
    assert "grid" not in EverythingSettings().to_info()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"points_per_side": 0}, "points_per_side is a whole number of at least 1, got 0"),
        ({"points_per_side": 2.5}, "whole number"),
        ({"points_per_batch": 0}, "points_per_batch is"),
        ({"crop_downscale": 0}, "crop_downscale is"),
        ({"crop_layers": -1}, "crop_layers is a whole number of at least 0"),
        ({"crop_layers": 10**6}, "crop_layers is at most 8, got 1000000"),
        ({"min_area": -5}, "min_area is"),
        ({"min_region": -1}, "min_region is"),
        ({"quality": 88}, "quality is a number between 0 and 1, got 88"),
        ({"quality": float("nan")}, "quality is a number between"),
        ({"stability": -0.1}, "stability is a number between"),
        ({"nms": 1.1}, "nms is a number between"),
        ({"crop_nms": 2}, "crop_nms is a number between"),
        ({"crop_overlap": 1}, "crop_overlap is less than 1"),
        ({"stability_offset": -1}, "stability_offset is"),
        ({"grid": []}, "N x 2"),
        ({"grid": [[1, 2, 3]]}, r"grid: expected an array of shape \? x 2"),
        ({"grid": [[0.5, 20]]}, "divide pixels"),
        ({"points_per_side": 317}, "100489 points are more than the 100000"),
        ({"points_per_side": 10**9}, "fewer points_per_side or crop_layers"),
        ({"crop_layers": 4}, "349184 points"),
    ],
)
def test_settings_that_can_not_be_used(setting, message):
    with pytest.raises(PromptError, match=message):
        EverythingSettings(**setting)
