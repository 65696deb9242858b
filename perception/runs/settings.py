"""What a run is about, that a second command means the same, and one process at a time."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perception.defaults import FLOOR, FLOOR_NMS, MAX_PIXELS
from perception.detectors.decode import SAME_CLASS_IOU
from perception.detectors.tiled import tile_side
from perception.errors import OutputError, PromptError, RunError
from perception.imaging.read import printable
from perception.models.model import Model
from perception.ops.windows import TileSize, check_tile


@dataclass(frozen=True)
class StorageSettings:
    """What a run stores of each image, and so how far its results can be tuned later.

    floor: boxes whose best score is below are not stored; floor_nms: nor are those that overlap a
    better one of their class (IoU) further; tile: as in ``Model``; max_pixels: larger images are
    refused. Raises PromptError for numbers that can't be used.
    """

    floor: float = FLOOR
    floor_nms: float = FLOOR_NMS
    tile: TileSize = None
    max_pixels: int = MAX_PIXELS

    def __post_init__(self) -> None:
        check_tile(self.tile)
        if not 0 < self.floor <= 1:
            raise PromptError(f"a floor lies above 0 and is at most 1, got {self.floor:g}")
        if not SAME_CLASS_IOU <= self.floor_nms <= 1:
            raise PromptError(
                f"a floor for the NMS lies between {SAME_CLASS_IOU:g}, which results usually "
                f"have, and 1, got {self.floor_nms:g}"
            )


def run_settings(
    model: Model, keeping: StorageSettings, *, pictures: Path | str, run: Path
) -> dict[str, Any]:
    """What may not change during a run, as JSON can hold it.

    images: the folder that all names start from, which is noted as seen from the run's, so that
    both can move together; or their URL.
    """
    info = model.info(text="")
    del info["text"]
    side = tile_side(model.detector, keeping.tile)
    return {
        **({"tile": side} if side else {}),
        "model": info,
        "floor": keeping.floor,
        "floor_nms": keeping.floor_nms,
        "max_pixels": keeping.max_pixels,
        "pictures": _seen_from(run.absolute().parent, pictures),
    }


def check_same(stored: Mapping[str, Any], asked: Mapping[str, Any], run: Path) -> None:
    """Raises RunError, which says what differs, if a run was begun with other settings."""
    if differs := differences(stored, asked):
        raise RunError(
            f"{printable(str(run))}: this run was begun with other settings "
            f"({'; '.join(differs)}); go on with the same, or choose another --out or --overwrite"
        )


def differences(stored: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """What of some settings isn't as it was, in words."""
    before, now = dict(_flat(stored)), dict(_flat(asked))
    return [
        f"{name} {_shown(before.get(name))}, now {_shown(now.get(name))}"
        for name in {**before, **now}
        if before.get(name) != now.get(name)
    ]


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name} ")
        else:
            yield prefix + name, value


def _shown(value: object) -> str:
    if value is None:
        return "none"
    text = printable(str(value))
    return text if len(text) < 64 else f"{text[:12]}…"  # a sha256


def _seen_from(folder: Path, path: Path | str) -> str:
    if isinstance(path, str):
        return path
    try:
        return Path(os.path.relpath(path.absolute(), folder)).as_posix()
    except ValueError:
        return path.absolute().as_posix()  # Another drive.


@contextmanager
def only_worker(path: Path) -> Iterator[None]:
    """Holds the run whose database is ``path``; RunError if another process does.

    The lock is SQLite's own, on an empty database beside the run's: the operating system lets go
    of it however the process dies, and the run itself can be read meanwhile.
    """
    guard = path.with_name(path.name + ".lock")
    with closing(_hold(guard, path)):
        try:
            yield
        finally:
            with suppress(OSError):  # Windows keeps it for the moment that it is open.
                guard.unlink()


def _hold(guard: Path, path: Path) -> sqlite3.Connection:
    name = printable(str(path))
    while True:
        try:
            db = _lock(guard)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
                raise RunError(
                    f"{name}: another process works on this run; wait until it is done"
                ) from None
            raise OutputError(f"{name}: can't be written ({error}); choose another --out") from None
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise OutputError(f"{name}: can't be written ({why}); choose another --out") from None
        if db is not None:
            return db


def _lock(guard: Path) -> sqlite3.Connection | None:
    """A connection that holds the lock; None if it was taken on a file that has lost its name.

    Whoever held it may have removed it between our opening and our locking it, and a lock on a
    file without a name keeps nobody out.
    """
    guard.touch()
    db = sqlite3.connect(guard, isolation_level=None, timeout=0, check_same_thread=False)
    try:
        before = _inode(guard)
        db.execute("BEGIN EXCLUSIVE")
        if before is not None and before == _inode(guard):
            return db
    except BaseException:
        db.close()
        raise
    db.close()
    return None


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None
