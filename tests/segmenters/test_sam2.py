"""SAM 2 against transformers' own network on the same prompts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import Sam2ImageProcessor, Sam2Processor

from perception.imaging.preprocess import fit_picture
from perception.segmenters.load import load_segmenter
from perception.segmenters.protocol import Segmenter
from perception.types import ImageArray, Prompt

from .given import BOX, POINT, SIZES, asked_of_transformers, earlier_mask, prompts
from .published_tiny import CELLS, SIDE, build_sam2, build_sam2_video, save

Draw = Callable[[int, int], ImageArray]


@pytest.fixture(scope="module")
def network() -> Any:
    return build_sam2()


@pytest.fixture(scope="module")
def segmenter(saved: dict[str, Path]) -> Segmenter:
    return load_segmenter("sam2", saved["sam2"], name="tiny", version="1")


@pytest.fixture(scope="module")
def processor() -> Sam2Processor:
    return Sam2Processor(Sam2ImageProcessor(size={"height": SIDE, "width": SIDE}))


def pixels(segmenter: Any, image: ImageArray) -> torch.Tensor:
    """Our pixels: theirs differ by what rounding the resized image to bytes changes."""
    return torch.from_numpy(fit_picture(image, SIDE, stretched=True)[1])


@pytest.mark.parametrize("size", SIZES, ids=lambda s: f"{s[0]}x{s[1]}")
@pytest.mark.parametrize("given", prompts(CELLS).values(), ids=prompts(CELLS))
def test_logits_and_quality_are_those_of_transformers(
    segmenter: Segmenter, network: Any, processor: Any, picture: Draw, size, given
) -> None:
    image = picture(*size)
    inputs = asked_of_transformers(processor, image, given)
    inputs["pixel_values"] = pixels(segmenter, image)
    have = segmenter.decode(segmenter.encode(image), Prompt(**given))
    for multimask, index in ((False, slice(0, 1)), (True, slice(1, 4))):
        want = network(**inputs, multimask_output=multimask)
        largest = float(want.pred_masks.abs().max())
        logits = want.pred_masks[0, 0].numpy()
        np.testing.assert_allclose(have.logits[0, index], logits, rtol=0, atol=1e-5 * largest)
        quality = want.iou_scores[0, 0].numpy()
        np.testing.assert_allclose(have.quality[0, index], quality, rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", SIZES, ids=lambda s: f"{s[0]}x{s[1]}")
def test_pixels_are_those_of_the_published_preprocessing(
    segmenter: Segmenter, processor: Any, picture: Draw, size
) -> None:
    image = picture(*size)
    want = processor(images=image, return_tensors="pt").pixel_values
    step = 1 / 255 / 0.224  # one of 256 levels
    assert float((pixels(segmenter, image) - want).abs().max()) <= 1.01 * step


@pytest.mark.parametrize("size", SIZES, ids=lambda s: f"{s[0]}x{s[1]}")
def test_masks_are_those_of_the_published_postprocessing(
    segmenter: Segmenter, processor: Any, picture: Draw, size
) -> None:
    have = segmenter.decode(segmenter.encode(picture(*size)), Prompt(**BOX))
    middle = np.median(have.logits[:, :1])  # random weights seldom cross 0: shift them
    logits = have.logits[:, :1] - middle
    (want,) = processor.post_process_masks([torch.from_numpy(logits)], [size])
    (mask,) = have.frame.logits_to_masks(logits[:, 0])
    assert mask.shape == size
    assert 0 < mask.sum() < mask.size
    assert (mask == want[0, 0].numpy()).mean() > 0.999


def test_the_hub_s_folder_holds_the_network_for_videos(tmp_path: Path, picture: Draw) -> None:
    network = build_sam2_video()
    segmenter = load_segmenter("sam2", save(network, tmp_path), name="tiny")
    image = picture(48, 80)
    decoded = segmenter.decode(segmenter.encode(image), Prompt(**POINT))
    alone = build_sam2()
    missing = alone.load_state_dict(network.state_dict(), strict=False).missing_keys
    assert not missing
    inputs = {
        "pixel_values": pixels(segmenter, image),
        "input_points": torch.tensor(decoded.frame.points_to_model([[3, 4]]))[None, None],
    }
    want = alone(**inputs, multimask_output=True)
    largest = float(want.pred_masks.abs().max())
    np.testing.assert_allclose(
        decoded.logits[0, 1:], want.pred_masks[0, 0].numpy(), rtol=0, atol=1e-5 * largest
    )


def test_a_single_answer_that_is_unstable_gives_way(tmp_path: Path, picture: Draw) -> None:
    kinds = {}
    for name, limit in (("never", -1.0), ("always", 2.0)):
        network = build_sam2(dynamic_multimask_stability_thresh=limit)
        segmenter = load_segmenter("sam2", save(network, tmp_path / name), name=name)
        kinds[name] = segmenter.decode(segmenter.encode(picture(48, 80)), Prompt(**BOX))
    best = int(kinds["never"].quality[0, 1:].argmax()) + 1
    assert not np.array_equal(kinds["never"].logits[0, 0], kinds["never"].logits[0, best])
    assert np.array_equal(kinds["always"].logits[0, 0], kinds["never"].logits[0, best])
    assert kinds["always"].quality[0, 0] == kinds["never"].quality[0, best]
    assert np.array_equal(kinds["always"].logits[0, 1:], kinds["never"].logits[0, 1:])


def test_an_earlier_mask_is_cut_to_what_training_saw(segmenter: Segmenter, picture: Draw) -> None:
    embedding = segmenter.encode(picture(48, 80))
    far = np.where(earlier_mask(CELLS)["mask_logits"] > 0, 500.0, -500.0)
    answers = [
        segmenter.decode(embedding, Prompt(**POINT, mask_logits=mask)).logits
        for mask in (far, np.clip(far, -32, 32))
    ]
    assert np.array_equal(*answers)
