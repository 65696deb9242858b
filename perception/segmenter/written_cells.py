"""Image cells of prompts, written out: for one prompt on an image, and for many tokens."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from perception.segmenter.attention import Attention, times_image
from perception.segmenter.graph_forms import norm_of_sum
from perception.segmenter.prepared_image import PreparedImage


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
