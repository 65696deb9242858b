"""One process at a time works on a run."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from perception.errors import OutputError, RunError
from perception.images import printable


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
