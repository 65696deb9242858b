"""Whether a run database holds what was written into it.

Three nets, each for what the one before lets through. SQLite looks at the structure of the small
tables and at their indexes. Of each of these tables ``tally`` holds the sum of its rows' checksums,
which triggers keep up to date: all of this is checked when the file is opened. What is large, a
picture's instances, scores and marks, has a checksum in ``content`` of its picture, and is checked
when it is read. What is then read is looked at as a stranger's file is: see ``answer_rows``.
"""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
import struct
import time
import zlib
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from functools import cache
from pathlib import Path
from typing import Any

from perception.errors import RunError
from perception.images import printable

TALLIED: Mapping[str, tuple[str, ...]] = {
    "run": ("key", "value"),
    "phrase": ("id", "text"),
    "question": ("id", "phrases"),
    "picture": (
        *("id", "name", "listed", "state", "reason", "bytes", "modified"),
        *("uid", "height", "width", "question", "content"),
    ),
    "edited": ("picture", "revision", "bytes", "modified", "uid", "height", "width", "content"),
    "asked": ("picture", "class"),
}
"""The tables whose rows are summed, and all of their columns."""


class DamagedError(Exception):
    """Something in a run isn't what was written; the message is a few words for ``damaged``."""


def damaged(path: Path, what: object) -> RunError:
    """One line about a damaged run."""
    return RunError(
        f"{printable(str(path))}: no run database, or a damaged one "
        f"({printable(str(what))}); move it away, or begin anew with --overwrite"
    )


def content_of(*tables: Sequence[Sequence[Any]]) -> int:
    """Of rows as SQLite gives them: how many the first table has, and the checksum of all."""
    try:
        return len(tables[0]) << 32 | zlib.crc32(json.dumps(tables).encode("ascii"))
    except TypeError:
        raise DamagedError("bytes in the place of a text") from None


def check_content(content: int | None, *tables: Sequence[Sequence[Any]]) -> None:
    """Raises DamagedError for rows that aren't those of ``content``; None: nobody noted it."""
    if content is not None and content != content_of(*tables):
        raise DamagedError("rows that aren't those that were written")


def add_functions(db: sqlite3.Connection) -> None:
    """The function that ``tally`` and its triggers call."""
    db.create_function("crc32", 1, zlib.crc32, deterministic=True)


def start_tally() -> str:
    """Statements that sum up all tables as they are, for a new file or a migrated one."""
    return "\n".join(
        f"INSERT INTO tally SELECT '{table}', count(*), ifnull(sum({_row(columns)}), 0) "  # noqa: S608
        f"FROM {table};"
        for table, columns in TALLIED.items()
    )


def keep_tally() -> str:
    """Statements that make a connection keep the sums up to date, whatever it writes."""
    statements = ["PRAGMA recursive_triggers = ON;"]  # For what REPLACE deletes.
    for table, columns in TALLIED.items():
        new, old = _row(columns, "new."), _row(columns, "old.")
        changes = (("INSERT", 1, new), ("DELETE", -1, f"-{old}"), ("UPDATE", 0, f"{new} - {old}"))
        statements += [
            f"CREATE TEMP TRIGGER tally_{event}_{table} AFTER {event} ON main.{table} BEGIN "  # noqa: S608
            f"UPDATE tally SET count = count + {more}, sum = sum + {change} "
            f"WHERE name = '{table}'; END;"
            for event, more, change in changes
        ]
    return "".join(statements)


def _row(columns: Sequence[str], of: str = "") -> str:
    """The checksum of a row, in SQL. quote: tells numbers, texts, bytes and NULL apart."""
    return f"crc32(CAST({' || '.join(f'quote({of}{column})' for column in columns)} AS BLOB))"


