"""Deformable attention: the layer, its sampling on a CPU, and its form for ONNX.

The weights are those of transformers' modules, and so are the calls; see ``deformable_sampling``
for what is different, and why it is faster.

Zhu et al. 2021, "Deformable DETR": a head of a query reads P places on each of L levels between
their cells, and adds up what it reads. Read one level at a time, as is usual, that makes an array
of Q x H x L x P x d for every layer. Here a query and head is one bag of 4·L·P cells with a weight
each, the bilinear one times the attention's, and ``embedding_bag`` adds them up without writing
any of them down. A border of zeros around each level stands for what lies outside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from perception.detectors.onednn_linear import QuickLinear, quick_linear, slices


class DeformableAttention(nn.Module):
    """Stands in for transformers' ``…MultiscaleDeformableAttention`` on a CPU.

    attention: the module whose weights it takes.
    """

    def __init__(self, attention: Any) -> None:
        super().__init__()
        self.heads: int = attention.n_heads
        self.points: int = attention.n_points
        self.value_proj = QuickLinear(attention.value_proj)
        self.output_proj = QuickLinear(attention.output_proj)
        self.weight, self.bias = _one_product(attention)

    def forward(
        self,
        *,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        reference_points: Tensor,
        spatial_shapes_list: Sequence[tuple[int, int]],
        attention_mask: Tensor | None = None,
        position_embeddings: Tensor | None = None,
        **_: object,
    ) -> tuple[Tensor, None]:
        """Queries B x Q x D over the cells B x S x D of all levels -> B x Q x D.

        attention_mask: B x S bool, False for cells that are padding; reference_points: B x Q x L x
        2, or x 4 with the sizes that the offsets are shares of.
        """
        cells = self.values(encoder_hidden_states, attention_mask)
        levels = Levels.of(spatial_shapes_list, heads=self.heads, points=self.points)
        out = torch.empty_like(hidden_states)
        for number, one in enumerate(cells):
            rows = levels.bordered(one)
            queries = hidden_states[number]
            if position_embeddings is not None:
                queries = queries + position_embeddings[number]
            for part in slices(len(queries)):
                reference = reference_points[number, part]
                out[number, part] = self.read(queries[part], reference, rows, levels)
        return out, None

    def values(self, cells: Tensor, real: Tensor | None) -> Tensor:
        """What the queries can read, B x S x D."""
        values: Tensor = self.value_proj(cells)
        return values if real is None else values.masked_fill(~real[..., None], 0.0)

    def read(self, queries: Tensor, reference: Tensor, rows: Tensor, levels: Levels) -> Tensor:
        """What Q queries Q x D read around Q x L x 2 or 4 of one image's ``rows``: Q x D."""
        found = quick_linear(queries, self.weight, self.bias).float()
        ends = found.shape[1] // 3 * 2
        places = found[:, :ends]
        if reference.shape[-1] == 4:  # The offsets are shares of half a box.
            places = places * (reference[..., 2:].flatten(1) @ levels.units) * (0.5 / self.points)
        places = torch.addmm(places, reference[..., :2].flatten(1), levels.units) + 0.5
        bag = (ends // 2) // self.heads
        weights = found[:, ends:].reshape(-1, bag).softmax(-1)
        read = sample(rows.float(), places, weights, levels)
        out: Tensor = self.output_proj(read.to(queries.dtype))
        return out


class DeformableLayer(nn.Module):
    """Stands in for transformers' ``…DeformableLayer``: the pictures' half of an encoder layer."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.attention = DeformableAttention(layer.self_attn)
        self.norm, self.final_norm = layer.self_attn_layer_norm, layer.final_layer_norm
        self.fc1, self.fc2 = QuickLinear(layer.fc1, activation="relu"), QuickLinear(layer.fc2)

    def forward(
        self,
        *,
        hidden_states: Tensor,
        attention_mask: Tensor,
        position_embeddings: Tensor,
        reference_points: Tensor,
        spatial_shapes_list: Sequence[tuple[int, int]],
        **_: object,
    ) -> tuple[Tensor, None]:
        """Cells B x S x D -> B x S x D; otherwise as ``DeformableAttention``."""
        attention = self.attention
        cells = attention.values(hidden_states, attention_mask)
        levels = Levels.of(spatial_shapes_list, heads=attention.heads, points=attention.points)
        out = torch.empty_like(hidden_states)
        for number, one in enumerate(cells):
            rows = levels.bordered(one)
            for part in slices(len(one)):
                x = hidden_states[number, part]
                queries = x + position_embeddings[number, part]
                reference = reference_points[number, part]
                x = self.norm(x + attention.read(queries, reference, rows, levels))
                x = self.final_norm(x + self.fc2(self.fc1(x)))
                out[number, part] = x
        return out, None


def _one_product(attention: Any) -> tuple[Tensor, Tensor]:
    """Offsets and weights in one product: all x, then all y, then the weights, 3·H·L·P x D."""
    offsets, weights = attention.sampling_offsets, attention.attention_weights
    weight = torch.cat((offsets.weight[0::2], offsets.weight[1::2], weights.weight))
    return weight.detach(), torch.cat(
        (offsets.bias[0::2], offsets.bias[1::2], weights.bias)
    ).detach()


@dataclass(frozen=True, eq=False)
class Levels:
    """Where the cells of L levels lie in one row, each with a border of one cell around it.

    shapes: each level's (h, w); heads, points: H and P. limits: 2·H·L·P, the last place x, then y;
    starts: H·L·P, the row of each level's corner; strides: H·L·P, from one line of cells to the
    next; rows are counted in heads. units: 2L x 2·H·L·P, what a reference is multiplied with to be
    x, then y, in cells; rows: of one image, in cells.
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
    counted in cells with the first one's center at 1; they are overwritten. weights: Q·H x L·P.
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


class DeformableReader(nn.Module):
    """Queries Q x D over the cells 1 x S x D of L levels -> Q x D.

    attention: transformers' ``…MultiscaleDeformableAttention``, whose weights it takes.
    """

    def __init__(self, attention: Any) -> None:
        super().__init__()
        self.heads, self.levels = attention.n_heads, attention.n_levels
        self.points: int = attention.n_points
        self.offsets, self.weights = attention.sampling_offsets, attention.attention_weights
        self.value, self.out = attention.value_proj, attention.output_proj

    def forward(
        self, queries: Tensor, cells: Tensor, references: Tensor, shapes: list[tuple[int, int]]
    ) -> Tensor:
        """references: Q x 2 or Q x 4, parts of the image; shapes: each level's (h, w)."""
        heads, levels, points = self.heads, self.levels, self.points
        # H x L x P x Q (x 2), so that what is added up lies apart and the queries side by side.
        offsets = self.offsets(queries).unflatten(1, (heads, levels, points, 2))
        offsets = offsets.permute(1, 2, 3, 0, 4)
        weights = self.weights(queries).unflatten(1, (heads, levels * points)).softmax(-1)
        weights = weights.permute(1, 2, 0).unflatten(1, (levels, points))
        if references.shape[-1] == 4:
            offsets = offsets * (references[:, 2:] * (0.5 / points))
        values = self.value(cells)[0].transpose(0, 1)  # D x S
        parts = values.split([h * w for h, w in shapes], dim=1)
        read = torch.zeros(())
        for level, (h, w) in enumerate(shapes):
            moved = offsets[:, level]  # H x P x Q x 2
            if references.shape[-1] == 2:
                moved = moved / torch.stack((torch.scalar_tensor(w), torch.scalar_tensor(h)))
            grid = (references[:, :2] + moved) * 2 - 1
            level_values = parts[level].unflatten(1, (h, w)).unflatten(0, (heads, -1))
            found = F.grid_sample(level_values, grid, align_corners=False)  # H x d x P x Q
            read = read + (found * weights[:, None, level]).sum(2)
        return self.out(read.flatten(0, 1).transpose(0, 1))  # type: ignore[no-any-return]
