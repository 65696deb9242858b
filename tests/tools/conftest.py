"""What the tests of the tools share: a painter, where the emoji font is there; small work."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import pytest
import torch
from scenes.glyphs import FONT_PATHS
from scenes.scene import Painter


@pytest.fixture(scope="session")
def painter() -> Painter:
    if not any(path.is_file() for path in FONT_PATHS):
        pytest.skip("needs the emoji font: apt-get install fonts-noto-color-emoji")
    return Painter()


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """These networks are too small to share out; a batch sets OpenCV's threads for good."""
    threads, cv_threads = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    cv2.setNumThreads(cv_threads)
