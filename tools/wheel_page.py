"""What building a wheel adds: the click page, and its runtime's files where npm has put them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_LIST = "perception/serve/page_files.py"


class PageHook(BuildHookInterface[Any]):
    """Called by hatchling for each wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Names the files of the page; an editable installation finds them where they are."""
        if version == "editable":
            return
        spec = importlib.util.spec_from_file_location("page_files", Path(self.root) / _LIST)
        assert spec is not None  # noqa: S101  # it is a file of ours
        assert spec.loader is not None  # noqa: S101
        listing = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(listing)
        page = Path(self.root) / listing.PAGE_FOLDER
        included = build_data["force_include"]
        for path in listing.page_files(page):
            included[str(path)] = f"{listing.WHEEL_FOLDER}/{path.name}"
        for path in listing.runtime_files(page):
            included[str(path)] = f"{listing.WHEEL_FOLDER}/runtime/{path.name}"
