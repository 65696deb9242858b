"""Images as the service needs them: opened, kept for a while, sent to a browser.

Two readers are quick: they refuse what is large, and are killed at what takes long. What they leave
is read by a third one with more patience, so that an image which takes its time, however small its
file, holds nobody's but its own.
"""

from __future__ import annotations

import io
import os
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from queue import SimpleQueue
from threading import Lock
from typing import NamedTuple

from PIL import Image

from perception.errors import ImageError, RunError
from perception.imaging.read import printable
from perception.runs.image_reader import SECONDS, Reader, ReadPicture, stamp_of
from perception.runs.records import Failure, FileStamp, MarkedContent, Task
from perception.types import ImageArray

QUICK_READERS = 2
QUICK_PIXELS = 40_000_000
"""A quick reader takes about half a second for them."""

QUICK_SECONDS = 20.0

_MAX_BYTES = 256 << 20
_MAX_KNOWN = 100_000


@dataclass(frozen=True, eq=False)
class OpenPicture:
    """An image H x W x 3 and what it is."""

    content: MarkedContent
    image: ImageArray


class Readers:
    """Some readers, each with a thread that waits for it; for any number of threads."""

    def __init__(self, count: int, *, max_pixels: int, seconds: float) -> None:
        self._free: SimpleQueue[Reader] = SimpleQueue()
        self._all = [Reader(max_pixels=max_pixels, seconds=seconds) for _ in range(count)]
        for reader in self._all:
            self._free.put(reader)
        self._threads = ThreadPoolExecutor(count, "perception-read")

    def read(self, path: Path) -> Future[ReadPicture | Failure]:
        """What one of them makes of a file."""
        return self._threads.submit(self._read, path)

    def _read(self, path: Path) -> ReadPicture | Failure:
        reader = self._free.get()
        try:
            return reader.read(Task(0, str(path)))
        finally:
            self._free.put(reader)

    def close(self) -> None:
        """Ends the processes, also in the middle of an image; what waits is cancelled."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for reader in self._all:
            reader.close()
        self._threads.shutdown()


class OpenPictures:
    """The images below a folder; for any number of threads.

    An image is read again when its file has changed, and once for all who wait for it.
    """

    def __init__(self, folder: Path, *, max_pixels: int) -> None:
        self._folder, self._max_pixels = folder, max_pixels
        self._quick = Readers(
            QUICK_READERS, max_pixels=min(QUICK_PIXELS, max_pixels), seconds=QUICK_SECONDS
        )
        self._patient: Readers | None = None
        self._lock, self._closed = Lock(), False
        self._coming: dict[str, Future[OpenPicture]] = {}
        self._known: OrderedDict[str, MarkedContent | Failure] = OrderedDict()
        self._open: OrderedDict[str, OpenPicture] = OrderedDict()

    def close(self) -> None:
        """Ends the processes that read; whoever waits is told."""
        with self._lock:
            self._closed = True
            patient = self._patient
        for readers in (self._quick, patient):
            if readers is not None:
                readers.close()
        with self._lock:
            coming = list(self._coming.values())
        for future in coming:
            future.cancel()

    def content(self, name: str) -> MarkedContent:
        """What an image is, without its pixels where that is known; ImageError as ``get``."""
        known, stamp = self._known.get(name), stamp_of(str(self._folder / name))
        if isinstance(known, MarkedContent) and known.file == stamp is not None:
            self.path(name)
            return known
        return self.get(name).content

    def coming(self, name: str) -> Future[OpenPicture] | None:
        """An image that has to be read first, or None: then ``content`` knows it at once.

        ImageError for one outside the folder.
        """
        path = self.path(name)
        stamp = stamp_of(str(path))
        known = self._known.get(name)
        if stamp is not None and known is not None and known.file == stamp:
            return None
        return self._get(name, path)

    def get(self, name: str) -> OpenPicture:
        """An image by its name; ImageError if it can't be read or lies outside the folder."""
        return self.reading(name).result()

    def reading(self, name: str) -> Future[OpenPicture]:
        """As ``get``, for those who don't want to wait in a thread."""
        return self._get(name, self.path(name))

    def path(self, name: str) -> Path:
        """Where an image lies, whatever links lead there; ImageError outside the folder."""
        root = os.path.realpath(self._folder)
        path = os.path.realpath(self._folder / name)
        if os.path.commonpath([root, path]) != root or path == root:
            raise ImageError(
                f"{printable(name)}: a link that leads out of the folder, which isn't followed; "
                "copy the image into it"
            )
        return Path(path)

    def read_file(self, path: Path) -> OpenPicture:
        """A file that isn't among the images yet, if a quick reader can read it.

        Raises ImageError in one line without its name.
        """
        found = self._quick.read(path).result()
        if isinstance(found, Failure):
            raise ImageError(found.reason)
        return opened(found)

    def _get(self, name: str, path: Path) -> Future[OpenPicture]:
        done: Future[OpenPicture] = Future()
        stamp = stamp_of(str(path))
        with self._lock:
            known, found = self._known.get(name), self._open.get(name)
            if stamp is not None and known is not None and known.file == stamp:
                if isinstance(known, Failure):
                    done.set_exception(_unreadable(name, known))
                    return done
                if found is not None:
                    self._open.move_to_end(name)
                    done.set_result(found)
                    return done
            coming = self._coming.get(name)
            if coming is not None:
                return coming
            self._coming[name] = done

        def read_with(readers: Callable[[], Readers], *, is_last: bool) -> None:
            try:
                reading = readers().read(path)
            except RuntimeError as error:  # It is being closed.
                self._settle(name, done, RunError(str(error)))
                return
            reading.add_done_callback(
                lambda read: (
                    read_with(self._patient_readers, is_last=True)
                    if not is_last and _is_left(read)
                    else self._settle(name, done, _outcome(read))
                )
            )

        read_with(lambda: self._quick, is_last=False)
        return done

    def _patient_readers(self) -> Readers:
        with self._lock:
            if self._closed:
                raise RuntimeError("the service is ending")
            if self._patient is None:
                self._patient = Readers(1, max_pixels=self._max_pixels, seconds=SECONDS)
            return self._patient

    def _settle(
        self,
        name: str,
        done: Future[OpenPicture],
        found: ReadPicture | Failure | BaseException,
    ) -> None:
        """Remembers what became of an image and tells whoever waits."""
        outcome: OpenPicture | BaseException
        with self._lock:
            self._coming.pop(name, None)
            self._open.pop(name, None)
            if isinstance(found, BaseException):
                outcome = found
            elif isinstance(found, Failure):
                self._remember(name, found)
                outcome = _unreadable(name, found)
            else:
                outcome = opened(found)
                self._remember(name, outcome.content)
                self._open[name] = outcome
                while len(self._open) > 1 and self._bytes() > _MAX_BYTES:
                    self._open.popitem(last=False)
        with suppress(CancelledError):
            if not done.set_running_or_notify_cancel():
                return
            if isinstance(outcome, BaseException):
                done.set_exception(outcome)
            else:
                done.set_result(outcome)

    def _remember(self, name: str, what: MarkedContent | Failure) -> None:
        self._known[name] = what
        self._known.move_to_end(name)
        if len(self._known) > _MAX_KNOWN:
            self._known.popitem(last=False)

    def _bytes(self) -> int:
        return sum(picture.image.nbytes for picture in self._open.values())


