"""Reading a run's images, in processes that may die of one.

Some damaged files kill the decoder and the process with it. Each reader is a process of its own
that reads one image at a time, so that it is known which one killed it; the next image gets a
new process. It ends when its other end is closed, also by the death of whoever started it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from threading import current_thread, main_thread

import numpy as np

from perception.errors import ImageError, MissingExtraError, RunError, hide_pillow_messages
from perception.imaging.read import picture_uid, printable, read_image
from perception.runs.records import Failure, FileStamp, Task
from perception.runs.remote import is_url, read_url, stamp_url
from perception.types import ImageArray

SECONDS = 300.0
"""For reading one image: far more than a large one needs, also over a network."""

_CAN_BLOCK = hasattr(signal, "pthread_sigmask")

# Not "fork": threads and the model's runtime don't survive it.
_CONTEXT = get_context("spawn")


@dataclass(frozen=True, eq=False)
class ReadPicture:
    """An image H x W x 3 to answer; uid: of its pixels; file: what it was read from."""

    task: Task
    image: ImageArray
    uid: str
    file: FileStamp | None

    @property
    def image_hw(self) -> tuple[int, int]:
        """Height and width."""
        return self.image.shape[0], self.image.shape[1]


def read(task: Task, *, max_pixels: int) -> ReadPicture | Failure:
    """Reads an image in this process."""
    stamp = stamp_of(task.path)  # Before reading: a later change is then noticed.
    try:
        source = read_url(task.path) if is_url(task.path) else task.path
        image = read_image(source, max_pixels=max_pixels)
    except (ImageError, MissingExtraError) as error:
        # What is read from bytes is called "image".
        reason = str(error).removeprefix(f"{printable(task.path)}: ").removeprefix("image: ")
        return Failure(task.picture, reason, stamp)
    except MemoryError:
        return Failure(task.picture, "not enough memory to read it", stamp)
    return ReadPicture(task, image, picture_uid(image), stamp)


def stamp_of(path: str) -> FileStamp | None:
    """A file's size and time of change; None if it isn't there or may not be looked at."""
    if is_url(path):
        return stamp_url(path)
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return FileStamp(status.st_size, status.st_mtime_ns)


class Reader:
    """Reads images in a process of its own; for one thread at a time.

    seconds: for one image; a process that needs more is ended, as one that dies is.
    """

    def __init__(self, *, max_pixels: int, seconds: float = SECONDS) -> None:
        self._max_pixels, self._seconds, self._closed = max_pixels, seconds, False
        self._start()

    def _start(self) -> None:
        self._connection, theirs = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(
            target=_serve, args=(theirs, self._max_pixels), name="perception-reader", daemon=True
        )
        with _interrupts_ignored():
            self._process.start()
        theirs.close()
        self._ready = False

    def read(self, task: Task) -> ReadPicture | Failure:
        """The image, or why it can't be read; RunError if its process doesn't start."""
        if not self._ready:
            self._wait_for_start()
        try:
            self._connection.send(task)
            return self._receive(task)
        except (EOFError, OSError):
            if self._closed:
                raise
            reason = f"it killed the process that read it ({self._bury()})"
            self._start()
            return Failure(task.picture, reason, stamp_of(task.path))

    def _wait_for_start(self) -> None:
        try:
            self._connection.recv()
        except (EOFError, OSError):
            raise RunError(
                f"a process that reads images didn't start ({self._bury()}); in a script, call "
                'under: if __name__ == "__main__"'
            ) from None
        self._ready = True

    def _receive(self, task: Task) -> ReadPicture | Failure:
        if not self._connection.poll(self._seconds):
            self._process.kill()
            self._bury()
            self._start()
            reason = f"reading it took more than {self._seconds:g} s"
            return Failure(task.picture, reason, stamp_of(task.path))
        reply = self._connection.recv()
        if isinstance(reply, Failure):
            return reply
        shape, uid, file = reply
        image = np.empty(shape, np.uint8)
        self._connection.recv_bytes_into(image.data.cast("B"))
        return ReadPicture(task, image, uid, file)

    def _bury(self) -> str:
        """How the process ended."""
        self._process.join()
        self._connection.close()
        code = self._process.exitcode or 0
        return signal.Signals(-code).name if code < 0 else f"status {code}"

    def close(self) -> None:
        """Ends the process, also in the middle of an image."""
        self._closed = True
        self._process.terminate()
        self._process.join()


def _serve(connection: Connection[object, Task], max_pixels: int) -> None:
    """The reader's process: tasks in, images or failures out, until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # It is for the process that started this one.
    hide_pillow_messages()
    with suppress(EOFError, OSError):
        connection.send(None)
        while True:
            found = read(connection.recv(), max_pixels=max_pixels)
            if isinstance(found, Failure):
                connection.send(found)
            else:
                connection.send((found.image.shape, found.uid, found.file))
                connection.send_bytes(np.ascontiguousarray(found.image).data.cast("B"))


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """A process that is started now ignores interrupts from its first moment."""
    if current_thread() is not main_thread():
        # Only the main thread may say so. Another one can put them off, which its children inherit.
        if not _CAN_BLOCK:
            yield
            return
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
