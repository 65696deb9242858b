"""Deformable attention and the encoder layer around it, a slice of queries at a time.

The weights are those of transformers' modules, and so are the calls; see ``deformable_sampling``
for what is different, and why it is faster.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from perception.detector.deformable_sampling import Levels, sample
from perception.detector.quick_linear import QuickLinear, quick_linear

SLICE = 1024
"""Queries at a time: what is made of them on the way stays in the processor's cache."""


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
        """What Q queries Q x D read around Q x L x 2 or 4 of one picture's ``rows``: Q x D."""
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


def slices(count: int) -> Iterator[slice]:
    """``count`` rows in parts of at most ``SLICE``."""
    for start in range(0, count, SLICE):
        yield slice(start, start + SLICE)


def _one_product(attention: Any) -> tuple[Tensor, Tensor]:
    """Offsets and weights in one product: all x, then all y, then the weights, 3·H·L·P x D."""
    offsets, weights = attention.sampling_offsets, attention.attention_weights
    weight = torch.cat((offsets.weight[0::2], offsets.weight[1::2], weights.weight))
    return weight.detach(), torch.cat(
        (offsets.bias[0::2], offsets.bias[1::2], weights.bias)
    ).detach()
