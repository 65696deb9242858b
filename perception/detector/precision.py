"""In which precision a network computes."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch


def computing_in(dtype: torch.dtype, device: torch.device) -> AbstractContextManager[None]:
    """Matrix products in ``dtype``; weights, norms and what else is delicate stay as they are."""
    lower = dtype != torch.float32
    return torch.autocast(device.type, dtype if lower else None, enabled=lower)
