"""Reading images: whatever comes in, RGB uint8 ``H x W x 3`` comes out.

The orientation that a camera noted (EXIF) is applied. Transparency is laid on white. 16-bit grey is
scaled by 1/257, never clipped. An image of several frames or pages is refused: which one is meant
can't be known.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from perception.checks import checked_count
from perception.defaults import MAX_PIXELS
from perception.errors import ImageError
from perception.types import ImageArray

ImageSource = str | os.PathLike[str] | bytes | Image.Image | NDArray[Any]
"""An image: its path, the bytes of its file, a Pillow image, or an array."""

# No EPS among these: Pillow hands it to Ghostscript, a program that runs what the file says.
_COMMON = ("JPEG", "PNG", "BMP", "GIF", "PPM")
_FURTHER = ("WEBP", "TIFF", "JPEG2000", "AVIF", "TGA")
# Their pixels are unpacked while the header is read.
_UNPACKED = ("ICO",)
# The further images in these are previews or layers of the first one.
_FIRST_IS_MAIN = frozenset({"MPO", "ICO"})
_ORIENTATION_TAG = 0x0112
_UPRIGHT: dict[int, Callable[[ImageArray], ImageArray]] = {
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.transpose(1, 0, 2),
    6: lambda image: np.rot90(image, -1),
    7: lambda image: image[::-1, ::-1].transpose(1, 0, 2),
    8: lambda image: np.rot90(image),
}
_pillow_lock = threading.Lock()


def read_image(
    source: ImageSource, *, max_pixels: int = MAX_PIXELS, reduced: int = 1
) -> ImageArray:
    """An image as RGB uint8 H x W x 3.

    source: a path, the bytes of an image file, a Pillow image, or a uint8 array H x W (grey),
    H x W x 3 (RGB) or H x W x 4 (RGBA). max_pixels: larger files are refused before they are
    unpacked. reduced: 2, 4 or 8 lets a JPEG file come smaller by that factor, in a fraction of the
    time and memory; all else comes whole. Raises ImageError in one line: which image, what is
    wrong, what to do.
    """
    checked_count("max_pixels", max_pixels, 1, ImageError)
    if reduced not in (1, 2, 4, 8):
        raise ImageError(f"reduced is 1, 2, 4 or 8, got {reduced!r}")
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        return _from_pillow(source, "image", max_pixels)
    if isinstance(source, bytes):
        return _from_file(io.BytesIO(source), "image", max_pixels, reduced)
    if not isinstance(source, (str, os.PathLike)):
        raise ImageError(
            f"expected a path, bytes, a Pillow image or an array, got {type(source).__name__}"
        )
    path = os.fsdecode(source)
    name = printable(path)
    with _explained(name), _open_regular(path) as file:
        return _from_file(file, name, max_pixels, reduced)


class HeaderSize(NamedTuple):
    """What an image file's header says.

    stored_hw: (height, width) of its pixels as they lie there; orientation: the camera's note
    (EXIF), 2 to 8, which ``read_image`` applies, or 1 for an upright image.
    """

    stored_hw: tuple[int, int]
    orientation: int

    @property
    def image_hw(self) -> tuple[int, int]:
        """(height, width) of the image as ``read_image`` gives it."""
        height, width = self.stored_hw
        return (width, height) if self.orientation >= 5 else (height, width)


def read_header(path: str | os.PathLike[str]) -> HeaderSize:
    """An image file's size and orientation, without unpacking its pixels.

    A PNG's orientation is found where the header holds it, not behind the pixels. Raises ImageError
    for what is no regular file or no image; a file that is damaged further on isn't noticed.
    """
    name = printable(os.fspath(path))
    with (
        _explained(name),
        _open_regular(path) as file,
        _opened(file, name, MAX_PIXELS) as image,
    ):
        width, height = image.size
        # Pillow looks for a PNG's note behind its pixels, for which it unpacks them.
        searches = image.format == "PNG" and "exif" not in image.info
        orientation = 1 if searches else _orientation(image)
    return HeaderSize((height, width), orientation if orientation in _UPRIGHT else 1)


def picture_uid(image: ImageArray) -> str:
    """A name for an image H x W x 3 that follows from its size and pixels, 16 hex digits."""
    digest = hashlib.blake2b(repr(image.shape).encode(), digest_size=8)
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def printable(path: str) -> str:
    """A path as it can stand in one line of text."""
    return path if path.isprintable() else ascii(path)


def refuse_url(text: str) -> None:
    """Raise ImageError for a URL in place of a path, saying what to do instead."""
    if "://" not in text or Path(text).exists():
        return
    if text.startswith("file://"):
        raise ImageError(f"{printable(text)}: a URL; write the path alone")
    raise ImageError(
        f"{printable(text)}: a URL, and nothing is fetched here; download it first, or pipe it in: "
        "curl -L URL | perception segment - ...; perception annotate reads folders behind URLs"
    )


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """Turns what the file system says into one line with a remedy."""
    try:
        yield
    except FileNotFoundError:
        refuse_url(name)
        raise ImageError(f"{name}: no such file; check the path") from None
    except IsADirectoryError:
        raise ImageError(f"{name}: a folder, not an image; give an image in it") from None
    except PermissionError:
        # Windows says this of folders, too.
        what = "a folder, not an image" if Path(name).is_dir() else "permission denied"
        raise ImageError(f"{name}: {what}; check the path and its permissions") from None
    except (OSError, ValueError) as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError(f"{name}: can't be opened ({error}); check the path") from None


def _open_regular(path: str | os.PathLike[str]) -> IO[bytes]:
    """Open a regular file; a pipe or a device could be waited for without end."""
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        kinds = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}
        what = kinds.get(stat.S_IFMT(mode), "a device")
        raise ImageError(
            f"{printable(os.fspath(path))}: {what}, not a regular file; give an image file"
        )
    return Path(path).open("rb")


def _from_array(array: NDArray[Any]) -> ImageArray:
    shape_fits = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    if array.dtype != np.uint8 or not shape_fits or array.size == 0:
        raise ImageError(
            "expected a uint8 array of shape H x W, H x W x 3 or H x W x 4, "
            f"got {array.dtype} of {array.shape}"
        )
    if array.ndim == 2:
        return np.repeat(array[:, :, None], 3, axis=2)
    return _on_white(array) if array.shape[2] == 4 else np.ascontiguousarray(array)


def _from_file(file: IO[bytes], name: str, max_pixels: int, reduced: int) -> ImageArray:
    with _opened(file, name, max_pixels) as image:
        if reduced > 1:
            width, height = image.size
            with _decoding(name, max_pixels):
                image.draft(None, (max(width // reduced, 1), max(height // reduced, 1)))
        return _from_pillow(image, name, max_pixels)


def _opened(file: IO[bytes], name: str, max_pixels: int) -> Image.Image:
    """Read an image file's header; the size is left for the caller to check."""
    if not file.read(1):
        raise ImageError(f"{name}: the file is empty (0 bytes); copy or download it again")
    file.seek(0)
    with _decoding(name, max_pixels):
        with suppress(UnidentifiedImageError), _pillow_limit(None):
            return Image.open(file, formats=_COMMON)
        with _pillow_lock:
            Image.init()  # Loads the readers of all other formats, which takes a while.
        for formats, limit in ((_FURTHER, None), (_UNPACKED, max_pixels // 2)):
            file.seek(0)
            with suppress(UnidentifiedImageError), _pillow_limit(limit):
                return Image.open(file, formats=[one for one in formats if one in Image.OPEN])
    raise ImageError(
        f"{name}: not an image, or one with a damaged beginning; "
        "JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF and PPM files can be read"
    )


@contextmanager
def _decoding(name: str, max_pixels: int) -> Iterator[None]:
    """Turn whatever a decoder raises into one line; each library has errors of its own."""
    try:
        yield
    except (ImageError, MemoryError):
        raise
    except Image.DecompressionBombError:
        raise ImageError(
            f"{name}: larger inside than its header says, more than the limit of {max_pixels:,} "
            "pixels; save it again, or raise the limit (max_pixels)"
        ) from None
    except Exception as error:  # noqa: BLE001  # AVIF raises RuntimeError, others SystemError
        raise _damaged(name, error) from None


_limits_at_work: list[int | None] = []
_limit_before: int | None = None


@contextmanager
def _pillow_limit(pixels: int | None) -> Iterator[None]:
    """Replace Pillow's limit of pixels, a global, while an image is read.

    Of several threads the one with the largest limit decides; Pillow's own comes back after the
    last one.

    Args:
        pixels: Pillow refuses what has more than twice as many, ``None`` to refuse nothing.
    """
    global _limit_before
    with _pillow_lock:
        if not _limits_at_work:
            _limit_before = Image.MAX_IMAGE_PIXELS
        _limits_at_work.append(pixels)
        Image.MAX_IMAGE_PIXELS = _largest(_limits_at_work)
    try:
        yield
    finally:
        with _pillow_lock:
            _limits_at_work.remove(pixels)
            Image.MAX_IMAGE_PIXELS = _largest(_limits_at_work) if _limits_at_work else _limit_before


def _largest(limits: list[int | None]) -> int | None:
    known = [limit for limit in limits if limit is not None]
    return max(known) if len(known) == len(limits) else None


_silences = 0
_stderr_before = -1


@contextmanager
def _silent_libtiff(image: Image.Image) -> Iterator[None]:
    """Send standard error to nowhere while a TIFF is decoded.

    libtiff writes there by itself what Pillow then raises. What other threads write there at the
    same moment is lost, too.
    """
    if image.format != "TIFF":
        yield
        return
    global _silences, _stderr_before
    with _pillow_lock:
        _silences += 1
        if _silences == 1:
            _stderr_before = _redirect_stderr()
    try:
        yield
    finally:
        with _pillow_lock:
            _silences -= 1
            if _silences == 0 and _stderr_before >= 0:
                os.dup2(_stderr_before, 2)
                os.close(_stderr_before)


def _redirect_stderr() -> int:
    """Send standard error to nowhere; return a copy of where it went, -1 if it is closed."""
    try:
        before = os.dup(2)
    except OSError:
        return -1
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    return before


def _from_pillow(image: Image.Image, name: str, max_pixels: int) -> ImageArray:
    width, height = image.size
    if width * height > max_pixels:
        raise ImageError(
            f"{name}: {width} x {height} pixels are more than the limit of {max_pixels:,}; "
            "make it smaller, or raise the limit (max_pixels)"
        )
    if width * height == 0:
        raise ImageError(f"{name}: the image has no pixels ({width} x {height})")
    with _decoding(name, max_pixels), _pillow_limit(max_pixels), _silent_libtiff(image):
        _refuse_several(image, name)
        pixels = _rgb(image, name)
    upright = _UPRIGHT.get(_orientation(image))
    return np.ascontiguousarray(upright(pixels) if upright else pixels)


def _damaged(name: str, error: Exception) -> ImageError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return ImageError(f"{name}: damaged or cut off ({reason}); copy or download it again")


def _refuse_several(image: Image.Image, name: str) -> None:
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format not in _FIRST_IS_MAIN:
        what = "pages" if image.format == "TIFF" else "frames"
        raise ImageError(
            f"{name}: {frames} {what} in one file ({image.format}); save the one you mean by itself"
        )


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # noqa: BLE001
        return 1  # Damaged notes about an image don't make its pixels unreadable.


def _rgb(image: Image.Image, name: str) -> ImageArray:
    if image.mode.startswith("I") or image.mode == "F":
        return _from_array(_scaled(np.asarray(image), name))
    if image.mode in ("RGBa", "La") or image.has_transparency_data:
        return _on_white(np.asarray(image.convert("RGBA")))
    return np.array(image.convert("RGB"))


def _scaled(values: NDArray[Any], name: str) -> ImageArray:
    """Grey values H x W of more than 8 bits as uint8.

    Whole numbers are 16-bit: 65535 is white. Fractions are taken to run from 0 to 1, to 255 or to
    65535, the smallest of these that holds them all.
    """
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > 65535:
        raise ImageError(
            f"{name}: grey values outside 0..65535 ({values.dtype}); "
            "save the image with 8 or 16 bits"
        )
    white = 65535.0
    if values.dtype.kind == "f":
        white = next(top for top in (1.0, 255.0, 65535.0) if values.max() <= top)
    grey = np.multiply(values, 255.0 / white, dtype=np.float32) + np.float32(0.5)
    scaled: ImageArray = grey.astype(np.uint8)
    return scaled


def _on_white(rgba: ImageArray) -> ImageArray:
    """Lays H x W x 4 on white, rounding to the nearest value."""
    # 255 x 255 + 127 still fits 16 bits.
    color, alpha = rgba[..., :3].astype(np.uint16), rgba[..., 3:].astype(np.uint16)
    blended: ImageArray = ((color * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
    return blended
