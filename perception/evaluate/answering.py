"""Asking about every picture that has things, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from perception.annotate.review.watch import Watch
from perception.evaluate.kept_answers import kept
from perception.evaluate.things import Things, TruePicture
from perception.types import ImageArray

Ask = Callable[[ImageArray, TruePicture], Any]
"""What answers for a picture's things, as plain values that JSON holds exactly."""


def answer_all(
    things: Things, ask: Ask, *, asked: Mapping[str, Any], keep: Path | None, watch: Watch
) -> list[tuple[TruePicture, Any]]:
    """The answers for all pictures that have things, in their order.

    asked, keep: what is asked of whom, and the file of answers, see ``kept_answers``. Raises
    ImageError for a picture that can't be read, and what ``kept`` raises.
    """
    pictures = [picture for picture in things.pictures if picture.things]
    answered = []
    with kept(keep, asked) as (before, add):
        for picture in watch(pictures, total=len(pictures)):
            answer = before.get(picture.file_name)
            if answer is None:
                answer = ask(picture.read(), picture)
                add(picture.file_name, answer)
            answered.append((picture, answer))
    return answered
