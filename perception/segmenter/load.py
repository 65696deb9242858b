"""Checkpoint files become SAM networks, strictly: every key and every shape is accounted for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from perception.errors import WeightsError
from perception.segmenter.build import (
    build_nano,
    build_nano2,
    build_sam_vit_b,
    build_sam_vit_h,
    build_sam_vit_l,
)
from perception.segmenter.checkpoint import read_state_dict
from perception.segmenter.sam import Sam
from perception.segmenter.transformers_layout import (
    is_transformers_layout,
    spelling,
    transformers_name,
    without_twin,
)
from perception.weights.misfits import misfits

POSITION = "image_encoder.pos_embed"
BUILDERS = {768: build_sam_vit_b, 1024: build_sam_vit_l, 1280: build_sam_vit_h}
"""The published networks by the width of their transformer."""


def load_sam(path: str | Path) -> Sam:
    """The published SAM network (ViT-B, L or H) whose weights are in ``path``.

    Either the published checkpoint (.pth or .safetensors), or what transformers' ``SamModel``
    saves: a .safetensors or .bin file, or its folder, in one file or in shards.

    Raises WeightsError when the file is missing, damaged or holds anything else.
    """
    weights = read_state_dict(path)
    spell: Callable[[str], str] = str
    if is_transformers_layout(weights):
        weights = without_twin(weights, path)
        spell = spelling(weights)
    return build_with_weights(_builder(weights, spell, path), weights, path, spell=spell)


def load_nano(path: str | Path, *, side: int = 320) -> Sam:
    """The nano network in ``path`` for a side x side input, of either generation.

    Raises WeightsError as ``load_sam``.
    """
    weights = read_state_dict(path)
    return build_with_weights(nano_builder(weights, side), weights, path)


def nano_builder(weights: dict[str, Tensor], side: int) -> Callable[[], Sam]:
    """What builds the nano network whose weights these are: the second generation has a trunk."""
    has_trunk = any(name.startswith("image_encoder.trunk.") for name in weights)
    return lambda: build_nano2(side) if has_trunk else build_nano(side)


def build_with_weights(
    build: Callable[[], Sam],
    weights: dict[str, Tensor],
    path: str | Path,
    *,
    spell: Callable[[str], str] = str,
) -> Sam:
    """The network that ``build`` makes, with these weights as float32.

    spell: a key of the network -> its name in the weights.

    Raises WeightsError that names the missing, unknown and wrongly shaped keys as the file does.
    """
    with torch.device("meta"):  # random weights that are thrown away cost seconds and gigabytes
        sam = build()
    wanted = sam.state_dict()
    names = {key: spell(key) for key in wanted}
    faults = _faults({names[key]: value.shape for key, value in wanted.items()}, weights)
    if faults:
        raise WeightsError(f"{path}: its weights don't fit the network: {faults}")
    typed = {key: weights[names[key]].to(value.dtype) for key, value in wanted.items()}
    sam.load_state_dict(typed, strict=True, assign=True)
    return sam.eval()


def _faults(wanted: dict[str, torch.Size], weights: dict[str, Tensor]) -> str:
    """What is missing, unknown and wrongly shaped in the weights, in one line; "" where all fit."""
    shapes = [
        f"{name} {tuple(weights[name].shape)} instead of {tuple(shape)}"
        for name, shape in wanted.items()
        if name in weights and weights[name].shape != shape
    ]
    return misfits(
        {
            "missing": [name for name in wanted if name not in weights],
            "unknown": [name for name in weights if name not in wanted],
            "wrong shape": shapes,
        }
    )


def _builder(
    weights: dict[str, Tensor], spell: Callable[[str], str], path: str | Path
) -> Callable[[], Sam]:
    """The builder of the published network that has the width of these weights."""
    position = weights.get(spell(POSITION))
    if position is None:
        raise WeightsError(
            f"{path}: not a SAM checkpoint: it has no {POSITION} (in transformers' layout "
            f"{transformers_name(POSITION)}), its keys start with " + ", ".join(sorted(weights)[:3])
        )
    width = position.shape[-1] if position.ndim else 0
    if width not in BUILDERS:
        known = ", ".join(str(n) for n in BUILDERS)
        raise WeightsError(
            f"{path}: a SAM network of width {width}; the published ones are {known}"
        )
    return BUILDERS[width]
