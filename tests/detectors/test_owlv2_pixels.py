from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import Owlv2ImageProcessor

from perception.detectors.owlv2.onnx import boxes_from_square, to_square_pixels
from perception.types import ImageArray

from .published_tiny import pictures


def pixels_of(processor: Owlv2ImageProcessor, image: ImageArray) -> torch.Tensor:
    side, mean, std = processor.size["height"], processor.image_mean, processor.image_std
    return torch.from_numpy(to_square_pixels(image, side, mean, std))


@pytest.mark.parametrize("side", [32, 96])
@pytest.mark.parametrize(
    "image_hw", [(90, 120), (120, 90), (20, 31), (64, 64), (33, 100), (32, 32), (1, 40), (5, 5)]
)
def test_as_transformers_does_it(side: int, image_hw: tuple[int, int]) -> None:
    processor = Owlv2ImageProcessor(size={"height": side, "width": side})
    (image,) = pictures(image_hw)
    want = processor(image, input_data_format="channels_last", return_tensors="pt")
    have = pixels_of(processor, image)
    torch.testing.assert_close(have, want["pixel_values"][0], rtol=0, atol=5e-5)


def test_what_is_beside_the_picture_is_black() -> None:
    processor = Owlv2ImageProcessor(size={"height": 32, "width": 32})
    have = pixels_of(processor, np.full((64, 32, 3), 255, np.uint8))
    black = -torch.tensor(processor.image_mean) / torch.tensor(processor.image_std)
    torch.testing.assert_close(have[:, :, -8:], black[:, None, None].expand(3, 32, 8))


def test_in_strips_as_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    processor = Owlv2ImageProcessor(size={"height": 32, "width": 32})
    (image,) = pictures((70, 90))
    want = pixels_of(processor, image)
    monkeypatch.setattr("perception.detectors.owlv2.onnx.ROWS_AT_ONCE", 16)
    torch.testing.assert_close(pixels_of(processor, image), want, rtol=0, atol=1e-5)


def test_boxes_are_parts_of_the_square() -> None:
    boxes = np.array([[0.5, 0.25, 0.5, 0.25], [0.9, 0.9, 0.1, 0.4]], np.float32)
    have = boxes_from_square(boxes, (60, 80))
    np.testing.assert_allclose(have, [[20, 10, 60, 30], [68, 56, 76, 60]], atol=1e-4)
    assert boxes_from_square(boxes[:0], (60, 80)).shape == (0, 4)
