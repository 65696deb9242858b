"""What holds of every network with several levels of features."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perception.errors import PromptError
from perception.segmenters.load import load_segmenter
from perception.segmenters.protocol import Segmenter
from perception.types import Embedding, ImageArray, Prompt

from .given import BOX, POINT
from .published_tiny import BUILDERS, CELLS

Draw = Callable[[int, int], ImageArray]
LEVELS = {
    "sam2": [(32, 4, 4), (8, 8, 8), (4, 16, 16)],
    "sam-hq": [(32, 4, 4), (4, 16, 16)],
}


@pytest.fixture(scope="module", params=BUILDERS)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def folder(family: str, saved: dict[str, Path]) -> Path:
    return saved[family]


@pytest.fixture(scope="module")
def segmenter(family: str, folder: Path) -> Segmenter:
    return load_segmenter(family, folder, name="tiny", version="1")


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
    assert len(segmenter.propose(embedding, points, least_quality=float(quality.max()) + 1)) == 0


def test_nothing_asked_is_no_mask(segmenter: Segmenter, picture: Draw) -> None:
    embedding = segmenter.encode(picture(40, 60))
    none = segmenter.decode(embedding, Prompt())
    assert none.logits.shape[:2] == (0, 4)
    assert none.masks().shape == (0, 40, 60)
    assert len(segmenter.propose(embedding, np.zeros((0, 2), np.float32))) == 0


def test_an_embedding_from_a_file_answers_as_well(
    family: str, segmenter: Segmenter, picture: Draw
) -> None:
    embedding = segmenter.encode(picture(40, 60))
    assert [level.shape for level in embedding.features] == LEVELS[family]
    again = Embedding(embedding.features, embedding.frame, embedding.model)
    want, have = (segmenter.decode(one, Prompt(**BOX)).logits for one in (embedding, again))
    assert np.array_equal(have, want)


@pytest.mark.parametrize(
    ("name", "version", "model"), [("tiny", "2", "tiny 2"), ("other", "", "other")]
)
def test_the_embedding_of_another_model_is_refused(
    family: str, segmenter: Segmenter, folder: Path, picture: Draw, name, version, model
) -> None:
    other = load_segmenter(family, folder, name=name, version=version)
    with pytest.raises(PromptError, match=f"made by {model}, not by tiny 1"):
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


def test_lower_precision_is_close(
    family: str, segmenter: Segmenter, folder: Path, picture: Draw
) -> None:
    image = picture(64, 64)
    want = segmenter.encode(image).features
    lower = load_segmenter(family, folder, name="tiny", version="1", precision="bf16")
    embedding = lower.encode(image)
    for have, exact in zip(embedding.features, want, strict=True):
        assert have.dtype == np.float32
        assert 0 < np.abs(have - exact).max() < 0.1 * np.abs(exact).max()
    assert segmenter.decode(embedding, Prompt(**POINT)).logits.dtype == np.float32
