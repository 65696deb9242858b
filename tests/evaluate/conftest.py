"""Real images for measuring, where they are at hand."""

from pathlib import Path

import pytest


@pytest.fixture
def data():
    """The folder of data sets beside the repository; skips where it isn't there."""
    folder = Path(__file__).parents[3] / "shared/data"
    if not folder.is_dir():
        pytest.skip(f"no data sets in {folder}")
    return folder
