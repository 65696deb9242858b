"""What of some weights doesn't fit a network, in one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

SHOWN = 5
"""How many names of a long list an error tells."""


def misfits(faults: Mapping[str, Sequence[str]]) -> str:
    """The names of tensors by what is wrong with them, as one line; "" where nothing is."""
    return "; ".join(f"{what}: {first_few(names)}" for what, names in faults.items() if names)


def first_few(names: Sequence[str]) -> str:
    """The names in one line; of a long list the first five and how many more there are."""
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def reported_misfits(report: Mapping[str, Any]) -> str:
    """The same of transformers' report, the ``loading_info`` of ``from_pretrained``."""
    return misfits(
        {
            "missing": sorted(report["missing_keys"]),
            "unknown": sorted(report["unexpected_keys"]),
            "wrong shape": [
                f"{name} {tuple(have)} instead of {tuple(want)}"
                for name, have, want in sorted(report["mismatched_keys"])
            ],
            "unreadable": [
                " ".join(str(one).split())[:300] for one in report.get("error_msgs", ())
            ],
        }
    )
