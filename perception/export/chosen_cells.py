"""Comparing a detector's file with torch, where both choose the best of hundreds of cells."""

from __future__ import annotations

import torch
from torch import Tensor

TOLERANCE = 1e-3
"""More than elsewhere: rounding grows through layers that choose places by what they saw."""


def fits_of_chosen(fits: Tensor, chosen: Tensor) -> Tensor:
    """How well the cells that a file chose fit, Q of N; nan where it chose others than the best.

    Of hundreds of cells some fit equally well but for rounding, and so may change places.
    """
    best, own = torch.topk(fits, len(chosen)).values, fits[chosen]
    wrong = (best - own).abs() > TOLERANCE * fits.abs().max().clamp(min=1)
    return own.masked_fill(wrong, torch.nan)
