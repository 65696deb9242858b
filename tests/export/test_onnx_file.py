from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from perception.errors import ExportError
from perception.runtime.onnx_export import OPSET, write_onnx
from perception.runtime.onnx_session import open_session

pytestmark = pytest.mark.slow

LONG, SHORT = torch.arange(12.0).reshape(4, 3), torch.arange(3.0).reshape(1, 3) - 1


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.linear(x).relu(), x.sum(0)


class TracedOtherwise(nn.Module):
    """Gives something else while it is traced."""

    def forward(self, x: Tensor) -> Tensor:
        return x * (1.01 if torch.compiler.is_exporting() else 1.0)


class GrowsWhenTraced(nn.Module):
    """Gives another shape while it is traced."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((x, x)) if torch.compiler.is_exporting() else x


class NotANumberWhenTraced(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * (float("nan") if torch.compiler.is_exporting() else 1.0)


class BranchesOnAValue(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if x.sum() > 0 else x


class BakesItsSize(nn.Module):
    """Works with the number of rows that it was traced with, as with one aspect ratio."""

    def forward(self, x: Tensor) -> Tensor:
        return x / torch.full((int(x.shape[0]), 1), float(int(x.shape[0])))


def export(
    module: nn.Module,
    path: Path,
    *,
    cases: list[Mapping[str, Tensor]] | None = None,
    **options: Any,
) -> float:
    settings: dict[str, Any] = {
        "outputs": ["y"],
        "dynamic": {"x": {0: "N"}},
        "metadata": {"part": "test", "name": "tiny"},
    }
    cases = [{"x": LONG}, {"x": SHORT}] if cases is None else cases
    return write_onnx(module, path, cases, **(settings | options))


@pytest.fixture(scope="module")
def plain() -> Plain:
    torch.manual_seed(0)
    return Plain()


@pytest.fixture(scope="module")
def exported(plain: Plain, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    path = tmp_path_factory.mktemp("export") / "plain.onnx"
    return path, export(plain, path, outputs=["y", "total"])


def test_agrees_and_says_by_how_much(exported: tuple[Path, float]) -> None:
    path, worst = exported
    assert 0 <= worst < 1e-5
    assert [file.name for file in path.parent.iterdir()] == ["plain.onnx"]


@pytest.mark.parametrize("rows", [1, 2, 9])
def test_the_file_takes_any_size_that_is_dynamic(
    plain: Plain, exported: tuple[Path, float], rows: int
) -> None:
    x = torch.randn(rows, 3)
    have = open_session(exported[0]).run(["y", "total"], {"x": x.numpy()})
    for ours, theirs in zip(have, plain(x), strict=True):
        np.testing.assert_allclose(ours, theirs.detach().numpy(), atol=1e-5)


def test_metadata_and_opset(exported: tuple[Path, float]) -> None:
    session = open_session(exported[0])
    assert session.get_modelmeta().custom_metadata_map == {"part": "test", "name": "tiny"}
    opsets = {entry.domain: entry.version for entry in onnx.load(exported[0]).opset_import}
    assert opsets[""] == OPSET


def test_nothing_of_this_machine_is_in_the_file(exported: tuple[Path, float]) -> None:
    data = exported[0].read_bytes()
    for trace in (sys.prefix, str(Path(__file__).parent), "site-packages", ".py", "stack_trace"):
        assert trace.encode() not in data
    model = onnx.load(exported[0])
    assert not any(node.metadata_props or node.doc_string for node in model.graph.node)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (TracedOtherwise(), r"differs from torch by 0\.01, at most 0\.0001 is allowed: nothing"),
        (NotANumberWhenTraced(), "differs from torch by nan"),
        (GrowsWhenTraced(), r'"y" has the shape \(8, 3\), torch gives \(4, 3\)'),
        (BranchesOnAValue(), "torch can't trace BranchesOnAValue: "),
        (BakesItsSize(), "the graph can't be run: "),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_refuses(module: nn.Module, message: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=message) as caught:
        export(module, tmp_path / "bad.onnx")
    assert str(caught.value).startswith("bad.onnx: ")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_refuses_an_axis_that_should_be_dynamic(plain: Plain, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"bad\.onnx: the graph can't be run: "):
        export(plain, tmp_path / "bad.onnx", dynamic={}, outputs=["y", "total"])
    assert list(tmp_path.iterdir()) == []


def test_an_earlier_file_outlives_a_refusal(tmp_path: Path) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(b"the last good one")
    with pytest.raises(ExportError):
        export(TracedOtherwise(), path)
    assert path.read_bytes() == b"the last good one"


def test_the_tolerance_is_the_limit(tmp_path: Path) -> None:
    worst = export(TracedOtherwise(), tmp_path / "loose.onnx", tolerance=0.2)
    assert worst == pytest.approx(0.01, abs=1e-4)


def test_dropout_is_off(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Dropout(0.9)).train()
    assert export(module, tmp_path / "dropout.onnx") == 0
