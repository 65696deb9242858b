from __future__ import annotations

import socket
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import onnx
import pytest
import torch

pytest.importorskip("transformers")

from perception.detectors.grounding_dino import export as grounding_dino
from perception.detectors.grounding_dino.onnx import OnnxGroundingDino, load_grounding_dino
from perception.detectors.load import load_detector
from perception.errors import ExportError, PromptError, WeightsError
from perception.models.export import export_checkpoint
from perception.prompts.grammar import parse
from perception.types import Candidates
from tests.detectors import published_tiny

FAMILIES = ("grounding-dino", "mm-grounding-dino")
SIZES = [(64, 85), (50, 200), (37, 30), (3, 200)]


def save(family: str, folder: Path) -> Path:
    """A tiny detector whose boxes are wide enough to be told apart."""
    network: Any = published_tiny.build(family)
    with torch.no_grad():
        for head in (network.bbox_embed[0], network.model.encoder_output_bbox_embed):
            head.layers[-1].weight.mul_(0.1)
            head.layers[-1].bias.copy_(torch.tensor([0.0, 0.0, 1.0, 1.0]))
        # With one query for all places it does not matter which of two equal cells comes first.
        places = network.model.query_position_embeddings.weight
        places.copy_(places[:1].expand_as(places))
    network.save_pretrained(folder)
    for path in published_tiny.saved(family).iterdir():
        if not (folder / path.name).exists():
            (folder / path.name).write_bytes(path.read_bytes())
    return folder


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: save(name, tmp_path_factory.mktemp(name) / "tiny") for name in FAMILIES}


@pytest.fixture(scope="module")
def exported(
    published: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    folders = {}
    for name, folder in published.items():
        folders[name] = tmp_path_factory.mktemp(f"exported-{name}")
        export_checkpoint(str(folder), folders[name])
    return folders


def by_score(found: Candidates) -> Candidates:
    return found[np.argsort(-found.scores.max(axis=1), kind="stable")]


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_the_core_gives_what_torch_gives(
    family: str,
    published: dict[str, Path],
    exported: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    theirs = load_detector(family, published[family], name="tiny")

    def refuse(*_: object) -> NoReturn:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    core = load_grounding_dino(exported[family])
    assert (core.name, core.phrases_independent) == ("tiny", False)
    # Eleven phrases are more than one text holds.
    phrases = parse(
        'a cat, red car: "dr. pepper" | blue dog, !photo of a dog, detect, car of a cat'
    )
    images = [one for size in SIZES for one in published_tiny.pictures(size, seed=sum(size))]
    answers = [one.candidates(images, phrases, floor=0.0) for one in (core, theirs)]
    for have, want in zip(*answers, strict=True):
        have, want = by_score(have), by_score(want)
        assert len(have) == len(want) > 0
        # Pillow's resizing and torch's are a level of 255 apart here and there.
        np.testing.assert_allclose(have.scores, want.scores, atol=0.01)
        np.testing.assert_allclose(have.boxes, want.boxes, atol=1.0)


@pytest.mark.slow
def test_what_was_written(exported: dict[str, Path]) -> None:
    names = sorted(path.name for path in exported["grounding-dino"].iterdir())
    assert names == [
        *("tiny-fusion.onnx", "tiny-fusion.onnx.json", "tiny-image.onnx", "tiny-image.onnx.json"),
        *("tiny-text.onnx", "tiny-text.onnx.json", "tiny-vocab.txt"),
    ]
    model = onnx.load(exported["grounding-dino"] / "tiny-fusion.onnx")
    assert model.opset_import[0].version == 18
    assert [one.name for one in model.graph.output] == ["boxes", "logits", "fits", "cells"]


@pytest.mark.slow
def test_files_of_two_models(exported: dict[str, Path], tmp_path: Path) -> None:
    one, other = (exported[name] for name in FAMILIES)
    paths = [one / "tiny-text.onnx", other / "tiny-image.onnx", one / "tiny-fusion.onnx"]
    with pytest.raises(WeightsError, match="are of two models"):
        OnnxGroundingDino(*paths, one / "tiny-vocab.txt")
    with pytest.raises(WeightsError, match="expected the ONNX file of a grounding-image"):
        OnnxGroundingDino(paths[0], paths[0], paths[2], one / "tiny-vocab.txt")
    shorter = tmp_path / "vocab.txt"
    shorter.write_text("\n".join((one / "tiny-vocab.txt").read_text().split("\n")[:-1]))
    files = [one / f"tiny-{part}.onnx" for part in ("text", "image", "fusion")]
    with pytest.raises(WeightsError, match="use the one that was exported with it"):
        OnnxGroundingDino(*files, shorter)


@pytest.mark.slow
def test_prompts_that_can_not_be_asked(exported: dict[str, Path]) -> None:
    core = load_grounding_dino(exported["grounding-dino"])
    (image,) = published_tiny.pictures((64, 64))
    with pytest.raises(PromptError, match="at most 253 fit"):
        core.detect([image], parse(["cat " * 254]))
    with pytest.raises(PromptError, match="name it in English"):
        core.detect([image], parse(["кот"]))
    assert core.detect([], parse("cat")) == []


def test_a_folder_without_a_detector(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"a NAME-fusion\.onnx .* there are 0"):
        load_grounding_dino(tmp_path)


def test_networks_of_another_make_are_refused(tmp_path: Path) -> None:
    network: Any = published_tiny.build("grounding-dino")
    network.config.two_stage = False
    with pytest.raises(ExportError, match="with two stages"):
        grounding_dino.export_grounding_dino(network, None, None, tmp_path, name="tiny", source="")
    assert list(tmp_path.iterdir()) == []


def test_options_of_segmenters(tmp_path: Path) -> None:
    model = str(published_tiny.saved("grounding-dino"))
    with pytest.raises(ExportError, match="is a detector: these options are for segmenters"):
        export_checkpoint(model, tmp_path, int8=True)
