"""The manifest: every model that can be asked for by name, and the files that it consists of.

``manifest.toml`` lies beside the embedded files: inside the wheel as ``perception/_weights``, in a
checkout in ``weights/``.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from perception.errors import WeightsError
from perception.weights.families import FAMILIES, Role

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
