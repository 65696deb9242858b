"""Phrases and the boxes of what they name in images, from a JSON list or from a COCO truth."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from perception.coco.lint.read import is_number
from perception.errors import EvaluationError
from perception.evaluate.ground_truth import Truth
from perception.evaluate.predictions import spoken
from perception.imaging.read import printable
from perception.ops.boxes import as_boxes, xywh_to_xyxy
from perception.types import FloatArray

_FORM = 'a list of {"image": NAME, "phrase": TEXT, "boxes": [[x0, y0, x1, y1], ...]}'


@dataclass(frozen=True, eq=False)
class NamedBoxes:
    """One phrase in one image. boxes: N x 4 xyxy, at least one, of what it names."""

    picture: str
    phrase: str
    boxes: FloatArray


@dataclass(frozen=True, eq=False)
class PhraseTruth:
    """Phrases with their boxes, in order of their images. name: of the file."""

    name: str
    phrases: tuple[NamedBoxes, ...]
    sha256: str = ""

    @property
    def pictures(self) -> tuple[str, ...]:
        """The names of the images, each once."""
        return tuple(dict.fromkeys(one.picture for one in self.phrases))

    def limited(self, count: int) -> PhraseTruth:
        """Return the phrases of the first images."""
        kept = frozenset(self.pictures[:count])
        if len(kept) == len(self.pictures):
            return self
        phrases = tuple(one for one in self.phrases if one.picture in kept)
        return replace(self, name=f"{self.name} (first {count:,} images)", phrases=phrases)


def read_phrases(path: Path) -> PhraseTruth | None:
    """A JSON list of phrases; None for JSON that is no list.

    Raises EvaluationError for a file that can't be read or a list of something else.
    """
    name = printable(str(path))
    try:
        raw = path.read_bytes()
        content = json.loads(raw)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise EvaluationError(f"{name}: can't be read ({why}); check the path") from None
    except (ValueError, RecursionError):
        raise EvaluationError(f"{name}: not JSON; expected {_FORM}, or a COCO file") from None
    if not isinstance(content, list):
        return None
    rows = [_row(row, f"{name}: entry [{n}]") for n, row in enumerate(content)]
    if not rows:
        raise EvaluationError(f"{name}: an empty list; expected {_FORM}")
    rows.sort(key=lambda row: row.picture)
    return PhraseTruth(path.name, tuple(rows), hashlib.sha256(raw).hexdigest())


def phrases_of(truth: Truth) -> PhraseTruth:
    """Each category that is present is a phrase, with the boxes of its instances.

    A category with a crowd region in an image is left out there: not each of them has a box.
    """
    names = {category.id: spoken(category.name) for category in truth.categories}
    pictures = {picture.id: picture for picture in truth.pictures}
    boxes: dict[tuple[int, int], list[Any]] = defaultdict(list)
    crowds = set()
    for one in truth.instances:
        boxes[one.picture, one.category].append(one.box)
        if one.crowd:
            crowds.add((one.picture, one.category))
    rows = [
        NamedBoxes(pictures[picture].file_name, names[category], xywh_to_xyxy(some))
        for (picture, category), some in boxes.items()
        if (picture, category) not in crowds and category not in pictures[picture].open
    ]
    if not rows:
        raise EvaluationError(f"{truth.name}: nothing that a phrase could be asked for")
    rows.sort(key=lambda row: (row.picture, row.phrase))
    return PhraseTruth(truth.name, tuple(rows), truth.sha256)


@dataclass(frozen=True, eq=False)
class RankedBoxes:
    """What was answered to one phrase in one image. boxes: K x 4 xyxy, the best first."""

    picture: str
    phrase: str
    boxes: FloatArray


def read_ranked(path: Path) -> tuple[RankedBoxes, ...]:
    """A JSON list of answers to phrases, each perhaps with ``scores``, by which they are sorted.

    Raises EvaluationError for a file that can't be read or holds something else.
    """
    name = printable(str(path))
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise EvaluationError(f"{name}: can't be read ({why}); check the path") from None
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, list):
        raise EvaluationError(f"{name}: expected {_FORM}, with scores, sorted or not")
    return tuple(_ranked(row, f"{name}: entry [{n}]") for n, row in enumerate(content))


def _row(row: Any, at: str) -> NamedBoxes:
    picture, phrase, boxes = _parts(row, at)
    if not len(boxes):
        raise EvaluationError(f"{at} has no box; leave out phrases that name nothing")
    if (boxes[:, 2:] <= boxes[:, :2]).any():
        raise EvaluationError(f"{at} has an empty box; boxes are x0, y0, x1, y1 in pixels")
    return NamedBoxes(picture, phrase, boxes)


def _ranked(row: Any, at: str) -> RankedBoxes:
    picture, phrase, boxes = _parts(row, at)
    scores = row.get("scores")
    if scores is not None:
        if not (
            isinstance(scores, list) and len(scores) == len(boxes) and all(map(is_number, scores))
        ):
            raise EvaluationError(f"{at} needs as many scores as boxes, all numbers")
        boxes = boxes[np.argsort(-np.array(scores, np.float64), kind="stable")]
    return RankedBoxes(picture, phrase, boxes)


def _parts(row: Any, at: str) -> tuple[str, str, FloatArray]:
    if isinstance(row, dict):
        picture, phrase, boxes = (row.get(key) for key in ("image", "phrase", "boxes"))
        named = isinstance(picture, str) and isinstance(phrase, str) and phrase.strip()
        if named and isinstance(boxes, list) and all(map(_is_box, boxes)):
            return str(picture), str(phrase), as_boxes(boxes)
    raise EvaluationError(f"{at} isn't as expected: {_FORM}")


def _is_box(box: object) -> bool:
    return isinstance(box, list) and len(box) == 4 and all(map(is_number, box))
