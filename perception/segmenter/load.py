"""Checkpoint files become SAM networks, strictly: every key and every shape is accounted for."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from perception.errors import WeightsError
from perception.segmenter.build import (
    build_nano,
    build_sam_vit_b,
    build_sam_vit_h,
    build_sam_vit_l,
)
from perception.segmenter.sam import Sam

POSITION = "image_encoder.pos_embed"
BUILDERS = {768: build_sam_vit_b, 1024: build_sam_vit_l, 1280: build_sam_vit_h}
"""The published networks by the width of their transformer."""


def load_sam(path: str | Path) -> Sam:
    """The published SAM checkpoint (ViT-B, L or H; .pth or .safetensors) in ``path``.

    Raises WeightsError when the file is missing, damaged or holds anything else.
    """
    weights = read_state_dict(path)
    position = weights.get(POSITION)
    if position is None:
        raise WeightsError(
            f"{path}: not a SAM checkpoint: it has no {POSITION}, its keys start with "
            + ", ".join(sorted(weights)[:3])
        )
    width = position.shape[-1] if position.ndim else 0
    if width not in BUILDERS:
        known = ", ".join(str(n) for n in BUILDERS)
        raise WeightsError(
            f"{path}: a SAM network of width {width}; the published ones are {known}"
        )
    return build_with_weights(BUILDERS[width], weights, path)


def load_nano(path: str | Path, *, side: int = 320) -> Sam:
    """The nano network in ``path`` for a side x side input; raises WeightsError as ``load_sam``."""
    return build_with_weights(lambda: build_nano(side), read_state_dict(path), path)


def build_with_weights(
    build: Callable[[], Sam], weights: dict[str, Tensor], path: str | Path
) -> Sam:
    """The network that ``build`` makes, with these weights as float32.

    Raises WeightsError that names every missing, unknown and wrongly shaped key.
    """
    with torch.device("meta"):  # random weights that are thrown away cost seconds and gigabytes
        sam = build()
    wanted = sam.state_dict()
    shapes = (
        f"{key} {tuple(weights[key].shape)} instead of {tuple(wanted[key].shape)}"
        for key in wanted
        if key in weights and weights[key].shape != wanted[key].shape
    )
    faults = {
        "missing": ", ".join(key for key in wanted if key not in weights),
        "unknown": ", ".join(key for key in weights if key not in wanted),
        "wrong shape": ", ".join(shapes),
    }
    if any(faults.values()):
        named = "; ".join(f"{what}: {keys}" for what, keys in faults.items() if keys)
        raise WeightsError(f"{path}: its weights don't fit the network: {named}")
    typed = {key: value.to(wanted[key].dtype) for key, value in weights.items()}
    sam.load_state_dict(typed, strict=True, assign=True)
    return sam.eval()


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file or a torch checkpoint, on the CPU; runs no code of it.

    Raises WeightsError when the file is missing, damaged, or holds more than named tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"{path}: no such model file")
    weights = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    if not isinstance(weights, dict) or not weights:
        raise WeightsError(f"{path}: expected named tensors, got {type(weights).__name__}")
    other = [str(key) for key, value in weights.items() if not isinstance(value, Tensor)]
    if other:
        raise WeightsError(
            f"{path}: expected named tensors; these entries are something else: {', '.join(other)}"
        )
    return weights


def _read_safetensors(path: Path) -> object:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: a damaged safetensors file: {_first_line(error)}") from None


def _read_torch(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if zipfile.is_zipfile(path):
            raise WeightsError(
                f"{path}: refused: it holds Python objects beside tensors, which could run code"
            ) from None
        raise WeightsError(f"{path}: not a checkpoint: {_beginning(path, error)}") from None
    except (
        RuntimeError,
        OSError,
        EOFError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
    ) as error:
        raise WeightsError(f"{path}: a damaged checkpoint: {_beginning(path, error)}") from None


def _beginning(path: Path, error: Exception) -> str:
    with path.open("rb") as file:
        start = file.read(64).lstrip()
    if not start:
        return "the file is empty"
    if start.startswith(b"<"):
        return "it is a web page; download the file itself"
    return _first_line(error)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
