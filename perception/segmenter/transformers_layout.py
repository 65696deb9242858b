"""How Hugging Face transformers' ``SamModel`` spells the weights of a published SAM checkpoint.

The tensors are the same, with the same shapes; only the names differ, and the frequencies of the
positional code are there twice or once. The names are looked up from the published ones, which the
network knows, so that a name that only resembles one of transformers' is never taken for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from perception.errors import WeightsError

FREQUENCIES = "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"
SHARED = "shared_image_embedding.positional_embedding"
TWIN = "prompt_encoder.shared_embedding.positional_embedding"
"""One tensor under two names: files of tied weights keep one of them, usually the first."""

PERCEPTRON = r"(output_hypernetworks_mlps\.\d+|iou_prediction_head)\.layers"
RULES = (
    (r"^image_encoder\.blocks\.", "vision_encoder.layers."),
    (r"^image_encoder\.", "vision_encoder."),
    (r"\.patch_embed\.proj\.", ".patch_embed.projection."),
    (r"\.neck\.0\.", ".neck.conv1."),
    (r"\.neck\.1\.", ".neck.layer_norm1."),
    (r"\.neck\.2\.", ".neck.conv2."),
    (r"\.neck\.3\.", ".neck.layer_norm2."),
    (r"\.norm(\d|_)", r".layer_norm\1"),
    (r"\.point_embeddings\.", ".point_embed."),
    (r"\.mask_downscaling\.0\.", ".mask_embed.conv1."),
    (r"\.mask_downscaling\.1\.", ".mask_embed.layer_norm1."),
    (r"\.mask_downscaling\.3\.", ".mask_embed.conv2."),
    (r"\.mask_downscaling\.4\.", ".mask_embed.layer_norm2."),
    (r"\.mask_downscaling\.6\.", ".mask_embed.conv3."),
    (r"\.output_upscaling\.0\.", ".upscale_conv1."),
    (r"\.output_upscaling\.1\.", ".upscale_layer_norm."),
    (r"\.output_upscaling\.3\.", ".upscale_conv2."),
    (PERCEPTRON + r"\.0\.", r"\1.proj_in."),
    (PERCEPTRON + r"\.2\.", r"\1.proj_out."),
    (PERCEPTRON + r"\.1\.", r"\1.layers.0."),  # last: what it writes looks like a published name
)
"""Published pattern -> transformers' name, applied one after the other."""


def is_transformers_layout(keys: Iterable[str]) -> bool:
    """Whether these are keys of ``SamModel``, complete or not."""
    return any(key.startswith("vision_encoder.") for key in keys)


def transformers_name(key: str) -> str:
    """The name of transformers for a published key."""
    if key == FREQUENCIES:
        return SHARED
    for pattern, name in RULES:
        key = re.sub(pattern, name, key)
    return key


def spelling(keys: Iterable[str]) -> Callable[[str], str]:
    """Published key -> its name in a file of transformers that holds these keys."""
    kept = set(keys)
    frequencies = TWIN if TWIN in kept and SHARED not in kept else SHARED
    return lambda key: frequencies if key == FREQUENCIES else transformers_name(key)


def without_twin(weights: Mapping[str, Tensor], path: str | Path) -> dict[str, Tensor]:
    """The weights with the positional code's frequencies under one name, as the network has them.

    Raises WeightsError where the two names hold different numbers.
    """
    if SHARED not in weights or TWIN not in weights:
        return dict(weights)
    shared, twin = weights[SHARED], weights[TWIN]
    if shared.shape != twin.shape or not torch.equal(shared.float(), twin.float()):
        raise WeightsError(
            f"{path}: {SHARED} and {TWIN} differ; SAM has one positional code, so that they must "
            "be equal: save the model again with its weights tied"
        )
    return {key: value for key, value in weights.items() if key != TWIN}
