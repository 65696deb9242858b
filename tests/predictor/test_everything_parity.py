"""Equal settings give SAM's own answer: the published generator on the same trained weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from segment_anything import SamAutomaticMaskGenerator
from segment_anything.modeling import MaskDecoder, PromptEncoder, TwoWayTransformer
from segment_anything.modeling import Sam as ReferenceSam
from torch import Tensor, nn

from perception.imaging.read import read_image
from perception.instances import Instances
from perception.predictor.everything import find_everything
from perception.predictor.everything_settings import EverythingSettings
from perception.predictor.whole import WholeImagePredictor
from perception.segmenters.load import load_nano
from perception.segmenters.torch_segmenter import TorchSegmenter
from perception.types import ImageArray

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
WEIGHTS = ROOT / "weights" / "nano-segmenter.safetensors"
SCENES = sorted((ROOT / "tests" / "data" / "scenes").glob("*.webp"))[::28]
# The published generator's time is nearly all of the tests': a small input keeps it short.
SIDE, CHANNELS = 160, 96
LENIENT = {"points_per_side": 7, "quality": 0.4, "stability": 0.5}
THEIR_NAMES = {
    "points_per_side": "points_per_side",
    "quality": "pred_iou_thresh",
    "stability": "stability_score_thresh",
    "crop_layers": "crop_n_layers",
    "crop_downscale": "crop_n_points_downscale_factor",
    "min_region": "min_mask_region_area",
}


class _Encoder(nn.Module):
    """Our image encoder as the published network wants it."""

    def __init__(self, encoder: nn.Module, side: int) -> None:
        super().__init__()
        self.encoder, self.img_size = encoder, side

    def forward(self, pixels: Tensor) -> Tensor:
        features: Tensor = self.encoder(pixels)
        return features


Networks = tuple[TorchSegmenter, ReferenceSam]


@pytest.fixture(scope="module")
def networks() -> Networks:
    """Trained nano as a segmenter of ours, and its weights in the published network."""
    sam = load_nano(WEIGHTS, side=SIDE)
    grid = SIDE // 8
    reference = ReferenceSam(
        _Encoder(sam.image_encoder, SIDE),  # type: ignore[arg-type]  # it only calls it
        PromptEncoder(CHANNELS, (grid, grid), (SIDE, SIDE), 16),
        MaskDecoder(
            transformer_dim=CHANNELS,
            transformer=TwoWayTransformer(2, CHANNELS, 4, 256),
            iou_head_depth=3,
            iou_head_hidden_dim=CHANNELS,
        ),
    ).eval()
    for part in ("prompt_encoder", "mask_decoder"):
        getattr(reference, part).load_state_dict(getattr(sam, part).state_dict(), strict=True)
    return TorchSegmenter(sam, name="nano"), reference


def both(
    networks: Networks, image: ImageArray, **settings: Any
) -> tuple[Instances, list[dict[str, Any]]]:
    """Our answer and the published generator's."""
    segmenter, reference = networks
    chosen = LENIENT | settings
    theirs = {THEIR_NAMES[name]: value for name, value in chosen.items()}
    generator = SamAutomaticMaskGenerator(reference, **theirs, output_mode="coco_rle")
    return (
        find_everything(WholeImagePredictor(segmenter), image, EverythingSettings(**chosen)),
        generator.generate(image),
    )


def overlaps(ours: Instances, theirs: list[dict[str, Any]]) -> Any:
    """IoU of each of our masks with each of theirs."""
    have = [{"size": rle.size, "counts": rle.counts.encode()} for rle in ours.rles]
    want = [mask["segmentation"] for mask in theirs]
    want = [{"size": rle["size"], "counts": rle["counts"].encode()} for rle in want]
    return np.asarray(coco_mask.iou(have, want, [0] * len(want)))


def unmatched(ours: Instances, theirs: list[dict[str, Any]]) -> int:
    """How many masks of either have no counterpart at IoU 0.99."""
    iou = overlaps(ours, theirs) > 0.99
    return int((~iou.any(axis=0)).sum() + (~iou.any(axis=1)).sum())


def test_ten_pictures(networks: Networks) -> None:
    total = strangers = 0
    for scene in SCENES[:10]:
        ours, theirs = both(networks, read_image(scene))
        total += len(ours) + len(theirs)
        strangers += unmatched(ours, theirs)
    assert total > 200
    assert strangers <= 0.01 * total


@pytest.mark.parametrize(
    "settings",
    [
        {"crop_layers": 1, "points_per_side": 5},
        {"crop_layers": 2, "crop_downscale": 2, "points_per_side": 8, "min_region": 40},
        {"points_per_side": 20, "min_region": 120},
    ],
)
def test_crops_and_small_regions(networks: Networks, settings: dict[str, int]) -> None:
    ours, theirs = both(networks, read_image(SCENES[3]), **settings)
    assert len(ours) >= 10
    assert unmatched(ours, theirs) == 0


def test_what_is_said_about_each_mask(networks: Networks) -> None:
    ours, theirs = both(networks, read_image(SCENES[2]), crop_layers=1, points_per_side=5)
    closest = overlaps(ours, theirs).argmax(axis=1)
    for annotation, match in zip(ours.to_coco()["annotations"], closest, strict=True):
        want = theirs[match]
        assert annotation["quality"] == pytest.approx(want["predicted_iou"], abs=2e-4)
        assert annotation["stability"] == pytest.approx(want["stability_score"], abs=5e-3)
        assert annotation["point_coords"][0] == pytest.approx(want["point_coords"][0], abs=0.01)
        assert annotation["crop_box"] == want["crop_box"]
        assert annotation["area"] == pytest.approx(want["area"], abs=2)
        # Their boxes end on the last pixel, ours behind it.
        assert np.subtract(annotation["bbox"], want["bbox"]).tolist() == [0, 0, 1, 1]
