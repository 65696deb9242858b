"""The run database: one SQLite file that holds all of an annotation run.

Its tables are in ``schema``. Any moment is a safe one to die: a picture's rows and its state are
one transaction. ``RunReader`` is for everything that looks at a run, also while it is worked on;
``writer.RunWriter`` for the one process that works on it. ``results`` makes ``Instances`` of what
is read here.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from perception.annotate.mark_rows import read_marks
from perception.annotate.marks import Mark
from perception.annotate.records import (
    Counts,
    FileStamp,
    ListedPicture,
    StoredInstances,
    StoredPicture,
)
from perception.annotate.remote import is_url
from perception.annotate.schema import SUFFIX, explained, open_to_read
from perception.phrases import NEGATIVE, Phrases, PromptText, normalise, parse
from perception.types import Candidates, Rle


def run_path(out: Path) -> Path:
    """Where the database of the run that writes ``out`` lies: ``annotations.json.run``."""
    return out.with_name(out.name + SUFFIX)


def find_run(path: Path) -> Path:
    """The run database that is meant by its own path or by that of its output."""
    beside = run_path(path)
    return beside if beside.is_file() else path


class RunReader:
    """Reads a run; raises RunError if there is none, or one of another version.

    ::

        with RunReader(path) as run:
            for picture in run.pictures():
                stored = run.instances(picture.picture, run.phrases)
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._db = self._open()

    def _open(self) -> sqlite3.Connection:
        return open_to_read(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file."""
        self._db.close()

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Within it, what is read is of one moment, whatever another process writes."""
        self._db.execute("BEGIN")
        try:
            yield
        finally:
            self._db.execute("ROLLBACK")

    @property
    def settings(self) -> Mapping[str, Any]:
        """What the run was begun with and may not change: models, floor, the pictures' folder."""
        settings: Mapping[str, Any] = self._value("settings", {})
        return settings

    @property
    def text(self) -> PromptText:
        """The prompt that was asked last."""
        text: PromptText = self._value("text", "")
        return text

    @property
    def phrases(self) -> Phrases:
        """The phrases and classes of ``text``; none where nothing was asked yet."""
        return parse(self.text) if self.text else Phrases((), (), ())

    @property
    def classes(self) -> tuple[str, ...]:
        """All that a picture's result may name: the prompt's classes, then those of hands."""
        names = {normalise(name): name for name in reversed(self._value("classes", []))}
        asked = self.phrases.classes
        by_hand = [names[key] for key in reversed(names)]
        known = {normalise(name) for name in asked}
        return (*asked, *(name for name in by_hand if normalise(name) not in known))

    @property
    def marked_with(self) -> list[Mapping[str, Any]]:
        """The models that hands have worked with, beside that of ``settings``."""
        noted: list[Mapping[str, Any]] = self._value("marked_with", [])
        return noted

    @property
    def folder(self) -> Path:
        """The folder that the pictures' names start from."""
        return Path(os.path.normpath(self.path.absolute().parent / self.settings["pictures"]))

    @property
    def place(self) -> Path | str:
        """The folder that the pictures' names start from, or its URL."""
        place = str(self.settings["pictures"])
        return place if is_url(place) else self.folder

    def counts(self) -> Counts:
        """How many pictures are waiting, done and failed."""
        rows = self._rows("SELECT state, count(*) FROM picture WHERE listed GROUP BY state")
        return Counts.of(dict(rows))

    def pictures(self) -> Iterator[StoredPicture]:
        """The pictures that are done or marked, sorted by name; one at a time in memory."""
        yield from map(_stored, self._rows("SELECT * FROM shown ORDER BY name"))

    def picture_count(self) -> int:
        """How many ``pictures`` there are."""
        ((count,),) = self._rows("SELECT count(*) FROM shown")
        return int(count)

    def stored(self, name: str) -> StoredPicture | None:
        """One of ``pictures``; None for a name that isn't among them."""
        rows = self._rows("SELECT * FROM shown WHERE name = ?", name)
        return next(map(_stored, rows), None)

    def listed(
        self, *, after: str = "", limit: int = -1, offset: int = 0, contains: str = ""
    ) -> Iterator[ListedPicture]:
        """All pictures whose names come after one, sorted by name; at most ``limit``.

        offset: how many of them are passed over; contains: what is in their names, whatever the
        case of ASCII letters.
        """
        sql = (
            "SELECT * FROM listing WHERE name > ? AND name LIKE ? ESCAPE '\\' "
            "ORDER BY name LIMIT ? OFFSET ?"
        )
        rows = self._rows(sql, after, _like(contains), limit, offset)
        yield from (ListedPicture(*row) for row in rows)

    def listed_count(self, *, contains: str = "", before: str | None = None) -> int:
        """How many pictures ``listed`` has; before: of those whose names come before this one."""
        sql = "SELECT count(*) FROM picture WHERE listed AND name LIKE ? ESCAPE '\\'"
        values = [_like(contains)]
        if before is not None:
            sql += " AND name < ?"
            values.append(before)
        ((count,),) = self._rows(sql, *values)
        return int(count)

    def find(self, name: str) -> ListedPicture | None:
        """The picture of this name, if it is among those of the run."""
        rows = self._rows("SELECT * FROM listing WHERE name = ?", name)
        return next((ListedPicture(*row) for row in rows), None)

    @property
    def is_edited(self) -> bool:
        """Whether a hand has worked on any picture that is listed."""
        return bool(
            list(
                self._rows("SELECT 1 FROM edited JOIN picture ON id = picture WHERE listed LIMIT 1")
            )
        )

    def marks(self, picture: int) -> tuple[Mark, ...]:
        """The marks of a picture that a hand has worked on, in their order."""
        with explained(self.path):
            return read_marks(self._db, picture)

    def asked(self, picture: int) -> tuple[str, ...]:
        """Which of ``classes`` a model was asked for in this picture."""
        phrases, answered = self.phrases, frozenset[str]()
        for (question,) in self._rows(
            "SELECT phrases FROM question JOIN picture ON question.id = question WHERE "
            "picture.id = ?",
            picture,
        ):
            answered = frozenset(json.loads(question))
        open_ids = {
            owner
            for phrase, owner in zip(phrases.phrases, phrases.class_ids, strict=True)
            if phrase not in answered and owner != NEGATIVE
        }
        alone = {
            normalise(name)
            for (name,) in self._rows("SELECT class FROM asked WHERE picture = ?", picture)
        }
        return tuple(
            name
            for n, name in enumerate(self.classes)
            if (n < len(phrases.classes) and n not in open_ids) or normalise(name) in alone
        )

    def failures(self) -> Iterator[tuple[str, str]]:
        """Name and reason of each picture that failed, sorted by name."""
        yield from self._rows(
            "SELECT name, reason FROM picture WHERE listed AND state = 'failed' ORDER BY name"
        )

    def failure_reasons(self) -> list[tuple[str, int, str]]:
        """Each reason, how many pictures failed with it and the first of them; most first."""
        return list(
            self._rows(
                "SELECT reason, count(*), min(name) FROM picture WHERE listed AND state = 'failed' "
                "GROUP BY reason ORDER BY count(*) DESC, reason"
            )
        )

    def instances(self, picture: int, phrases: Phrases) -> StoredInstances:
        """What is stored of a picture, with its scores of some phrases."""
        rows = list(
            self._rows(
                "SELECT query, x0, y0, x1, y1, mask, quality, stability, consensus, height, width "
                "FROM instance JOIN picture ON picture.id = instance.picture "
                "WHERE picture.id = ? ORDER BY query",
                picture,
            )
        )
        column = {text: n for n, text in enumerate(phrases.phrases)}
        place = {row[0]: n for n, row in enumerate(rows)}
        scores = np.zeros((len(rows), len(column)), np.float32)
        for query, text, score in self._rows(
            "SELECT query, text, score FROM score JOIN phrase ON phrase.id = score.phrase "
            "WHERE picture = ?",
            picture,
        ):
            if text in column:
                scores[place[query], column[text]] = score
        return StoredInstances(
            Candidates(
                np.array([row[1:5] for row in rows], np.float32),
                scores,
                np.array([row[0] for row in rows], np.int64),
            ),
            tuple(Rle(row[9:11], row[5]) if row[5] is not None else None for row in rows),
            *(np.array([row[n] for row in rows], np.float32) for n in (6, 7, 8)),
        )

    def _value(self, key: str, default: Any) -> Any:
        for (value,) in self._rows("SELECT value FROM run WHERE key = ?", key):
            return json.loads(value)
        return default

    def _rows(self, sql: str, *values: Any) -> Iterator[Any]:
        with explained(self.path), closing(self._db.cursor()) as cursor:
            yield from cursor.execute(sql, values)


def _like(text: str) -> str:
    """A pattern for names that contain a text."""
    for special in "\\%_":
        text = text.replace(special, f"\\{special}")
    return f"%{text}%"


def _stored(row: tuple[Any, ...]) -> StoredPicture:
    key, name, uid, height, width, size, modified, revision = row
    file = None if size is None else FileStamp(size, modified)
    return StoredPicture(key, name, uid, (height, width), file, revision)
