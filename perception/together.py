"""A detector that looks at several pictures in one call, while each is asked for by itself."""

from __future__ import annotations

from collections.abc import Sequence

from perception.detector.protocol import Detector
from perception.phrases import Phrases
from perception.types import Candidates, ImageArray


class Together(Detector):
    """A ``Detector`` whose first question about one of ``images`` is put to all of them at once.

    For one question: the same phrases and floor each time. Other pictures are answered as they
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
        """All boxes in each RGB picture H x W x 3 that reach ``floor``; see ``Detector``."""
        places = [n for n, one in enumerate(self._images) if any(one is image for image in images)]
        if len(images) != 1 or not places:
            return self._detector.candidates(images, phrases, floor=floor)
        if self._found is None:
            self._found = self._detector.candidates(self._images, phrases, floor=floor)
        return [self._found[places[0]]]
