"""What all prompts on one image share; made once per image by ``TwoWayTransformer.prepare``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

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
