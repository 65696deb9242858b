"""The Segment Anything network: an image encoder, a prompt encoder and a mask decoder.

Kirillov et al. 2023, "Segment Anything". The names of the parameters are those of the published
checkpoints.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from perception.segmenter.mask_decoder import MaskDecoder
from perception.segmenter.prepared_image import PreparedImage
from perception.segmenter.prompt_encoder import PromptEncoder
from perception.segmenter.transformer import Cells
from perception.types import MASKS


class Sam(nn.Module):
    """Three finished parts and the two ways through them; it keeps no state between calls.

    has_fine: whether the encoder gives as many channels again after the embedding's own, finer
    features for the mask decoder's upscaler.
    """

    def __init__(
        self,
        image_encoder: nn.Module,
        prompt_encoder: PromptEncoder,
        mask_decoder: MaskDecoder,
        *,
        has_fine: bool = False,
    ) -> None:
        super().__init__()
        self.has_fine = has_fine
        self.image_encoder = image_encoder
        self.prompt_encoder = prompt_encoder
        self.mask_decoder = mask_decoder

    @property
    def side(self) -> int:
        """Side of the square input in pixels."""
        return self.prompt_encoder.image_size

    @property
    def embedding_shape(self) -> tuple[int, int, int]:
        """C, h, w of what ``encode`` gives for a picture."""
        size = self.prompt_encoder.embedding_size
        return (1 + self.has_fine) * self._channels, size, size

    @property
    def _channels(self) -> int:
        return self.prompt_encoder.no_mask_embed.embedding_dim

    @property
    def mask_size(self) -> int:
        """Side of the square logits that ``decode`` returns and takes back."""
        return 4 * self.prompt_encoder.embedding_size

    def encode(self, pixels: Tensor) -> Tensor:
        """Normalised pixels B x 3 x S x S -> embeddings B x C x h x w."""
        embeddings: Tensor = self.image_encoder(pixels)
        return embeddings

    def prepare(
        self,
        embeddings: Tensor,
        mask_input: Tensor | None = None,
        has_mask: Tensor | None = None,
        *,
        factored: bool = True,
    ) -> PreparedImage:
        """Embeddings B x C x h x w -> what all prompts on each image share.

        mask_input: earlier logits B x 1 x 4h x 4w, on one image or on one each; has_mask: B, which
        of them count (default: all). Such a mask becomes part of the image; one that belongs to
        a prompt costs far less in ``look``. factored: prepare it for many prompts; for a single one
        less work is left without.
        """
        encoder = self.prompt_encoder
        dense = encoder.dense(mask_input, has_mask)
        position = encoder.image_position()
        rows = encoder.mask_rows() if mask_input is None else None
        fine = embeddings[:, self._channels :] if self.has_fine else None
        return self.mask_decoder.prepare(
            embeddings[:, : self._channels],
            position,
            dense,
            fine=fine,
            mask_rows=rows,
            factored=factored,
        )

    def look(
        self, image: PreparedImage, coords: Tensor, labels: Tensor, earlier: Tensor | None = None
    ) -> tuple[Tensor, Cells, Tensor]:
        """P prompts -> mask tokens P x 4 x C, their cells, quality P x 4.

        Takes what ``decode`` takes; ``upscale`` makes logits P x 4 x 4h x 4w of tokens and cells.
        """
        mask = None if earlier is None else self.prompt_encoder.earlier(earlier)
        return self.mask_decoder.look(image, self.prompt_encoder.sparse(coords, labels), mask)

    def upscale(self, tokens: Tensor, cells: Cells) -> Tensor:
        """Mask tokens P x 4 x C and the cells of P prompts -> logits P x 4 x 4h x 4w."""
        return self.mask_decoder.upscale(tokens, cells)

    def decode(
        self, image: PreparedImage, coords: Tensor, labels: Tensor, earlier: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """P prompts -> logits P x 4 x 4h x 4w, quality P x 4 (index 0: the single-mask answer).

        image: one for all prompts, or one row per prompt (``image.rows(image_of_prompt)``);
        coords: P x K x 2 (x, y) in pixels of the model's input; labels: P x K, see
        ``prompt_encoder``; earlier: the logits of an earlier answer to each prompt, P x 1 x 4h x 4w
        (P x 0 x 4h x 4w is none), on images that were prepared without one.
        """
        tokens, cells, quality = self.look(image, coords, labels, earlier)
        return self.upscale(tokens, cells), quality

    def decode_good(
        self,
        image: PreparedImage,
        coords: Tensor,
        labels: Tensor,
        least_quality: Tensor,
        earlier: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """P prompts -> the masks whose quality reaches least_quality (4); others cost no upscaling.

        Otherwise takes what ``decode`` takes.
        Returns logits N x 4h x 4w in the order of the prompts; which they are, N, as
        4 * prompt + mask; the quality P x 4 of all.
        """
        tokens, cells, quality = self.look(image, coords, labels, earlier)
        good = quality >= least_quality  # P x 4
        has_good = good.any(dim=1)
        # Where there is none, the first prompt is upscaled for nothing: ONNX Runtime's GELU divides
        # by the number of rows.
        is_first = torch.arange(good.shape[0], device=good.device) == 0
        upscaled = has_good | (is_first & ~has_good.any())
        rows = upscaled.nonzero()[:, 0]
        logits = self.upscale(tokens.index_select(0, rows), cells.picked(rows))
        prompts, masks = good.nonzero().unbind(1)
        row_of_prompt = upscaled.long().cumsum(0) - 1
        return logits[row_of_prompt[prompts], masks], prompts * MASKS + masks, quality
