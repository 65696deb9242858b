"""File names without their suffixes, for formats that know a picture by that alone."""

from __future__ import annotations

from pathlib import PurePosixPath

from perception.errors import OutputError
from perception.images import printable
from perception.inputs import leads_out


class Stems:
    """Makes of names, given in sorted order, paths without suffix, and refuses one that was there.

    Names that begin with "a." lie side by side when sorted: only those that a further name can
    still be taken for are remembered.
    """

    def __init__(self, wanted_by: str) -> None:
        self._wanted_by = wanted_by
        self._open: list[tuple[str, str]] = []

    def __call__(self, name: str) -> str:
        """``a/b.jpg`` -> ``a/b``; OutputError if an earlier name had the same, or for no name."""
        if leads_out(name):
            raise OutputError(f"{printable(name)}: no name of a picture below a folder; rename it")
        stem = PurePosixPath(name).with_suffix("").as_posix()
        while self._open and not name.startswith(f"{self._open[-1][0]}."):
            self._open.pop()
        for other, first in self._open:
            if other == stem:
                raise OutputError(
                    f"{printable(first)} and {printable(name)}: {self._wanted_by} knows pictures "
                    "by their names without suffix, and these have the same; rename one"
                )
        self._open.append((stem, name))
        return stem
