from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from processes import average_gradients, join_processes
from torch import nn

SCRIPT = """
import torch
from processes import average_gradients, join_processes
rank, count = join_processes()
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 1))
model[1].bias.requires_grad_(False)
(model(torch.full((4, 2), rank + 1.0)).sum() * (rank + 1)).backward()
average_gradients(model)
print(rank, count, [p.grad.tolist() for p in model.parameters() if p.grad is not None])
"""


def test_alone_nothing_is_averaged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    assert join_processes() == (0, 1)
    model = nn.Linear(2, 1)
    model(torch.ones(1, 2)).sum().backward()
    average_gradients(model)
    assert model.weight.grad is not None
    assert model.weight.grad.tolist() == [[1, 1]]


def test_two_processes_share_the_mean_of_their_gradients() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    tools = str(Path(__file__).resolve().parents[2] / "tools")
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    running = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", SCRIPT],
            env=os.environ | shared | {"RANK": str(rank), "PYTHONPATH": tools},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    said = [process.communicate(timeout=120)[0].split(maxsplit=2) for process in running]
    assert [line[:2] for line in said] == [["0", "2"], ["1", "2"]]
    assert said[0][2] == said[1][2]
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    for rank in (0, 1):  # the mean of both, made in one process
        (model(torch.full((4, 2), rank + 1.0)).sum() * (rank + 1) / 2).backward()
    want = [p.grad for p in model.parameters() if p.grad is not None][:3]
    for have, mean in zip(eval(said[0][2]), want, strict=True):  # noqa: S307 - a list of numbers
        torch.testing.assert_close(torch.tensor(have), mean)
