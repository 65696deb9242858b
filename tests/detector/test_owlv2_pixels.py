from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import Owlv2ImageProcessor

from perception.detector.owlv2_pixels import to_square_pixels

from .published_tiny import pictures


@pytest.mark.parametrize("side", [32, 96])
@pytest.mark.parametrize(
    "image_hw", [(90, 120), (120, 90), (20, 31), (64, 64), (33, 100), (32, 32), (1, 40), (5, 5)]
)
def test_as_transformers_does_it(side: int, image_hw: tuple[int, int]) -> None:
    processor = Owlv2ImageProcessor(size={"height": side, "width": side})
    (image,) = pictures(image_hw)
    want = processor(image, input_data_format="channels_last", return_tensors="pt")
    have = to_square_pixels(processor, image)
    torch.testing.assert_close(have, want["pixel_values"][0], rtol=0, atol=5e-5)


def test_what_is_beside_the_picture_is_black() -> None:
    processor = Owlv2ImageProcessor(size={"height": 32, "width": 32})
    have = to_square_pixels(processor, np.full((64, 32, 3), 255, np.uint8))
    black = -torch.tensor(processor.image_mean) / torch.tensor(processor.image_std)
    torch.testing.assert_close(have[:, :, -8:], black[:, None, None].expand(3, 32, 8))


def test_in_strips_as_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    processor = Owlv2ImageProcessor(size={"height": 32, "width": 32})
    (image,) = pictures((70, 90))
    want = to_square_pixels(processor, image)
    monkeypatch.setattr("perception.detector.owlv2_pixels.ROWS_AT_ONCE", 16)
    torch.testing.assert_close(to_square_pixels(processor, image), want, rtol=0, atol=1e-5)
