"""The tables of a run database, and opening one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from perception.annotate.integrity import (
    DamagedError,
    add_functions,
    check_database,
    damaged,
    digest_of,
    keep_tally,
    lost_log,
    start_tally,
)
from perception.errors import OutputError, RunError
from perception.images import printable

APPLICATION_ID = 0x50455243
"""Says in the file's header that it is ours ("PERC")."""

VERSION = 4
"""Of the tables. Older ones are read as they are, and migrated by who writes: see ``STEPS``."""

SUFFIX = ".run"
"""``annotations.json`` has its database beside it, in ``annotations.json.run``."""

EMPTY = "an empty run; perception annotate fills it"

_TALLY = """
-- How many rows the small tables have, and the sum of their checksums: see ``integrity``.
CREATE TABLE tally (name TEXT PRIMARY KEY, count INTEGER NOT NULL, sum INTEGER NOT NULL)
WITHOUT ROWID;
"""

TABLES = f"""
-- JSON by key. settings: what may not change during a run; text: the prompt that was asked last;
-- shards: the folder that a cluster writes to, while it does; classes: the names that were added to
-- the prompt's by hand, and those of all marks; marked_with: the models that hands have worked
-- with, beside that of the settings.
CREATE TABLE run (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

-- What a text encoder reads. Scores are of phrases: classes are only a view of them.
CREATE TABLE phrase (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);

-- All phrases that some pictures have answered, a JSON list: few rows, however many the pictures.
CREATE TABLE question (id INTEGER PRIMARY KEY, phrases TEXT NOT NULL UNIQUE);

CREATE TABLE picture (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,       -- relative POSIX path; what isn't text has surrogates in it
    listed INTEGER NOT NULL,         -- 0: no longer among the pictures of the run
    state TEXT NOT NULL CHECK (state IN ('waiting', 'done', 'failed')),
    reason TEXT,                     -- why it failed
    bytes INTEGER, modified INTEGER, -- the file that was answered: its size, time in nanoseconds
    uid TEXT, height INTEGER, width INTEGER,
    question INTEGER REFERENCES question, content INTEGER
);
CREATE INDEX picture_by_state ON picture (state, listed, id);

-- A box above the floor, whatever it is: x0 to y1 as the detector gave it, in pixels. query: which
-- of the detector's places. mask: COCO's compressed run lengths, of the picture's size. made: 1:
-- the mask was made, and where it is NULL, the segmenter found nothing; 0: not made yet, and mask,
-- quality, stability, consensus are NULL.
CREATE TABLE instance (
    picture INTEGER NOT NULL REFERENCES picture,
    query INTEGER NOT NULL,
    x0 REAL NOT NULL, y0 REAL NOT NULL, x1 REAL NOT NULL, y1 REAL NOT NULL,
    mask TEXT, quality REAL, stability REAL, consensus REAL, made INTEGER NOT NULL DEFAULT 1,
    UNIQUE (picture, query)
);

-- Scores above the floor, and those of the best two classes.
CREATE TABLE score (
    picture INTEGER NOT NULL, query INTEGER NOT NULL,
    phrase INTEGER NOT NULL REFERENCES phrase,
    score REAL NOT NULL,
    PRIMARY KEY (picture, query, phrase)
) WITHOUT ROWID;

-- content of a picture: how many instances it has, and the checksum of them and of their scores; of
-- one edited: the same of its marks. NULL where they are from before version 4, so that nothing but
-- their values can be checked. Whoever writes such rows seals them: see answer_rows, mark_rows.

-- A picture that a hand has worked on: its marks stand in the place of its instances, and no answer
-- of a model touches them. revision: from 1, one more with each change; bytes to width: of what was
-- marked, as in picture.
CREATE TABLE edited (
    picture INTEGER PRIMARY KEY REFERENCES picture,
    revision INTEGER NOT NULL,
    bytes INTEGER, modified INTEGER,
    uid TEXT NOT NULL, height INTEGER NOT NULL, width INTEGER NOT NULL, content INTEGER
);

-- place: their order; mask: as in instance; score to stability: NULL where no model gave them.
CREATE TABLE mark (
    picture INTEGER NOT NULL REFERENCES edited,
    place INTEGER NOT NULL,
    uid TEXT NOT NULL,
    class TEXT NOT NULL,
    origin TEXT NOT NULL CHECK (origin IN ('model', 'hand', 'corrected')),
    mask TEXT NOT NULL,
    score REAL, quality REAL, stability REAL,
    PRIMARY KEY (picture, place)
) WITHOUT ROWID;

-- Classes that a model was asked for in one picture alone, beside the run's question.
CREATE TABLE asked (
    picture INTEGER NOT NULL REFERENCES picture,
    class TEXT NOT NULL,
    PRIMARY KEY (picture, class)
) WITHOUT ROWID;

{_TALLY}
"""

