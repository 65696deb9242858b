"""The run database: one SQLite file that holds all of an annotation run.

Its tables are in ``schema``. Any moment is a safe one to die: a picture's rows and its state are
one transaction. ``RunReader`` is for everything that looks at a run, also while it is worked on;
``writer.RunWriter`` for the one process that works on it. ``results`` makes ``Instances`` of what
is read here.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from perception.annotate.answer_rows import checked_size, read_boxes, read_instances
from perception.annotate.integrity import DamagedError, damaged
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
from perception.annotate.schema import EMPTY, SUFFIX, explained, open_to_read
from perception.detector.decode import Labelling
from perception.errors import PromptError, RunError
from perception.images import printable
from perception.inputs import leads_out
from perception.phrases import NEGATIVE, Phrases, PromptText, normalise, parse


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
        try:
            with explained(path):
                self._check_values()
        except BaseException:
            self.close()
            raise

    def _open(self) -> sqlite3.Connection:
        return open_to_read(self.path)

    def _check_values(self) -> None:
        values = {key: self._value(key, None) for (key,) in self._rows("SELECT key FROM run")}
        if "settings" not in values:
            if values or self.counts().total:
                raise DamagedError("its settings are gone")
            self._allow_empty()
        check_values(values)

    def _allow_empty(self) -> None:
        raise RunError(f"{printable(str(self.path))}: {EMPTY}")

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

    @contextmanager
    def _moment(self) -> Iterator[None]:
        """As ``snapshot``, also within one."""
        if self._db.in_transaction:
            yield
        else:
            with self.snapshot():
                yield

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
        try:
            return parse(self.text) if self.text else Phrases((), (), ())
        except PromptError as error:
            raise damaged(self.path, error) from None

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
        with explained(self.path):
            yield from map(_stored, self._rows("SELECT * FROM shown ORDER BY name"))

    def picture_count(self) -> int:
        """How many ``pictures`` there are."""
        ((count,),) = self._rows("SELECT count(*) FROM shown")
        return int(count)

    def stored(self, name: str) -> StoredPicture | None:
        """One of ``pictures``; None for a name that isn't among them."""
        rows = self._rows("SELECT * FROM shown WHERE name = ?", name)
        with explained(self.path):
            return next(map(_stored, rows), None)

    def picture(self, key: int) -> StoredPicture:
        """One of ``pictures``, by its number."""
        (row,) = self._rows("SELECT * FROM shown WHERE id = ?", key)
        with explained(self.path):
            return _stored(row)

    def listed(self, *, after: str = "", limit: int = -1) -> Iterator[ListedPicture]:
        """All pictures whose names come after one, sorted by name; at most ``limit``."""
        sql = "SELECT * FROM listing WHERE name > ? ORDER BY name LIMIT ?"
        with explained(self.path):
            yield from (ListedPicture(*_named(row)) for row in self._rows(sql, after, limit))

    def find(self, name: str) -> ListedPicture | None:
        """The picture of this name, if it is among those of the run."""
        rows = self._rows("SELECT * FROM listing WHERE name = ?", name)
        with explained(self.path):
            return next((ListedPicture(*_named(row)) for row in rows), None)

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
        with explained(self.path), self._moment():
            return read_marks(self._db, picture)

    def asked(self, picture: int) -> tuple[str, ...]:
        """Which of ``classes`` a model was asked for in this picture."""
        phrases, answered = self.phrases, frozenset[str]()
        for (question,) in self._rows(
            "SELECT phrases FROM question JOIN picture ON question.id = question WHERE "
            "picture.id = ?",
            picture,
        ):
            with explained(self.path):
                answered = frozenset(phrases_of(question))
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
        with explained(self.path), self._moment():
            return read_instances(self._db, picture, phrases)

    def boxes(self, picture: int, phrases: Phrases) -> StoredBoxes:
        """``instances`` without their masks, which take most of the time to check."""
        with explained(self.path), self._moment():
            return read_boxes(self._db, picture, phrases)

    def missing_masks(self, labelling: Labelling) -> MissingMasks:
        """The masks that results with these labels show and that weren't made."""
        with self._moment():
            return self._missing_masks(labelling)

    def _missing_masks(self, labelling: Labelling) -> MissingMasks:
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
            with explained(self.path):
                try:
                    return json.loads(value)
                except (ValueError, TypeError, RecursionError):
                    raise DamagedError(f"{key} that isn't JSON") from None
        return default

    def _rows(self, sql: str, *values: Any) -> Iterator[Any]:
        with explained(self.path):
            cursor = self._db.cursor()
            try:
                for row in cursor.execute(sql, values):  # noqa: UP028
                    yield row
            finally:
                # Whoever broke off may have closed the file first.
                with suppress(sqlite3.ProgrammingError):
                    cursor.close()


def _stored(row: tuple[Any, ...]) -> StoredPicture:
    key, name, uid, height, width, size, modified, revision = _named(row)
    file = None if size is None else FileStamp(size, modified)
    if not isinstance(uid, str):
        raise DamagedError("a picture without what it shows")
    return StoredPicture(key, name, uid, checked_size((height, width)), file, revision)


def _named(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """A row whose second column is the name of a picture below the run's folder."""
    if not isinstance(row[1], str) or leads_out(row[1]):
        raise DamagedError(f"a picture's name that leads out of its folder: {row[1]!r}")
    return row


def phrases_of(question: str | None) -> tuple[str, ...]:
    """The phrases in a row of question; none of NULL. DamagedError for no such list."""
    try:
        phrases = json.loads(question) if question is not None else []
    except (ValueError, TypeError, RecursionError):
        phrases = None
    if not _are_texts(phrases):
        raise DamagedError("a question that can't be")
    return tuple(phrases)


def check_values(stored: Mapping[str, Any]) -> None:
    """Raises DamagedError for values of the table run that can't be; by their keys."""
    settings, shards = stored.get("settings"), stored.get("shards", "")
    fits = {
        "settings": settings is None or (isinstance(settings, dict) and _are_settings(settings)),
        "text": _is_prompt(stored.get("text", "")),
        "classes": _are_texts(stored.get("classes", [])),
        # A name that leads elsewhere would have files removed there.
        "shards": isinstance(shards, str) and not re.search("[^0-9a-f]", shards),
        "marked_with": isinstance(noted := stored.get("marked_with", []), list)
        and all(isinstance(info, dict) for info in noted),
    }
    for key, fit in fits.items():
        if not fit:
            raise DamagedError(f"{key} that can't be")


def _are_settings(settings: dict[str, Any]) -> bool:
    model, floors = settings.get("model"), [settings.get("floor"), settings.get("floor_nms")]
    most, tile, place = (settings.get(key, 0) for key in ("max_pixels", "tile", "pictures"))
    return (
        isinstance(model, dict)
        and "version" in model
        and isinstance(weights := model.get("weights"), dict)
        and _are_texts(list(weights.values()))
        and all(isinstance(floor, int | float) and 0 < floor <= 1 for floor in floors)
        and type(most) is type(tile) is int
        and 0 <= tile < most
        and isinstance(place, str)
        and "\0" not in place
    )


def _is_prompt(text: object) -> bool:
    if isinstance(text, dict):
        return all(isinstance(one, str) or _are_texts(one) for one in text.values())
    return isinstance(text, str) or _are_texts(text)


def _are_texts(names: object) -> bool:
    return isinstance(names, list) and all(isinstance(name, str) for name in names)
