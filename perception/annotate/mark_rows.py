"""The rows of a run database that hold marks; see ``schema``."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from perception.annotate.answer_rows import checked_mask
from perception.annotate.integrity import DamagedError, check_content, content_of
from perception.annotate.marks import ORIGINS, Mark, MarkedContent

_MARKS = (
    "SELECT place, uid, class, origin, mask, score, quality, stability FROM mark "
    "WHERE picture = ? ORDER BY place"
)


def read_revision(db: sqlite3.Connection, picture: int) -> int:
    """Of a picture's marks; 0 where no hand has worked on it."""
    row = db.execute("SELECT revision FROM edited WHERE picture = ?", (picture,)).fetchone()
    return int(row[0]) if row else 0


def read_marks(db: sqlite3.Connection, picture: int) -> tuple[Mark, ...]:
    """A picture's marks in their order; DamagedError for others than were written, or odd ones."""
    row = db.execute(
        "SELECT height, width, content FROM edited WHERE picture = ?", (picture,)
    ).fetchone()
    if row is None:
        return ()
    height, width, content = row
    rows = db.execute(_MARKS, (picture,)).fetchall()
    check_content(content, rows)
    marks = []
    for _, uid, label, origin, counts, *numbers in rows:
        texts = isinstance(uid, str) and isinstance(label, str) and origin in ORIGINS
        if not (texts and all(one is None or type(one) is float for one in numbers)):
            raise DamagedError("a mark that can't be")
        marks.append(Mark(uid, label, origin, checked_mask(counts, (height, width)), *numbers))
    return tuple(marks)


def write_marks(
    db: sqlite3.Connection,
    picture: int,
    marks: Sequence[Mark],
    content: MarkedContent,
    *,
    revision: int,
) -> None:
    """Puts marks in the place of all that the picture had; to be called in a transaction."""
    db.execute("DELETE FROM mark WHERE picture = ?", (picture,))
    db.execute(
        "INSERT OR REPLACE INTO edited VALUES (?, ?, ?, ?, ?, ?, ?, NULL)",
        (picture, revision, *(content.file or (None, None)), content.uid, *content.image_hw),
    )
    db.executemany(
        "INSERT INTO mark VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            (
                *(picture, place, mark.uid, mark.label, mark.origin, mark.rle.counts),
                *(mark.score, mark.quality, mark.stability),
            )
            for place, mark in enumerate(marks)
        ),
    )
    written = db.execute(_MARKS, (picture,)).fetchall()
    db.execute("UPDATE edited SET content = ? WHERE picture = ?", (content_of(written), picture))
