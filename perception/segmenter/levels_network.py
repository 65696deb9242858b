"""What a network with several levels of features brings, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from torch import Tensor, nn

from perception.segmenter.prepared_image import PreparedImage
from perception.types import MASKS


class PreparedLevels(NamedTuple):
    """A picture, prepared. levels: its finer features, 1 x rows x columns x channels each."""

    image: PreparedImage
    levels: tuple[Tensor, ...]


class Good(NamedTuple):
    """The masks of P prompts that are good enough.

    logits: N x h x w, in the order of the prompts; which: N, 4 * prompt + mask; quality: P x 4, of
    all.
    """

    logits: Tensor
    which: Tensor
    quality: Tensor


class LevelsNetwork(Protocol):
    """A network in three steps: ``vision`` and ``levels``, ``prepare``, ``decode_good``.

    side: of its square input; stretched: whether pictures fill it whatever their shape; mean, std:
    of red, green and blue on 0..255; embedding_shape: C, h, w; mask_size: side of its logits;
    vision: pixels B x 3 x S x S -> tensors with B rows each.
    """

    side: int
    stretched: bool
    mean: Sequence[float]
    std: Sequence[float]
    embedding_shape: tuple[int, int, int]
    mask_size: int
    vision: nn.Module

    def levels(self, features: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """What ``vision`` gave, in float32 -> what decoding needs, B rows each."""
        ...

    def prepare(self, levels: tuple[Tensor, ...]) -> PreparedLevels:
        """One picture's levels -> what its prompts share."""
        ...

    def decode_good(
        self,
        image: PreparedLevels,
        coords: Tensor,
        labels: Tensor,
        least_quality: Tensor,
        earlier: Tensor | None = None,
    ) -> Good:
        """P prompts, P x K x 2 and P x K -> the masks whose quality reaches least_quality (4).

        earlier: the logits of an earlier answer to each, P x 1 x h x w.
        """
        ...


def pick_good(upscale: Callable[[Tensor], Tensor], quality: Tensor, least_quality: Tensor) -> Good:
    """Upscales the prompts that have a mask whose quality, of P x 4, reaches least_quality (4).

    upscale: rows R -> logits R x 4 x h x w; asked for no rows it gives none.
    """
    good = quality >= least_quality
    rows = good.any(dim=1).nonzero()[:, 0]
    prompts, masks = good.nonzero().unbind(1)
    row_of_prompt = good.any(dim=1).long().cumsum(0) - 1
    return Good(upscale(rows)[row_of_prompt[prompts], masks], prompts * MASKS + masks, quality)
