from __future__ import annotations

import numpy as np
import pytest
from scenes.textures import KINDS, draw_texture


@pytest.mark.parametrize("hw", [(48, 64), (64, 48), (1, 1)])
@pytest.mark.parametrize("seed", range(4))
def test_a_texture_has_the_size_that_was_asked_for(hw: tuple[int, int], seed: int) -> None:
    canvas = draw_texture(hw, np.random.default_rng(seed))
    assert canvas.shape == (*hw, 3)
    assert canvas.dtype == np.uint8


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_kind_is_a_picture(kind) -> None:
    canvas = kind((40, 60), np.random.default_rng(3))
    assert canvas.shape == (40, 60, 3)
    assert np.isfinite(canvas).all()


def test_textures_differ_and_can_be_drawn_again() -> None:
    pictures = [draw_texture((32, 32), np.random.default_rng(seed)) for seed in (0, 1, 0)]
    assert (pictures[0] != pictures[1]).any()
    np.testing.assert_array_equal(pictures[0], pictures[2])
