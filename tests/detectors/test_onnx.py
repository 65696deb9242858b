from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from perception.detectors.decode import decode
from perception.detectors.nano import onnx as nano
from perception.detectors.nano.names import NameTable
from perception.detectors.nano.onnx import NanoDetector, Tokenizer
from perception.errors import ImageError, PromptError, WeightsError
from perception.imaging.preprocess import fit_picture
from perception.ops.boxes import clip_boxes
from perception.prompts.grammar import Phrases, parse
from perception.types import Detections, ImageArray

from .tiny import (
    FILES,
    IMAGE,
    NAMES,
    PHOTO,
    PHOTO_SIDE,
    PIECES,
    SIDE,
    TEXT,
    VOCABULARY,
    build_tiny,
    export_tiny,
)

pytestmark = pytest.mark.slow

PROMPTS = ("cat", "red cats. carpet", "猫, horse face: red horse | e-e-e-cars, !car")
SIZES = ((64, 64), (20, 31), (211, 90), (1, 7))


@pytest.fixture(scope="module")
def folder() -> Path:
    return export_tiny()[0]


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    """The files again, to be damaged."""
    shutil.copytree(folder, tmp_path / "copy")
    return tmp_path / "copy"


def open_detector(folder: Path) -> NanoDetector:
    return NanoDetector(*(folder / name for name in FILES), threads=1)


@pytest.fixture(scope="module")
def detector(folder: Path) -> NanoDetector:
    return open_detector(folder)


def picture(height: int, width: int, seed: int = 0) -> ImageArray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def by_torch(image: ImageArray, phrases: Phrases, threshold: float) -> Detections:
    """What the network gives: every phrase is encoded alone and scored by its own tokens' mean."""
    network, tokenizer = build_tiny(), Tokenizer(PIECES)
    frame, pixels = fit_picture(image, SIDE)
    columns = []
    for phrase in phrases.phrases:
        tokens = network.text(torch.tensor([tokenizer.encode(phrase)]))[0]
        boxes, logits = network(torch.from_numpy(pixels), tokens)
        columns.append(logits[0].mean(dim=1).numpy())
    fitted = clip_boxes(frame.boxes_to_image(boxes[0].numpy()), image.shape[:2])
    return decode(fitted, np.stack(columns, axis=1), phrases, threshold=threshold)


def same(have: Detections, want: Detections, *, within: float) -> None:
    assert len(have) == len(want)
    for name in ("boxes", "scores", "class_ids", "phrase_ids", "runner_up", "margin"):
        np.testing.assert_allclose(
            getattr(have, name), getattr(want, name), rtol=0, atol=within, err_msg=name
        )


@pytest.mark.parametrize("size", SIZES, ids=lambda s: f"{s[0]}x{s[1]}")
@pytest.mark.parametrize("prompt", PROMPTS)
def test_agrees_with_torch(detector: NanoDetector, prompt: str, size: tuple[int, int]) -> None:
    image, phrases = picture(*size), parse(prompt)
    (have,) = detector.detect([image], phrases, threshold=0.05)
    same(have, by_torch(image, phrases, 0.05), within=2e-3)
    assert len(have) > 0
    height, width = size
    assert (have.boxes >= 0).all()
    assert (have.boxes <= [width, height, width, height]).all()


def test_twenty_pictures_in_one_call_are_twenty_calls(folder: Path) -> None:
    images = [picture(*SIZES[k % 3], seed=k) for k in range(20)]
    phrases = parse("red cat. horse")
    together = open_detector(folder).detect(images, phrases, threshold=0.05)
    other = open_detector(folder)
    for image, have in zip(images, together, strict=True):
        same(have, other.detect([image], phrases, threshold=0.05)[0], within=0)


def test_no_pictures(detector: NanoDetector) -> None:
    assert detector.detect([], parse("cat")) == []


def test_nothing_above_the_threshold(detector: NanoDetector) -> None:
    (found,) = detector.detect([picture(20, 31)], parse("cat. car"), threshold=1.0)
    assert len(found) == 0


def test_a_phrase_is_read_the_same_beside_longer_ones(folder: Path) -> None:
    (alone,) = open_detector(folder)._encode(["red cat"])
    beside, longer = open_detector(folder)._encode(["red cat", "e-e-e-e horse"])
    assert len(alone) == 2
    assert len(longer) == 8
    np.testing.assert_allclose(beside, alone, rtol=0, atol=1e-6)


