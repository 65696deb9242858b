"""Pictures as they are needed: read by a process that may die of one, the last few kept."""

from __future__ import annotations

import os
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from perception.annotate.marks import MarkedContent
from perception.annotate.reading import Reader, ReadPicture, stamp_of
from perception.annotate.records import Failure, FileStamp, Task
from perception.errors import ImageError
from perception.images import printable
from perception.types import ImageArray

_MOST_BYTES = 256 << 20
_MOST_KNOWN = 100_000


@dataclass(frozen=True, eq=False)
class OpenPicture:
    """A picture H x W x 3 and what it is."""

    content: MarkedContent
    image: ImageArray


class OpenPictures:
    """The pictures below a folder; for any number of threads.

    A picture is read again when its file has changed.
    """

    def __init__(self, folder: Path, *, max_pixels: int) -> None:
        self._folder = folder
        self._reader = Reader(max_pixels=max_pixels)
        self._reading = Lock()
        self._known: OrderedDict[str, MarkedContent | Failure] = OrderedDict()
        self._open: OrderedDict[str, OpenPicture] = OrderedDict()

    def close(self) -> None:
        """Ends the process that reads."""
        self._reader.close()

    def content(self, name: str) -> MarkedContent:
        """What a picture is, without its pixels where that is known; ImageError as ``get``."""
        known, stamp = self._known.get(name), stamp_of(str(self._folder / name))
        if isinstance(known, MarkedContent) and known.file == stamp is not None:
            self.path(name)
            return known
        return self.get(name).content

    def get(self, name: str) -> OpenPicture:
        """A picture by its name; ImageError if it can't be read or lies outside the folder."""
        path = self.path(name)
        with self._reading:
            stamp = stamp_of(str(path))
            known, found = self._known.get(name), self._open.get(name)
            if stamp is not None and known is not None and known.file == stamp:
                if isinstance(known, Failure):
                    raise ImageError(f"{printable(name)}: {known.reason}")
                if found is not None:
                    self._open.move_to_end(name)
                    return found
            return self._read(name, path)

    def path(self, name: str) -> Path:
        """Where a picture lies, whatever links lead there; ImageError outside the folder."""
        root = os.path.realpath(self._folder)
        path = os.path.realpath(self._folder / name)
        if os.path.commonpath([root, path]) != root or path == root:
            raise ImageError(
                f"{printable(name)}: a link that leads out of the folder, which isn't followed; "
                "copy the picture into it"
            )
        return Path(path)

    def _read(self, name: str, path: Path) -> OpenPicture:
        found = self._reader.read(Task(0, str(path)))
        self._open.pop(name, None)
        if isinstance(found, Failure):
            self._remember(name, found)
            raise ImageError(f"{printable(name)}: {found.reason}")
        picture = opened(found)
        self._remember(name, picture.content)
        self._open[name] = picture
        while len(self._open) > 1 and self._bytes() > _MOST_BYTES:
            self._open.popitem(last=False)
        return picture

    def read_file(self, path: Path) -> OpenPicture:
        """A file that isn't among the pictures yet; ImageError in one line without its name."""
        with self._reading:
            found = self._reader.read(Task(0, str(path)))
        if isinstance(found, Failure):
            raise ImageError(found.reason)
        return opened(found)

    def _remember(self, name: str, what: MarkedContent | Failure) -> None:
        self._known[name] = what
        self._known.move_to_end(name)
        if len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)

    def _bytes(self) -> int:
        return sum(picture.image.nbytes for picture in self._open.values())


def opened(found: ReadPicture) -> OpenPicture:
    """A picture that was read, as it is kept; it can't be written to."""
    found.image.flags.writeable = False
    file: FileStamp | None = found.file
    return OpenPicture(MarkedContent(found.uid, found.image_hw, file), found.image)
