"""Taking a cluster's answers into the run database: Parquet files in a folder beside it.

A cluster's job writes the files; whoever works on the run reads each once it is whole, writes its
answers as the local runner does, and removes it. So a job that is broken off leaves answers behind
that the next command finds.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event

from perception.errors import MissingExtraError, OutputError
from perception.imaging.read import printable
from perception.runs.records import Record
from perception.runs.write import RunWriter

_SECONDS = 0.2


def shards_root(run: Path) -> Path:
    """The folder that all files of a run lie in: ``annotations.json.run.shards``."""
    return run.with_name(f"{run.name}.shards")


def merge_left_behind(run: RunWriter) -> None:
    """Takes in what a job on a cluster had answered when it was broken off, and tidies up.

    Only of the run's last job: what else lies there is of a run that was removed. To be called
    before the images are listed anew: the answers are to what was asked then. Raises
    MissingExtraError if there is something that can't be read without pyarrow.
    """
    root = shards_root(run.path)
    if not root.is_dir():
        return
    if run.shards:
        try:
            _merge(run, root / run.shards)
        except ImportError:
            raise MissingExtraError(
                f"{printable(str(root))}: answers of a cluster, which need pyarrow; "
                "pip install 'perception-masks[ray]', or remove the folder to do them again"
            ) from None
    remove_shards(run.path)


def remove_shards(run: Path) -> None:
    """Removes all files of a run's jobs; a late writer may bring one back, which does no harm."""
    shutil.rmtree(shards_root(run), ignore_errors=True)


@contextmanager
def merging(run: RunWriter, tell: Callable[[Sequence[Record]], object]) -> Iterator[Path]:
    """A new folder, whose files are taken in as they appear; all of them, at the end.

    They are taken in by a thread, so that the run is kept up to date while the block waits for its
    job. Raises OutputError if the folder or the run can't be written; files then stay there.
    """
    run.shards = uuid.uuid4().hex
    folder = shards_root(run.path) / run.shards
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise OutputError(f"{printable(str(folder))}: can't be made ({why})") from None
    ended = Event()

    def keep_up() -> None:
        while not ended.wait(_SECONDS):
            _merge(run, folder, tell)

    with ThreadPoolExecutor(1, "perception-merge") as thread:
        merger = thread.submit(keep_up)
        try:
            yield folder
        finally:
            ended.set()
    merger.result()
    _merge(run, folder, tell)
    remove_shards(run.path)


def _merge(
    run: RunWriter, folder: Path, tell: Callable[[Sequence[Record]], object] = lambda _: None
) -> None:
    from perception.runs.shards import read_shard

    for path in sorted(folder.glob("*.parquet")):
        found = read_shard(path)
        if found is not None:
            if taken := run.merge(found):
                tell(taken)
            path.unlink(missing_ok=True)
