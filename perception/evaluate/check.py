"""Measurements that prove themselves: what arithmetic says, beside what comes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from perception.evaluate.measurement import Case, Cell, Plot, Table

Figure = float | None


@dataclass(frozen=True)
class Check:
    """what: which figure of which measurement, on which answers; slack: by how much it may differ.

    expected, got: None where nothing can be said.
    """

    what: str
    expected: Figure
    got: Figure
    slack: float = 1e-6

    @property
    def passed(self) -> bool:
        """Whether what came out is what should."""
        if self.expected is None or self.got is None:
            return self.expected is self.got
        return abs(self.expected - self.got) <= self.slack


@dataclass(frozen=True)
class CheckResult:
    """A ``Measurement`` of measurements."""

    checks: tuple[Check, ...]
    info: Mapping[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        failed = len(self.failed)
        return f"{len(self.checks)} checks: " + (f"{failed} failed" if failed else "all passed")

    @property
    def failed(self) -> tuple[Check, ...]:
        """Those that didn't pass."""
        return tuple(check for check in self.checks if not check.passed)

    def to_json(self) -> dict[str, Any]:
        return {
            "passed": not self.failed,
            "checks": [
                {
                    "what": check.what,
                    "expected": check.expected,
                    "got": check.got,
                    "slack": check.slack,
                    "passed": check.passed,
                }
                for check in self.checks
            ],
        }

    def tables(self) -> tuple[Table, ...]:
        rows: list[tuple[Cell, ...]] = [
            (check.what, _float(check.expected), _float(check.got), _word(check))
            for check in self.checks
        ]
        return (Table(self.title, ("figure", "expected", "got", ""), tuple(rows)),)

    def plots(self) -> tuple[Plot, ...]:
        return ()

    def cases(self) -> tuple[Case, ...]:
        return ()


def _word(check: Check) -> str:
    return "ok" if check.passed else "FAILED"


def _float(figure: Figure) -> Figure:
    """Whole numbers are shown as the figures are that they stand beside."""
    return None if figure is None else float(figure)
