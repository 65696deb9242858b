"""Writing a run database."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from perception.detectors.decode import Labelling
from perception.prompts.grammar import PromptText
from perception.runs.read import RunReader
from perception.runs.records import (
    Answer,
    Counts,
    Failure,
    FileStamp,
    Mark,
    MarkedContent,
    MissingMasks,
    Record,
    Task,
)
from perception.runs.remote import join
from perception.runs.rows import read_revision, text_bytes, write_marks, write_record
from perception.runs.store import explained, open_to_write

_TASKS_AT_ONCE = 256


class RunWriter(RunReader):
    """Reads and writes a run, which is made if it isn't there; for one process at a time.

    has_lost: whether what was stored last is gone, as after a power cut. That it is the only one is
    for ``lock.only_worker`` to see to. Raises RunError for a file of another kind or version or a
    damaged one, OutputError if it can't be written.
    """

    def __init__(self, path: Path) -> None:
        self._unmasked: list[int] = []  # Done images that wait for masks.
        self._begun = True  # Until the file was looked into.
        super().__init__(path)
        self._begun = bool(self.settings)

    def _open(self) -> sqlite3.Connection:
        connection, self.has_lost = open_to_write(self.path)
        return connection

    def _allow_empty(self) -> None:
        """One that wasn't begun is what a new run begins with."""

    def close(self) -> None:
        """Closes the file, and leaves one file where there were a log and an index beside it.

        A run that was never begun leaves none.
        """
        # Where someone is reading it, or the disk is full, the log stays, which does no harm.
        with suppress(sqlite3.Error):
            self._db.execute("PRAGMA journal_mode = DELETE")
        self._db.close()
        if not self._begun:
            self.path.unlink(missing_ok=True)

    def begin(
        self,
        settings: Mapping[str, Any],
        text: PromptText,
        files: Iterable[tuple[str, FileStamp | None]],
        *,
        independent: bool | None,
        retry_failed: bool = False,
    ) -> None:
        """Notes what the run is about and which images it has: names, each with its file or None.

        settings: only those of a new run are taken. An image waits if it is new, if its file isn't
        the one that was answered, or if it hasn't answered all phrases of ``text`` (exactly these,
        unless phrases are independent; None: whether it has is left as it was noted). One that
        failed waits only if its file is another, or with retry_failed. Names that are no longer
        there are left out; what they had answered is kept.
        """
        with self._transaction() as db:
            db.execute("INSERT OR IGNORE INTO run VALUES ('settings', ?)", (json.dumps(settings),))
            db.execute("INSERT OR REPLACE INTO run VALUES ('text', ?)", (json.dumps(text),))
            self._list(db, files)
            db.execute(
                "UPDATE picture SET state = CASE "
                "WHEN NOT same THEN 'waiting' WHEN state = 'failed' AND NOT :retry THEN 'failed' "
                "WHEN :left THEN state "
                "WHEN state != 'failed' AND question IN (SELECT value FROM json_each(:covering)) "
                "THEN 'done' ELSE 'waiting' END "
                "FROM (SELECT picture.id AS same_id, picture.bytes IS file.bytes "
                "AND picture.modified IS file.modified AS same "
                "FROM picture JOIN file ON file.name = picture.name) WHERE id = same_id",
                {
                    "retry": retry_failed,
                    "left": independent is None,
                    "covering": json.dumps(self._covering(bool(independent))),
                },
            )
            db.execute("DROP TABLE file")
        self._begun = True

    def _list(self, db: sqlite3.Connection, files: Iterable[tuple[str, FileStamp | None]]) -> None:
        """Lists the images that there are, and leaves their files in a table of its own."""
        db.execute("CREATE TEMP TABLE file (name TEXT PRIMARY KEY, bytes, modified)")
        db.executemany(
            "INSERT OR IGNORE INTO file VALUES (CAST(? AS TEXT), ?, ?)",
            ((text_bytes(name), *(stamp or (None, None))) for name, stamp in files),
        )
        db.execute(
            "INSERT INTO picture (name, listed, state) SELECT name, 1, 'waiting' FROM file "
            "WHERE NOT EXISTS (SELECT 1 FROM picture WHERE picture.name = file.name) "
            "ORDER BY name"
        )
        db.execute(
            "UPDATE picture SET listed = 0 WHERE listed "
            "AND NOT EXISTS (SELECT 1 FROM file WHERE file.name = picture.name)"
        )
        db.execute(
            "UPDATE picture SET listed = 1 WHERE NOT listed "
            "AND EXISTS (SELECT 1 FROM file WHERE file.name = picture.name)"
        )

    def _covering(self, independent: bool) -> list[int]:
        """The questions whose answers hold those to ``text``."""
        wanted = self.phrases.phrases
        return [
            key
            for key, phrases in self._rows("SELECT id, phrases FROM question")
            if (
                set(wanted) <= set(json.loads(phrases))
                if independent
                else json.dumps(wanted) == phrases
            )
        ]

    @property
    def shards(self) -> str:
        """The name of the folder that a cluster writes its answers to; "" if there is none."""
        return str(self._value("shards", ""))

    @shards.setter
    def shards(self, name: str) -> None:
        with self._transaction() as db:
            db.execute("INSERT OR REPLACE INTO run VALUES ('shards', ?)", (json.dumps(name),))

    def ask_for_masks(self, labelling: Labelling) -> MissingMasks:
        """Adds to ``tasks`` the images that are done but for masks that are shown; says which.

        They stay done, so that results that need none of these masks can be had meanwhile.
        """
        missing = self.missing_masks(labelling)
        self._unmasked = list(missing.of_picture)
        return missing

    def masks_are_made(self) -> None:
        """Ends what ``ask_for_masks`` began."""
        self._unmasked = []

    def counts(self) -> Counts:
        """How many images are waiting, for an answer or for masks, done and failed."""
        counts, unmasked = super().counts(), len(self._unmasked)
        return replace(counts, waiting=counts.waiting + unmasked, done=counts.done - unmasked)

    def tasks(self) -> Iterator[Task]:
        """The images that wait when this is called, in order of listing; few at a time.

        Behind them come those that wait for masks.
        """
        yield from self._waiting()
        yield from self.mask_tasks(self.place)

    def mask_tasks(self, place: Path | str) -> Iterator[Task]:
        """The images that wait for masks; place: the folder or URL where they are."""
        phrases = self.phrases
        for key in self._unmasked:
            rows = self._rows(
                "SELECT name, uid, phrases FROM picture JOIN question "
                "ON question.id = picture.question WHERE picture.id = ?",
                key,
            )
            for name, uid, asked in list(rows):
                stored = self.boxes(key, phrases)
                yield Task(key, join(place, name), uid, tuple(json.loads(asked)), stored)

    def _waiting(self) -> Iterator[Task]:
        place, phrases, last = self.place, self.phrases, 0
        while rows := list(
            self._rows(
                "SELECT picture.id, name, uid, phrases FROM picture LEFT JOIN question "
                "ON question.id = picture.question "
                "WHERE state = 'waiting' AND listed AND picture.id > ? "
                "ORDER BY picture.id LIMIT ?",
                last,
                _TASKS_AT_ONCE,
            )
        ):
            for key, name, uid, question in rows:
                asked = tuple(json.loads(question)) if question else ()
                stored = self.boxes(key, phrases) if asked else None
                yield Task(key, join(place, name), uid or "", asked, stored)
            last = rows[-1][0]

    def record(self, records: Sequence[Record]) -> None:
        """Writes the answers and failures of some images, with their states, at one stroke.

        Raises OutputError, and has then written nothing of them, if that can't be done.
        """
        with self._transaction() as db:
            for record in records:
                write_record(db, record)

    def merge(self, found: Iterable[tuple[Record, int]]) -> list[Record]:
        """Writes those of some records that their images still wait for, and returns them.

        found: each with how many of its phrases the image had answered when it was asked. They
        may come twice, and late: of an image that has been done since, or that has answered more.
        """
        taken = []
        with self._transaction() as db:
            for record, asked_before in found:
                if self._awaits(db, record, asked_before):
                    write_record(db, record)
                    taken.append(record)
        return taken

    def _awaits(self, db: sqlite3.Connection, record: Record, asked_before: int) -> bool:
        found = db.execute(
            "SELECT state, uid, phrases FROM picture LEFT JOIN question "
            "ON question.id = picture.question WHERE picture.id = ?",
            (record.picture,),
        ).fetchone()
        if found is None or found[0] == "failed":
            return False
        is_late = found[0] == "done"
        if isinstance(record, Failure) or not record.adds:
            return not is_late or record.picture in self._unmasked
        asked = json.loads(found[2]) if found[2] else []
        if found[1] != record.uid or asked != list(record.asked[:asked_before]):
            return False
        # Of a done image, only masks that it lacks are awaited.
        return not is_late or (len(record.asked) == asked_before and self._lacks_mask(db, record))

    @staticmethod
    def _lacks_mask(db: sqlite3.Connection, answer: Answer) -> bool:
        found = db.execute(
            "SELECT 1 FROM instance WHERE picture = ? AND NOT made "
            "AND query IN (SELECT value FROM json_each(?)) LIMIT 1",
            (answer.picture, json.dumps(answer.mask_queries.tolist())),
        )
        return found.fetchone() is not None

    def mark(
        self, picture: int, marks: Sequence[Mark], content: MarkedContent, *, revision: int
    ) -> int | None:
        """Puts marks in the place of all that stands on an image; returns their revision.

        revision: that of what they were made from, 0 for an image that had no marks. If it isn't
        the stored one, someone else was faster: nothing is written, and None is returned.
        """
        with self._transaction() as db:
            if read_revision(db, picture) != revision:
                return None
            write_marks(db, picture, marks, content, revision=revision + 1)
            self._add_classes(db, [mark.label for mark in marks])
        return revision + 1

    def add_class(self, name: str) -> None:
        """Adds a class, which no model is asked for; one that is there stays as it is."""
        with self._transaction() as db:
            self._add_classes(db, [name])

    def _add_classes(self, db: sqlite3.Connection, names: Sequence[str]) -> None:
        known = self._value("classes", [])
        new = [name for name in dict.fromkeys(names) if name not in known]
        if new:
            value = json.dumps([*known, *new])
            db.execute("INSERT OR REPLACE INTO run VALUES ('classes', ?)", (value,))

    def note_model(self, info: Mapping[str, Any]) -> None:
        """Notes that hands have worked with this model, as ``run_settings`` describes it."""
        with self._transaction() as db:
            noted = self.marked_with
            if info not in noted:
                value = json.dumps([*noted, info])
                db.execute("INSERT OR REPLACE INTO run VALUES ('marked_with', ?)", (value,))

    def note_asked(self, picture: int, classes: Iterable[str]) -> None:
        """Notes that a model was asked for some classes in this image alone."""
        with self._transaction() as db:
            rows = [(picture, name) for name in classes]
            db.executemany("INSERT OR IGNORE INTO asked VALUES (?, ?)", rows)

    def add_picture(self, name: str) -> None:
        """Lists one more image, which waits."""
        with self._transaction() as db:
            db.execute(
                "INSERT INTO picture (name, listed, state) VALUES (?, 1, 'waiting') "
                "ON CONFLICT (name) DO UPDATE SET listed = 1, state = 'waiting'",
                (name,),
            )

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with explained(self.path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
