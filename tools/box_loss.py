"""Masks learned from boxes alone (Tian et al. 2021, "BoxInst", sections 3.1 and 3.2).

A mask must touch all four edges of its box and stay inside, and neighbours of like color should be
on the same side of its border.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

REACH = 2  # pixels between neighbours
ALIKE = 0.3  # the least likeness of colors at which two neighbours are taken to belong together
_STEPS = ((0, REACH), (REACH, 0), (REACH, REACH), (REACH, -REACH))


def box_loss(logits: Tensor, boxes: Tensor, alike: Tensor) -> Tensor:
    """The loss of each mask.

    logits: P x N x h x w; boxes: P x 4 xyxy in pixels of the logits; alike: P x 4 x h x w, see
    ``likeness``. Returns P x N.
    """
    inside = box_masks(boxes, logits.shape[2:])[:, None]  # P x 1 x h x w
    chance = logits.sigmoid()
    edges = sum(_dice(chance.amax(d), inside.expand_as(chance).amax(d)) for d in (2, 3))
    same = torch.stack([_together(logits, step) for step in _STEPS], dim=2)  # P x N x 4 x h x w
    pairs = (alike * inside)[:, None]  # P x 1 x 4 x h x w
    neighbours = (same * pairs).sum((2, 3, 4)) / pairs.sum((2, 3, 4)).clamp(min=1)
    return edges + neighbours


def likeness(images: Tensor) -> Tensor:
    """B x 3 x h x w in CIELAB -> B x 4 x h x w: 1 where a pixel and its neighbour are alike.

    exp(-distance / 2) as in the paper; the four neighbours are right, below, and below on both
    diagonals, which counts each pair once.
    """
    parts = [(images - _moved(images, step)).norm(dim=1) for step in _STEPS]
    return (torch.exp(-torch.stack(parts, dim=1) / 2) > ALIKE).float()


def box_masks(boxes: Tensor, hw: torch.Size | tuple[int, int]) -> Tensor:
    """P x 4 xyxy in pixels -> P x h x w: 1 in the box."""
    y, x = (torch.arange(n, device=boxes.device) + 0.5 for n in hw)
    x0, y0, x1, y1 = boxes.unbind(1)
    across = (x >= x0[:, None]) & (x < x1[:, None])  # P x w
    down = (y >= y0[:, None]) & (y < y1[:, None])  # P x h
    return (down[:, :, None] & across[:, None, :]).float()


def _dice(chance: Tensor, target: Tensor) -> Tensor:
    """P x N x L twice -> P x N."""
    both = (chance * target).sum(2)
    return 1 - 2 * both / (chance.square().sum(2) + target.square().sum(2)).clamp(min=1e-6)


def _together(logits: Tensor, step: tuple[int, int]) -> Tensor:
    """-log of the chance that a pixel and its neighbour are both in or both out, P x N x h x w."""
    here, there = logits, _moved(logits, step)
    both_in = F.logsigmoid(here) + F.logsigmoid(there)
    both_out = F.logsigmoid(-here) + F.logsigmoid(-there)
    return -torch.logaddexp(both_in, both_out)


def _moved(x: Tensor, step: tuple[int, int]) -> Tensor:
    """At each place, its neighbour; at the border, the place's own value."""
    down, right = step
    padded = F.pad(x, (max(-right, 0), max(right, 0), 0, down), mode="replicate")
    return padded[..., down:, max(right, 0) : max(right, 0) + x.shape[3]]
