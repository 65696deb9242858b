"""What the tests of every segmenter ask, and of images of which sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from perception.types import ImageArray, Prompt

SIZES = [(64, 64), (48, 80), (97, 33), (30, 41), (211, 300), (300, 211), (5, 64)]

POINT = {"points": [[3, 4]]}
POINTS = {"points": [[3.25, 4], [20, 1], [0, 2]], "point_labels": [1, 0, 1]}
BOX = {"boxes": [[2, 1, 19.5, 4.75]]}
BOTH = {**POINTS, **BOX}


def earlier_mask(side: int) -> dict[str, Any]:
    """An earlier mask, of logits side x side."""
    return {"mask_logits": 4 * np.random.default_rng(0).normal(size=(1, side, side))}


def prompts(side: int) -> dict[str, dict[str, Any]]:
    """One prompt of each kind, for a segmenter whose logits are side x side."""
    return {
        "one point": POINT,
        "points": POINTS,
        "box": BOX,
        "points and box": BOTH,
        "point and earlier mask": {**POINT, **earlier_mask(side)},
        "box and earlier mask": {**BOX, **earlier_mask(side)},
        "points, box and earlier mask": {**BOTH, **earlier_mask(side)},
    }


def asked_of_transformers(
    processor: Any, image: ImageArray, given: dict[str, Any]
) -> dict[str, Any]:
    """The same prompt as transformers' SAM 2 and SAM 3 take it, from their own processor."""
    prompt = Prompt(**given)
    inputs = processor(
        images=image,
        input_points=[[prompt.points.tolist()]] if len(prompt.points) else None,
        input_labels=[[prompt.point_labels.tolist()]] if len(prompt.points) else None,
        input_boxes=[prompt.boxes.tolist()] if len(prompt.boxes) else None,
        return_tensors="pt",
    )
    inputs.pop("original_sizes")
    if prompt.mask_logits is not None:
        inputs["input_masks"] = torch.from_numpy(prompt.mask_logits)[None]
    return dict(inputs)
