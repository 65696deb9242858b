"""A review's beginning: what was run, how far it is, and what it has found in numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from perception.imaging.read import printable
from perception.prompts.grammar import NEGATIVE, Phrases
from perception.report.charts import score_chart, size_chart
from perception.report.html import Tree, tag
from perception.report.survey import Survey
from perception.runs.records import Counts

_IN_ONE_LINE = 4


def tallies(counts: Counts, survey: Survey) -> Tree:
    """The few numbers that matter most."""
    found = int((survey.counts > 0).sum())
    numbers = [
        (f"{counts.done:,}", f"of {counts.total:,} images done"),
        (f"{counts.failed:,}", "failed"),
        (f"{counts.waiting:,}", "still to be done"),
        (f"{int(survey.counts.sum()):,}", f"instances from {survey.threshold:g} up"),
        (f"{found:,}", f"of {len(survey.classes):,} classes found"),
    ]
    if survey.by_hand:
        numbers += [(f"{survey.by_hand:,}", "of these made or changed by hand")]
    items = [tag("li", tag("b", number), words) for number, words in numbers]
    return tag("ul", *items, class_="tallies")


def what_was_run(settings: Mapping[str, Any], phrases: Phrases, threshold: float) -> Tree:
    """Models and settings in a line; opened, also the models' files and the rest."""
    model = settings["model"]
    rows: list[tuple[str, str]] = [
        (kind, printable(str(model[kind]))) for kind in ("detector", "segmenter") if kind in model
    ]
    rows += [("perception", str(model["version"]))]
    rows += [("threshold", f"{threshold:g}")]
    rows += [("stored from", f"score {settings['floor']:g}, NMS {settings['floor_nms']:g}")]
    rows += [("images in", printable(settings["pictures"]))]
    negatives = [
        phrase
        for phrase, owner in zip(phrases.phrases, phrases.class_ids, strict=True)
        if owner == NEGATIVE
    ]
    if negatives:
        rows += [("never reported", ", ".join(map(printable, negatives)))]
    listed = tag("dl", *(part for term, text in rows for part in _entry(term, text)))
    files = [
        tag("tr", tag("td", printable(name)), tag("td", tag("code", sha256[:12])))
        for name, sha256 in model["weights"].items()
    ]
    heads = tag("tr", tag("th", "file", scope="col"), tag("th", "sha256", scope="col"))
    line = "; ".join(f"{term} {text}" for term, text in rows[:_IN_ONE_LINE])
    return tag(
        "details",
        tag("summary", f"What was run: {line}"),
        listed,
        tag("div", tag("table", heads, *files), class_="wide"),
    )


def _entry(term: str, text: str) -> Iterator[Tree]:
    yield tag("dt", term)
    yield tag("dd", text)


def classes(survey: Survey, phrases: Phrases) -> Iterator[Tree]:
    """A table of the classes that were found, the names of those that weren't, and histograms."""
    heads = ("class", "instances", "images", f"below {survey.threshold:g}")
    rows = [tag("tr", *(tag("th", head, scope="col") for head in heads))]
    below = survey.below.sum(axis=1)
    for n, (name, count) in enumerate(zip(survey.classes, survey.counts, strict=True)):
        if count:
            first = tag("td", tag("a", printable(name), href=f"#class-{n + 1}"))
            if also := _other_phrases(name, n, phrases):
                first.append(tag("span", f" ({', '.join(map(printable, also))})", class_="soft"))
            numbers = (count, survey.pictures[n], below[n])
            rows.append(tag("tr", first, *(tag("td", f"{number:,}") for number in numbers)))
    if len(rows) > 1:
        yield tag("div", tag("table", *rows), class_="wide")
    missing = [
        printable(name) + (f" (at best {survey.best_below[n]:.2f})" if below[n] else "")
        for n, name in enumerate(phrases.classes)
        if not survey.counts[n]
    ]
    if missing:
        yield tag("p", tag("b", "Asked for and not found: "), ", ".join(missing) + ".")
    yield histograms(survey, range(len(survey.classes)))


def histograms(survey: Survey, class_ids: Sequence[int]) -> Tree:
    """Scores and sizes of some classes together."""
    chosen = list(class_ids)
    above, below = survey.above[chosen].sum(axis=0), survey.below[chosen].sum(axis=0)
    sizes = survey.sizes[chosen].sum(axis=0)
    scores = score_chart(above, below, threshold=survey.threshold)
    return tag(
        "div",
        tag("figure", scores, tag("figcaption", "Scores; pale: below the threshold")),
        tag("figure", size_chart(sizes), tag("figcaption", "Sizes: root of the area, pixels")),
        class_="charts",
    )


def _other_phrases(name: str, class_id: int, phrases: Phrases) -> list[str]:
    """What a class was asked as, if that isn't just its name."""
    own = [
        phrase
        for phrase, owner in zip(phrases.phrases, phrases.class_ids, strict=True)
        if owner == class_id
    ]
    return [] if len(own) == 1 and own[0].casefold() == name.casefold() else own
