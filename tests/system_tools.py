"""What some tests need and pip doesn't install: node, a browser, an emoji font.

Without it these tests are skipped, so that ``make test`` passes on a machine with nothing but
Python, git and make. ``PERCEPTION_SYSTEM_TESTS=required`` makes them fail instead: ``.ci/run``
sets it, after installing all of them.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

import pytest

T = TypeVar("T", str, Path)


def is_required() -> bool:
    """Return whether the tests that need system tools must run."""
    return os.environ.get("PERCEPTION_SYSTEM_TESTS") == "required"


def need(tool: T | None, name: str) -> T:
    """Return the path of a system tool, or skip the test that needs it.

    Args:
        tool: Where the tool lies, ``None`` where it wasn't found.
        name: The tool, and how to get it, as the reason for skipping.
    """
    if tool is None and is_required():
        pytest.fail(f"{name} is missing, and PERCEPTION_SYSTEM_TESTS=required")
    if tool is None:
        pytest.skip(f"{name} is missing")
    return tool
