"""The model that the service runs, and the graphs of it that the page can run itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

from perception import loading
from perception.defaults import AUTO
from perception.errors import WeightsError
from perception.images import printable
from perception.model import Model
from perception.segmenter.onnx import OnnxSegmenter
from perception.segmenter.onnx_metadata import DECODER, ENCODER, PREPARER
from perception.segmenter.protocol import Segmenter
from perception.types import Embedding, FloatArray
from perception.weights.digests import sha256_of_file

_PARTS = {ENCODER: "encoder", PREPARER: "preparer", DECODER: "decoder"}


@runtime_checkable
class ServedSegmenter(Segmenter, Protocol):
    """A segmenter whose embeddings can be kept as plain arrays.

    side: of its square input in pixels; embedding_shape: C, h, w; version: of its weights.
    """

    @property
    def side(self) -> int: ...

    @property
    def embedding_shape(self) -> tuple[int, int, int]: ...

    @property
    def version(self) -> str: ...

    def restore(self, features: FloatArray, image_hw: tuple[int, int]) -> Embedding:
        """The embedding of a picture of (H, W) whose features C x h x w were kept."""
        ...


@dataclass(frozen=True)
class ServedModel:
    """A model, whose segmenter is ``segmenter``.

    preparer, decoder: the graphs for the page, None where there are none.
    """

    model: Model
    segmenter: ServedSegmenter
    preparer: Path | None = None
    decoder: Path | None = None

    @property
    def mask_size(self) -> int:
        """Side of the low-resolution logits."""
        return 4 * self.segmenter.embedding_shape[1]


def load_served(
    name: str,
    *,
    segmenter: Path | None = None,
    device: str = AUTO,
    precision: str = AUTO,
    threads: int,
) -> ServedModel:
    """A model by name, as ``loading.load`` has it.

    segmenter: a folder of exported files whose segmenter takes its place. Raises WeightsError for
    an unknown name, for files that are missing, damaged or of another kind, and for a segmenter
    whose embeddings can't be kept; DeviceError for a device that isn't there.
    """
    model = loading.load(name, device=device, precision=precision, threads=threads)
    if segmenter is not None:
        model = _with_exported(model, segmenter, threads)
    found = model.segmenter
    if isinstance(found, OnnxSegmenter):
        return ServedModel(model, found, *found.graphs)
    if isinstance(found, ServedSegmenter):
        return ServedModel(model, found)
    raise WeightsError(
        f"{found.name}: the click page can't keep what this segmenter makes of a picture; use "
        "nano, a SAM by name, or a folder that perception export wrote (--segmenter)"
    )


def _with_exported(model: Model, folder: Path, threads: int) -> Model:
    paths = [_exported(folder, part) for part in _PARTS.values()]
    files = {name: sha256 for name, sha256 in model.weights.items() if "-segmenter-" not in name}
    files |= {path.name: sha256_of_file(path) for path in paths}
    return replace(model, segmenter=OnnxSegmenter(*paths, threads=threads), weights=files)


def _exported(folder: Path, part: str) -> Path:
    name = printable(str(folder))
    found = sorted(folder.glob(f"*-{part}.onnx"))
    if len(found) != 1:
        count = "no" if not found else f"{len(found)}"
        raise WeightsError(
            f"{name}: {count} *-{part}.onnx in this folder, and one is needed; "
            "perception export writes encoder, preparer and decoder"
        )
    return found[0]
