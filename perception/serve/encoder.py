"""Encoding images for the page, one at a time, with a cache of embeddings on disk.

A file is a plain ``.npy`` array with a digest behind it, so that a damaged one is noticed. The
cache is a convenience: where it can't be written, or is gone, images are encoded again.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import uuid
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from itertools import count
from pathlib import Path
from queue import PriorityQueue
from threading import Lock, Thread

import numpy as np
from numpy.typing import NDArray

from perception import __version__
from perception.ops.windows import Tile
from perception.runs.records import MarkedContent
from perception.serve.opening import ServedModel
from perception.types import Embedding, ImageArray

_MAX_PREPARED = 8
_NOW, _AHEAD, _STOP = 0, 1, -1
Job = Callable[[], None]


class Encoder:
    """Gives pictures' embeddings: from memory, from disk, or by encoding.

    All that it gives comes from features in float16, which are what the page gets, so that the
    same click has the same answer everywhere.
    """

    def __init__(self, served: ServedModel, cache: EmbeddingCache) -> None:
        self._served, self._cache = served, cache
        self.model_key = _digest(
            __version__,
            served.segmenter.name,
            served.segmenter.version,
            json.dumps(served.model.weights),
        )
        self._lock, self._numbers = Lock(), count()
        self._waiting: dict[str, Future[HalfArray]] = {}
        self._prepared: OrderedDict[str, Embedding] = OrderedDict()
        self._jobs: PriorityQueue[tuple[int, int, Job]] = PriorityQueue()
        self._thread = Thread(target=self._work, name="perception-encode", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the thread once it has done what it is at; what waits is left."""
        self._jobs.put((_STOP, next(self._numbers), lambda: None))
        self._thread.join(timeout=30)
        with self._lock:
            for future in self._waiting.values():
                future.cancel()

    def features(
        self,
        content: MarkedContent,
        image: Callable[[], ImageArray],
        *,
        window: Tile | None = None,
        ahead: bool = False,
    ) -> Future[HalfArray]:
        """Return the features C x h x w of an image, or of a crop of it.

        Args:
            content: What the image is.
            image: Gives its pixels, in case they are needed.
            window: The crop; the whole image by default. Crops aren't kept on disk.
            ahead: The image isn't looked at yet.
        """
        key = _key(content, self.model_key, window)
        with self._lock:
            future = self._waiting.get(key)
            if future is None:
                future = self._waiting[key] = Future()
        # Asked for once more with a higher priority: whichever comes first does it.
        place = _AHEAD if ahead else _NOW
        self._jobs.put((place, next(self._numbers), lambda: self._do(key, image, window, future)))
        return future

    def embedding(
        self,
        content: MarkedContent,
        image: Callable[[], ImageArray],
        window: Tile | None = None,
    ) -> Embedding:
        """Return the embedding of an image, or of a crop of it, ready for prompts; wait for it."""
        key = _key(content, self.model_key, window)
        with self._lock:
            found = self._prepared.get(key)
            if found is not None:
                self._prepared.move_to_end(key)
                return found
        kept = self._from_disk(key) if window is None else None
        features = self.features(content, image, window=window).result() if kept is None else kept
        hw = content.image_hw if window is None else (window.y1 - window.y0, window.x1 - window.x0)
        embedding = self._served.segmenter.restore(features.astype(np.float32), hw)
        with self._lock:
            self._prepared[key] = embedding
            while len(self._prepared) > _MAX_PREPARED:
                self._prepared.popitem(last=False)
        return embedding

    def _from_disk(self, key: str) -> HalfArray | None:
        return self._cache.get(key, self._served.segmenter.embedding_shape)

    def _work(self) -> None:
        while True:
            place, _, job = self._jobs.get()
            if place == _STOP:
                return
            job()

    def _do(
        self,
        key: str,
        image: Callable[[], ImageArray],
        window: Tile | None,
        future: Future[HalfArray],
    ) -> None:
        with self._lock:
            if self._waiting.get(key) is not future:
                return  # Done meanwhile.
        try:
            found = self._from_disk(key) if window is None else None
            if found is None:
                pixels = image() if window is None else window.cut_from(image())
                encoded = self._served.segmenter.encode(np.ascontiguousarray(pixels)).features
                found = to_half(np.asarray(encoded))
                if window is None:
                    self._cache.put(key, found)
        except BaseException as error:  # noqa: BLE001  # it is for whoever waits
            self._settle(key)
            future.set_exception(error)
        else:
            self._settle(key)
            future.set_result(found)

    def _settle(self, key: str) -> None:
        with self._lock:
            self._waiting.pop(key, None)


