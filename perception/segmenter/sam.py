"""The Segment Anything network: an image encoder, a prompt encoder and a mask decoder.

Kirillov et al. 2023, "Segment Anything". The names of the parameters are those of the published
checkpoints.
"""

from __future__ import annotations

from torch import Tensor, nn

from perception.segmenter.mask_decoder import MaskDecoder
from perception.segmenter.prompt_encoder import PromptEncoder


class Sam(nn.Module):
    """Three finished parts and the two ways through them; it keeps no state between calls."""

    def __init__(
        self, image_encoder: nn.Module, prompt_encoder: PromptEncoder, mask_decoder: MaskDecoder
    ) -> None:
        super().__init__()
        self.image_encoder = image_encoder
        self.prompt_encoder = prompt_encoder
        self.mask_decoder = mask_decoder

    @property
    def side(self) -> int:
        """Side of the square input in pixels."""
        return self.prompt_encoder.image_size

    @property
    def mask_size(self) -> int:
        """Side of the square logits that ``decode`` returns and takes back."""
        return 4 * self.prompt_encoder.embedding_size

    def encode(self, pixels: Tensor) -> Tensor:
        """Normalised pixels B x 3 x S x S -> embeddings B x C x h x w."""
        embeddings: Tensor = self.image_encoder(pixels)
        return embeddings

    def decode(
        self,
        embeddings: Tensor,
        coords: Tensor,
        labels: Tensor,
        mask_input: Tensor | None = None,
        has_mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """P prompts -> logits P x 4 x 4h x 4w, quality P x 4 (index 0: the single-mask answer).

        embeddings: 1 x C x h x w, one image for all prompts, or P x C x h x w, one row per prompt
        (``embeddings[image_of_prompt]``); coords: P x K x 2 (x, y) in pixels of the model's input;
        labels: P x K, see ``prompt_encoder``; mask_input: earlier logits P x 1 x 4h x 4w;
        has_mask: P, which rows of mask_input count (default: all).
        """
        encoder = self.prompt_encoder
        logits, quality = self.mask_decoder(
            embeddings,
            encoder.image_position(),
            encoder.sparse(coords, labels),
            encoder.dense(mask_input, has_mask),
        )
        return logits, quality
