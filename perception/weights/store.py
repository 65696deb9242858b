"""The folder of downloaded weights: a sub-folder for each model, and the lock file beside them."""

from __future__ import annotations

import os
from pathlib import Path

ENVIRONMENT = "PERCEPTION_WEIGHTS"
"""Names the folder of weights."""


def weights_folder() -> Path:
    """Where weights are downloaded to: ``PERCEPTION_WEIGHTS``, else a folder of the user's cache.

    It need not be there yet.
    """
    named = os.environ.get(ENVIRONMENT)
    if named:
        return Path(named).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "perception" / "weights"
