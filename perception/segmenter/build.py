"""The variants of the SAM network, as plain functions with their numbers."""

from __future__ import annotations

from torch import nn

from perception.segmenter.image_encoder import ViTImageEncoder
from perception.segmenter.mask_decoder import MaskDecoder
from perception.segmenter.nano_encoder import NanoImageEncoder, TwoTrunkEncoder
from perception.segmenter.prompt_encoder import PromptEncoder
from perception.segmenter.sam import Sam
from perception.segmenter.transformer import TwoWayTransformer


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
