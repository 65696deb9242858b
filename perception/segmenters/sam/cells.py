"""Image embeddings that prompts change: prepared once per image, factored or dense.

SAM adds to each cell C numbers that two small convolutions and a projection make of the mask. The
projection is of 16 channels, so that what is added is a product of these, with a one for the bias,
and a few rows that no mask changes. That is the form of ``FactoredCells``: the image stays as it
was prepared, without any mask.

What a two-way layer does to the cells X (S x C) is X <- norm(X + A R): the shares A (S x H·T) that
each cell takes of each token, and the few rows R (H·T x C) that it gets for them. The norm centers
each cell over its channels, which is linear, scales it by one number of its own, and scales the
channels. So after any number of layers

    X = s ⊙ B + A R + β

with s a number per cell, B (S x C) the image's own cells, centerd and scaled by the norms' channel
weights, which no prompt changes; A the shares of all layers so far, each scaled as its cells were;
R their rows; and β the last norm's bias. The next layers only need products with X: those with B
are small, because B is projected once per image; those with A R cost S·(H·T)² in place of S·C·H·T.

The number per cell, too, comes without X: the squared length of a cell is that of B, prepared, and

    |s b + a R|² = s² |b|² + a · (2 s R b + R Rᵀ a)

where R b = v (W b) with W (d x C) a head's output projection and v the token's value, so that W B
is prepared, too. The shares of a head sum to one before they are scaled; so constants, the bias of
the output and β, ride on the rows: v and W get one more entry for them.

An earlier mask adds to the cells, before all layers, just such a product (``EarlierMask``). Its
rows are the same for every mask, so R b is prepared for them.

Exact up to rounding, for any image and prompt. S x C appears nowhere: of 407 million multiply-adds
for one click (S 4096, C 256, T 7) 260 are the upscaler's; written out they are 799.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from perception.segmenters.sam.blocks import (
    Attention,
    by_head,
    norm_of_sum,
    softmax_over_rows,
    split,
    sum_of_rows,
    times_image,
)


class EarlierMask(NamedTuple):
    """Of P prompts: sharesᵀ rows is added to their cells.

    shares: P x E x R x S, of E masks a prompt, none or one; rows: R x C.
    """

    shares: Tensor
    rows: Tensor

    def added(self) -> Tensor:
        """Written out: P x S x C."""
        return self.flat_shares().transpose(1, 2) @ self.flat_rows()

    def flat_shares(self) -> Tensor:
        """The shares as P x E·R x S."""
        prompts, each, count, cells = self.shares.shape
        return self.shares.reshape(prompts, each * count, cells)

    def flat_rows(self) -> Tensor:
        """The rows that go with these: P x E·R x C."""
        return self.of_each(self.rows[None])

    def of_each(self, rows: Tensor) -> Tensor:
        """The R rows of any kind, (P or 1) x R x N, as P x E·R x N."""
        prompts, each, count, _ = self.shares.shape
        wide = rows[:, None].expand(prompts, each, -1, -1)
        return wide.reshape(prompts, each * count, rows.shape[2])


HALVES = 2
"""Of the upscaler's first result: its even and its odd rows."""


class PreparedLayer(NamedTuple):
    """What one layer needs of the image, in H heads of width d.

    keys B x H x d x S and values B x H x S x d, for tokens that look at cells. For cells that look
    at tokens, and not in the last look: queries B x H x d x S; lifts, one B x H x (d+1) x S for
    each layer up to this one, mask_lift B x R x S for an earlier mask, and power B x 1 x S: see
    ``FactoredCells``.
    """

    keys: Tensor
    values: Tensor
    queries: Tensor | None = None
    lifts: tuple[Tensor, ...] = ()
    power: Tensor | None = None
    mask_lift: Tensor | None = None


class PreparedCode(NamedTuple):
    """The cells' positional code as a layer sees it: keys and queries 1 x H x d x S."""

    keys: Tensor
    queries: Tensor | None = None


