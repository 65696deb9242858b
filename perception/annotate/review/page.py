"""A review as one HTML page, which needs no other file, no network and no script."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from perception.annotate.records import Counts
from perception.annotate.review.document import document
from perception.annotate.review.failures import Reason
from perception.annotate.review.markup import Tree, tag
from perception.annotate.review.sheets import (
    Thumbnails,
    class_sheets,
    doubt_sheet,
    failure_list,
    not_shown,
)
from perception.annotate.review.summary import classes, tallies, what_was_run
from perception.annotate.review.survey import Survey
from perception.images import printable
from perception.phrases import Phrases


@dataclass(frozen=True, eq=False)
class Review:
    """All that a page shows. name: the run's."""

    name: str
    settings: Mapping[str, Any]
    phrases: Phrases
    counts: Counts
    survey: Survey
    thumbnails: Thumbnails
    failures: Sequence[Reason]


def page(review: Review) -> Iterator[str]:
    """The page's text, part by part."""
    title = f"Review of {printable(review.name)}"
    style = files(__package__).joinpath("page.css").read_text("utf-8")
    yield from document(title, style, _body(review, title))


def _body(review: Review, title: str) -> Iterator[Tree]:
    survey, counts = review.survey, review.counts
    yield tag("h1", title)
    yield tallies(counts, survey)
    yield what_was_run(review.settings, review.phrases, survey.threshold)
    if counts.waiting:
        words = "1 picture is" if counts.waiting == 1 else f"{counts.waiting:,} pictures are"
        yield tag(
            "p", f"{words} still to be done: the same annotate command goes on.", class_="note"
        )
    sections: list[tuple[str, str, Iterable[Tree]]] = [
        (
            "uncertain",
            "Most uncertain",
            doubt_sheet(survey.doubts(), survey.classes, review.thumbnails),
        ),
        ("classes", "Classes", classes(survey, review.phrases)),
    ]
    if survey.counts.any():
        sections.append(("sheets", "By class", class_sheets(survey, review.thumbnails)))
    if review.failures:
        sections.append(("failed", "Failed", failure_list(review.failures)))
    if any(isinstance(drawn, str) for drawn in review.thumbnails.values()):
        sections.append(("not-shown", "Pictures that can't be shown", not_shown(review.thumbnails)))
    yield tag("nav", *(tag("a", heading, href=f"#{key}") for key, heading, _ in sections))
    for key, heading, parts in sections:
        yield tag("h2", heading, id=key)
        yield from parts
