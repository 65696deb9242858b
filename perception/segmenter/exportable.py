"""The SAM network in the two pieces that an ONNX file holds each."""

from __future__ import annotations

from torch import Tensor, nn

from perception.segmenter.sam import Sam


class ExportableEncoder(nn.Module):
    """Normalised pixels 1 x 3 x S x S -> embedding 1 x C x h x w."""

    def __init__(self, sam: Sam) -> None:
        super().__init__()
        self.sam = sam

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels 1 x 3 x S x S -> embedding 1 x C x h x w."""
        return self.sam.encode(pixels)


class ExportableDecoder(nn.Module):
    """P prompts of K places each on one embedding -> four masks with predicted quality."""

    def __init__(self, sam: Sam) -> None:
        super().__init__()
        self.sam = sam

    def forward(
        self,
        embedding: Tensor,
        coords: Tensor,
        labels: Tensor,
        mask_input: Tensor,
        has_mask: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Decode; nothing here depends on P, K or the values.

        embedding: 1 x C x h x w; coords: P x K x 2 in pixels of the model's input, without the
        + 0.5; labels: P x K; mask_input: P x 1 x 4h x 4w; has_mask: P, 0 or 1.
        Returns logits P x 4 x 4h x 4w, quality P x 4.
        """
        return self.sam.decode(embedding, coords, labels, mask_input, has_mask)
