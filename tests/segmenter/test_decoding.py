from __future__ import annotations

import numpy as np
import pytest

from perception.frame import Frame
from perception.segmenter.decoding import decode_prompt
from perception.segmenter.prompts import PromptRows
from perception.types import Embedding, FloatArray, Prompt

EMBEDDING = Embedding(np.zeros((2, 4, 4), np.float32), Frame((40, 80), 32), "fake")


@pytest.mark.parametrize(
    ("prompts", "calls"), [(0, []), (1, [1]), (3, [3]), (4, [3, 1]), (7, [3, 3, 1])]
)
def test_rows_go_in_bounded_pieces_and_come_back_in_order(prompts: int, calls: list[int]) -> None:
    seen: list[int] = []

    def run(features: FloatArray, rows: PromptRows) -> tuple[FloatArray, FloatArray]:
        assert features is EMBEDDING.features
        seen.append(len(rows))
        x1 = rows.coords[:, 1, 0]  # tells the rows apart
        return np.tile(x1[:, None, None, None], (1, 4, 16, 16)), np.tile(x1[:, None], (1, 4))

    prompt = Prompt(boxes=[[0, 0, n + 1, 5] for n in range(prompts)])
    have = decode_prompt(EMBEDDING, prompt, model="fake", mask_size=16, run=run, rows_per_call=3)
    want = 0.4 * np.arange(1, prompts + 1)
    assert seen == calls
    assert len(have) == prompts
    np.testing.assert_allclose(have.logits.max((1, 2, 3), initial=0), want, rtol=1e-6)
    np.testing.assert_allclose(have.quality[:, 3], want, rtol=1e-6)
