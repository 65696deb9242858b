"""Say it, get masks: a picture and a sentence in, labelled masks out.

::

    import perception as pc

    model = pc.load("nano")
    result = model("picture.png", "red star. cat")
    result.overlay().save("overlay.png")

Names are loaded when they are first used, so that ``import perception`` takes no time.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
    from perception.images import read_image
    from perception.instances import Instance, Instances
    from perception.loading import load
    from perception.model import Model
    from perception.one_call import detect, everything, segment
    from perception.types import Detections, Embedding, MaskCandidates, Prompt, Proposals, Rle

from perception.version import __version__

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
    "Model": "model",
    "OutOfMemoryError": "errors",
    "OutputError": "errors",
    "PerceptionError": "errors",
    "Prompt": "types",
    "PromptError": "errors",
    "Proposals": "types",
    "Rle": "types",
    "WeightsError": "errors",
    "detect": "one_call",
    "everything": "one_call",
    "load": "loading",
    "read_image": "images",
    "segment": "one_call",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'perception' has no attribute {name!r}")
    value = getattr(import_module(f"perception.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
