from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import onnx
import pytest

pytest.importorskip("transformers")

import perception as pc
from perception.detectors.load import load_detector
from perception.detectors.omdet_turbo.export import export_omdet_turbo
from perception.detectors.omdet_turbo.onnx import OnnxOmDetTurbo
from perception.errors import ExportError, PromptError, WeightsError
from perception.models.export import export_checkpoint
from perception.prompts.grammar import parse
from perception.types import Candidates
from tests.detectors import published_tiny

pytestmark = pytest.mark.slow

FILES = ("tiny-text.onnx", "tiny-image.onnx", "tiny-boxes.onnx", "tiny-vocab.json")
# More than one sentence holds.
PROMPT = 'a cat, red car: "dr. pepper" | blue dog, !photo of a dog, ❤️, detect, car of a cat'


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published") / "tiny"
    return Path(shutil.copytree(published_tiny.saved("omdet-turbo"), folder))


@pytest.fixture(scope="module")
def exported(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    export_checkpoint(str(published), folder)
    return folder


@pytest.fixture(scope="module")
def core(exported: Path) -> OnnxOmDetTurbo:
    return OnnxOmDetTurbo(*(exported / name for name in FILES), threads=1)


def assert_same(have: Candidates, want: Candidates, *, scores: float, boxes: float) -> None:
    np.testing.assert_array_equal(have.queries, want.queries)
    np.testing.assert_allclose(have.scores, want.scores, atol=scores)
    np.testing.assert_allclose(have.boxes, want.boxes, atol=boxes)


def test_the_core_gives_what_torch_gives(
    published: Path, core: OnnxOmDetTurbo, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = load_detector("omdet-turbo", published, name="tiny")

    def refuse(*_: object) -> NoReturn:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert (core.name, core.phrases_independent, core.side) == ("tiny", False, 64)
    phrases = parse(PROMPT)
    # Images that need no resizing give the same; in others, Pillow's and torch's resizing are a
    # level of 255 apart here and there.
    for size, scores, boxes in (((64, 64), 1e-4, 1e-2), ((90, 120), 0.01, 1.0)):
        images = published_tiny.pictures(size, size)
        answers = [one.candidates(images, phrases, floor=0.0) for one in (core, theirs)]
        for have, want in zip(*answers, strict=True):
            assert len(have) > 20  # Of two sentences.
            assert_same(have, want, scores=scores, boxes=boxes)


@pytest.mark.parametrize("size", [(3, 200), (1, 1), (200, 3)])
def test_pictures_of_any_size(size: tuple[int, int], core: OnnxOmDetTurbo) -> None:
    (found,) = core.candidates(published_tiny.pictures(size), parse("cat"), floor=0.0)
    assert (found.boxes <= [size[1], size[0], size[1], size[0]]).all()


def test_a_long_list_of_classes(published: Path, core: OnnxOmDetTurbo) -> None:
    theirs = load_detector("omdet-turbo", published, name="tiny")
    names, images = parse(published_tiny.letter_names(70)), published_tiny.pictures((64, 64))
    (have,), (want,) = (one.candidates(images, names, floor=0.0) for one in (core, theirs))
    assert have.scores.shape == (len(have), 70)
    assert_same(have, want, scores=1e-4, boxes=1e-2)


def test_texts_are_read_once(core: OnnxOmDetTurbo, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    for name in ("_read", "_encode"):
        method = getattr(core, name)
        monkeypatch.setattr(
            core, name, lambda texts, method=method: asked.append(texts) or method(texts)
        )
    images = published_tiny.pictures((64, 64), (64, 64))
    core.candidates(images, parse("pepper. of"), floor=0.0)
    core.candidates(images, parse("pepper. of"), floor=0.0)
    assert len(asked) == 2


def test_what_was_written(exported: Path) -> None:
    cards = [f"{name}.json" for name in FILES[:3]]
    assert sorted(path.name for path in exported.iterdir()) == sorted([*FILES, *cards])
    for name in FILES[:3]:
        card = json.loads((exported / f"{name}.json").read_text())
        assert 0 <= card["largest_difference_from_torch"] < 1e-4
        assert onnx.load(exported / name).opset_import[0].version == 18
    graph = onnx.load(exported / FILES[2]).graph
    assert [one.name for one in graph.input] == ["phrases", "words", "map0", "map1", "map2"]
    assert [one.name for one in graph.output] == ["boxes", "logits", "fits", "cells"]


def test_a_folder_takes_the_place_of_a_name(exported: Path) -> None:
    model = pc.load(f"{exported}+nano", threads=1)
    assert (model.detector.name, model.segmenter.name) == ("tiny", "nano")
    assert {f"{exported.name}/{name}" for name in FILES[:3]} <= set(model.weights)
    (image,) = published_tiny.pictures((60, 80))
    assert model(image, "cat. dog", threshold=0.0).image_hw == (60, 80)


def test_files_of_two_models(exported: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(exported, tmp_path / "changed"))
    model = onnx.load(folder / FILES[1])
    next(entry for entry in model.metadata_props if entry.key == "source").value = "of another"
    onnx.save(model, folder / FILES[1])
    with pytest.raises(WeightsError, match=r"tiny-image\.onnx are of two models"):
        pc.load(str(folder))
    paths = [exported / name for name in FILES]
    with pytest.raises(WeightsError, match="expected the ONNX file of a omdet-turbo-image"):
        OnnxOmDetTurbo(paths[0], paths[2], paths[1], paths[3])


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_missing(name: str, exported: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(exported, tmp_path / "less"))
    (folder / name).unlink()
    message = "there are 0" if name == "tiny-boxes.onnx" else f"has no {name}"
    with pytest.raises(WeightsError, match=message):
        pc.load(str(folder))


def test_prompts_that_can_not_be_asked(core: OnnxOmDetTurbo) -> None:
    with pytest.raises(PromptError, match="30 tokens long, at most 28 fit"):
        core.detect(published_tiny.pictures((64, 64)), parse(["a " * 30]))
    assert core.detect([], parse("cat")) == []


def test_networks_of_another_make_are_refused(tmp_path: Path) -> None:
    from transformers import AutoImageProcessor, AutoTokenizer

    network: Any = published_tiny.build("omdet-turbo")
    folder = published_tiny.saved("omdet-turbo")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    processor = AutoImageProcessor.from_pretrained(folder)
    processor.size = {"shortest_edge": 64, "longest_edge": 100}
    with pytest.raises(ExportError, match="only the published preprocessing can be exported"):
        export_omdet_turbo(network, tokenizer, processor, tmp_path, name="tiny", source="")
    assert list(tmp_path.iterdir()) == []
