"""The model that the service runs, and the graphs of it that the page can run itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from perception import loading
from perception.defaults import AUTO
from perception.errors import WeightsError
from perception.model import Model
from perception.segmenter.onnx import OnnxSegmenter
from perception.segmenter.protocol import Segmenter
from perception.types import Embedding, FloatArray


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

    Raises the errors of that, and WeightsError for a segmenter whose embeddings can't be kept.
    """
    model = loading.load(
        name, segmenter=segmenter, device=device, precision=precision, threads=threads
    )
    found = model.segmenter
    if isinstance(found, OnnxSegmenter):
        return ServedModel(model, found, *found.graphs)
    if isinstance(found, ServedSegmenter):
        return ServedModel(model, found)
    raise WeightsError(
        f"{found.name}: the click page can't keep what this segmenter makes of a picture; use "
        "nano, a SAM by name, or a folder that perception export wrote (--segmenter)"
    )
