"""The sums that deformable attention takes of a picture's cells, with each cell touched once.

Zhu et al. 2021, "Deformable DETR": a head of a query reads P places on each of L levels between
their cells, and adds up what it reads. Read one level at a time, as is usual, that makes an array
of Q x H x L x P x d for every layer. Here a query and head is one bag of 4·L·P cells with a weight
each, the bilinear one times the attention's, and ``embedding_bag`` adds them up without writing
any of them down. A border of zeros around each level stands for what lies outside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Levels:
    """Where the cells of L levels lie in one row, each with a border of one cell around it.

    shapes: each level's (h, w); heads, points: H and P. limits: 2·H·L·P, the last place x, then y;
    starts: H·L·P, the row of each level's corner; strides: H·L·P, from one line of cells to the
    next; rows are counted in heads. units: 2L x 2·H·L·P, what a reference is multiplied with to be
    x, then y, in cells; rows: of one picture, in cells.
    """

    shapes: tuple[tuple[int, int], ...]
    heads: int
    limits: Tensor
    starts: Tensor
    strides: Tensor
    units: Tensor
    rows: int

    @classmethod
    def of(cls, shapes: Sequence[tuple[int, int]], *, heads: int, points: int) -> Self:
        """For levels of these (h, w)."""

        def spread(values: Sequence[float]) -> Tensor:
            """One value a level, L -> H·L·P."""
            return torch.tensor(values).float().repeat_interleave(points).repeat(heads)

        sizes = [(h + 2) * (w + 2) for h, w in shapes]
        starts = [sum(sizes[:level]) * heads for level in range(len(shapes))]
        head = torch.arange(heads).repeat_interleave(len(shapes) * points)
        across = spread([w for _, w in shapes])
        down = spread([h for h, _ in shapes])
        level = spread(list(range(len(shapes))))
        units = torch.zeros(len(shapes), 2, 2, len(level))
        for number in range(len(shapes)):
            units[number, 0, 0] = across * (level == number)
            units[number, 1, 1] = down * (level == number)
        return cls(
            tuple(shapes),
            heads,
            torch.cat((across, down)) + 1,
            spread(starts) + head,
            (across + 2) * heads,
            units.reshape(2 * len(shapes), -1),
            # The last place of the last level reads one line on, with a weight of 0.
            sum(sizes) + shapes[-1][1] + 3,
        )

    def bordered(self, cells: Tensor) -> Tensor:
        """Cells S x D -> R·H x D/H, with the borders."""
        width = cells.shape[-1]
        out = cells.new_zeros(self.rows, width)
        start = begin = 0
        for h, w in self.shapes:
            size = (h + 2) * (w + 2)
            inner = out[begin : begin + size].view(h + 2, w + 2, width)[1:-1, 1:-1]
            inner.copy_(cells[start : start + h * w].view(h, w, width))
            start, begin = start + h * w, begin + size
        return out.view(self.rows * self.heads, -1)


def sample(rows: Tensor, places: Tensor, weights: Tensor, levels: Levels) -> Tensor:
    """What Q queries read: Q x D.

    rows: from ``Levels.bordered``; places: Q x 2·H·L·P, x of each head, level and point, then y,
    counted in cells with the first one's centre at 1; they are overwritten. weights: Q·H x L·P.
    """
    queries, bag = len(places), weights.shape[-1]
    # One step beyond the edge everything is zero already, so a place further out moves there.
    places = torch.minimum(places.clamp_(min=0), levels.limits, out=places)
    corners = places.floor()
    right, below = places.sub_(corners).view(queries, 2, -1).unbind(1)  # Q x H·L·P each
    x, y = corners.view(queries, 2, -1).unbind(1)
    # Whole numbers below 2^24 are exact in float32.
    first = torch.addcmul(levels.starts, y, levels.strides).add_(x, alpha=levels.heads).int()
    below, right, first = (part.reshape(-1, bag) for part in (below, right, first))
    line = levels.strides.int().view(levels.heads, bag).repeat(queries, 1)

    cells = torch.empty(len(weights), 4, bag, dtype=torch.int32)
    cells[:, 0] = first
    torch.add(first, levels.heads, out=cells[:, 1])
    torch.add(first, line, out=cells[:, 2])
    torch.add(cells[:, 2], levels.heads, out=cells[:, 3])

    shares = torch.empty(len(weights), 4, bag)
    right = right * weights
    left = weights - right
    torch.mul(left, below, out=shares[:, 2])
    torch.mul(right, below, out=shares[:, 3])
    torch.sub(left, shares[:, 2], out=shares[:, 0])
    torch.sub(right, shares[:, 3], out=shares[:, 1])
    read = F.embedding_bag(cells.flatten(1), rows, per_sample_weights=shares.flatten(1), mode="sum")
    return read.view(queries, -1)
