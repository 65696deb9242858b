"""SAM 2 against transformers' own network on the same prompts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import Sam2ImageProcessor, Sam2Processor

from perception.errors import PromptError
from perception.frame import fit_picture
from perception.segmenter.protocol import Segmenter
from perception.segmenter.published import load_segmenter
from perception.types import Embedding, ImageArray, Prompt

from .published_tiny import SIDE, build_sam2, build_sam2_video, save

Draw = Callable[[int, int], ImageArray]
SIZES = [(64, 64), (48, 80), (97, 33), (30, 41), (211, 300), (5, 64)]
CELLS = 16

POINT = {"points": [[3, 4]]}
POINTS = {"points": [[3.25, 4], [20, 1], [0, 2]], "point_labels": [1, 0, 1]}
BOX = {"boxes": [[2, 1, 19.5, 4.75]]}
BOTH = {**POINTS, **BOX}
EARLIER = {"mask_logits": 4 * np.random.default_rng(0).normal(size=(1, CELLS, CELLS))}
PROMPTS = {
    "one point": POINT,
    "points": POINTS,
    "box": BOX,
    "points and box": BOTH,
    "point and earlier mask": {**POINT, **EARLIER},
    "points, box and earlier mask": {**BOTH, **EARLIER},
}


@pytest.fixture(scope="module")
def network() -> Any:
    return build_sam2()


@pytest.fixture(scope="module")
def folder(network: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(network, tmp_path_factory.mktemp("sam2"))


@pytest.fixture(scope="module")
def segmenter(folder: Path) -> Segmenter:
    return load_segmenter("sam2", folder, name="tiny", version="1")


@pytest.fixture(scope="module")
def processor() -> Sam2Processor:
    return Sam2Processor(Sam2ImageProcessor(size={"height": SIDE, "width": SIDE}))


def asked(processor: Any, image: ImageArray, given: dict[str, Any]) -> dict[str, Any]:
    """The same prompt as transformers' network takes it, from its own processor."""
    prompt = Prompt(**given)
    inputs = processor(
        images=image,
        input_points=[[prompt.points.tolist()]] if len(prompt.points) else None,
        input_labels=[[prompt.point_labels.tolist()]] if len(prompt.points) else None,
        input_boxes=[prompt.boxes.tolist()] if len(prompt.boxes) else None,
        return_tensors="pt",
    )
    inputs.pop("original_sizes")
    if prompt.mask_logits is not None:
        inputs["input_masks"] = torch.from_numpy(prompt.mask_logits)[None]
    return dict(inputs)


def pixels(segmenter: Any, image: ImageArray) -> torch.Tensor:
    """Our pixels: theirs differ by what rounding the resized picture to bytes changes."""
    return torch.from_numpy(fit_picture(image, SIDE, stretched=True)[1])


@pytest.mark.parametrize("size", SIZES, ids=lambda s: f"{s[0]}x{s[1]}")
@pytest.mark.parametrize("given", PROMPTS.values(), ids=PROMPTS)
def test_logits_and_quality_are_those_of_transformers(
    segmenter: Segmenter, network: Any, processor: Any, picture: Draw, size, given
) -> None:
    image = picture(*size)
    inputs = asked(processor, image, given)
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
    far = np.where(EARLIER["mask_logits"] > 0, 500.0, -500.0)
    answers = [
        segmenter.decode(embedding, Prompt(**POINT, mask_logits=mask)).logits
        for mask in (far, np.clip(far, -32, 32))
    ]
    assert np.array_equal(*answers)


def test_many_boxes_are_the_same_as_one_at_a_time(segmenter: Segmenter, picture: Draw) -> None:
    embedding = segmenter.encode(picture(40, 60))
    low = np.random.default_rng(1).uniform(0, 20, (35, 2))
    boxes = np.concatenate((low, low + 15), axis=1)
    masks = np.random.default_rng(2).normal(size=(35, CELLS, CELLS))
    for earlier in (None, masks):
        together = segmenter.decode(embedding, Prompt(boxes=boxes, mask_logits=earlier))
        assert together.logits.shape == (35, 4, CELLS, CELLS)
        for i in (0, 15, 34):
            one = None if earlier is None else earlier[i : i + 1]
            alone = segmenter.decode(embedding, Prompt(boxes=boxes[i : i + 1], mask_logits=one))
            largest = np.abs(alone.logits).max()
            assert np.abs(together.logits[i] - alone.logits[0]).max() <= 1e-5 * largest


