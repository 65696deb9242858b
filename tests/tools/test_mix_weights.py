from __future__ import annotations

import pytest
import torch
from mix_weights import mix


def test_every_number_lies_between() -> None:
    before = {"w": torch.tensor([0.0, 4.0]).half(), "steps": torch.tensor(3)}
    after = {"w": torch.tensor([1.0, 0.0]), "steps": torch.tensor(9)}
    assert mix(before, after, 0.25)["w"].tolist() == [0.25, 3.0]
    assert mix(before, after, 0.25)["steps"] == 9
    assert mix(before, after, 0)["w"].tolist() == [0.0, 4.0]


def test_two_networks_dont_mix() -> None:
    with pytest.raises(SystemExit, match="only one has b"):
        mix({"a": torch.ones(1)}, {"a": torch.ones(1), "b": torch.ones(1)}, 0.5)
