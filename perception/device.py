"""Where a model computes, and how precisely: what was asked for becomes what this machine has."""

from __future__ import annotations

import re

from perception.defaults import AUTO
from perception.errors import DeviceError

FORMS = "auto, cpu, cuda, cuda:N or mps"
PRECISIONS = ("auto", "fp32", "bf16", "fp16")


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
