"""Folders that transformers saves: its names for SAM's weights, loaded strictly.

The tensors are the same, with the same shapes; only the names differ, and the frequencies of the
positional code are there twice or once. The names are looked up from the published ones, which the
network knows, so that a name that only resembles one of transformers' is never taken for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from perception.checkpoints.installed import CONFIG, read_settings
from perception.checkpoints.state_dict import quiet_transformers, read_state_dict, reported_misfits
from perception.errors import MissingExtraError, WeightsError
from perception.imaging.read import printable

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


def load_pretrained(folder: str | Path, classes: Mapping[str, str], *, family: str) -> nn.Module:
    """The network in a folder, in evaluation mode and in float32, on the CPU.

    classes: what its configuration may call itself -> the class of transformers. family: for
    messages. No code of the folder is run.

    Raises WeightsError when a file is missing or damaged, holds another model, or when a weight is
    missing, unknown or of another shape; MissingExtraError for transformers without the class.
    """
    folder = Path(folder)
    settings = read_settings(folder)
    kind = settings.get("model_type")
    if not isinstance(kind, str) or kind not in classes:
        raise WeightsError(
            f"{_shown(folder / CONFIG)}: the model is of type {kind!r:.60}, {family} is "
            f"{' or '.join(map(repr, classes))}: name the family that it is of, or another folder"
        )
    network_class = _transformers_class(classes[kind], family)
    config = _configuration(network_class, settings, folder)
    return _filled(network_class, config, read_state_dict(folder), folder)


def _transformers_class(name: str, family: str) -> Any:
    try:
        import transformers
    except ImportError:
        raise MissingExtraError(
            f'{family} needs transformers: pip install "perception-masks[torch]"'
        ) from None
    found = getattr(transformers, name, None)
    if found is None:
        raise MissingExtraError(
            f"transformers {transformers.__version__} has no {name}, which {family} needs: "
            "pip install --upgrade transformers"
        )
    return found


def _configuration(network_class: Any, settings: dict[str, Any], folder: Path) -> Any:
    try:
        return network_class.config_class.from_dict(settings)
    except Exception as error:  # noqa: BLE001 - its checks raise errors of many libraries
        path = _shown(folder / CONFIG)
        raise WeightsError(f"{path}: can't be used: {_first_line(error)}") from None


def _filled(network_class: Any, config: Any, weights: dict[str, Tensor], folder: Path) -> nn.Module:
    """The network with these weights; whatever doesn't fit is told in one line."""
    try:
        with quiet_transformers():
            network, report = network_class.from_pretrained(
                None,
                config=config,
                state_dict=weights,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # so that they are told with the other faults
                local_files_only=True,
                dtype=torch.float32,
            )
    except (RuntimeError, ValueError, TypeError, OSError, LookupError, AttributeError) as error:
        raise WeightsError(
            f"{_shown(folder)}: its weights don't fit its {CONFIG}: {_first_line(error)}"
        ) from None
    faults = reported_misfits(report)
    if faults:
        raise WeightsError(f"{_shown(folder)}: its weights don't fit its {CONFIG}: {faults}")
    loaded: nn.Module = network.eval().requires_grad_(False)
    return loaded


def _shown(path: Path) -> str:
    return printable(str(path))


def _first_line(error: object) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
