from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from segment_anything import SamPredictor

from perception.errors import ImageError, PromptError
from perception.segmenters.protocol import Segmenter
from perception.segmenters.sam.network import Sam
from perception.segmenters.torch_segmenter import TorchSegmenter
from perception.types import ImageArray, Prompt

from .given import BOX, POINT, POINTS, SIZES, earlier_mask, prompts

Draw = Callable[[int, int], ImageArray]
SIDE = 32  # Of the tiny network's logits.


@pytest.fixture
def segmenter(tiny: Sam) -> Segmenter:
    return TorchSegmenter(tiny, name="tiny", version="1")


def published_prompt(given: dict[str, list[list[float]]]) -> dict[str, object]:
    """The same prompt as ``SamPredictor.predict`` takes it."""
    prompt = Prompt(**given)
    return {
        "point_coords": prompt.points if len(prompt.points) else None,
        "point_labels": prompt.point_labels if len(prompt.points) else None,
        "box": prompt.boxes[0] if len(prompt.boxes) else None,
        "mask_input": prompt.mask_logits,
    }


@pytest.mark.parametrize("size", SIZES, ids=lambda s: f"{s[0]}x{s[1]}")
@pytest.mark.parametrize("given", prompts(SIDE).values(), ids=prompts(SIDE))
def test_logits_and_quality_are_those_of_the_published_predictor(
    segmenter: Segmenter, predictor: SamPredictor, picture: Draw, size, given
) -> None:
    image = picture(*size)
    predictor.set_image(image)
    have = segmenter.decode(segmenter.encode(image), Prompt(**given))
    for multimask, index in ((False, slice(0, 1)), (True, slice(1, 4))):
        _, quality, logits = predictor.predict(
            **published_prompt(given), multimask_output=multimask
        )
        assert np.abs(have.logits[0, index] - logits).max() <= 1e-4
        assert np.abs(have.quality[0, index] - quality).max() <= 1e-4


@pytest.mark.parametrize("size", SIZES, ids=lambda s: f"{s[0]}x{s[1]}")
def test_masks_are_those_of_the_published_predictor(
    segmenter: Segmenter, predictor: SamPredictor, picture: Draw, size
) -> None:
    image = picture(*size)
    predictor.set_image(image)
    have = segmenter.decode(segmenter.encode(image), Prompt(**BOX))
    logits, _, _ = predictor.predict(
        **published_prompt(BOX), multimask_output=False, return_logits=True
    )
    middle = float(np.median(logits))  # random weights seldom cross 0: shift them, so that they do
    (mask,) = have.frame.logits_to_masks(have.logits[:, 0] - middle)
    sure = np.abs(logits[0] - middle) > 1e-3
    assert mask.shape == size
    assert 0 < mask.sum() < mask.size
    assert (mask == (logits[0] > middle))[sure].all()
    assert sure.mean() > 0.9


def test_many_boxes_are_the_same_as_one_at_a_time(segmenter: Segmenter, picture: Draw) -> None:
    embedding = segmenter.encode(picture(40, 60))
    low = np.random.default_rng(1).uniform(0, 20, (35, 2))
    boxes = np.concatenate((low, low + 15), axis=1)
    masks = np.random.default_rng(2).normal(size=(35, 32, 32))
    for earlier in (None, masks):
        together = segmenter.decode(embedding, Prompt(boxes=boxes, mask_logits=earlier))
        assert together.logits.shape == (35, 4, 32, 32)
        for i in (0, 15, 16, 34):
            one = None if earlier is None else earlier[i : i + 1]
            alone = segmenter.decode(embedding, Prompt(boxes=boxes[i : i + 1], mask_logits=one))
            assert np.abs(together.logits[i] - alone.logits[0]).max() <= 1e-4


def test_no_prompt_is_no_mask(segmenter: Segmenter, picture: Draw) -> None:
    none = segmenter.decode(segmenter.encode(picture(40, 60)), Prompt())
    assert none.logits.shape[:2] == (0, 4)
    assert none.masks().shape == (0, 40, 60)


