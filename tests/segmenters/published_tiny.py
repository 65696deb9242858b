"""Tiny published segmenters with random weights, saved as transformers saves them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    Sam2Config,
    Sam2Model,
    Sam2VideoConfig,
    Sam2VideoModel,
    SamHQConfig,
    SamHQModel,
)

from .tiny import add_noise

SIDE, CHANNELS = 64, 32
CELLS = 16
"""Side of an answer's logits."""

PROMPT_ENCODER = {"hidden_size": CHANNELS, "image_size": SIDE, "patch_size": 16}
MASK_DECODER = {
    "hidden_size": CHANNELS,
    "mlp_dim": 48,
    "num_attention_heads": 4,
    "iou_head_hidden_dim": 24,
}


def sam2_config(**decoder: Any) -> dict[str, Any]:
    """Levels of 16, 8 and 4 cells a side, so that an answer is 16 x 16."""
    backbone = {
        "image_size": [SIDE, SIDE],
        "hidden_size": 8,
        "num_attention_heads": 1,
        "blocks_per_stage": [1, 1, 2, 1],
        "embed_dim_per_stage": [8, 16, 32, 64],
        "num_attention_heads_per_stage": [1, 2, 4, 8],
        "window_size_per_stage": [4, 2, 2, 2],
        "global_attention_blocks": [3],
        "window_positional_embedding_background_size": [4, 4],
    }
    vision = {
        "backbone_config": {"model_type": "sam2_hiera_det_model", **backbone},
        "backbone_channel_list": [64, 32, 16, 8],
        "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
        "fpn_hidden_size": CHANNELS,
    }
    return {
        "vision_config": {"model_type": "sam2_vision_model", **vision},
        "prompt_encoder_config": PROMPT_ENCODER,
        "mask_decoder_config": {**MASK_DECODER, **decoder},
    }


def build_sam2(**decoder: Any) -> Sam2Model:
    return _noisy(Sam2Model, Sam2Config(**sam2_config(**decoder)))


def build_sam2_video() -> Sam2VideoModel:
    config = Sam2VideoConfig(
        **sam2_config(),
        image_size=SIDE,
        memory_attention_hidden_size=CHANNELS,
        memory_attention_num_layers=1,
        memory_attention_feed_forward_hidden_size=16,
        memory_attention_rope_feat_sizes=[4, 4],
        memory_encoder_hidden_size=CHANNELS,
        memory_encoder_output_channels=8,
        mask_downsampler_embed_dim=CHANNELS,
        memory_fuser_embed_dim=CHANNELS,
        memory_fuser_intermediate_dim=16,
    )
    return _noisy(Sam2VideoModel, config)


def build_sam_hq() -> SamHQModel:
    vision = {
        "hidden_size": 32,
        "output_channels": CHANNELS,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": SIDE,
        "patch_size": 16,
        "window_size": 3,
        "global_attn_indexes": [1],
        "mlp_ratio": 2.0,
        "num_pos_feats": CHANNELS // 2,
    }
    config = SamHQConfig(
        vision_config=vision,
        prompt_encoder_config=PROMPT_ENCODER,
        mask_decoder_config={**MASK_DECODER, "vit_dim": 32},
    )
    return _noisy(SamHQModel, config)


BUILDERS: dict[str, Callable[[], nn.Module]] = {"sam2": build_sam2, "sam-hq": build_sam_hq}


def save(network: nn.Module, folder: Path) -> Path:
    network.save_pretrained(folder)  # type: ignore[operator]
    return folder


def _noisy(build: type, config: Any) -> Any:
    torch.manual_seed(0)
    network = build(config).eval()
    places = network.shared_image_embedding.positional_embedding
    with torch.no_grad():
        add_noise(network)
        # The published networks have one code of places under two names.
        network.prompt_encoder.shared_embedding.positional_embedding.copy_(places)
    return network
