"""The rows of a run database that hold what a model answered; see ``schema``."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perception.annotate.integrity import DamagedError, check_content, content_of
from perception.annotate.records import (
    Answer,
    Failure,
    Record,
    StoredBoxes,
    StoredInstances,
)
from perception.formats.verify.run_lengths import MOST_PIXELS, RunLengthsError, read_run_lengths
from perception.phrases import Phrases
from perception.types import Candidates, Rle

_INSERT_INSTANCE = "INSERT INTO instance VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_SET_MASK = (
    "UPDATE instance SET mask = ?, quality = ?, stability = ?, consensus = ?, made = 1 "
    "WHERE picture = ? AND query = ? AND NOT made"
)
_NO_MASK = (None, None, None, None)
_INSERT_SCORE = "INSERT OR REPLACE INTO score VALUES (?, ?, ?, ?)"


_INSTANCES = (
    "SELECT query, x0, y0, x1, y1, mask, quality, stability, consensus, made FROM instance "
    "WHERE picture = ? ORDER BY query"
)
_SCORES = (
    "SELECT query, text, score FROM score LEFT JOIN phrase ON phrase.id = score.phrase "
    "WHERE picture = ? ORDER BY query, phrase.id"
)

Row = tuple[Any, ...]


def read_rows(db: sqlite3.Connection, picture: int) -> tuple[list[Row], list[Row]]:
    """A picture's rows of instances and of scores, as they were sealed; else DamagedError."""
    instances, scores = (db.execute(sql, (picture,)).fetchall() for sql in (_INSTANCES, _SCORES))
    row = db.execute("SELECT content FROM picture WHERE id = ?", (picture,)).fetchone()
    check_content(row and row[0], instances, scores)
    return instances, scores


def seal(db: sqlite3.Connection, picture: int) -> None:
    """Notes the checksum of a picture's instances and scores, whenever some were written.

    Where older ones stay, ``read_rows`` comes before: damage isn't to be sealed.
    """
    rows = (db.execute(sql, (picture,)).fetchall() for sql in (_INSTANCES, _SCORES))
    db.execute("UPDATE picture SET content = ? WHERE id = ?", (content_of(*rows), picture))


def read_instances(db: sqlite3.Connection, picture: int, phrases: Phrases) -> StoredInstances:
    """What is stored of a picture, with its scores of some phrases.

    Raises DamagedError for what can't be: nothing unchecked reaches numpy or pycocotools.
    """
    rows, scored = read_rows(db, picture)
    (image_hw,) = db.execute("SELECT height, width FROM picture WHERE id = ?", (picture,))
    boxes, numbers = _checked(rows, scored, phrases)
    if any(mask is not None and not made for (*_, mask, _, _, _, made) in rows):
        raise DamagedError("a mask that wasn't made")
    return StoredInstances(
        boxes.candidates,
        boxes.made,
        tuple(None if row[5] is None else checked_mask(row[5], image_hw) for row in rows),
        *numbers[:, 5:8].T.astype(np.float32),
    )


def read_boxes(db: sqlite3.Connection, picture: int, phrases: Phrases) -> StoredBoxes:
    """``read_instances`` without the masks, which aren't looked into."""
    return _checked(*read_rows(db, picture), phrases)[0]


def _checked(
    rows: Sequence[Row], scored: Sequence[Row], phrases: Phrases
) -> tuple[StoredBoxes, NDArray[np.float64]]:
    """Boxes with their scores, and all numbers K x 9: see ``_INSTANCES``, less the mask."""
    numbers = checked_numbers([(*row[:5], *row[6:]) for row in rows], 9)
    place = {row[0]: n for n, row in enumerate(rows)}
    column = {text: n for n, text in enumerate(phrases.phrases)}
    scores = np.zeros((len(rows), len(column)), np.float32)
    for query, text, score in scored:
        if query not in place or text is None or not (type(score) is float and 0 <= score <= 1):
            raise DamagedError("a score that can't be")
        if text in column:
            scores[place[query], column[text]] = score
    if not (np.isfinite(numbers[:, :5]).all() and np.isin(numbers[:, 8], (0, 1)).all()):
        raise DamagedError("an instance that can't be")
    found = Candidates(numbers[:, 1:5].astype(np.float32), scores, numbers[:, 0].astype(np.int64))
    return StoredBoxes(found, numbers[:, 8] > 0), numbers


def checked_numbers(rows: Sequence[Row], width: int) -> NDArray[np.float64]:
    """Numbers N x width, nan for NULL; DamagedError where something else stands."""
    if not all(value is None or type(value) in (int, float) for row in rows for value in row):
        raise DamagedError("a text in the place of a number")
    return np.array(rows, np.float64).reshape(-1, width)


