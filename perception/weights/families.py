"""The families of models: what a model of each does, and what its configuration calls itself."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Role(enum.Enum):
    """What a model does."""

    DETECTOR = "detector"
    SEGMENTER = "segmenter"
    BOTH = "detector and segmenter"


@dataclass(frozen=True)
class Family:
    """What the models of a family are.

    role: what they do; model_types: ``model_type`` in the config.json of their folders; predictor:
    how prompts become masks, "whole" or "zoom" (``perception.predictor``).
    """

    role: Role
    model_types: tuple[str, ...] = ()
    predictor: str = "whole"


FAMILIES = {
    "nano-detector": Family(Role.DETECTOR),
    "nano-segmenter": Family(Role.SEGMENTER, predictor="zoom"),
    "grounding-dino": Family(Role.DETECTOR, ("grounding-dino",)),
    "mm-grounding-dino": Family(Role.DETECTOR, ("mm-grounding-dino",)),
    "owlv2": Family(Role.DETECTOR, ("owlv2",)),
    "omdet-turbo": Family(Role.DETECTOR, ("omdet-turbo",)),
    "sam": Family(Role.SEGMENTER, ("sam",)),
    "sam-hq": Family(Role.SEGMENTER, ("sam_hq",)),
    "sam2": Family(Role.SEGMENTER, ("sam2", "sam2_video")),
    "sam3": Family(Role.BOTH, ("sam3", "sam3_video")),
}


def family_of(model_type: str) -> str | None:
    """The family whose configurations call themselves so; None for one that isn't supported."""
    for name, family in FAMILIES.items():
        if model_type in family.model_types:
            return name
    return None
