"""Predictions to be measured: of a run or of a results file, as ground truth names them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from perception.coco.lint.faults import Findings
from perception.coco.lint.read import is_number, read_coco, records
from perception.errors import CocoError, EvaluationError
from perception.evaluate.ground_truth import Box, Category, Picture, Truth, annotation_mask, box_of
from perception.imaging.read import printable
from perception.instances import Instances
from perception.ops.masks import rle_area
from perception.prompts.grammar import PromptText, normalize
from perception.runs.read import RunReader, find_run
from perception.runs.results import iter_results
from perception.runs.store import SUFFIX
from perception.types import Rle


@dataclass(frozen=True)
class Found:
    """One instance that was found. image, category: ids of the truth.

    mask_score: what ranks its mask, where that isn't the score: see ``Instances.mask_scores``.
    """

    picture: int
    category: int
    score: float
    box: Box
    mask: Rle | None = None
    mask_score: float | None = None


@dataclass(frozen=True)
class Answers:
    """All that was found, sorted by image. info: who found it, how.

    unanswered: images of the truth that nobody looked at, of which nothing counts as found;
    not_asked: categories of the truth that nobody was asked for; images: the pictures' folder,
    where that is known.
    """

    found: tuple[Found, ...]
    info: Mapping[str, Any]
    unanswered: int = 0
    not_asked: tuple[str, ...] = ()
    images: Path | None = None

    @property
    def has_masks(self) -> bool:
        """Whether there are masks, and not boxes alone; nothing has them."""
        return all(one.mask is not None for one in self.found)

    def above(self, threshold: float) -> Answers:
        """Those with at least this score."""
        kept = tuple(one for one in self.found if one.score >= threshold)
        return replace(self, found=kept, info={**self.info, "threshold": threshold})


def read_answers(
    path: Path, truth: Truth, *, threshold: float | None = None, all_labels: bool = False
) -> Answers:
    """What a run, a COCO results file or a COCO file with scores has found for the truth.

    path: a run, or what annotate was told to write; a list of results with the truth's ids; or a
    COCO file, whose images and categories are matched by their names. threshold: the least score
    that counts (default: all that there are); all_labels: of a run, what each thing might be
    counts, not only what it most likely is. Raises EvaluationError for what can't be matched,
    CocoError or RunError for a file that can't be read, PromptError for a threshold below the
    run's floor.
    """
    run = find_run(path)
    if run.name.endswith(SUFFIX) or run != path:
        with RunReader(run) as reader:
            return of_run(reader, truth, threshold=threshold, all_labels=all_labels)
    name = printable(str(path))
    if all_labels:
        raise EvaluationError(
            f"{name}: a file has one label for each answer; for all labels give a run, or --images "
            "to run a model on"
        )
    content = _results(path)
    if content is not None:
        found = _of_results(content, truth, name)
        answers = Answers(tuple(sorted(found, key=lambda one: one.picture)), {"answers": path.name})
    else:
        answers = _of_coco(read_coco(path, Findings()), truth, path)
    return answers if threshold is None else answers.above(threshold)


def of_run(
    run: RunReader, truth: Truth, *, threshold: float | None = None, all_labels: bool = False
) -> Answers:
    """What a run has found, finished or not; see ``read_answers``."""
    name = printable(run.path.name)
    least = float(run.settings["floor"]) if threshold is None else threshold
    with (
        run.snapshot(),
        closing(iter_results(run, threshold=least, all_labels=all_labels)) as found_in,
    ):
        ids = match_names(run.classes, truth.categories)
        names = [picture.name for picture in run.pictures()]
        pictures = match_pictures(names, truth)
        found = [
            one
            for result in found_in
            if result.picture.name in pictures
            for one in _of_instances(result.instances, pictures[result.picture.name], ids, name)
        ]
        info = {
            "answers": run.path.name,
            **{key: run.settings["model"][key] for key in sorted(run.settings["model"])},
            "threshold": least,
            **({"labels": "all"} if all_labels else {}),
        }
    if not pictures:
        raise EvaluationError(f"{name}: no image of the truth is in this run")
    return Answers(
        tuple(sorted(found, key=lambda one: one.picture)),
        info,
        unanswered=len(truth.pictures) - len(pictures),
        not_asked=_not_asked(truth, ids.values()),
        images=run.place if isinstance(run.place, Path) else None,
    )


def _of_instances(
    result: Instances, picture: Picture, ids: Mapping[str, int], name: str
) -> Iterator[Found]:
    _check_size(result.file_name, result.image_hw, picture, name)
    ranks = None if result.quality is None else result.mask_scores
    for n, label in enumerate(result.labels):
        x0, y0, x1, y1 = result.boxes[n].tolist()
        mask = result.rles[n] if result.rles else None
        box, score = (x0, y0, x1 - x0, y1 - y0), _sure(result.scores[n])
        mask_score = None if ranks is None else _sure(ranks[n])
        yield Found(picture.id, ids[label], score, box, mask, mask_score)


def _sure(score: np.float32) -> float:
    """What a hand made has no score: nobody is surer than a hand."""
    return 1.0 if np.isnan(score) else float(score)


def match_pictures(names: Sequence[str], truth: Truth) -> dict[str, Picture]:
    """The truth's image that each name means; names that mean none are left out.

    By the whole name, else by the file's own name where it is that of one image on either side.
    """
    whole = {picture.file_name: picture for picture in truth.pictures}
    by_end: dict[str, list[Picture]] = defaultdict(list)
    for picture in truth.pictures:
        by_end[PurePosixPath(picture.file_name).name].append(picture)
    ends = [PurePosixPath(name).name for name in names]
    matched = {}
    for name, end in zip(names, ends, strict=True):
        if name in whole:
            matched[name] = whole[name]
        elif len(by_end[end]) == 1 and ends.count(end) == 1:
            matched[name] = by_end[end][0]
    return matched


def _check_size(name: str, image_hw: tuple[int, int], picture: Picture, where: str) -> None:
    if image_hw != picture.image_hw:
        (height, width), (true_height, true_width) = image_hw, picture.image_hw
        raise EvaluationError(
            f"{where}: {printable(name)} is {width} x {height} here and {true_width} x "
            f"{true_height} in the truth; find again in the images that the truth is of"
        )


def _not_asked(truth: Truth, asked: Iterable[int]) -> tuple[str, ...]:
    """The categories with instances that aren't among those asked for."""
    missing = {one.category for one in truth.instances} - set(asked)
    return tuple(category.name for category in truth.categories if category.id in missing)


