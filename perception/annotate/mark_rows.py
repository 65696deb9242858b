"""The rows of a run database that hold marks; see ``schema``."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from perception.annotate.marks import Mark, MarkedContent
from perception.types import Rle


def read_revision(db: sqlite3.Connection, picture: int) -> int:
    """Of a picture's marks; 0 where no hand has worked on it."""
    row = db.execute("SELECT revision FROM edited WHERE picture = ?", (picture,)).fetchone()
    return int(row[0]) if row else 0


def read_marks(db: sqlite3.Connection, picture: int) -> tuple[Mark, ...]:
    """A picture's marks in their order."""
    rows = db.execute(
        "SELECT mark.uid, class, origin, height, width, mask, score, quality, stability "
        "FROM mark JOIN edited USING (picture) WHERE picture = ? ORDER BY place",
        (picture,),
    )
    return tuple(
        Mark(uid, label, origin, Rle((height, width), counts), *numbers)
        for uid, label, origin, height, width, counts, *numbers in rows
    )


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
