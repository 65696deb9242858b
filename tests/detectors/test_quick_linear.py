from __future__ import annotations

import pytest
import torch
from torch import nn

from perception.detectors import onednn_linear as module
from perception.detectors.onednn_linear import Activation, QuickLinear, quick_linear


@pytest.mark.parametrize("activation", ["none", "relu", "gelu"])
@pytest.mark.parametrize("shape", [(5, 8), (2, 3, 8), (0, 8)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("has_onednn", [True, False])
def test_as_torch_does_it(
    activation: Activation,
    shape: tuple[int, ...],
    bias: bool,
    has_onednn: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not has_onednn:
        monkeypatch.setattr(module, "_HAS_ONEDNN", False)
    linear = nn.Linear(8, 6, bias=bias)
    x = torch.randn(shape)
    with torch.inference_mode():
        want = linear(x)
        if activation != "none":
            want = getattr(nn.functional, activation)(want)
        have = QuickLinear(linear, activation=activation)(x)
    torch.testing.assert_close(have, want, atol=1e-5, rtol=1e-5)


def test_half_precision_is_left_to_torch() -> None:
    linear, x = nn.Linear(8, 6).bfloat16(), torch.randn(5, 8, dtype=torch.bfloat16)
    with torch.inference_mode():
        torch.testing.assert_close(quick_linear(x, linear.weight, linear.bias), linear(x))
        with torch.autocast("cpu", torch.bfloat16):
            assert QuickLinear(nn.Linear(8, 6))(torch.randn(5, 8)).dtype == torch.bfloat16
