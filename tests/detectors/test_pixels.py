from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import GroundingDinoImageProcessor

from perception.detectors.onnx_files import boxes_in_image
from perception.detectors.pretrained import batches, to_pixels

from .published_tiny import pictures


@pytest.fixture(scope="module")
def processor() -> GroundingDinoImageProcessor:
    return GroundingDinoImageProcessor(size={"shortest_edge": 64, "longest_edge": 107})


@pytest.mark.parametrize("image_hw", [(90, 120), (120, 90), (64, 64), (20, 30), (50, 300)])
def test_as_published(processor: GroundingDinoImageProcessor, image_hw: tuple[int, int]) -> None:
    (image,) = pictures(image_hw)
    (have,) = to_pixels(processor, [image])
    want = processor(image, return_tensors="pt")["pixel_values"][0]
    torch.testing.assert_close(have, want, rtol=0, atol=0)


@pytest.mark.parametrize("image_hw", [(1, 2000), (2000, 1), (3, 50), (1, 1), (3, 3)])
def test_any_shape_becomes_a_picture(
    processor: GroundingDinoImageProcessor, image_hw: tuple[int, int]
) -> None:
    (have,) = to_pixels(processor, [np.full((*image_hw, 3), 128, np.uint8)])
    assert have.shape[0] == 3
    assert min(have.shape[1:]) >= 3
    assert torch.isfinite(have).all()


def test_each_picture_keeps_its_own_size(processor: GroundingDinoImageProcessor) -> None:
    have = to_pixels(processor, pictures((64, 64), (64, 96)))
    assert [tuple(one.shape) for one in have] == [(3, 64, 64), (3, 64, 96)]


def test_boxes_in_image() -> None:
    boxes = np.float32([[0.5, 0.5, 1, 1], [0.25, 0.5, 0.5, 0.2]])
    have = boxes_in_image(boxes, 200, 100)
    np.testing.assert_allclose(have, [[0, 0, 200, 100], [0, 40, 100, 60]])
    assert have.dtype == np.float32
    assert boxes_in_image(boxes[:0], 200, 100).shape == (0, 4)


@pytest.mark.parametrize(("device", "want"), [("cpu", [1, 1, 1]), ("cuda", [3])])
def test_together_on_a_gpu_and_one_by_one_on_a_cpu(device: str, want: list[int]) -> None:
    images = pictures((8, 8), (8, 9), (8, 10))
    assert [len(part) for part in batches(images, torch.device(device))] == want
    assert list(batches([], torch.device(device))) == []
