from __future__ import annotations

import io
import json
import shutil
import socket
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import onnx
import pytest
import torch

pytest.importorskip("transformers")

import perception as pc
from perception.checkpoints.catalog import read_manifest
from perception.cli.commands import status
from perception.detectors.load import load_detector
from perception.detectors.owlv2 import export as owlv2
from perception.detectors.owlv2.onnx import OnnxOwlv2
from perception.errors import ExportError, PromptError, WeightsError
from perception.models import export as source
from perception.models.export import export_checkpoint
from perception.prompts.grammar import parse
from perception.runtime.onnx_export import run_file
from perception.types import Candidates
from tests.detectors import published_tiny

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
NAME = "owlv2-base"
FILES = (f"{NAME}-text.onnx", f"{NAME}-patches.onnx", f"{NAME}-vocab.json")
SIZES = [(90, 120), (120, 90), (32, 32), (20, 30), (3, 200), (1, 1)]
PROMPT = 'a cat, red car: "dr. pepper" | blue dog, !photo of a dog, ❤️, a b c d e f g h i j k l'


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny detector in a folder of weights, in the place of the published one.

    Its boxes are wide enough that none is empty but for rounding.
    """
    folder = tmp_path_factory.mktemp("weights") / NAME
    network: Any = published_tiny.build("owlv2")
    with torch.no_grad():
        network.box_head.dense2.weight.mul_(0.1)
        network.box_head.dense2.bias.copy_(torch.tensor([0.0, 0.0, 2.0, 2.0]))
    network.save_pretrained(folder)
    for path in published_tiny.saved("owlv2").iterdir():
        if not (folder / path.name).exists():
            shutil.copy(path, folder)
    return folder


@pytest.fixture(scope="module")
def exported(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As ``perception export owlv2-base`` writes it."""
    folder, said = tmp_path_factory.mktemp("exported"), io.StringIO()
    entry = read_manifest()[NAME]
    unknown = tuple(replace(file, size=0, sha256="") for file in entry.files)
    manifest = {**read_manifest(), NAME: replace(entry, files=unknown)}
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(said):
        patch.setenv("PERCEPTION_WEIGHTS", str(published.parent))
        patch.setattr(source, "read_manifest", lambda: manifest)
        assert status(["export", NAME, "--out", str(folder)]) == 0
    wrote = [f"wrote {folder / name} and its card" for name in FILES[:2]]
    assert said.getvalue().splitlines() == wrote
    return folder


@pytest.fixture(scope="module")
def core(exported: Path) -> OnnxOwlv2:
    return OnnxOwlv2(*(exported / name for name in FILES), threads=1)


@pytest.fixture
def changed(exported: Path, tmp_path: Path) -> Callable[[str, dict[str, str]], Path]:
    """A copy of the export, in which the metadata of one file say something else."""

    def change(name: str, values: dict[str, str]) -> Path:
        folder = Path(shutil.copytree(exported, tmp_path / "changed"))
        model = onnx.load(folder / name)
        for entry in model.metadata_props:
            entry.value = values.get(entry.key, entry.value)
        onnx.save(model, folder / name)
        return folder

    return change


def assert_same(have: Candidates, want: Candidates) -> None:
    np.testing.assert_array_equal(have.queries, want.queries)
    np.testing.assert_allclose(have.scores, want.scores, atol=1e-5)
    np.testing.assert_allclose(have.boxes, want.boxes, atol=1e-3)
    assert (have.boxes.dtype, have.scores.dtype) == (want.boxes.dtype, want.scores.dtype)