_VIEWS = """
-- Pictures that have a result. One that a hand has worked on is what was marked, whatever its file
-- has become; revision: of its marks, else 0.
CREATE TEMP VIEW shown AS SELECT
    id, name,
    iif(revision, edited.uid, picture.uid) AS uid,
    iif(revision, edited.height, picture.height) AS height,
    iif(revision, edited.width, picture.width) AS width,
    iif(revision, edited.bytes, picture.bytes) AS bytes,
    iif(revision, edited.modified, picture.modified) AS modified,
    coalesce(revision, 0) AS revision
FROM picture LEFT JOIN edited ON edited.picture = id
WHERE listed AND (state = 'done' OR revision);

CREATE TEMP VIEW listing AS SELECT
    id, name, state, reason, coalesce(revision, 0) AS revision,
    coalesce(edited.content >> 32, (SELECT count(*) FROM mark WHERE mark.picture = id)) AS marks
FROM picture LEFT JOIN edited ON edited.picture = id WHERE listed;
"""
"""Are of a connection, not of the file: a damaged file can't change what they mean."""

STEPS: Mapping[int, str] = {
    3: f"""
    DROP VIEW listing; DROP VIEW shown;
    ALTER TABLE picture ADD COLUMN content INTEGER;
    ALTER TABLE instance ADD COLUMN made INTEGER NOT NULL DEFAULT 1;
    ALTER TABLE edited ADD COLUMN content INTEGER;
    {_TALLY}
    """,
}
"""What makes the next version of tables of one version. A change of ``TABLES`` adds its step here,
and what it means for readers to ``_READ_AS``. A new file and a migrated one have the same tables:
``ALTER TABLE`` puts a column behind the last one."""

_SCHEMAS: Mapping[int, str] = {
    3: "8ee1ee60be1ccf84ad4e1203bdd8a7b28a48b57c4da5384af58d3e6d8e84f759",
}
"""The ``schema_digest`` of older versions. A change of ``TABLES`` adds that of the one before."""

_READ_AS: Mapping[int, str] = {
    3: """
    CREATE TEMP VIEW picture AS SELECT *, NULL AS content FROM main.picture;
    CREATE TEMP VIEW instance AS SELECT *, 1 AS made FROM main.instance;
    CREATE TEMP VIEW edited AS SELECT *, NULL AS content FROM main.edited;
    """,
}
"""What shows the tables of an older version as today's: readers write nothing."""

_OLDEST, _TALLIED_FROM = min(STEPS), 4


def open_to_write(path: Path) -> tuple[sqlite3.Connection, bool]:
    """A connection to a run database, which is made, or brought to today's version.

    And whether what was stored last was lost in a power cut. Raises RunError for a file of another
    kind or version or a damaged one, OutputError if it can't be written.
    """
    connection, version = _connect(path, "rwc")
    try:
        with explained(path):
            lost = lost_log(path)
            # Readers and the writer don't wait for each other. NORMAL: a commit is safe from the
            # death of the process at once, and from the machine's with the next checkpoint. What is
            # lost then is the last pictures' rows together with their state: they are done again.
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            if version is None:
                connection.executescript(
                    f"BEGIN; {TABLES} {start_tally()} PRAGMA application_id = {APPLICATION_ID}; "
                    f"PRAGMA user_version = {VERSION}; COMMIT;"
                )
            elif version < VERSION:
                _migrate(connection, version)
            connection.executescript(_VIEWS + keep_tally())
    except BaseException:
        connection.close()
        raise
    return connection, lost


