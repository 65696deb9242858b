"""Pictures as a network takes them, on its device."""

from __future__ import annotations

import torch
from torch import Tensor

from perception.imaging.preprocess import RGB_MEAN, RGB_STD


def normalize(images: Tensor, device: torch.device) -> Tensor:
    """B x S x S x 3 uint8 -> B x 3 x S x S as ``Frame.pixels`` normalises, channels last."""
    pixels = images.to(device).permute(0, 3, 1, 2).float()
    mean, std = (torch.tensor(n, device=device)[:, None, None] for n in (RGB_MEAN, RGB_STD))
    return ((pixels - mean) / std).contiguous(memory_format=torch.channels_last)
