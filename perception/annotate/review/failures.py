"""The pictures of a run that failed, by reason."""

from __future__ import annotations

from dataclasses import dataclass, field

from perception.annotate.database import RunReader

MOST_REASONS = 50
"""Reasons that a review lists; the rest is counted."""

MOST_NAMES = 200
"""Pictures that it names for each."""


@dataclass
class Reason:
    """Why pictures failed: how many, and the names of the first."""

    text: str
    count: int = 0
    names: list[str] = field(default_factory=list)


def failures_by_reason(run: RunReader) -> list[Reason]:
    """All reasons, the most frequent first."""
    reasons: dict[str, Reason] = {}
    for name, text in run.failures():
        reason = reasons.setdefault(text, Reason(text))
        reason.count += 1
        if len(reason.names) < MOST_NAMES:
            reason.names.append(name)
    return sorted(reasons.values(), key=lambda reason: (-reason.count, reason.text))
