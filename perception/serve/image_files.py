"""A picture as a file for a browser: the pixels that the one reader gives, upright, in RGB."""

from __future__ import annotations

import io
from pathlib import PurePosixPath
from typing import NamedTuple

from PIL import Image

from perception.types import ImageArray

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
