"""What was asked for becomes what this machine has."""

from __future__ import annotations

import pytest
import torch

from perception.errors import DeviceError
from perception.runtime import device as module
from perception.runtime.device import torch_device, torch_precision


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the machine has; to be filled by the test."""
    found: list[str] = []
    monkeypatch.setattr(module, "_there", lambda: found)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda name: f"GPU {name[-1]}")
    return found


@pytest.mark.parametrize(
    ("found", "asked", "wanted"),
    [
        (["cpu"], "auto", "cpu"),
        (["cpu"], "cpu", "cpu"),
        (["cpu", "cuda:0"], "auto", "cuda"),
        (["cpu", "cuda:0"], "cuda", "cuda"),
        (["cpu", "cuda:0", "cuda:1"], "cuda:1", "cuda:1"),
        (["cpu", "cuda:0"], "cpu", "cpu"),
        (["cpu", "mps"], "auto", "mps"),
        (["cpu", "mps"], "mps", "mps"),
    ],
)
def test_devices(there: list[str], found: list[str], asked: str, wanted: str) -> None:
    there += found
    assert torch_device(asked) == wanted


@pytest.mark.parametrize(
    ("found", "asked", "message"),
    [
        (["cpu"], "cuda", "cuda isn't there: there is cpu; "),
        (["cpu"], "mps", "mps isn't there: there is cpu$"),
        (["cpu", "cuda:0"], "cuda:3", r"there are cpu, cuda:0 \(GPU 0\)"),
        (["cpu", "cuda:0"], "cuda:00", r"cuda:00 isn't there"),
    ],
)
def test_devices_that_are_not_there(
    there: list[str], found: list[str], asked: str, message: str
) -> None:
    there += found
    with pytest.raises(DeviceError, match=message) as caught:
        torch_device(asked)
    assert "\n" not in str(caught.value)


def test_this_machine() -> None:
    assert torch_device("cpu") == "cpu"
    assert torch_device() in ("cpu", "cuda", "mps")


def test_precisions(monkeypatch: pytest.MonkeyPatch) -> None:
    assert torch_precision("auto", "cpu") == "fp32"
    assert torch_precision("auto", "mps") == "fp32"
    assert torch_precision("fp16", "cpu") == "fp16"
    for supported, wanted in ((True, "bf16"), (False, "fp16")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: supported)  # noqa: B023
        assert torch_precision("auto", "cuda:1") == wanted
    with pytest.raises(DeviceError, match="one of auto, fp32, bf16, fp16"):
        torch_precision("int8", "cpu")