def test_the_core_gives_what_torch_gives(
    published: Path, core: OnnxOwlv2, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = load_detector("owlv2", published, name=NAME)

    def refuse(*_: object) -> NoReturn:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert (core.name, core.phrases_independent, core.side) == (NAME, True, 32)
    phrases, images = parse(PROMPT), published_tiny.pictures(*SIZES)
    answers = [one.candidates(images, phrases, floor=0.0) for one in (core, theirs)]
    for have, want in zip(*answers, strict=True):
        assert_same(have, want)
    assert sum(map(len, answers[0])) > 50
    found = [one.detect(images, phrases, threshold=0.6) for one in (core, theirs)]
    for ours, others in zip(*found, strict=True):
        np.testing.assert_array_equal(ours.class_ids, others.class_ids)
        np.testing.assert_allclose(ours.margin, others.margin, atol=1e-5)
    assert sum(map(len, found[0])) > 0


def test_more_phrases_than_go_through_at_once(published: Path, core: OnnxOwlv2) -> None:
    theirs = load_detector("owlv2", published, name=NAME)
    names, images = parse(published_tiny.letter_names(150)), published_tiny.pictures((40, 60))
    (have,), (want,) = (one.candidates(images, names, floor=0.0) for one in (core, theirs))
    assert have.scores.shape == (len(have), 150)
    assert_same(have, want)


def test_several_pictures_as_one_by_one(core: OnnxOwlv2) -> None:
    images, phrases = published_tiny.pictures(*SIZES), parse(PROMPT)
    for image, one in zip(images, core.candidates(images, phrases, floor=0.0), strict=True):
        assert_same(core.candidates([image], phrases, floor=0.0)[0], one)


def test_a_phrase_is_encoded_once(core: OnnxOwlv2, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []
    encode = core._encode
    monkeypatch.setattr(core, "_encode", lambda phrases: asked.append(phrases) or encode(phrases))
    images = published_tiny.pictures((32, 32), (40, 20))
    core.candidates(images, parse("pepper. of"), floor=0.0)
    core.candidates(images, parse("of. pepper. dr"), floor=0.0)
    assert asked == [["pepper", "of"], ["dr"]]


def test_what_was_written(exported: Path) -> None:
    cards = [f"{name}.json" for name in FILES[:2]]
    assert sorted(path.name for path in exported.iterdir()) == sorted([*FILES, *cards])
    for name in FILES[:2]:
        card = json.loads((exported / f"{name}.json").read_text())
        assert 0 <= card["largest_difference_from_torch"] < 1e-5
        assert card["allowed_difference"] == 1e-3
        assert card["made_from"] == NAME
        assert onnx.load(exported / name).opset_import[0].version == 18
    graph = onnx.load(exported / FILES[1]).graph
    assert [one.name for one in graph.output] == [
        *("embeddings", "boxes", "objectness", "shift", "scale")
    ]


def test_a_folder_takes_the_place_of_a_name(
    exported: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = pc.load(str(exported), threads=1)
    assert model.detector.name == NAME
    assert {name.rpartition("/")[2] for name in model.weights} == set(FILES[:2])
    (image,) = published_tiny.pictures((60, 80))
    assert len(model.detect(image, "cat. dog", threshold=0.0))
    folder = Path(shutil.copytree(exported, tmp_path / "both"))
    for part in ("encoder", "preparer", "decoder"):
        name = f"nano-segmenter-{part}.onnx"
        shutil.copy(ROOT / "weights" / name, folder / name)
    photo = str(min((ROOT / "demos" / "images").glob("*.jpg")))
    ask = ("segment", photo, "--text", "cat", "--model", str(folder), "--threshold", "0.1")
    assert status([*ask, "--json", "-", "--quiet"]) == 0
    content = json.loads(capfd.readouterr().out)
    assert {row["category_id"] for row in content["annotations"]} == {1}


def test_files_of_two_models(changed: Callable[..., Path], exported: Path) -> None:
    folder = changed(FILES[0], {"source": "of another"})
    with pytest.raises(WeightsError, match="are of two models: export one of them again"):
        pc.load(str(folder))
    paths = [exported / name for name in FILES]
    with pytest.raises(WeightsError, match="expected the ONNX file of a owlv2-patches"):
        OnnxOwlv2(paths[0], paths[0], paths[2])
    (folder / FILES[2]).write_bytes((exported / FILES[2]).read_bytes() + b"\n")
    with pytest.raises(WeightsError, match="use the one that was exported with it"):
        OnnxOwlv2(paths[0], paths[1], folder / FILES[2])


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_missing(name: str, exported: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(exported, tmp_path / "less"))
    (folder / name).unlink()
    message = "there are 0" if name == FILES[1] else f"has no {name}"
    with pytest.raises(WeightsError, match=message) as caught:
        pc.load(str(folder))
    assert "\n" not in str(caught.value)


def test_prompts_that_can_not_be_asked(core: OnnxOwlv2) -> None:
    (image,) = published_tiny.pictures((64, 64))
    with pytest.raises(PromptError, match="15 tokens long, at most 14 fit"):
        core.detect([image], parse(["a " * 15]))
    assert core.detect([], parse("cat")) == []


@torch.no_grad()
def test_a_graph_is_compared_with_transformers_network(exported: Path) -> None:
    """Not with what was traced: that could be wrong alike."""
    network: Any = published_tiny.build("owlv2")
    given = {"pixels": torch.zeros(1, 3, 32, 32)}
    names = ["embeddings", "boxes", "objectness", "shift", "scale"]
    want = owlv2._patches(network, given, [])
    have = [one.numpy() for one in owlv2.ExportableOwlv2Patches(network)(given["pixels"])]
    for ours, theirs in zip(have, want, strict=True):
        # Shifts are some 50 here, of which single precision, summed in another order on another
        # processor, holds six digits.
        np.testing.assert_allclose(ours, theirs, atol=1e-5, rtol=1e-5)
    for head in ("dense0", "logit_shift", "logit_scale"):
        getattr(network.class_head, head).weight.neg_()
    network.box_head.dense0.weight.neg_()
    network.objectness_head.dense0.weight.neg_()
    (have,) = run_file(exported / FILES[1], [given], names, FILES[1])
    for ours, theirs in zip(have, owlv2._patches(network, given, []), strict=True):
        assert np.abs(ours - theirs).max() > owlv2.TOLERANCE


def test_preprocessing_of_another_make(published: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(published, tmp_path / "other"))
    (path,) = (path for path in folder.iterdir() if "processor_config" in path.name)
    content = path.read_text()
    path.write_text(content.replace("32", "48"))
    with pytest.raises(ExportError, match="only the published preprocessing can be exported"):
        export_checkpoint(str(folder), tmp_path / "out")
