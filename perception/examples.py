"""Boxes that show a detector what is meant, for the models that can be shown something."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from perception.detector.protocol import Detector, ExampleDetector
from perception.errors import PromptError
from perception.phrases import PromptText
from perception.types import Examples, checked_array

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
        raise PromptError("examples are places in the whole picture: not together with tiles")
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
