"""Pictures as the published models take them, by transformers' own preprocessing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from perception.detector.fitting import thickened
from perception.types import ImageArray


def to_pixels(processor: Any, images: Sequence[ImageArray]) -> list[Tensor]:
    """RGB pictures H x W x 3 -> normalised ones 3 x h x w, each of its own size, not padded."""
    return [
        processor(
            thickened(image), do_pad=False, input_data_format="channels_last", return_tensors="pt"
        )["pixel_values"][0]
        for image in images
    ]


def batches(images: Sequence[ImageArray], device: torch.device) -> Iterator[Sequence[ImageArray]]:
    """The pictures as they go through a network: all at once on a GPU, one by one on a CPU.

    There a batch is no faster, and would need the memory of all its pictures.
    """
    step = 1 if device.type == "cpu" else max(1, len(images))
    for start in range(0, len(images), step):
        yield images[start : start + step]
