"""The tensors of a checkpoint, read without running code from it."""

from __future__ import annotations

import pickle
import struct
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import torch
from torch import Tensor

from perception.errors import WeightsError
from perception.segmenter.checkpoint_files import checkpoint_files
from perception.weights.contents import what_instead
from perception.weights.misfits import first_few

DAMAGE = (
    RuntimeError,
    OSError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    struct.error,
)
"""What torch raises for files with bytes changed or cut off."""


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint on the CPU: a .safetensors or torch file, an index or a folder.

    Raises WeightsError when a file is missing, damaged, or holds more than named tensors, and when
    two shards hold the same name.
    """
    weights: dict[str, Tensor] = {}
    for file in checkpoint_files(Path(path)):
        part = _read_file(file)
        twice = [key for key in part if key in weights]
        if twice:
            raise WeightsError(f"{file}: another shard has these, too: {first_few(twice)}")
        weights.update(part)
    return weights


def _read_file(path: Path) -> dict[str, Tensor]:
    try:
        path.open("rb").close()
    except OSError as error:  # asked here: torch raises the same for damage
        raise WeightsError(f"{path}: can't be read: {error.strerror}") from None
    weights = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    if not isinstance(weights, dict) or not weights:
        raise WeightsError(f"{path}: expected named tensors, got {type(weights).__name__}")
    other = [
        str(key)
        for key, value in weights.items()
        if not isinstance(key, str) or not isinstance(value, Tensor)
    ]
    if other:
        raise WeightsError(
            f"{path}: expected named tensors; these entries are something else: {first_few(other)}"
        )
    return weights


def _read_safetensors(path: Path) -> object:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        reason = what_instead(path) or _first_line(error)
        raise WeightsError(f"{path}: a damaged safetensors file: {reason}") from None


def _read_torch(path: Path) -> object:
    if _is_torchscript(path):
        raise WeightsError(
            f"{path}: refused: it is a TorchScript archive, which holds code; give the network's "
            "tensors, as torch.save(network.state_dict(), FILE) or safetensors write them"
        )
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # A zip is torch's own format; anything else may be no pickle at all.
        if _is_zip(path) or "GLOBAL" in str(error):
            raise WeightsError(
                f"{path}: refused: it holds Python objects beside tensors, which could run code"
            ) from None
        # Not torch's own words, which advise to let the file run its code.
        reason = what_instead(path) or "torch doesn't know its format"
        raise WeightsError(f"{path}: not a checkpoint: {reason}") from None
    except DAMAGE as error:
        reason = what_instead(path) or _first_line(error)
        raise WeightsError(f"{path}: a damaged checkpoint: {reason}") from None


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"PK"


def _is_torchscript(path: Path) -> bool:
    """Whether it is what ``torch.jit.save`` writes: a zip with code and the constants of it."""
    try:
        with ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except (BadZipFile, OSError, ValueError, NotImplementedError):
        return False


def _first_line(error: Exception) -> str:
    line = (str(error).splitlines() or [type(error).__name__])[0]
    # Torch advises to let a file run its code.
    return "torch can't read it as tensors alone" if "weights_only" in line else line
