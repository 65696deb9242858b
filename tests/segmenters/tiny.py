"""A tiny SAM and the published package's network of the same sizes."""

from __future__ import annotations

import torch
from segment_anything.modeling import (
    ImageEncoderViT,
)
from segment_anything.modeling import (
    MaskDecoder as ReferenceMaskDecoder,
)
from segment_anything.modeling import (
    PromptEncoder as ReferencePromptEncoder,
)
from segment_anything.modeling import (
    Sam as ReferenceSam,
)
from segment_anything.modeling import (
    TwoWayTransformer as ReferenceTransformer,
)
from torch import nn

from perception.segmenters.sam.image_encoder import ViTImageEncoder
from perception.segmenters.sam.mask_decoder import MaskDecoder
from perception.segmenters.sam.network import Sam
from perception.segmenters.sam.onnx import SegmenterMetadata
from perception.segmenters.sam.prompt_encoder import PromptEncoder
from perception.segmenters.sam.transformer import TwoWayTransformer

SIDE, PATCH, CHANNELS = 64, 8, 32
METADATA = SegmenterMetadata("tiny", "1", SIDE, (CHANNELS, SIDE // PATCH, SIDE // PATCH))


def add_noise(module: nn.Module, *, seed: int = 0) -> None:
    """Noise in every tensor: a fresh network has position tables of zeros and norms of ones."""
    generator = torch.Generator().manual_seed(seed)
    for tensor in module.state_dict().values():
        if tensor.is_floating_point():
            tensor += 0.2 * torch.rand(tensor.shape, generator=generator)


def build_tiny(side: int = SIDE) -> Sam:
    """Windows of 3 cells on a grid of 8, so that the last window is padded; block 1 is global."""
    return Sam(
        ViTImageEncoder(
            image_size=side,
            patch=PATCH,
            width=32,
            depth=3,
            heads=2,
            mlp_ratio=2,
            window=3,
            global_blocks=(1,),
            channels=CHANNELS,
        ),
        PromptEncoder(
            channels=CHANNELS, image_size=side, embedding_size=side // PATCH, mask_channels=16
        ),
        MaskDecoder(
            TwoWayTransformer(depth=2, channels=CHANNELS, heads=4, hidden=48),
            channels=CHANNELS,
            quality_depth=3,
            quality_hidden=24,
        ),
    ).eval()


def build_reference() -> ReferenceSam:
    grid = SIDE // PATCH
    return ReferenceSam(
        ImageEncoderViT(
            img_size=SIDE,
            patch_size=PATCH,
            embed_dim=32,
            depth=3,
            num_heads=2,
            mlp_ratio=2,
            out_chans=CHANNELS,
            norm_layer=lambda width: nn.LayerNorm(width, eps=1e-6),
            use_rel_pos=True,
            window_size=3,
            global_attn_indexes=(1,),
        ),
        ReferencePromptEncoder(CHANNELS, (grid, grid), (SIDE, SIDE), 16),
        ReferenceMaskDecoder(
            transformer_dim=CHANNELS,
            transformer=ReferenceTransformer(2, CHANNELS, 4, 48),
            iou_head_depth=3,
            iou_head_hidden_dim=24,
        ),
    ).eval()
