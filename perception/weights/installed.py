"""Finding a model on this machine: in the folder of weights, or in the hub's own cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from perception.errors import WeightsError
from perception.images import printable
from perception.weights.lock import NOTHING, read_lock
from perception.weights.manifest import WeightsEntry
from perception.weights.sizes import readable
from perception.weights.store import weights_folder

_UNPINNED = "main"


@dataclass(frozen=True)
class Installed:
    """A model on this machine.

    folder: where its files are; files: their paths by name; in_cache: in the hub's cache.
    """

    folder: Path
    files: Mapping[str, Path]
    in_cache: bool = False


def find(entry: WeightsEntry, *, folder: Path | None = None) -> Installed | None:
    """Where a published model lies, or None; nothing is checked but that its files are there.

    First in the folder of weights, then in the hub's cache at the pinned revision.
    """
    folder = folder or weights_folder()
    own = folder / entry.name
    found = _in_folder(entry, own)
    if found is None and entry.url:
        found = _in_folder(entry, folder)  # One file may lie there as it was downloaded.
    return found or _in_cache(entry, folder)


def missing(entries: Sequence[WeightsEntry], *, folder: Path | None = None) -> WeightsError:
    """The error for models that aren't here: which command to run, or what to copy where."""
    names = " and ".join(entry.name for entry in entries)
    sizes = [readable(entry.size) for entry in entries if entry.size]
    licences = dict.fromkeys(entry.licence for entry in entries)
    copies = " and ".join(_copying(entry, folder or weights_folder()) for entry in entries)
    return WeightsError(
        f"{names}: not on this machine: run perception weights pull "
        f"{' '.join(entry.name for entry in entries)} ({', '.join([*sizes, *licences])}); for a "
        f"machine without network, copy {copies}"
    )


def _copying(entry: WeightsEntry, folder: Path) -> str:
    """What to copy where, by hand."""
    needed = ", ".join(file.name for file in entry.files if not file.optional)
    more = " and the small .json and .txt files beside them" if entry.hub else ""
    return f"{needed}{more} from {entry.page} to {printable(str(folder / entry.name))}"


def _in_folder(entry: WeightsEntry, folder: Path) -> Installed | None:
    there = {file.name: folder / file.name for file in entry.files}
    there = {name: path for name, path in there.items() if path.is_file()}
    if all(file.optional or file.name in there for file in entry.files):
        return Installed(folder, there)
    return None


def _in_cache(entry: WeightsEntry, folder: Path) -> Installed | None:
    if not entry.hub:
        return None
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return None
    revision = entry.revision or read_lock(folder).get(entry.name, NOTHING).revision or _UNPINNED
    there = {}
    for file in entry.files:
        path = try_to_load_from_cache(entry.hub, file.name, revision=revision)
        if isinstance(path, str):
            there[file.name] = Path(path)
        elif not file.optional:
            return None
    return Installed(next(iter(there.values())).parent, there, in_cache=True)
