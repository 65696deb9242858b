"""The manifest of published models: what it says must be usable."""

from __future__ import annotations

import re

import pytest

import perception as pc
from perception.checkpoints.catalog import (
    FAMILIES,
    Role,
    WeightsEntry,
    family_of,
    read_manifest,
    read_presets,
)
from perception.errors import WeightsError
from perception.models.names import find_parts

PUBLISHED = [entry for entry in read_manifest().values() if not entry.is_embedded]


@pytest.mark.parametrize("entry", PUBLISHED, ids=lambda entry: entry.name)
def test_a_published_model(entry: WeightsEntry) -> None:
    assert entry.family in FAMILIES
    assert entry.licence
    assert entry.advice.endswith(".")
    assert bool(entry.url) != bool(entry.hub)
    assert entry.page.startswith("https://")
    assert not entry.revision or re.fullmatch(r"[0-9a-f]{40}", entry.revision)
    names = [file.name for file in entry.files]
    assert len(names) == len(set(names))
    assert all("/" not in name for name in names)
    for file in entry.files:
        assert not file.sha256 or re.fullmatch(r"[0-9a-f]{64}", file.sha256)
        assert bool(file.sha256) <= bool(file.size)
    needed = [file.name for file in entry.files if not file.optional]
    assert needed == ([names[0]] if entry.url else ["config.json", "model.safetensors"])
    if entry.url:
        assert entry.url.endswith(f"/{names[0]}")


def test_the_models_that_the_readme_promises() -> None:
    assert {entry.name for entry in PUBLISHED} >= {
        *(f"sam-vit-{size}" for size in "blh"),
        *(f"sam-hq-vit-{size}" for size in "blh"),
        *(f"sam2.1-hiera-{size}" for size in ("tiny", "small", "base-plus", "large")),
        *(f"grounding-dino-{size}" for size in ("tiny", "base")),
        *(f"mm-grounding-dino-{size}" for size in ("tiny", "base", "large")),
        *(f"llmdet-{size}" for size in ("tiny", "base", "large")),
        *(f"owlv2-{size}" for size in ("base", "large")),
        "omdet-turbo-swin-tiny",
        "sam3",
    }


def test_presets_stand_for_models_that_are_there() -> None:
    assert set(read_presets()) == {"nano", "base", "large", "sam3"}
    for name in read_presets():
        roles = [part.role for part in find_parts(name)]
        assert roles in ([Role.DETECTOR, Role.SEGMENTER], [Role.BOTH])


def test_families() -> None:
    assert family_of("mm-grounding-dino") == "mm-grounding-dino"
    assert family_of("sam_hq") == "sam-hq"
    assert family_of("llama") is None


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("sam2", "sam2.1-hiera-tiny"),
        ("sam2.1", "sam2.1-hiera-tiny"),
        ("owlv2", "owlv2-base"),
        ("grounding-dino", "grounding-dino-tiny"),
        ("sam-vit", "sam-vit-b"),
        ("gruonding-dino-tiny", "grounding-dino-tiny"),
        ("bse", "base"),
    ],
)
def test_names_that_are_close_are_suggested(name: str, near: str) -> None:
    with pytest.raises(WeightsError, match="did you mean") as caught:
        pc.load(name)
    assert near in str(caught.value)
    assert len(str(caught.value)) < 200
