"""A review's pictures: contact sheets, the most uncertain instances, and what failed."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence

from perception.annotate.review.doubts import Doubt
from perception.annotate.review.failures import MOST_REASONS, Reason
from perception.annotate.review.markup import Tree, tag
from perception.annotate.review.shown import Shown
from perception.annotate.review.summary import histograms
from perception.annotate.review.survey import Survey
from perception.annotate.review.thumbnails import Thumbnail
from perception.images import printable

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
    """Each reason with the names of its pictures."""
    for reason in reasons[:MOST_REASONS]:
        yield _names(reason.text, reason.names, reason.count)
    if left := sum(reason.count for reason in reasons[MOST_REASONS:]):
        others = len(reasons) - MOST_REASONS
        yield tag("p", f"and {left:,} pictures for {others:,} other reasons")


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
    """A thumbnail, or why there is none, with its score and the picture's name below."""
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
