"""Embeddings on disk: a file each, bounded in bytes, the least recently used go first.

A file is a plain ``.npy`` array with a digest behind it, so that a damaged one is noticed. The
cache is a convenience: where it can't be written, or is gone, pictures are encoded again.
"""

from __future__ import annotations

import hashlib
import io
import os
import uuid
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

HalfArray = NDArray[np.float16]

MOST_BYTES = 2 << 30
"""Some thousand pictures of the full-size model."""

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

    def __init__(self, folder: Path, *, most_bytes: int = MOST_BYTES) -> None:
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
