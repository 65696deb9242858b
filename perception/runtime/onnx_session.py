"""ONNX Runtime sessions, and what ONNX files say about themselves in their metadata."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from perception.defaults import AUTO
from perception.errors import DeviceError, WeightsError
from perception.imaging.read import printable

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")
BUILDS = ("onnxruntime", "onnxruntime-gpu")
"""Distributions that all install the folder ``onnxruntime``: only one of them can be whole."""


def open_session(path: str | Path, *, threads: int = 0, device: str = AUTO) -> InferenceSession:
    """A session over one file; threads 0 means all the cores that this process may use.

    device: "auto" is a GPU if the runtime can use one. Raises WeightsError when the file is missing
    or no ONNX model, DeviceError for a device that the runtime hasn't.
    """
    import onnxruntime as ort

    _warn_of_a_clash()
    if not Path(path).is_file():
        raise WeightsError(f"{path}: no such model file")
    providers = _providers(device)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    # Left to itself, the runtime counts the machine's cores, not those of the container.
    options.intra_op_num_threads = threads or usable_cores()
    # Several sessions take turns here. Threads that spin between a run's operators save a tenth of
    # the time; but after it they would hold the next session's cores.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    try:
        session = ort.InferenceSession(str(path), options, providers=providers)
    except runtime_errors() as error:
        reason = str(error).splitlines()[0]
        raise WeightsError(f"{path}: not an ONNX model that can be run: {reason}") from None
    if device.startswith("cuda") and device_of(session) != "cuda":
        # Left to itself, the runtime goes on without a word on the CPU.
        raise DeviceError(
            f"{device}: ONNX Runtime can't use it (no such GPU, or CUDA's or cuDNN's libraries are "
            "missing); use --device cpu"
        )
    return session


def has_cuda() -> bool:
    """Whether the runtime that is installed is one for NVIDIA GPUs."""
    import onnxruntime as ort

    return PROVIDERS[0] in ort.get_available_providers()


def _providers(device: str) -> list[str | tuple[str, dict[str, int]]]:
    """What the runtime is to compute with, first the one that is preferred."""
    cuda, cpu = PROVIDERS
    if device == "cpu" or (device == AUTO and not has_cuda()):
        return [cpu]
    if device == AUTO:
        return [cuda, cpu]
    if not device.startswith("cuda"):
        raise DeviceError(f"{device}: ONNX Runtime computes on cpu and cuda; use --device cpu")
    if not has_cuda():
        raise DeviceError(
            f"{device}: the ONNX Runtime that is installed is the one for the CPU: "
            "pip uninstall onnxruntime, then pip install onnxruntime-gpu; or use --device cpu"
        )
    return [(cuda, {"device_id": int(device.partition(":")[2] or 0)}), cpu]


@cache
def _warn_of_a_clash() -> None:
    """Says once per process that two builds of the runtime have overwritten each other."""
    found = [name for name in BUILDS if _is_installed(name)]
    if len(found) > 1:
        warnings.warn(
            f"{' and '.join(found)} are both installed and share one folder, so the runtime may "
            f"be broken: pip uninstall {' '.join(found)}, then install the one you want",
            RuntimeWarning,
            stacklevel=3,
        )


def _is_installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


def runtime_errors() -> tuple[type[Exception], ...]:
    """What ONNX Runtime raises for a model that it can't open or run; they share no base."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    return (
        state.Fail,
        state.InvalidArgument,
        state.InvalidGraph,
        state.InvalidProtobuf,
        state.NotImplemented,
        state.RuntimeException,
    )


def device_of(session: InferenceSession) -> str:
    """Where a session computes: "cuda" or "cpu"."""
    return "cuda" if session.get_providers()[0].startswith("CUDA") else "cpu"


def usable_cores() -> int:
    """The cores that this process may use, at least 1."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True)
class OnnxMetadata:
    """One model, the same in all its files. name, version: of the model.

    What a kind of model says beside are the fields that it adds: words, numbers, truth values, and
    three numbers together.
    """

    name: str
    version: str

    def to_map(self, part: str) -> dict[str, str]:
        """For the file of one part."""
        values = {
            one.name: _written(str(one.type), getattr(self, one.name)) for one in fields(self)
        }
        return {"part": part, **values}

    @classmethod
    def from_map(cls, values: Mapping[str, str], part: str, *, path: str) -> Self:
        """Read what ``to_map`` wrote; raises WeightsError for the file of another thing."""
        if values.get("part") != part:
            raise WeightsError(
                f"{path}: expected the ONNX file of a {part}, "
                f"this one says {values.get('part', 'nothing')!r}"
            )
        try:
            return cls(**{one.name: _read(str(one.type), values[one.name]) for one in fields(cls)})
        except (KeyError, ValueError) as error:
            raise WeightsError(
                f"{path}: its metadata are damaged ({error}): export it again"
            ) from None

    @classmethod
    def shared(cls, *files: tuple[InferenceSession, str, str | Path]) -> Self:
        """What the files of one model say alike, each opened, with its part and its path.

        Raises WeightsError where two of them don't, and as ``from_map``.
        """
        said = []
        for session, part, path in files:
            values = session.get_modelmeta().custom_metadata_map
            said.append(cls.from_map(values, part, path=printable(str(path))))
            if said[-1] != said[0]:
                raise WeightsError(
                    f"{printable(str(files[0][2]))} and {printable(str(path))} are of two models: "
                    "export one of them again"
                )
        return said[0]


def _written(kind: str, value: Any) -> str:
    return _TRIPLES[kind][1].join(map(str, value)) if kind in _TRIPLES else str(value)


def _read(kind: str, text: str) -> Any:
    if kind not in _TRIPLES:
        return _SINGLE[kind](text)
    number, between = _TRIPLES[kind]
    first, second, third = map(number, text.split(between))
    return first, second, third


_SINGLE: dict[str, Callable[[str], Any]] = {
    "str": str,
    "int": int,
    "bool": {"True": True, "False": False}.__getitem__,
}
_TRIPLES: dict[str, tuple[Callable[[str], Any], str]] = {
    "tuple[int, int, int]": (int, "x"),
    "tuple[float, float, float]": (float, " "),
}
"""By the annotation of a field: how each number is read, and what stands between them."""
