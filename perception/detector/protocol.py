"""What every detector can do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from perception.detector.decode import label
from perception.phrases import Phrases
from perception.types import Candidates, Detections, Examples, ImageArray


class Detector(Protocol):
    """Finds the things that phrases name. A class derived from it brings ``candidates`` only.

    phrases_independent: whether the boxes, and a phrase's scores, stay the same whatever other
    phrases are asked; then a phrase can be added later to what was answered before.
    """

    name: str
    phrases_independent: bool

    def detect(
        self, images: Sequence[ImageArray], phrases: Phrases, *, threshold: float = 0.3
    ) -> list[Detections]:
        """The boxes in each RGB picture (H x W x 3 uint8) whose score is at least ``threshold``.

        What negatives win is dropped, and of boxes that repeat one another the best stays.
        """
        found = self.candidates(images, phrases, floor=threshold)
        return [label(one, phrases, threshold=threshold)[0] for one in found]

    def candidates(
        self, images: Sequence[ImageArray], phrases: Phrases, *, floor: float
    ) -> list[Candidates]:
        """All boxes in each picture that some phrase gives at least ``floor``.

        ``detector.decode.label`` makes of them what ``detect`` gives, at any threshold from there.
        """
        ...


@runtime_checkable
class ExampleDetector(Detector, Protocol):
    """A detector that can be shown boxes of what is meant, and of what isn't.

    example_phrase: what to ask where examples alone say what is meant.
    """

    example_phrase: str

    def shown(self, examples: Examples) -> Detector:
        """The detector that finds what is like these examples, of one class, in their picture."""
        ...
