"""SAM-HQ against transformers' own network on the same prompts, with one fault of it mended.

transformers 5 builds SAM-HQ's masks on the image's embedding with rows and columns swapped, in
place of the cells that its two-way transformer returns; the authors' code takes those cells. The
tests put them back before they compare.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import SamHQProcessor, SamImageProcessor

from perception.imaging.preprocess import fit_picture
from perception.segmenters.load import load_segmenter
from perception.segmenters.protocol import Segmenter
from perception.types import ImageArray, Prompt

from .given import BOX, SIZES, prompts
from .published_tiny import CELLS, SIDE, build_sam_hq

Draw = Callable[[int, int], ImageArray]


@pytest.fixture(scope="module")
def network() -> Any:
    return build_sam_hq()


@pytest.fixture(scope="module")
def segmenter(saved: dict[str, Path]) -> Segmenter:
    return load_segmenter("sam-hq", saved["sam-hq"], name="tiny", version="1")


@pytest.fixture(scope="module")
def processor() -> SamHQProcessor:
    return SamHQProcessor(
        SamImageProcessor(
            size={"longest_edge": SIDE},
            pad_size={"height": SIDE, "width": SIDE},
            mask_size={"longest_edge": CELLS},
            mask_pad_size={"height": CELLS, "width": CELLS},
        )
    )


@contextmanager
def mended(network: Any) -> Iterator[None]:
    """Gives the upscaling the cells that the two-way transformer returns."""
    seen = {}

    def keep(_module: Any, _inputs: Any, output: Any) -> None:
        seen["cells"] = output[1][:, 0]  # P x S x C

    def put_back(_module: Any, inputs: Any) -> Any:
        return (seen["cells"].transpose(1, 2).reshape(inputs[0].shape),)

    decoder = network.mask_decoder
    hooks = [
        decoder.transformer.register_forward_hook(keep),
        decoder.upscale_conv1.register_forward_pre_hook(put_back),
    ]
    yield
    for hook in hooks:
        hook.remove()


def asked(processor: Any, image: ImageArray, given: dict[str, Any]) -> dict[str, Any]:
    """The same prompt as transformers' network takes it, its places from its own processor."""
    prompt = Prompt(**given)
    inputs = processor(
        images=image,
        input_points=[prompt.points.tolist()] if len(prompt.points) else None,
        input_labels=[prompt.point_labels.tolist()] if len(prompt.points) else None,
        input_boxes=[prompt.boxes.tolist()] if len(prompt.boxes) else None,
        return_tensors="pt",
    )
    inputs["pixel_values"] = torch.from_numpy(fit_picture(image, SIDE)[1])
    if prompt.mask_logits is not None:
        inputs["input_masks"] = torch.from_numpy(prompt.mask_logits)[None]
    return {
        name: value.float() if value.is_floating_point() else value
        for name, value in inputs.items()
        if name.startswith(("input_", "pixel"))
    }


@pytest.mark.parametrize("size", SIZES, ids=lambda s: f"{s[0]}x{s[1]}")
@pytest.mark.parametrize("given", prompts(CELLS).values(), ids=prompts(CELLS))
def test_logits_and_quality_are_those_of_transformers(
    segmenter: Segmenter, network: Any, processor: Any, picture: Draw, size, given
) -> None:
    image = picture(*size)
    inputs = asked(processor, image, given)
    have = segmenter.decode(segmenter.encode(image), Prompt(**given))
    # It sorts the candidates by falling quality; ours stay in the order of their tokens.
    falling = 1 + np.argsort(-have.quality[0, 1:], kind="stable")
    for multimask, index in ((False, np.array([0])), (True, falling)):
        with mended(network):
            want = network(**inputs, multimask_output=multimask)
        largest = float(want.pred_masks.abs().max())
        logits = want.pred_masks[0, 0].numpy()
        # Its norms add 1e-6 to a variance, the authors' and ours 1e-5.
        np.testing.assert_allclose(have.logits[0, index], logits, rtol=0, atol=1e-4 * largest)
        quality = want.iou_scores[0, 0].numpy()
        np.testing.assert_allclose(have.quality[0, index], quality, rtol=0, atol=1e-4)


def test_the_fault_is_still_there(network: Any, processor: Any, picture: Draw) -> None:
    """When this fails, transformers is mended, and ``mended`` can go."""
    inputs = asked(processor, picture(48, 80), BOX)
    theirs = network(**inputs, multimask_output=False).pred_masks
    with mended(network):
        right = network(**inputs, multimask_output=False).pred_masks
    assert float((theirs - right).abs().max()) > 0.01 * float(right.abs().max())


def test_the_longest_side_fills_the_frame(segmenter: Segmenter, picture: Draw) -> None:
    embedding = segmenter.encode(picture(30, 60))
    assert not embedding.frame.stretched
    assert embedding.frame.resized_hw == (32, 64)
    assert [level.shape for level in embedding.features] == [(32, 4, 4), (4, 16, 16)]
