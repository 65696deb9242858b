"""The Segment Anything network, and its variants as plain functions with their numbers.

Kirillov et al. 2023, "Segment Anything". The names of the parameters are those of the published
checkpoints.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from perception.segmenters.nano import NanoImageEncoder, TwoTrunkEncoder
from perception.segmenters.sam.cells import PreparedImage
from perception.segmenters.sam.image_encoder import ViTImageEncoder
from perception.segmenters.sam.mask_decoder import MaskDecoder
from perception.segmenters.sam.prompt_encoder import PromptEncoder
from perception.segmenters.sam.transformer import Cells, TwoWayTransformer
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
        """C, h, w of what ``encode`` gives for an image."""
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


def build_sam_vit_b() -> Sam:
    """SAM ViT-B: 94 M parameters, with random weights."""
    return _full_size(_vit(width=768, depth=12, heads=12, global_blocks=(2, 5, 8, 11)))


def build_sam_vit_l() -> Sam:
    """SAM ViT-L: 312 M parameters, with random weights."""
    return _full_size(_vit(width=1024, depth=24, heads=16, global_blocks=(5, 11, 17, 23)))


def build_sam_vit_h() -> Sam:
    """SAM ViT-H: 641 M parameters, with random weights."""
    return _full_size(_vit(width=1280, depth=32, heads=16, global_blocks=(7, 15, 23, 31)))


def build_nano(side: int = 320) -> Sam:
    """The embedded nano model for a side x side input (32 divides it), with random weights.

    Its weights fit every side.
    """
    return _nano(_nano_encoder(), side, has_fine=False)


def build_nano2(side: int = 320) -> Sam:
    """Nano of the second generation: nano beside EfficientNet-Lite0, with random weights.

    For a side x side input (32 divides it); its weights fit every side.
    """
    encoder = TwoTrunkEncoder(_nano_encoder(), fine=24, fine_width=32)
    return _nano(encoder, side, has_fine=True)


def _nano_encoder() -> NanoImageEncoder:
    return NanoImageEncoder(
        widths=(16, 32, 64, 128, 192), depths=(1, 4, 10, 14), merge_depth=3, channels=96
    )


def _nano(encoder: nn.Module, side: int, *, has_fine: bool) -> Sam:
    return Sam(
        encoder,
        PromptEncoder(channels=96, image_size=side, embedding_size=side // 8, mask_channels=16),
        MaskDecoder(
            TwoWayTransformer(depth=2, channels=96, heads=4, hidden=256),
            channels=96,
            quality_depth=3,
            quality_hidden=96,
        ),
        has_fine=has_fine,
    ).eval()


def _vit(*, width: int, depth: int, heads: int, global_blocks: tuple[int, ...]) -> nn.Module:
    return ViTImageEncoder(
        image_size=1024,
        patch=16,
        width=width,
        depth=depth,
        heads=heads,
        mlp_ratio=4,
        window=14,
        global_blocks=global_blocks,
        channels=256,
    )


def _full_size(image_encoder: nn.Module) -> Sam:
    return Sam(
        image_encoder,
        PromptEncoder(channels=256, image_size=1024, embedding_size=64, mask_channels=16),
        MaskDecoder(
            TwoWayTransformer(depth=2, channels=256, heads=8, hidden=2048),
            channels=256,
            quality_depth=3,
            quality_hidden=256,
        ),
    ).eval()
