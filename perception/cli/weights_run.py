"""Running the commands of ``perception weights``: questions, progress, tables."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import click
from tqdm import tqdm

from perception.errors import WeightsError
from perception.images import printable
from perception.parts import find_parts, with_exported_segmenter
from perception.weights.checking import check
from perception.weights.embedded import data_folder, locate
from perception.weights.importing import import_model
from perception.weights.installed import find, missing
from perception.weights.manifest import WeightsEntry, read_manifest, read_presets
from perception.weights.pull import Watch, pull
from perception.weights.sizes import readable
from perception.weights.store import weights_folder

_SECONDS_WITHOUT_BAR = 1.0


def run_list() -> int:
    """Prints a row for each model, and the presets."""
    rows = [_row(entry) for entry in read_manifest().values()]
    widths = [max(len(row[n]) for row in rows) for n in range(4)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        click.echo("  ".join([*cells, row[-1]]).rstrip())
    presets = [f"{name} = {stands}" for name, stands in read_presets().items() if name != stands]
    click.echo(f"presets: {', '.join(presets)}")
    click.echo(f"weights are kept in {printable(str(weights_folder()))} (PERCEPTION_WEIGHTS)")
    return 0


def _row(entry: WeightsEntry) -> tuple[str, str, str, str, str]:
    size = readable(entry.size) if entry.size else "?"
    return entry.name, size, entry.licence, _state(entry), entry.advice or entry.trained


def _state(entry: WeightsEntry) -> str:
    if entry.is_embedded:
        return "embedded"
    found = find(entry)
    if found is None:
        return "on request" if entry.gated else "-"
    return "in the hub's cache" if found.in_cache else "here"


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
    parts = find_parts(name)
    if segmenter is not None:
        parts = with_exported_segmenter(parts, segmenter)
    published = [part.entry for part in parts if part.entry and not part.entry.is_embedded]
    waiting = [entry for entry in published if find(entry) is None]
    if not waiting or not (sys.stdin.isatty() and sys.stderr.isatty()) or not find_spec("torch"):
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
            disable=quiet,
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
        desc=name or "copying", unit="B", unit_scale=True, delay=_SECONDS_WITHOUT_BAR, disable=quiet
    ) as bar:
        entry, installed = import_model(Path(source), name=name, step=bar.update)
    files = len(installed.files)
    click.echo(
        f"{entry.name}: {files} file{'' if files == 1 else 's'} in "
        f"{printable(str(installed.folder))}, licence {entry.licence}"
    )
    return 0