class PreparedImage(NamedTuple):
    """B images, prepared.

    cells: B x S x C, or None where the factors must do; position: 1 x S x C, the cells' positional
    code; layers: of an image for many prompts all layers and the last look, of one for a single
    prompt the first layer alone; codes: of the layers after the first; finer: twice B x S x C/2,
    the cells as the upscaler sees them; skips: none, or twice B x S x C/2, what the encoder's finer
    features add to its first result, of its even and of its odd rows.
    """

    cells: Tensor | None
    position: Tensor
    layers: tuple[PreparedLayer, ...]
    codes: tuple[PreparedCode, ...] = ()
    finer: tuple[Tensor, ...] = ()
    skips: tuple[Tensor, ...] = ()

    @property
    def is_factored(self) -> bool:
        """Whether all layers are prepared, and cells need not be written out for a prompt."""
        return len(self.layers) > 1

    def rows(self, index: Tensor) -> PreparedImage:
        """The row ``index[p]`` for each of P prompts on different images."""
        if self.layers[0].keys.shape[0] == 1:
            return self
        cells = None if self.cells is None else self.cells[index]
        layers = tuple(
            PreparedLayer(
                layer.keys[index],
                layer.values[index],
                None if layer.queries is None else layer.queries[index],
                tuple(lift[index] for lift in layer.lifts),
                None if layer.power is None else layer.power[index],
                None if layer.mask_lift is None else layer.mask_lift[index],
            )
            for layer in self.layers
        )
        finer = tuple(half[index] for half in self.finer)
        skips = tuple(half[index] for half in self.skips)
        return self._replace(cells=cells, layers=layers, finer=finer, skips=skips)


def image_to_tensors(image: PreparedImage) -> dict[str, Tensor]:
    """A factored image by names, as a graph can give it; without what no image changes."""
    tensors: dict[str, Tensor] = {}
    for n, layer in enumerate(image.layers):
        tensors |= {f"keys{n}": layer.keys, f"values{n}": layer.values}
        if layer.queries is not None and layer.power is not None:
            tensors |= {f"queries{n}": layer.queries, f"power{n}": layer.power}
        if layer.mask_lift is not None:
            tensors[f"mask_lift{n}"] = layer.mask_lift
        tensors |= {f"lift{n}of{m}": lift for m, lift in enumerate(layer.lifts)}
    tensors |= {f"finer{n}": half for n, half in enumerate(image.finer)}
    return tensors | {f"skip{n}": half for n, half in enumerate(image.skips)}


def tensors_to_image(
    tensors: Sequence[Tensor], position: Tensor, codes: tuple[PreparedCode, ...]
) -> PreparedImage:
    """The image of ``image_to_tensors``, given its tensors; without cells, as factors do."""
    left = iter(tensors)
    layers = []
    for n in range(len(codes)):
        keys, values, queries, power, mask_lift = (next(left) for _ in range(5))
        lifts = tuple(next(left) for _ in range(n + 1))
        layers.append(PreparedLayer(keys, values, queries, lifts, power, mask_lift))
    last = PreparedLayer(next(left), next(left))
    rest = tuple(left)
    return PreparedImage(None, position, (*layers, last), codes, rest[:HALVES], rest[HALVES:])