def _results(path: Path) -> list[Any] | None:
    """A COCO results file's rows; None for what may be another kind of file."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None  # Whoever reads it as a COCO file says what is wrong.
    return content if isinstance(content, list) else None


def _of_results(rows: Sequence[Any], truth: Truth, name: str) -> Iterator[Found]:
    pictures = {picture.id: picture for picture in truth.pictures}
    categories = {category.id for category in truth.categories}
    for n, row in enumerate(rows):
        at = f"{name}: result [{n}]"
        if not isinstance(row, dict):
            raise CocoError(f"{at} is no object; expected COCO results, or a COCO file")
        if _key(row, "image_id") in truth.cut:
            continue
        picture, category = pictures.get(_key(row, "image_id")), _key(row, "category_id")
        if picture is None or category not in categories:
            what = "image" if picture is None else "category"
            key = "image_id" if picture is None else "category_id"
            raise EvaluationError(f"{at} is of {what} {row.get(key)!r}, which the truth hasn't")
        yield _found(row, picture, category, at)


def _of_coco(content: Mapping[str, Any], truth: Truth, path: Path) -> Answers:
    name = printable(str(path))
    named = {row.record.get("id"): row.record.get("name") for row in records(content, "category")}
    names = {key: str(text) for key, text in named.items()}
    ids = match_names(list(names.values()), truth.categories)
    files = {
        row.record.get("id"): str(row.record.get("file_name", ""))
        for row in records(content, "image")
    }
    pictures = match_pictures(list(files.values()), truth)
    if not pictures:
        raise EvaluationError(f"{name}: no image of the truth is in this file")
    found = []
    for placed in records(content, "annotation"):
        row, at = placed.record, f"{name}: {placed.place}"
        file_name, label = files.get(row.get("image_id")), names.get(row.get("category_id"))
        if file_name is None or label is None:
            raise CocoError(f"{at} is of an image or category that the file doesn't list")
        if file_name in pictures:
            one = _found(row, pictures[file_name], ids[label], at)
            quality = row.get("quality")  # as this product's files have it
            if is_number(quality):
                one = replace(one, mask_score=one.score * min(max(quality, 0), 1))
            found.append(one)
    return Answers(
        tuple(sorted(found, key=lambda one: one.picture)),
        {"answers": path.name},
        unanswered=len(truth.pictures) - len(pictures),
        not_asked=_not_asked(truth, ids.values()),
    )


def _found(row: Mapping[str, Any], picture: Picture, category: int, at: str) -> Found:
    score = row.get("score")
    if not is_number(score):
        raise EvaluationError(f"{at} has no score: without scores nothing can be ranked")
    mask = annotation_mask(row, picture.image_hw)
    if mask is not None and not rle_area(mask) and not row.get("bbox"):
        mask = None
    box = box_of(row.get("bbox"), mask)
    if box is None:
        raise CocoError(f"{at} has neither a bbox nor a mask in an image of its size")
    return Found(picture.id, category, float(score), box, mask)


def _key(row: Mapping[str, Any], key: str) -> int:
    value = row.get(key)
    return value if type(value) is int else -1


_MOST_NAMED = 5


def match_names(names: Sequence[str], categories: Sequence[Category]) -> dict[str, int]:
    """The category id that each name means.

    Case, underscores and spaces don't tell names apart. A name, or a part of one between ``|``, is
    first held against the categories' names, then against their synonyms. Raises EvaluationError
    that lists the names which mean no category, or several.
    """
    by_name = _by_spelling((category.id, (category.name,)) for category in categories)
    by_synonym = _by_spelling((category.id, category.synonyms) for category in categories)
    matched: dict[str, int] = {}
    unknown: list[str] = []
    unclear: list[str] = []
    for name in names:
        ids = _ids(name, by_name) or _ids(name, by_synonym)
        if len(ids) == 1:
            matched[name] = next(iter(ids))
        else:
            (unclear if ids else unknown).append(name)
    if unknown:
        raise EvaluationError(
            f"{_listed(unknown)}: no such category in the truth; call the classes as it does"
        )
    if unclear:
        raise EvaluationError(
            f"{_listed(unclear)}: several categories of the truth are called so; use their names"
        )
    return matched


def prompt_of(categories: Sequence[Category], *, synonyms: bool = False) -> PromptText:
    """All categories as a prompt: each a class that is asked for by its name.

    Underscores become spaces, and of a name such as ``car | automobile`` each part is a phrase.
    synonyms: ask for these, too, but for those that several categories share.
    """
    prompt: dict[str, str | Sequence[str]] = {}
    owners: dict[str, int] = {}
    for category in categories:
        for part in _parts(category.name):
            if owners.setdefault(_spelled(part), category.id) != category.id:
                raise EvaluationError(
                    f'two categories of the truth are called "{part}"; rename one of them'
                )
    shared = _by_spelling((category.id, category.synonyms) for category in categories)
    for category in categories:
        texts = _parts(category.name)
        for text in category.synonyms if synonyms else ():
            alone = owners.get(_spelled(text), category.id) == category.id
            if alone and len(shared[_spelled(text)]) == 1:
                texts.append(text)
        phrases: dict[str, str] = {}
        for text in texts:
            phrases.setdefault(_spelled(text), text.replace("_", " "))
        prompt[category.name] = list(phrases.values())
    if all(phrases == [name] for name, phrases in prompt.items()):
        return list(prompt)
    return prompt


def spoken(name: str) -> str:
    """A category's name as a phrase: its first part, underscores as spaces."""
    return _parts(name)[0].replace("_", " ")


def _by_spelling(names: Iterable[tuple[int, Sequence[str]]]) -> Mapping[str, set[int]]:
    ids: dict[str, set[int]] = defaultdict(set)
    for category, texts in names:
        for text in texts:
            for part in (text, *_parts(text)):
                ids[_spelled(part)].add(category)
    return ids


def _ids(name: str, known: Mapping[str, set[int]]) -> set[int]:
    if _spelled(name) in known:
        return known[_spelled(name)]
    found: set[int] = set()
    for part in _parts(name):
        found |= known.get(_spelled(part), set())
    return found


def _parts(name: str) -> list[str]:
    return [part.strip() for part in name.split("|") if part.strip()] or [name]


def _spelled(name: str) -> str:
    return normalize(name.replace("_", " "))


def _listed(names: Sequence[str]) -> str:
    some = ", ".join(f'"{name}"' for name in names[:_MOST_NAMED])
    more = len(names) - _MOST_NAMED
    return f"{some} and {more} more" if more > 0 else some
