from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from perception.errors import PromptError
from perception.imaging.preprocess import Frame
from perception.segmenters.decoding import PromptRows, decode_prompt, propose_masks, rows_per_call
from perception.types import Embedding, FloatArray, IntArray, Prompt

EMBEDDING = Embedding(np.zeros((2, 4, 4), np.float32), Frame((40, 80), 32), "fake")


class Recorder:
    """A decoder whose logits and quality tell a row by its x; it notes how it is called."""

    model, mask_size, rows_per_call = "fake", 16, 3

    def __init__(self) -> None:
        self.prepared = 0
        self.calls: list[int] = []

    def prepare(self, embedding: Embedding) -> Any:
        assert embedding is EMBEDDING
        self.prepared += 1
        return self

    def run(
        self, image: Any, rows: PromptRows, least_quality: FloatArray
    ) -> tuple[FloatArray, IntArray, FloatArray]:
        assert image is self
        self.calls.append(len(rows))
        x = rows.coords[:, -1 if rows.labels[0, -1] == 3 else 0, 0]
        x = x if rows.mask_logits is None else x + rows.mask_logits.mean((1, 2))
        quality = np.tile(x[:, None], (1, 4)) - np.float32([0, 0, 1, 2])
        which = np.flatnonzero(quality >= least_quality)
        logits = np.tile(x[which // 4, None, None], (1, 16, 16))
        return logits, which, quality


@pytest.mark.parametrize("prompts", [0, 1, 3, 4, 10])
def test_rows_go_in_bounded_pieces_and_come_back_in_order(prompts: int) -> None:
    prompt = Prompt(boxes=[[0, 0, n + 1, 5] for n in range(prompts)])
    decoder = Recorder()
    have = decode_prompt(decoder, EMBEDDING, prompt)
    want = 0.4 * np.arange(1, prompts + 1)
    assert sum(decoder.calls) == prompts
    assert max(decoder.calls, default=0) <= decoder.rows_per_call
    assert decoder.prepared == min(prompts, 1)
    assert len(have) == prompts
    np.testing.assert_allclose(have.logits.max((1, 2, 3), initial=0), want, rtol=1e-6)
    np.testing.assert_allclose(have.quality[:, 0], want, rtol=1e-6)


def test_more_prompts_than_memory_are_one_clear_error() -> None:
    decoder = Recorder()
    decoder.mask_size = 4096
    with pytest.raises(PromptError, match=r"logits of 9 prompts don't fit .* ask 8 at a time"):
        decode_prompt(decoder, EMBEDDING, Prompt(boxes=[[0, 0, 1, 5]] * 9))
    assert not decoder.calls


def test_ten_thousand_small_answers_fit() -> None:
    have = decode_prompt(Recorder(), EMBEDDING, Prompt(boxes=[[0, 0, 1, 5]] * 10_000))
    assert have.logits.shape == (10_000, 4, 16, 16)


def test_earlier_masks_go_with_their_prompts() -> None:
    masks = np.stack([np.full((16, 16), n, np.float32) for n in (10, 20, 30, 40)])
    boxes = [[0, 0, 5 * n, 5] for n in (1, 2, 3, 4)]
    decoder = Recorder()
    have = decode_prompt(decoder, EMBEDDING, Prompt(boxes=boxes, mask_logits=masks))
    assert decoder.prepared == 1
    assert decoder.calls == [3, 1]
    np.testing.assert_allclose(have.quality[:, 0], [12, 24, 36, 48])


def test_proposals_are_the_good_candidates_in_order() -> None:
    points = np.array(
        [[5 * (n % 8), n] for n in range(20)], np.float32
    )  # x in the model: 2 (n % 8)
    have = propose_masks(Recorder(), EMBEDDING, points, 9)
    want = [(n, mask) for n in range(20) for mask in (1, 2, 3) if 2 * (n % 8) - (mask - 1) >= 9]
    assert list(zip(have.prompt_ids, have.candidate_ids, strict=True)) == want
    assert have.logits.shape == (len(want), 16, 16)
    assert (have.quality >= 9).all()


@pytest.mark.parametrize("points", [np.zeros((0, 2)), np.zeros((3, 2))])
def test_nothing_good_is_no_proposal(points: FloatArray) -> None:
    have = propose_masks(Recorder(), EMBEDDING, points, 9)
    assert len(have) == 0
    assert have.logits.shape[1:] == (16, 16) or have.logits.size == 0


@pytest.mark.parametrize(
    ("shape", "gpu", "rows"),
    [
        ((256, 64, 64), False, 2),
        ((256, 64, 64), True, 64),
        ((96, 40, 40), False, 13),
        ((256, 256, 256), False, 1),
    ],
)
def test_how_many_prompts_a_call_takes(shape: tuple[int, int, int], gpu: bool, rows: int) -> None:
    assert rows_per_call(shape, gpu=gpu) == rows


def test_another_models_embedding_is_refused() -> None:
    other = Embedding(EMBEDDING.features, EMBEDDING.frame, "huge")
    with pytest.raises(PromptError, match="made by huge, not by fake"):
        decode_prompt(Recorder(), other, Prompt(points=[[1, 1]]))
    with pytest.raises(PromptError, match="made by huge, not by fake"):
        propose_masks(Recorder(), other, np.zeros((1, 2), np.float32), 0)
