"""Marks: what stands on a picture that a hand has worked on.

A picture's marks take the place of what a model has found in it, wherever a run is looked at or
written out. They are kept by the name of their class, so that another prompt doesn't move them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from perception.annotate.records import FileStamp
from perception.instances import Instances
from perception.masks import rle_area, rle_to_box
from perception.phrases import normalise
from perception.types import FloatArray, Rle

Origin = Literal["model", "hand", "corrected"]
"""model: as a model gave it; hand: made from nothing; corrected: a model's that a hand changed."""

ORIGINS: tuple[Origin, ...] = get_args(Origin)


@dataclass(frozen=True)
class Mark:
    """One thing on a picture. uid: its name in every revision; label: its class.

    score, quality, stability: in 0..1 where a model gave them, else None.
    """

    uid: str
    label: str
    origin: Origin
    rle: Rle
    score: float | None = None
    quality: float | None = None
    stability: float | None = None


@dataclass(frozen=True)
class MarkedContent:
    """What was marked. uid, image_hw: of the picture's content; file: what it was read from."""

    uid: str
    image_hw: tuple[int, int]
    file: FileStamp | None


def instances_to_marks(found: Instances) -> tuple[Mark, ...]:
    """What a model has found, as marks; the same instances always get the same uids."""
    origins = found.origins or ("model",) * len(found)
    return tuple(
        Mark(
            uid=_uid(found.uid, label, rle.counts, str(n)),
            label=label,
            origin=_known(origins[n]),
            rle=rle,
            score=_plain(found.scores, n),
            quality=_plain(found.quality, n),
            stability=_plain(found.stability, n),
        )
        for n, (label, rle) in enumerate(zip(found.labels, found.rles, strict=True))
    )


def marks_to_instances(
    marks: Sequence[Mark], image_hw: tuple[int, int], classes: Sequence[str], **about: Any
) -> Instances:
    """Marks as instances, in their order; numbers that no model gave are nan.

    classes: all of the run, among which each mark's is; about: further fields of ``Instances``.
    Marks without a pixel are left out, and so is the second of two that are the same.
    """
    shown = {(mark.label, mark.rle): mark for mark in reversed(marks) if rle_area(mark.rle)}
    kept = [mark for mark in marks if shown.get((mark.label, mark.rle)) is mark]
    class_ids = {normalise(name): n for n, name in enumerate(classes)}
    return Instances(
        image_hw=image_hw,
        classes=tuple(classes),
        boxes=np.array([rle_to_box(mark.rle) for mark in kept], np.float32),
        scores=_numbers([mark.score for mark in kept]),
        class_ids=np.array([class_ids[normalise(mark.label)] for mark in kept], np.int64),
        rles=tuple(mark.rle for mark in kept),
        quality=_numbers([mark.quality for mark in kept]),
        stability=_numbers([mark.stability for mark in kept]),
        origins=tuple(mark.origin for mark in kept),
        **about,
    )


def _known(origin: str) -> Origin:
    return next(known for known in ORIGINS if known == origin)


def _uid(*parts: str) -> str:
    text = "\0".join(parts).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=16).hexdigest()


def _plain(values: NDArray[Any] | None, n: int) -> float | None:
    """Rounded, as it is written everywhere, so that it comes back as it went, and within 0..1.

    A predicted quality may be a little beyond.
    """
    if values is None or np.isnan(values[n]):
        return None
    return round(min(max(float(values[n]), 0.0), 1.0), 4)


def _numbers(values: Sequence[float | None]) -> FloatArray:
    return np.array([nan if value is None else value for value in values], np.float32)
