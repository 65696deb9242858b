"""Interactive sessions: clicks on one image, each correcting the mask before it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from perception.errors import PromptError
from perception.predictor.predictions import LowResMask, PredictedMask
from perception.predictor.protocol import EncodedImage
from perception.types import Prompt


@dataclass(frozen=True, eq=False)
class _Step:
    """A prompt, its candidates, and which of them was chosen."""

    prompt: Prompt
    candidates: tuple[PredictedMask, ...]
    chosen: int = 0


class InteractiveSession:
    """Clicks and a box on one encoded image; what the click page does, from Python.

    ::

        session = model.interactive("photo.jpg")
        session.click(320, 240)
        session.click(90, 60, label=0)
        session.undo()
        mask = session.mask()

    Attributes:
        encoded: The image that is clicked on.
    """

    def __init__(self, encoded: EncodedImage, previous: LowResMask | None = None) -> None:
        self.encoded = encoded
        self._start = previous
        self._steps: list[_Step] = []

    @property
    def candidates(self) -> tuple[PredictedMask, ...]:
        """The masks to choose from, the one to show first; none before the first click."""
        return self._steps[-1].candidates if self._steps else ()

    @property
    def chosen(self) -> PredictedMask | None:
        """The mask that the next click corrects."""
        return self._steps[-1].candidates[self._steps[-1].chosen] if self._steps else None

    def mask(self) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
        """Return the chosen mask, H x W; all False before the first click."""
        if self.chosen is not None:
            return self.chosen.mask()
        if self._start is not None:
            return self._start.mask()
        return np.zeros(self.encoded.image.shape[:2], np.bool_)

    def click(self, x: float, y: float, label: int = 1) -> PredictedMask:
        """Add a click in pixels of the image, label 1 = in, 0 = out; return the mask to show.

        Raises PromptError for a point outside the image, and leaves the session as it was.
        """
        before = self._steps[-1].prompt if self._steps else Prompt()
        labels = np.asarray(before.point_labels, np.int64)
        points = np.concatenate([before.points, np.array([[x, y]], np.float32)])
        return self._predict(Prompt(points, np.append(labels, label), before.boxes))

    def box(self, box: ArrayLike) -> PredictedMask:
        """Begin with a box, 4 (xyxy) in pixels of the image; return the mask to show."""
        if self._steps:
            raise PromptError("a session begins with its box: undo the clicks, or open another one")
        return self._predict(Prompt(boxes=np.asarray(box, np.float32).reshape(1, 4)))

    def choose(self, candidate: int) -> PredictedMask:
        """Choose another one of ``candidates``, which the next click corrects."""
        if not 0 <= candidate < len(self.candidates):
            raise PromptError(f"no candidate {candidate}: there are {len(self.candidates)}")
        last = self._steps[-1]
        self._steps[-1] = _Step(last.prompt, last.candidates, candidate)
        return last.candidates[candidate]

    def undo(self) -> None:
        """Take the last click or the box back; without one it does nothing."""
        self._steps = self._steps[:-1]

    def _predict(self, prompt: Prompt) -> PredictedMask:
        chosen = self.chosen
        previous = self._start if chosen is None else chosen.low_res
        self._steps.append(_Step(prompt, self.encoded.predict(prompt, previous)))
        return self._steps[-1].candidates[0]