def check_database(db: sqlite3.Connection, schema: str, *, tallied: bool, whole: bool) -> None:
    """Raises DamagedError unless a run's file is in order, but for what is checked when it is read.

    schema: as ``schema_digest`` has it; tallied: whether the run has sums; whole: also the
    structure of the large tables, which takes longer, and the list of pages that are free. Time is
    that of reading all rows but those of instances, scores and marks.
    """
    if schema_digest(db) != schema:
        raise DamagedError("its tables aren't those of a run")
    for part in ("",) if whole else [f"({table})" for table in TALLIED]:
        (found,) = db.execute(f"PRAGMA integrity_check{part}").fetchone()
        if found != "ok":
            lines = str(found).removeprefix("*** in database main ***").split()
            raise DamagedError(" ".join(lines)[:_MOST_CHARACTERS])
    if not tallied:
        return
    sums = {name: tuple(row) for name, *row in db.execute("SELECT * FROM tally")}
    for table, columns in TALLIED.items():
        found = db.execute(
            f"SELECT count(*), ifnull(sum({_row(columns)}), 0) FROM {table} NOT INDEXED"  # noqa: S608
        ).fetchone()
        if sums.get(table) != found:
            raise DamagedError(f"rows of {table} that aren't those that were written")


_MOST_CHARACTERS = 100


def schema_digest(db: sqlite3.Connection) -> str:
    """Of the statements that made all tables and indexes, but for their comments and spaces."""
    rows = db.execute(
        "SELECT name, sql FROM sqlite_master WHERE type IN ('table', 'index') AND sql NOT NULL"
    )
    made = sorted((name, _plain(sql)) for name, sql in rows)
    return hashlib.sha256(json.dumps(made).encode()).hexdigest()


def _plain(sql: str) -> str:
    words = " ".join(re.sub(r"--[^\n]*", "", sql).split())
    return re.sub(r" ?([(),]) ?", r"\1", words)


@cache
def digest_of(tables: str) -> str:
    """``schema_digest`` of a new file; tables: the statements that make it."""
    with closing(sqlite3.connect(":memory:")) as db:
        add_functions(db)
        db.executescript(tables)
        return schema_digest(db)


def lost_log(path: Path) -> bool:
    """Whether the end of the log beside an open database was lost, with what was stored there.

    SQLite takes a log as far as its checksums are right, and says nothing of the rest: after a
    power cut that is so, and damage looks the same. A commit of this log, told by its salts, behind
    the place where SQLite stops was lost.
    """
    log, index = (path.with_name(path.name + suffix) for suffix in ("-wal", "-shm"))
    if not (log.is_file() and index.is_file()):
        return False
    before = None
    for _ in range(_TRIES):
        with suppress(OSError):
            found = _lost_commit(log.open("rb"), index.read_bytes()[:_INDEX_HEADER])
            if found is None or found == before:
                return found is not None
            before = found
        time.sleep(_SECONDS)  # It may be on its way: the log is written first, then its index.
    return False


_TRIES, _SECONDS = 8, 0.05
_INDEX_HEADER, _LOG_HEADER, _FRAME_HEADER = 48, 32, 24
_LOG_MAGIC = 0x377F0682  # The last bit: the order of the bytes that are summed.


def _lost_commit(log: Any, index: bytes) -> tuple[int, int] | None:
    """Where SQLite stops in a log, and the first commit behind that; None if there is none."""
    with log:
        header = log.read(_LOG_HEADER)
        if len(header) < _LOG_HEADER or len(index) < _INDEX_HEADER:
            return None
        page, salts, right = struct.unpack(">I", header[8:12])[0], header[16:24], _is_whole(header)
        if page & (page - 1) or not 512 <= page <= 65536:
            page = int.from_bytes(index[14:16], "little") or 4096
        (end,) = struct.unpack("=I", index[16:20])
        step, at = _FRAME_HEADER + page, end + 1
        whole = (log.seek(0, 2) - _LOG_HEADER) // step
        while at <= whole:
            log.seek(_LOG_HEADER + (at - 1) * step)
            frame = log.read(_FRAME_HEADER)
            # Of a header that is damaged, the salts are, perhaps: frames of a log agree.
            salts = salts if right else frame[8:16]
            if frame[8:16] == salts and frame[4:8] != b"\0\0\0\0":
                return end, at
            right, at = True, at + 1
    return None


def _is_whole(header: bytes) -> bool:
    magic, *words = struct.unpack(">8I", header)
    if magic & ~1 != _LOG_MAGIC:
        return False
    order = ">" if magic & 1 else "<"
    first = second = 0
    for one, two in zip(*[iter(struct.unpack(f"{order}6I", header[:24]))] * 2, strict=True):
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + two + first) & 0xFFFFFFFF
    return (first, second) == (words[5], words[6])
