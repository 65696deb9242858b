"""The Detector Protocol, and example boxes for detectors that take them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike

from perception.checks import checked_array
from perception.detectors.decode import label
from perception.errors import PromptError
from perception.prompts.grammar import Phrases, PromptText
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
        """The boxes in each RGB image (H x W x 3 uint8) whose score is at least ``threshold``.

        What negatives win is dropped, and of boxes that repeat one another the best stays.
        """
        found = self.candidates(images, phrases, floor=threshold)
        return [label(one, phrases, threshold=threshold)[0] for one in found]

    def candidates(
        self, images: Sequence[ImageArray], phrases: Phrases, *, floor: float
    ) -> list[Candidates]:
        """All boxes in each image that some phrase gives at least ``floor``.

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
        """The detector that finds what is like these examples, of one class, in their image."""
        ...


LABEL = "object"
"""What is reported where only examples say what is meant."""


def as_examples(examples: ArrayLike, not_examples: ArrayLike) -> Examples | None:
    """Boxes N x 4 xyxy of what is meant and M x 4 of what isn't; None where there are none."""
    such = checked_array("examples", examples, np.float32, (None, 4), PromptError)
    other = checked_array("not_examples", not_examples, np.float32, (None, 4), PromptError)
    if not len(such) + len(other):
        return None
    labels = np.repeat(np.array([1, 0], np.int64), [len(such), len(other)])
    return Examples(np.concatenate((such, other)), labels)


def check_examples(examples: Examples | None, text: PromptText | None, tile: object) -> None:
    """Raises PromptError where text and examples say nothing together, or don't suit tiles."""
    if examples is None:
        if text is None:
            raise PromptError("name what to find, or show an example of it")
        return
    if tile is not None:
        raise PromptError("examples are places in the whole image: not together with tiles")
    if text is None and not np.any(examples.labels):
        raise PromptError("examples of what isn't meant need a text or an example of what is")


def shown(
    detector: Detector, examples: Examples, text: PromptText | None
) -> tuple[Detector, PromptText]:
    """The detector that was shown the examples, and what to ask it.

    Raises PromptError for a detector that takes none.
    """
    if not isinstance(detector, ExampleDetector):
        raise PromptError(
            f"{detector.name} reads text only and takes no example boxes; sam3 does: --model sam3"
        )
    question = {LABEL: detector.example_phrase} if text is None else text
    return detector.shown(examples), question


def examples_info(examples: Examples | None) -> dict[str, Any]:
    """The examples for a result's record; nothing where there are none."""
    if examples is None:
        return {}
    is_such = np.asarray(examples.labels) == 1
    parts = {"examples": examples.boxes[is_such], "not_examples": examples.boxes[~is_such]}
    return {name: boxes.tolist() for name, boxes in parts.items() if len(boxes)}
