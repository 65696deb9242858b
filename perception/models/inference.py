"""Inference on one image or many: reading, batches, batched detection, and the record."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from perception.defaults import BATCH
from perception.detectors.protocol import Detector
from perception.imaging.read import ImageSource, picture_uid, read_image
from perception.instances import Instances
from perception.prompts.grammar import Phrases
from perception.runtime.batching import AdaptiveBatcher, Stopwatch
from perception.types import Candidates, ImageArray


@dataclass(frozen=True)
class _Picture:
    """image: H x W x 3; file_name: see ``_file_name``; seconds: what reading took."""

    image: ImageArray
    file_name: str
    seconds: dict[str, float]


def ask(
    source: ImageSource,
    work: Callable[[ImageArray], Instances],
    *,
    batches: AdaptiveBatcher,
    max_pixels: int,
) -> Instances:
    """The answer of ``work`` about an image, with its name, its uid and the time of reading.

    Raises ImageError for the image, OutOfMemoryError where memory doesn't suffice for it.
    """

    def one(some: Sequence[ImageSource]) -> list[Instances]:
        picture = _read(some[0], max_pixels)
        return [_noted(work(picture.image), picture)]

    (answer,) = batches.run([source], one, most=1)
    return answer


def infer_batch(
    sources: Sequence[ImageSource],
    work: Callable[[Detector, ImageArray], Instances],
    *,
    detector: Detector,
    batches: AdaptiveBatcher,
    max_pixels: int,
) -> list[Instances]:
    """As ``ask``, about many: a few at a time are read and go through the detector in one call.

    work: is given the detector to use. Memory that runs out halves the few.
    """

    def several(some: Sequence[ImageSource]) -> list[Instances]:
        pictures = [_read(source, max_pixels) for source in some]
        together = BatchedDetector(detector, [picture.image for picture in pictures])
        return [_noted(work(together, picture.image), picture) for picture in pictures]

    return batches.run(sources, several, most=BATCH)


def read_source(source: ImageSource, max_pixels: int) -> tuple[ImageArray, str]:
    """Return an image H x W x 3 and its name in results; raises ImageError."""
    picture = _read(source, max_pixels)
    return picture.image, picture.file_name


def _read(source: ImageSource, max_pixels: int) -> _Picture:
    watch = Stopwatch()
    with watch("read"):
        image = read_image(source, max_pixels=max_pixels)
    return _Picture(image, _file_name(source), dict(watch.seconds))


def _noted(found: Instances, picture: _Picture) -> Instances:
    return noted(found, picture.image, picture.file_name, picture.seconds, found.info)


def noted(
    found: Instances,
    image: ImageArray,
    file_name: str,
    seconds: Mapping[str, float],
    info: Mapping[str, Any],
) -> Instances:
    """Return a result with its image's name and uid, what reading took, and how it is made."""
    return replace(
        found,
        file_name=file_name,
        uid=picture_uid(image),
        seconds={**seconds, **found.seconds},
        info=info,
    )


def _file_name(source: ImageSource) -> str:
    """A relative POSIX path; of an absolute path only its last part; "" for what is no file."""
    if not isinstance(source, (str, os.PathLike)):
        return ""
    path = Path(source)
    return path.name if path.is_absolute() else path.as_posix()


class BatchedDetector(Detector):
    """A ``Detector`` whose first question about one of ``images`` is put to all of them at once.

    For one question: the same phrases and floor each time. Other images are answered as they
    come.
    """

    def __init__(self, detector: Detector, images: Sequence[ImageArray]) -> None:
        self.name = detector.name
        self.phrases_independent = detector.phrases_independent
        self._detector, self._images = detector, images
        self._found: list[Candidates] | None = None

    def candidates(
        self, images: Sequence[ImageArray], phrases: Phrases, *, floor: float
    ) -> list[Candidates]:
        """All boxes in each RGB image H x W x 3 that reach ``floor``; see ``Detector``."""
        places = [n for n, one in enumerate(self._images) if any(one is image for image in images)]
        if len(images) != 1 or not places:
            return self._detector.candidates(images, phrases, floor=floor)
        if self._found is None:
            self._found = self._detector.candidates(self._images, phrases, floor=floor)
        return [self._found[places[0]]]
