"""The tables of a run database, and opening one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from perception.errors import OutputError, RunError
from perception.images import printable

APPLICATION_ID = 0x50455243
"""Says in the file's header that it is ours ("PERC")."""

VERSION = 4
"""Of the tables. Older ones are read as they are, and migrated by who writes: see ``STEPS``."""

SUFFIX = ".run"
"""``annotations.json`` has its database beside it, in ``annotations.json.run``."""

TABLES = """
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

-- Sums of the rows' checksums, by table.
CREATE TABLE tally (name TEXT PRIMARY KEY, count INTEGER NOT NULL, sum INTEGER NOT NULL)
WITHOUT ROWID;
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
    (SELECT count(*) FROM mark WHERE mark.picture = id) AS marks
FROM picture LEFT JOIN edited ON edited.picture = id WHERE listed;
"""
"""Are of a connection, not of the file: a damaged file can't change what they mean."""

STEPS: Mapping[int, str] = {
    3: """
    DROP VIEW listing; DROP VIEW shown;
    ALTER TABLE picture ADD COLUMN content INTEGER;
    ALTER TABLE instance ADD COLUMN made INTEGER NOT NULL DEFAULT 1;
    ALTER TABLE edited ADD COLUMN content INTEGER;
    CREATE TABLE tally (name TEXT PRIMARY KEY, count INTEGER NOT NULL, sum INTEGER NOT NULL)
WITHOUT ROWID;
    """,
}
"""What makes the next version of tables of one version. A change of ``TABLES`` adds its step here,
and what it means for readers to ``_READ_AS``. A new file and a migrated one have the same tables,
to the letter: ``ALTER TABLE`` writes a column behind the last one."""

_READ_AS: Mapping[int, str] = {
    3: """
    CREATE TEMP VIEW picture AS SELECT *, NULL AS content FROM main.picture;
    CREATE TEMP VIEW instance AS SELECT *, 1 AS made FROM main.instance;
    CREATE TEMP VIEW edited AS SELECT *, NULL AS content FROM main.edited;
    """,
}
"""What shows the tables of an older version as today's: readers write nothing."""

_OLDEST = min(STEPS)


def open_to_write(path: Path) -> sqlite3.Connection:
    """A connection to a run database, which is made, or brought to today's version.

    Raises RunError for a file of another kind or version, OutputError if it can't be written.
    """
    connection = _connect(path, f"{path.absolute().as_uri()}?mode=rwc")
    try:
        with explained(path):
            # Readers and the writer don't wait for each other. NORMAL: a commit is safe from the
            # death of the process at once, and from the machine's with the next checkpoint. What is
            # lost then is the last pictures' rows together with their state: they are done again.
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                connection.executescript(
                    f"BEGIN; {TABLES} PRAGMA application_id = {APPLICATION_ID}; "
                    f"PRAGMA user_version = {VERSION}; COMMIT;"
                )
            _migrate(connection)
            connection.executescript(_VIEWS)
    except BaseException:
        connection.close()
        raise
    return connection


def open_to_read(path: Path) -> sqlite3.Connection:
    """A connection that can't write; raises RunError if there is no run database to read."""
    if not path.is_file():
        raise RunError(f"{printable(str(path))}: no such run; perception annotate makes one")
    connection = _connect(path, f"{path.absolute().as_uri()}?mode=ro")
    with explained(path):
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if not tables:
        connection.close()
        raise RunError(f"{printable(str(path))}: an empty run; perception annotate fills it")
    try:
        with explained(path):
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            connection.executescript(_READ_AS.get(version, "") + _VIEWS)
    except BaseException:
        connection.close()
        raise
    return connection


def _migrate(connection: sqlite3.Connection) -> None:
    """Brings the tables to today's version at one stroke: all steps, or, if one fails, none."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        for step in range(version, VERSION):
            for statement in STEPS[step].split(";"):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _connect(path: Path, uri: str) -> sqlite3.Connection:
    with explained(path):
        connection = sqlite3.connect(
            uri, uri=True, isolation_level=None, timeout=60, check_same_thread=False
        )
    try:
        connection.text_factory = lambda raw: raw.decode("utf-8", "surrogatepass")
        with explained(path):
            _check(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _check(connection: sqlite3.Connection, path: Path) -> None:
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    (kind,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    name = printable(str(path))
    if tables and kind != APPLICATION_ID:
        raise RunError(f"{name}: a database, but not of a run; choose another --out")
    if tables and not _OLDEST <= version <= VERSION:
        raise RunError(
            f"{name}: a run of version {version}, this perception reads versions {_OLDEST} to "
            f"{VERSION}; use the perception that made it, or begin anew with --overwrite"
        )


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
        if getattr(error, "sqlite_errorcode", 0) & 0xFF not in (
            sqlite3.SQLITE_NOTADB,
            sqlite3.SQLITE_CORRUPT,
        ):
            raise
        raise RunError(
            f"{name}: no run database, or a damaged one ({error}); move it away, or begin anew "
            "with --overwrite"
        ) from None
