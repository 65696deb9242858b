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

from perception.annotate.records import Counts, FileStamp, StoredInstances, StoredPicture
from perception.annotate.remote import is_url
from perception.annotate.schema import SUFFIX, explained, open_to_read
from perception.phrases import Phrases, PromptText, parse
from perception.types import Candidates, Rle


def run_path(out: Path) -> Path:
    """Where the database of the run that writes ``out`` lies: ``annotations.json.run``."""
    return out.with_name(out.name + SUFFIX)


def find_run(path: Path) -> Path:
    """The run database that is meant by its own path or by that of its output."""
    beside = run_path(path)
    return beside if beside.is_file() and not path.name.endswith(SUFFIX) else path


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
        """The phrases and classes of ``text``."""
        return parse(self.text)

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
        """The pictures that are done, sorted by name; one at a time in memory."""
        for key, name, uid, height, width, size, modified in self._rows(
            "SELECT id, name, uid, height, width, bytes, modified FROM picture "
            "WHERE listed AND state = 'done' ORDER BY name"
        ):
            file = None if size is None else FileStamp(size, modified)
            yield StoredPicture(key, name, uid, (height, width), file)

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
