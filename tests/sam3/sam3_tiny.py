"""A tiny SAM 3 with random weights and a tokenizer of a few words, saved as transformers saves."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import CLIPTokenizer, Sam3VideoConfig, Sam3VideoModel

SIDE, CHANNELS, QUERIES = 56, 32, 12
WORDS = ("red", "blue", "cat", "star", "car", "visual", "dr", "pepper")

_SMALL = {
    "hidden_size": CHANNELS,
    "num_layers": 1,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "dropout": 0.0,
}
_VISION = {
    "model_type": "sam3_vision_model",
    "backbone_config": {
        "model_type": "sam3_vit_model",
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": SIDE,
        "patch_size": 14,
        "window_size": 2,
        "global_attn_indexes": [1],
        "pretrain_image_size": 28,
    },
    "fpn_hidden_size": CHANNELS,
    "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
}
_CONCEPTS = {
    "model_type": "sam3",
    "vision_config": _VISION,
    "text_config": {
        "model_type": "clip_text_model",
        "vocab_size": 128,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "max_position_embeddings": 32,
        "projection_dim": 16,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 1,
    },
    "geometry_encoder_config": {**_SMALL, "roi_size": 2},
    "detr_encoder_config": _SMALL,
    "detr_decoder_config": {**_SMALL, "num_queries": QUERIES},
    "mask_decoder_config": {"hidden_size": CHANNELS, "num_attention_heads": 4},
}
_TRACKER = {
    "model_type": "sam3_tracker_video",
    "vision_config": _VISION,
    "prompt_encoder_config": {"hidden_size": CHANNELS, "image_size": SIDE, "patch_size": 14},
    "mask_decoder_config": {
        "hidden_size": CHANNELS,
        "mlp_dim": 48,
        "num_attention_heads": 4,
        "iou_head_hidden_dim": 24,
    },
    "image_size": SIDE,
    "memory_attention_hidden_size": CHANNELS,
    "memory_attention_num_layers": 1,
    "memory_attention_feed_forward_hidden_size": 16,
    "memory_attention_rope_feat_sizes": [4, 4],
    "memory_encoder_hidden_size": CHANNELS,
    "memory_encoder_output_channels": 8,
    "mask_downsampler_embed_dim": CHANNELS,
    "memory_fuser_embed_dim": CHANNELS,
    "memory_fuser_intermediate_dim": 16,
}


def build_sam3() -> Sam3VideoModel:
    torch.manual_seed(0)
    config = Sam3VideoConfig(detector_config=_CONCEPTS, tracker_config=_TRACKER)
    network = Sam3VideoModel(config).eval()
    tracker = network.tracker_model
    with torch.no_grad():
        for tensor in network.state_dict().values():
            if tensor.is_floating_point():  # norms of ones and tables of zeros would hide faults
                tensor += 0.1 * torch.rand(tensor.shape)
        tracker.prompt_encoder.shared_embedding.positional_embedding.copy_(
            tracker.shared_image_embedding.positional_embedding
        )
    return network


def build_tokenizer() -> CLIPTokenizer:
    """Whole words, and letters for the rest."""
    marks = ["<|startoftext|>", "<|endoftext|>"]
    letters = [letter + end for letter in "abcdefghijklmnopqrstuvwxyz." for end in ("", "</w>")]
    merges, joined = [], []
    for word in WORDS:
        left = word[0]
        for n, letter in enumerate(word[1:], 2):
            right = letter + ("</w>" if n == len(word) else "")
            if (left, right) not in merges:
                merges.append((left, right))
                joined.append(left + right)
            left += right
    vocabulary = {piece: n for n, piece in enumerate(dict.fromkeys(marks + letters + joined))}
    return CLIPTokenizer(vocab=vocabulary, merges=merges)


def save_sam3(folder: Path) -> Path:
    build_sam3().save_pretrained(folder)
    build_tokenizer().save_pretrained(folder)
    return folder
