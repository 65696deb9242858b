from __future__ import annotations

import numpy as np
import pytest
import torch
from pixels import normalize

from perception.imaging.preprocess import Frame


@pytest.mark.parametrize("count", [0, 1, 3])
def test_as_a_frame_normalises(count: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (count, 16, 16, 3), np.uint8)
    have = normalize(torch.from_numpy(images), torch.device("cpu"))
    assert have.shape == (count, 3, 16, 16)
    assert have.dtype == torch.float32
    for ours, image in zip(have, images, strict=True):
        want = torch.from_numpy(Frame((16, 16), 16).pixels(image))
        torch.testing.assert_close(ours, want, rtol=0, atol=1e-5)


def test_channels_come_last_in_memory() -> None:
    pixels = normalize(torch.zeros(2, 8, 8, 3, dtype=torch.uint8), torch.device("cpu"))
    assert pixels.is_contiguous(memory_format=torch.channels_last)