def test_case_and_dots_change_nothing(detector: NanoDetector) -> None:
    image = picture(20, 31)
    (one,) = detector.detect([image], parse("Red CAT."), threshold=0.05)
    (other,) = detector.detect([image], parse("red  cat"), threshold=0.05)
    same(one, other, within=0)


def test_a_phrase_is_encoded_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch, counted: Callable[..., list[int]]
) -> None:
    detector = open_detector(folder)
    calls = counted(detector, monkeypatch)
    for prompt in ("cat. car", "car. cat", "cat. red horse", "cat"):
        detector.detect([picture(9, 9), picture(8, 8)], parse(prompt))
    assert calls == [2, 1]


def test_many_phrases_go_in_parts_and_memory_stays_bounded(
    folder: Path, monkeypatch: pytest.MonkeyPatch, counted: Callable[..., list[int]]
) -> None:
    monkeypatch.setattr(nano, "PHRASES_PER_CALL", 4)
    monkeypatch.setattr(nano, "CACHED_PHRASES", 8)
    detector = open_detector(folder)
    calls = counted(detector, monkeypatch)
    ten = parse([f"{'e' * k} cat" for k in range(10)])
    detector.detect([picture(9, 9)], ten)
    assert calls == [4, 4, 2]
    detector.detect([picture(9, 9)], ten)  # more than are kept, and still not encoded twice
    assert calls == [4, 4, 2]
    detector.detect([picture(9, 9)], parse("car"))
    assert calls == [4, 4, 2, 1]
    assert len(detector._known) == 1


@pytest.fixture
def counted() -> Callable[..., list[int]]:
    """Starts to note how many phrases each call of a detector's text side encodes."""

    def start(detector: NanoDetector, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        calls: list[int] = []
        session = detector._text

        class Counting:
            def run(self, outputs, inputs):
                calls.append(len(inputs["ids"]))
                return session.run(outputs, inputs)

        monkeypatch.setattr(detector, "_text", Counting())
        return calls

    return start


def test_a_phrase_that_is_too_long(detector: NanoDetector) -> None:
    with pytest.raises(PromptError, match="33 tokens long, at most 32 fit"):
        detector.detect([picture(9, 9)], parse("cat " * 33))


def test_a_picture_of_another_kind(detector: NanoDetector) -> None:
    with pytest.raises(ImageError, match="expected an RGB image"):
        detector.detect([np.zeros((5, 5), np.uint8)], parse("cat"))


def test_name_and_side_come_from_the_file(detector: NanoDetector) -> None:
    assert detector.name == "nano"
    assert detector.side == PHOTO_SIDE


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("content", [None, b"", b"<html></html>"])
def test_a_file_that_is_no_model(copy: Path, name: str, content: bytes | None) -> None:
    (copy / name).unlink()
    if content is not None:
        (copy / name).write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        open_detector(copy)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_text_and_image_swapped(folder: Path) -> None:
    with pytest.raises(WeightsError, match="expected the ONNX file of a detector-"):
        NanoDetector(*(folder / name for name in (IMAGE, TEXT, *FILES[2:])))


@pytest.mark.parametrize("name", [TEXT, PHOTO])
def test_files_of_two_models(copy: Path, name: str) -> None:
    model = onnx.load(copy / name)
    for entry in model.metadata_props:
        if entry.key == "version":
            entry.value = "0"
    onnx.save(model, copy / name)
    with pytest.raises(WeightsError, match="are of two models"):
        open_detector(copy)


def test_the_names_of_another_model(copy: Path) -> None:
    table = NameTable.load(copy / NAMES)
    NameTable(table.names, table.rows[:, 1:], table.colors).save(copy / NAMES)
    with pytest.raises(WeightsError, match=r"rows have 9 numbers, .* takes 10: use the table that"):
        open_detector(copy)


@pytest.mark.parametrize("pieces", [PIECES[:-1], [*PIECES, "dog"]], ids=["smaller", "larger"])
def test_the_vocabulary_of_another_model(copy: Path, pieces: list[str]) -> None:
    (copy / VOCABULARY).write_text("\n".join(pieces) + "\n", encoding="utf-8")
    message = rf"{len(pieces)} pieces, .* was trained with {len(PIECES)}: use the vocabulary that"
    with pytest.raises(WeightsError, match=message):
        open_detector(copy)


def test_needs_no_torch() -> None:
    code = (
        "import sys, perception.detectors.nano.onnx; "
        "sys.exit(bool({'torch', 'cv2'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
