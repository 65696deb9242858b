"""The catalog: model families, and every model that can be loaded by name.

``manifest.toml`` lies beside the embedded files: inside the wheel as ``perception/_weights``, in a
checkout in ``weights/``.
"""

from __future__ import annotations

import difflib
import enum
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from perception.errors import WeightsError


class Role(enum.Enum):
    """What a model does."""

    DETECTOR = "detector"
    SEGMENTER = "segmenter"
    BOTH = "detector and segmenter"


@dataclass(frozen=True)
class Family:
    """What the models of a family are.

    role: what they do; model_types: ``model_type`` in the config.json of their folders; predictor:
    how prompts become masks, "whole" or "zoom" (``perception.predictor``).
    """

    role: Role
    model_types: tuple[str, ...] = ()
    predictor: str = "whole"


FAMILIES = {
    "nano-detector": Family(Role.DETECTOR),
    "nano-segmenter": Family(Role.SEGMENTER, predictor="zoom"),
    "grounding-dino": Family(Role.DETECTOR, ("grounding-dino",)),
    "mm-grounding-dino": Family(Role.DETECTOR, ("mm-grounding-dino",)),
    "owlv2": Family(Role.DETECTOR, ("owlv2",)),
    "omdet-turbo": Family(Role.DETECTOR, ("omdet-turbo",)),
    "sam": Family(Role.SEGMENTER, ("sam",)),
    "sam-hq": Family(Role.SEGMENTER, ("sam_hq",)),
    "sam2": Family(Role.SEGMENTER, ("sam2", "sam2_video")),
    "sam3": Family(Role.BOTH, ("sam3", "sam3_video")),
}


def family_of(model_type: str) -> str | None:
    """The family whose configurations call themselves so; None for one that isn't supported."""
    for name, family in FAMILIES.items():
        if model_type in family.model_types:
            return name
    return None


_NEAR = 4
"""How many names are suggested in place of one that isn't known."""

_PACKAGE = Path(__file__).parents[1]
REMEDY = "reinstall perception-masks, or restore weights/ in a checkout (git checkout -- weights)"


@dataclass(frozen=True)
class WeightFile:
    """One file of a model.

    size: in bytes, sha256: in hex; 0 and "" where no published figure is known: then they are
    recorded at the first download. optional: taken where the source has it.
    """

    name: str
    size: int = 0
    sha256: str = ""
    optional: bool = False


@dataclass(frozen=True)
class WeightsEntry:
    """One model of the manifest: what it is, under which licence, and where its files come from.

    hub: a repository of the Hugging Face hub, at ``revision`` ("" is recorded at the first
    download); url: the address of a single file. Neither: it is embedded. gated: given on request.
    advice: when to use it; trained: how it was, where that is ours to say. everything: of a
    segmenter, the ``quality`` and ``stability`` that segment-everything asks of its masks, where
    SAM's own don't suit it.
    """

    name: str
    family: str
    licence: str
    files: tuple[WeightFile, ...]
    advice: str = ""
    trained: str = ""
    hub: str = ""
    revision: str = ""
    url: str = ""
    gated: bool = False
    everything: Mapping[str, float] = field(default_factory=dict, hash=False)

    @property
    def is_embedded(self) -> bool:
        """Whether its files travel with the package."""
        return not (self.hub or self.url)

    @property
    def role(self) -> Role:
        """Detector, segmenter or both."""
        return FAMILIES[self.family].role

    @property
    def size(self) -> int:
        """Its bytes, as far as they are published; 0 if nothing is known."""
        return sum(file.size for file in self.files)

    @property
    def page(self) -> str:
        """Where a person finds its files."""
        if self.url or not self.hub:
            return self.url
        at = f"/tree/{self.revision}" if self.revision else ""
        return f"https://huggingface.co/{self.hub}{at}"


def data_folder() -> Path:
    """Where the manifest and the embedded model files are."""
    packaged = _PACKAGE / "_weights"
    return packaged if packaged.is_dir() else _PACKAGE.parent / "weights"


def read_manifest(folder: Path | None = None) -> dict[str, WeightsEntry]:
    """The models of a folder's ``manifest.toml``, by name; raises WeightsError without one."""
    return _read_manifest(folder or data_folder())[0]


def read_presets(folder: Path | None = None) -> dict[str, str]:
    """Short names for combinations: what each stands for."""
    return _read_manifest(folder or data_folder())[1]


def find_entry(model: str, *, folder: Path | None = None) -> WeightsEntry:
    """One model of the manifest; raises WeightsError, with the nearest names, if it isn't there."""
    entries = read_manifest(folder)
    if model not in entries:
        raise WeightsError(unknown_name(model, entries))
    return entries[model]


def unknown_name(name: str, known: Iterable[str]) -> str:
    """One line for a model that doesn't exist: what was asked for, and what is near to it."""
    given = list(known)
    names, begun = sorted(given), [one for one in given if name and one.startswith(name)]
    alike = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    near = list(dict.fromkeys([*begun, *alike]))[:_NEAR]
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(names)}"
    return f'no model is called "{name}"; {hint}'


@cache
def _read_manifest(folder: Path) -> tuple[dict[str, WeightsEntry], dict[str, str]]:
    path = folder / "manifest.toml"
    try:
        content = tomllib.loads(path.read_text("utf-8"))
        entries = {name: _entry(name, table) for name, table in content["models"].items()}
        return entries, dict(content.get("presets", {}))
    except OSError:
        raise WeightsError(f"{path}: the list of models is missing; {REMEDY}") from None
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise WeightsError(f"{path}: damaged ({error!r}); {REMEDY}") from None


def _entry(name: str, table: dict[str, Any]) -> WeightsEntry:
    files = tuple(
        WeightFile(
            file["name"],
            int(file.get("bytes", 0)),
            file.get("sha256", ""),
            bool(file.get("optional", False)),
        )
        for file in table["files"]
    )
    about = {key: value for key, value in table.items() if key != "files"}
    return WeightsEntry(name=name, files=files, **about)


def readable(size: int) -> str:
    """Bytes in the unit that suits them: "375 MB"."""
    for unit, scale in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= scale:
            value = size / scale
            return f"{value:.2f} {unit}" if unit == "GB" else f"{value:.0f} {unit}"
    return f"{size} bytes"
