"""The review of a run: one HTML page with contact sheets, uncertain instances and failures."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from perception.defaults import PER_CLASS, THRESHOLD
from perception.detectors.decode import SAME_CLASS_IOU
from perception.errors import ImageError, OutputError
from perception.imaging.read import printable
from perception.prompts.grammar import Phrases
from perception.report.html import Tree, Watch, document, tag, unwatched
from perception.report.summary import classes, histograms, tallies, what_was_run
from perception.report.survey import Survey, survey
from perception.report.thumbnails import Shown, Thumbnail, draw_thumbnails
from perception.report.uncertainty import Doubt
from perception.runs.read import RunReader
from perception.runs.records import Counts
from perception.runs.remote import is_url
from perception.runs.results import check_stored
from perception.runs.store import SUFFIX
from perception.runtime.files import whole_file


@dataclass(frozen=True)
class Written:
    """What a review has come to.

    instances: from the threshold up, whether shown or not; classes: that were asked for or added;
    bytes: of the page; missing: instances that are shown without their image.
    """

    instances: int
    classes: int
    bytes: int
    missing: int


def write_review(
    run: RunReader,
    out: Path,
    *,
    images: Path | str | None = None,
    threshold: float = THRESHOLD,
    nms: float = SAME_CLASS_IOU,
    scores_from: float | None = None,
    per_class: int = PER_CLASS,
    watch: Watch = unwatched,
) -> Written:
    """Writes one HTML page about a run, finished or not; the same run gives the same bytes.

    images: the folder or URL where its images are now (default: where they were); threshold: the
    least score that counts; nms: as ``results`` has it; scores_from: the least score in the
    histograms (default: the run's floor), down to which all masks have to be made; per_class:
    instances of each class that are shown. An image that is gone or another now is said to be so.
    Raises PromptError for less than is stored, RunError for masks that weren't made, ImageError for
    a folder that can't be read, OutputError if the page can't be written.
    """
    settings = run.settings
    check_stored(settings["floor"], settings["floor_nms"], threshold=threshold, nms=nms)
    if out.is_dir():
        raise OutputError(f"{printable(str(out))}: a folder; name a file for --out")
    folder = run.place if images is None else images
    if not is_url(str(folder)):
        _check_folder(Path(folder))
    with run.snapshot():
        counts, phrases = run.counts(), run.phrases
        found = survey(
            run,
            threshold=threshold,
            scores_from=scores_from,
            per_class=per_class,
            nms=nms,
            watch=watch,
        )
        failures = failures_by_reason(run)
    thumbnails = draw_thumbnails(
        found.shown(),
        classes=found.classes,
        folder=folder,
        max_pixels=settings["max_pixels"],
        watch=watch,
    )
    name = run.path.name.removesuffix(SUFFIX)
    review = Review(name, settings, phrases, counts, found, thumbnails, failures)
    with whole_file(out) as file:
        size = sum(file.write(part.encode("utf-8")) for part in page(review))
    return Written(
        instances=int(found.counts.sum()),
        classes=len(found.classes),
        bytes=size,
        missing=sum(isinstance(drawn, str) for drawn in thumbnails.values()),
    )


def _check_folder(folder: Path) -> None:
    try:
        os.scandir(folder).close()
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise ImageError(
            f"{printable(str(folder))}: the run's images can't be looked for there ({why}); "
            "name their folder with --images"
        ) from None


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
    style = files(__package__).joinpath("review.css").read_text("utf-8")
    yield from document(title, style, _body(review, title))


def _body(review: Review, title: str) -> Iterator[Tree]:
    survey, counts = review.survey, review.counts
    yield tag("h1", title)
    yield tallies(counts, survey)
    yield what_was_run(review.settings, review.phrases, survey.threshold)
    if counts.waiting:
        words = "1 image is" if counts.waiting == 1 else f"{counts.waiting:,} images are"
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


Thumbnails = Mapping[Shown, Thumbnail | str]


def class_sheets(survey: Survey, thumbnails: Thumbnails) -> Iterator[Tree]:
    """A contact sheet and histograms for each class that was found."""
    for class_id, (name, count) in enumerate(zip(survey.classes, survey.counts, strict=True)):
        if not count:
            continue
        sample = survey.sample(class_id)
        how_many = f"{count:,}" if len(sample) == count else f"{len(sample):,} of {count:,}"
        tiles = [tag("li", _tile(one, name, thumbnails)) for one in sample]
        yield tag(
            "details",
            tag("summary", tag("h3", printable(name)), tag("span", f" {how_many}", class_="soft")),
            histograms(survey, [class_id]),
            tag("ul", *tiles, class_="sheet"),
            open="open",
            id=f"class-{class_id + 1}",
        )


def doubt_sheet(
    doubts: Sequence[Doubt], classes: Sequence[str], thumbnails: Thumbnails
) -> Iterator[Tree]:
    """The most uncertain instances with what makes them so."""
    if not doubts:
        yield tag("p", "Nothing found, so nothing uncertain.")
        return
    yield tag(
        "p",
        "Worst first. All instances are put in order five times: by margin (score less that of "
        "the next best class), by the mask quality that the segmenter predicts, by stability "
        "(how little the mask changes with its threshold), by how far the segmenter's candidates "
        "are the same mask, and by agreement (IoU of the detector's box and the mask's). An "
        "instance's place here is the worst that it has in any of the five; only the worst "
        "quarter of each counts.",
        class_="soft",
    )
    tiles = []
    for instance, reasons in doubts:
        why = [tag("span", reason, class_="why") for reason in reasons]
        label = classes[instance.class_id]
        tiles.append(tag("li", _tile(instance, label, thumbnails, *why, named=True)))
    yield tag("ol", *tiles, class_="sheet doubts")


def failure_list(reasons: Sequence[Reason]) -> Iterator[Tree]:
    """Each reason with the names of its images."""
    for reason in reasons[:MOST_REASONS]:
        yield _names(reason.text, reason.names, reason.count)
    if left := sum(reason.count for reason in reasons[MOST_REASONS:]):
        others = len(reasons) - MOST_REASONS
        yield tag("p", f"and {left:,} images for {others:,} other reasons")


def not_shown(thumbnails: Thumbnails) -> Iterator[Tree]:
    """Pictures of instances that couldn't be shown, by what is wrong with them."""
    names: dict[str, dict[str, None]] = {}
    for instance, drawn in thumbnails.items():
        if isinstance(drawn, str):
            names.setdefault(drawn, {})[instance.name] = None
    for why, some in sorted(names.items()):
        yield _names(why, list(some), len(some))


def _names(heading: str, names: Sequence[str], count: int) -> Tree:
    items = [tag("li", printable(name)) for name in names]
    if count > len(names):
        items.append(tag("li", f"and {count - len(names):,} more"))
    summary = tag("summary", tag("h3", printable(heading)), tag("span", f" {count:,}"))
    return tag("details", summary, tag("ul", *items, class_="names"))


def _tile(
    one: Shown, label: str, thumbnails: Thumbnails, *words: Tree, named: bool = False
) -> Tree:
    """A thumbnail, or why there is none, with its score and the image's name below."""
    name, drawn, text = printable(one.name), thumbnails[one], _score(one)
    if isinstance(drawn, str):
        picture = tag("span", printable(drawn), class_="gone")
    else:
        picture = tag(
            "img",
            src=f"data:image/jpeg;base64,{base64.b64encode(drawn.jpeg).decode('ascii')}",
            width=drawn.width,
            height=drawn.height,
            alt=f"{printable(label)}, {_score(one, 'score ')}, in {name}",
            loading="lazy",
            decoding="async",
        )
    caption = tag("figcaption", tag("b", text), f" {printable(label)}" if named else "", *words)
    caption.append(tag("span", name, class_="name"))
    return tag("figure", tag("div", picture, class_="picture"), caption, title=name)


def _score(one: Shown, before: str = "") -> str:
    return "by hand" if one.score is None else f"{before}{one.score:.2f}"


MOST_REASONS = 50
"""Reasons that a review lists; the rest is counted."""

MOST_NAMES = 200
"""Pictures that it names for each."""


@dataclass
class Reason:
    """Why images failed: how many, and the names of the first."""

    text: str
    count: int = 0
    names: list[str] = field(default_factory=list)


def failures_by_reason(run: RunReader) -> list[Reason]:
    """All reasons, the most frequent first."""
    reasons: dict[str, Reason] = {}
    for name, text in run.failures():
        reason = reasons.setdefault(text, Reason(text))
        reason.count += 1
        if len(reason.names) < MOST_NAMES:
            reason.names.append(name)
    return sorted(reasons.values(), key=lambda reason: (-reason.count, reason.text))