def test_only_a_lone_point_is_ambiguous(segmenter: Segmenter, picture: Draw) -> None:
    embedding = segmenter.encode(picture(40, 60))
    assert segmenter.decode(embedding, Prompt(**POINT)).best()[0] in (1, 2, 3)
    for given in (POINTS, BOX, {**POINT, **earlier_mask(SIDE)}):
        assert segmenter.decode(embedding, Prompt(**given)).best().tolist() == [0]


def test_a_picture_of_one_pixel(segmenter: Segmenter, picture: Draw) -> None:
    embedding = segmenter.encode(picture(1, 1))
    assert segmenter.decode(embedding, Prompt(points=[[0, 0]])).masks().shape == (1, 1, 1)


def test_an_answer_does_not_depend_on_the_calls_before(segmenter: Segmenter, picture: Draw) -> None:
    first, second = segmenter.encode(picture(40, 60)), segmenter.encode(picture(60, 40))
    before = segmenter.decode(first, Prompt(**BOX))
    segmenter.decode(second, Prompt(**POINTS))
    assert np.array_equal(segmenter.decode(first, Prompt(**BOX)).logits, before.logits)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 5), np.uint8),
        np.zeros((4, 5, 4), np.uint8),
        np.zeros((4, 5, 3), np.float32),
        np.zeros((0, 5, 3), np.uint8),
    ],
    ids=["grey", "alpha", "float", "empty"],
)
def test_only_rgb_of_uint8_is_a_picture(segmenter: Segmenter, image) -> None:
    with pytest.raises(ImageError, match="RGB array of uint8"):
        segmenter.encode(image)


def test_the_embedding_of_another_model_is_refused(
    tiny: Sam, segmenter: Segmenter, picture: Draw
) -> None:
    embedding = TorchSegmenter(tiny, name="tiny", version="2").encode(picture(40, 60))
    with pytest.raises(PromptError, match="made by tiny 2, not by tiny 1"):
        segmenter.decode(embedding, Prompt(**BOX))


def test_a_batch_is_each_picture(segmenter: TorchSegmenter, picture: Draw) -> None:
    images = [picture(20, 31), picture(64, 64), picture(90, 11)]
    batch = segmenter.encode_batch(images)
    assert segmenter.encode_batch([]) == []
    for one, image in zip(batch, images, strict=True):
        alone = segmenter.encode(image)
        assert one.frame == alone.frame
        np.testing.assert_allclose(one.features, alone.features, rtol=0, atol=1e-5)
        have, want = (segmenter.decode(e, Prompt(**POINT)).logits for e in (one, alone))
        np.testing.assert_allclose(have, want, rtol=0, atol=1e-4)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_lower_precision_is_close(tiny: Sam, picture: Draw, precision: str) -> None:
    image = picture(64, 64)
    want = TorchSegmenter(tiny, name="tiny").encode(image).features
    lower = TorchSegmenter(copy.deepcopy(tiny), name="tiny", precision=precision)
    embedding = lower.encode(image)
    assert embedding.features.dtype == np.float32
    assert 1e-6 < np.abs(embedding.features - want).max() < 0.2
    assert lower.decode(embedding, Prompt(**POINT)).logits.dtype == np.float32


def test_an_unknown_precision(tiny: Sam) -> None:
    with pytest.raises(ValueError, match="precision is one of fp32, bf16, fp16, got 'int4'"):
        TorchSegmenter(tiny, name="tiny", precision="int4")


def test_the_encoder_compiles_as_one_graph(
    tiny: Sam, picture: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the plainest backend: the others need a compiler."""
    compile_ = torch.compile
    asked = []

    def plain(module, *, fullgraph: bool, mode: str):  # type: ignore[no-untyped-def]
        asked.append(mode)
        return compile_(module, fullgraph=fullgraph, backend="eager")

    monkeypatch.setattr(torch, "compile", plain)
    compiled = TorchSegmenter(tiny, name="tiny", compiled=True)
    image = picture(64, 64)
    want = TorchSegmenter(tiny, name="tiny").encode(image).features
    np.testing.assert_allclose(compiled.encode(image).features, want, rtol=0, atol=1e-5)
    assert asked == ["default"]