def checked_mask(counts: object, image_hw: tuple[int, int]) -> Rle:
    """A mask of a picture's size whose run lengths add up; DamagedError for any other."""
    height, width = checked_size(image_hw)
    try:
        if isinstance(counts, str):
            read_run_lengths(counts, (height, width))
            return Rle((height, width), counts)
    except RunLengthsError as error:
        raise DamagedError(f"a mask: {error}") from None
    raise DamagedError("a mask that is no text")


def checked_size(image_hw: tuple[Any, Any]) -> tuple[int, int]:
    """Height and width of a picture that can be; DamagedError for others."""
    height, width = image_hw
    are_sides = type(height) is type(width) is int and height > 0 and width > 0
    if are_sides and height * width <= MOST_PIXELS:
        return height, width
    raise DamagedError("a picture's size that can't be")


def write_record(db: sqlite3.Connection, record: Record) -> None:
    """Writes an answer or a failure with its picture's state; to be called in a transaction."""
    if isinstance(record, Failure):
        _fail(db, record)
    else:
        _answer(db, record)
    seal(db, record.picture)


def _fail(db: sqlite3.Connection, failure: Failure) -> None:
    _forget(db, failure.picture)
    db.execute(
        "UPDATE picture SET state = 'failed', reason = ?, bytes = ?, modified = ?, uid = NULL, "
        "height = NULL, width = NULL, question = NULL WHERE id = ?",
        (failure.reason, *(failure.file or (None, None)), failure.picture),
    )


def _answer(db: sqlite3.Connection, answer: Answer) -> None:
    if answer.adds:
        read_rows(db, answer.picture)
    else:
        _forget(db, answer.picture)
    masks = _masks(answer)
    db.executemany(
        _INSERT_INSTANCE,
        [
            (answer.picture, query, *box, *masks.get(query, _NO_MASK), query in masks)
            for query, box in zip(answer.queries.tolist(), answer.boxes.tolist(), strict=True)
        ],
    )
    new = set(answer.queries.tolist())
    db.executemany(
        _SET_MASK,
        [(*mask, answer.picture, query) for query, mask in masks.items() if query not in new],
    )
    key = {n: _phrase(db, answer.asked[n]) for n in set(answer.score_phrases.tolist())}
    db.executemany(
        _INSERT_SCORE,
        (
            (answer.picture, query, key[phrase], score)
            for query, phrase, score in zip(
                answer.score_queries.tolist(),
                answer.score_phrases.tolist(),
                answer.scores.tolist(),
                strict=True,
            )
        ),
    )
    db.execute(
        "UPDATE picture SET state = 'done', reason = NULL, bytes = ?, modified = ?, uid = ?, "
        "height = ?, width = ?, question = ? WHERE id = ?",
        (
            *(answer.file or (None, None)),
            answer.uid,
            *answer.image_hw,
            _question(db, answer.asked),
            answer.picture,
        ),
    )


def _masks(answer: Answer) -> dict[int, tuple[Any, ...]]:
    """Run lengths, quality, stability and consensus of each mask that was made, by query."""
    return {
        query: tuple(mask)
        for query, *mask in zip(
            answer.mask_queries.tolist(),
            answer.masks,
            answer.quality.tolist(),
            answer.stability.tolist(),
            answer.consensus.tolist(),
            strict=True,
        )
    }


def _phrase(db: sqlite3.Connection, text: str) -> int:
    raw = (text_bytes(text),)
    db.execute("INSERT OR IGNORE INTO phrase (text) VALUES (CAST(? AS TEXT))", raw)
    return _only(db.execute("SELECT id FROM phrase WHERE text = CAST(? AS TEXT)", raw))


def _question(db: sqlite3.Connection, asked: Sequence[str]) -> int:
    phrases = json.dumps(asked)
    db.execute("INSERT OR IGNORE INTO question (phrases) VALUES (?)", (phrases,))
    return _only(db.execute("SELECT id FROM question WHERE phrases = ?", (phrases,)))


def _forget(db: sqlite3.Connection, picture: int) -> None:
    db.execute("DELETE FROM instance WHERE picture = ?", (picture,))
    db.execute("DELETE FROM score WHERE picture = ?", (picture,))


def _only(cursor: sqlite3.Cursor) -> int:
    (value,) = cursor.fetchone()
    return int(value)


def text_bytes(text: str) -> bytes:
    """What ``CAST(? AS TEXT)`` takes: a name that isn't text can't be bound as it is."""
    return text.encode("utf-8", "surrogatepass")