def open_to_read(path: Path) -> sqlite3.Connection:
    """A connection that can't write; raises RunError if there is no run database to read."""
    name = printable(str(path))
    if not path.is_file():
        raise RunError(f"{name}: no such run; perception annotate makes one")
    connection, version = _connect(path, "ro")
    try:
        if version is None:
            raise RunError(f"{name}: {EMPTY}")
        with explained(path):
            if lost_log(path):
                raise RunError(
                    f"{name}: what was stored last is lost, as after a power cut (the end of "
                    f"{path.name}-wal is damaged); perception annotate goes on without it"
                )
            connection.executescript(_READ_AS.get(version, "") + _VIEWS)
    except BaseException:
        connection.close()
        raise
    return connection


def _migrate(connection: sqlite3.Connection, version: int) -> None:
    """Brings the tables to today's version at one stroke: all steps, or, if one fails, none."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        steps = [STEPS[step] for step in range(version, VERSION)]
        for statement in ";".join([*steps, "DELETE FROM tally", start_tally()]).split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _connect(path: Path, mode: Literal["ro", "rwc"]) -> tuple[sqlite3.Connection, int | None]:
    """A connection to a file that is in order, and its version; None for one without tables."""
    with explained(path):
        if _has_lost_all(path):
            raise DamagedError("it is empty, and its log isn't")
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={mode}",
            uri=True,
            isolation_level=None,
            timeout=60,
            check_same_thread=False,
        )
    try:
        connection.text_factory = lambda raw: raw.decode("utf-8", "surrogatepass")
        with explained(path):
            add_functions(connection)
            connection.execute("BEGIN")  # All that is checked is of one moment.
            try:
                return connection, _checked_version(connection, path, writes=mode != "ro")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
    except BaseException:
        connection.close()
        raise


def _has_lost_all(path: Path) -> bool:
    """Whether a file is empty that has a log, which SQLite would remove."""
    log = path.with_name(f"{path.name}-wal")
    return all(file.is_file() for file in (path, log)) and (
        path.stat().st_size == 0 < log.stat().st_size
    )


def _checked_version(connection: sqlite3.Connection, path: Path, *, writes: bool) -> int | None:
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if not tables:
        return None
    (kind,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    name = printable(str(path))
    if kind != APPLICATION_ID:
        raise RunError(f"{name}: a database, but not of a run; choose another --out")
    if not _OLDEST <= version <= VERSION:
        raise RunError(
            f"{name}: a run of version {version}, this perception reads versions {_OLDEST} to "
            f"{VERSION}; use the perception that made it, or begin anew with --overwrite"
        )
    # What is free is written to: where that is damaged, good pages would be.
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    check_database(
        connection,
        _SCHEMAS.get(version) or digest_of(TABLES),
        tallied=version >= _TALLIED_FROM,
        whole=writes and (free > 0 or version < VERSION),
    )
    return int(version)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turns what SQLite says into one line with a remedy."""
    name = printable(str(path))
    try:
        yield
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL:
            raise OutputError(
                f"{name}: the disk is full; make room and run the same command again, "
                "all that is done is kept"
            ) from None
        raise OutputError(
            f"{name}: the run can't be read or written ({error}); check the disk and the "
            "folder's permissions, then run the same command again"
        ) from None
    except sqlite3.DatabaseError as error:
        # What Python's module itself complains of has no code, and is our mistake.
        if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _OF_DAMAGE:
            raise
        raise damaged(path, error) from None
    except (DamagedError, UnicodeDecodeError) as error:
        raise damaged(path, error) from None


# A constraint: rows come with new keys, unless an index isn't that of its table.
_OF_DAMAGE = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_CONSTRAINT)
