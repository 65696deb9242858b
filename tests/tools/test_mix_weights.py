from __future__ import annotations

import copy

import pytest
import torch
from mix_weights import mix

from perception.segmenters.nano import NanoImageEncoder


def test_every_number_lies_between() -> None:
    before = {"w": torch.tensor([0.0, 4.0]).half(), "steps": torch.tensor(3)}
    after = {"w": torch.tensor([1.0, 0.0]), "steps": torch.tensor(9)}
    assert mix(before, after, 0.25)["w"].tolist() == [0.25, 3.0]
    assert mix(before, after, 0.25)["steps"] == 9
    assert mix(before, after, 0)["w"].tolist() == [0.0, 4.0]


def test_two_networks_dont_mix() -> None:
    with pytest.raises(SystemExit, match="only one has b"):
        mix({"a": torch.ones(1)}, {"a": torch.ones(1), "b": torch.ones(1)}, 0.5)


def test_convolutions_that_were_added_were_nothing_before() -> None:
    """With a share of 0 the deeper network is the one before."""
    sizes = {"widths": (4, 8, 8, 16, 16), "merge_depth": 1, "channels": 8}
    shallow = NanoImageEncoder(depths=(1, 1, 1, 1), **sizes).eval()  # type: ignore[arg-type]
    deep = NanoImageEncoder(depths=(1, 1, 2, 3), **sizes).eval()  # type: ignore[arg-type]
    before, after = shallow.state_dict(), copy.deepcopy(deep.state_dict())
    pixels = torch.randn(1, 3, 32, 32)
    expected = {0.0: shallow(pixels), 1.0: deep(pixels)}
    for share, answer in expected.items():
        deep.load_state_dict(mix(before, after, share))
        torch.testing.assert_close(deep(pixels), answer, rtol=0, atol=1e-6)
    scale = "stages.3.1.convs.2.1.weight"
    assert torch.equal(mix(before, after, 0.25)[scale], after[scale] / 4)
