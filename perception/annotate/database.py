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
from collections.abc import Iterator, Mapping, Sequence
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
    MissingMasks,
    StoredBoxes,
    StoredInstances,
    StoredPicture,
)
from perception.annotate.remote import is_url
from perception.annotate.schema import SUFFIX, explained, open_to_read
from perception.detector.decode import Labelling
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

    def picture(self, key: int) -> StoredPicture:
        """One of ``pictures``, by its number."""
        (row,) = self._rows("SELECT * FROM shown WHERE id = ?", key)
        return _stored(row)

    def listed(self, *, after: str = "", limit: int = -1) -> Iterator[ListedPicture]:
        """All pictures whose names come after one, sorted by name; at most ``limit``."""
        sql = "SELECT * FROM listing WHERE name > ? ORDER BY name LIMIT ?"
        yield from (ListedPicture(*row) for row in self._rows(sql, after, limit))

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
                "SELECT query, x0, y0, x1, y1, made, mask, quality, stability, consensus, height, "
                "width FROM instance JOIN picture ON picture.id = instance.picture "
                "WHERE picture.id = ? ORDER BY query",
                picture,
            )
        )
        boxes = self._boxes(picture, phrases, [row[:6] for row in rows])
        return StoredInstances(
            boxes.candidates,
            boxes.made,
            tuple(Rle(row[10:12], row[6]) if row[6] is not None else None for row in rows),
            *(np.array([row[n] for row in rows], np.float32) for n in (7, 8, 9)),
        )

    def boxes(self, picture: int, phrases: Phrases) -> StoredBoxes:
        """``instances`` without their masks, which take most of the time to read."""
        sql = "SELECT query, x0, y0, x1, y1, made FROM instance WHERE picture = ? ORDER BY query"
        return self._boxes(picture, phrases, list(self._rows(sql, picture)))

    def _boxes(
        self, picture: int, phrases: Phrases, rows: Sequence[tuple[Any, ...]]
    ) -> StoredBoxes:
        """rows: query, x0, y0, x1, y1, made."""
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
        return StoredBoxes(
            Candidates(
                np.array([row[1:5] for row in rows], np.float32),
                scores,
                np.array([row[0] for row in rows], np.int64),
            ),
            np.array([row[5] for row in rows], np.bool_),
        )

    def missing_masks(self, labelling: Labelling) -> MissingMasks:
        """The masks that results with these labels show and that weren't made."""
        phrases, found, best = self.phrases, {}, 0.0
        # As float32, as scores are stored: what a threshold lets through must not be missed here.
        least = float(np.float32(labelling.threshold))
        for (picture,) in self._rows(
            "SELECT id FROM picture WHERE listed AND state = 'done' "
            "AND id NOT IN (SELECT picture FROM edited) AND EXISTS (SELECT 1 FROM instance "
            "JOIN score USING (picture, query) "
            "WHERE instance.picture = picture.id AND NOT made AND score >= ?)",
            least,
        ):
            stored = self.boxes(picture, phrases)
            rows = stored.without_mask(labelling, phrases)
            if len(rows):
                found[picture] = len(rows)
                best = max(best, float(stored.candidates.scores[rows].max()))
        return MissingMasks(found, best)

    def _value(self, key: str, default: Any) -> Any:
        for (value,) in self._rows("SELECT value FROM run WHERE key = ?", key):
            return json.loads(value)
        return default

    def _rows(self, sql: str, *values: Any) -> Iterator[Any]:
        with explained(self.path), closing(self._db.cursor()) as cursor:
            yield from cursor.execute(sql, values)


def _stored(row: tuple[Any, ...]) -> StoredPicture:
    key, name, uid, height, width, size, modified, revision = row
    file = None if size is None else FileStamp(size, modified)
    return StoredPicture(key, name, uid, (height, width), file, revision)
