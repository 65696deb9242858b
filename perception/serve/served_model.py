"""The model that the service runs, and the graphs of it that the page can run itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from perception import loading
from perception.errors import WeightsError
from perception.images import printable
from perception.model import Model
from perception.segmenter.onnx import OnnxSegmenter
from perception.segmenter.onnx_metadata import DECODER, ENCODER, PREPARER
from perception.segmenter.protocol import Segmenter
from perception.types import Embedding, FloatArray
from perception.weights import locate, sha256_of_file

_PARTS = {ENCODER: "encoder", PREPARER: "preparer", DECODER: "decoder"}


class ServedSegmenter(Segmenter, Protocol):
    """A segmenter whose embeddings can be kept as plain arrays."""

    def restore(self, features: FloatArray, image_hw: tuple[int, int]) -> Embedding:
        """The embedding of a picture of (H, W) whose features C x h x w were kept."""
        ...


@dataclass(frozen=True)
class ServedModel:
    """A model, whose segmenter is ``segmenter``.

    side: of the segmenter's square input in pixels; embedding: (C, h, w); version: of the
    segmenter; preparer, decoder: the graphs for the page, None where there are none.
    """

    model: Model
    segmenter: ServedSegmenter
    side: int
    embedding: tuple[int, int, int]
    version: str = ""
    preparer: Path | None = None
    decoder: Path | None = None

    @property
    def mask_size(self) -> int:
        """Side of the low-resolution logits."""
        return 4 * self.embedding[1]


def load_served(name: str, *, segmenter: Path | None = None, threads: int) -> ServedModel:
    """A model by name; segmenter: a folder of exported files whose segmenter takes its place.

    Raises WeightsError for an unknown name, and for files that are missing, damaged or of another
    kind.
    """
    model = loading.load(name, threads=threads)
    if segmenter is None:
        paths = [locate(f"{name}-segmenter-{part}.onnx") for part in _PARTS.values()]
        files = dict(model.weights)
    else:
        paths = [_exported(segmenter, part) for part in _PARTS.values()]
        files = {
            name: sha256 for name, sha256 in model.weights.items() if "-segmenter-" not in name
        }
        files |= {path.name: sha256_of_file(path) for path in paths}
    encoder, preparer, decoder = paths
    found = OnnxSegmenter(encoder, preparer, decoder, threads=threads)
    return ServedModel(
        model=replace(model, segmenter=found, weights=files),
        segmenter=found,
        side=found.metadata.side,
        embedding=found.metadata.embedding,
        version=found.metadata.version,
        preparer=preparer,
        decoder=decoder,
    )


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
