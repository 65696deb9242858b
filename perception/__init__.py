"""Say it, get masks: an image and a sentence in, labelled masks out.

::

    import perception as pc

    model = pc.load("nano")
    result = model("image.png", "red star. cat")
    result.overlay().save("overlay.png")

Names are loaded when they are first used, so that ``import perception`` takes no time.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from perception.api import detect, everything, segment
    from perception.errors import (
        DataError,
        DeviceError,
        ImageError,
        MissingExtraError,
        OutOfMemoryError,
        OutputError,
        PerceptionError,
        PromptError,
        WeightsError,
    )
    from perception.imaging.read import read_image
    from perception.instances import Instance, Instances
    from perception.models.load import load
    from perception.models.model import Model
    from perception.types import Detections, Embedding, MaskCandidates, Prompt, Proposals, Rle

__version__ = "0.1.0"

__all__ = [
    "DataError",
    "Detections",
    "DeviceError",
    "Embedding",
    "ImageError",
    "Instance",
    "Instances",
    "MaskCandidates",
    "MissingExtraError",
    "Model",
    "OutOfMemoryError",
    "OutputError",
    "PerceptionError",
    "Prompt",
    "PromptError",
    "Proposals",
    "Rle",
    "WeightsError",
    "__version__",
    "detect",
    "everything",
    "load",
    "read_image",
    "segment",
]

_HOME = {
    "DataError": "errors",
    "Detections": "types",
    "DeviceError": "errors",
    "Embedding": "types",
    "ImageError": "errors",
    "Instance": "instances",
    "Instances": "instances",
    "MaskCandidates": "types",
    "MissingExtraError": "errors",
    "Model": "models.model",
    "OutOfMemoryError": "errors",
    "OutputError": "errors",
    "PerceptionError": "errors",
    "Prompt": "types",
    "PromptError": "errors",
    "Proposals": "types",
    "Rle": "types",
    "WeightsError": "errors",
    "detect": "api",
    "everything": "api",
    "load": "models.load",
    "read_image": "imaging.read",
    "segment": "api",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'perception' has no attribute {name!r}")
    value = getattr(import_module(f"perception.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
