"""State dicts of checkpoints, read without running code and checked strictly."""

from __future__ import annotations

import json
import pickle
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PureWindowsPath
from typing import Any
from zipfile import BadZipFile, ZipFile

import torch
from torch import Tensor

from perception.checkpoints.installed import what_instead
from perception.errors import WeightsError

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


INDEX = ".index.json"
IN_FOLDER = (
    "model.safetensors",
    f"model.safetensors{INDEX}",
    "pytorch_model.bin",
    f"pytorch_model.bin{INDEX}",
)
"""The names that transformers gives to weights; the first one there is taken, as it does."""


def checkpoint_files(path: Path) -> list[Path]:
    """The files that hold the tensors of ``path``: a file, an index of shards, or a folder.

    Raises WeightsError when one of them is missing, and for an index that can't be trusted.
    """
    if path.is_dir():
        path = _in_folder(path)
    if not path.is_file():
        raise WeightsError(f"{path}: no such model file")
    return _shards(path) if path.name.endswith(INDEX) else [path]


def _in_folder(folder: Path) -> Path:
    for name in IN_FOLDER:
        if (folder / name).is_file():
            return folder / name
    raise WeightsError(
        f"{folder}: a folder without weights: expected {', '.join(IN_FOLDER[:-1])} or "
        f"{IN_FOLDER[-1]}; download one into it, or name the weight file itself"
    )


def _shards(index: Path) -> list[Path]:
    """The shards that an index names, each once."""
    names = sorted(set(_weight_map(index).values()))
    for name in names:
        # The file may come from anywhere: its names must not reach what lies outside the folder.
        # This way of taking names apart knows the slashes and drives of every system.
        if name in ("", "..") or PureWindowsPath(name).name != name:
            raise WeightsError(
                f"{index}: refused: the shard {name!r} isn't the name of a file in the same folder"
            )
        if not (index.parent / name).is_file():
            raise WeightsError(
                f"{index}: its shard {name} is missing: download it into the same folder"
            )
    return [index.parent / name for name in names]


def _weight_map(index: Path) -> dict[str, str]:
    """Key -> name of its shard."""
    try:
        content = json.loads(index.read_text("utf-8"))
    except (ValueError, RecursionError, OSError) as error:
        raise WeightsError(f"{index}: a damaged index of shards: {error}") from None
    shards = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(shards, dict) or not shards:
        raise WeightsError(f"{index}: not an index of shards: it has no weight_map")
    if not all(isinstance(name, str) for name in shards.values()):
        raise WeightsError(f"{index}: not an index of shards: its weight_map names no files")
    return shards


SHOWN = 5
"""How many names of a long list an error tells."""


def misfits(faults: Mapping[str, Sequence[str]]) -> str:
    """The names of tensors by what is wrong with them, as one line; "" where nothing is."""
    return "; ".join(f"{what}: {first_few(names)}" for what, names in faults.items() if names)


def first_few(names: Sequence[str]) -> str:
    """The names in one line; of a long list the first five and how many more there are."""
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def reported_misfits(report: Mapping[str, Any]) -> str:
    """The same of transformers' report, the ``loading_info`` of ``from_pretrained``."""
    return misfits(
        {
            "missing": sorted(report["missing_keys"]),
            "unknown": sorted(report["unexpected_keys"]),
            "wrong shape": [
                f"{name} {tuple(have)} instead of {tuple(want)}"
                for name, have, want in sorted(report["mismatched_keys"])
            ],
            "unreadable": [
                " ".join(str(one).split())[:300] for one in report.get("error_msgs", ())
            ],
        }
    )


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """No notes, no warnings and no progress bars of transformers meanwhile."""
    from transformers.utils import logging as transformers_logging

    logging: Any = transformers_logging
    level, has_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if has_bars:
            logging.enable_progress_bar()
