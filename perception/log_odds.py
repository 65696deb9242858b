"""Chances and their logits, as arrays."""

from __future__ import annotations

import numpy as np

from perception.types import FloatArray


def sigmoid(logits: FloatArray) -> FloatArray:
    """The chances in 0..1 that logits stand for."""
    chances: FloatArray = 0.5 * (1 + np.tanh(0.5 * logits))  # the form that never overflows
    return chances


def logit(chances: FloatArray, *, least: float) -> FloatArray:
    """The log-odds of chances; none, nor its opposite, is taken as less than ``least``."""
    within = np.clip(chances, least, 1 - least)
    logits: FloatArray = np.log(within / (1 - within))
    return logits
