"""docs/licences.md names every package that the core installation brings."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
# Shared libraries under the GPL, as they are called in wheels.
GPL_LIBRARIES = re.compile(r"lib(x264|x265|xvid|postproc|imagequant|readline|gsl|fftw3)\b")


def needed(names: list[str]) -> set[str]:
    """The packages that some need here, without extras, and what these need in turn."""
    found: set[str] = set()
    waiting = [canonicalize_name(name) for name in names]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        for text in metadata.requires(name) or []:
            one = Requirement(text)
            if one.marker is None or one.marker.evaluate({"extra": ""}):
                waiting.append(canonicalize_name(one.name))
    return found


def core() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return needed([Requirement(text).name for text in project["dependencies"]])


def named(document: str) -> set[str]:
    """The packages in the first column of the core's table."""
    section = document.split("## What the core brings")[1].split("\n## ")[0]
    rows = re.findall(r"^\| ([a-z][^|]*) \|", section, re.M)
    return {canonicalize_name(name) for row in rows for name in row.split(", ")} - {"package"}


def gpl_libraries(name: str) -> list[str]:
    files = metadata.files(name) or []
    return [path.name for path in files if GPL_LIBRARIES.match(path.name)]


def test_every_package_of_the_core_is_named() -> None:
    table = named((ROOT / "docs" / "licences.md").read_text("utf-8"))
    assert core() - table == set()
    declared = {"click", "numpy", "pillow", "opencv-python-headless"}
    assert declared <= table


def test_no_package_of_the_core_holds_a_library_under_the_gpl() -> None:
    assert {name: found for name in core() if (found := gpl_libraries(name))} == {}


def test_what_is_looked_for_is_found_where_it_is() -> None:
    """PyAV's wheel holds two of them, which is why supervision is an extra."""
    pytest.importorskip("av")
    assert "av" in needed(["supervision"])
    if any(path.parent.name == "av.libs" for path in metadata.files("av") or []):
        assert {name.split("-")[0] for name in gpl_libraries("av")} == {"libx264", "libx265"}
