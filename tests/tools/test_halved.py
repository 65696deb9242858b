from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from halved import fold_norms, halve, store_halves
from torch import nn

from perception.runtime.convolutions import HalfBlock, conv_norm
from perception.runtime.onnx_export import write_onnx
from perception.runtime.onnx_session import open_session


def test_matrices_are_halved_and_vectors_are_not() -> None:
    weights = {
        "matrix": torch.full((2, 2), 1 / 3),
        "vector": torch.full((2,), 1e-7),
        "number": torch.tensor(0.1),
        "count": torch.tensor([[7]]),
    }
    halved = halve(weights)
    assert halved.keys() == weights.keys()
    assert halved["matrix"].dtype == torch.float16
    torch.testing.assert_close(halved["matrix"].float(), weights["matrix"], rtol=1e-3, atol=0)
    for name in ("vector", "number", "count"):
        assert torch.equal(halved[name], weights[name])
        assert halved[name].dtype == weights[name].dtype


def test_halving_twice_changes_nothing() -> None:
    once = halve({"matrix": torch.randn(3, 3)})
    assert torch.equal(halve({"matrix": once["matrix"].float()})["matrix"], once["matrix"])


@pytest.fixture
def network() -> nn.Module:
    """Convolutions whose normalisations have seen something."""
    torch.manual_seed(0)
    network = nn.Sequential(
        conv_norm(3, 32, 3), HalfBlock(32, depth=2), nn.Conv2d(32, 8, 1), nn.BatchNorm2d(8)
    )
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 0, 1)
            nn.init.normal_(module.bias)
            nn.init.uniform_(module.running_var, 0.01, 4)
            nn.init.normal_(module.running_mean)
            module.weight.data[0] = 0  # as a residual that begins as an identity has it
    return network.eval()


def test_a_folded_network_is_the_same(network: nn.Module) -> None:
    x = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        before = network(x)
        fold_norms(network)
        torch.testing.assert_close(network(x), before, rtol=1e-4, atol=1e-4)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert (module.weight / (module.running_var + module.eps).sqrt() == 1).all()


def test_a_folded_network_learns_as_before() -> None:
    """What a normalisation makes of a batch is the same where its averages were true."""
    torch.manual_seed(0)
    block = conv_norm(3, 16, 3)
    norm = block[1]
    nn.init.uniform_(norm.weight, 0.2, 2)
    norm.momentum = None  # the averages become the batch's
    x = torch.randn(4, 3, 32, 32)
    with torch.no_grad():
        block.train()(x)
        fold_norms(block.eval())
        torch.testing.assert_close(block.train()(x), block.eval()(x), rtol=2e-2, atol=2e-2)


def test_a_file_by_halves_gives_the_very_same(network: nn.Module, tmp_path: Path) -> None:
    fold_norms(network)
    network.load_state_dict(halve(network.state_dict()))
    path = tmp_path / "n.onnx"
    x = torch.randn(1, 3, 32, 32)
    write_onnx(network, path, [{"x": x}], outputs=["y"], dynamic={}, metadata={"kind": "n"})
    size = path.stat().st_size
    (before,) = open_session(path, threads=1).run(None, {"x": x.numpy()})
    store_halves(path)
    session = open_session(path, threads=1)
    (after,) = session.run(None, {"x": x.numpy()})
    np.testing.assert_array_equal(after, before)
    assert session.get_modelmeta().custom_metadata_map["kind"] == "n"
    assert path.stat().st_size < 0.75 * size


def test_weights_with_more_digits_stay(tmp_path: Path) -> None:
    path = tmp_path / "n.onnx"
    network, x = nn.Linear(64, 64), torch.randn(1, 64)
    write_onnx(network, path, [{"x": x}], outputs=["y"], dynamic={}, metadata={})
    before = open_session(path, threads=1).run(None, {"x": x.numpy()})[0]
    store_halves(path)
    after = open_session(path, threads=1).run(None, {"x": x.numpy()})[0]
    np.testing.assert_array_equal(after, before)