def _key(content: MarkedContent, model_key: str, window: Tile | None) -> str:
    crop = () if window is None else (str(tuple(window)),)
    return _digest(content.uid, model_key, *crop)


def to_half(values: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> HalfArray:
    """As float16; what it has no number for becomes the largest that it has."""
    largest = np.finfo(np.float16).max
    half: HalfArray = np.clip(values, -largest, largest).astype(np.float16)
    return half


def _digest(*parts: str) -> str:
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()


HalfArray = NDArray[np.float16]

MAX_BYTES = 2 << 30
"""Some thousand images of the full-size model."""

_DIGEST = 16
_SUFFIX = ".npy"


def cache_folder() -> Path:
    """The user's: ``PERCEPTION_CACHE``, else where the system keeps such things."""
    named = os.environ.get("PERCEPTION_CACHE")
    if named:
        return Path(named) / "embeddings"
    from platformdirs import user_cache_path

    return user_cache_path("perception", appauthor=False) / "embeddings"


class EmbeddingCache:
    """Features C x h x w, float16, by a key of letters and digits; for any number of threads."""

    def __init__(self, folder: Path, *, most_bytes: int = MAX_BYTES) -> None:
        self._folder, self._most_bytes = folder, most_bytes

    def get(self, key: str, shape: tuple[int, int, int]) -> HalfArray | None:
        """What was put there; None if nothing was, or if it is damaged or of another shape."""
        path = self._folder / f"{key}{_SUFFIX}"
        try:
            raw = path.read_bytes()
            os.utime(path)
        except OSError:
            return None
        features = _unpacked(raw)
        if features is None or features.shape != shape:
            with suppress(OSError):
                path.unlink()
            return None
        return features

    def put(self, key: str, features: HalfArray) -> None:
        """Keeps features, and drops what was least recently used where there is no more room."""
        part = self._folder / f"{uuid.uuid4().hex}.part"
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            try:
                part.write_bytes(_packed(features))
                part.replace(self._folder / f"{key}{_SUFFIX}")
            finally:
                part.unlink(missing_ok=True)
            self._make_room()

    def _make_room(self) -> None:
        files = []
        for entry in os.scandir(self._folder):
            with suppress(OSError):  # Another process may have removed it meanwhile.
                if entry.name.endswith((_SUFFIX, ".part")):
                    status = entry.stat()
                    files.append((status.st_mtime_ns, status.st_size, entry.path))
        total = sum(size for _, size, _ in files)
        for _, size, path in sorted(files):
            if total <= self._most_bytes:
                return
            with suppress(OSError):
                os.unlink(path)
            total -= size


def _packed(features: HalfArray) -> bytes:
    file = io.BytesIO()
    np.save(file, np.ascontiguousarray(features), allow_pickle=False)
    raw = file.getvalue()
    return raw + hashlib.blake2b(raw, digest_size=_DIGEST).digest()


def _unpacked(raw: bytes) -> HalfArray | None:
    body, digest = raw[:-_DIGEST], raw[-_DIGEST:]
    if hashlib.blake2b(body, digest_size=_DIGEST).digest() != digest:
        return None
    try:
        features = np.load(io.BytesIO(body), allow_pickle=False)
    except ValueError:
        return None
    return features if features.dtype == np.float16 else None