def test_proposals_are_the_good_candidates(segmenter: Segmenter, picture: Draw) -> None:
    embedding = segmenter.encode(picture(40, 60))
    points = np.random.default_rng(3).uniform(0, 40, (20, 2)).astype(np.float32)
    each = [segmenter.decode(embedding, Prompt(points=[point])) for point in points]
    quality = np.concatenate([one.quality[:, 1:] for one in each])
    least = float(np.median(quality))
    found = segmenter.propose(embedding, points, least_quality=least)
    assert 0 < len(found) < 60
    for n, (point, mask) in enumerate(zip(found.prompt_ids, found.candidate_ids, strict=True)):
        want = each[point].logits[0, mask]
        assert np.abs(found.logits[n] - want).max() <= 1e-5 * np.abs(want).max()
    assert len(segmenter.propose(embedding, points, least_quality=2)) == 0


def test_nothing_asked_is_no_mask(segmenter: Segmenter, picture: Draw) -> None:
    embedding = segmenter.encode(picture(40, 60))
    none = segmenter.decode(embedding, Prompt())
    assert none.logits.shape[:2] == (0, 4)
    assert none.masks().shape == (0, 40, 60)
    assert len(segmenter.propose(embedding, np.zeros((0, 2), np.float32))) == 0


def test_an_embedding_from_a_file_answers_as_well(segmenter: Segmenter, picture: Draw) -> None:
    embedding = segmenter.encode(picture(40, 60))
    assert [level.shape for level in embedding.features] == [(32, 4, 4), (8, 8, 8), (4, 16, 16)]
    again = Embedding(embedding.features, embedding.frame, embedding.model)
    want, have = (segmenter.decode(one, Prompt(**BOX)).logits for one in (embedding, again))
    assert np.array_equal(have, want)


def test_the_embedding_of_another_model_is_refused(
    segmenter: Segmenter, folder: Path, picture: Draw
) -> None:
    other = load_segmenter("sam2", folder, name="tiny", version="2")
    with pytest.raises(PromptError, match="made by tiny 2, not by tiny 1"):
        segmenter.decode(other.encode(picture(40, 60)), Prompt(**BOX))


def test_an_earlier_mask_of_another_size_is_refused(segmenter: Segmenter, picture: Draw) -> None:
    with pytest.raises(PromptError, match="an earlier mask is 16 x 16 logits"):
        segmenter.decode(
            segmenter.encode(picture(40, 60)), Prompt(**POINT, mask_logits=np.zeros((1, 8, 8)))
        )


def test_a_batch_is_each_picture(segmenter: Any, picture: Draw) -> None:
    images = [picture(20, 31), picture(64, 64), picture(90, 11)]
    assert segmenter.encode_batch([]) == []
    for one, image in zip(segmenter.encode_batch(images), images, strict=True):
        alone = segmenter.encode(image)
        assert one.frame == alone.frame
        for have, want in zip(one.features, alone.features, strict=True):
            np.testing.assert_allclose(have, want, rtol=0, atol=1e-4 * np.abs(want).max())


def test_lower_precision_is_close(segmenter: Segmenter, folder: Path, picture: Draw) -> None:
    image = picture(64, 64)
    want = segmenter.encode(image).features
    lower = load_segmenter("sam2", folder, name="tiny", version="1", precision="bf16")
    embedding = lower.encode(image)
    for have, exact in zip(embedding.features, want, strict=True):
        assert have.dtype == np.float32
        assert 0 < np.abs(have - exact).max() < 0.1 * np.abs(exact).max()
    assert segmenter.decode(embedding, Prompt(**POINT)).logits.dtype == np.float32