class FactoredCells(NamedTuple):
    """The cells of P prompts: scale ⊙ the image's + sharesᵀ rows + shift; at first the image's.

    image: of 1 or P rows; scale: P x 1 x S; of each layer so far: shares P x H·T x S, rows
    P x H·T x C, and values, the tokens' values and a one, P x H x T x (d+1); shift: C. mask: an
    earlier one, whose shares and rows stand before those of the first layer.
    """

    image: PreparedImage
    scale: Tensor | None = None
    shares: tuple[Tensor, ...] = ()
    rows: tuple[Tensor, ...] = ()
    values: tuple[Tensor, ...] = ()
    shift: Tensor | None = None
    mask: EarlierMask | None = None

    def seen_by(self, attention: Attention, q: Tensor) -> Tensor:
        """What tokens q P x T x C see: P x T x C."""
        layer = self.image.layers[len(self.values)]
        code = self.image.codes[len(self.values) - 1].keys if self.values else None
        weights = self._scores(attention.asked(q), attention.k_proj, layer.keys, code).softmax(-1)
        scaled = weights if self.scale is None else weights * self.scale[:, None]
        out = times_image(scaled, layer.values)  # P x H x T x d
        for shares, rows in zip(self.shares, self.rows, strict=True):
            seen = weights.flatten(1, 2) @ shares.transpose(1, 2) @ rows  # P x H·T x C
            by_token = seen.reshape(*weights.shape[:3], rows.shape[-1])
            out = out + by_token @ by_head(attention.v_proj, attention.heads).transpose(1, 2)
        return attention.merge(out, bias_with(attention.v_proj, self.shift))

    def after_looking(
        self, attention: Attention, norm: nn.LayerNorm, k: Tensor, v: Tensor
    ) -> FactoredCells:
        """The cells after they looked at tokens, k and v P x T x C, and were normed."""
        layer = self.image.layers[len(self.values)]
        assert layer.queries is not None  # noqa: S101 - only the last look has none
        assert layer.power is not None  # noqa: S101
        code = self.image.codes[len(self.values) - 1].queries if self.values else None
        scores = self._scores(attention.asking(k), attention.q_proj, layer.queries, code)
        share = softmax_over_rows(scores).flatten(1, 2)  # P x H·T x S
        value = F.pad(split(attention.v_proj(v), attention.heads), (0, 1), value=1.0)
        values = (*self.values, value)
        row = (value @ lift_weight(attention, self.shift)).flatten(1, 2)  # P x H·T x C
        if self.values or self.mask is None:
            shares, rows = (*self.shares, share), (*self.rows, row)
        else:
            shares = (torch.cat((*self.shares, share), 1),)
            rows = (torch.cat((*self.rows, row), 1),)
        rows = tuple(centerd(row) for row in rows)
        along = [
            sum_of_rows(part * lifted)
            for part, lifted in zip(shares, self._lifted(layer, values), strict=True)
        ]
        power, change = layer.power, sum(along[1:], along[0])  # P x 1 x S
        if self.scale is not None:
            power, change = power * self.scale.square(), change * self.scale
        power = power + change + squared_length(shares, rows)
        shrink = (power / norm.normalized_shape[0] + norm.eps).rsqrt()
        return FactoredCells(
            self.image,
            shrink if self.scale is None else self.scale * shrink,
            tuple(part * shrink for part in shares),
            tuple(row * norm.weight for row in rows),
            values,
            norm.bias,
            self.mask,
        )

    def _lifted(self, layer: PreparedLayer, values: tuple[Tensor, ...]) -> list[Tensor]:
        """2 R b of the rows of each layer so far: P x H·T x S, of an earlier mask's before."""
        lifted = [
            times_image(2 * value, lift).flatten(1, 2)
            for value, lift in zip(values, layer.lifts, strict=True)
        ]
        if self.mask is not None:
            assert layer.mask_lift is not None  # noqa: S101 - prepared for one
            lifted[0] = torch.cat((self.mask.of_each(2 * layer.mask_lift), lifted[0]), 1)
        return lifted

    def picked(self, index: Tensor) -> FactoredCells:
        """The cells of some of the prompts, for ``projected``: all layers as one."""
        assert self.scale is not None  # noqa: S101 - a decoder has at least one layer
        return FactoredCells(
            self.image.rows(index),
            self.scale.index_select(0, index),
            (torch.cat([part.index_select(0, index) for part in self.shares], 1),),
            (torch.cat([row.index_select(0, index) for row in self.rows], 1),),
            (),
            self.shift,
        )

    def projected(self, weight: Tensor, bias: Tensor, part: int) -> Tensor:
        """The cells times weight C x N, and bias N, as P x S x N; ``finer[part]`` of the image."""
        assert self.scale is not None  # noqa: S101
        assert self.shift is not None  # noqa: S101
        out = self.image.finer[part] * self.scale.transpose(1, 2)
        for shares, rows in zip(self.shares, self.rows, strict=True):
            out = out + shares.transpose(1, 2) @ (rows @ weight)
        return out + (self.shift @ weight + bias)

    def _scores(
        self, tokens: Tensor, proj: nn.Linear, image: Tensor, code: Tensor | None
    ) -> Tensor:
        """Products of tokens P x H x T x d with the cells as ``proj`` and the code show them.

        image: B as proj shows it, (P or 1) x H x d x S; code: 1 x H x d x S, nothing where the
        image has it in itself. Returns P x H x T x S.
        """
        scores = times_image(tokens, image)
        if self.scale is not None:
            scores = scores * self.scale[:, None]
        asked = (tokens @ by_head(proj, proj.out_features // tokens.shape[-1])).flatten(1, 2)
        for shares, rows in zip(self.shares, self.rows, strict=True):
            change = (asked @ rows.transpose(1, 2)) @ shares  # P x H·T x S
            scores = scores + change.reshape(scores.shape)
        return scores if code is None else scores + times_image(tokens, code)


def factored(image: PreparedImage, mask: EarlierMask | None) -> FactoredCells:
    """The cells of an image before any layer, with what an earlier mask adds to them."""
    if mask is None:
        return FactoredCells(image)
    shares, rows = (mask.flat_shares(),), (mask.flat_rows(),)
    return FactoredCells(image, shares=shares, rows=rows, mask=mask)


def squared_length(shares: Sequence[Tensor], rows: Sequence[Tensor]) -> Tensor:
    """|a R|² of each cell: shares of some layers P x H·T x S, rows P x H·T x C -> P x 1 x S."""
    total = []
    for n, (part, row) in enumerate(zip(shares, rows, strict=True)):
        mixed = (row @ row.transpose(1, 2)) @ part
        for m in range(n):
            mixed = mixed + (2 * row @ rows[m].transpose(1, 2)) @ shares[m]
        total.append(sum_of_rows(part * mixed))
    return sum(total[1:], total[0])


def bias_with(proj: nn.Linear, shift: Tensor | None) -> Tensor:
    """What a projection makes of the shift C, or of nothing: its bias, inner."""
    out: Tensor = proj.bias if shift is None else proj(shift)
    return out


def lift_weight(attention: Attention, shift: Tensor | None) -> Tensor:
    """Values with a one -> the rows that cells get for them: H x (d+1) x C.

    The last entry is each head's share of the constants: the bias of the output, and the shift.
    """
    out = attention.out_by_head()
    constant = attention.out_proj.bias if shift is None else attention.out_proj.bias + shift
    constant = constant / attention.heads
    return torch.cat((out, constant.expand(attention.heads, 1, -1)), dim=1)


def centerd(x: Tensor) -> Tensor:
    """... x C less its mean over the channels."""
    return x - x.mean(-1, keepdim=True)


class WrittenCells(NamedTuple):
    """The cells of P prompts, P x S x C; at first the image's own, (P or 1) x S x C."""

    image: PreparedImage
    cells: Tensor
    is_first: bool = True

    def seen_by(self, attention: Attention, q: Tensor) -> Tensor:
        """What tokens q P x T x C see: P x T x C."""
        if not self.is_first:
            return attention.tokens_to_cells(q, self.cells + self.image.position, self.cells)
        layer = self.image.layers[0]
        weights = times_image(attention.asked(q), layer.keys).softmax(-1)
        return attention.merge(times_image(weights, layer.values), attention.v_proj.bias)

    def after_looking(
        self, attention: Attention, norm: nn.LayerNorm, k: Tensor, v: Tensor
    ) -> WrittenCells:
        """The cells after they looked at tokens, k and v P x T x C, and were normed."""
        queries = self.image.layers[0].queries
        if self.is_first and queries is not None:
            look = attention.mix(times_image(attention.asking(k), queries), v)
        else:
            look = attention.cells_to_tokens(self.cells + self.image.position, k, v)
        return WrittenCells(self.image, norm_of_sum(norm, self.cells, look), is_first=False)

    def projected(self, weight: Tensor, bias: Tensor, part: int) -> Tensor:  # noqa: ARG002
        """The cells times weight C x N, and bias N, as P x S x N; part: see FactoredCells."""
        return self.cells @ weight + bias

    def picked(self, index: Tensor) -> WrittenCells:
        """The cells of some of the prompts."""
        return self._replace(image=self.image.rows(index), cells=self.cells[index])