def opened(found: ReadPicture) -> OpenPicture:
    """An image that was read, as it is kept; it can't be written to."""
    found.image.flags.writeable = False
    file: FileStamp | None = found.file
    return OpenPicture(MarkedContent(found.uid, found.image_hw, file), found.image)


def _outcome(read: Future[ReadPicture | Failure]) -> ReadPicture | Failure | BaseException:
    if read.cancelled():
        return RunError("the service is ending")
    return read.exception() or read.result()


def _is_left(read: Future[ReadPicture | Failure]) -> bool:
    """Whether a quick reader has failed: at what is large, or slow, or can't be read at all."""
    return not read.cancelled() and not read.exception() and isinstance(read.result(), Failure)


def _unreadable(name: str, failure: Failure) -> ImageError:
    return ImageError(f"{printable(name)}: {failure.reason}")


_JPEG_QUALITY = 92
_LOSSLESS = frozenset({".png", ".bmp", ".dib", ".gif", ".ppm", ".pgm", ".pbm", ".pnm"})
_MOST_PNG_PIXELS = 4_000_000


class ImageFile(NamedTuple):
    """A file's bytes and its content type."""

    raw: bytes
    content_type: str


def to_image_file(image: ImageArray, name: str) -> ImageFile:
    """H x W x 3 as JPEG; as PNG if its own file is lossless and it isn't large."""
    file = io.BytesIO()
    pixels = image.shape[0] * image.shape[1]
    if PurePosixPath(name).suffix.lower() in _LOSSLESS and pixels <= _MOST_PNG_PIXELS:
        Image.fromarray(image).save(file, "PNG", compress_level=1)
        return ImageFile(file.getvalue(), "image/png")
    if max(image.shape) > 65_500:  # JPEG has no larger ones.
        Image.fromarray(image).save(file, "PNG", compress_level=1)
        return ImageFile(file.getvalue(), "image/png")
    Image.fromarray(image).save(file, "JPEG", quality=_JPEG_QUALITY)
    return ImageFile(file.getvalue(), "image/jpeg")
