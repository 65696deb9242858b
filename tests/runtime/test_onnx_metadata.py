from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from perception.errors import WeightsError
from perception.runtime.onnx_session import OnnxMetadata


@dataclass(frozen=True)
class About(OnnxMetadata):
    count: int
    is_new: bool
    sizes: tuple[int, int, int]
    numbers: tuple[float, float, float]


ABOUT = About("a name", "", 3, False, (256, 64, 64), (0.1, 1 / 3, 2.0))


def opened(about: About, part: str) -> Any:
    """As much of a session as is asked."""
    return SimpleNamespace(
        get_modelmeta=lambda: SimpleNamespace(custom_metadata_map=about.to_map(part))
    )


def test_what_is_written() -> None:
    assert ABOUT.to_map("x") == {
        "part": "x",
        "name": "a name",
        "version": "",
        "count": "3",
        "is_new": "False",
        "sizes": "256x64x64",
        "numbers": f"0.1 {1 / 3} 2.0",
    }


def test_there_and_back() -> None:
    assert About.from_map(ABOUT.to_map("x"), "x", path="a.onnx") == ABOUT


def test_the_files_of_one_model() -> None:
    files = [(opened(ABOUT, part), part, f"{part}.onnx") for part in "xy"]
    assert About.shared(*files) == ABOUT


def test_the_files_of_two_models() -> None:
    other = About("another", *list(vars(ABOUT).values())[1:])
    files = (opened(ABOUT, "x"), "x", "a.onnx"), (opened(other, "y"), "y", "b\n.onnx")
    with pytest.raises(WeightsError, match=r"^a\.onnx and 'b\\n\.onnx' are of two models: export"):
        About.shared(*files)
    with pytest.raises(WeightsError, match=r"^a\.onnx: expected the ONNX file of a y, .*'x'"):
        About.shared((opened(ABOUT, "x"), "y", "a.onnx"))
