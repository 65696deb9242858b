"""docs/models.md has what the manifest has."""

from __future__ import annotations

from pathlib import Path

import pytest

from perception.checkpoints.catalog import WeightsEntry, read_manifest, read_presets, readable

TEXT = (Path(__file__).parents[2] / "docs" / "models.md").read_text("utf-8")
PUBLISHED = [entry for entry in read_manifest().values() if not entry.is_embedded]


@pytest.mark.parametrize("entry", PUBLISHED, ids=lambda entry: entry.name)
def test_every_model_has_its_row(entry: WeightsEntry) -> None:
    size = readable(entry.size) if entry.size else ""
    assert f"| `{entry.name}` | {size} | {entry.licence} | {entry.advice} |" in TEXT


def test_presets() -> None:
    for name, stands in read_presets().items():
        if name != stands:
            assert f"| `{name}` | `{stands}` |" in TEXT


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1 kB"),
        (375_042_383, "375 MB"),
        (10**9, "1.00 GB"),
    ],
)
def test_sizes(size: int, text: str) -> None:
    assert readable(size) == text
