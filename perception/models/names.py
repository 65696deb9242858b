"""What a model's name stands for: a preset, one model, DETECTOR+SEGMENTER, or paths instead."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from perception.checkpoints.catalog import (
    FAMILIES,
    Role,
    WeightsEntry,
    family_of,
    read_manifest,
    read_presets,
    unknown_name,
)
from perception.checkpoints.installed import model_type, what_instead
from perception.errors import WeightsError
from perception.imaging.read import printable

NANO = "nano"
"""Stands for the embedded detector, segmenter or both, whatever is missing."""

EXPORTED = "exported"
"""The family of a folder of ONNX files that ``perception export`` has written."""

_EXPORTED_FILES = {
    Role.DETECTOR: ("*-fusion.onnx", "*-patches.onnx", "*-boxes.onnx", "*-vocab.json"),
    Role.SEGMENTER: ("*-encoder*.onnx",),
}
"""By what a folder is known to hold an exported model."""

_CHECKPOINTS = (".pth", ".pt", ".safetensors", ".bin")


@dataclass(frozen=True)
class Part:
    """One model of a name. entry: its row of the manifest; path: the files that take its place."""

    name: str
    family: str
    role: Role
    entry: WeightsEntry | None = None
    path: Path | None = None


def find_parts(name: str) -> tuple[Part, ...]:
    """The detector and the segmenter of a name, or the one model that it consists of.

    Raises WeightsError for a name that isn't known (with the nearest ones), for a path that holds
    no model, and for parts that don't go together.
    """
    whole = read_presets().get(name, name)
    is_path = os.sep in whole and Path(whole).exists()  # A path may have a + in it.
    words = [whole] if is_path else [word.strip() for word in whole.split("+")]
    if words == [NANO]:
        words = [f"{NANO}-detector", f"{NANO}-segmenter"]
    parts = [part for word in words if word != NANO for part in _parts(word)]
    parts += [_nano_beside(parts)] * words.count(NANO)
    return _in_order(name, parts)


def with_exported_segmenter(parts: Sequence[Part], folder: Path) -> tuple[Part, ...]:
    """The same, but for the segmenter: that is the one that was exported into ``folder``."""
    others = [part for part in parts if part.role is not Role.SEGMENTER]
    return *others, Part(folder.absolute().name, EXPORTED, Role.SEGMENTER, path=folder)


def known_names() -> list[str]:
    """What can be asked for by name, presets first."""
    published = [name for name, entry in read_manifest().items() if not entry.is_embedded]
    return list(dict.fromkeys([*read_presets(), NANO, *published]))


def _parts(word: str) -> list[Part]:
    """The models of one word: one, or both that a folder was exported into."""
    entry = read_manifest().get(word)
    if entry is not None:
        return [Part(word, entry.family, entry.role, entry=entry)]
    if word and (Path(word).exists() or "/" in word or word.endswith(_CHECKPOINTS)):
        return _local(Path(word))
    raise WeightsError(unknown_name(printable(word), known_names()))


def _nano_beside(parts: Sequence[Part]) -> Part:
    is_detector = any(part.role is Role.SEGMENTER for part in parts)
    (part,) = _parts(f"{NANO}-{'detector' if is_detector else 'segmenter'}")
    return part


def _in_order(name: str, parts: Sequence[Part]) -> tuple[Part, ...]:
    """The detector first; raises WeightsError for parts that don't go together."""
    roles = {part.role: part for part in parts}
    if len(parts) == 1:
        return tuple(parts)
    if len(parts) > 2 or roles.keys() != {Role.DETECTOR, Role.SEGMENTER}:
        what = ", ".join(f"{part.name} is a {part.role.value}" for part in parts)
        raise WeightsError(
            f'"{name}": a model is one detector and one segmenter, DETECTOR+SEGMENTER, or one that '
            f"is both; {what}"
        )
    return roles[Role.DETECTOR], roles[Role.SEGMENTER]


def _local(path: Path) -> list[Part]:
    """The models in a file or a folder of the user's."""
    where = printable(str(path))
    try:
        if path.is_dir():
            return _in_folder(path)
        fault = what_instead(path)
    except FileNotFoundError:
        raise WeightsError(f"{where}: no such file or folder; check the path") from None
    except OSError as error:
        raise WeightsError(f"{where}: can't be read ({error.strerror})") from None
    if fault:
        raise WeightsError(f"{where}: {fault}")
    if path.suffix not in _CHECKPOINTS:
        raise WeightsError(
            f"{where}: not a checkpoint ({', '.join(_CHECKPOINTS)}); name such a file, or a folder "
            "that transformers or perception export has written"
        )
    return [Part(path.stem, "sam", Role.SEGMENTER, path=path)]


def _in_folder(folder: Path) -> list[Part]:
    where, kind = printable(str(folder)), model_type(folder)
    name = folder.absolute().name
    if kind is not None:
        family = family_of(kind)
        if family is None:
            raise WeightsError(
                f"{where}: its config.json says {printable(kind)}, which isn't supported; there "
                f"are: {', '.join(one for row in FAMILIES.values() for one in row.model_types)}"
            )
        return [Part(name, family, FAMILIES[family].role, path=folder)]
    exported = [
        Part(name, EXPORTED, role, path=folder)
        for role, files in _EXPORTED_FILES.items()
        if any(path for pattern in files for path in folder.glob(pattern))
    ]
    if exported:
        return exported
    raise WeightsError(
        f"{where}: a folder without a model: expected config.json and model.safetensors as "
        "transformers saves them, or the ONNX files of perception export"
    )
