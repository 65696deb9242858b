"""OWLv2's two sides as graphs take them: phrases, and one picture.

The weights are those of transformers' ``Owlv2ForObjectDetection``; see ``owlv2`` for the same steps
in torch.
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from perception.detector.exportable_clip import (
    ExportableClipImage,
    ExportableClipText,
    at_the_end,
)

TINY = 1e-6
"""Added to the lengths that vectors are divided by, as in training."""


class ExportableOwlv2Text(nn.Module):
    """ids N x L, what follows the end token being 0 -> queries N x D of length 1."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.text = ExportableClipText(network.owlv2.text_model)
        self.project = network.owlv2.text_projection

    def forward(self, ids: Tensor) -> Tensor:
        query = self.project(at_the_end(self.text(ids), ids))
        return normalised(query / query.norm(dim=-1, keepdim=True))


class ExportableOwlv2Patches(nn.Module):
    """pixels 1 x 3 x S x S -> embeddings Q x D, boxes Q x 4, objectness Q, shift and scale Q x 1.

    Of each of Q patches: the logit of a query is (embedding · query + shift) · scale; the box is
    cxcywh as parts of the square; the logit that there is anything at all.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.image = ExportableClipImage(network.owlv2.vision_model)
        self.norm, self.box_bias = network.layer_norm, network.box_bias
        self.class_head, self.box_head = network.class_head, network.box_head
        self.objectness_head = network.objectness_head

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        cells = self.image(pixels)
        patches = self.norm(cells[1:] * cells[:1])
        head = self.class_head
        return (
            normalised(head.dense0(patches)),
            (self.box_head(patches) + self.box_bias).sigmoid(),
            self.objectness_head(patches)[:, 0],
            head.logit_shift(patches),
            F.elu(head.logit_scale(patches)) + 1,
        )


def normalised(vectors: Tensor) -> Tensor:
    """N x D -> the same of length 1, but for what keeps a zero a zero."""
    unit: Tensor = vectors / (vectors.norm(dim=-1, keepdim=True) + TINY)
    return unit
