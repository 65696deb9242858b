"""Where a model computes, and how precisely: what was asked for becomes what this machine has."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from threading import Lock
from typing import Any

from perception.defaults import AUTO
from perception.errors import DeviceError

FORMS = "auto, cpu, cuda, cuda:N or mps"
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
COMPUTING = ("candidates", "encode", "encode_batch", "decode", "propose", "restore")
"""Methods of detectors and segmenters in which torch computes."""


def check_device(device: str) -> str:
    """The name of a device, once it can be one; raises DeviceError for any other text."""
    if not isinstance(device, str) or not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", device):
        raise DeviceError(f"a device is {FORMS}, got {device!r}")
    return device


def check_precision(precision: str) -> str:
    """The name of a precision; raises DeviceError for any other text."""
    if precision not in PRECISIONS:
        raise DeviceError(f"a precision is one of {', '.join(PRECISIONS)}, got {precision!r}")
    return precision


def torch_device(device: str = AUTO) -> str:
    """A device of this machine for torch: "cpu", "cuda", "cuda:N" or "mps".

    auto: a GPU if torch sees one. Raises DeviceError, which names what is there, for one that
    isn't.
    """
    check_device(device)
    there = _there()
    if device == AUTO:
        return "cuda" if "cuda:0" in there else there[-1]
    if device in there or (device == "cuda" and "cuda:0" in there):
        return device
    raise DeviceError(f"the device {device} isn't there: {_what_is_there(there)}{_why(device)}")


def torch_precision(precision: str, device: str) -> str:
    """A precision for a device of ``torch_device``: "fp32", "bf16" or "fp16".

    auto: fp32 on a CPU, because it gives the same masks on every machine, and on Apple's GPUs; bf16
    on NVIDIA's, fp16 on those that are too old for it.
    """
    if check_precision(precision) != AUTO:
        return precision
    if not device.startswith("cuda"):
        return "fp32"
    import torch

    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"


def _there() -> list[str]:
    """What torch can compute on here."""
    import torch

    there = ["cpu"]
    there += [f"cuda:{n}" for n in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        there.append("mps")
    return there


def _what_is_there(there: list[str]) -> str:
    import torch

    names = [
        f"{one} ({torch.cuda.get_device_name(one)})" if one.startswith("cuda") else one
        for one in there
    ]
    return f"there {'is' if len(names) == 1 else 'are'} {', '.join(names)}"


def _why(device: str) -> str:
    import torch

    if device.startswith("cuda") and torch.version.cuda is None:
        return "; this torch is built without CUDA: pip install torch from pytorch.org for your GPU"
    if device.startswith("cuda") and not torch.cuda.device_count():
        return "; torch finds no NVIDIA GPU: check the driver (nvidia-smi) and CUDA_VISIBLE_DEVICES"
    return ""


class _TorchThreads:
    """Calls that are computing with a thread count of their own, and what torch had before them."""

    def __init__(self) -> None:
        self._lock, self._calls, self._before = Lock(), 0, 0

    @contextmanager
    def limited(self, threads: int) -> Iterator[None]:
        """Let torch compute on so many CPU threads in the calling thread while this lasts.

        torch keeps one count for the process and one for each thread that has computed, and sets
        both at once. So the count from before the first of several overlapping calls is the one to
        go back to: a call that ends while another runs would else leave that one's behind.
        """
        import torch

        with self._lock:
            if not self._calls:
                self._before = torch.get_num_threads()
            self._calls += 1
            torch.set_num_threads(threads)
        try:
            yield
        finally:
            with self._lock:
                self._calls -= 1
                torch.set_num_threads(self._before)


_TORCH_THREADS = _TorchThreads()


def limit_torch_threads(model: object, threads: int) -> None:
    """Make a detector or segmenter compute on so many CPU threads, whatever the process does.

    The count holds while one of the model's own methods runs, and torch's setting is restored
    after it. 0 leaves the model as it is: then torch's setting counts.
    """
    if not threads:
        return
    for name in COMPUTING:
        method = getattr(model, name, None)
        if method is not None:
            setattr(model, name, _limited(method, threads))


def _limited(method: Callable[..., Any], threads: int) -> Callable[..., Any]:
    @wraps(method)
    def call(*given: Any, **options: Any) -> Any:
        with _TORCH_THREADS.limited(threads):
            return method(*given, **options)

    return call
