"""What was asked of whom: what a measurement's figures depend on, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perception.evaluate.things import Things
from perception.model import Model
from perception.version import __version__


def asked_of(
    model: Model, things: Things, *, measured: str, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """The question in full: answers to equal ones are equal."""
    made = {"weights": dict(model.weights), "precision": model.precision}
    return asked_by_name(
        model.segmenter.name, things, measured=measured, settings={**made, **settings}
    )


def asked_by_name(
    name: str, things: Things, *, measured: str, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """As ``asked_of``, of what isn't a model with weights."""
    return {
        "measured": measured,
        "segmenter": name,
        "truth": things.name,
        "truth sha256": things.sha256,
        "version": __version__,
        **settings,
    }
