"""Checks of arguments: arrays, numbers and counts, with errors that say what was expected."""

from __future__ import annotations

from math import inf
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from perception.errors import DataError, PerceptionError, PromptError

MAX_SHOWN = 60
"""Characters of a wrong value that a message shows."""


def checked_array(
    name: str,
    value: ArrayLike,
    dtype: Any,
    shape: tuple[int | None, ...],
    error: type[PerceptionError] = DataError,
) -> NDArray[Any]:
    """Return ``value`` as an array of ``dtype`` and ``shape``.

    Args:
        name: What the array is called in messages.
        value: Anything that numpy takes for an array of numbers.
        dtype: Of the result. Numbers are never cut to whole ones: 0.5 is no integer.
        shape: Of the result; None stands for any length.
        error: The class of what is raised.

    Raises:
        PerceptionError: As ``error``, for what holds no such numbers, or has another shape.
    """
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as why:  # ragged lists, tensors on a GPU
        reason = " ".join(str(why).split())
        raise error(f"{name}: expected an array of numbers ({reason})") from None
    if array.size == 0:
        array = array.reshape([0 if n is None else n for n in shape])
    elif array.dtype.kind not in "biuf":
        raise error(f"{name}: expected numbers, got {shortened(value)}")
    elif np.dtype(dtype).kind == "i" and array.dtype.kind == "f":
        odd = array[~np.isfinite(array) | (array != np.trunc(array))]
        if odd.size:
            raise error(f"{name}: expected whole numbers, got {odd[0]:g}")
    if not _matches(array.shape, shape):
        want = " x ".join("?" if n is None else str(n) for n in shape)
        alone = _matches((1, *array.shape), shape)
        hint = f"; put a single one into a list: {name}=[...]" if alone else ""
        raise error(f"{name}: expected an array of shape {want}, got {array.shape}{hint}")
    with np.errstate(over="ignore"):  # becomes inf, which is refused where it has no sense
        return array.astype(dtype, copy=False)


def checked_number(
    name: str,
    value: float,
    low: float,
    high: float,
    error: type[PerceptionError] = PromptError,
) -> float:
    """Return ``value`` if it is a number with low <= value <= high; otherwise raise ``error``."""
    if isinstance(value, Real) and low <= value <= high:
        return float(value)
    bounds = f"at least {low:g}" if high == inf else f"between {low:g} and {high:g}"
    raise error(f"{name} is a number {bounds}, got {shortened(value)}")


def checked_count(
    name: str, value: int, low: int = 1, error: type[PerceptionError] = PromptError
) -> int:
    """Return ``value`` if it is a whole number of at least ``low``; otherwise raise ``error``."""
    if isinstance(value, Integral) and not isinstance(value, bool) and value >= low:
        return int(value)
    raise error(f"{name} is a whole number of at least {low}, got {shortened(value)}")


def _matches(shape: tuple[int, ...], want: tuple[int | None, ...]) -> bool:
    return len(shape) == len(want) and all(
        n is None or n == have for n, have in zip(want, shape, strict=True)
    )


def shortened(value: object) -> str:
    """Return a value as it can stand in one line of a message."""
    text = " ".join(repr(value).split())
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}... ({type(value).__name__})"
