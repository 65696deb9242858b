"""The rows of a run database that hold what a model answered; see ``schema``."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

from perception.annotate.records import Answer, Failure, Record

_INSERT_INSTANCE = "INSERT INTO instance VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_SET_MASK = (
    "UPDATE instance SET mask = ?, quality = ?, stability = ?, consensus = ?, made = 1 "
    "WHERE picture = ? AND query = ? AND NOT made"
)
_NO_MASK = (None, None, None, None)
_INSERT_SCORE = "INSERT OR REPLACE INTO score VALUES (?, ?, ?, ?)"


def write_record(db: sqlite3.Connection, record: Record) -> None:
    """Writes an answer or a failure with its picture's state; to be called in a transaction."""
    if isinstance(record, Failure):
        _fail(db, record)
    else:
        _answer(db, record)


def _fail(db: sqlite3.Connection, failure: Failure) -> None:
    _forget(db, failure.picture)
    db.execute(
        "UPDATE picture SET state = 'failed', reason = ?, bytes = ?, modified = ?, uid = NULL, "
        "height = NULL, width = NULL, question = NULL WHERE id = ?",
        (failure.reason, *(failure.file or (None, None)), failure.picture),
    )


def _answer(db: sqlite3.Connection, answer: Answer) -> None:
    if not answer.adds:
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
