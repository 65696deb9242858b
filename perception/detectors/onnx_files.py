"""Exported detectors that read text as CLIP does, and aspect-padded images; no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from perception.checkpoints.lock import sha256_of_file
from perception.detectors.tokenizers import BytePairs
from perception.errors import WeightsError
from perception.imaging.read import printable
from perception.runtime.onnx_session import OnnxMetadata, open_session
from perception.types import FloatArray, ImageArray

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


MOST_OBLONG = 32
"""Longer images, long side by short, are thickened: resized, they would have too few cells."""


def thickened(image: ImageArray) -> ImageArray:
    """A strip with its short side repeated; boxes are parts of the image, so they stay right."""
    for axis in (0, 1):
        times = -(-image.shape[1 - axis] // (image.shape[axis] * MOST_OBLONG))
        if times > 1:
            image = np.repeat(image, times, axis=axis)
    return image


def fitted_size(height: int, width: int, *, shortest: int, longest: int) -> tuple[int, int]:
    """The (h, w) with a short side of ``shortest``, or less where the long one would be too long.

    Rounded as DETR's preprocessing rounds, which published models were trained with.
    """
    short, long = min(height, width), max(height, width)
    wanted = float(shortest)
    if long / short * shortest > longest:
        wanted = longest * short / long
    side = shortest if wanted == shortest else round(wanted)
    if short == side:
        return height, width
    other = int(wanted * long / short)
    return (side, other) if height <= width else (other, side)


def fitted_pixels(
    image: ImageArray, size: tuple[int, int], mean: Sequence[float], std: Sequence[float]
) -> FloatArray:
    """RGB uint8 H x W x 3 -> 3 x h x w, resized and normalized; mean, std: of values in 0..1."""
    height, width = size
    resized = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
    scale = 1 / (255 * np.asarray(std, np.float32))
    pixels = resized * scale - np.asarray(mean, np.float32) / np.asarray(std, np.float32)
    return np.ascontiguousarray(pixels.astype(np.float32).transpose(2, 0, 1))


def to_patches(pixels: FloatArray, side: int) -> tuple[FloatArray, int, int]:
    """Pixels C x H x W -> patches h·w x C·side², padded with zeros, and h and w."""
    channels, height, width = pixels.shape
    rows, columns = -(-height // side), -(-width // side)
    padded = np.pad(
        pixels, ((0, 0), (0, rows * side - height), (0, columns * side - width))
    ).reshape(channels, rows, side, columns, side)
    return padded.transpose(1, 3, 0, 2, 4).reshape(rows * columns, -1), rows, columns


def boxes_in_image(boxes: FloatArray, width: float, height: float) -> FloatArray:
    """Boxes N x 4, cxcywh as parts of a whole of this size -> xyxy in its pixels."""
    center, half = boxes[:, :2], boxes[:, 2:] / 2
    size = np.array([width, height, width, height], np.float32)
    found = np.concatenate((center - half, center + half), axis=1) * size
    return found.astype(np.float32, copy=False)


OWLV2 = ("owlv2-text", "owlv2-patches")
OMDET_TURBO = ("omdet-turbo-text", "omdet-turbo-image", "omdet-turbo-boxes")
"""The parts of one model, a file each."""


@dataclass(frozen=True)
class ClipMetadata(OnnxMetadata):
    """What such a detector needs to be asked.

    source: sha256 of the weights that it was made from; side: of the square that every image
    becomes; limit: tokens of one text; queries: boxes of one image; mean, std: R G B, of values
    in 0..1; vocabulary: sha256 of its file.
    """

    source: str
    side: int
    limit: int
    queries: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    vocabulary: str


@dataclass(frozen=True, eq=False)
class ClipFiles:
    """sessions: in the order of the model's parts."""

    sessions: tuple[InferenceSession, ...]
    metadata: ClipMetadata
    tokenizer: BytePairs


def open_clip_files(
    paths: Sequence[str | Path],
    parts: Sequence[str],
    vocab_path: str | Path,
    *,
    threads: int,
    device: str,
) -> ClipFiles:
    """Opens the graphs, one of each part, and reads the vocabulary.

    threads, device: as ``open_session``. Raises WeightsError when a file is missing, damaged, of
    another kind or of another model, DeviceError for a device that isn't there.
    """
    sessions = tuple(open_session(path, threads=threads, device=device) for path in paths)
    metadata = ClipMetadata.shared(*zip(sessions, parts, paths, strict=True))
    tokenizer = BytePairs.load(Path(vocab_path))
    if sha256_of_file(Path(vocab_path)) != metadata.vocabulary:
        raise WeightsError(
            f"{printable(str(vocab_path))}: not the vocabulary of this model: use the one that was "
            "exported with it"
        )
    return ClipFiles(sessions, metadata, tokenizer)
