"""Running the commands of ``perception weights``: questions, progress, tables."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from perception.checkpoints.catalog import Role, WeightsEntry, read_manifest, read_presets, readable
from perception.checkpoints.download import Watch, pull
from perception.checkpoints.importing import import_model
from perception.checkpoints.installed import Installed, data_folder, find, locate, missing
from perception.checkpoints.lock import weights_folder
from perception.checkpoints.verify import check
from perception.errors import WeightsError
from perception.imaging.read import printable
from perception.models.names import find_parts, with_exported_segmenter

_SECONDS_WITHOUT_BAR = 1.0


def run_list(*, as_json: bool = False) -> int:
    """Prints a row for each model, and the presets; or all of it as JSON."""
    listed = [_listed(entry) for entry in read_manifest().values()]
    if as_json:
        content = {
            "models": listed,
            "presets": read_presets(),
            "folder": str(weights_folder()),
        }
        click.echo(json.dumps(content, ensure_ascii=False, indent=2))
        return 0
    rows = [_HEADER, *map(_row, listed)]
    widths = [max(len(row[n]) for row in rows) for n in range(len(_HEADER))]
    for row in rows:
        cells = [
            cell.rjust(width) if title == "SIZE" else cell.ljust(width)
            for title, cell, width in zip(_HEADER, row, widths, strict=True)
        ]
        click.echo("  ".join(cells).rstrip())
    presets = [f"{name} = {stands}" for name, stands in read_presets().items() if name != stands]
    click.echo(f"presets: {', '.join(presets)}")
    click.echo(f"weights are kept in {printable(str(weights_folder()))} (PERCEPTION_WEIGHTS)")
    return 0


_HEADER = ("MODEL", "KIND", "SIZE", "LICENCE", "WHERE", "WHAT FOR")


def _listed(entry: WeightsEntry) -> dict[str, Any]:
    """What is to be known of a model; bytes: those on this machine, else as published, or None."""
    found = None if entry.is_embedded else find(entry)
    state = "embedded" if entry.is_embedded else "on request" if entry.gated else "-"
    if found is not None:
        state = "in the hub's cache" if found.in_cache else "here"
    return {
        "name": entry.name,
        "kind": entry.role.value,
        "family": entry.family,
        "bytes": _bytes_of(entry, found),
        "licence": entry.licence,
        "where": state,
        "folder": str(found.folder) if found else None,
        "gated": entry.gated,
        "advice": entry.advice or entry.trained,
        "page": entry.page or None,
    }


def _bytes_of(entry: WeightsEntry, found: Installed | None) -> int | None:
    """A model's size where it lies, else as far as it is published; None if nothing is known."""
    if found is not None:
        return sum(path.stat().st_size for path in found.files.values())
    if entry.is_embedded:
        # The safetensors, for training, aren't in the wheel.
        return sum(file.size for file in entry.files if (data_folder() / file.name).exists())
    return entry.size or None


def _row(listed: Mapping[str, Any]) -> tuple[str, ...]:
    size = "unknown" if listed["bytes"] is None else readable(listed["bytes"])
    kind = "both" if listed["kind"] == Role.BOTH.value else listed["kind"]
    return listed["name"], kind, size, listed["licence"], listed["where"], listed["advice"]


def run_pull(names: Sequence[str], *, yes: bool, quiet: bool) -> int:
    """Downloads what is missing, after the licences were shown and agreed to."""
    entries = _entries(names)
    waiting = [entry for entry in entries if find(entry) is None]
    _agree(waiting, yes=yes)
    for entry in entries:
        found = pull(entry, watch=_bar(quiet))
        said = "downloaded to" if entry in waiting else "already in"
        click.echo(f"{entry.name}: {said} {printable(str(found.folder))}")
    return 0


def _entries(names: Sequence[str]) -> list[WeightsEntry]:
    """The published models that names stand for, each once."""
    parts = [part for name in names for part in find_parts(name)]
    local = [part for part in parts if part.entry is None]
    if local:
        raise WeightsError(
            f"{printable(str(local[0].path))}: a path, not a model's name; to bring files in, run "
            "perception weights import"
        )
    entries = [part.entry for part in parts if part.entry and not part.entry.is_embedded]
    return list({entry.name: entry for entry in entries}.values())


