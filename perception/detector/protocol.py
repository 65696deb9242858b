"""What every detector can do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from perception.phrases import Phrases
from perception.types import Detections, ImageArray


class Detector(Protocol):
    """Finds the things that phrases name."""

    name: str

    def detect(
        self, images: Sequence[ImageArray], phrases: Phrases, *, threshold: float = 0.3
    ) -> list[Detections]:
        """The boxes in each RGB picture (H x W x 3 uint8) whose score is at least ``threshold``.

        What negatives win is dropped, and of boxes that repeat one another the best stays.
        """
        ...