def offer(name: str, *, segmenter: Path | None = None) -> None:
    """Offer to download what a model lacks, if a person sits at the terminal.

    Size and licence are shown, and nothing is downloaded without a yes. In a pipe or a script, and
    without torch, which the model would need, nothing is asked: loading says what to do.

    Args:
        name: the model, as ``loading.load`` takes it.
        segmenter: the folder of an exported segmenter that takes the place of the name's.
    """
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return
    parts = find_parts(name)
    if segmenter is not None:
        parts = with_exported_segmenter(parts, segmenter)
    published = [part.entry for part in parts if part.entry and not part.entry.is_embedded]
    waiting = [entry for entry in published if find(entry) is None]
    if not waiting or not find_spec("torch"):
        return
    click.echo(f"{name} isn't on this machine:", err=True)
    for entry in waiting:
        click.echo(f"  {_described(entry)}", err=True)
    one = "licence" if len(waiting) == 1 else "licences"
    if click.confirm(f"Download now, and agree to the {one}?", default=False, err=True):
        for entry in waiting:
            pull(entry, watch=_bar(quiet=False))


def _described(entry: WeightsEntry) -> str:
    """What a download is, in one line: size, licence, source."""
    size = readable(entry.size) if entry.size else "size unknown"
    asked = "; given on request by its publisher" if entry.gated else ""
    return f"{entry.name}: {size}, licence {entry.licence}, from {entry.page}{asked}"


def _agree(entries: Sequence[WeightsEntry], *, yes: bool) -> None:
    """Shows what is to be downloaded under which licence, and asks on a terminal."""
    for entry in entries:
        click.echo(_described(entry))
    if not entries or yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("nobody is there to agree to the licence: pass --yes to agree")
    if not click.confirm("Download, and agree to the licence?", default=True):
        raise WeightsError("nothing was downloaded")


def _bar(quiet: bool) -> Watch:
    @contextmanager
    def watch(name: str, size: int, have: int) -> Iterator[Callable[[int], object]]:
        with tqdm(
            total=size or None,
            initial=have,
            desc=name,
            unit="B",
            unit_scale=True,
            disable=quiet or None,
        ) as bar:
            yield bar.update

    return watch


def run_verify(names: Sequence[str]) -> int:
    """Reads models' files again and says of each whether it is right; status 1 if one isn't."""
    chosen = [part.entry for name in names for part in find_parts(name) if part.entry]
    entries = chosen or [
        entry for entry in read_manifest().values() if entry.is_embedded or find(entry)
    ]
    wrong = 0
    for entry in entries:
        try:
            click.echo(f"{entry.name}: {_verified(entry)}")
        except WeightsError as error:
            wrong += 1
            click.echo(f"perception: error: {error}", err=True)
    return 1 if wrong else 0


def _verified(entry: WeightsEntry) -> str:
    """Reads a model's files; says against what they were compared."""
    if entry.is_embedded:
        count = sum(_is_there(file.name) for file in entry.files)
        return f"{count} files as published"
    found = find(entry)
    if found is None:
        raise missing([entry])
    sums = check(entry, found, again=True)
    published = {file.name for file in entry.files if file.sha256}
    known = len(published & sums.keys())
    recorded = len(sums) - known
    return f"{known} files as published, {recorded} as first recorded"


def _is_there(file_name: str) -> bool:
    """Checks an embedded file; the safetensors, for training, aren't in the wheel."""
    if file_name.endswith(".safetensors") and not (data_folder() / file_name).exists():
        return False
    locate(file_name)
    return True


def run_import(source: str, *, name: str | None, quiet: bool) -> int:
    """Copies a model's files to where weights are kept."""
    with tqdm(
        desc=name or "copying",
        unit="B",
        unit_scale=True,
        delay=_SECONDS_WITHOUT_BAR,
        disable=quiet or None,
    ) as bar:
        entry, installed = import_model(Path(source), name=name, step=bar.update)
    files = len(installed.files)
    click.echo(
        f"{entry.name}: {files} file{'' if files == 1 else 's'} in "
        f"{printable(str(installed.folder))}, licence {entry.licence}"
    )
    return 0
